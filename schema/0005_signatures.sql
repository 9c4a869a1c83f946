-- Signed packages: the guards that refused keys and signatures, made again to take them.

DROP TRIGGER product_insert;
CREATE TRIGGER product_insert AFTER INSERT ON product BEGIN
  SELECT RAISE(ABORT, 'product.profile: there is no such profile; see SELECT name FROM profile')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  SELECT RAISE(ABORT, 'product.dialect: must be ''native'', ''alibaba'' or ''enos''')
    WHERE NEW.dialect NOT IN ('native', 'alibaba', 'enos');
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
  SELECT RAISE(ABORT, 'product.dialect: must be ''native'', ''alibaba'' or ''enos''')
    WHERE NEW.dialect NOT IN ('native', 'alibaba', 'enos');
  SELECT RAISE(ABORT, 'product.public_key: must be a public key in PEM (-----BEGIN PUBLIC KEY-----); otactl product key')
    WHERE NEW.public_key IS NOT NULL AND NEW.public_key NOT GLOB '-----BEGIN PUBLIC KEY-----*-----END PUBLIC KEY-----*';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'product', 'update', NEW.name, NEW.name, '' FROM now;
END;

DROP TRIGGER package_insert;
CREATE TRIGGER package_insert AFTER INSERT ON package BEGIN
  SELECT RAISE(ABORT, 'package: a plan that is no draft uses it, so it cannot change; make a package with another name')
    WHERE (SELECT found FROM before_insert) = 'locked';
  SELECT RAISE(ABORT, 'package: manifest, signature and key_id go together; otactl package sign fills them in')
    WHERE (NEW.manifest IS NULL) <> (NEW.signature IS NULL) OR (NEW.signature IS NULL) <> (NEW.key_id IS NULL);
  SELECT RAISE(ABORT, 'package.signature: must be 1 to 1024 bytes, of a manifest of 2 to 65536 bytes, by a key_id of 1 to 64 characters')
    WHERE length(NEW.signature) NOT BETWEEN 1 AND 1024 OR length(NEW.manifest) NOT BETWEEN 2 AND 65536
      OR length(NEW.key_id) NOT BETWEEN 1 AND 64;
  SELECT RAISE(ABORT, 'package.component: the product has no such component; insert it into component first')
    WHERE NOT EXISTS (SELECT 1 FROM component WHERE product = NEW.product AND name = NEW.component);
  SELECT RAISE(ABORT,
      'package.kind: its files do not fit (a full package''s files have no source, a delta''s have one); delete them first')
    WHERE EXISTS (SELECT 1 FROM package_file WHERE product = NEW.product AND package = NEW.name AND (source = '') <>
        (NEW.kind = 'full'));
  SELECT RAISE(ABORT,
      'package: the product has as many packages as its profile allows (profile.max_packages); delete old ones')
    WHERE (SELECT count(*) FROM package WHERE product = NEW.product) >
      (SELECT max_packages FROM profile WHERE name = (SELECT profile FROM product WHERE name = NEW.product));
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'package', 'insert', NEW.product, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;

DROP TRIGGER package_update;
CREATE TRIGGER package_update AFTER UPDATE ON package WHEN (NEW.product, NEW.name, NEW.component, NEW.kind,
    NEW.version, NEW.remarks, NEW.manifest, NEW.signature, NEW.key_id) IS NOT (OLD.product, OLD.name, OLD.component,
    OLD.kind, OLD.version, OLD.remarks, OLD.manifest, OLD.signature, OLD.key_id) BEGIN
  SELECT RAISE(ABORT, 'package: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.name) IS NOT (OLD.product, OLD.name);
  SELECT RAISE(ABORT, 'package: manifest, signature and key_id go together; otactl package sign fills them in')
    WHERE (NEW.manifest IS NULL) <> (NEW.signature IS NULL) OR (NEW.signature IS NULL) <> (NEW.key_id IS NULL);
  SELECT RAISE(ABORT, 'package.signature: must be 1 to 1024 bytes, of a manifest of 2 to 65536 bytes, by a key_id of 1 to 64 characters')
    WHERE length(NEW.signature) NOT BETWEEN 1 AND 1024 OR length(NEW.manifest) NOT BETWEEN 2 AND 65536
      OR length(NEW.key_id) NOT BETWEEN 1 AND 64;
  SELECT RAISE(ABORT, 'package.component: the product has no such component; insert it into component first')
    WHERE NOT EXISTS (SELECT 1 FROM component WHERE product = NEW.product AND name = NEW.component);
  SELECT RAISE(ABORT,
      'package.kind: its files do not fit (a full package''s files have no source, a delta''s have one); delete them first')
    WHERE EXISTS (SELECT 1 FROM package_file WHERE product = NEW.product AND package = NEW.name AND (source = '') <>
        (NEW.kind = 'full'));
  SELECT RAISE(ABORT, 'package: a plan that is no draft uses it, so it cannot change; make a package with another name')
    WHERE EXISTS (SELECT 1 FROM package_locked WHERE product = OLD.product AND name = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'package', 'update', NEW.product, NEW.name, '' FROM now;
END;
