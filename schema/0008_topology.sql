-- Step 8: sub-devices that a gateway has bound to itself (EnOS: thing/topo/add).

-- Behind which gateway a device is by the gateway's own word, PRODUCT/DEVICE. What people say in device.gateway goes
-- before it.
CREATE TABLE device_topology (
  product     TEXT NOT NULL,
  device      TEXT NOT NULL,
  gateway     TEXT NOT NULL,
  PRIMARY KEY (product, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_topology_gateway ON device_topology(gateway);

CREATE TRIGGER device_topology_insert BEFORE INSERT ON device_topology WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'device_topology is written by the engine; set device.gateway');
END;
CREATE TRIGGER device_topology_update BEFORE UPDATE ON device_topology WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'device_topology is written by the engine; set device.gateway');
END;
CREATE TRIGGER device_topology_delete BEFORE DELETE ON device_topology WHEN (SELECT writing FROM engine_state) IS NOT 1
    AND EXISTS (SELECT 1 FROM device WHERE product = OLD.product AND name = OLD.device) BEGIN
  SELECT RAISE(ABORT, 'device_topology is written by the engine; set device.gateway');
END;
CREATE TRIGGER device_delete_topology AFTER DELETE ON device BEGIN
  DELETE FROM device_topology WHERE product = OLD.product AND device = OLD.name;
END;

DROP VIEW device_logins;
-- How the devices that people know log in and through whom they speak; `bound`: the gateway has said so, not people. A
-- secret itself is in no view.
CREATE VIEW device_logins AS
SELECT d.product, d.name AS device, p.dialect, s.product IS NOT NULL AS has_secret, d.disabled,
       coalesce(d.gateway, t.gateway) AS gateway, d.gateway IS NULL AND t.gateway IS NOT NULL AS bound
FROM device d
JOIN product p ON p.name = d.product
LEFT JOIN device_secret s ON s.product = d.product AND s.device = d.name
LEFT JOIN device_topology t ON t.product = d.product AND t.device = d.name;
