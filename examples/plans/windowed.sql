-- From tomorrow on, between 22:00 and 04:00 of the clock in Berlin, in summer and in winter. Only devices with 40 % of
-- battery, a signal of -95 dBm and 8 MiB of free space; values older than an hour count as unknown, and unknown ones wait.
INSERT INTO plan (name, product, start_ms, zone, window_from, window_to, battery, signal, free_bytes, max_age_s, unknown)
  VALUES ('windowed', 'meter', unixepoch('now', '+1 day') * 1000, 'Europe/Berlin', '22:00', '04:00', 40, -95, 8388608, 3600, 'wait');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('windowed', 1, 'main', 'main-2.0');
UPDATE plan SET wanted = 'active' WHERE name = 'windowed';
