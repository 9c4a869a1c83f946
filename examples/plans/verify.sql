-- One device tries the package. It has three hours from its first progress.
INSERT INTO plan (name, product, kind, scope, scope_kind, timeout_s) VALUES ('try', 'meter', 'verify', 'selected', 'static', 10800);
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('try', 1, 'main', 'main-2.0');
INSERT INTO plan_device (plan, device) VALUES ('try', 'm-1');
UPDATE plan SET wanted = 'active' WHERE name = 'try';
