-- Step 3: views, the way to read. People and otactl read views only; their columns are stable names.
--
-- Times are ISO-8601 text in UTC; NULL where nothing is known. A view is built from lookups by index,
-- so that one plan or one device is found without reading the others (tests/store/views_test.cc).

-- The reasons that tasks and log rows carry, as sentences; the same texts as in core/names.cc.
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
  ('source_version', 'The installed version is none of the plan''s source versions.'),
  ('no_delta_for_source', 'The plan has only a delta package, and it has none for the installed version.'),
  ('package_not_ready', 'A file of the package is missing, has changed or is still being hashed.'),
  ('no_delivery', 'The product allows neither HTTP nor blocks, so the files cannot be delivered.'),
  ('too_large', 'The message is longer than the longest one that the device takes.'),
  ('outbox_full', 'Too many messages wait to be sent.'),
  ('offer_unanswered', 'The device did not answer the offer in time; it is made again when the device is heard of.'),
  ('not_yet', 'The device or the retry policy has named a later time.'),
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
  ('plan_canceled', 'The plan was canceled.'),
  ('task_canceled', 'The task was canceled by a request.'),
  ('component_gone', 'The device''s complete report lacks a component of the plan.'),
  ('on_trial', 'The device runs the target on trial: it has to keep it or to go back first.'),
  ('not_kept', 'The target runs, but the device did not keep it, or reboot, in time.');

-- Task states as a console shows them. Retries do not change what is shown.
CREATE VIEW shown_states(state, shown) AS VALUES
  ('queued', 'To Be Pushed'),
  ('offered', 'Pushed'), ('postponed', 'Pushed'), ('accepted', 'Pushed'),
  ('downloading', 'In Upgrade'), ('waiting', 'In Upgrade'), ('installing', 'In Upgrade'),
  ('rebooting', 'In Upgrade'), ('retrying', 'In Upgrade'),
  ('succeeded', 'Updated'), ('failed', 'Failed'), ('refused', 'Rejected'), ('canceled', 'Canceled');

-- Every task, open, queued or ended. `percent`, `component` and `attempt` are of the component that is under way.
-- `since` is when the task ended, else when it was last offered, else when it was made.
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
       strftime('%Y-%m-%dT%H:%M:%SZ', nullif(t.ended_ms, 0) / 1000, 'unixepoch') AS ended
FROM task t JOIN device_state d ON d.id = t.device_id;

-- One row for each device, known by an administrator's row, by its reports, or by both.
-- `versions` lists the installed components. `plan` to `reason_text` are of the open task, or, without one, of the
-- first queued one; `queued` counts the tasks that wait for their turn. Presence is not stored: see `last_seen`.
-- `measured` is the age of battery, signal and free space.
CREATE VIEW devices AS
SELECT s.product, s.name AS device,
       coalesce((SELECT group_concat(v.component || ' ' || v.version || iif(v.trial, ' (trial)', ''), ', ') FROM device_version v WHERE v.device_id = s.id), '') AS versions,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.seen_ms / 1000, 'unixepoch') AS last_seen,
       strftime('%Y-%m-%dT%H:%M:%SZ', nullif(s.reported_ms, 0) / 1000, 'unixepoch') AS measured,
       s.battery, s.signal, s.free_bytes,
       t.plan, t.name AS task, (SELECT shown FROM shown_states x WHERE x.state = t.state) AS shown, t.state,
       t.reason, (SELECT text FROM reasons r WHERE r.name = t.reason) AS reason_text,
       (SELECT count(*) FROM task q WHERE q.device_id = s.id AND (q.ended_ms = 0 OR q.owes_cancel = 1) AND q.state = 'queued') AS queued,
       coalesce(a.disabled, 0) AS disabled, coalesce(a.retired, 0) AS retired,
       coalesce((SELECT group_concat(g.key || '=' || g.value, ', ') FROM device_tag g WHERE g.product = s.product AND g.device = s.name), '') AS tags,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.registered_ms / 1000, 'unixepoch') AS registered,
       coalesce(a.remarks, '') AS remarks
