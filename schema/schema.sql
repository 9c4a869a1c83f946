-- The current schema as a whole, made from the numbered steps by scripts/schema.sh: read this, change those.
-- Nothing runs it; a test proves that it gives what the steps give. Rules: README.md.

CREATE TABLE product (
  name        TEXT PRIMARY KEY NOT NULL CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._:-]*'),
  profile     TEXT NOT NULL DEFAULT 'default' REFERENCES profile(name),
  dialect     TEXT NOT NULL DEFAULT 'native',
  register    INTEGER NOT NULL DEFAULT 1 CHECK (register IN (0, 1)),      -- unknown devices register themselves
  auto_confirm INTEGER NOT NULL DEFAULT 0 CHECK (auto_confirm IN (0, 1)), -- no confirmation is needed
  http        INTEGER NOT NULL DEFAULT 1 CHECK (http IN (0, 1)),          -- files may be fetched over HTTP
  blocks      INTEGER NOT NULL DEFAULT 1 CHECK (blocks IN (0, 1)),        -- files may be fetched over MQTT
  max_devices INTEGER NOT NULL DEFAULT 200000 CHECK (max_devices > 0),    -- that may register themselves
  public_key  TEXT,                                                       -- PEM; NULL: signatures are not served yet
  remarks     TEXT NOT NULL DEFAULT '' CHECK (length(remarks) <= 1000)
) STRICT, WITHOUT ROWID;

CREATE TABLE profile (
  name             TEXT PRIMARY KEY NOT NULL,
  max_files        INTEGER NOT NULL,
  max_file_bytes   INTEGER NOT NULL,
  max_packages     INTEGER NOT NULL,
  offer_s          INTEGER NOT NULL CHECK (offer_s BETWEEN 1 AND 31536000),
  download_s       INTEGER NOT NULL CHECK (download_s BETWEEN 1 AND 31536000),
  install_s        INTEGER NOT NULL CHECK (install_s BETWEEN 1 AND 31536000),
  reboot_s         INTEGER NOT NULL CHECK (reboot_s BETWEEN 1 AND 31536000),
  longest_s        INTEGER NOT NULL CHECK (longest_s BETWEEN 60 AND 31536000),
  retry_max        INTEGER NOT NULL CHECK (retry_max BETWEEN 0 AND 100),
  retry_interval_s INTEGER NOT NULL CHECK (retry_interval_s BETWEEN 0 AND 2592000)
, langs TEXT NOT NULL DEFAULT '', zone_required INTEGER NOT NULL DEFAULT 0 CHECK (zone_required IN (0, 1)), verify_required INTEGER NOT NULL DEFAULT 0 CHECK (verify_required IN (0, 1)), start_min_s INTEGER, start_max_s INTEGER, end_min_s INTEGER, end_max_s INTEGER, start_static INTEGER NOT NULL DEFAULT 0 CHECK (start_static IN (0, 1)), rate_min INTEGER, rate_max INTEGER, retry_counts TEXT, retry_intervals TEXT, timeout_min_s INTEGER, timeout_max_s INTEGER, dynamic_sources INTEGER NOT NULL DEFAULT 0 CHECK (dynamic_sources IN (0, 1)), selected_sources INTEGER NOT NULL DEFAULT 1 CHECK (selected_sources IN (0, 1)), dynamic_unique TEXT NOT NULL DEFAULT 'source' CHECK (dynamic_unique IN ('none', 'source', 'package')), max_listed INTEGER NOT NULL DEFAULT 1000000 CHECK (max_listed > 0), max_open INTEGER NOT NULL DEFAULT 1000000 CHECK (max_open > 0), max_tags INTEGER NOT NULL DEFAULT 100 CHECK (max_tags >= 0), strict_names INTEGER NOT NULL DEFAULT 0 CHECK (strict_names IN (0, 1)), grace_s INTEGER NOT NULL DEFAULT 120 CHECK (grace_s BETWEEN 0 AND 86400), fails_when_busy INTEGER NOT NULL DEFAULT 0 CHECK (fails_when_busy IN (0, 1)), halt_failures INTEGER NOT NULL DEFAULT 3 CHECK (halt_failures BETWEEN 0 AND 1000000), halt_percent INTEGER NOT NULL DEFAULT 0 CHECK (halt_percent BETWEEN 0 AND 100), halt_sample INTEGER NOT NULL DEFAULT 10 CHECK (halt_sample BETWEEN 1 AND 1000000), loop_max INTEGER NOT NULL DEFAULT 3 CHECK (loop_max BETWEEN 0 AND 1000), quarantine_s INTEGER NOT NULL DEFAULT 0 CHECK (quarantine_s BETWEEN 0 AND 31536000), at_cancel TEXT NOT NULL DEFAULT 'all' CHECK (at_cancel IN ('scheduled', 'queued', 'all'))) STRICT, WITHOUT ROWID;

