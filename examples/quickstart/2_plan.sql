-- A plan: every pump gets version 1.1.0 of its component main, whatever it has now. Devices that report for the
-- first time while the plan is active are upgraded too. The package was added before, by `otactl package add`.
INSERT INTO plan (name, product, remarks) VALUES ('spring', 'pump', 'the quick start''s example');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('spring', 1, 'main', 'main-1.1.0');
-- Sent to the devices, which accept only if they have this much battery.
UPDATE plan SET battery = 30 WHERE name = 'spring';
-- From here on only what may be added to an active plan can change; wanted = 'paused' or 'canceled' stops it.
UPDATE plan SET wanted = 'active' WHERE name = 'spring';
