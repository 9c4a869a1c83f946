-- Step 9: a cancel ends what the plan, else the profile, says, from scheduled tasks alone to all of them (004-73); the
-- rules of a profile as rows to look up; a package that breaks a rule which was tightened since starts no plan.
-- NULL is the profile's, so that the column is made again; what plans said stays.
ALTER TABLE profile ADD COLUMN at_cancel TEXT NOT NULL DEFAULT 'all' CHECK (at_cancel IN ('scheduled', 'queued', 'all'));
DROP TRIGGER plan_before_insert;
DROP TRIGGER plan_update;
ALTER TABLE plan RENAME COLUMN at_cancel TO at_cancel_before;
ALTER TABLE plan ADD COLUMN at_cancel TEXT CHECK (at_cancel IN ('scheduled', 'queued', 'all')); -- NULL: the profile's
UPDATE plan SET at_cancel = at_cancel_before;
ALTER TABLE plan DROP COLUMN at_cancel_before;
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
  SELECT RAISE(ABORT, 'plan.at_cancel: of a plan that is canceled it can only go on, from scheduled to queued to all')
    WHERE OLD.wanted = 'canceled' AND NEW.at_cancel IS NOT OLD.at_cancel AND EXISTS (SELECT 1 FROM rules_of f WHERE
        f.product = NEW.product AND instr('scheduled queued all', coalesce(NEW.at_cancel, f.at_cancel)) <
        instr('scheduled queued all', coalesce(OLD.at_cancel, f.at_cancel)));
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

DROP TRIGGER profile_before_insert;
DROP TRIGGER profile_update;
UPDATE profile SET at_cancel = 'scheduled' WHERE name = 'alibaba';
CREATE TRIGGER profile_before_insert BEFORE INSERT ON profile BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.max_files, o.max_file_bytes, o.max_packages, o.offer_s, o.download_s, o.install_s,
        o.reboot_s, o.longest_s, o.retry_max, o.retry_interval_s, o.langs, o.zone_required, o.verify_required,
        o.start_min_s, o.start_max_s, o.end_min_s, o.end_max_s, o.start_static, o.rate_min, o.rate_max,
        o.retry_counts, o.retry_intervals, o.timeout_min_s, o.timeout_max_s, o.dynamic_sources, o.selected_sources,
        o.dynamic_unique, o.max_listed, o.max_open, o.max_tags, o.strict_names, o.grace_s, o.fails_when_busy,
        o.halt_failures, o.halt_percent, o.halt_sample, o.loop_max, o.quarantine_s, o.at_cancel) IS (NEW.max_files,
        NEW.max_file_bytes, NEW.max_packages, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s,
        NEW.retry_max, NEW.retry_interval_s, NEW.langs, NEW.zone_required, NEW.verify_required, NEW.start_min_s,
        NEW.start_max_s, NEW.end_min_s, NEW.end_max_s, NEW.start_static, NEW.rate_min, NEW.rate_max, NEW.retry_counts,
        NEW.retry_intervals, NEW.timeout_min_s, NEW.timeout_max_s, NEW.dynamic_sources, NEW.selected_sources,
        NEW.dynamic_unique, NEW.max_listed, NEW.max_open, NEW.max_tags, NEW.strict_names, NEW.grace_s,
        NEW.fails_when_busy, NEW.halt_failures, NEW.halt_percent, NEW.halt_sample, NEW.loop_max, NEW.quarantine_s,
        NEW.at_cancel)
        THEN 'same'
      ELSE 'other' END FROM profile o WHERE o.name = NEW.name), 'none');
