-- Step 2: guards. They hold for everyone who opens the file, also for a bare `sqlite3` with its defaults: foreign keys
-- off, recursive triggers off, no authorizer. schema/README.md explains the rules to people; this is how they are made:
--
-- * RAISE takes a constant only (SQLite 3.40), so a message names the rule and the remedy; otactl adds the row.
-- * INSERT OR REPLACE deletes the old row without a DELETE trigger. So every BEFORE INSERT trigger notes in
--   `before_insert` what stands under the new row's key: none, the same, one that is locked and has other values, or
--   another. The AFTER INSERT trigger, which runs only if a row was really written, refuses the locked and journals
--   what is not the same. Thus INSERT OR IGNORE, ON CONFLICT DO NOTHING and DO UPDATE work on every row.
-- * Checks run AFTER: a refusal rolls the whole statement back, what REPLACE deleted too.
-- * Keys are names and never change. `changed` means that a value differs.
-- * STATE tables refuse everyone while engine_state.writing is not 1. The engine writes them on a connection that
--   runs no trigger.

-- Packages of plans that are no drafts: they and their files cannot change.
CREATE VIEW package_locked(product, name) AS
  SELECT p.product, c.full FROM plan_component c JOIN plan p ON p.name = c.plan WHERE p.wanted <> 'draft' AND c.full IS
      NOT NULL
  UNION ALL
  SELECT p.product, c.delta FROM plan_component c JOIN plan p ON p.name = c.plan WHERE p.wanted <> 'draft' AND c.delta
      IS NOT NULL;

-- The journal's clock.
CREATE VIEW now(ms) AS SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);

-- ---------------------------------------------------------------- profile

CREATE TRIGGER profile_before_insert BEFORE INSERT ON profile BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.max_files, o.max_file_bytes, o.max_packages, o.offer_s, o.download_s, o.install_s, o.reboot_s,
        o.longest_s, o.retry_max, o.retry_interval_s) IS (NEW.max_files, NEW.max_file_bytes, NEW.max_packages,
        NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max, NEW.retry_interval_s)
        THEN 'same'
      ELSE 'other' END FROM profile o WHERE o.name = NEW.name), 'none');
END;
CREATE TRIGGER profile_insert AFTER INSERT ON profile BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'profile', 'insert', NULL, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER profile_update AFTER UPDATE ON profile WHEN (NEW.name, NEW.max_files, NEW.max_file_bytes,
    NEW.max_packages, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max,
    NEW.retry_interval_s) IS NOT (OLD.name, OLD.max_files, OLD.max_file_bytes, OLD.max_packages, OLD.offer_s,
    OLD.download_s, OLD.install_s, OLD.reboot_s, OLD.longest_s, OLD.retry_max, OLD.retry_interval_s) BEGIN
  SELECT RAISE(ABORT, 'profile: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'profile', 'update', NULL, NEW.name, '' FROM now;
END;
CREATE TRIGGER profile_delete AFTER DELETE ON profile BEGIN
  SELECT RAISE(ABORT, 'profile: products use it (product.profile); give them another profile first')
    WHERE EXISTS (SELECT 1 FROM product WHERE profile = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'profile', 'delete', NULL, OLD.name, '' FROM now;
END;

-- ---------------------------------------------------------------- product

CREATE TRIGGER product_before_insert BEFORE INSERT ON product BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.profile, o.dialect, o.register, o.auto_confirm, o.http, o.blocks, o.max_devices, o.public_key,
        o.remarks) IS (NEW.profile, NEW.dialect, NEW.register, NEW.auto_confirm, NEW.http, NEW.blocks, NEW.max_devices,
        NEW.public_key, NEW.remarks) THEN 'same'
      ELSE 'other' END FROM product o WHERE o.name = NEW.name), 'none');
