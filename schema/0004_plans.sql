-- Step 4: everything that plans can say. New columns and tables first, then guards and views.
--
-- In a profile NULL means: no such rule. In a plan NULL means: the profile's value, or no limit.

-- ------------------------------------------------------------------------------------------------ ADMIN

ALTER TABLE profile ADD COLUMN langs TEXT NOT NULL DEFAULT '';            -- that a manual plan's texts must have, with blanks between
ALTER TABLE profile ADD COLUMN zone_required INTEGER NOT NULL DEFAULT 0 CHECK (zone_required IN (0, 1));
ALTER TABLE profile ADD COLUMN verify_required INTEGER NOT NULL DEFAULT 0 CHECK (verify_required IN (0, 1));
ALTER TABLE profile ADD COLUMN start_min_s INTEGER;                       -- start after activation, at least and at most
ALTER TABLE profile ADD COLUMN start_max_s INTEGER;
ALTER TABLE profile ADD COLUMN end_min_s INTEGER;                         -- end after start, at least and at most
ALTER TABLE profile ADD COLUMN end_max_s INTEGER;
ALTER TABLE profile ADD COLUMN start_static INTEGER NOT NULL DEFAULT 0 CHECK (start_static IN (0, 1)); -- only static plans are scheduled
ALTER TABLE profile ADD COLUMN rate_min INTEGER;
ALTER TABLE profile ADD COLUMN rate_max INTEGER;
ALTER TABLE profile ADD COLUMN retry_counts TEXT;                         -- allowed values, with blanks between
ALTER TABLE profile ADD COLUMN retry_intervals TEXT;
ALTER TABLE profile ADD COLUMN timeout_min_s INTEGER;
ALTER TABLE profile ADD COLUMN timeout_max_s INTEGER;
ALTER TABLE profile ADD COLUMN dynamic_sources INTEGER NOT NULL DEFAULT 0 CHECK (dynamic_sources IN (0, 1)); -- a dynamic plan of a full package names its source versions
ALTER TABLE profile ADD COLUMN selected_sources INTEGER NOT NULL DEFAULT 1 CHECK (selected_sources IN (0, 1)); -- selected devices and source versions go together
ALTER TABLE profile ADD COLUMN dynamic_unique TEXT NOT NULL DEFAULT 'source' CHECK (dynamic_unique IN ('none', 'source', 'package'));
ALTER TABLE profile ADD COLUMN max_listed INTEGER NOT NULL DEFAULT 1000000 CHECK (max_listed > 0); -- devices in a whitelist
ALTER TABLE profile ADD COLUMN max_open INTEGER NOT NULL DEFAULT 1000000 CHECK (max_open > 0);     -- open tasks of a plan at a time
ALTER TABLE profile ADD COLUMN max_tags INTEGER NOT NULL DEFAULT 100 CHECK (max_tags >= 0);        -- of a plan
ALTER TABLE profile ADD COLUMN strict_names INTEGER NOT NULL DEFAULT 0 CHECK (strict_names IN (0, 1)); -- names as the clouds' consoles allow them
ALTER TABLE profile ADD COLUMN grace_s INTEGER NOT NULL DEFAULT 120 CHECK (grace_s BETWEEN 0 AND 86400);
ALTER TABLE profile ADD COLUMN fails_when_busy INTEGER NOT NULL DEFAULT 0 CHECK (fails_when_busy IN (0, 1));
ALTER TABLE profile ADD COLUMN halt_failures INTEGER NOT NULL DEFAULT 3 CHECK (halt_failures BETWEEN 0 AND 1000000); -- 0: never
ALTER TABLE profile ADD COLUMN halt_percent INTEGER NOT NULL DEFAULT 0 CHECK (halt_percent BETWEEN 0 AND 100);       -- 0: never
ALTER TABLE profile ADD COLUMN halt_sample INTEGER NOT NULL DEFAULT 10 CHECK (halt_sample BETWEEN 1 AND 1000000);
ALTER TABLE profile ADD COLUMN loop_max INTEGER NOT NULL DEFAULT 3 CHECK (loop_max BETWEEN 0 AND 1000);              -- 0: never
ALTER TABLE profile ADD COLUMN quarantine_s INTEGER NOT NULL DEFAULT 0 CHECK (quarantine_s BETWEEN 0 AND 31536000);  -- 0: until released

-- File names that packages of a profile may have: suffixes, compared without case, longest first. No row: any.
CREATE TABLE file_format (
  profile     TEXT NOT NULL REFERENCES profile(name),
  suffix      TEXT NOT NULL CHECK (length(suffix) BETWEEN 1 AND 16 AND suffix = lower(suffix)),
  PRIMARY KEY (profile, suffix)
) STRICT, WITHOUT ROWID;

ALTER TABLE plan ADD COLUMN kind TEXT NOT NULL DEFAULT 'batch' CHECK (kind IN ('batch', 'verify'));
ALTER TABLE plan ADD COLUMN scope_kind TEXT NOT NULL DEFAULT 'dynamic' CHECK (scope_kind IN ('static', 'dynamic'));
ALTER TABLE plan ADD COLUMN new_reports INTEGER NOT NULL DEFAULT 0 CHECK (new_reports IN (0, 1)); -- dynamic: only devices that report after the activation
ALTER TABLE plan ADD COLUMN percent INTEGER CHECK (percent BETWEEN 1 AND 100);                    -- static: share of the devices that match
ALTER TABLE plan ADD COLUMN trigger TEXT NOT NULL DEFAULT 'push' CHECK (trigger IN ('push', 'request'));
ALTER TABLE plan ADD COLUMN start_ms INTEGER;                                                     -- nothing is offered before
ALTER TABLE plan ADD COLUMN at_end TEXT NOT NULL DEFAULT 'stop' CHECK (at_end IN ('stop', 'cancel', 'force'));
-- What wanted='canceled' ends: every task that has not ended, or only those that nothing was offered of; then no device
-- joins any more, and open tasks go on to their end.
ALTER TABLE plan ADD COLUMN at_cancel TEXT NOT NULL DEFAULT 'all' CHECK (at_cancel IN ('all', 'queued'));
ALTER TABLE plan ADD COLUMN zone TEXT;                                                            -- NULL: the machine's own
ALTER TABLE plan ADD COLUMN window_from TEXT CHECK (window_from GLOB '[0-2][0-9]:[0-5][0-9]' AND window_from < '24:00');
ALTER TABLE plan ADD COLUMN window_to TEXT CHECK (window_to GLOB '[0-2][0-9]:[0-5][0-9]' AND window_to <= '24:00');
ALTER TABLE plan ADD COLUMN rate INTEGER CHECK (rate BETWEEN 1 AND 1000000);                      -- offers per minute
ALTER TABLE plan ADD COLUMN max_open INTEGER CHECK (max_open BETWEEN 1 AND 1000000);
ALTER TABLE plan ADD COLUMN bytes_per_second INTEGER CHECK (bytes_per_second BETWEEN 1 AND 1000000000000); -- of issued downloads
ALTER TABLE plan ADD COLUMN max_age_s INTEGER CHECK (max_age_s BETWEEN 1 AND 31536000);           -- of measured values
ALTER TABLE plan ADD COLUMN unknown TEXT NOT NULL DEFAULT 'offer' CHECK (unknown IN ('offer', 'wait')); -- values
ALTER TABLE plan ADD COLUMN override INTEGER NOT NULL DEFAULT 0 CHECK (override IN (0, 1));
ALTER TABLE plan ADD COLUMN verify_required INTEGER CHECK (verify_required IN (0, 1));
ALTER TABLE plan ADD COLUMN strict_progress INTEGER NOT NULL DEFAULT 0 CHECK (strict_progress IN (0, 1));
ALTER TABLE plan ADD COLUMN grace_s INTEGER CHECK (grace_s BETWEEN 0 AND 86400);
ALTER TABLE plan ADD COLUMN timeout_s INTEGER CHECK (timeout_s BETWEEN 60 AND 31536000);          -- of a task, from its first progress
ALTER TABLE plan ADD COLUMN halt_failures INTEGER CHECK (halt_failures BETWEEN 0 AND 1000000);
ALTER TABLE plan ADD COLUMN halt_percent INTEGER CHECK (halt_percent BETWEEN 0 AND 100);
ALTER TABLE plan ADD COLUMN halt_sample INTEGER CHECK (halt_sample BETWEEN 1 AND 1000000);
ALTER TABLE plan ADD COLUMN loop_max INTEGER CHECK (loop_max BETWEEN 0 AND 1000);
ALTER TABLE plan ADD COLUMN quarantine_s INTEGER CHECK (quarantine_s BETWEEN 0 AND 31536000);

-- Failures that are tried again, by reason; without a row: all but time-outs. Refusals never are.
CREATE TABLE plan_retry (
  plan        TEXT NOT NULL REFERENCES plan(name),
  reason      TEXT NOT NULL,
  PRIMARY KEY (plan, reason)
) STRICT, WITHOUT ROWID;

-- Tags (device_tag) that a device must have: of every key one of the values.
CREATE TABLE plan_match (
  plan        TEXT NOT NULL REFERENCES plan(name),
  key         TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 64),
  value       TEXT NOT NULL CHECK (length(value) <= 1024),
  PRIMARY KEY (plan, key, value)
) STRICT, WITHOUT ROWID;

-- The order in which rows came, for devices without a rank; filled by a trigger.
ALTER TABLE plan_device ADD COLUMN position INTEGER;
UPDATE plan_device SET position = n.i
  FROM (SELECT plan, list, device, row_number() OVER (PARTITION BY plan ORDER BY list, device) AS i FROM plan_device) n
  WHERE n.plan = plan_device.plan AND n.list = plan_device.list AND n.device = plan_device.device;
CREATE INDEX plan_device_position ON plan_device(plan, position);

-- Brakes: of one device, of a product (device ''), of the site (both '').
CREATE TABLE hold (
  product     TEXT NOT NULL DEFAULT '',
  device      TEXT NOT NULL DEFAULT '',
  until_ms    INTEGER,                                                    -- NULL: until the row is deleted
  reason      TEXT NOT NULL DEFAULT '' CHECK (length(reason) <= 1000),
  PRIMARY KEY (product, device),
  CHECK (product <> '' OR device = '')
) STRICT, WITHOUT ROWID;

-- Battery, signal and free space from topics that devices publish to anyway. `topic` holds {device}, and may hold
-- {product}; `path` is a JSON pointer (RFC 6901), '' for a payload that is the number itself.
CREATE TABLE telemetry (
  product     TEXT NOT NULL REFERENCES product(name),
  value       TEXT NOT NULL CHECK (value IN ('battery', 'signal', 'free_bytes')),
  topic       TEXT NOT NULL CHECK (length(topic) BETWEEN 1 AND 256),
  path        TEXT NOT NULL CHECK (length(path) <= 256 AND (path = '' OR path GLOB '/*')),
  PRIMARY KEY (product, value)
) STRICT, WITHOUT ROWID;

-- The rules of the five profiles; `default` has none of somebody else's. Rows that people made stay as they are.
UPDATE profile SET langs = 'zh en', zone_required = 1, max_open = 10000 WHERE name = 'quectel';
UPDATE profile SET verify_required = 1, start_min_s = 300, start_max_s = 604800, end_min_s = 3600, end_max_s = 2592000,
    start_static = 1, rate_min = 10, rate_max = 1000, retry_counts = '1 2 5', retry_intervals = '0 600 1800 3600 86400',
    timeout_min_s = 60, timeout_max_s = 86400, dynamic_sources = 1, selected_sources = 0, max_listed = 10000, max_tags = 10,
    strict_names = 1, grace_s = 0, fails_when_busy = 1 WHERE name = 'alibaba';
UPDATE profile SET verify_required = 1, timeout_min_s = 300, timeout_max_s = 172800 WHERE name = 'enos';
INSERT INTO file_format(profile, suffix)
  SELECT name, suffix FROM profile JOIN (
    SELECT 'quectel' AS profile, column1 AS suffix FROM (VALUES ('.bin'), ('.zip'), ('.rar'), ('.pack'), ('.mini_1'), ('.mini_2'),
      ('.py'), ('.tar'), ('.tar.gz'), ('.s19'), ('.bin_1'), ('.bin_2'), ('bin_1'), ('bin_2'))
    UNION ALL
    SELECT 'alibaba', column1 FROM (VALUES ('.bin'), ('.tar'), ('.gz'), ('.tar.gz'), ('.zip'), ('.gzip'), ('.dav'), ('.apk'),
      ('.tar.xz'), ('.pack'))) f ON f.profile = profile.name;

