-- Nothing is offered to one meter until it was audited, to all of them until March, to the whole site until the row goes.
INSERT INTO hold (product, device, reason) VALUES ('meter', 'm-1', 'under audit');
INSERT INTO hold (product, until_ms, reason) VALUES ('meter', unixepoch('2999-03-01') * 1000, 'reading season');
INSERT INTO hold (reason) VALUES ('works on the power supply');
DELETE FROM hold WHERE product = '' AND device = '';
