-- Nothing is downloaded before somebody has consented: at the device, or by a row in `request` (see requests.sql). The
-- text goes out in the language of the device.
INSERT INTO plan (name, product, mode) VALUES ('manual', 'meter', 'manual');
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('manual', 1, 'main', 'main-2.0');
INSERT INTO plan_text (plan, lang, text) VALUES
  ('manual', 'en', 'Version 2.0 measures more precisely. The meter restarts.'),
  ('manual', 'zh', '2.0 版测量更精确。电表将重新启动。');
INSERT INTO plan_tag (plan, key, value) VALUES ('manual', 'ticket', 'OPS-17');
UPDATE plan SET wanted = 'active' WHERE name = 'manual';