CREATE TABLE component (
  product     TEXT NOT NULL REFERENCES product(name),
  name        TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._:-]*'),
  type        TEXT NOT NULL DEFAULT 'firmware' CHECK (type IN ('firmware', 'module', 'mcu', 'software', 'driver', 'config', 'other')),
  boot        INTEGER NOT NULL DEFAULT 1 CHECK (boot IN (0, 1)),          -- proved only after a reboot or on a new connection
  alias       TEXT NOT NULL DEFAULT '' CHECK (length(alias) <= 64),
  remarks     TEXT NOT NULL DEFAULT '' CHECK (length(remarks) <= 1000),
  PRIMARY KEY (product, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE device (
  product     TEXT NOT NULL REFERENCES product(name),
  name        TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._:-]*'),
  disabled    INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),      -- may not report or upgrade
  retired     INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1)),       -- leaves every scope
  gateway     TEXT,                                                       -- of the same broker: product/name
  remarks     TEXT NOT NULL DEFAULT '' CHECK (length(remarks) <= 1000),
  PRIMARY KEY (product, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX device_gateway ON device(gateway) WHERE gateway IS NOT NULL;

CREATE TABLE device_tag (
  product     TEXT NOT NULL,
  device      TEXT NOT NULL,
  key         TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 64),
  value       TEXT NOT NULL CHECK (length(value) <= 1024),
  PRIMARY KEY (product, device, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE package (
  product     TEXT NOT NULL REFERENCES product(name),
  name        TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  component   TEXT NOT NULL,
  kind        TEXT NOT NULL DEFAULT 'full' CHECK (kind IN ('full', 'delta')),
  version     TEXT NOT NULL CHECK (length(version) BETWEEN 1 AND 64),     -- after the upgrade
  remarks     TEXT NOT NULL DEFAULT '' CHECK (length(remarks) <= 1000),
  manifest    BLOB,                                                       -- the bytes that are signed; these three are NULL: not served yet
  signature   BLOB,
  key_id      TEXT,
  PRIMARY KEY (product, name),
  FOREIGN KEY (product, component) REFERENCES component(product, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE package_file (
  product     TEXT NOT NULL,
  package     TEXT NOT NULL,
  source      TEXT NOT NULL DEFAULT '' CHECK (length(source) <= 64),
  seq         INTEGER NOT NULL DEFAULT 0 CHECK (seq BETWEEN 0 AND 4),
  path        TEXT NOT NULL CHECK (length(path) BETWEEN 1 AND 255),       -- inside the store directory
  sha256      TEXT CHECK (sha256 IS NULL OR (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*')), -- expected, if known
  PRIMARY KEY (product, package, source, seq),
  FOREIGN KEY (product, package) REFERENCES package(product, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE plan (
  name        TEXT PRIMARY KEY NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  product     TEXT NOT NULL REFERENCES product(name),
  wanted      TEXT NOT NULL DEFAULT 'draft' CHECK (wanted IN ('draft', 'active', 'paused', 'canceled')),
  scope       TEXT NOT NULL DEFAULT 'all' CHECK (scope IN ('all', 'selected')), -- selected: the whitelist alone
  mode        TEXT NOT NULL DEFAULT 'silent' CHECK (mode IN ('silent', 'manual')),
  priority    INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -1000 AND 1000),
  end_ms      INTEGER,                                                    -- nothing is offered afterwards
  battery     INTEGER CHECK (battery BETWEEN 0 AND 100),                  -- conditions, sent to the device
  signal      INTEGER CHECK (signal BETWEEN -150 AND 0),
  free_bytes  INTEGER CHECK (free_bytes >= 0),
  offer_s     INTEGER CHECK (offer_s BETWEEN 1 AND 31536000),             -- deadlines; NULL: the profile's
  download_s  INTEGER CHECK (download_s BETWEEN 1 AND 31536000),
  install_s   INTEGER CHECK (install_s BETWEEN 1 AND 31536000),
  reboot_s    INTEGER CHECK (reboot_s BETWEEN 1 AND 31536000),
  longest_s   INTEGER CHECK (longest_s BETWEEN 60 AND 31536000),
  retry_max   INTEGER CHECK (retry_max BETWEEN 0 AND 100),
  retry_interval_s INTEGER CHECK (retry_interval_s BETWEEN 0 AND 2592000),
  remarks     TEXT NOT NULL DEFAULT '' CHECK (length(remarks) <= 1000)
, kind TEXT NOT NULL DEFAULT 'batch' CHECK (kind IN ('batch', 'verify')), scope_kind TEXT NOT NULL DEFAULT 'dynamic' CHECK (scope_kind IN ('static', 'dynamic')), new_reports INTEGER NOT NULL DEFAULT 0 CHECK (new_reports IN (0, 1)), percent INTEGER CHECK (percent BETWEEN 1 AND 100), trigger TEXT NOT NULL DEFAULT 'push' CHECK (trigger IN ('push', 'request')), start_ms INTEGER, at_end TEXT NOT NULL DEFAULT 'stop' CHECK (at_end IN ('stop', 'cancel', 'force')), zone TEXT, window_from TEXT CHECK (window_from GLOB '[0-2][0-9]:[0-5][0-9]' AND window_from < '24:00'), window_to TEXT CHECK (window_to GLOB '[0-2][0-9]:[0-5][0-9]' AND window_to <= '24:00'), rate INTEGER CHECK (rate BETWEEN 1 AND 1000000), max_open INTEGER CHECK (max_open BETWEEN 1 AND 1000000), bytes_per_second INTEGER CHECK (bytes_per_second BETWEEN 1 AND 1000000000000), max_age_s INTEGER CHECK (max_age_s BETWEEN 1 AND 31536000), unknown TEXT NOT NULL DEFAULT 'offer' CHECK (unknown IN ('offer', 'wait')), override INTEGER NOT NULL DEFAULT 0 CHECK (override IN (0, 1)), verify_required INTEGER CHECK (verify_required IN (0, 1)), strict_progress INTEGER NOT NULL DEFAULT 0 CHECK (strict_progress IN (0, 1)), grace_s INTEGER CHECK (grace_s BETWEEN 0 AND 86400), timeout_s INTEGER CHECK (timeout_s BETWEEN 60 AND 31536000), halt_failures INTEGER CHECK (halt_failures BETWEEN 0 AND 1000000), halt_percent INTEGER CHECK (halt_percent BETWEEN 0 AND 100), halt_sample INTEGER CHECK (halt_sample BETWEEN 1 AND 1000000), loop_max INTEGER CHECK (loop_max BETWEEN 0 AND 1000), quarantine_s INTEGER CHECK (quarantine_s BETWEEN 0 AND 31536000), at_cancel TEXT CHECK (at_cancel IN ('scheduled', 'queued', 'all'))) STRICT, WITHOUT ROWID;

CREATE INDEX plan_wanted ON plan(wanted);

CREATE TABLE plan_component (
  plan        TEXT NOT NULL REFERENCES plan(name),
  seq         INTEGER NOT NULL CHECK (seq BETWEEN 1 AND 32),
  component   TEXT NOT NULL,
  full        TEXT,                                                       -- package of kind full
  delta       TEXT,                                                       -- package of kind delta, for the devices whose version it has
  PRIMARY KEY (plan, seq),
  UNIQUE (plan, component),
  CHECK (full IS NOT NULL OR delta IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX plan_component_full ON plan_component(full);

CREATE INDEX plan_component_delta ON plan_component(delta);

CREATE TABLE plan_source (
  plan        TEXT NOT NULL REFERENCES plan(name),
  component   TEXT NOT NULL,
  version     TEXT NOT NULL CHECK (length(version) BETWEEN 1 AND 64),
  PRIMARY KEY (plan, component, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE plan_device (
  plan        TEXT NOT NULL REFERENCES plan(name),
  list        TEXT NOT NULL DEFAULT 'white' CHECK (list IN ('white', 'black')),
  device      TEXT NOT NULL CHECK (length(device) BETWEEN 1 AND 64 AND device NOT GLOB '*[^A-Za-z0-9._:-]*'),
  rank        INTEGER, position INTEGER,
  PRIMARY KEY (plan, list, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX plan_device_position ON plan_device(plan, position);

CREATE TABLE plan_text (
  plan        TEXT NOT NULL REFERENCES plan(name),
  lang        TEXT NOT NULL CHECK (length(lang) BETWEEN 1 AND 35),
  text        TEXT NOT NULL CHECK (length(text) BETWEEN 1 AND 4096),
  PRIMARY KEY (plan, lang)
) STRICT, WITHOUT ROWID;

CREATE TABLE plan_tag (
  plan        TEXT NOT NULL REFERENCES plan(name),
  key         TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 30),
  value       TEXT NOT NULL CHECK (length(value) <= 1024),
  PRIMARY KEY (plan, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  name        TEXT PRIMARY KEY NOT NULL,
  value       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  act         TEXT NOT NULL, -- release (without a plan: all, and the clock); of one device: cancel, retry, consent
  plan        TEXT,
  product     TEXT,
  device      TEXT,
  argument    TEXT NOT NULL DEFAULT '',
  state       TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'done', 'refused')),
  answer      TEXT NOT NULL DEFAULT '',
  created_ms  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
  answered_ms INTEGER
, at_device INTEGER NOT NULL DEFAULT 0, tasks INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX request_new ON request(id) WHERE state = 'new';

CREATE TABLE import (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms       INTEGER NOT NULL,
  who         TEXT NOT NULL,   -- login, also behind sudo
  host        TEXT NOT NULL,
  file        TEXT NOT NULL,
  sha256      TEXT NOT NULL,
  open        INTEGER NOT NULL DEFAULT 1 -- 1 only inside the import's own transaction
) STRICT;

CREATE UNIQUE INDEX import_open ON import(open) WHERE open = 1;

CREATE TABLE journal (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms       INTEGER NOT NULL,
  import      INTEGER,         -- NULL: direct SQL
  "table"     TEXT NOT NULL,
  act         TEXT NOT NULL,   -- insert, update, delete
  product     TEXT,
  key         TEXT,            -- plan, package, device ... by its name
  detail      TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE before_insert (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  found       TEXT NOT NULL CHECK (found IN ('none', 'same', 'locked', 'other'))
) STRICT;

CREATE TABLE engine_state (
  one            INTEGER PRIMARY KEY CHECK (one = 1),
  database_id    TEXT NOT NULL,          -- random; made again when an older copy is opened, so that no other copy passes for this one
  commit_no      INTEGER NOT NULL,
  commit_ms      INTEGER NOT NULL,       -- wall time of the last commit
  journal_done   INTEGER NOT NULL,       -- last journal row acted on
  writing        INTEGER NOT NULL        -- 0; 1 lets a repair by hand past the guards, which the engine's connection does not run
) STRICT;

CREATE TABLE device_state (
  id            INTEGER PRIMARY KEY,
  product       TEXT NOT NULL,
  name          TEXT NOT NULL,
  boot_id       TEXT NOT NULL DEFAULT '',
  battery       INTEGER,
  signal        INTEGER,
  free_bytes    INTEGER,
  lang          TEXT NOT NULL DEFAULT '',
  max_bytes     INTEGER NOT NULL DEFAULT 2048,
  sleep_s       INTEGER NOT NULL DEFAULT 0,
  registered_ms INTEGER NOT NULL,
  seen_ms       INTEGER NOT NULL,
  reported_ms   INTEGER NOT NULL DEFAULT 0,
  UNIQUE (product, name)
) STRICT;

CREATE INDEX device_state_product ON device_state(product);

CREATE TABLE device_version (
  device_id   INTEGER NOT NULL,
  component   TEXT NOT NULL,
  version     TEXT NOT NULL,
  trial       INTEGER NOT NULL DEFAULT 0,
  since_ms    INTEGER NOT NULL,
  PRIMARY KEY (device_id, component)
) STRICT, WITHOUT ROWID;

CREATE TABLE package_state (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  product     TEXT NOT NULL,
  package     TEXT NOT NULL,
  source      TEXT NOT NULL,
  seq         INTEGER NOT NULL,
  path        TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('hashing', 'ready', 'refused')),
  problem     TEXT NOT NULL DEFAULT '',
  bytes       INTEGER NOT NULL DEFAULT 0,
  sha256      TEXT NOT NULL DEFAULT '',
  md5         TEXT NOT NULL DEFAULT '',
  inode       INTEGER NOT NULL DEFAULT 0,
  mtime_ns    INTEGER NOT NULL DEFAULT 0,
  ctime_ns    INTEGER NOT NULL DEFAULT 0,
  checked_ms  INTEGER NOT NULL DEFAULT 0,
  UNIQUE (product, package, source, seq)
) STRICT;

CREATE TABLE plan_state (
  plan         TEXT PRIMARY KEY NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('active', 'paused', 'held', 'ended', 'canceled')),
  reason       TEXT NOT NULL DEFAULT '',
  "order"      INTEGER NOT NULL,          -- by first activation
  activated_ms INTEGER NOT NULL,
  scanned_id   INTEGER NOT NULL DEFAULT 0, -- last device_state.id that was matched; NULL-free cursor of the activation
  scanned      INTEGER NOT NULL DEFAULT 0, -- 1: every device of that time was matched
  ended_ms     INTEGER
, halted TEXT NOT NULL DEFAULT '', base_failed INTEGER NOT NULL DEFAULT 0, base_ended INTEGER NOT NULL DEFAULT 0, last_device_id INTEGER NOT NULL DEFAULT 0, members INTEGER NOT NULL DEFAULT 0, picked INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

CREATE INDEX plan_state_state ON plan_state(state);

CREATE TABLE task (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  name        TEXT NOT NULL UNIQUE,       -- on the wire
  plan        TEXT NOT NULL,
  device_id   INTEGER NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('queued', 'offered', 'postponed', 'accepted', 'downloading', 'waiting',
                'installing', 'rebooting', 'retrying', 'succeeded', 'failed', 'refused', 'canceled')),
  reason      TEXT NOT NULL DEFAULT '',
  detail      TEXT NOT NULL DEFAULT '',
  code        INTEGER NOT NULL DEFAULT 0,
  owes_cancel INTEGER NOT NULL DEFAULT 0,
  consent     INTEGER NOT NULL DEFAULT 0, -- given on the platform, in manual mode
  offers      INTEGER NOT NULL DEFAULT 0,
  retries     INTEGER NOT NULL DEFAULT 0,
  deadline_ms INTEGER,
  created_ms  INTEGER NOT NULL,
  offered_ms  INTEGER NOT NULL DEFAULT 0,
  ended_ms    INTEGER NOT NULL DEFAULT 0, progressed_ms INTEGER, position INTEGER NOT NULL DEFAULT 0,
  UNIQUE (plan, device_id)
) STRICT;

CREATE UNIQUE INDEX task_open ON task(device_id)
  WHERE state IN ('offered', 'postponed', 'accepted', 'downloading', 'waiting', 'installing', 'rebooting', 'retrying');

CREATE INDEX task_failed ON task(device_id) WHERE state IN ('failed', 'refused');

CREATE INDEX task_live ON task(device_id) WHERE ended_ms = 0 OR owes_cancel = 1;

CREATE INDEX task_deadline ON task(deadline_ms) WHERE deadline_ms IS NOT NULL;

CREATE INDEX task_plan ON task(plan, state, device_id);

CREATE INDEX task_plan_live ON task(plan, device_id) WHERE ended_ms = 0 OR owes_cancel = 1;

CREATE INDEX task_waiting ON task(plan, position)
  WHERE state = 'queued' AND reason IN ('rate', 'too_many_open', 'bytes_per_second');

CREATE TABLE task_component (
  task_id     INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  name        TEXT NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('pending', 'current', 'proved', 'skipped')),
  source      TEXT NOT NULL DEFAULT '',
  target      TEXT NOT NULL,
  package     TEXT NOT NULL DEFAULT 'full' CHECK (package IN ('full', 'delta')),
  attempt     INTEGER NOT NULL DEFAULT 0,
  percent     INTEGER NOT NULL DEFAULT -1,
  progress    TEXT NOT NULL DEFAULT '',
  installing  INTEGER NOT NULL DEFAULT 0,
  boot_id     TEXT NOT NULL DEFAULT '', "full" INTEGER NOT NULL DEFAULT 0, returned_ms INTEGER,
  PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms       INTEGER NOT NULL,
  product     TEXT NOT NULL DEFAULT '',
  device      TEXT NOT NULL DEFAULT '',
  plan        TEXT NOT NULL DEFAULT '',
  task        TEXT NOT NULL DEFAULT '',
  component   TEXT NOT NULL DEFAULT '',
  event       TEXT NOT NULL,
  old_state   TEXT NOT NULL DEFAULT '',
  new_state   TEXT NOT NULL DEFAULT '',
  reason      TEXT NOT NULL DEFAULT '',
  attempt     INTEGER NOT NULL DEFAULT 0,
  detail      TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX log_plan ON log(plan, id);

CREATE INDEX log_device ON log(id >> 10, product, device);

CREATE INDEX log_retrying ON log(product, device, task) WHERE new_state = 'retrying';

CREATE TABLE engine_health (
  one                 INTEGER PRIMARY KEY CHECK (one = 1),
  at_ms               INTEGER NOT NULL,
  pid                 INTEGER NOT NULL,
  started_ms          INTEGER NOT NULL,
  connected           INTEGER NOT NULL,
  inbox               INTEGER NOT NULL,
  outbox_bytes        INTEGER NOT NULL,
  oldest_uplink_ms    INTEGER NOT NULL,
  ticks               INTEGER NOT NULL,
  wal_bytes           INTEGER NOT NULL,
  free_bytes          INTEGER NOT NULL,
  last_error          TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE file_format (
  profile     TEXT NOT NULL REFERENCES profile(name),
  suffix      TEXT NOT NULL CHECK (length(suffix) BETWEEN 1 AND 16 AND suffix = lower(suffix)),
  PRIMARY KEY (profile, suffix)
) STRICT, WITHOUT ROWID;

CREATE TABLE plan_retry (
  plan        TEXT NOT NULL REFERENCES plan(name),
  reason      TEXT NOT NULL,
  PRIMARY KEY (plan, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE plan_match (
  plan        TEXT NOT NULL REFERENCES plan(name),
  key         TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 64),
  value       TEXT NOT NULL CHECK (length(value) <= 1024),
  PRIMARY KEY (plan, key, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE hold (
  product     TEXT NOT NULL DEFAULT '',
  device      TEXT NOT NULL DEFAULT '',
  until_ms    INTEGER,                                                    -- NULL: until the row is deleted
  reason      TEXT NOT NULL DEFAULT '' CHECK (length(reason) <= 1000),
  PRIMARY KEY (product, device),
  CHECK (product <> '' OR device = '')
) STRICT, WITHOUT ROWID;

CREATE TABLE telemetry (
  product     TEXT NOT NULL REFERENCES product(name),
  value       TEXT NOT NULL CHECK (value IN ('battery', 'signal', 'free_bytes')),
  topic       TEXT NOT NULL CHECK (length(topic) BETWEEN 1 AND 256),
  path        TEXT NOT NULL CHECK (length(path) <= 256 AND (path = '' OR path GLOB '/*')),
  PRIMARY KEY (product, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE zone (
  name        TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE plan_member (
  plan        TEXT NOT NULL,
  hash        INTEGER NOT NULL,
  device_id   INTEGER NOT NULL,
  PRIMARY KEY (plan, hash, device_id)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE device_secret (
  product     TEXT NOT NULL,
  device      TEXT NOT NULL,
  sealed      BLOB NOT NULL CHECK (length(sealed) BETWEEN 36 AND 156), -- of 8 to 128 characters
  PRIMARY KEY (product, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE device_topology (
  product     TEXT NOT NULL,
  device      TEXT NOT NULL,
  gateway     TEXT NOT NULL,
  PRIMARY KEY (product, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX device_topology_gateway ON device_topology(gateway);

CREATE TABLE dialect (
  name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- engine_state has one row with a random database_id, made by step 1.

INSERT INTO profile VALUES('alibaba',5,1048576000,500,2592000,3600,3600,3600,604800,0,600,'',0,1,300,604800,3600,2592000,1,10,1000,'1 2 5','0 600 1800 3600 86400',60,86400,1,0,'source',10000,1000000,10,1,0,1,3,0,10,3,0,'scheduled');
INSERT INTO profile VALUES('decada',1,104857600,100000,86400,7200,7200,3600,604800,0,600,'',0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0,1,'source',1000000,1000000,100,0,120,0,3,0,10,3,0,'all');
INSERT INTO profile VALUES('default',5,1048576000,100000,86400,3600,3600,3600,604800,0,600,'',0,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0,1,'source',1000000,1000000,100,0,120,0,3,0,10,3,0,'all');
INSERT INTO profile VALUES('enos',1,2147483647,100000,86400,7200,7200,3600,604800,0,600,'',0,1,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,300,172800,0,1,'source',1000000,1000000,100,0,120,0,3,0,10,3,0,'all');
INSERT INTO profile VALUES('quectel',5,104857600,100000,86400,3600,3600,3600,604800,0,600,'zh en',1,0,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0,1,'source',1000000,10000,100,0,120,0,3,0,10,3,0,'all');
INSERT INTO before_insert VALUES(1,'none');
INSERT INTO dialect VALUES('alibaba');
INSERT INTO dialect VALUES('enos');
INSERT INTO dialect VALUES('native');
ANALYZE dialect;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 VALUES('log','log_device','1000000 1000 500 5');

CREATE VIEW package_locked(product, name) AS
  SELECT p.product, c.full FROM plan_component c JOIN plan p ON p.name = c.plan WHERE p.wanted <> 'draft' AND c.full IS
      NOT NULL
  UNION ALL
  SELECT p.product, c.delta FROM plan_component c JOIN plan p ON p.name = c.plan WHERE p.wanted <> 'draft' AND c.delta
      IS NOT NULL;

CREATE VIEW now(ms) AS SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);

CREATE VIEW shown_states(state, shown) AS VALUES
  ('queued', 'To Be Pushed'),
  ('offered', 'Pushed'), ('postponed', 'Pushed'), ('accepted', 'Pushed'),
  ('downloading', 'In Upgrade'), ('waiting', 'In Upgrade'), ('installing', 'In Upgrade'),
  ('rebooting', 'In Upgrade'), ('retrying', 'In Upgrade'),
  ('succeeded', 'Updated'), ('failed', 'Failed'), ('refused', 'Rejected'), ('canceled', 'Canceled');

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

CREATE VIEW device_components AS
SELECT s.product, s.name AS device, v.component, v.version, v.trial,
       strftime('%Y-%m-%dT%H:%M:%SZ', v.since_ms / 1000, 'unixepoch') AS since
FROM device_state s JOIN device_version v ON v.device_id = s.id;

CREATE VIEW plan_components AS
SELECT c.plan, c.seq, p.product, c.component, m.type, m.boot, coalesce(f.version, d.version) AS target, c."full", c.delta,
       coalesce((SELECT group_concat(s.version, ', ') FROM plan_source s WHERE s.plan = c.plan AND s.component = c.component), '') AS sources
FROM plan_component c
JOIN plan p ON p.name = c.plan
LEFT JOIN component m ON m.product = p.product AND m.name = c.component
LEFT JOIN package f ON f.product = p.product AND f.name = c."full"
LEFT JOIN package d ON d.product = p.product AND d.name = c.delta;

CREATE VIEW package_files AS
SELECT f.product, f.package, f.source, f.seq, f.path, coalesce(s.state, 'new') AS state, coalesce(s.problem, '') AS problem,
       s.bytes, s.sha256, s.md5, strftime('%Y-%m-%dT%H:%M:%SZ', nullif(s.checked_ms, 0) / 1000, 'unixepoch') AS checked
FROM package_file f
LEFT JOIN package_state s ON s.product = f.product AND s.package = f.package AND s.source = f.source AND s.seq = f.seq;

CREATE VIEW history AS
SELECT l.id, strftime('%Y-%m-%dT%H:%M:%fZ', l.at_ms / 1000.0, 'unixepoch') AS at, l.product, l.device, l.plan, l.task, l.component, l.event,
       l.old_state, l.new_state, l.reason, coalesce((SELECT text FROM reasons r WHERE r.name = l.reason), '') AS reason_text,
       nullif(l.attempt, 0) AS attempt, l.detail
FROM log l;

CREATE VIEW component_log AS
SELECT product, device, component, at, event, old_state, new_state, attempt, reason, reason_text, detail, plan, task, id
FROM history WHERE component <> '';

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

CREATE VIEW rules_of AS SELECT p.name AS product, f.* FROM product p JOIN profile f ON f.name = p.profile;

CREATE VIEW profile_langs(profile, lang) AS
WITH RECURSIVE word(profile, lang, rest) AS (
  SELECT name, '', langs || ' ' FROM profile WHERE langs <> ''
  UNION ALL
  SELECT profile, substr(rest, 1, instr(rest, ' ') - 1), substr(rest, instr(rest, ' ') + 1) FROM word WHERE rest <> ''
) SELECT profile, lang FROM word WHERE lang <> '';

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
        AND NOT EXISTS (SELECT 1 FROM plan_state z WHERE z.plan = p.name AND z.scanned = 1 AND p.scope_kind = 'static')
        AND NOT EXISTS (SELECT 1 FROM plan_device b WHERE b.plan = p.name AND b.list = 'black' AND b.device = w.device)
        AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.device_id =
                          (SELECT s.id FROM device_state s WHERE s.product = p.product AND s.name = w.device)));

CREATE VIEW dynamic_sources(plan, product, package, source) AS
SELECT p.name, p.product, u.package, s.version
FROM plan p JOIN (SELECT plan, component, "full" AS package FROM plan_component WHERE "full" IS NOT NULL
                  UNION ALL
                  SELECT plan, component, delta FROM plan_component WHERE delta IS NOT NULL) u ON u.plan = p.name
LEFT JOIN plan_source s ON s.plan = p.name AND s.component = u.component
WHERE p.wanted IN ('active', 'paused') AND p.kind = 'batch' AND p.scope = 'all' AND p.scope_kind = 'dynamic'
  AND NOT EXISTS (SELECT 1 FROM plan_state z WHERE z.plan = p.name AND z.state IN ('ended', 'canceled'));

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
  AND NOT EXISTS (SELECT 1 FROM plan_state z WHERE z.plan = p.name
                    AND (z.state IN ('ended', 'canceled') OR (z.scanned = 1 AND p.scope_kind = 'static')))
  AND NOT EXISTS (SELECT 1 FROM plan_device b WHERE b.plan = p.name AND b.list = 'black' AND b.device = w.device)
  AND NOT EXISTS (SELECT 1 FROM task t WHERE t.plan = p.name AND t.device_id =
                    (SELECT s.id FROM device_state s WHERE s.product = p.product AND s.name = w.device));

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
         + iif(p.wanted = 'canceled' OR coalesce(s.state, '') IN ('ended', 'canceled') OR (s.scanned = 1 AND p.scope_kind = 'static'), 0,
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
     LIMIT -1 OFFSET 0);

CREATE VIEW plan_durations AS
SELECT plan, count(*) AS updated, round(avg(took) / 1000.0, 1) AS mean_s, max(iif(place = (places + 1) / 2, took / 1000.0, NULL)) AS median_s,
       min(took) / 1000.0 AS fastest_s, max(took) / 1000.0 AS slowest_s
FROM (SELECT t.plan, t.ended_ms - t.offered_ms AS took, count(*) OVER (PARTITION BY t.plan) AS places,
             row_number() OVER (PARTITION BY t.plan ORDER BY t.ended_ms - t.offered_ms) AS place
      FROM task t WHERE t.state = 'succeeded' AND t.offered_ms > 0)
GROUP BY plan;

CREATE VIEW plan_failures AS
SELECT t.plan, coalesce(c.name, '') AS component, coalesce(c.source, '') AS source, coalesce(c.target, '') AS target, t.reason,
       coalesce((SELECT text FROM reasons r WHERE r.name = t.reason), '') AS reason_text, count(*) AS devices, max(t.detail) AS detail
FROM task t LEFT JOIN task_component c ON c.task_id = t.id AND c.state = 'current'
WHERE t.state = 'failed' GROUP BY t.plan, c.name, c.source, c.target, t.reason;

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

CREATE VIEW overdue AS
SELECT t.name AS task, t.plan, d.product, d.name AS device, t.state, strftime('%Y-%m-%dT%H:%M:%SZ', t.deadline_ms / 1000, 'unixepoch') AS deadline,
       unixepoch() - t.deadline_ms / 1000 AS overdue_s
FROM task t JOIN device_state d ON d.id = t.device_id
WHERE t.deadline_ms IS NOT NULL AND t.deadline_ms < (unixepoch() - 10) * 1000 AND t.ended_ms = 0;

CREATE VIEW explanations AS
SELECT e.request, r.product, r.device, e.plan, e.seq, e.rule, iif(e.ok, 'ok', 'blocked') AS verdict, e.reason,
       coalesce((SELECT text FROM reasons n WHERE n.name = e.reason), '') AS reason_text, e.value, e."limit",
       strftime('%Y-%m-%dT%H:%M:%SZ', e.when_ms / 1000, 'unixepoch') AS "when"
FROM explanation e JOIN request r ON r.id = e.request;

CREATE VIEW streaks AS
SELECT d.product, d.name AS device, s.component, s.target, s.failures, s.aside, strftime('%Y-%m-%dT%H:%M:%SZ', s.until_ms / 1000, 'unixepoch') AS until
FROM device_streak s JOIN device_state d ON d.id = s.device_id;

CREATE VIEW quarantine AS SELECT product, device, component, target, failures, until FROM streaks WHERE aside = 1;

CREATE VIEW holds AS
SELECT iif(product = '', 'site', iif(device = '', 'product', 'device')) AS scope, product, device, strftime('%Y-%m-%dT%H:%M:%SZ', until_ms / 1000, 'unixepoch') AS until, reason,
       until_ms IS NULL OR until_ms > unixepoch() * 1000 AS in_force
FROM hold;

CREATE VIEW device_logins AS
SELECT d.product, d.name AS device, p.dialect, s.product IS NOT NULL AS has_secret, d.disabled,
       coalesce(d.gateway, t.gateway) AS gateway, d.gateway IS NULL AND t.gateway IS NOT NULL AS bound
FROM device d
JOIN product p ON p.name = d.product
LEFT JOIN device_secret s ON s.product = d.product AND s.device = d.name
LEFT JOIN device_topology t ON t.product = d.product AND t.device = d.name;

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

CREATE TRIGGER product_before_insert BEFORE INSERT ON product BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.profile, o.dialect, o.register, o.auto_confirm, o.http, o.blocks, o.max_devices, o.public_key,
        o.remarks) IS (NEW.profile, NEW.dialect, NEW.register, NEW.auto_confirm, NEW.http, NEW.blocks, NEW.max_devices,
        NEW.public_key, NEW.remarks) THEN 'same'
      ELSE 'other' END FROM product o WHERE o.name = NEW.name), 'none');
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

CREATE TRIGGER package_before_insert BEFORE INSERT ON package BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN (o.component, o.kind, o.version, o.remarks, o.manifest, o.signature, o.key_id) IS (NEW.component,
        NEW.kind, NEW.version, NEW.remarks, NEW.manifest, NEW.signature, NEW.key_id) THEN 'same'
      WHEN EXISTS (SELECT 1 FROM package_locked WHERE product = o.product AND name = o.name) THEN 'locked'
      ELSE 'other' END FROM package o WHERE o.product = NEW.product AND o.name = NEW.name), 'none');
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

CREATE TRIGGER setting_before_insert BEFORE INSERT ON setting BEGIN
  UPDATE before_insert SET found = coalesce(
    (SELECT CASE WHEN o.value IS NEW.value THEN 'same'
      ELSE 'other' END FROM setting o WHERE o.name = NEW.name), 'none');
END;

CREATE TRIGGER setting_delete AFTER DELETE ON setting BEGIN
  INSERT INTO journal(at_ms, import, "table", act, product, key, detail)
    SELECT ms, (SELECT id FROM import WHERE open = 1), 'setting', 'delete', NULL, OLD.name, OLD.value FROM now;
END;

CREATE TRIGGER request_before_insert BEFORE INSERT ON request BEGIN
  SELECT RAISE(ABORT, 'request: a request cannot be replaced; insert a new one without id')
    WHERE EXISTS (SELECT 1 FROM request WHERE id = NEW.id);
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

CREATE TRIGGER before_insert_insert BEFORE INSERT ON before_insert BEGIN
  SELECT RAISE(ABORT, 'before_insert belongs to the triggers');
END;

CREATE TRIGGER before_insert_delete BEFORE DELETE ON before_insert BEGIN
  SELECT RAISE(ABORT, 'before_insert belongs to the triggers');
END;

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

CREATE TRIGGER product_parts_delete AFTER DELETE ON product BEGIN
  SELECT RAISE(ABORT, 'product: telemetry belongs to it; delete it first (telemetry)')
    WHERE EXISTS (SELECT 1 FROM telemetry WHERE product = OLD.name) AND NOT EXISTS (SELECT 1 FROM plan WHERE product =
        OLD.name);
  SELECT RAISE(ABORT, 'product: it or devices of it are held; delete that first (hold)')
    WHERE EXISTS (SELECT 1 FROM hold WHERE product = OLD.name) AND NOT EXISTS (SELECT 1 FROM plan WHERE product =
        OLD.name);
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
    WHERE OLD.wanted = 'draft' AND EXISTS (SELECT 1 FROM plan_retry WHERE plan = OLD.name);
  SELECT RAISE(ABORT, 'plan: rows hang on it; delete them first (plan_match)')
    WHERE OLD.wanted = 'draft' AND EXISTS (SELECT 1 FROM plan_match WHERE plan = OLD.name);
END;

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

CREATE TRIGGER plan_device_position BEFORE UPDATE OF position ON plan_device WHEN OLD.position IS NOT NULL AND
    NEW.position IS NOT OLD.position BEGIN
  SELECT RAISE(ABORT, 'plan_device.position: is given by the database; to set an order use rank');
END;

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

CREATE TRIGGER request_progress AFTER INSERT ON request WHEN NEW.at_device <> 0 OR NEW.tasks <> 0 BEGIN
  SELECT RAISE(ABORT, 'request: insert act, plan, product, device and argument only; the engine fills in the rest');
END;

CREATE TRIGGER plan_device_place AFTER INSERT ON plan_device BEGIN
  SELECT RAISE(ABORT, 'plan_device.position: is given by the database; to set an order use rank')
    WHERE NEW.position IS NOT NULL;
  SELECT RAISE(ABORT, 'plan_device: the plan is static and no draft any more, so no device can join; make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND NEW.list = 'white' AND EXISTS (SELECT 1 FROM plan WHERE name
        = NEW.plan AND wanted <> 'draft' AND scope_kind = 'static');
  UPDATE plan_device SET position = 1 + coalesce((SELECT max(position) FROM plan_device WHERE plan = NEW.plan), 0)
    WHERE plan = NEW.plan AND list = NEW.list AND device = NEW.device;
  SELECT RAISE(ABORT, 'plan_device: more devices than the profile allows (profile.max_listed)')
    WHERE NEW.list = 'white' AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product = (SELECT product FROM plan WHERE
        name = NEW.plan) AND
        (SELECT max(position) FROM plan_device WHERE plan = NEW.plan) > f.max_listed
      AND (SELECT count(*) FROM plan_device w WHERE w.plan = NEW.plan AND w.list = 'white') > f.max_listed);
END;

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

CREATE TRIGGER plan_activate_packages AFTER UPDATE OF wanted ON plan WHEN NEW.wanted = 'active' AND OLD.wanted = 'draft' BEGIN
  SELECT RAISE(ABORT,
      'plan.wanted: a package of the plan breaks a rule of the profile that was tightened since (view package_breaks), so it cannot be active')
    WHERE EXISTS (SELECT 1 FROM plan_component c JOIN package_breaks b ON b.product = NEW.product
      AND b.package IN (c."full", c.delta) WHERE c.plan = NEW.name);
END;

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

CREATE TRIGGER dialect_insert BEFORE INSERT ON dialect WHEN (SELECT writing FROM engine_state) IS NOT 1 BEGIN
  SELECT RAISE(ABORT, 'dialect is written by the engine, from what it serves');
END;

CREATE TRIGGER dialect_update BEFORE UPDATE ON dialect BEGIN
  SELECT RAISE(ABORT, 'dialect is written by the engine, from what it serves');
END;

CREATE TRIGGER dialect_delete BEFORE DELETE ON dialect BEGIN
  SELECT RAISE(ABORT, 'dialect is written by the engine, from what it serves');
END;

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