-- ------------------------------------------------------------------------------------------------ STATE

-- Time zones of the system's database; the engine fills it at start.
CREATE TABLE zone (
  name        TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE plan_state ADD COLUMN halted TEXT NOT NULL DEFAULT '';             -- why the plan halted by itself; '': it did not
ALTER TABLE plan_state ADD COLUMN base_failed INTEGER NOT NULL DEFAULT 0;      -- failed and ended tasks when a person let it go on
ALTER TABLE plan_state ADD COLUMN base_ended INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plan_state ADD COLUMN last_device_id INTEGER NOT NULL DEFAULT 0;   -- the last device registered at the activation
ALTER TABLE plan_state ADD COLUMN members INTEGER NOT NULL DEFAULT 0;          -- static with a percentage: devices that matched ...
ALTER TABLE plan_state ADD COLUMN picked INTEGER NOT NULL DEFAULT 0;           -- ... and those of them that have a task

-- Devices that matched a static plan with a percentage, in the order in which they are picked.
CREATE TABLE plan_member (
  plan        TEXT NOT NULL,
  hash        INTEGER NOT NULL,
  device_id   INTEGER NOT NULL,
  PRIMARY KEY (plan, hash, device_id)
) STRICT, WITHOUT ROWID;

ALTER TABLE task ADD COLUMN progressed_ms INTEGER;                             -- first progress, on the steady scale
ALTER TABLE task ADD COLUMN position INTEGER NOT NULL DEFAULT 0;               -- lower goes first
-- Those that wait for the plan's pace, in their order.
CREATE INDEX task_waiting ON task(plan, position)
  WHERE state = 'queued' AND reason IN ('rate', 'too_many_open', 'bytes_per_second');
ALTER TABLE task_component ADD COLUMN "full" INTEGER NOT NULL DEFAULT 0;       -- 100 % was reported in this attempt
ALTER TABLE task_component ADD COLUMN returned_ms INTEGER;                     -- the source version was seen again

-- Failures of one target in a row; `aside` devices get no plan of it.
CREATE TABLE device_streak (
  device_id   INTEGER NOT NULL,
  component   TEXT NOT NULL,
  target      TEXT NOT NULL,
  failures    INTEGER NOT NULL,
  aside       INTEGER NOT NULL DEFAULT 0,
  until_ms    INTEGER,                                                         -- NULL: until released
  PRIMARY KEY (device_id, component, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_streak_until ON device_streak(until_ms) WHERE until_ms IS NOT NULL;

-- Answers to requests 'explain': every rule in order, for one device and each of its product's plans.
CREATE TABLE explanation (
  request     INTEGER NOT NULL,
  plan        TEXT NOT NULL,
  seq         INTEGER NOT NULL,
  rule        TEXT NOT NULL,
  ok          INTEGER NOT NULL,
  reason      TEXT NOT NULL,
  value       TEXT NOT NULL,
  "limit"     TEXT NOT NULL,
  when_ms     INTEGER,                                                         -- when it can change, if that is known; wall time
  PRIMARY KEY (request, plan, seq)
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------------------------------------ GUARDS
-- As in 0002_guards.sql. Checks that were added to a table stand in triggers of their own; a trigger whose old text does
-- not hold any more is dropped and made again.

-- The profile of each product.
CREATE VIEW rules_of AS SELECT p.name AS product, f.* FROM product p JOIN profile f ON f.name = p.profile;

-- Languages that manual plans need, one row each.
CREATE VIEW profile_langs(profile, lang) AS
WITH RECURSIVE word(profile, lang, rest) AS (
  SELECT name, '', langs || ' ' FROM profile WHERE langs <> ''
  UNION ALL
  SELECT profile, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1) FROM word WHERE rest <> ''
) SELECT profile, lang FROM word WHERE lang <> '';

-- Packages that a verify plan has proved: at least one of its devices was upgraded with the package, and none of its
-- devices is in another state than succeeded.
CREATE VIEW verified(product, package, plan) AS
SELECT p.product, u.package, p.name
FROM (SELECT plan, component, "full" AS package, 'full' AS kind FROM plan_component WHERE "full" IS NOT NULL
      UNION ALL
      SELECT plan, component, delta, 'delta' FROM plan_component WHERE delta IS NOT NULL) u
JOIN plan p ON p.name = u.plan AND p.kind = 'verify' AND p.wanted <> 'draft'
WHERE EXISTS (SELECT 1 FROM task t JOIN task_component c ON c.task_id = t.id
              WHERE t.plan = p.name AND t.state = 'succeeded' AND c.name = u.component AND c.package = u.kind AND c.state = 'proved')
  AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.state <> 'succeeded')
  AND NOT EXISTS (SELECT 1 FROM plan_device w WHERE w.plan = p.name AND w.list = 'white'
        AND NOT EXISTS (SELECT 1 FROM plan_device b WHERE b.plan = p.name AND b.list = 'black' AND b.device = w.device)
        AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.device_id =
                          (SELECT s.id FROM device_state s WHERE s.product = p.product AND s.name = w.device)));

-- What dynamic plans in force upgrade from: a row for each package, with the source version, or NULL for any.
CREATE VIEW dynamic_sources(plan, product, package, source) AS
SELECT p.name, p.product, u.package, s.version
FROM plan p JOIN (SELECT plan, component, "full" AS package FROM plan_component WHERE "full" IS NOT NULL
                  UNION ALL
                  SELECT plan, component, delta FROM plan_component WHERE delta IS NOT NULL) u ON u.plan = p.name
LEFT JOIN plan_source s ON s.plan = p.name AND s.component = u.component
WHERE p.wanted IN ('active', 'paused') AND p.kind = 'batch' AND p.scope = 'all' AND p.scope_kind = 'dynamic'
  AND NOT EXISTS (SELECT 1 FROM plan_state z WHERE z.plan = p.name AND z.state IN ('ended', 'canceled'));
-- ---------------------------------------------------------------- profile, file_format
DROP TRIGGER profile_before_insert;
DROP TRIGGER profile_insert;
DROP TRIGGER profile_update;
DROP TRIGGER profile_delete;
CREATE TRIGGER profile_before_insert BEFORE INSERT ON profile BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.max_files, o.max_file_bytes, o.max_packages, o.offer_s, o.download_s, o.install_s,
        o.reboot_s, o.longest_s, o.retry_max, o.retry_interval_s, o.langs, o.zone_required, o.verify_required,
        o.start_min_s, o.start_max_s, o.end_min_s, o.end_max_s, o.start_static, o.rate_min, o.rate_max,
        o.retry_counts, o.retry_intervals, o.timeout_min_s, o.timeout_max_s, o.dynamic_sources, o.selected_sources,
        o.dynamic_unique, o.max_listed, o.max_open, o.max_tags, o.strict_names, o.grace_s, o.fails_when_busy,
        o.halt_failures, o.halt_percent, o.halt_sample, o.loop_max, o.quarantine_s) IS (NEW.max_files,
        NEW.max_file_bytes, NEW.max_packages, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s,
        NEW.retry_max, NEW.retry_interval_s, NEW.langs, NEW.zone_required, NEW.verify_required, NEW.start_min_s,
        NEW.start_max_s, NEW.end_min_s, NEW.end_max_s, NEW.start_static, NEW.rate_min, NEW.rate_max, NEW.retry_counts,
        NEW.retry_intervals, NEW.timeout_min_s, NEW.timeout_max_s, NEW.dynamic_sources, NEW.selected_sources,
        NEW.dynamic_unique, NEW.max_listed, NEW.max_open, NEW.max_tags, NEW.strict_names, NEW.grace_s,
        NEW.fails_when_busy, NEW.halt_failures, NEW.halt_percent, NEW.halt_sample, NEW.loop_max, NEW.quarantine_s)
        THEN 'same'
      ELSE 'other' END FROM profile o WHERE o.name = NEW.name), 'none');
END;
CREATE TRIGGER profile_insert AFTER INSERT ON profile BEGIN
  SELECT RAISE(ABORT, 'profile.langs: must be language tags with one blank between, such as zh en')
    WHERE NEW.langs GLOB '*[^A-Za-z0-9 -]*' OR NEW.langs <> trim(NEW.langs) OR NEW.langs GLOB '*  *';
  SELECT RAISE(ABORT, 'profile.retry_counts: must be numbers with one blank between, such as 1 2 5')
    WHERE NEW.retry_counts GLOB '*[^0-9 ]*' OR NEW.retry_counts <> trim(NEW.retry_counts) OR NEW.retry_counts GLOB
        '*  *';
  SELECT RAISE(ABORT, 'profile.retry_intervals: must be numbers with one blank between, such as 1 2 5')
    WHERE NEW.retry_intervals GLOB '*[^0-9 ]*' OR NEW.retry_intervals <> trim(NEW.retry_intervals) OR
        NEW.retry_intervals GLOB '*  *';
  SELECT RAISE(ABORT, 'profile.start_min_s, start_max_s: must not be negative, and the first not above the second')
    WHERE NEW.start_min_s < 0 OR NEW.start_max_s < 0 OR NEW.start_min_s > NEW.start_max_s;
  SELECT RAISE(ABORT, 'profile.end_min_s, end_max_s: must not be negative, and the first not above the second')
    WHERE NEW.end_min_s < 0 OR NEW.end_max_s < 0 OR NEW.end_min_s > NEW.end_max_s;
  SELECT RAISE(ABORT, 'profile.rate_min, rate_max: must not be negative, and the first not above the second')
    WHERE NEW.rate_min < 0 OR NEW.rate_max < 0 OR NEW.rate_min > NEW.rate_max;
  SELECT RAISE(ABORT, 'profile.timeout_min_s, timeout_max_s: must not be negative, and the first not above the second')
    WHERE NEW.timeout_min_s < 0 OR NEW.timeout_max_s < 0 OR NEW.timeout_min_s > NEW.timeout_max_s;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'profile', 'insert', NULL, NEW.name, '' FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER profile_update AFTER UPDATE ON profile WHEN (NEW.name, NEW.max_files, NEW.max_file_bytes,
    NEW.max_packages, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max,
    NEW.retry_interval_s, NEW.langs, NEW.zone_required, NEW.verify_required, NEW.start_min_s, NEW.start_max_s,
    NEW.end_min_s, NEW.end_max_s, NEW.start_static, NEW.rate_min, NEW.rate_max, NEW.retry_counts, NEW.retry_intervals,
    NEW.timeout_min_s, NEW.timeout_max_s, NEW.dynamic_sources, NEW.selected_sources, NEW.dynamic_unique,
    NEW.max_listed, NEW.max_open, NEW.max_tags, NEW.strict_names, NEW.grace_s, NEW.fails_when_busy, NEW.halt_failures,
    NEW.halt_percent, NEW.halt_sample, NEW.loop_max, NEW.quarantine_s) IS NOT (OLD.name, OLD.max_files,
    OLD.max_file_bytes, OLD.max_packages, OLD.offer_s, OLD.download_s, OLD.install_s, OLD.reboot_s, OLD.longest_s,
    OLD.retry_max, OLD.retry_interval_s, OLD.langs, OLD.zone_required, OLD.verify_required, OLD.start_min_s,
    OLD.start_max_s, OLD.end_min_s, OLD.end_max_s, OLD.start_static, OLD.rate_min, OLD.rate_max, OLD.retry_counts,
    OLD.retry_intervals, OLD.timeout_min_s, OLD.timeout_max_s, OLD.dynamic_sources, OLD.selected_sources,
    OLD.dynamic_unique, OLD.max_listed, OLD.max_open, OLD.max_tags, OLD.strict_names, OLD.grace_s,
    OLD.fails_when_busy, OLD.halt_failures, OLD.halt_percent, OLD.halt_sample, OLD.loop_max, OLD.quarantine_s) BEGIN
  SELECT RAISE(ABORT, 'profile: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  SELECT RAISE(ABORT, 'profile.langs: must be language tags with one blank between, such as zh en')
    WHERE NEW.langs GLOB '*[^A-Za-z0-9 -]*' OR NEW.langs <> trim(NEW.langs) OR NEW.langs GLOB '*  *';
  SELECT RAISE(ABORT, 'profile.retry_counts: must be numbers with one blank between, such as 1 2 5')
    WHERE NEW.retry_counts GLOB '*[^0-9 ]*' OR NEW.retry_counts <> trim(NEW.retry_counts) OR NEW.retry_counts GLOB
        '*  *';
  SELECT RAISE(ABORT, 'profile.retry_intervals: must be numbers with one blank between, such as 1 2 5')
    WHERE NEW.retry_intervals GLOB '*[^0-9 ]*' OR NEW.retry_intervals <> trim(NEW.retry_intervals) OR
        NEW.retry_intervals GLOB '*  *';
  SELECT RAISE(ABORT, 'profile.start_min_s, start_max_s: must not be negative, and the first not above the second')
    WHERE NEW.start_min_s < 0 OR NEW.start_max_s < 0 OR NEW.start_min_s > NEW.start_max_s;
  SELECT RAISE(ABORT, 'profile.end_min_s, end_max_s: must not be negative, and the first not above the second')
    WHERE NEW.end_min_s < 0 OR NEW.end_max_s < 0 OR NEW.end_min_s > NEW.end_max_s;
  SELECT RAISE(ABORT, 'profile.rate_min, rate_max: must not be negative, and the first not above the second')
    WHERE NEW.rate_min < 0 OR NEW.rate_max < 0 OR NEW.rate_min > NEW.rate_max;
  SELECT RAISE(ABORT, 'profile.timeout_min_s, timeout_max_s: must not be negative, and the first not above the second')
    WHERE NEW.timeout_min_s < 0 OR NEW.timeout_max_s < 0 OR NEW.timeout_min_s > NEW.timeout_max_s;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'profile', 'update', NULL, NEW.name, '' FROM now;
END;
CREATE TRIGGER profile_delete AFTER DELETE ON profile BEGIN
  SELECT RAISE(ABORT, 'profile: products use it (product.profile); give them another profile first')
    WHERE EXISTS (SELECT 1 FROM product WHERE profile = OLD.name);
  SELECT RAISE(ABORT, 'profile: file formats belong to it; delete them first (file_format)')
    WHERE EXISTS (SELECT 1 FROM file_format WHERE profile = OLD.name);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'profile', 'delete', NULL, OLD.name, '' FROM now;
END;
CREATE TRIGGER file_format_before_insert BEFORE INSERT ON file_format BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN 1 THEN 'same'
      ELSE 'other' END FROM file_format o WHERE o.profile = NEW.profile AND o.suffix = NEW.suffix), 'none');
