-- Step 1: tables. Guards are in 0002_guards.sql, views in 0003_views.sql.
--
-- Every column has one writer. ADMIN tables: people, by SQL scripts or otactl. STATE tables: the engine alone.
-- Times are milliseconds since the epoch, UTC (`_ms`); sizes are bytes; names are the keys of people's tables.

-- ------------------------------------------------------------------------------------------------ ADMIN

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

-- Limits and defaults of one family of clouds, as data.
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
) STRICT, WITHOUT ROWID;

CREATE TABLE component (
  product     TEXT NOT NULL REFERENCES product(name),
  name        TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._:-]*'),
  type        TEXT NOT NULL DEFAULT 'firmware' CHECK (type IN ('firmware', 'module', 'mcu', 'software', 'driver', 'config', 'other')),
  boot        INTEGER NOT NULL DEFAULT 1 CHECK (boot IN (0, 1)),          -- proved only after a reboot or on a new connection
  alias       TEXT NOT NULL DEFAULT '' CHECK (length(alias) <= 64),
  remarks     TEXT NOT NULL DEFAULT '' CHECK (length(remarks) <= 1000),
  PRIMARY KEY (product, name)
) STRICT, WITHOUT ROWID;

-- What people know of a device. A device that registered itself has a row in device_state only.
CREATE TABLE device (
  product     TEXT NOT NULL REFERENCES product(name),
  name        TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^A-Za-z0-9._:-]*'),
  disabled    INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),      -- may not report or upgrade
  retired     INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1)),       -- leaves every scope
  gateway     TEXT,                                                       -- of the same broker: product/name
  remarks     TEXT NOT NULL DEFAULT '' CHECK (length(remarks) <= 1000),
  PRIMARY KEY (product, name)
) STRICT, WITHOUT ROWID;

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

-- Files of a package: up to 5 for each source version. A full package has source ''.
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
) STRICT, WITHOUT ROWID;
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

-- Installed versions that a plan upgrades; without a row, any.
CREATE TABLE plan_source (
  plan        TEXT NOT NULL REFERENCES plan(name),
  component   TEXT NOT NULL,
  version     TEXT NOT NULL CHECK (length(version) BETWEEN 1 AND 64),
  PRIMARY KEY (plan, component, version)
) STRICT, WITHOUT ROWID;

-- Whitelist and blacklist; a device need not exist yet.
CREATE TABLE plan_device (
  plan        TEXT NOT NULL REFERENCES plan(name),
  list        TEXT NOT NULL DEFAULT 'white' CHECK (list IN ('white', 'black')),
  device      TEXT NOT NULL CHECK (length(device) BETWEEN 1 AND 64 AND device NOT GLOB '*[^A-Za-z0-9._:-]*'),
  rank        INTEGER,
  PRIMARY KEY (plan, list, device)
) STRICT, WITHOUT ROWID;

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

-- What an operator changes while the broker runs. Names and bounds: see the triggers.
CREATE TABLE setting (
  name        TEXT PRIMARY KEY NOT NULL,
  value       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Acts. People insert act, plan, product, device and arguments; the engine fills in state, answer and answered_ms.
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
) STRICT;
CREATE INDEX request_new ON request(id) WHERE state = 'new';

-- Who changed things: one row for each import, written by otactl in the same transaction. `journal.import` points here.
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

-- What changed in the admin tables; filled by triggers, pruned by the engine when it is older than the log.
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

-- Written by the triggers alone, read by them alone: what a BEFORE INSERT trigger found under the key of the new row,
-- for the AFTER INSERT trigger of the same row (0002_guards.sql says why).
CREATE TABLE before_insert (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  found       TEXT NOT NULL CHECK (found IN ('none', 'same', 'locked', 'other'))
) STRICT;
INSERT INTO before_insert VALUES (1, 'none');

-- ------------------------------------------------------------------------------------------------ STATE

-- One row. `commit_no` counts the engine's commits; a file beside the database repeats it, so that an older copy is recognized.
CREATE TABLE engine_state (
  one            INTEGER PRIMARY KEY CHECK (one = 1),
  database_id    TEXT NOT NULL,          -- random; made again when an older copy is opened, so that no other copy passes for this one
  commit_no      INTEGER NOT NULL,
  commit_ms      INTEGER NOT NULL,       -- wall time of the last commit
  journal_done   INTEGER NOT NULL,       -- last journal row acted on
  writing        INTEGER NOT NULL        -- 0; 1 lets a repair by hand past the guards, which the engine's connection does not run
) STRICT;
INSERT INTO engine_state VALUES (1, lower(hex(randomblob(16))), 0, 0, 0, 0);

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
CREATE INDEX device_state_product ON device_state(product); -- and id, for slices in the order of registration

CREATE TABLE device_version (
  device_id   INTEGER NOT NULL,
  component   TEXT NOT NULL,
  version     TEXT NOT NULL,
  trial       INTEGER NOT NULL DEFAULT 0,
  since_ms    INTEGER NOT NULL,
  PRIMARY KEY (device_id, component)
) STRICT, WITHOUT ROWID;

-- File ids are stable and never reused: they stand in download addresses.
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
) STRICT, WITHOUT ROWID;
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
  ended_ms    INTEGER NOT NULL DEFAULT 0,
  UNIQUE (plan, device_id)
) STRICT;
-- At most one task of a device is open, whatever the engine believes.
CREATE UNIQUE INDEX task_open ON task(device_id)
  WHERE state IN ('offered', 'postponed', 'accepted', 'downloading', 'waiting', 'installing', 'rebooting', 'retrying');
-- What a report may still turn into a success.
CREATE INDEX task_failed ON task(device_id) WHERE state IN ('failed', 'refused');
CREATE INDEX task_live ON task(device_id) WHERE ended_ms = 0 OR owes_cancel = 1;
CREATE INDEX task_deadline ON task(deadline_ms) WHERE deadline_ms IS NOT NULL;
CREATE INDEX task_plan ON task(plan, state, device_id);
CREATE INDEX task_plan_live ON task(plan, device_id) WHERE ended_ms = 0 OR owes_cancel = 1;

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
  boot_id     TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;

-- Append-only but for the engine's pruning by age.
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
CREATE INDEX log_device ON log(product, device, id);
CREATE INDEX log_plan ON log(plan, id);

-- One row, refreshed by the engine: what `otactl status` and a monitor read.
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

INSERT INTO profile VALUES
  -- name     files  file bytes  packages offer  download install reboot longest  retries interval
  ('default',  5, 1048576000,  100000,  86400,   3600,  3600,  3600, 604800,  0, 600),
  ('quectel',  5,  104857600,  100000,  86400,   3600,  3600,  3600, 604800,  0, 600),
  ('alibaba',  5, 1048576000,     500, 2592000,  3600,  3600,  3600, 604800,  0, 600),
  ('enos',     1, 2147483647,  100000,  86400,   7200,  7200,  3600, 604800,  0, 600),
  ('decada',   1,  104857600,  100000,  86400,   7200,  7200,  3600, 604800,  0, 600);
