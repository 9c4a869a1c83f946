-- What to try next: version 1.2.0 for one device alone.
INSERT INTO plan (name, product, scope) VALUES ('summer', 'pump', 'selected');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('summer', 1, 'main', 'main-1.2.0');
INSERT INTO plan_device (plan, device) VALUES ('summer', 'pump-1');
UPDATE plan SET wanted = 'active' WHERE name = 'summer';