END;
CREATE TRIGGER file_format_insert AFTER INSERT ON file_format BEGIN
  SELECT RAISE(ABORT, 'file_format.profile: there is no such profile; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'file_format', 'insert', NULL, NEW.profile, NEW.suffix FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER file_format_update AFTER UPDATE ON file_format WHEN (NEW.profile, NEW.suffix) IS NOT (OLD.profile,
    OLD.suffix) BEGIN
  SELECT RAISE(ABORT, 'file_format: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.profile, NEW.suffix) IS NOT (OLD.profile, OLD.suffix);
  SELECT RAISE(ABORT, 'file_format.profile: there is no such profile; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM profile WHERE name = NEW.profile);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'file_format', 'update', NULL, NEW.profile, NEW.suffix FROM now;
END;
CREATE TRIGGER file_format_delete AFTER DELETE ON file_format BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'file_format', 'delete', NULL, OLD.profile, OLD.suffix FROM now;
END;
-- ---------------------------------------------------------------- product, component, device_tag
DROP TRIGGER product_insert;
DROP TRIGGER product_update;
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
CREATE TRIGGER product_parts_delete AFTER DELETE ON product BEGIN
  SELECT RAISE(ABORT, 'product: telemetry belongs to it; delete it first (telemetry)')
    WHERE EXISTS (SELECT 1 FROM telemetry WHERE product = OLD.name);
  SELECT RAISE(ABORT, 'product: it or devices of it are held; delete that first (hold)')
    WHERE EXISTS (SELECT 1 FROM hold WHERE product = OLD.name);
END;
CREATE TRIGGER device_hold_delete AFTER DELETE ON device BEGIN
  SELECT RAISE(ABORT, 'device: it is held; delete that first (hold)')
    WHERE EXISTS (SELECT 1 FROM hold WHERE product = OLD.product AND device = OLD.name)
      AND NOT EXISTS (SELECT 1 FROM device_state WHERE product = OLD.product AND name = OLD.name);
END;
CREATE TRIGGER component_strict_insert AFTER INSERT ON component BEGIN
  SELECT RAISE(ABORT, 'component.name: the profile is strict (profile.strict_names): 1 to 64 letters, digits, . - _')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (NEW.name GLOB
        '*[^A-Za-z0-9._-]*'));
  SELECT RAISE(ABORT,
      'component.alias: the profile is strict (profile.strict_names): at most 64 letters, digits, . - _')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (NEW.alias GLOB
        '*[^A-Za-z0-9._-]*'));
  SELECT RAISE(ABORT, 'component.remarks: the profile is strict (profile.strict_names): at most 100 characters')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND
        (length(NEW.remarks) > 100));
END;
CREATE TRIGGER component_strict_update AFTER UPDATE ON component BEGIN
  SELECT RAISE(ABORT, 'component.name: the profile is strict (profile.strict_names): 1 to 64 letters, digits, . - _')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (NEW.name GLOB
        '*[^A-Za-z0-9._-]*'));
  SELECT RAISE(ABORT,
      'component.alias: the profile is strict (profile.strict_names): at most 64 letters, digits, . - _')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (NEW.alias GLOB
        '*[^A-Za-z0-9._-]*'));
  SELECT RAISE(ABORT, 'component.remarks: the profile is strict (profile.strict_names): at most 100 characters')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND
        (length(NEW.remarks) > 100));
END;
CREATE TRIGGER device_tag_static_insert AFTER INSERT ON device_tag WHEN (SELECT found FROM before_insert) <> 'same'
    BEGIN
  SELECT RAISE(ABORT,
      'device_tag: a static plan that asks for this tag is being activated, and its devices are those of that moment; try again when it has been (a few seconds)')
    WHERE EXISTS (SELECT 1 FROM plan p WHERE p.wanted IN ('active', 'paused') AND p.product = NEW.product AND
        p.scope_kind = 'static'
      AND EXISTS (SELECT 1 FROM plan_match m WHERE m.plan = p.name AND m.key = NEW.key)
      AND NOT EXISTS (SELECT 1 FROM plan_state s WHERE s.plan = p.name AND (s.scanned = 1 OR s.state IN ('ended',
          'canceled'))));
END;
CREATE TRIGGER device_tag_static_update AFTER UPDATE ON device_tag WHEN NEW.value IS NOT OLD.value BEGIN
  SELECT RAISE(ABORT,
      'device_tag: a static plan that asks for this tag is being activated, and its devices are those of that moment; try again when it has been (a few seconds)')
    WHERE EXISTS (SELECT 1 FROM plan p WHERE p.wanted IN ('active', 'paused') AND p.product = NEW.product AND
        p.scope_kind = 'static'
      AND EXISTS (SELECT 1 FROM plan_match m WHERE m.plan = p.name AND m.key = NEW.key)
      AND NOT EXISTS (SELECT 1 FROM plan_state s WHERE s.plan = p.name AND (s.scanned = 1 OR s.state IN ('ended',
          'canceled'))));
END;
CREATE TRIGGER device_tag_static_delete AFTER DELETE ON device_tag BEGIN
  SELECT RAISE(ABORT,
      'device_tag: a static plan that asks for this tag is being activated, and its devices are those of that moment; try again when it has been (a few seconds)')
    WHERE EXISTS (SELECT 1 FROM plan p WHERE p.wanted IN ('active', 'paused') AND p.product = OLD.product AND
        p.scope_kind = 'static'
      AND EXISTS (SELECT 1 FROM plan_match m WHERE m.plan = p.name AND m.key = OLD.key)
      AND NOT EXISTS (SELECT 1 FROM plan_state s WHERE s.plan = p.name AND (s.scanned = 1 OR s.state IN ('ended',
          'canceled'))));
END;
-- ---------------------------------------------------------------- package, package_file
CREATE TRIGGER package_strict_insert AFTER INSERT ON package BEGIN
  SELECT RAISE(ABORT,
      'package.name: the profile is strict (profile.strict_names): 1 to 40 letters, digits, - _ ( ), beginning with a letter or digit')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (length(NEW.name)
        > 40 OR NEW.name GLOB '*[^A-Za-z0-9_()-]*' OR NEW.name GLOB '[^A-Za-z0-9]*'));
  SELECT RAISE(ABORT, 'package.version: the profile is strict (profile.strict_names): 1 to 64 letters, digits, . - _')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (NEW.version GLOB
        '*[^A-Za-z0-9._-]*'));
  SELECT RAISE(ABORT, 'package.remarks: the profile is strict (profile.strict_names): at most 100 characters')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND
        (length(NEW.remarks) > 100));
  SELECT RAISE(ABORT,
      'package.version: a file of the package starts from this version; a delta leads to another one (package_file.source)')
    WHERE EXISTS (SELECT 1 FROM package_file WHERE product = NEW.product AND package = NEW.name AND source =
        NEW.version);
END;
CREATE TRIGGER package_strict_update AFTER UPDATE ON package BEGIN
  SELECT RAISE(ABORT,
      'package.name: the profile is strict (profile.strict_names): 1 to 40 letters, digits, - _ ( ), beginning with a letter or digit')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (length(NEW.name)
        > 40 OR NEW.name GLOB '*[^A-Za-z0-9_()-]*' OR NEW.name GLOB '[^A-Za-z0-9]*'));
  SELECT RAISE(ABORT, 'package.version: the profile is strict (profile.strict_names): 1 to 64 letters, digits, . - _')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND (NEW.version GLOB
        '*[^A-Za-z0-9._-]*'));
  SELECT RAISE(ABORT, 'package.remarks: the profile is strict (profile.strict_names): at most 100 characters')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.strict_names = 1 AND
        (length(NEW.remarks) > 100));
  SELECT RAISE(ABORT,
      'package.version: a file of the package starts from this version; a delta leads to another one (package_file.source)')
    WHERE EXISTS (SELECT 1 FROM package_file WHERE product = NEW.product AND package = NEW.name AND source =
        NEW.version);
END;
CREATE TRIGGER package_file_format_insert AFTER INSERT ON package_file BEGIN
  SELECT RAISE(ABORT,
      'package_file.path: the profile does not allow this kind of file; see SELECT suffix FROM file_format')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND EXISTS (SELECT 1 FROM file_format WHERE
        profile = f.name)
      AND NOT EXISTS (SELECT 1 FROM file_format WHERE profile = f.name AND suffix =
        (SELECT suffix FROM file_format WHERE substr(lower(NEW.path), -length(suffix)) = suffix ORDER BY
            length(suffix) DESC LIMIT 1)));
  SELECT RAISE(ABORT, 'package_file.source: is the version that the package leads to; a delta starts from another one')
    WHERE NEW.source = (SELECT version FROM package WHERE product = NEW.product AND name = NEW.package);
END;
CREATE TRIGGER package_file_format_update AFTER UPDATE ON package_file BEGIN
  SELECT RAISE(ABORT,
      'package_file.path: the profile does not allow this kind of file; see SELECT suffix FROM file_format')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND EXISTS (SELECT 1 FROM file_format WHERE
        profile = f.name)
      AND NOT EXISTS (SELECT 1 FROM file_format WHERE profile = f.name AND suffix =
        (SELECT suffix FROM file_format WHERE substr(lower(NEW.path), -length(suffix)) = suffix ORDER BY
            length(suffix) DESC LIMIT 1)));
  SELECT RAISE(ABORT, 'package_file.source: is the version that the package leads to; a delta starts from another one')
    WHERE NEW.source = (SELECT version FROM package WHERE product = NEW.product AND name = NEW.package);
