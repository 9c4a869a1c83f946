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
