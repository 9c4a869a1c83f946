-- Devices in the north or in the east, of customer 42.
INSERT INTO device_tag (product, device, key, value) VALUES
  ('meter', 'm-1', 'region', 'north'), ('meter', 'm-1', 'customer', '42'), ('meter', 'm-2', 'region', 'south');
INSERT INTO plan (name, product) VALUES ('tagged', 'meter');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('tagged', 1, 'main', 'main-2.0');
INSERT INTO plan_match (plan, key, value) VALUES
  ('tagged', 'region', 'north'), ('tagged', 'region', 'east'), ('tagged', 'customer', '42');
-- What is tried again: not everything that is no time-out, but these.
INSERT INTO plan_retry (plan, reason) VALUES ('tagged', 'download_failed'), ('tagged', 'reboot_timeout');
UPDATE plan SET retry_max = 3, retry_interval_s = 1800 WHERE name = 'tagged';
UPDATE plan SET wanted = 'active' WHERE name = 'tagged';