END;
-- ---------------------------------------------------------------- plan
DROP TRIGGER plan_before_insert;
DROP TRIGGER plan_update;
CREATE TRIGGER plan_before_insert BEFORE INSERT ON plan BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.product, o.wanted, o.scope, o.mode, o.priority, o.end_ms, o.battery, o.signal, o.free_bytes,
        o.offer_s, o.download_s, o.install_s, o.reboot_s, o.longest_s, o.retry_max, o.retry_interval_s, o.remarks,
        o.kind, o.scope_kind, o.new_reports, o.percent, o.trigger, o.start_ms, o.at_end, o.at_cancel, o.zone,
        o.window_from, o.window_to, o.rate, o.max_open, o.bytes_per_second, o.max_age_s, o.unknown, o.override,
        o.verify_required, o.strict_progress, o.grace_s, o.timeout_s, o.halt_failures, o.halt_percent, o.halt_sample,
        o.loop_max, o.quarantine_s) IS (NEW.product, NEW.wanted, NEW.scope, NEW.mode, NEW.priority, NEW.end_ms,
        NEW.battery, NEW.signal, NEW.free_bytes, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s,
        NEW.longest_s, NEW.retry_max, NEW.retry_interval_s, NEW.remarks, NEW.kind, NEW.scope_kind, NEW.new_reports,
        NEW.percent, NEW.trigger, NEW.start_ms, NEW.at_end, NEW.at_cancel, NEW.zone, NEW.window_from, NEW.window_to,
        NEW.rate, NEW.max_open, NEW.bytes_per_second, NEW.max_age_s, NEW.unknown, NEW.override, NEW.verify_required,
        NEW.strict_progress, NEW.grace_s, NEW.timeout_s, NEW.halt_failures, NEW.halt_percent, NEW.halt_sample,
        NEW.loop_max, NEW.quarantine_s) THEN 'same'
      WHEN o.wanted <> 'draft' THEN 'locked'
      ELSE 'other' END FROM plan o WHERE o.name = NEW.name), 'none');
END;
CREATE TRIGGER plan_update AFTER UPDATE ON plan WHEN (NEW.name, NEW.product, NEW.wanted, NEW.scope, NEW.mode,
    NEW.priority, NEW.end_ms, NEW.battery, NEW.signal, NEW.free_bytes, NEW.offer_s, NEW.download_s, NEW.install_s,
    NEW.reboot_s, NEW.longest_s, NEW.retry_max, NEW.retry_interval_s, NEW.remarks, NEW.kind, NEW.scope_kind,
    NEW.new_reports, NEW.percent, NEW.trigger, NEW.start_ms, NEW.at_end, NEW.at_cancel, NEW.zone, NEW.window_from,
    NEW.window_to, NEW.rate, NEW.max_open, NEW.bytes_per_second, NEW.max_age_s, NEW.unknown, NEW.override,
    NEW.verify_required, NEW.strict_progress, NEW.grace_s, NEW.timeout_s, NEW.halt_failures, NEW.halt_percent,
    NEW.halt_sample, NEW.loop_max, NEW.quarantine_s) IS NOT (OLD.name, OLD.product, OLD.wanted, OLD.scope, OLD.mode,
    OLD.priority, OLD.end_ms, OLD.battery, OLD.signal, OLD.free_bytes, OLD.offer_s, OLD.download_s, OLD.install_s,
    OLD.reboot_s, OLD.longest_s, OLD.retry_max, OLD.retry_interval_s, OLD.remarks, OLD.kind, OLD.scope_kind,
    OLD.new_reports, OLD.percent, OLD.trigger, OLD.start_ms, OLD.at_end, OLD.at_cancel, OLD.zone, OLD.window_from,
    OLD.window_to, OLD.rate, OLD.max_open, OLD.bytes_per_second, OLD.max_age_s, OLD.unknown, OLD.override,
    OLD.verify_required, OLD.strict_progress, OLD.grace_s, OLD.timeout_s, OLD.halt_failures, OLD.halt_percent,
    OLD.halt_sample, OLD.loop_max, OLD.quarantine_s) BEGIN
  SELECT RAISE(ABORT, 'plan: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  SELECT RAISE(ABORT,
      'plan: it is no draft any more: only wanted, end_ms and additions to its lists can change, and percent, rate, max_open, bytes_per_second, halt_failures, halt_percent, halt_sample, at_cancel; cancel it (wanted=''canceled'') and make a new plan')
    WHERE OLD.wanted <> 'draft' AND (NEW.product, NEW.scope, NEW.mode, NEW.priority, NEW.battery, NEW.signal,
        NEW.free_bytes, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max,
        NEW.retry_interval_s, NEW.remarks, NEW.kind, NEW.scope_kind, NEW.new_reports, NEW.trigger, NEW.start_ms,
        NEW.at_end, NEW.zone, NEW.window_from, NEW.window_to, NEW.max_age_s, NEW.unknown, NEW.override,
        NEW.verify_required, NEW.strict_progress, NEW.grace_s, NEW.timeout_s, NEW.loop_max, NEW.quarantine_s) IS NOT
        (OLD.product, OLD.scope, OLD.mode, OLD.priority, OLD.battery, OLD.signal, OLD.free_bytes, OLD.offer_s,
        OLD.download_s, OLD.install_s, OLD.reboot_s, OLD.longest_s, OLD.retry_max, OLD.retry_interval_s, OLD.remarks,
        OLD.kind, OLD.scope_kind, OLD.new_reports, OLD.trigger, OLD.start_ms, OLD.at_end, OLD.zone, OLD.window_from,
        OLD.window_to, OLD.max_age_s, OLD.unknown, OLD.override, OLD.verify_required, OLD.strict_progress,
        OLD.grace_s, OLD.timeout_s, OLD.loop_max, OLD.quarantine_s);
  SELECT RAISE(ABORT, 'plan.percent: of a plan that is no draft any more it can only be raised')
    WHERE OLD.wanted <> 'draft' AND NEW.percent IS NOT OLD.percent AND (NEW.percent > OLD.percent) IS NOT 1;
  SELECT RAISE(ABORT, 'plan.end_ms: the plan has ended; make a new plan')
    WHERE NEW.end_ms IS NOT OLD.end_ms AND EXISTS (SELECT 1 FROM plan_state WHERE plan = NEW.name AND state = 'ended');
  SELECT RAISE(ABORT, 'plan.wanted: canceled is final; make a new plan')
    WHERE OLD.wanted = 'canceled' AND NEW.wanted <> 'canceled';
  SELECT RAISE(ABORT, 'plan.at_cancel: the plan is canceled, and so are all its tasks')
    WHERE OLD.wanted = 'canceled' AND OLD.at_cancel = 'all' AND NEW.at_cancel <> 'all';
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
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan', 'update', NEW.product, NEW.name, CASE WHEN NEW.wanted
        <> OLD.wanted THEN 'wanted ' || OLD.wanted || ' -> ' || NEW.wanted ELSE '' END FROM now;
END;
CREATE TRIGGER plan_rules_insert AFTER INSERT ON plan BEGIN
  SELECT RAISE(ABORT, 'plan.window_from, window_to: a push period has both ends; set both or neither')
    WHERE (NEW.window_from IS NULL) <> (NEW.window_to IS NULL);
  SELECT RAISE(ABORT, 'plan.percent: only a static plan is phased; set scope_kind=''static'', or leave percent NULL')
    WHERE NEW.percent IS NOT NULL AND NEW.scope_kind <> 'static';
  SELECT RAISE(ABORT,
      'plan.new_reports: a static plan takes the devices of its activation; set scope_kind=''dynamic'', or new_reports=0')
    WHERE NEW.new_reports = 1 AND NEW.scope_kind <> 'dynamic';
  SELECT RAISE(ABORT, 'plan.end_ms: must be after start_ms')
    WHERE NEW.end_ms <= NEW.start_ms;
  SELECT RAISE(ABORT, 'plan.zone: there is no such time zone; see SELECT name FROM zone')
    WHERE NEW.zone IS NOT NULL AND EXISTS (SELECT 1 FROM zone) AND NOT EXISTS (SELECT 1 FROM zone WHERE name =
        NEW.zone);
  SELECT RAISE(ABORT,
      'plan.kind: a verify plan is for chosen devices; set scope=''selected'' and list them (plan_device)')
    WHERE NEW.kind = 'verify' AND NEW.scope <> 'selected';
  SELECT RAISE(ABORT, 'plan.start_ms: the profile schedules static plans only (profile.start_static)')
    WHERE NEW.start_ms IS NOT NULL AND NEW.scope_kind <> 'static' AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product
        = NEW.product AND f.start_static = 1);
  SELECT RAISE(ABORT, 'plan.end_ms: the profile wants the end between end_min_s and end_max_s after the start')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (NEW.end_ms - NEW.start_ms < f.end_min_s
        * 1000 OR NEW.end_ms - NEW.start_ms > f.end_max_s * 1000));
  SELECT RAISE(ABORT, 'plan.rate: is outside of what the profile allows (profile.rate_min, rate_max)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (NEW.rate < f.rate_min OR NEW.rate >
        f.rate_max));
  SELECT RAISE(ABORT, 'plan.max_open: is more than the profile allows (profile.max_open)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND NEW.max_open > f.max_open);
  SELECT RAISE(ABORT, 'plan.retry_max: is neither 0 nor a number that the profile allows (profile.retry_counts)')
    WHERE NEW.retry_max > 0 AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND instr(' ' ||
        f.retry_counts || ' ', ' ' || NEW.retry_max || ' ') = 0);
  SELECT RAISE(ABORT, 'plan.retry_interval_s: is none of those that the profile allows (profile.retry_intervals)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND instr(' ' || f.retry_intervals || ' ',
        ' ' || NEW.retry_interval_s || ' ') = 0);
  SELECT RAISE(ABORT, 'plan.timeout_s: is outside of what the profile allows (profile.timeout_min_s, timeout_max_s)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (NEW.timeout_s < f.timeout_min_s OR
        NEW.timeout_s > f.timeout_max_s));