END;
CREATE TRIGGER profile_update AFTER UPDATE ON profile WHEN (NEW.name, NEW.max_files, NEW.max_file_bytes,
    NEW.max_packages, NEW.offer_s, NEW.download_s, NEW.install_s, NEW.reboot_s, NEW.longest_s, NEW.retry_max,
    NEW.retry_interval_s, NEW.langs, NEW.zone_required, NEW.verify_required, NEW.start_min_s, NEW.start_max_s,
    NEW.end_min_s, NEW.end_max_s, NEW.start_static, NEW.rate_min, NEW.rate_max, NEW.retry_counts, NEW.retry_intervals,
    NEW.timeout_min_s, NEW.timeout_max_s, NEW.dynamic_sources, NEW.selected_sources, NEW.dynamic_unique,
    NEW.max_listed, NEW.max_open, NEW.max_tags, NEW.strict_names, NEW.grace_s, NEW.fails_when_busy, NEW.halt_failures,
    NEW.halt_percent, NEW.halt_sample, NEW.loop_max, NEW.quarantine_s, NEW.at_cancel) IS NOT (OLD.name, OLD.max_files,
    OLD.max_file_bytes, OLD.max_packages, OLD.offer_s, OLD.download_s, OLD.install_s, OLD.reboot_s, OLD.longest_s,
    OLD.retry_max, OLD.retry_interval_s, OLD.langs, OLD.zone_required, OLD.verify_required, OLD.start_min_s,
    OLD.start_max_s, OLD.end_min_s, OLD.end_max_s, OLD.start_static, OLD.rate_min, OLD.rate_max, OLD.retry_counts,
    OLD.retry_intervals, OLD.timeout_min_s, OLD.timeout_max_s, OLD.dynamic_sources, OLD.selected_sources,
    OLD.dynamic_unique, OLD.max_listed, OLD.max_open, OLD.max_tags, OLD.strict_names, OLD.grace_s,
    OLD.fails_when_busy, OLD.halt_failures, OLD.halt_percent, OLD.halt_sample, OLD.loop_max, OLD.quarantine_s,
    OLD.at_cancel) BEGIN
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

-- What a profile says, a row for each rule that it has; where the second of a pair is missing, there is no such limit.
CREATE VIEW profile_rules(profile, rule, "limit", unit, text) AS
SELECT p.name, r.column1, json_extract(p.rules, '$.' || r.column1), r.column2, r.column3
FROM (SELECT name, json_object('max_files', max_files, 'max_file_bytes', max_file_bytes, 'max_packages', max_packages,
        'file_format', (SELECT group_concat(suffix, ' ') FROM file_format WHERE profile = name), 'strict_names', strict_names,
        'langs', nullif(langs, ''), 'zone_required', zone_required, 'verify_required', verify_required, 'start_min_s', start_min_s,
        'start_max_s', start_max_s, 'end_min_s', end_min_s, 'end_max_s', end_max_s, 'start_static', start_static,
        'rate_min', rate_min, 'rate_max', rate_max, 'retry_counts', retry_counts, 'retry_intervals', retry_intervals,
        'timeout_min_s', timeout_min_s, 'timeout_max_s', timeout_max_s, 'dynamic_sources', dynamic_sources,
        'selected_sources', selected_sources, 'dynamic_unique', dynamic_unique, 'max_listed', max_listed,
        'max_open', max_open, 'max_tags', max_tags, 'fails_when_busy', fails_when_busy, 'offer_s', offer_s,
        'download_s', download_s, 'install_s', install_s, 'reboot_s', reboot_s, 'longest_s', longest_s, 'grace_s', grace_s,
        'retry_max', retry_max, 'retry_interval_s', retry_interval_s, 'halt_failures', halt_failures,
        'halt_percent', halt_percent, 'halt_sample', halt_sample, 'loop_max', loop_max, 'quarantine_s', quarantine_s,
        'at_cancel', at_cancel) AS rules FROM profile) p
