-- A tenth of the devices that match now, rounded down, but at least one. Which ones is always the same for a plan, so
-- that a higher percentage only adds devices. The plan halts when 20 % of at least 50 tasks have failed.
INSERT INTO plan (name, product, scope_kind, percent, halt_percent, halt_sample) VALUES ('phased', 'meter', 'static', 10, 20, 50);
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('phased', 1, 'main', 'main-2.0');
UPDATE plan SET wanted = 'active' WHERE name = 'phased';