END;
-- Not when a plan is only paused or canceled: that works whatever has become of the profile.
CREATE TRIGGER plan_rules_update AFTER UPDATE ON plan WHEN (NEW.wanted = 'active' AND OLD.wanted = 'draft')
    OR (NEW.product, NEW.kind, NEW.scope, NEW.scope_kind, NEW.new_reports, NEW.percent, NEW.start_ms, NEW.end_ms,
        NEW.zone, NEW.window_from, NEW.window_to, NEW.rate, NEW.max_open, NEW.retry_max, NEW.retry_interval_s,
        NEW.timeout_s) IS NOT (OLD.product, OLD.kind, OLD.scope, OLD.scope_kind, OLD.new_reports, OLD.percent,
        OLD.start_ms, OLD.end_ms, OLD.zone, OLD.window_from, OLD.window_to, OLD.rate, OLD.max_open, OLD.retry_max,
        OLD.retry_interval_s, OLD.timeout_s) BEGIN
  SELECT RAISE(ABORT, 'plan.window_from, window_to: a push period has both ends; set both or neither')
    WHERE (NEW.window_from IS NULL) <> (NEW.window_to IS NULL);
  SELECT RAISE(ABORT, 'plan.percent: only a static plan is phased; set scope_kind=''static'', or leave percent NULL')
    WHERE NEW.percent IS NOT NULL AND NEW.scope_kind <> 'static';
  SELECT RAISE(ABORT,
      'plan.new_reports: a static plan takes the devices of its activation; set scope_kind=''dynamic'', or new_reports=0')
    WHERE NEW.new_reports = 1 AND NEW.scope_kind <> 'dynamic';
  SELECT RAISE(ABORT, 'plan.end_ms: must be after start_ms')
    WHERE NEW.end_ms <= NEW.start_ms;
  SELECT RAISE(ABORT, 'plan.zone: there is no such time zone; see SELECT name FROM zone')
    WHERE NEW.zone IS NOT NULL AND EXISTS (SELECT 1 FROM zone) AND NOT EXISTS (SELECT 1 FROM zone WHERE name =
        NEW.zone);
  SELECT RAISE(ABORT,
      'plan.kind: a verify plan is for chosen devices; set scope=''selected'' and list them (plan_device)')
    WHERE NEW.kind = 'verify' AND NEW.scope <> 'selected';
  SELECT RAISE(ABORT, 'plan.start_ms: the profile schedules static plans only (profile.start_static)')
    WHERE NEW.start_ms IS NOT NULL AND NEW.scope_kind <> 'static' AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product
        = NEW.product AND f.start_static = 1);
  SELECT RAISE(ABORT, 'plan.end_ms: the profile wants the end between end_min_s and end_max_s after the start')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (NEW.end_ms - NEW.start_ms < f.end_min_s
        * 1000 OR NEW.end_ms - NEW.start_ms > f.end_max_s * 1000));
  SELECT RAISE(ABORT, 'plan.rate: is outside of what the profile allows (profile.rate_min, rate_max)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (NEW.rate < f.rate_min OR NEW.rate >
        f.rate_max));
  SELECT RAISE(ABORT, 'plan.max_open: is more than the profile allows (profile.max_open)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND NEW.max_open > f.max_open);
  SELECT RAISE(ABORT, 'plan.retry_max: is neither 0 nor a number that the profile allows (profile.retry_counts)')
    WHERE NEW.retry_max > 0 AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND instr(' ' ||
        f.retry_counts || ' ', ' ' || NEW.retry_max || ' ') = 0);
  SELECT RAISE(ABORT, 'plan.retry_interval_s: is none of those that the profile allows (profile.retry_intervals)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND instr(' ' || f.retry_intervals || ' ',
        ' ' || NEW.retry_interval_s || ' ') = 0);
  SELECT RAISE(ABORT, 'plan.timeout_s: is outside of what the profile allows (profile.timeout_min_s, timeout_max_s)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (NEW.timeout_s < f.timeout_min_s OR
        NEW.timeout_s > f.timeout_max_s));
  SELECT RAISE(ABORT,
      'plan.end_ms: the profile wants the end between end_min_s and end_max_s after the start, which is the activation')
    WHERE NEW.wanted <> 'draft' AND NEW.start_ms IS NULL AND (OLD.wanted = 'draft' OR NEW.end_ms IS NOT OLD.end_ms)
        AND EXISTS (
      SELECT 1 FROM rules_of f JOIN (SELECT coalesce((SELECT activated_ms FROM plan_state WHERE plan = NEW.name),
          (SELECT ms FROM now)) AS start)
      WHERE f.product = NEW.product AND (NEW.end_ms - start < f.end_min_s * 1000 OR NEW.end_ms - start > f.end_max_s *
          1000));
END;
-- What a plan needs besides when it leaves the drafts.
CREATE TRIGGER plan_activate_rules AFTER UPDATE OF wanted ON plan WHEN NEW.wanted = 'active' AND OLD.wanted = 'draft'
    BEGIN
  SELECT RAISE(ABORT,
      'plan.start_ms: the profile wants the start between start_min_s and start_max_s from now, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (NEW.start_ms - (SELECT ms FROM now) <
        f.start_min_s * 1000 OR NEW.start_ms - (SELECT ms FROM now) > f.start_max_s * 1000));
  SELECT RAISE(ABORT,
      'plan.zone: the profile wants a time zone, such as Europe/Berlin (profile.zone_required), so it cannot be active')
    WHERE NEW.zone IS NULL AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.zone_required = 1);
  SELECT RAISE(ABORT,
      'plan.wanted: it is for chosen devices and static or a verification, but plan_device lists none, so it cannot be active')
    WHERE NEW.scope = 'selected' AND (NEW.kind = 'verify' OR NEW.scope_kind = 'static') AND NOT EXISTS (SELECT 1 FROM
        plan_device w WHERE w.plan = NEW.name AND w.list = 'white'
      AND NOT EXISTS (SELECT 1 FROM plan_device b WHERE b.plan = NEW.name AND b.list = 'black' AND b.device =
          w.device));
  SELECT RAISE(ABORT,
      'plan.wanted: a package of the plan is not verified; activate a plan of kind ''verify'' with it first (view package_verifications), so it cannot be active')
    WHERE NEW.kind = 'batch' AND (NEW.verify_required = 1 OR (NEW.verify_required IS NULL AND EXISTS (SELECT 1 FROM
        rules_of f WHERE f.product = NEW.product AND f.verify_required = 1)))
      AND EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND (
        (c."full" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM verified v WHERE v.product = NEW.product AND v.package =
            c."full"))
        OR (c.delta IS NOT NULL AND NOT EXISTS (SELECT 1 FROM verified v WHERE v.product = NEW.product AND v.package =
            c.delta))));
  SELECT RAISE(ABORT,
      'plan.wanted: a dynamic plan of a full package names its source versions (profile.dynamic_sources; plan_source), so it cannot be active')
    WHERE NEW.kind = 'batch' AND NEW.scope = 'all' AND NEW.scope_kind = 'dynamic' AND EXISTS (SELECT 1 FROM rules_of f
        WHERE f.product = NEW.product AND f.dynamic_sources = 1)
      AND EXISTS (SELECT 1 FROM plan_component c WHERE c.plan = NEW.name AND c."full" IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM plan_source s WHERE s.plan = NEW.name AND s.component = c.component));
  SELECT RAISE(ABORT,
      'plan.wanted: selected devices and source versions do not go together in this profile (profile.selected_sources; plan_source), so it cannot be active')
    WHERE NEW.kind = 'batch' AND NEW.scope = 'selected' AND EXISTS (SELECT 1 FROM plan_source WHERE plan = NEW.name)
        AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.selected_sources = 0);
  SELECT RAISE(ABORT, 'plan.wanted: plan_source names the version that the plan leads to, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_source s JOIN plan_component c ON c.plan = s.plan AND c.component = s.component
      JOIN package k ON k.product = NEW.product AND k.name = coalesce(c."full", c.delta) WHERE s.plan = NEW.name AND
          s.version = k.version);
  SELECT RAISE(ABORT,
      'plan.wanted: another dynamic plan in force has this package (profile.dynamic_unique); cancel that one first, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.dynamic_unique = 'package') AND EXISTS
        (SELECT 1 FROM dynamic_sources m JOIN dynamic_sources o ON o.product = m.product AND o.package = m.package AND
        o.plan <> m.plan
      WHERE m.plan = NEW.name);
  SELECT RAISE(ABORT,
      'plan.wanted: another dynamic plan in force has this package and source version (profile.dynamic_unique); cancel that one first, so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND f.dynamic_unique = 'source') AND EXISTS
        (SELECT 1 FROM dynamic_sources m JOIN dynamic_sources o ON o.product = m.product AND o.package = m.package AND
        o.plan <> m.plan
      WHERE m.plan = NEW.name AND (m.source IS NULL OR o.source IS NULL OR m.source = o.source));
  SELECT RAISE(ABORT,
      'plan.wanted: a manual plan has its text in every language of the profile (profile.langs; plan_text), so it cannot be active')
    WHERE NEW.mode = 'manual' AND EXISTS (SELECT 1 FROM profile_langs l WHERE l.profile = (SELECT profile FROM product
        WHERE name = NEW.product)
      AND NOT EXISTS (SELECT 1 FROM plan_text t WHERE t.plan = NEW.name AND lower(t.lang) || '-' GLOB lower(l.lang) ||
          '-*'));
  SELECT RAISE(ABORT,
      'plan.wanted: plan_device lists more devices than the profile allows (profile.max_listed), so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (SELECT count(*) FROM plan_device w WHERE
        w.plan = NEW.name AND w.list = 'white') > f.max_listed);
  SELECT RAISE(ABORT,
      'plan.wanted: plan_tag has more tags than the profile allows (profile.max_tags), so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.product AND (SELECT count(*) FROM plan_tag w WHERE
        w.plan = NEW.name) > f.max_tags);
END;
CREATE TRIGGER plan_parts_delete AFTER DELETE ON plan BEGIN
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_retry)')
    WHERE EXISTS (SELECT 1 FROM plan_retry WHERE plan = OLD.name);
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_match)')
    WHERE EXISTS (SELECT 1 FROM plan_match WHERE plan = OLD.name);
END;
-- ---------------------------------------------------------------- plan_source, plan_tag, plan_retry, plan_match
CREATE TRIGGER plan_source_target AFTER INSERT ON plan_source BEGIN
  SELECT RAISE(ABORT, 'plan_source.version: is the version that the plan leads to; leave it out')
    WHERE EXISTS (SELECT 1 FROM plan_component c JOIN package k ON k.product = (SELECT product FROM plan WHERE name =
        NEW.plan) AND k.name = coalesce(c."full", c.delta)
      WHERE c.plan = NEW.plan AND c.component = NEW.component AND k.version = NEW.version);
END;
CREATE TRIGGER plan_tag_count AFTER INSERT ON plan_tag BEGIN
  SELECT RAISE(ABORT, 'plan_tag: more tags than the profile allows (profile.max_tags)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = (SELECT product FROM plan WHERE name = NEW.plan) AND
        (SELECT count(*) FROM plan_tag w WHERE w.plan = NEW.plan) > f.max_tags);
END;
CREATE TRIGGER plan_retry_before_insert BEFORE INSERT ON plan_retry BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN 1 THEN 'same'
      ELSE 'other' END FROM plan_retry o WHERE o.plan = NEW.plan AND o.reason = NEW.reason), 'none');