JOIN (VALUES ('max_files', '', 'Files of a package for one source version, at most.'),
  ('max_file_bytes', 'bytes', 'Size of a file, at most.'),
  ('max_packages', '', 'Packages of a product, at most.'),
  ('file_format', '', 'Endings of the names of files; without this row any.'),
  ('strict_names', '', '1: names, versions and remarks of components and packages are as Alibaba wants them.'),
  ('langs', '', 'Languages in which a manual plan has its text.'),
  ('zone_required', '', '1: a plan names its time zone.'),
  ('verify_required', '', '1: packages are verified before a batch, unless the plan says otherwise.'),
  ('start_min_s', 's', 'From the activation to the start, at least.'),
  ('start_max_s', 's', 'From the activation to the start, at most.'),
  ('end_min_s', 's', 'From the start to the end, at least.'),
  ('end_max_s', 's', 'From the start to the end, at most.'),
  ('start_static', '', '1: only a static plan has a start.'),
  ('rate_min', 'per minute', 'Rate of offers, at least.'),
  ('rate_max', 'per minute', 'Rate of offers, at most.'),
  ('retry_counts', '', 'Numbers of retries to choose from; 0 always.'),
  ('retry_intervals', 's', 'Intervals between retries to choose from.'),
  ('timeout_min_s', 's', 'Time-out from the first progress, at least.'),
  ('timeout_max_s', 's', 'Time-out from the first progress, at most.'),
  ('dynamic_sources', '', '1: a dynamic plan of a full package names its source versions.'),
  ('selected_sources', '', '0: a plan for chosen devices names no source versions.'),
  ('dynamic_unique', '', 'Dynamic plans: one for a package and source version, for a package, or any number (none).'),
  ('max_listed', '', 'Devices on a whitelist, at most.'),
  ('max_open', '', 'Open tasks of a plan at a time, at most, also where the plan says nothing.'),
  ('max_tags', '', 'Tags of a plan, at most.'),
  ('fails_when_busy', '', '1: the new task of a device that is being upgraded fails; 0: it waits.'),
  ('offer_s', 's', 'Default: until an offer is answered.'),
  ('download_s', 's', 'Default: until the first sign of a download, and between two.'),
  ('install_s', 's', 'Default: until a sign of the installation.'),
  ('reboot_s', 's', 'Default: until the return from the reboot.'),
  ('longest_s', 's', 'Default: the most that a device can ask for.'),
  ('grace_s', 's', 'Default: that a device may show its old version after a reconnect.'),
  ('retry_max', '', 'Default: retries after a failure.'),
  ('retry_interval_s', 's', 'Default: interval between retries.'),
  ('halt_failures', '', 'Default: failed tasks at which a plan halts; 0: never.'),
  ('halt_percent', '%', 'Default: share of failed tasks at which a plan halts; 0: never.'),
  ('halt_sample', '', 'Default: ended tasks before that share counts.'),
  ('loop_max', '', 'Default: failures of one target in a row after which a device is put aside; 0: never.'),
  ('quarantine_s', 's', 'Default: for how long; 0: until it is released.'),
  ('at_cancel', '', 'Default: what the cancel of a plan ends.')) r ON json_extract(p.rules, '$.' || r.column1) IS NOT NULL;

-- Packages that are there break no rule, unless the profile's rule was tightened since.
CREATE VIEW package_breaks(product, package, rule, value, "limit") AS
SELECT n.product, n.package, 'max_files', max(n.files), f.max_files
FROM (SELECT product, package, count(*) AS files FROM package_file GROUP BY product, package, source) n
JOIN rules_of f ON f.product = n.product AND n.files > f.max_files GROUP BY n.product, n.package
UNION ALL
SELECT s.product, s.package, 'max_file_bytes', max(s.bytes), f.max_file_bytes
FROM package_state s JOIN rules_of f ON f.product = s.product AND s.bytes > f.max_file_bytes GROUP BY s.product, s.package
UNION ALL
SELECT k.product, k.package, 'file_format', k.path, (SELECT group_concat(suffix, ' ') FROM file_format WHERE profile = f.name)
FROM package_file k JOIN rules_of f ON f.product = k.product
WHERE EXISTS (SELECT 1 FROM file_format WHERE profile = f.name) AND NOT EXISTS (SELECT 1 FROM file_format WHERE profile = f.name
    AND suffix = (SELECT suffix FROM file_format WHERE substr(lower(k.path), -length(suffix)) = suffix ORDER BY length(suffix) DESC LIMIT 1))
