-- From what the devices publish anyway, such as {"power": {"battery": 80}, "rssi": -71} on site/meter/m-1/state.
INSERT INTO telemetry (product, value, topic, path) VALUES
  ('meter', 'battery', 'site/{product}/{device}/state', '/power/battery'),
  ('meter', 'signal', 'site/{product}/{device}/state', '/rssi');
