-- Acts, which the engine answers in `state` and `answer`. Their plan is the one of dynamic.sql.
INSERT INTO request (act, plan, product, device) VALUES ('cancel', 'dynamic', 'meter', 'm-1');
INSERT INTO request (act, plan) VALUES ('retry', 'dynamic');              -- all that have failed
INSERT INTO request (act, plan, device) VALUES ('retry', 'dynamic', 'm-1'); -- one
INSERT INTO request (act, plan, device) VALUES ('consent', 'dynamic', 'm-1');
INSERT INTO request (act, product, device) VALUES ('release', 'meter', 'm-1'); -- was put aside
INSERT INTO request (act, plan) VALUES ('release', 'dynamic');            -- is held, or has halted
INSERT INTO request (act, product, device) VALUES ('explain', 'meter', 'm-1'); -- SELECT * FROM explanations
