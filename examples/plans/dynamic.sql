-- Every meter, also those that report for the first time while the plan is active. The radio is upgraded first; main only
-- after the radio was reported at its new version.
INSERT INTO plan (name, product) VALUES ('dynamic', 'meter');
INSERT INTO plan_component (plan, seq, component, "full") VALUES
  ('dynamic', 1, 'radio', 'radio-1.4'), ('dynamic', 2, 'main', 'main-2.0');
-- Not these two, whatever else is said.
INSERT INTO plan_device (plan, list, device) VALUES ('dynamic', 'black', 'm-2'), ('dynamic', 'black', 'm-3');
UPDATE plan SET wanted = 'active' WHERE name = 'dynamic';