END;
CREATE TRIGGER plan_retry_insert AFTER INSERT ON plan_retry BEGIN
  SELECT RAISE(ABORT, 'plan_retry.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_retry.reason: is no failure that can be tried again: device_failed, download_failed, verify_failed, write_failed, rolled_back, foreign_version, spelling, no_full_progress, download_timeout, install_timeout, reboot_timeout, not_kept, timeout')
    WHERE NEW.reason NOT IN ('device_failed', 'download_failed', 'verify_failed', 'write_failed', 'rolled_back',
        'foreign_version',
      'spelling', 'no_full_progress', 'download_timeout', 'install_timeout', 'reboot_timeout', 'not_kept', 'timeout');
  SELECT RAISE(ABORT,
      'plan_retry: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND (SELECT wanted FROM plan WHERE name = NEW.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_retry', 'insert', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.reason FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_retry_update AFTER UPDATE ON plan_retry WHEN (NEW.plan, NEW.reason) IS NOT (OLD.plan, OLD.reason)
    BEGIN
  SELECT RAISE(ABORT, 'plan_retry: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.reason) IS NOT (OLD.plan, OLD.reason);
  SELECT RAISE(ABORT, 'plan_retry.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_retry.reason: is no failure that can be tried again: device_failed, download_failed, verify_failed, write_failed, rolled_back, foreign_version, spelling, no_full_progress, download_timeout, install_timeout, reboot_timeout, not_kept, timeout')
    WHERE NEW.reason NOT IN ('device_failed', 'download_failed', 'verify_failed', 'write_failed', 'rolled_back',
        'foreign_version',
      'spelling', 'no_full_progress', 'download_timeout', 'install_timeout', 'reboot_timeout', 'not_kept', 'timeout');
  SELECT RAISE(ABORT,
      'plan_retry: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_retry', 'update', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.reason FROM now;
END;
CREATE TRIGGER plan_retry_delete AFTER DELETE ON plan_retry BEGIN
  SELECT RAISE(ABORT,
      'plan_retry: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_retry', 'delete', (SELECT product FROM plan WHERE name =
        OLD.plan), OLD.plan, OLD.reason FROM now;
END;
CREATE TRIGGER plan_match_before_insert BEFORE INSERT ON plan_match BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN 1 THEN 'same'
      ELSE 'other' END FROM plan_match o WHERE o.plan = NEW.plan AND o.key = NEW.key AND o.value = NEW.value), 'none');
END;
CREATE TRIGGER plan_match_insert AFTER INSERT ON plan_match BEGIN
  SELECT RAISE(ABORT, 'plan_match.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_match: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND (SELECT wanted FROM plan WHERE name = NEW.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_match', 'insert', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.key || '=' || NEW.value FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER plan_match_update AFTER UPDATE ON plan_match WHEN (NEW.plan, NEW.key, NEW.value) IS NOT (OLD.plan,
    OLD.key, OLD.value) BEGIN
  SELECT RAISE(ABORT, 'plan_match: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.key, NEW.value) IS NOT (OLD.plan, OLD.key, OLD.value);
  SELECT RAISE(ABORT, 'plan_match.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_match: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_match', 'update', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.key || '=' || NEW.value FROM now;
END;
CREATE TRIGGER plan_match_delete AFTER DELETE ON plan_match BEGIN
  SELECT RAISE(ABORT,
      'plan_match: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_match', 'delete', (SELECT product FROM plan WHERE name =
        OLD.plan), OLD.plan, OLD.key || '=' || OLD.value FROM now;
END;
-- ---------------------------------------------------------------- plan_device
-- Positions are given here; the update that gives them is no change for plan_device_update.
CREATE TRIGGER plan_device_place AFTER INSERT ON plan_device BEGIN
  SELECT RAISE(ABORT, 'plan_device.position: is given by the database; to set an order use rank')
    WHERE NEW.position IS NOT NULL;
  SELECT RAISE(ABORT, 'plan_device: the plan is static and no draft any more, so no device can join; make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND NEW.list = 'white' AND EXISTS (SELECT 1 FROM plan WHERE name
        = NEW.plan AND wanted <> 'draft' AND scope_kind = 'static');
  UPDATE plan_device SET position = 1 + coalesce((SELECT max(position) FROM plan_device WHERE plan = NEW.plan), 0)
    WHERE plan = NEW.plan AND list = NEW.list AND device = NEW.device;
  SELECT RAISE(ABORT, 'plan_device: more devices than the profile allows (profile.max_listed)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = (SELECT product FROM plan WHERE name = NEW.plan) AND
        (SELECT max(position) FROM plan_device WHERE plan = NEW.plan) > f.max_listed
      AND (SELECT count(*) FROM plan_device w WHERE w.plan = NEW.plan AND w.list = 'white') > f.max_listed);
END;
CREATE TRIGGER plan_device_position BEFORE UPDATE OF position ON plan_device WHEN OLD.position IS NOT NULL AND
    NEW.position IS NOT OLD.position BEGIN
  SELECT RAISE(ABORT, 'plan_device.position: is given by the database; to set an order use rank');
END;
-- ---------------------------------------------------------------- hold, telemetry
CREATE TRIGGER hold_before_insert BEFORE INSERT ON hold BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.until_ms, o.reason) IS (NEW.until_ms, NEW.reason) THEN 'same'
      ELSE 'other' END FROM hold o WHERE o.product = NEW.product AND o.device = NEW.device), 'none');
END;
CREATE TRIGGER hold_insert AFTER INSERT ON hold BEGIN
  SELECT RAISE(ABORT, 'hold.product: there is no such product')
    WHERE NEW.product <> '' AND NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  SELECT RAISE(ABORT, 'hold.device: the product has no such device')
    WHERE NEW.device <> '' AND NOT EXISTS (SELECT 1 FROM device WHERE product = NEW.product AND name = NEW.device)
      AND NOT EXISTS (SELECT 1 FROM device_state WHERE product = NEW.product AND name = NEW.device);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'hold', 'insert', NEW.product, NEW.device, NEW.reason FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER hold_update AFTER UPDATE ON hold WHEN (NEW.product, NEW.device, NEW.until_ms, NEW.reason) IS NOT
    (OLD.product, OLD.device, OLD.until_ms, OLD.reason) BEGIN
  SELECT RAISE(ABORT, 'hold: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.device) IS NOT (OLD.product, OLD.device);
  SELECT RAISE(ABORT, 'hold.product: there is no such product')
    WHERE NEW.product <> '' AND NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  SELECT RAISE(ABORT, 'hold.device: the product has no such device')
    WHERE NEW.device <> '' AND NOT EXISTS (SELECT 1 FROM device WHERE product = NEW.product AND name = NEW.device)
      AND NOT EXISTS (SELECT 1 FROM device_state WHERE product = NEW.product AND name = NEW.device);
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'hold', 'update', NEW.product, NEW.device, NEW.reason FROM now;
END;
CREATE TRIGGER hold_delete AFTER DELETE ON hold BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'hold', 'delete', OLD.product, OLD.device, OLD.reason FROM now;
END;
CREATE TRIGGER telemetry_before_insert BEFORE INSERT ON telemetry BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.topic, o.path) IS (NEW.topic, NEW.path) THEN 'same'
      ELSE 'other' END FROM telemetry o WHERE o.product = NEW.product AND o.value = NEW.value), 'none');
END;
CREATE TRIGGER telemetry_insert AFTER INSERT ON telemetry BEGIN
  SELECT RAISE(ABORT, 'telemetry.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  SELECT RAISE(ABORT,
      'telemetry.topic: must contain {device}, and may contain {product}; no other braces, no wildcards (+ #)')
    WHERE NEW.topic NOT GLOB '*{device}*' OR replace(replace(NEW.topic, '{device}', ''), '{product}', '') GLOB
        '*[{}+#]*';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'telemetry', 'insert', NEW.product, NEW.value, NEW.topic FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER telemetry_update AFTER UPDATE ON telemetry WHEN (NEW.product, NEW.value, NEW.topic, NEW.path) IS NOT
    (OLD.product, OLD.value, OLD.topic, OLD.path) BEGIN
  SELECT RAISE(ABORT, 'telemetry: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.product, NEW.value) IS NOT (OLD.product, OLD.value);
  SELECT RAISE(ABORT, 'telemetry.product: there is no such product; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM product WHERE name = NEW.product);
  SELECT RAISE(ABORT,
      'telemetry.topic: must contain {device}, and may contain {product}; no other braces, no wildcards (+ #)')
    WHERE NEW.topic NOT GLOB '*{device}*' OR replace(replace(NEW.topic, '{device}', ''), '{product}', '') GLOB
        '*[{}+#]*';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'telemetry', 'update', NEW.product, NEW.value, NEW.topic FROM
        now;
END;
CREATE TRIGGER telemetry_delete AFTER DELETE ON telemetry BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'telemetry', 'delete', OLD.product, OLD.value, OLD.topic FROM
        now;
END;
-- ---------------------------------------------------------------- setting
DROP TRIGGER setting_insert;
DROP TRIGGER setting_update;
CREATE TRIGGER setting_insert AFTER INSERT ON setting BEGIN
  SELECT RAISE(ABORT, 'setting.name: must be log_days, download_bytes_per_second, scan_s, scan_jitter_s or stopped')
    WHERE NEW.name NOT IN ('log_days', 'download_bytes_per_second', 'scan_s', 'scan_jitter_s', 'stopped');
  SELECT RAISE(ABORT, 'setting ''log_days'': must be a number of days from 1 to 3650')
    WHERE NEW.name = 'log_days' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        CAST(NEW.value AS INTEGER) NOT BETWEEN 1 AND 3650);
  SELECT RAISE(ABORT, 'setting ''download_bytes_per_second'': must be a number from 0 (no limit) to 1000000000000')
    WHERE NEW.name = 'download_bytes_per_second' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND
        15 OR CAST(NEW.value AS INTEGER) > 1000000000000);
  SELECT RAISE(ABORT, 'setting ''scan_s'': must be 0 (no scan) or a number of seconds from 60 to 86400')
    WHERE NEW.name = 'scan_s' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        (CAST(NEW.value AS INTEGER) <> 0 AND CAST(NEW.value AS INTEGER) NOT BETWEEN 60 AND 86400));
  SELECT RAISE(ABORT, 'setting ''scan_jitter_s'': must be a number of seconds from 0 to 600')
    WHERE NEW.name = 'scan_jitter_s' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        CAST(NEW.value AS INTEGER) > 600);
  SELECT RAISE(ABORT,
      'setting ''stopped'': the value is the reason, of at most 1000 characters; everything is stopped while the row exists, so delete it to go on')
    WHERE NEW.name = 'stopped' AND length(NEW.value) > 1000;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'setting', 'insert', NULL, NEW.name, NEW.value FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
CREATE TRIGGER setting_update AFTER UPDATE ON setting WHEN (NEW.name, NEW.value) IS NOT (OLD.name, OLD.value) BEGIN
  SELECT RAISE(ABORT, 'setting: names are keys and never change; insert a new row and delete this one')
    WHERE NEW.name IS NOT OLD.name;
  SELECT RAISE(ABORT, 'setting.name: must be log_days, download_bytes_per_second, scan_s, scan_jitter_s or stopped')
    WHERE NEW.name NOT IN ('log_days', 'download_bytes_per_second', 'scan_s', 'scan_jitter_s', 'stopped');
  SELECT RAISE(ABORT, 'setting ''log_days'': must be a number of days from 1 to 3650')
    WHERE NEW.name = 'log_days' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        CAST(NEW.value AS INTEGER) NOT BETWEEN 1 AND 3650);
  SELECT RAISE(ABORT, 'setting ''download_bytes_per_second'': must be a number from 0 (no limit) to 1000000000000')
    WHERE NEW.name = 'download_bytes_per_second' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND
        15 OR CAST(NEW.value AS INTEGER) > 1000000000000);
  SELECT RAISE(ABORT, 'setting ''scan_s'': must be 0 (no scan) or a number of seconds from 60 to 86400')
    WHERE NEW.name = 'scan_s' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        (CAST(NEW.value AS INTEGER) <> 0 AND CAST(NEW.value AS INTEGER) NOT BETWEEN 60 AND 86400));
  SELECT RAISE(ABORT, 'setting ''scan_jitter_s'': must be a number of seconds from 0 to 600')
    WHERE NEW.name = 'scan_jitter_s' AND (NEW.value GLOB '*[^0-9]*' OR length(NEW.value) NOT BETWEEN 1 AND 15 OR
        CAST(NEW.value AS INTEGER) > 600);
  SELECT RAISE(ABORT,
      'setting ''stopped'': the value is the reason, of at most 1000 characters; everything is stopped while the row exists, so delete it to go on')
    WHERE NEW.name = 'stopped' AND length(NEW.value) > 1000;
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'setting', 'update', NULL, NEW.name, NEW.value FROM now;
END;
-- ---------------------------------------------------------------- request
DROP TRIGGER request_insert;
CREATE TRIGGER request_insert AFTER INSERT ON request BEGIN
  SELECT RAISE(ABORT,
      'request: insert act, plan, product, device and argument only; the engine fills in state, answer and answered_ms')
    WHERE NEW.state <> 'new' OR NEW.answer <> '' OR NEW.answered_ms IS NOT NULL;
  SELECT RAISE(ABORT, 'request.act: is none of release, cancel, retry, consent, explain')
    WHERE NEW.act NOT IN ('release', 'cancel', 'retry', 'consent', 'explain');
  SELECT RAISE(ABORT, 'request ''release'': is of a plan, of one device (product and device), or of all that is held')
    WHERE NEW.act = 'release' AND ((NEW.product IS NULL) <> (NEW.device IS NULL) OR (NEW.plan IS NOT NULL AND
        NEW.device IS NOT NULL));
  SELECT RAISE(ABORT, 'request ''cancel'': names no device; to cancel a whole plan set its wanted to canceled')
    WHERE NEW.act = 'cancel' AND NEW.device IS NULL;
  SELECT RAISE(ABORT, 'request ''retry'': name the plan, and a device, or none for all that have failed')
    WHERE NEW.act = 'retry' AND NEW.plan IS NULL;
  SELECT RAISE(ABORT, 'request ''consent'': name plan and device')
    WHERE NEW.act = 'consent' AND (NEW.plan IS NULL OR NEW.device IS NULL);
  SELECT RAISE(ABORT, 'request ''explain'': name product and device; a plan only if no other is of interest')
    WHERE NEW.act = 'explain' AND NEW.device IS NULL;
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
    WHERE NEW.device IS NOT NULL AND NOT EXISTS (SELECT 1 FROM device_state WHERE name = NEW.device AND product =
        coalesce(NEW.product, (SELECT product FROM plan WHERE name = NEW.plan)))
      AND NOT EXISTS (SELECT 1 FROM device WHERE name = NEW.device AND product = coalesce(NEW.product, (SELECT product
          FROM plan WHERE name = NEW.plan)));
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'request', 'insert', NEW.product, coalesce(NEW.plan,
        NEW.device), NEW.act || ' ' || NEW.id FROM now;