FROM device_state s
LEFT JOIN device a ON a.product = s.product AND a.name = s.name
LEFT JOIN task t ON t.id = (SELECT o.id FROM task o WHERE o.device_id = s.id AND (o.ended_ms = 0 OR o.owes_cancel = 1) AND o.ended_ms = 0
                            ORDER BY o.state = 'queued', o.id LIMIT 1)
UNION ALL
SELECT a.product, a.name, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, a.disabled, a.retired,
       coalesce((SELECT group_concat(g.key || '=' || g.value, ', ') FROM device_tag g WHERE g.product = a.product AND g.device = a.name), ''),
       NULL, a.remarks
FROM device a WHERE NOT EXISTS (SELECT 1 FROM device_state s WHERE s.product = a.product AND s.name = a.name);

-- Installed components, one row each.
CREATE VIEW device_components AS
SELECT s.product, s.name AS device, v.component, v.version, v.trial,
       strftime('%Y-%m-%dT%H:%M:%SZ', v.since_ms / 1000, 'unixepoch') AS since
FROM device_state s JOIN device_version v ON v.device_id = s.id;

-- Every device of a plan: those with a task, and, while the plan may still reach them, the whitelisted ones that have
-- none because they have never reported what the plan needs.
CREATE VIEW plan_devices AS
SELECT t.plan, d.product, d.name AS device,
       (SELECT shown FROM shown_states x WHERE x.state = t.state) AS shown, t.state,
       t.reason, coalesce((SELECT text FROM reasons r WHERE r.name = t.reason), '') AS reason_text, t.detail,
       (SELECT nullif(c.percent, -1) FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS percent,
       (SELECT c.attempt FROM task_component c WHERE c.task_id = t.id AND c.state = 'current') AS attempt,
       strftime('%Y-%m-%dT%H:%M:%SZ', t.deadline_ms / 1000, 'unixepoch') AS deadline,
       strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(nullif(t.ended_ms, 0), nullif(t.offered_ms, 0), t.created_ms) / 1000, 'unixepoch') AS since,
       t.name AS task
FROM task t JOIN device_state d ON d.id = t.device_id
UNION ALL
SELECT p.name, p.product, w.device, 'To Be Pushed', 'queued',
       iif(p.wanted = 'active', 'not_reported', 'plan_not_active'),
       (SELECT text FROM reasons r WHERE r.name = iif(p.wanted = 'active', 'not_reported', 'plan_not_active')),
       '', NULL, NULL, NULL, NULL, NULL
FROM plan p JOIN plan_device w ON w.plan = p.name AND w.list = 'white'
WHERE p.wanted <> 'canceled'
  AND NOT EXISTS (SELECT 1 FROM plan_state z WHERE z.plan = p.name AND z.state IN ('ended', 'canceled'))
  AND NOT EXISTS (SELECT 1 FROM plan_device b WHERE b.plan = p.name AND b.list = 'black' AND b.device = w.device)
  AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.device_id =
                    (SELECT s.id FROM device_state s WHERE s.product = p.product AND s.name = w.device));

-- Plans: what people want, what became of it, and how many devices are where. The counts agree with plan_devices.
-- `success_rate` is the percentage of the tasks that ended by success or failure; refused and canceled do not count.
CREATE VIEW plans AS
SELECT plan, product, wanted, state, reason, mode, scope, priority,
       to_be_pushed, pushed, in_upgrade, updated, failed, rejected, canceled,
       to_be_pushed + pushed + in_upgrade + updated + failed + rejected + canceled AS devices,
       round(100.0 * updated / nullif(updated + failed, 0), 1) AS success_rate,
       activated, "end", ended, remarks
FROM (SELECT p.name AS plan, p.product, p.wanted,
       coalesce(s.state, iif(p.wanted = 'draft', 'draft', 'pending')) AS state,
       coalesce(s.reason, iif(p.wanted = 'draft', '', 'The engine has not acted on this plan yet.')) AS reason,
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
       p.remarks
     FROM plan p LEFT JOIN plan_state s ON s.plan = p.name
     LIMIT -1 OFFSET 0); -- keeps each count from being computed once for every use of its name

