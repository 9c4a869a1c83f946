-- A meter with a main controller and a radio module. Devices register themselves with their first report.
INSERT INTO product (name, remarks) VALUES ('meter', 'example');
INSERT INTO component (product, name, type) VALUES ('meter', 'main', 'firmware'), ('meter', 'radio', 'module');
-- What `otactl package add` would make: it copies the files, and fills in their digests too.
INSERT INTO package (product, name, component, kind, version) VALUES
  ('meter', 'main-2.0', 'main', 'full', '2.0'),
  ('meter', 'main-2.0-delta', 'main', 'delta', '2.0'),
  ('meter', 'radio-1.4', 'radio', 'full', '1.4');
-- A delta has files for each version that it starts from.
INSERT INTO package_file (product, package, source, path) VALUES
  ('meter', 'main-2.0', '', 'meter-main-2.0.bin'),
  ('meter', 'main-2.0-delta', '1.8', 'meter-main-1.8-2.0.delta'),
  ('meter', 'main-2.0-delta', '1.9', 'meter-main-1.9-2.0.delta'),
  ('meter', 'radio-1.4', '', 'meter-radio-1.4.bin');
-- Devices that people know something of.
INSERT INTO device (product, name) VALUES ('meter', 'm-1'), ('meter', 'm-2'), ('meter', 'm-3');