END;
-- ---------------------------------------------------------------- STATE tables: the engine alone
CREATE TRIGGER zone_insert BEFORE INSERT ON zone WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'zone is written by the engine, from the system''s time zones');
END;
CREATE TRIGGER zone_update BEFORE UPDATE ON zone WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'zone is written by the engine, from the system''s time zones');
END;
CREATE TRIGGER zone_delete BEFORE DELETE ON zone WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'zone is written by the engine, from the system''s time zones');
END;
CREATE TRIGGER plan_member_insert BEFORE INSERT ON plan_member WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'plan_member is written by the engine; to reach more devices raise plan.percent');
END;
CREATE TRIGGER plan_member_update BEFORE UPDATE ON plan_member WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'plan_member is written by the engine; to reach more devices raise plan.percent');
END;
CREATE TRIGGER plan_member_delete BEFORE DELETE ON plan_member WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'plan_member is written by the engine; to reach more devices raise plan.percent');
END;
CREATE TRIGGER device_streak_insert BEFORE INSERT ON device_streak WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT,
      'device_streak is written by the engine; to let a device go insert into request (act ''release'')');
END;
CREATE TRIGGER device_streak_update BEFORE UPDATE ON device_streak WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT,
      'device_streak is written by the engine; to let a device go insert into request (act ''release'')');
END;
CREATE TRIGGER device_streak_delete BEFORE DELETE ON device_streak WHEN (SELECT writing FROM engine_state) IS NOT 1
    BEGIN
  SELECT RAISE(ABORT,
      'device_streak is written by the engine; to let a device go insert into request (act ''release'')');
END;
CREATE TRIGGER explanation_insert BEFORE INSERT ON explanation WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'explanation is written by the engine; to ask insert into request (act ''explain'')');
END;
CREATE TRIGGER explanation_update BEFORE UPDATE ON explanation WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'explanation is written by the engine; to ask insert into request (act ''explain'')');
END;
CREATE TRIGGER explanation_delete BEFORE DELETE ON explanation WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'explanation is written by the engine; to ask insert into request (act ''explain'')');
END;

-- ------------------------------------------------------------------------------------------------ VIEWS
-- As in 0003_views.sql: stable names, times in UTC. New columns stand behind the old ones.

DROP VIEW reasons;
CREATE VIEW reasons(name, text) AS VALUES
  ('clock_behind', 'The clock shows a time before the last commit; nothing is offered until it is set.'),
  ('plan_not_active', 'The plan is a draft or paused.'),
  ('plan_held', 'The plan is held until an operator releases it.'),
  ('plan_ended', 'The plan''s end has passed.'),
  ('device_disabled', 'An administrator has disabled or retired the device.'),
  ('not_listed', 'The device is not on the plan''s whitelist.'),
  ('blacklisted', 'The device is on the plan''s blacklist.'),
  ('not_reported', 'The device has not reported the version of a component.'),
  ('offline', 'The device is away, or has not reported since it came back.'),
  ('predecessor', 'Another task of the device is open or comes first.'),
  ('on_trial', 'The device runs the target on trial: it has to keep it or to go back first.'),
  ('source_version', 'The installed version is none of the plan''s source versions.'),
  ('no_delta_for_source', 'The plan has only a delta package, and it has none for the installed version.'),
  ('package_not_ready', 'A file of the package is missing, has changed or is still being hashed.'),
  ('no_delivery', 'The product allows neither HTTP nor blocks, so the files cannot be delivered.'),
  ('too_large', 'The message is longer than the longest one that the device takes.'),
  ('outbox_full', 'Too many messages wait to be sent.'),
  ('offer_unanswered', 'The device did not answer the offer in time; it is made again when the device is heard of.'),
  ('not_yet', 'The device or the retry policy has named a later time.'),
  ('stopped', 'Everything is stopped until somebody lets it go on.'),
  ('held', 'The device, its product or the site is held.'),
  ('plan_halted', 'The plan has halted by its own rule; a person lets it go on.'),
  ('not_started', 'The plan''s start has not come.'),
  ('window_closed', 'The push period is closed.'),
  ('not_matched', 'The device lacks a tag that the plan asks for.'),
  ('not_member', 'The plan is static, and the device did not match when it was activated.'),
  ('not_in_phase', 'The device is not in the share of devices that is upgraded yet.'),
  ('on_request', 'The plan waits until the device asks.'),
  ('no_consent', 'The plan is manual, and nobody has consented yet.'),
  ('battery', 'The battery is too low, or not known.'),
  ('signal', 'The signal is too weak, or not known.'),
  ('free_space', 'The free space is too small, or not known.'),
  ('rate', 'The plan''s rate of offers is used up for now.'),
  ('too_many_open', 'As many tasks of the plan are open as it allows.'),
  ('bytes_per_second', 'The plan''s rate of bytes is used up for now.'),
  ('quarantined', 'The device has failed this target too often and is put aside.'),
  ('at_target', 'Every component was reported at its target.'),
  ('at_target_already', 'Every component was at its target before anything was offered.'),
  ('device_refused', 'The device refused the upgrade.'),
  ('device_failed', 'The device reported a failure of its own.'),
  ('download_failed', 'The device could not download.'),
  ('verify_failed', 'The device could not verify what it had downloaded.'),
  ('write_failed', 'The device could not write the upgrade.'),
  ('rolled_back', 'The device went back to the version it had before.'),
  ('foreign_version', 'The device reported a version that is neither the source nor the target.'),
  ('download_timeout', 'Nothing was heard of the download in time.'),
  ('install_timeout', 'Nothing was heard of the installation in time.'),
  ('reboot_timeout', 'The device did not come back from its reboot in time.'),
  ('not_kept', 'The target runs, but the device did not keep it, or reboot, in time.'),
  ('plan_canceled', 'The plan was canceled.'),
  ('task_canceled', 'The task was canceled by a request.'),
  ('component_gone', 'The device''s complete report lacks a component of the plan.'),
  ('overridden', 'Another plan that overrides took its place.'),
  ('busy', 'The device was in the middle of another upgrade.'),
  ('timeout', 'The task took longer than the plan allows from its first progress.'),
  ('spelling', 'The device reports the target in another spelling: case or blanks differ.'),
  ('no_full_progress', 'The target was reported, but never 100 %, which the plan asks for.');

-- What a task that is To Be Pushed waits for, in two words; a reason without a row here is shown without them.
CREATE VIEW waits(reason, wait) AS VALUES
  ('offline', 'Device Offline'), ('not_reported', 'Not Reported'),
  ('not_started', 'Timing'), ('window_closed', 'Timing'), ('not_yet', 'Timing'),
  ('rate', 'Rate'), ('too_many_open', 'Rate'), ('bytes_per_second', 'Rate'), ('outbox_full', 'Rate'),
  ('battery', 'Conditions'), ('signal', 'Conditions'), ('free_space', 'Conditions'),
  ('predecessor', 'Predecessor'), ('on_trial', 'Predecessor'),
  ('on_request', 'On Request'), ('no_consent', 'Consent'),
  ('package_not_ready', 'Package'), ('no_delivery', 'Package'), ('too_large', 'Package'),
  ('plan_not_active', 'Held'), ('plan_held', 'Held'), ('plan_halted', 'Held'), ('held', 'Held'), ('stopped', 'Held'),
  ('quarantined', 'Held'), ('clock_behind', 'Held');