END;
CREATE TRIGGER product_insert AFTER INSERT ON product BEGIN
  SELECT RAISE(ABORT, 'product.profile: there is no such profile; see SELECT name FROM profile')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  SELECT RAISE(ABORT, 'product.dialect: must be ''native''')
    WHERE NEW.dialect NOT IN ('native');
  SELECT RAISE(ABORT, 'product.public_key: this version does not serve signatures; leave it NULL')
    WHERE NEW.public_key IS NOT NULL;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'product', 'insert', NEW.name, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER product_update AFTER UPDATE ON product WHEN (NEW.name, NEW.profile, NEW.dialect, NEW.register,
    NEW.auto_confirm, NEW.http, NEW.blocks, NEW.max_devices, NEW.public_key, NEW.remarks) IS NOT (OLD.name,
    OLD.profile, OLD.dialect, OLD.register, OLD.auto_confirm, OLD.http, OLD.blocks, OLD.max_devices, OLD.public_key,
    OLD.remarks) BEGIN
  SELECT RAISE(ABORT, 'product: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  SELECT RAISE(ABORT, 'product.profile: there is no such profile; see SELECT name FROM profile')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  SELECT RAISE(ABORT, 'product.dialect: must be ''native''')
    WHERE NEW.dialect NOT IN ('native');
  SELECT RAISE(ABORT, 'product.public_key: this version does not serve signatures; leave it NULL')
    WHERE NEW.public_key IS NOT NULL;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'product', 'update', NEW.name, NEW.name, '' FROM now;
END;
CREATE TRIGGER product_delete AFTER DELETE ON product BEGIN
  SELECT RAISE(ABORT, 'product: plans use it; a product in use cannot be deleted')
    WHERE EXISTS (SELECT 1 FROM plan WHERE product = OLD.name);
  SELECT RAISE(ABORT, 'product: packages belong to it; delete them first')
    WHERE EXISTS (SELECT 1 FROM package WHERE product = OLD.name);
  SELECT RAISE(ABORT, 'product: components belong to it; delete them first')
    WHERE EXISTS (SELECT 1 FROM component WHERE product = OLD.name);
  SELECT RAISE(ABORT, 'product: devices belong to it; delete them first')
    WHERE EXISTS (SELECT 1 FROM device WHERE product = OLD.name);
  SELECT RAISE(ABORT, 'product: devices of it have registered; a product in use cannot be deleted')
    WHERE EXISTS (SELECT 1 FROM device_state WHERE product = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'product', 'delete', OLD.name, OLD.name, '' FROM now;
END;

-- ---------------------------------------------------------------- component

CREATE TRIGGER component_before_insert BEFORE INSERT ON component BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.type, o.boot, o.alias, o.remarks) IS (NEW.type, NEW.boot, NEW.alias, NEW.remarks) THEN 'same'
      ELSE 'other' END FROM component o WHERE o.product = NEW.product AND o.name = NEW.name), 'none');
END;
CREATE TRIGGER component_insert AFTER INSERT ON component BEGIN
  SELECT RAISE(ABORT, 'component.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'component', 'insert', NEW.product, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER component_update AFTER UPDATE ON component WHEN (NEW.product, NEW.name, NEW.type, NEW.boot, NEW.alias,
    NEW.remarks) IS NOT (OLD.product, OLD.name, OLD.type, OLD.boot, OLD.alias, OLD.remarks) BEGIN
  SELECT RAISE(ABORT, 'component: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.name) IS NOT (OLD.product, OLD.name);
  SELECT RAISE(ABORT, 'component.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'component', 'update', NEW.product, NEW.name, '' FROM now;
END;
CREATE TRIGGER component_delete AFTER DELETE ON component BEGIN
  SELECT RAISE(ABORT, 'component: packages are made for it; a component in use cannot be deleted')
    WHERE EXISTS (SELECT 1 FROM package WHERE product = OLD.product AND component = OLD.name);
  SELECT RAISE(ABORT, 'component: plans upgrade it; a component in use cannot be deleted')
    WHERE EXISTS (SELECT 1 FROM plan p JOIN plan_component c ON c.plan = p.name WHERE p.product = OLD.product AND
        c.component = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'component', 'delete', OLD.product, OLD.name, '' FROM now;
END;

-- ---------------------------------------------------------------- device

CREATE TRIGGER device_before_insert BEFORE INSERT ON device BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.disabled, o.retired, o.gateway, o.remarks) IS (NEW.disabled, NEW.retired, NEW.gateway,
        NEW.remarks) THEN 'same'
      ELSE 'other' END FROM device o WHERE o.product = NEW.product AND o.name = NEW.name), 'none');
END;
CREATE TRIGGER device_insert AFTER INSERT ON device BEGIN
  SELECT RAISE(ABORT, 'device.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device', 'insert', NEW.product, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER device_update AFTER UPDATE ON device WHEN (NEW.product, NEW.name, NEW.disabled, NEW.retired,
    NEW.gateway, NEW.remarks) IS NOT (OLD.product, OLD.name, OLD.disabled, OLD.retired, OLD.gateway, OLD.remarks) BEGIN
  SELECT RAISE(ABORT, 'device: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.name) IS NOT (OLD.product, OLD.name);
  SELECT RAISE(ABORT, 'device.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device', 'update', NEW.product, NEW.name, '' FROM now;
END;
CREATE TRIGGER device_delete AFTER DELETE ON device BEGIN
  SELECT RAISE(ABORT, 'device: it has tags; delete them first (device_tag)')
    WHERE EXISTS (SELECT 1 FROM device_tag WHERE product = OLD.product AND device = OLD.name)
      AND NOT EXISTS (SELECT 1 FROM device_state WHERE product = OLD.product AND name = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device', 'delete', OLD.product, OLD.name, '' FROM now;
END;

-- ---------------------------------------------------------------- device_tag

CREATE TRIGGER device_tag_before_insert BEFORE INSERT ON device_tag BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN o.value IS NEW.value THEN 'same'
      ELSE 'other' END FROM device_tag o WHERE o.product = NEW.product AND o.device = NEW.device AND o.key = NEW.key),
          'none');
END;
CREATE TRIGGER device_tag_insert AFTER INSERT ON device_tag BEGIN
  SELECT RAISE(ABORT, 'device_tag.device: there is no such device of this product; insert it into device first')
    WHERE NOT EXISTS (SELECT 1 FROM device WHERE product = NEW.product AND name = NEW.device)
      AND NOT EXISTS (SELECT 1 FROM device_state WHERE product = NEW.product AND name = NEW.device);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device_tag', 'insert', NEW.product, NEW.device, NEW.key FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER device_tag_update AFTER UPDATE ON device_tag WHEN (NEW.product, NEW.device, NEW.key, NEW.value) IS NOT
    (OLD.product, OLD.device, OLD.key, OLD.value) BEGIN
  SELECT RAISE(ABORT, 'device_tag: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.device, NEW.key) IS NOT (OLD.product, OLD.device, OLD.key);
  SELECT RAISE(ABORT, 'device_tag.device: there is no such device of this product; insert it into device first')
    WHERE NOT EXISTS (SELECT 1 FROM device WHERE product = NEW.product AND name = NEW.device)
      AND NOT EXISTS (SELECT 1 FROM device_state WHERE product = NEW.product AND name = NEW.device);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device_tag', 'update', NEW.product, NEW.device, NEW.key FROM
        now;
END;
CREATE TRIGGER device_tag_delete AFTER DELETE ON device_tag BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'device_tag', 'delete', OLD.product, OLD.device, OLD.key FROM
        now;
END;

-- ---------------------------------------------------------------- package

CREATE TRIGGER package_before_insert BEFORE INSERT ON package BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.component, o.kind, o.version, o.remarks, o.manifest, o.signature, o.key_id) IS (NEW.component,
        NEW.kind, NEW.version, NEW.remarks, NEW.manifest, NEW.signature, NEW.key_id) THEN 'same'
      WHEN EXISTS (SELECT 1 FROM package_locked WHERE product = o.product AND name = o.name) THEN 'locked'
      ELSE 'other' END FROM package o WHERE o.product = NEW.product AND o.name = NEW.name), 'none');
END;
CREATE TRIGGER package_insert AFTER INSERT ON package BEGIN
  SELECT RAISE(ABORT, 'package: a plan that is no draft uses it, so it cannot change; make a package with another name')
    WHERE (SELECT found FROM before_insert) = 'locked';
  SELECT RAISE(ABORT,
      'package: this version does not serve signatures; leave manifest, signature and key_id NULL')
    WHERE NEW.manifest IS NOT NULL OR NEW.signature IS NOT NULL OR NEW.key_id IS NOT NULL;
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
CREATE TRIGGER package_update AFTER UPDATE ON package WHEN (NEW.product, NEW.name, NEW.component, NEW.kind,
    NEW.version, NEW.remarks, NEW.manifest, NEW.signature, NEW.key_id) IS NOT (OLD.product, OLD.name, OLD.component,
    OLD.kind, OLD.version, OLD.remarks, OLD.manifest, OLD.signature, OLD.key_id) BEGIN
  SELECT RAISE(ABORT, 'package: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.name) IS NOT (OLD.product, OLD.name);
  SELECT RAISE(ABORT,
      'package: this version does not serve signatures; leave manifest, signature and key_id NULL')
    WHERE NEW.manifest IS NOT NULL OR NEW.signature IS NOT NULL OR NEW.key_id IS NOT NULL;
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
CREATE TRIGGER package_delete AFTER DELETE ON package BEGIN
  SELECT RAISE(ABORT, 'package: plans use it (plan_component); a package in use cannot be deleted')
    WHERE EXISTS (SELECT 1 FROM plan_component c JOIN plan p ON p.name = c.plan WHERE c.full = OLD.name AND p.product =
        OLD.product)
      OR EXISTS (SELECT 1 FROM plan_component c JOIN plan p ON p.name = c.plan WHERE c.delta = OLD.name AND p.product =
          OLD.product);
  SELECT RAISE(ABORT, 'package: it has files; delete them first (package_file)')
    WHERE EXISTS (SELECT 1 FROM package_file WHERE product = OLD.product AND package = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'package', 'delete', OLD.product, OLD.name, '' FROM now;
END;

-- ---------------------------------------------------------------- package_file

CREATE TRIGGER package_file_before_insert BEFORE INSERT ON package_file BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.path, o.sha256) IS (NEW.path, NEW.sha256) THEN 'same'
      WHEN EXISTS (SELECT 1 FROM package_locked WHERE product = o.product AND name = o.package) THEN 'locked'
      ELSE 'other' END FROM package_file o WHERE o.product = NEW.product AND o.package = NEW.package AND o.source =
          NEW.source AND o.seq = NEW.seq), 'none');
END;
CREATE TRIGGER package_file_insert AFTER INSERT ON package_file BEGIN
  SELECT RAISE(ABORT,
      'package_file: a plan that is no draft uses the package, so its files cannot change; make a package with another name')
    WHERE (SELECT found FROM before_insert) = 'locked';
  SELECT RAISE(ABORT, 'package_file.package: the product has no such package; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM package WHERE product = NEW.product AND name = NEW.package);
  SELECT RAISE(ABORT,
      'package_file.source: must be '''' in a full package, and the version that it starts from in a delta')
    WHERE (NEW.source = '') <> ((SELECT kind FROM package WHERE product = NEW.product AND name = NEW.package) = 'full');
  SELECT RAISE(ABORT,
      'package_file.path: must be a name inside the store directory: relative, without ''..'', ''.'', empty parts, backslashes and control characters')
    WHERE NEW.path GLOB '/*' OR '/' || NEW.path || '/' GLOB '*/../*' OR '/' || NEW.path || '/' GLOB '*/./*' OR NEW.path
        GLOB '*//*' OR NEW.path GLOB '*/'
      OR NEW.path GLOB '*[' || char(1) || '-' || char(31) || char(127) || '\]*';
  SELECT RAISE(ABORT,
      'package_file: more files than the product''s profile allows for one source version (profile.max_files)')
    WHERE (SELECT count(*) FROM package_file WHERE product = NEW.product AND package = NEW.package AND source =
        NEW.source) >
      (SELECT max_files FROM profile WHERE name = (SELECT profile FROM product WHERE name = NEW.product));
  SELECT RAISE(ABORT,
      'package_file: a plan that is no draft uses the package, so its files cannot change; make a package with another name')
    WHERE (SELECT found FROM before_insert) <> 'same' AND EXISTS (SELECT 1 FROM package_locked WHERE product =
        NEW.product AND name = NEW.package);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'package_file', 'insert', NEW.product, NEW.package, NEW.path
        FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER package_file_update AFTER UPDATE ON package_file WHEN (NEW.product, NEW.package, NEW.source, NEW.seq,
    NEW.path, NEW.sha256) IS NOT (OLD.product, OLD.package, OLD.source, OLD.seq, OLD.path, OLD.sha256) BEGIN
  SELECT RAISE(ABORT, 'package_file: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.package, NEW.source, NEW.seq) IS NOT (OLD.product, OLD.package, OLD.source, OLD.seq);
  SELECT RAISE(ABORT, 'package_file.package: the product has no such package; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM package WHERE product = NEW.product AND name = NEW.package);
  SELECT RAISE(ABORT,
      'package_file.source: must be '''' in a full package, and the version that it starts from in a delta')
    WHERE (NEW.source = '') <> ((SELECT kind FROM package WHERE product = NEW.product AND name = NEW.package) = 'full');
  SELECT RAISE(ABORT,
      'package_file.path: must be a name inside the store directory: relative, without ''..'', ''.'', empty parts, backslashes and control characters')
    WHERE NEW.path GLOB '/*' OR '/' || NEW.path || '/' GLOB '*/../*' OR '/' || NEW.path || '/' GLOB '*/./*' OR NEW.path
        GLOB '*//*' OR NEW.path GLOB '*/'
      OR NEW.path GLOB '*[' || char(1) || '-' || char(31) || char(127) || '\]*';
  SELECT RAISE(ABORT,
      'package_file: more files than the product''s profile allows for one source version (profile.max_files)')
    WHERE (SELECT count(*) FROM package_file WHERE product = NEW.product AND package = NEW.package AND source =
        NEW.source) >
      (SELECT max_files FROM profile WHERE name = (SELECT profile FROM product WHERE name = NEW.product));
  SELECT RAISE(ABORT,
      'package_file: a plan that is no draft uses the package, so its files cannot change; make a package with another name')
    WHERE EXISTS (SELECT 1 FROM package_locked WHERE product = OLD.product AND name = OLD.package);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'package_file', 'update', NEW.product, NEW.package, NEW.path
        FROM now;
END;
CREATE TRIGGER package_file_delete AFTER DELETE ON package_file BEGIN
  SELECT RAISE(ABORT,
      'package_file: a plan that is no draft uses the package, so its files cannot change; make a package with another name')
    WHERE EXISTS (SELECT 1 FROM package_locked WHERE product = OLD.product AND name = OLD.package);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'package_file', 'delete', OLD.product, OLD.package, OLD.path
        FROM now;
END;

-- ---------------------------------------------------------------- plan
-- Transitions of `wanted`: draft -> active, draft -> canceled, active <-> paused, active or paused -> canceled.

CREATE TRIGGER plan_before_insert BEFORE INSERT ON plan BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.wanted, o.end_ms, o.product, o.scope, o.mode, o.priority, o.battery, o.signal, o.free_bytes,
        o.offer_s, o.download_s, o.install_s, o.reboot_s, o.longest_s, o.retry_max, o.retry_interval_s, o.remarks)
        IS (NEW.wanted, NEW.end_ms, NEW.product, NEW.scope, NEW.mode, NEW.priority, NEW.battery, NEW.signal,
            NEW.free_bytes, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max,
            NEW.retry_interval_s, NEW.remarks) THEN 'same'
      WHEN o.wanted <> 'draft' THEN 'locked'
      ELSE 'other' END FROM plan o WHERE o.name = NEW.name), 'none');
END;
CREATE TRIGGER plan_insert AFTER INSERT ON plan BEGIN
  SELECT RAISE(ABORT, 'plan: it is no draft any more and cannot be replaced; use UPDATE plan SET wanted or end_ms')
    WHERE (SELECT found FROM before_insert) = 'locked';
  SELECT RAISE(ABORT,
      'plan.wanted: insert the plan as ''draft'', then its components, then UPDATE plan SET wanted=''active''')
    WHERE (SELECT found FROM before_insert) <> 'same' AND NEW.wanted <> 'draft';
  SELECT RAISE(ABORT, 'plan.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  SELECT RAISE(ABORT,
      'plan.product: the plan has components or packages that this product does not have; delete them first (plan_component)')
    WHERE EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name
      AND NOT EXISTS (SELECT 1 FROM component k WHERE k.product = NEW.product AND k.name = c.component))
      OR EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c.full IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM package k WHERE k.product = NEW.product AND k.name = c.full AND k.kind = 'full' AND k.component =
          c.component))
      OR EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c.delta IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM package k WHERE k.product = NEW.product AND k.name = c.delta AND k.kind = 'delta' AND k.component =
          c.component));
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan', 'insert', NEW.product, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_update AFTER UPDATE ON plan
  WHEN (NEW.name, NEW.wanted, NEW.end_ms, NEW.product, NEW.scope, NEW.mode, NEW.priority, NEW.battery, NEW.signal,
      NEW.free_bytes, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max,
      NEW.retry_interval_s, NEW.remarks)
    IS NOT (OLD.name, OLD.wanted, OLD.end_ms, OLD.product, OLD.scope, OLD.mode, OLD.priority, OLD.battery, OLD.signal,
        OLD.free_bytes, OLD.offer_s, OLD.download_s, OLD.install_s, OLD.reboot_s, OLD.longest_s, OLD.retry_max,
        OLD.retry_interval_s, OLD.remarks) BEGIN
  SELECT RAISE(ABORT, 'plan: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  SELECT RAISE(ABORT,
      'plan: it is no draft any more: only wanted, end_ms and additions to its lists can change; cancel it (wanted=''canceled'') and make a new plan')
    WHERE OLD.wanted <> 'draft' AND (NEW.product, NEW.scope, NEW.mode, NEW.priority, NEW.battery, NEW.signal,
        NEW.free_bytes, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max,
        NEW.retry_interval_s, NEW.remarks) IS NOT (OLD.product, OLD.scope, OLD.mode, OLD.priority, OLD.battery,
        OLD.signal, OLD.free_bytes, OLD.offer_s, OLD.download_s, OLD.install_s, OLD.reboot_s, OLD.longest_s,
        OLD.retry_max, OLD.retry_interval_s, OLD.remarks);
  SELECT RAISE(ABORT, 'plan.end_ms: the plan has ended; make a new plan')
    WHERE NEW.end_ms IS NOT OLD.end_ms AND EXISTS (SELECT 1 FROM plan_state WHERE plan = NEW.name AND state = 'ended');
  SELECT RAISE(ABORT, 'plan.wanted: canceled is final; make a new plan')
    WHERE OLD.wanted = 'canceled' AND NEW.wanted <> 'canceled';
  SELECT RAISE(ABORT,
      'plan.wanted: a plan that was activated cannot be a draft again; set wanted=''paused'' or ''canceled''')
    WHERE OLD.wanted <> 'draft' AND NEW.wanted = 'draft';
  SELECT RAISE(ABORT, 'plan.wanted: a draft cannot be paused; it does nothing before wanted=''active''')
    WHERE OLD.wanted = 'draft' AND NEW.wanted = 'paused';
  SELECT RAISE(ABORT, 'plan.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  SELECT RAISE(ABORT, 'plan.product: the plan has components of the old product; delete them first (plan_component)')
    WHERE NEW.product <> OLD.product AND EXISTS (SELECT 1 FROM plan_component WHERE plan = NEW.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan', 'update', NEW.product, NEW.name, CASE WHEN NEW.wanted <>
        OLD.wanted THEN 'wanted ' || OLD.wanted || ' -> ' || NEW.wanted ELSE '' END FROM now;
END;
-- What must hold when a plan leaves the drafts; a draft may be made in any order.
CREATE TRIGGER plan_activate AFTER UPDATE OF wanted ON plan WHEN NEW.wanted = 'active' AND OLD.wanted = 'draft' BEGIN
  SELECT RAISE(ABORT, 'plan.wanted: the plan has no component (plan_component), so it cannot be active')
    WHERE NOT EXISTS (SELECT 1 FROM plan_component WHERE plan = NEW.name);
  SELECT RAISE(ABORT, 'plan.wanted: the product does not have a component of the plan, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name
      AND NOT EXISTS (SELECT 1 FROM component k WHERE k.product = NEW.product AND k.name = c.component));
  SELECT RAISE(ABORT,
      'plan.wanted: plan_component.full does not name a full package of its component, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c.full IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM package k WHERE k.product = NEW.product AND k.name = c.full AND k.kind = 'full' AND k.component =
          c.component));
  SELECT RAISE(ABORT,
      'plan.wanted: plan_component.delta does not name a delta package of its component, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c.delta IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM package k WHERE k.product = NEW.product AND k.name = c.delta AND k.kind = 'delta' AND k.component =
          c.component));
  SELECT RAISE(ABORT,
      'plan.wanted: the full and the delta package of a component lead to different versions, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_component c JOIN package f ON f.product = NEW.product AND f.name = c.full
      JOIN package d ON d.product = NEW.product AND d.name = c.delta WHERE c.plan = NEW.name AND f.version <>
          d.version);
  SELECT RAISE(ABORT,
      'plan.wanted: a package of the plan has no files (package_file; otactl package add), so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c.full IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM package_file f WHERE f.product = NEW.product AND f.package = c.full))
      OR EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c.delta IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM package_file f WHERE f.product = NEW.product AND f.package = c.delta));
  SELECT RAISE(ABORT, 'plan.wanted: plan_source names a component that the plan does not have, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_source s WHERE s.plan = NEW.name
      AND NOT EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c.component = s.component));
