-- Every lamp gets version 2.0.0.
INSERT INTO plan (name, product) VALUES ('lamps', 'lamp');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('lamps', 1, 'default', 'default-2.0.0');
UPDATE plan SET wanted = 'active' WHERE name = 'lamps';
