-- Step 5: logins of devices by their secrets, gateways with their sub-devices, and products of the other dialects.

-- Secrets of devices, encrypted: AES-256-GCM with the key in the file `secret.key` beside the database, over the text
-- PRODUCT, line feed, DEVICE, so that a row is good for its own device alone. Nonce (12 bytes), ciphertext, tag (16).
-- Written by `otactl device`; in clear a secret is nowhere in this file.
CREATE TABLE device_secret (
  product     TEXT NOT NULL,
  device      TEXT NOT NULL,
  sealed      BLOB NOT NULL CHECK (length(sealed) BETWEEN 36 AND 156), -- of 8 to 128 characters
  PRIMARY KEY (product, device)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- device_secret

CREATE TRIGGER device_secret_before_insert BEFORE INSERT ON device_secret BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN o.sealed IS NEW.sealed THEN 'same' ELSE 'other' END
      FROM device_secret o WHERE o.product = NEW.product AND o.device = NEW.device), 'none');
END;
CREATE TRIGGER device_secret_insert AFTER INSERT ON device_secret BEGIN
  SELECT RAISE(ABORT, 'device_secret.device: there is no such device of this product; insert it into device first')
    WHERE NOT EXISTS (SELECT 1 FROM device WHERE product = NEW.product AND name = NEW.device);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device_secret', 'insert', NEW.product, NEW.device, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER device_secret_update AFTER UPDATE ON device_secret WHEN (NEW.product, NEW.device, NEW.sealed) IS NOT
    (OLD.product, OLD.device, OLD.sealed) BEGIN
  SELECT RAISE(ABORT, 'device_secret: names are keys and never change; use otactl device secret')
    WHERE (NEW.product, NEW.device) IS NOT (OLD.product, OLD.device);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device_secret', 'update', NEW.product, NEW.device, '' FROM now;
END;
CREATE TRIGGER device_secret_delete AFTER DELETE ON device_secret BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device_secret', 'delete', OLD.product, OLD.device, '' FROM now;
END;

-- ---------------------------------------------------------------- device: what step 2 did not ask

CREATE TRIGGER device_delete_secret AFTER DELETE ON device BEGIN
  SELECT RAISE(ABORT, 'device: it has a secret; delete that first (device_secret, or otactl device secret --remove)')
    WHERE EXISTS (SELECT 1 FROM device_secret WHERE product = OLD.product AND device = OLD.name);
END;
CREATE TRIGGER device_insert_gateway AFTER INSERT ON device WHEN NEW.gateway IS NOT NULL BEGIN
  SELECT RAISE(ABORT, 'device.gateway: must be PRODUCT/DEVICE, another device than this one')
    WHERE NEW.gateway NOT GLOB '?*/?*' OR NEW.gateway GLOB '*/*/*' OR NEW.gateway GLOB '*[^A-Za-z0-9._:/-]*'
      OR length(NEW.gateway) > 129 OR NEW.gateway = NEW.product || '/' || NEW.name;
END;
CREATE TRIGGER device_update_gateway AFTER UPDATE OF gateway ON device WHEN NEW.gateway IS NOT NULL BEGIN
  SELECT RAISE(ABORT, 'device.gateway: must be PRODUCT/DEVICE, another device than this one')
    WHERE NEW.gateway NOT GLOB '?*/?*' OR NEW.gateway GLOB '*/*/*' OR NEW.gateway GLOB '*[^A-Za-z0-9._:/-]*'
      OR length(NEW.gateway) > 129 OR NEW.gateway = NEW.product || '/' || NEW.name;
END;
CREATE INDEX device_gateway ON device(gateway) WHERE gateway IS NOT NULL;

-- ---------------------------------------------------------------- product: dialects

DROP TRIGGER product_insert;
CREATE TRIGGER product_insert AFTER INSERT ON product BEGIN
  SELECT RAISE(ABORT, 'product.profile: there is no such profile; see SELECT name FROM profile')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  SELECT RAISE(ABORT, 'product.dialect: must be ''native'', ''alibaba'' or ''enos''')
    WHERE NEW.dialect NOT IN ('native', 'alibaba', 'enos');
  SELECT RAISE(ABORT, 'product.public_key: this version does not serve signatures; leave it NULL')
    WHERE NEW.public_key IS NOT NULL;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'product', 'insert', NEW.name, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
DROP TRIGGER product_update;
CREATE TRIGGER product_update AFTER UPDATE ON product WHEN (NEW.name, NEW.profile, NEW.dialect, NEW.register,
    NEW.auto_confirm, NEW.http, NEW.blocks, NEW.max_devices, NEW.public_key, NEW.remarks) IS NOT (OLD.name,
    OLD.profile, OLD.dialect, OLD.register, OLD.auto_confirm, OLD.http, OLD.blocks, OLD.max_devices, OLD.public_key,
    OLD.remarks) BEGIN
  SELECT RAISE(ABORT, 'product: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  SELECT RAISE(ABORT, 'product.profile: there is no such profile; see SELECT name FROM profile')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  SELECT RAISE(ABORT, 'product.dialect: must be ''native'', ''alibaba'' or ''enos''')
    WHERE NEW.dialect NOT IN ('native', 'alibaba', 'enos');
  SELECT RAISE(ABORT, 'product.public_key: this version does not serve signatures; leave it NULL')
    WHERE NEW.public_key IS NOT NULL;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'product', 'update', NEW.name, NEW.name, '' FROM now;
END;

-- ---------------------------------------------------------------- views

-- How the devices that people know log in and through whom they speak. A secret itself is in no view.
CREATE VIEW device_logins AS
SELECT d.product, d.name AS device, p.dialect, s.product IS NOT NULL AS has_secret, d.disabled, d.gateway
FROM device d
JOIN product p ON p.name = d.product
LEFT JOIN device_secret s ON s.product = d.product AND s.device = d.name;
