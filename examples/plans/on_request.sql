-- Nothing is pushed. A device that asks is told what there is for it.
INSERT INTO plan (name, product, "trigger") VALUES ('on-request', 'meter', 'request');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('on-request', 1, 'main', 'main-2.0');
UPDATE plan SET wanted = 'active' WHERE name = 'on-request';