END;
CREATE TRIGGER plan_delete AFTER DELETE ON plan BEGIN
  SELECT RAISE(ABORT, 'plan: only drafts can be deleted; set wanted=''canceled'' (the history stays)')
    WHERE OLD.wanted <> 'draft';
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_component)')
    WHERE EXISTS (SELECT 1 FROM plan_component WHERE plan = OLD.name);
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_source)')
    WHERE EXISTS (SELECT 1 FROM plan_source WHERE plan = OLD.name);
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_device)')
    WHERE EXISTS (SELECT 1 FROM plan_device WHERE plan = OLD.name);
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_text)')
    WHERE EXISTS (SELECT 1 FROM plan_text WHERE plan = OLD.name);
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_tag)')
    WHERE EXISTS (SELECT 1 FROM plan_tag WHERE plan = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan', 'delete', OLD.product, OLD.name, '' FROM now;
END;

-- ---------------------------------------------------------------- plan_component

CREATE TRIGGER plan_component_before_insert BEFORE INSERT ON plan_component BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.component, o.full, o.delta) IS (NEW.component, NEW.full, NEW.delta) THEN 'same'
      ELSE 'other' END FROM plan_component o WHERE o.plan = NEW.plan AND o.seq = NEW.seq), 'none');
END;
CREATE TRIGGER plan_component_insert AFTER INSERT ON plan_component BEGIN
  SELECT RAISE(ABORT, 'plan_component.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_component.component: the plan''s product has no such component; insert it into component first')
    WHERE NOT EXISTS (SELECT 1 FROM component WHERE product = (SELECT product FROM plan WHERE name = NEW.plan) AND name
        = NEW.component);
  SELECT RAISE(ABORT,
      'plan_component.full: must name a package of kind ''full'' of this component and of the plan''s product')
    WHERE NEW.full IS NOT NULL AND NOT EXISTS (SELECT 1 FROM package WHERE product = (SELECT product FROM plan WHERE
        name = NEW.plan)
      AND name = NEW.full AND kind = 'full' AND component = NEW.component);
  SELECT RAISE(ABORT,
      'plan_component.delta: must name a package of kind ''delta'' of this component and of the plan''s product')
    WHERE NEW.delta IS NOT NULL AND NOT EXISTS (SELECT 1 FROM package WHERE product = (SELECT product FROM plan WHERE
        name = NEW.plan)
      AND name = NEW.delta AND kind = 'delta' AND component = NEW.component);
  SELECT RAISE(ABORT, 'plan_component: the full and the delta package must lead to the same version')
    WHERE (SELECT version FROM package WHERE product = (SELECT product FROM plan WHERE name = NEW.plan) AND name =
        NEW.full)
      <> (SELECT version FROM package WHERE product = (SELECT product FROM plan WHERE name = NEW.plan) AND name =
          NEW.delta);
  SELECT RAISE(ABORT,
      'plan_component: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND (SELECT wanted FROM plan WHERE name = NEW.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_component', 'insert', (SELECT product FROM plan WHERE name
        = NEW.plan), NEW.plan, NEW.component FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_component_update AFTER UPDATE ON plan_component WHEN (NEW.plan, NEW.seq, NEW.component, NEW.full,
    NEW.delta) IS NOT (OLD.plan, OLD.seq, OLD.component, OLD.full, OLD.delta) BEGIN
  SELECT RAISE(ABORT, 'plan_component: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.seq) IS NOT (OLD.plan, OLD.seq);
  SELECT RAISE(ABORT, 'plan_component.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_component.component: the plan''s product has no such component; insert it into component first')
    WHERE NOT EXISTS (SELECT 1 FROM component WHERE product = (SELECT product FROM plan WHERE name = NEW.plan) AND name
        = NEW.component);
  SELECT RAISE(ABORT,
      'plan_component.full: must name a package of kind ''full'' of this component and of the plan''s product')
    WHERE NEW.full IS NOT NULL AND NOT EXISTS (SELECT 1 FROM package WHERE product = (SELECT product FROM plan WHERE
        name = NEW.plan)
      AND name = NEW.full AND kind = 'full' AND component = NEW.component);
  SELECT RAISE(ABORT,
      'plan_component.delta: must name a package of kind ''delta'' of this component and of the plan''s product')
    WHERE NEW.delta IS NOT NULL AND NOT EXISTS (SELECT 1 FROM package WHERE product = (SELECT product FROM plan WHERE
        name = NEW.plan)
      AND name = NEW.delta AND kind = 'delta' AND component = NEW.component);
  SELECT RAISE(ABORT, 'plan_component: the full and the delta package must lead to the same version')
    WHERE (SELECT version FROM package WHERE product = (SELECT product FROM plan WHERE name = NEW.plan) AND name =
        NEW.full)
      <> (SELECT version FROM package WHERE product = (SELECT product FROM plan WHERE name = NEW.plan) AND name =
          NEW.delta);
  SELECT RAISE(ABORT,
      'plan_component: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_component', 'update', (SELECT product FROM plan WHERE name
        = NEW.plan), NEW.plan, NEW.component FROM now;
END;
CREATE TRIGGER plan_component_delete AFTER DELETE ON plan_component BEGIN
  SELECT RAISE(ABORT,
      'plan_component: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  SELECT RAISE(ABORT, 'plan_component: source versions hang on it; delete them first (plan_source)')
    WHERE EXISTS (SELECT 1 FROM plan_source WHERE plan = OLD.plan AND component = OLD.component);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_component', 'delete', (SELECT product FROM plan WHERE name
        = OLD.plan), OLD.plan, OLD.component FROM now;
END;

-- ---------------------------------------------------------------- plan_source

CREATE TRIGGER plan_source_before_insert BEFORE INSERT ON plan_source BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN 1 THEN 'same'
      ELSE 'other' END FROM plan_source o WHERE o.plan = NEW.plan AND o.component = NEW.component AND o.version =
          NEW.version), 'none');
END;
CREATE TRIGGER plan_source_insert AFTER INSERT ON plan_source BEGIN
  SELECT RAISE(ABORT, 'plan_source.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT, 'plan_source.component: the plan has no such component; insert it into plan_component first')
    WHERE NOT EXISTS (SELECT 1 FROM plan_component WHERE plan = NEW.plan AND component = NEW.component);
  SELECT RAISE(ABORT,
      'plan_source: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND (SELECT wanted FROM plan WHERE name = NEW.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_source', 'insert', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.component || ' ' || NEW.version FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_source_update AFTER UPDATE ON plan_source WHEN (NEW.plan, NEW.component, NEW.version) IS NOT
    (OLD.plan, OLD.component, OLD.version) BEGIN
  SELECT RAISE(ABORT, 'plan_source: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.component, NEW.version) IS NOT (OLD.plan, OLD.component, OLD.version);
  SELECT RAISE(ABORT, 'plan_source.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT, 'plan_source.component: the plan has no such component; insert it into plan_component first')
    WHERE NOT EXISTS (SELECT 1 FROM plan_component WHERE plan = NEW.plan AND component = NEW.component);
  SELECT RAISE(ABORT,
      'plan_source: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_source', 'update', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.component || ' ' || NEW.version FROM now;
END;
CREATE TRIGGER plan_source_delete AFTER DELETE ON plan_source BEGIN
  SELECT RAISE(ABORT,
      'plan_source: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_source', 'delete', (SELECT product FROM plan WHERE name =
        OLD.plan), OLD.plan, OLD.component || ' ' || OLD.version FROM now;
END;

-- ---------------------------------------------------------------- plan_text

CREATE TRIGGER plan_text_before_insert BEFORE INSERT ON plan_text BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN o.text IS NEW.text THEN 'same'
      ELSE 'other' END FROM plan_text o WHERE o.plan = NEW.plan AND o.lang = NEW.lang), 'none');
END;
CREATE TRIGGER plan_text_insert AFTER INSERT ON plan_text BEGIN
  SELECT RAISE(ABORT, 'plan_text.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_text: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND (SELECT wanted FROM plan WHERE name = NEW.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_text', 'insert', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.lang FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_text_update AFTER UPDATE ON plan_text WHEN (NEW.plan, NEW.lang, NEW.text) IS NOT (OLD.plan,
    OLD.lang, OLD.text) BEGIN
  SELECT RAISE(ABORT, 'plan_text: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.lang) IS NOT (OLD.plan, OLD.lang);
  SELECT RAISE(ABORT, 'plan_text.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_text: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_text', 'update', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.lang FROM now;
END;
CREATE TRIGGER plan_text_delete AFTER DELETE ON plan_text BEGIN
  SELECT RAISE(ABORT,
      'plan_text: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_text', 'delete', (SELECT product FROM plan WHERE name =
        OLD.plan), OLD.plan, OLD.lang FROM now;
END;

-- ---------------------------------------------------------------- plan_tag

CREATE TRIGGER plan_tag_before_insert BEFORE INSERT ON plan_tag BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN o.value IS NEW.value THEN 'same'
      ELSE 'other' END FROM plan_tag o WHERE o.plan = NEW.plan AND o.key = NEW.key), 'none');
END;
CREATE TRIGGER plan_tag_insert AFTER INSERT ON plan_tag BEGIN
  SELECT RAISE(ABORT, 'plan_tag.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_tag: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND (SELECT wanted FROM plan WHERE name = NEW.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_tag', 'insert', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.key FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_tag_update AFTER UPDATE ON plan_tag WHEN (NEW.plan, NEW.key, NEW.value) IS NOT (OLD.plan, OLD.key,
    OLD.value) BEGIN
  SELECT RAISE(ABORT, 'plan_tag: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.key) IS NOT (OLD.plan, OLD.key);
  SELECT RAISE(ABORT, 'plan_tag.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_tag: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_tag', 'update', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.key FROM now;
END;
CREATE TRIGGER plan_tag_delete AFTER DELETE ON plan_tag BEGIN
  SELECT RAISE(ABORT,
      'plan_tag: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_tag', 'delete', (SELECT product FROM plan WHERE name =
        OLD.plan), OLD.plan, OLD.key FROM now;
END;

-- ---------------------------------------------------------------- plan_device
-- Lists may name devices that do not exist yet.

CREATE TRIGGER plan_device_before_insert BEFORE INSERT ON plan_device BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN o.rank IS NEW.rank THEN 'same'
      WHEN (SELECT wanted FROM plan WHERE name = o.plan) <> 'draft' THEN 'locked'
      ELSE 'other' END FROM plan_device o WHERE o.plan = NEW.plan AND o.list = NEW.list AND o.device = NEW.device),
          'none');
END;
CREATE TRIGGER plan_device_insert AFTER INSERT ON plan_device BEGIN
  SELECT RAISE(ABORT,
      'plan_device: the plan is no draft any more: its lists can grow, but rows cannot change or go; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) = 'locked';
  SELECT RAISE(ABORT, 'plan_device.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_device', 'insert', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.list || ' ' || NEW.device FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_device_update AFTER UPDATE ON plan_device WHEN (NEW.plan, NEW.list, NEW.device, NEW.rank) IS NOT
    (OLD.plan, OLD.list, OLD.device, OLD.rank) BEGIN
  SELECT RAISE(ABORT, 'plan_device: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.list, NEW.device) IS NOT (OLD.plan, OLD.list, OLD.device);
  SELECT RAISE(ABORT, 'plan_device.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_device: the plan is no draft any more: its lists can grow, but rows cannot change or go; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_device', 'update', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.list || ' ' || NEW.device FROM now;
END;
CREATE TRIGGER plan_device_delete AFTER DELETE ON plan_device BEGIN
  SELECT RAISE(ABORT,
      'plan_device: the plan is no draft any more: its lists can grow, but rows cannot change or go; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_device', 'delete', (SELECT product FROM plan WHERE name =
        OLD.plan), OLD.plan, OLD.list || ' ' || OLD.device FROM now;
END;

-- ---------------------------------------------------------------- setting

CREATE TRIGGER setting_before_insert BEFORE INSERT ON setting BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN o.value IS NEW.value THEN 'same'
      ELSE 'other' END FROM setting o WHERE o.name = NEW.name), 'none');
END;
CREATE TRIGGER setting_insert AFTER INSERT ON setting BEGIN
  SELECT RAISE(ABORT, 'setting.name: must be log_days or download_bytes_per_second')
    WHERE NEW.name NOT IN ('log_days', 'download_bytes_per_second');
  SELECT RAISE(ABORT, 'setting ''log_days'': must be a number of days from 1 to 3650')
    WHERE NEW.name = 'log_days' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        CAST(NEW.value AS INTEGER) NOT BETWEEN 1 AND 3650);
  SELECT RAISE(ABORT, 'setting ''download_bytes_per_second'': must be a number from 0 (no limit) to 1000000000000')
    WHERE NEW.name = 'download_bytes_per_second' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND
        15 OR CAST(NEW.value AS INTEGER) NOT BETWEEN 0 AND 1000000000000);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'setting', 'insert', NULL, NEW.name, NEW.value FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER setting_update AFTER UPDATE ON setting WHEN (NEW.name, NEW.value) IS NOT (OLD.name, OLD.value) BEGIN
  SELECT RAISE(ABORT, 'setting: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  SELECT RAISE(ABORT, 'setting.name: must be log_days or download_bytes_per_second')
    WHERE NEW.name NOT IN ('log_days', 'download_bytes_per_second');
  SELECT RAISE(ABORT, 'setting ''log_days'': must be a number of days from 1 to 3650')
    WHERE NEW.name = 'log_days' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        CAST(NEW.value AS INTEGER) NOT BETWEEN 1 AND 3650);
  SELECT RAISE(ABORT, 'setting ''download_bytes_per_second'': must be a number from 0 (no limit) to 1000000000000')
    WHERE NEW.name = 'download_bytes_per_second' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND
        15 OR CAST(NEW.value AS INTEGER) NOT BETWEEN 0 AND 1000000000000);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'setting', 'update', NULL, NEW.name, NEW.value FROM now;
END;
CREATE TRIGGER setting_delete AFTER DELETE ON setting BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'setting', 'delete', NULL, OLD.name, OLD.value FROM now;
END;

-- ---------------------------------------------------------------- request, import, journal
-- People insert acts; the engine answers them. Only a request that waits can be taken back.

CREATE TRIGGER request_before_insert BEFORE INSERT ON request BEGIN
  SELECT RAISE(ABORT, 'request: a request cannot be replaced; insert a new one without id')
    WHERE EXISTS (SELECT 1 FROM request WHERE id = NEW.id);
END;
CREATE TRIGGER request_insert AFTER INSERT ON request BEGIN
  SELECT RAISE(ABORT,
      'request: insert act, plan, product, device and argument only; the engine fills in state, answer and answered_ms')
    WHERE NEW.state <> 'new' OR NEW.answer <> '' OR NEW.answered_ms IS NOT NULL;
  SELECT RAISE(ABORT, 'request.act: is none of release, cancel, retry, consent')
    WHERE NEW.act NOT IN ('release', 'cancel', 'retry', 'consent');
  SELECT RAISE(ABORT, 'request ''release'': is of a plan, or of all that is held; it names no product and no device')
    WHERE NEW.act = 'release' AND (NEW.product IS NOT NULL OR NEW.device IS NOT NULL);
  SELECT RAISE(ABORT, 'request ''cancel'': names no device; to cancel a whole plan set its wanted to canceled')
    WHERE NEW.act = 'cancel' AND NEW.device IS NULL;
  SELECT RAISE(ABORT, 'request ''retry'' and ''consent'': name plan and device')
    WHERE NEW.act IN ('retry', 'consent') AND (NEW.plan IS NULL OR NEW.device IS NULL);
  SELECT RAISE(ABORT, 'request.plan: there is no such plan')
    WHERE NEW.plan IS NOT NULL AND NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT, 'request.device: name its product or a plan too')
    WHERE NEW.device IS NOT NULL AND NEW.product IS NULL AND NEW.plan IS NULL;
  SELECT RAISE(ABORT, 'request.product: there is no such product')
    WHERE NEW.product IS NOT NULL AND NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  SELECT RAISE(ABORT, 'request.product: the plan belongs to another product')
    WHERE NEW.product IS NOT NULL AND NEW.plan IS NOT NULL AND NEW.product <> (SELECT product FROM plan WHERE name =
        NEW.plan);
  SELECT RAISE(ABORT, 'request.device: the product has no such device')
    WHERE NEW.device IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM device_state WHERE name = NEW.device AND product = coalesce(NEW.product, (SELECT
          product FROM plan WHERE name = NEW.plan)))
      AND NOT EXISTS (SELECT 1 FROM device WHERE name = NEW.device AND product = coalesce(NEW.product, (SELECT product
          FROM plan WHERE name = NEW.plan)));
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'request', 'insert', NEW.product, coalesce(NEW.plan,
        NEW.device), NEW.act || ' ' || NEW.id FROM now;
END;
CREATE TRIGGER request_update BEFORE UPDATE ON request BEGIN
  SELECT RAISE(ABORT, 'request: it is answered by the engine and cannot be changed; insert another one')
    WHERE (SELECT writing FROM engine_state) IS NOT 1;
END;
CREATE TRIGGER request_delete BEFORE DELETE ON request BEGIN
  SELECT RAISE(ABORT, 'request: answered ones are history and cannot be deleted')
    WHERE (SELECT writing FROM engine_state) IS NOT 1 AND OLD.state <> 'new';
END;

CREATE TRIGGER import_before_insert BEFORE INSERT ON import BEGIN
  SELECT RAISE(ABORT, 'import: it is written by otactl import and cannot be replaced')
    WHERE EXISTS (SELECT 1 FROM import WHERE id = NEW.id) OR (NEW.open = 1 AND EXISTS (SELECT 1 FROM import WHERE open
        = 1));
END;
CREATE TRIGGER import_update BEFORE UPDATE ON import BEGIN
  SELECT RAISE(ABORT, 'import: it says who changed what, and cannot be changed')
    WHERE OLD.open <> 1 OR (NEW.id, NEW.at_ms, NEW.who, NEW.host, NEW.file, NEW.sha256) IS NOT (OLD.id, OLD.at_ms,
        OLD.who, OLD.host, OLD.file, OLD.sha256);
END;
CREATE TRIGGER import_delete BEFORE DELETE ON import BEGIN
  SELECT RAISE(ABORT, 'import: it says who changed what, and cannot be deleted')
    WHERE (SELECT writing FROM engine_state) IS NOT 1 AND OLD.open <> 1;
END;

CREATE TRIGGER journal_before_insert BEFORE INSERT ON journal BEGIN
  SELECT RAISE(ABORT, 'journal: it is written by triggers and cannot be changed')
    WHERE EXISTS (SELECT 1 FROM journal WHERE id = NEW.id);
END;
CREATE TRIGGER journal_update BEFORE UPDATE ON journal BEGIN
  SELECT RAISE(ABORT, 'journal: it is written by triggers and cannot be changed');
END;
CREATE TRIGGER journal_delete BEFORE DELETE ON journal BEGIN
  SELECT RAISE(ABORT, 'journal: it is pruned by the engine by age (setting log_days) and cannot be deleted')
    WHERE (SELECT writing FROM engine_state) IS NOT 1;
END;

-- `before_insert` keeps its one row, or the guards above would see nothing.
CREATE TRIGGER before_insert_insert BEFORE INSERT ON before_insert BEGIN
  SELECT RAISE(ABORT, 'before_insert belongs to the triggers');
END;
CREATE TRIGGER before_insert_delete BEFORE DELETE ON before_insert BEGIN
  SELECT RAISE(ABORT, 'before_insert belongs to the triggers');
END;

-- ---------------------------------------------------------------- STATE tables: the engine alone

CREATE TRIGGER device_state_insert BEFORE INSERT ON device_state WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'device_state is written by the engine; what people know of a device goes into device');
END;
CREATE TRIGGER device_state_update BEFORE UPDATE ON device_state WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'device_state is written by the engine; what people know of a device goes into device');
END;
CREATE TRIGGER device_state_delete BEFORE DELETE ON device_state WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'device_state is written by the engine; what people know of a device goes into device');
END;
CREATE TRIGGER device_version_insert BEFORE INSERT ON device_version WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'device_version is written by the engine; versions are what devices report');
END;
CREATE TRIGGER device_version_update BEFORE UPDATE ON device_version WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'device_version is written by the engine; versions are what devices report');
END;
CREATE TRIGGER device_version_delete BEFORE DELETE ON device_version WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'device_version is written by the engine; versions are what devices report');
END;
CREATE TRIGGER package_state_insert BEFORE INSERT ON package_state WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'package_state is written by the engine; packages and files go into package and package_file');
END;
CREATE TRIGGER package_state_update BEFORE UPDATE ON package_state WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'package_state is written by the engine; packages and files go into package and package_file');
END;
CREATE TRIGGER package_state_delete BEFORE DELETE ON package_state WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'package_state is written by the engine; packages and files go into package and package_file');
END;
CREATE TRIGGER plan_state_insert BEFORE INSERT ON plan_state WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT,
      'plan_state is written by the engine; to change a plan set plan.wanted, to release it insert into request (act ''release'')');
