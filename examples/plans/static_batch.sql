-- The devices that run 1.8 or 1.9 when the plan is activated, and no others later. 100 offers a minute, spread evenly, and
-- never more than 500 upgrades at a time. Two more attempts after a failure, ten minutes apart. Stops by itself after ten
-- failures. At its end nothing is offered any more; what is under way goes on.
INSERT INTO plan (name, product, scope_kind, rate, max_open, retry_max, retry_interval_s, halt_failures, end_ms, at_end)
  VALUES ('static', 'meter', 'static', 100, 500, 2, 600, 10, unixepoch('now', '+14 days') * 1000, 'stop');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('static', 1, 'main', 'main-2.0');
INSERT INTO plan_source (plan, component, version) VALUES ('static', 'main', '1.8'), ('static', 'main', '1.9');
UPDATE plan SET wanted = 'active' WHERE name = 'static';