UNION ALL
SELECT k.product, k.name, 'strict_names', k.name || ' ' || k.version, 'letters, digits, - _ ( ) in 1 to 40 characters; . - _ in versions; 100 characters in remarks'
FROM package k JOIN rules_of f ON f.product = k.product AND f.strict_names = 1
WHERE length(k.name) > 40 OR k.name GLOB '*[^A-Za-z0-9_()-]*' OR k.name GLOB '[^A-Za-z0-9]*' OR k.version GLOB '*[^A-Za-z0-9._-]*'
  OR length(k.remarks) > 100;

CREATE TRIGGER plan_activate_packages AFTER UPDATE OF wanted ON plan WHEN NEW.wanted = 'active' AND OLD.wanted = 'draft' BEGIN
  SELECT RAISE(ABORT,
      'plan.wanted: a package of the plan breaks a rule of the profile that was tightened since (view package_breaks), so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_component c JOIN package_breaks b ON b.product = NEW.product
      AND b.package IN (c."full", c.delta) WHERE c.plan = NEW.name);
END;

-- What a product has must fit another profile in all its rules.
DROP TRIGGER product_profile_update;
CREATE TRIGGER product_profile_update AFTER UPDATE ON product WHEN NEW.profile IS NOT OLD.profile BEGIN
  UPDATE component SET name = name WHERE product = NEW.name;
  UPDATE package SET name = name WHERE product = NEW.name;
  UPDATE package_file SET path = path WHERE product = NEW.name;
  SELECT RAISE(ABORT, 'product.profile: the product has more packages than that profile allows (profile.max_packages)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.name AND (SELECT count(*) FROM package WHERE product =
        NEW.name) > f.max_packages);
  SELECT RAISE(ABORT,
      'product.profile: a package of the product breaks a rule of that profile (profile.max_files, max_file_bytes)')
    WHERE EXISTS (SELECT 1 FROM package_breaks WHERE product = NEW.name);
END;
DROP TRIGGER product_profile_insert;
CREATE TRIGGER product_profile_insert AFTER INSERT ON product WHEN EXISTS (SELECT 1 FROM package WHERE product =
    NEW.name) BEGIN
  UPDATE component SET name = name WHERE product = NEW.name;
  UPDATE package SET name = name WHERE product = NEW.name;
  UPDATE package_file SET path = path WHERE product = NEW.name;
  SELECT RAISE(ABORT, 'product.profile: the product has more packages than that profile allows (profile.max_packages)')
    WHERE EXISTS (SELECT 1 FROM rules_of f WHERE f.product = NEW.name AND (SELECT count(*) FROM package WHERE product =
        NEW.name) > f.max_packages);
  SELECT RAISE(ABORT,
      'product.profile: a package of the product breaks a rule of that profile (profile.max_files, max_file_bytes)')
    WHERE EXISTS (SELECT 1 FROM package_breaks WHERE product = NEW.name);
END;

-- A whitelist is one only with scope 'selected': nobody upgrades a fleet for having forgotten that. With a rank, rows are
-- an order among all devices.
CREATE TRIGGER plan_activate_list AFTER UPDATE OF wanted ON plan WHEN NEW.wanted = 'active' AND OLD.wanted = 'draft'
    AND NEW.scope = 'all' BEGIN
  SELECT RAISE(ABORT,
      'plan.scope: is ''all'', but plan_device has a whitelist, which would limit nothing; set scope=''selected'', or give the rows a rank if they are an order among all devices')
    WHERE EXISTS (SELECT 1 FROM plan_device WHERE plan = NEW.name AND list = 'white' AND rank IS NULL);
END;
CREATE TRIGGER plan_device_scope AFTER INSERT ON plan_device WHEN NEW.list = 'white' AND NEW.rank IS NULL BEGIN
  SELECT RAISE(ABORT,
      'plan_device: the plan is active and for all devices (scope ''all''), so a whitelist limits nothing; rows with a rank are an order among the devices')
    WHERE (SELECT found FROM before_insert) <> 'same' AND EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan
      AND wanted <> 'draft' AND scope = 'all');
END;

-- The usual mistake: unixepoch() is in seconds. Such a time lies in January 1970 or soon after, when nobody made plans.
CREATE TRIGGER plan_times_insert AFTER INSERT ON plan BEGIN
  SELECT RAISE(ABORT, 'plan.start_ms, end_ms: is in seconds, it seems; times are milliseconds: unixepoch(...) * 1000')
    WHERE NEW.start_ms BETWEEN 1000000000 AND 99999999999 OR NEW.end_ms BETWEEN 1000000000 AND 99999999999;
