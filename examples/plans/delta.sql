-- Devices with 1.8 or 1.9 get the delta that was made for their version, all others the full package. Without `full` they
-- would wait with the reason no_delta_for_source.
INSERT INTO plan (name, product) VALUES ('delta', 'meter');
INSERT INTO plan_component (plan, seq, component, "full", delta) VALUES ('delta', 1, 'main', 'main-2.0', 'main-2.0-delta');
UPDATE plan SET wanted = 'active' WHERE name = 'delta';
