-- The devices of a list, in its order; some may not have been seen yet. It replaces what is offered of other plans and not
-- under way. Import the list, then activate: otactl plan activate whitelist
INSERT INTO plan (name, product, scope, priority, override) VALUES ('whitelist', 'meter', 'selected', 10, 1);
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('whitelist', 1, 'main', 'main-2.0');