END;
CREATE TRIGGER plan_times_update AFTER UPDATE OF start_ms, end_ms ON plan BEGIN
  SELECT RAISE(ABORT, 'plan.start_ms, end_ms: is in seconds, it seems; times are milliseconds: unixepoch(...) * 1000')
    WHERE NEW.start_ms BETWEEN 1000000000 AND 99999999999 OR NEW.end_ms BETWEEN 1000000000 AND 99999999999;
END;
CREATE TRIGGER hold_times_insert AFTER INSERT ON hold BEGIN
  SELECT RAISE(ABORT, 'hold.until_ms: is in seconds, it seems; times are milliseconds: unixepoch(...) * 1000')
    WHERE NEW.until_ms BETWEEN 1000000000 AND 99999999999;
END;
CREATE TRIGGER hold_times_update AFTER UPDATE OF until_ms ON hold BEGIN
  SELECT RAISE(ABORT, 'hold.until_ms: is in seconds, it seems; times are milliseconds: unixepoch(...) * 1000')
    WHERE NEW.until_ms BETWEEN 1000000000 AND 99999999999;
END;

-- A refusal is no failure; a plan can ask for it to come again nevertheless. What no attempt changes (not_kept,
-- no_full_progress) was taken here, and never tried again.
DROP TRIGGER plan_retry_insert;
CREATE TRIGGER plan_retry_insert AFTER INSERT ON plan_retry BEGIN
  SELECT RAISE(ABORT, 'plan_retry.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_retry.reason: is no failure that can be tried again: device_failed, download_failed, verify_failed, write_failed, rolled_back, foreign_version, spelling, download_timeout, install_timeout, reboot_timeout, timeout; or device_refused, to offer it again')
    WHERE NEW.reason NOT IN ('device_failed', 'download_failed', 'verify_failed', 'write_failed', 'rolled_back',
        'foreign_version', 'spelling', 'download_timeout', 'install_timeout', 'reboot_timeout', 'timeout',
        'device_refused');
  SELECT RAISE(ABORT,
      'plan_retry: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND (SELECT wanted FROM plan WHERE name = NEW.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_retry', 'insert', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.reason FROM now
    WHERE (SELECT found FROM before_insert) <> 'same';
END;
DROP TRIGGER plan_retry_update;
CREATE TRIGGER plan_retry_update AFTER UPDATE ON plan_retry WHEN (NEW.plan, NEW.reason) IS NOT (OLD.plan, OLD.reason)
    BEGIN
  SELECT RAISE(ABORT, 'plan_retry: names are keys and never change; insert a new row and delete this one')
    WHERE (NEW.plan, NEW.reason) IS NOT (OLD.plan, OLD.reason);
  SELECT RAISE(ABORT, 'plan_retry.plan: there is no such plan; insert it first')
    WHERE NOT EXISTS (SELECT 1 FROM plan WHERE name = NEW.plan);
  SELECT RAISE(ABORT,
      'plan_retry.reason: is no failure that can be tried again: device_failed, download_failed, verify_failed, write_failed, rolled_back, foreign_version, spelling, download_timeout, install_timeout, reboot_timeout, timeout; or device_refused, to offer it again')
    WHERE NEW.reason NOT IN ('device_failed', 'download_failed', 'verify_failed', 'write_failed', 'rolled_back',
        'foreign_version', 'spelling', 'download_timeout', 'install_timeout', 'reboot_timeout', 'timeout',
        'device_refused');
  SELECT RAISE(ABORT,
      'plan_retry: the plan is no draft any more, so this cannot change; cancel it (plan.wanted=''canceled'') and make a new plan')
    WHERE (SELECT wanted FROM plan WHERE name = OLD.plan) <> 'draft';
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'plan_retry', 'update', (SELECT product FROM plan WHERE name =
        NEW.plan), NEW.plan, NEW.reason FROM now;
END;