-- What a plan upgrades, in order. `sources`: installed versions that it upgrades; empty: any.
CREATE VIEW plan_components AS
SELECT c.plan, c.seq, p.product, c.component, m.type, m.boot, coalesce(f.version, d.version) AS target, c."full", c.delta,
       coalesce((SELECT group_concat(s.version, ', ') FROM plan_source s WHERE s.plan = c.plan AND s.component = c.component), '') AS sources
FROM plan_component c
JOIN plan p ON p.name = c.plan
LEFT JOIN component m ON m.product = p.product AND m.name = c.component
LEFT JOIN package f ON f.product = p.product AND f.name = c."full"
LEFT JOIN package d ON d.product = p.product AND d.name = c.delta;

-- Files of packages. State `new`: the engine has not looked at the file yet.
CREATE VIEW package_files AS
SELECT f.product, f.package, f.source, f.seq, f.path, coalesce(s.state, 'new') AS state, coalesce(s.problem, '') AS problem,
       s.bytes, s.sha256, s.md5, strftime('%Y-%m-%dT%H:%M:%SZ', nullif(s.checked_ms, 0) / 1000, 'unixepoch') AS checked
FROM package_file f
LEFT JOIN package_state s ON s.product = f.product AND s.package = f.package AND s.source = f.source AND s.seq = f.seq;

-- Packages. `state` is that of the worst file: refused, new, hashing, ready; `empty` without files.
-- `sha256` is the digest of a package of one file. `plans`: those that use the package.
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
       k.remarks
FROM package k;

-- The log, with times and reasons as text.
CREATE VIEW history AS
SELECT l.id, strftime('%Y-%m-%dT%H:%M:%fZ', l.at_ms / 1000.0, 'unixepoch') AS at, l.product, l.device, l.plan, l.task, l.component, l.event,
       l.old_state, l.new_state, l.reason, coalesce((SELECT text FROM reasons r WHERE r.name = l.reason), '') AS reason_text,
       nullif(l.attempt, 0) AS attempt, l.detail
FROM log l;

-- The upgrade log of each device and component.
CREATE VIEW component_log AS
SELECT product, device, component, at, event, old_state, new_state, attempt, reason, reason_text, detail, plan, task, id
FROM history WHERE component <> '';

-- One row: how the engine is, and in `problem` what is wrong, for people. The engine refreshes its row every two minutes at the latest.
CREATE VIEW health AS
SELECT iif(problem = '', 'ok', 'problem') AS state, problem, at, pid, started, connected, inbox, outbox_bytes, oldest_uplink_ms,
       ticks, wal_bytes, free_bytes, last_error
FROM (SELECT
  CASE WHEN h.one IS NULL THEN 'The engine has never run on this database.'
       WHEN h.at_ms < (unixepoch() - 180) * 1000 THEN 'The engine has not written for ' || (unixepoch() - h.at_ms / 1000) || ' s: is the broker running?'
       WHEN h.last_error <> '' THEN 'Last error: ' || h.last_error
       WHEN h.free_bytes < 67108864 THEN 'Less than 64 MiB are free beside the database.'
       WHEN h.wal_bytes > 67108864 THEN 'The write-ahead log is over 64 MiB: a program keeps a transaction open.'
       WHEN h.oldest_uplink_ms > 10000 THEN 'A device has waited for ' || (h.oldest_uplink_ms / 1000) || ' s for an answer.'
       ELSE '' END AS problem,
  strftime('%Y-%m-%dT%H:%M:%SZ', h.at_ms / 1000, 'unixepoch') AS at, h.pid,
  strftime('%Y-%m-%dT%H:%M:%SZ', h.started_ms / 1000, 'unixepoch') AS started,
  h.connected, h.inbox, h.outbox_bytes,
  h.oldest_uplink_ms,
  h.ticks, h.wal_bytes, h.free_bytes, h.last_error
FROM (SELECT 1 AS one_row) LEFT JOIN engine_health h ON h.one = one_row);