END;
CREATE TRIGGER plan_state_update BEFORE UPDATE ON plan_state WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT,
      'plan_state is written by the engine; to change a plan set plan.wanted, to release it insert into request (act ''release'')');
END;
CREATE TRIGGER plan_state_delete BEFORE DELETE ON plan_state WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT,
      'plan_state is written by the engine; to change a plan set plan.wanted, to release it insert into request (act ''release'')');
END;
CREATE TRIGGER task_insert BEFORE INSERT ON task WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'task is written by the engine; to cancel a task insert into request (act ''cancel'')');
END;
CREATE TRIGGER task_update BEFORE UPDATE ON task WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'task is written by the engine; to cancel a task insert into request (act ''cancel'')');
END;
CREATE TRIGGER task_delete BEFORE DELETE ON task WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'task is written by the engine; to cancel a task insert into request (act ''cancel'')');
END;
CREATE TRIGGER task_component_insert BEFORE INSERT ON task_component WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'task_component is written by the engine; to cancel a task insert into request (act ''cancel'')');
END;
CREATE TRIGGER task_component_update BEFORE UPDATE ON task_component WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'task_component is written by the engine; to cancel a task insert into request (act ''cancel'')');
END;
CREATE TRIGGER task_component_delete BEFORE DELETE ON task_component WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'task_component is written by the engine; to cancel a task insert into request (act ''cancel'')');
END;
CREATE TRIGGER log_insert BEFORE INSERT ON log WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'log is written by the engine; it is pruned by age (setting log_days)');
END;
CREATE TRIGGER log_update BEFORE UPDATE ON log WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'log is written by the engine; it is pruned by age (setting log_days)');
END;
CREATE TRIGGER log_delete BEFORE DELETE ON log WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'log is written by the engine; it is pruned by age (setting log_days)');
END;
CREATE TRIGGER engine_health_insert BEFORE INSERT ON engine_health WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'engine_health is written by the engine; read it, or use otactl status');
END;
CREATE TRIGGER engine_health_update BEFORE UPDATE ON engine_health WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'engine_health is written by the engine; read it, or use otactl status');
END;
CREATE TRIGGER engine_health_delete BEFORE DELETE ON engine_health WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT, 'engine_health is written by the engine; read it, or use otactl status');
END;

-- One row for ever. `writing` can be set by anybody who means it; nothing else can be changed without it.
CREATE TRIGGER engine_state_insert BEFORE INSERT ON engine_state BEGIN
  SELECT RAISE(ABORT, 'engine_state is written by the engine');
END;
CREATE TRIGGER engine_state_update BEFORE UPDATE ON engine_state
  WHEN OLD.writing <> 1 AND (NEW.writing <> 1 OR (NEW.one, NEW.database_id, NEW.commit_no, NEW.commit_ms,
      NEW.journal_done)
    IS NOT (OLD.one, OLD.database_id, OLD.commit_no, OLD.commit_ms, OLD.journal_done)) BEGIN
  SELECT RAISE(ABORT, 'engine_state is written by the engine');
END;
CREATE TRIGGER engine_state_delete BEFORE DELETE ON engine_state BEGIN
  SELECT RAISE(ABORT, 'engine_state is written by the engine');
END;