-- Every task, open, queued or ended. `percent`, `component` and `attempt` are of the component that is under way.
-- `since` is when the task ended, else when it was last offered, else when it was made. `shown_detail` is `shown` with what
-- a task that is To Be Pushed waits for, such as To Be Pushed (Timing: 2026-11-22 02:00); `starts` is that date where it is
-- known. `next_retry` is when an attempt that failed is repeated, `last_error` why the last one failed.
DROP VIEW tasks;
CREATE VIEW tasks AS
SELECT t.name AS task, t.plan, d.product, d.name AS device,
       (SELECT shown FROM shown_states x WHERE x.state = t.state) AS shown, t.state,
       t.reason, coalesce((SELECT text FROM reasons r WHERE r.name = t.reason), '') AS reason_text, t.detail, t.code,
       (SELECT c.name FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS component,
       (SELECT nullif(c.percent, -1) FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS percent,
       (SELECT c.attempt FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS attempt,
       t.offers, t.retries,
       strftime('%Y-%m-%dT%H:%M:%SZ', t.deadline_ms / 1000, 'unixepoch') AS deadline,
       strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(nullif(t.ended_ms, 0), nullif(t.offered_ms, 0), t.created_ms) / 1000, 'unixepoch') AS since,
       strftime('%Y-%m-%dT%H:%M:%SZ', t.created_ms / 1000, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%SZ', nullif(t.ended_ms, 0) / 1000, 'unixepoch') AS ended,
       CASE WHEN t.state <> 'queued' THEN (SELECT shown FROM shown_states x WHERE x.state = t.state)
         ELSE 'To Be Pushed' || coalesce(' (' || CASE (SELECT y.wait FROM waits y WHERE y.reason = t.reason) WHEN 'Timing' THEN 'Timing: ' || coalesce(
                strftime('%Y-%m-%d %H:%M', iif(t.reason = 'not_started', (SELECT p.start_ms FROM plan p WHERE p.name = t.plan), t.deadline_ms) / 1000, 'unixepoch'),
                (SELECT p.window_from || coalesce(' ' || p.zone, '') FROM plan p WHERE p.name = t.plan), 'later') ELSE (SELECT y.wait FROM waits y WHERE y.reason = t.reason) END || ')', '') END AS shown_detail,
       iif(t.state = 'queued' AND (SELECT y.wait FROM waits y WHERE y.reason = t.reason) = 'Timing', strftime('%Y-%m-%dT%H:%M:%SZ', iif(t.reason = 'not_started', (SELECT p.start_ms FROM plan p WHERE p.name = t.plan), t.deadline_ms) / 1000, 'unixepoch'), NULL) AS starts,
       iif(t.state = 'retrying', strftime('%Y-%m-%dT%H:%M:%SZ', t.deadline_ms / 1000, 'unixepoch'), NULL) AS next_retry,
       CASE WHEN t.state IN ('retrying', 'failed') THEN t.reason
            WHEN t.retries > 0 THEN (SELECT l.reason FROM log l WHERE l.product = d.product AND l.device = d.name AND l.task = t.name
                                       AND l.new_state = 'retrying' ORDER BY l.id DESC LIMIT 1) END AS last_error
FROM task t JOIN device_state d ON d.id = t.device_id;

-- Every device of a plan: those with a task, and, while the plan may still reach them, the whitelisted ones that have
-- none because they have never reported what the plan needs.
DROP VIEW plan_devices;
CREATE VIEW plan_devices AS
SELECT t.plan, d.product, d.name AS device,
       (SELECT shown FROM shown_states x WHERE x.state = t.state) AS shown, t.state,
       t.reason, coalesce((SELECT text FROM reasons r WHERE r.name = t.reason), '') AS reason_text, t.detail,
       (SELECT nullif(c.percent, -1) FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS percent,
       (SELECT c.attempt FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS attempt,
       strftime('%Y-%m-%dT%H:%M:%SZ', t.deadline_ms / 1000, 'unixepoch') AS deadline,
       strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(nullif(t.ended_ms, 0), nullif(t.offered_ms, 0), t.created_ms) / 1000, 'unixepoch') AS since,
       t.name AS task,
       CASE WHEN t.state <> 'queued' THEN (SELECT shown FROM shown_states x WHERE x.state = t.state)
         ELSE 'To Be Pushed' || coalesce(' (' || CASE (SELECT y.wait FROM waits y WHERE y.reason = t.reason) WHEN 'Timing' THEN 'Timing: ' || coalesce(
                strftime('%Y-%m-%d %H:%M', iif(t.reason = 'not_started', (SELECT p.start_ms FROM plan p WHERE p.name = t.plan), t.deadline_ms) / 1000, 'unixepoch'),
                (SELECT p.window_from || coalesce(' ' || p.zone, '') FROM plan p WHERE p.name = t.plan), 'later') ELSE (SELECT y.wait FROM waits y WHERE y.reason = t.reason) END || ')', '') END AS shown_detail,
       iif(t.state = 'queued' AND (SELECT y.wait FROM waits y WHERE y.reason = t.reason) = 'Timing', strftime('%Y-%m-%dT%H:%M:%SZ', iif(t.reason = 'not_started', (SELECT p.start_ms FROM plan p WHERE p.name = t.plan), t.deadline_ms) / 1000, 'unixepoch'), NULL) AS starts,
       iif(t.state = 'retrying', strftime('%Y-%m-%dT%H:%M:%SZ', t.deadline_ms / 1000, 'unixepoch'), NULL) AS next_retry,
       CASE WHEN t.state IN ('retrying', 'failed') THEN t.reason
            WHEN t.retries > 0 THEN (SELECT l.reason FROM log l WHERE l.product = d.product AND l.device = d.name AND l.task = t.name
                                       AND l.new_state = 'retrying' ORDER BY l.id DESC LIMIT 1) END AS last_error,
       (SELECT c.name FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS component, t.offers, t.retries
FROM task t JOIN device_state d ON d.id = t.device_id
UNION ALL
SELECT p.name, p.product, w.device, 'To Be Pushed', 'queued',
       iif(p.wanted = 'active', 'not_reported', 'plan_not_active'),
       (SELECT text FROM reasons r WHERE r.name = iif(p.wanted = 'active', 'not_reported', 'plan_not_active')),
       '', NULL, NULL, NULL, NULL, NULL,
       'To Be Pushed (Not Reported)', NULL, NULL, NULL, NULL, 0, 0
FROM plan p JOIN plan_device w ON w.plan = p.name AND w.list = 'white'
WHERE p.wanted <> 'canceled'
  AND NOT EXISTS (SELECT 1 FROM plan_state z WHERE z.plan = p.name AND z.state IN ('ended', 'canceled'))
  AND NOT EXISTS (SELECT 1 FROM plan_device b WHERE b.plan = p.name AND b.list = 'black' AND b.device = w.device)
  AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.device_id =
                    (SELECT s.id FROM device_state s WHERE s.product = p.product AND s.name = w.device));

-- Plans: what people want, what became of it, and how many devices are where. The counts agree with plan_devices.
-- `success_rate` is the percentage of the tasks that ended by success or failure; refused and canceled do not count.
-- A plan that has halted by its own rule is shown as halted, with the rule.
DROP VIEW plans;
CREATE VIEW plans AS
SELECT plan, product, wanted, state, reason, mode, scope, priority,
       to_be_pushed, pushed, in_upgrade, updated, failed, rejected, canceled,
       to_be_pushed + pushed + in_upgrade + updated + failed + rejected + canceled AS devices,
       round(100.0 * updated / nullif(updated + failed, 0), 1) AS success_rate,
       activated, "end", ended, remarks,
       kind, scope_kind, "trigger", percent, start, push_period, zone, pushed + in_upgrade AS open
FROM (SELECT p.name AS plan, p.product, p.wanted,
       iif(s.state = 'active' AND s.halted <> '', 'halted', coalesce(s.state, iif(p.wanted = 'draft', 'draft', 'pending'))) AS state,
       iif(s.state = 'active' AND s.halted <> '', s.halted, coalesce(s.reason, iif(p.wanted = 'draft', '', 'The engine has not acted on this plan yet.'))) AS reason,
       p.mode, p.scope, p.priority,
       (SELECT count(*) FROM task t WHERE t.plan = p.name AND t.state = 'queued')
         + iif(p.wanted = 'canceled' OR coalesce(s.state, '') IN ('ended', 'canceled'), 0,
               (SELECT count(*) FROM plan_device w WHERE w.plan = p.name AND w.list = 'white'
                  AND NOT EXISTS (SELECT 1 FROM plan_device b WHERE b.plan = p.name AND b.list = 'black' AND b.device = w.device)
                  AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.device_id =
                                    (SELECT d.id FROM device_state d WHERE d.product = p.product AND d.name = w.device)))) AS to_be_pushed,
       (SELECT count(*) FROM task t WHERE t.plan = p.name AND t.state IN ('offered', 'postponed', 'accepted')) AS pushed,
       (SELECT count(*) FROM task t WHERE t.plan = p.name AND t.state IN ('downloading', 'waiting', 'installing', 'rebooting', 'retrying')) AS in_upgrade,
       (SELECT count(*) FROM task t WHERE t.plan = p.name AND t.state = 'succeeded') AS updated,
       (SELECT count(*) FROM task t WHERE t.plan = p.name AND t.state = 'failed') AS failed,
       (SELECT count(*) FROM task t WHERE t.plan = p.name AND t.state = 'refused') AS rejected,
       (SELECT count(*) FROM task t WHERE t.plan = p.name AND t.state = 'canceled') AS canceled,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.activated_ms / 1000, 'unixepoch') AS activated,
       strftime('%Y-%m-%dT%H:%M:%SZ', p.end_ms / 1000, 'unixepoch') AS "end",
       strftime('%Y-%m-%dT%H:%M:%SZ', s.ended_ms / 1000, 'unixepoch') AS ended,
       p.remarks, p.kind, p.scope_kind, p."trigger", p.percent, strftime('%Y-%m-%dT%H:%M:%SZ', p.start_ms / 1000, 'unixepoch') AS start,
       p.window_from || '-' || p.window_to AS push_period, p.zone
     FROM plan p LEFT JOIN plan_state s ON s.plan = p.name
     LIMIT -1 OFFSET 0); -- keeps each count from being computed once for every use of its name

-- How long the upgrades of a plan took, from the last offer to the proof, in seconds.
CREATE VIEW plan_durations AS
SELECT plan, count(*) AS updated, round(avg(took) / 1000.0, 1) AS mean_s, max(iif(place = (places + 1) / 2, took / 1000.0, NULL)) AS median_s,
       min(took) / 1000.0 AS fastest_s, max(took) / 1000.0 AS slowest_s
FROM (SELECT t.plan, t.ended_ms - t.offered_ms AS took, count(*) OVER (PARTITION BY t.plan) AS places,
             row_number() OVER (PARTITION BY t.plan ORDER BY t.ended_ms - t.offered_ms) AS place
      FROM task t WHERE t.state = 'succeeded' AND t.offered_ms > 0)
GROUP BY plan;

-- Failed tasks by component, versions and reason; `detail` is one device's.
CREATE VIEW plan_failures AS
SELECT t.plan, coalesce(c.name, '') AS component, coalesce(c.source, '') AS source, coalesce(c.target, '') AS target, t.reason,
       coalesce((SELECT text FROM reasons r WHERE r.name = t.reason), '') AS reason_text, count(*) AS devices, max(t.detail) AS detail
FROM task t LEFT JOIN task_component c ON c.task_id = t.id AND c.state = 'current'
WHERE t.state = 'failed' GROUP BY t.plan, c.name, c.source, c.target, t.reason;

-- Packages. `state` is that of the worst file: refused, new, hashing, ready; `empty` without files.
-- `sha256` is the digest of a package of one file. `plans`: those that use the package. `verified`: 1 if a verify plan has
-- proved it.
DROP VIEW packages;
CREATE VIEW packages AS
SELECT k.product, k.name AS package, k.component, k.kind, k.version,
       CASE (SELECT max(CASE f.state WHEN 'refused' THEN 4 WHEN 'new' THEN 3 WHEN 'hashing' THEN 2 ELSE 1 END)
             FROM package_files f WHERE f.product = k.product AND f.package = k.name)
         WHEN 4 THEN 'refused' WHEN 3 THEN 'new' WHEN 2 THEN 'hashing' WHEN 1 THEN 'ready' ELSE 'empty' END AS state,
       coalesce((SELECT group_concat(f.problem, '; ') FROM package_files f WHERE f.product = k.product AND f.package = k.name AND f.problem <> ''), '') AS problem,
       (SELECT count(*) FROM package_file f WHERE f.product = k.product AND f.package = k.name) AS files,
       (SELECT sum(f.bytes) FROM package_files f WHERE f.product = k.product AND f.package = k.name) AS bytes,
       (SELECT iif(count(*) = 1, max(f.sha256), NULL) FROM package_files f WHERE f.product = k.product AND f.package = k.name) AS sha256,
       coalesce((SELECT group_concat(DISTINCT c.plan) FROM plan_component c JOIN plan p ON p.name = c.plan
                 WHERE p.product = k.product AND (c."full" = k.name OR c.delta = k.name)), '') AS plans,
       k.remarks,
       EXISTS (SELECT 1 FROM verified v WHERE v.product = k.product AND v.package = k.name) AS verified
FROM package k;

-- Verifications of packages: a row for each verify plan of a package. `state` is draft, running, verified or not verified.
CREATE VIEW package_verifications AS
SELECT p.product, u.package, p.name AS plan,
       CASE WHEN p.wanted = 'draft' THEN 'draft'
            WHEN EXISTS (SELECT 1 FROM verified v WHERE v.product = p.product AND v.package = u.package AND v.plan = p.name) THEN 'verified'
            WHEN p.wanted <> 'canceled' AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.state IN ('failed', 'refused', 'canceled')) THEN 'running'
            ELSE 'not verified' END AS state,
       n.devices, n.updated, n.failed, n.rejected, n.canceled, n.activated, p.remarks
FROM (SELECT plan, "full" AS package FROM plan_component WHERE "full" IS NOT NULL
      UNION ALL
      SELECT plan, delta FROM plan_component WHERE delta IS NOT NULL) u
JOIN plan p ON p.name = u.plan AND p.kind = 'verify' JOIN plans n ON n.plan = p.name;

-- Tasks whose deadline has passed and that have not moved on: empty while the engine runs. Deadlines do not pass while the
-- broker is stopped, so look only while it runs.
CREATE VIEW overdue AS
SELECT t.name AS task, t.plan, d.product, d.name AS device, t.state, strftime('%Y-%m-%dT%H:%M:%SZ', t.deadline_ms / 1000, 'unixepoch') AS deadline,
       unixepoch() - t.deadline_ms / 1000 AS overdue_s
FROM task t JOIN device_state d ON d.id = t.device_id
WHERE t.deadline_ms IS NOT NULL AND t.deadline_ms < (unixepoch() - 10) * 1000 AND t.ended_ms = 0;

-- Answers to requests 'explain': every rule in its order. `when`: when it can change, if that is known.
CREATE VIEW explanations AS
SELECT e.request, r.product, r.device, e.plan, e.seq, e.rule, iif(e.ok, 'ok', 'blocked') AS verdict, e.reason,
       coalesce((SELECT text FROM reasons n WHERE n.name = e.reason), '') AS reason_text, e.value, e."limit",
       strftime('%Y-%m-%dT%H:%M:%SZ', e.when_ms / 1000, 'unixepoch') AS "when"
FROM explanation e JOIN request r ON r.id = e.request;

-- Targets that devices failed several times in a row; `aside`: the device gets no plan of the target any more, until then or
-- until a request 'release'.
CREATE VIEW streaks AS
SELECT d.product, d.name AS device, s.component, s.target, s.failures, s.aside, strftime('%Y-%m-%dT%H:%M:%SZ', s.until_ms / 1000, 'unixepoch') AS until
FROM device_streak s JOIN device_state d ON d.id = s.device_id;
CREATE VIEW quarantine AS SELECT product, device, component, target, failures, until FROM streaks WHERE aside = 1;

-- Brakes that people have put on. `scope`: site, product or device.
CREATE VIEW holds AS
SELECT iif(product = '', 'site', iif(device = '', 'product', 'device')) AS scope, product, device, strftime('%Y-%m-%dT%H:%M:%SZ', until_ms / 1000, 'unixepoch') AS until, reason,
       until_ms IS NULL OR until_ms > unixepoch() * 1000 AS in_force
FROM hold;
