-- Step 10: which dialects there are says the plugin, not the schema.

-- The engine adds a row at start for each dialect that it has (plugin/dialect/dialect.cc); the first three stand here,
-- so that products can be imported before the broker ever ran.
CREATE TABLE dialect (
  name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO dialect VALUES ('native'), ('alibaba'), ('enos');

CREATE TRIGGER dialect_insert BEFORE INSERT ON dialect WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'dialect is written by the engine, from what it serves');
END;
CREATE TRIGGER dialect_update BEFORE UPDATE ON dialect BEGIN
  SELECT RAISE(ABORT, 'dialect is written by the engine, from what it serves');
END;
CREATE TRIGGER dialect_delete BEFORE DELETE ON dialect BEGIN
  SELECT RAISE(ABORT, 'dialect is written by the engine, from what it serves');
END;

DROP TRIGGER product_insert;
CREATE TRIGGER product_insert AFTER INSERT ON product BEGIN
  SELECT RAISE(ABORT, 'product.profile: there is no such profile; see SELECT name FROM profile')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  SELECT RAISE(ABORT, 'product.dialect: there is no such dialect; see SELECT name FROM dialect')
    WHERE NOT EXISTS (SELECT 1 FROM dialect WHERE name = NEW.dialect);
  SELECT RAISE(ABORT, 'product.public_key: must be a public key in PEM (-----BEGIN PUBLIC KEY-----); otactl product key')
    WHERE NEW.public_key IS NOT NULL AND NEW.public_key NOT GLOB '-----BEGIN PUBLIC KEY-----*-----END PUBLIC KEY-----*';
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
  SELECT RAISE(ABORT, 'product.dialect: there is no such dialect; see SELECT name FROM dialect')
    WHERE NOT EXISTS (SELECT 1 FROM dialect WHERE name = NEW.dialect);
  SELECT RAISE(ABORT, 'product.public_key: must be a public key in PEM (-----BEGIN PUBLIC KEY-----); otactl product key')
    WHERE NEW.public_key IS NOT NULL AND NEW.public_key NOT GLOB '-----BEGIN PUBLIC KEY-----*-----END PUBLIC KEY-----*';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'product', 'update', NEW.name, NEW.name, '' FROM now;
END;
