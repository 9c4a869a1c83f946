// Every statement that the store runs again and again, in one place, so that a test can ask SQLite
// how each is executed: what runs per report must use an index, whatever the size of the fleet and
// the number of finished plans.
#pragma once

namespace ota::store::sql {

// -- transactions
inline constexpr const char* kBegin = "BEGIN IMMEDIATE";
inline constexpr const char* kBeginRead = "BEGIN";
inline constexpr const char* kCommit = "COMMIT";
inline constexpr const char* kRollback = "ROLLBACK";
inline constexpr const char* kSavepoint = "SAVEPOINT event";
inline constexpr const char* kRollbackTo = "ROLLBACK TO event";
inline constexpr const char* kRelease = "RELEASE event";
inline constexpr const char* kSetCommit = "UPDATE engine_state SET commit_no = ?1, commit_ms = ?2";
inline constexpr const char* kLoadEngine =
    "SELECT database_id, commit_no, commit_ms, journal_done FROM engine_state";
inline constexpr const char* kSetDatabaseId =
    "UPDATE engine_state SET database_id = lower(hex(randomblob(16))) RETURNING database_id";
inline constexpr const char* kSetJournalDone = "UPDATE engine_state SET journal_done = ?1";
inline constexpr const char* kDataVersion = "PRAGMA data_version";

// -- a restored file
inline constexpr const char* kHeldPlans =
    "SELECT p.name FROM plan p LEFT JOIN plan_state s ON s.plan = p.name"
    " WHERE (p.wanted IN ('active', 'paused') AND coalesce(s.state, '') NOT IN ('ended', "
    "'canceled'))"
    " OR s.state IN ('active', 'paused', 'held') ORDER BY p.name";
inline constexpr const char* kHoldPlan =
    "INSERT INTO plan_state(plan, state, reason, \"order\", activated_ms) VALUES (?1, 'held', ?2,"
    " (SELECT coalesce(max(\"order\"), 0) + 1 FROM plan_state), ?3)"
    " ON CONFLICT(plan) DO UPDATE SET state = 'held', reason = excluded.reason";

// -- catalogue
inline constexpr const char* kProducts =
    "SELECT name, dialect, register, auto_confirm, http, blocks, max_devices,"
    " coalesce(public_key, '') FROM product";
inline constexpr const char* kComponents = "SELECT product, name, type, boot FROM component";
inline constexpr const char* kSettings = "SELECT name, value FROM setting";
// The plans that matter: in force; not in force but not brought to their end yet; over, with a live
// task. The recursion takes one step per plan that has
// live tasks, not one per task.
inline constexpr const char* kPlans =
    "WITH RECURSIVE live(plan) AS ("
    "  SELECT min(plan) FROM task WHERE ended_ms = 0 OR owes_cancel = 1"
    "  UNION ALL SELECT (SELECT min(t.plan) FROM task t"
    "    WHERE (t.ended_ms = 0 OR t.owes_cancel = 1) AND t.plan > live.plan)"
    "  FROM live WHERE live.plan IS NOT NULL)"
    " SELECT p.name, p.product, p.wanted, p.scope, p.mode, p.priority, p.end_ms, p.battery,"
    "  p.signal, p.free_bytes, coalesce(p.offer_s, f.offer_s), coalesce(p.download_s, "
    "f.download_s),"
    "  coalesce(p.install_s, f.install_s), coalesce(p.reboot_s, f.reboot_s),"
    "  coalesce(p.longest_s, f.longest_s), coalesce(p.retry_max, f.retry_max),"
    "  coalesce(p.retry_interval_s, f.retry_interval_s), s.state, s.reason, s.\"order\","
    "  s.activated_ms, s.scanned_id, s.scanned, s.ended_ms, p.kind, p.scope_kind, p.new_reports,"
    "  p.percent, p.trigger, p.start_ms, p.at_end, p.zone, p.window_from, p.window_to, p.rate,"
    "  nullif(coalesce(p.max_open, f.max_open), 1000000), p.bytes_per_second, p.max_age_s,"
    "  p.unknown, p.override, f.fails_when_busy, p.strict_progress, coalesce(p.grace_s, f.grace_s),"
    "  p.timeout_s, coalesce(p.halt_failures, f.halt_failures),"
    "  coalesce(p.halt_percent, f.halt_percent), coalesce(p.halt_sample, f.halt_sample),"
    "  coalesce(p.loop_max, f.loop_max), coalesce(p.quarantine_s, f.quarantine_s), s.halted,"
    "  s.base_failed, s.base_ended, s.last_device_id, s.members, s.picked,"
    "  coalesce(p.at_cancel, f.at_cancel)"
    " FROM plan p JOIN product r ON r.name = p.product JOIN profile f ON f.name = r.profile"
    " LEFT JOIN plan_state s ON s.plan = p.name"
    " WHERE p.name IN ("
    "  SELECT a.name FROM plan a LEFT JOIN plan_state b ON b.plan = a.name"
    "    WHERE a.wanted IN ('active', 'paused')"
    "    AND coalesce(b.state, '') NOT IN ('ended', 'canceled')"
    "  UNION SELECT plan FROM plan_state WHERE state IN ('active', 'paused', 'held')"
    "  UNION SELECT plan FROM live WHERE plan IS NOT NULL)";
inline constexpr const char* kPlanComponents =
    "SELECT c.component, k.type, k.boot, c.full, c.delta FROM plan_component c"
    " JOIN component k ON k.product = ?2 AND k.name = c.component WHERE c.plan = ?1 ORDER BY c.seq";
inline constexpr const char* kPackage =
    "SELECT component, kind, version, coalesce(manifest, x''), coalesce(signature, x''),"
    " coalesce(key_id, '') FROM package WHERE product = ?1 AND name = ?2";
inline constexpr const char* kPackageFiles =
    "SELECT f.source, f.path, f.sha256, s.id, s.path, s.state, s.problem, s.bytes, s.sha256, s.md5"
    " FROM package_file f LEFT JOIN package_state s ON s.product = f.product"
    " AND s.package = f.package AND s.source = f.source AND s.seq = f.seq"
    " WHERE f.product = ?1 AND f.package = ?2 ORDER BY f.source, f.seq";
inline constexpr const char* kPlanSources =
    "SELECT version FROM plan_source WHERE plan = ?1 AND component = ?2 ORDER BY version";
inline constexpr const char* kPlanTexts = "SELECT lang, text FROM plan_text WHERE plan = ?1";
inline constexpr const char* kPlanTags = "SELECT key, value FROM plan_tag WHERE plan = ?1";
inline constexpr const char* kPlanMatches =
    "SELECT key, value FROM plan_match WHERE plan = ?1 ORDER BY key, value";
inline constexpr const char* kPlanRetries = "SELECT reason FROM plan_retry WHERE plan = ?1";
inline constexpr const char* kTelemetry = "SELECT product, value, topic, path FROM telemetry";
inline constexpr const char* kAnyHold =
    "SELECT EXISTS (SELECT 1 FROM hold) OR EXISTS (SELECT 1 FROM plan_state WHERE state = 'held')";
// Whose downloads are cut, also by a plan that is held: once per load of the catalogue.
#define OTA_HELD "(h.until_ms IS NULL OR h.until_ms > ?1)"
inline constexpr const char* kHeldDevices =
    "SELECT d.id FROM hold h JOIN device_state d ON d.product = h.product AND d.name = h.device"
    " WHERE h.device <> '' AND " OTA_HELD
    " UNION SELECT d.id FROM hold h JOIN device_state d ON d.product = h.product"
    " WHERE h.device = '' AND h.product <> '' AND " OTA_HELD
    " UNION SELECT d.id FROM device_state d"
    " WHERE EXISTS (SELECT 1 FROM hold h WHERE h.product = '' AND h.device = '' AND " OTA_HELD
    ")"
    " UNION SELECT t.device_id FROM plan_state s JOIN task t ON t.plan = s.plan"
    " WHERE s.state = 'held' AND t.ended_ms = 0 AND t.state <> 'queued'";
#undef OTA_HELD
inline constexpr const char* kNextHoldEnd = "SELECT min(until_ms) FROM hold WHERE until_ms > ?1";

// -- devices and tasks
inline constexpr const char* kDevice =
    "SELECT id, boot_id, battery, signal, free_bytes, lang, max_bytes, sleep_s, registered_ms,"
    " seen_ms, reported_ms FROM device_state WHERE product = ?1 AND name = ?2";
inline constexpr const char* kDeviceRow =
    "SELECT disabled, retired FROM device WHERE product = ?1 AND name = ?2";
#define OTA_LOGIN_COLUMNS                                                               \
  "SELECT d.product, d.name, d.disabled, coalesce(d.gateway, t.gateway, ''), s.sealed," \
  " d.gateway IS NULL AND t.gateway IS NOT NULL FROM device d"                          \
  " LEFT JOIN device_secret s ON s.product = d.product AND s.device = d.name"           \
  " LEFT JOIN device_topology t ON t.product = d.product AND t.device = d.name WHERE "
inline constexpr const char* kLoginsAfter =
    OTA_LOGIN_COLUMNS "(d.product, d.name) > (?1, ?2) ORDER BY d.product, d.name LIMIT ?3";
inline constexpr const char* kLogin = OTA_LOGIN_COLUMNS "d.product = ?1 AND d.name = ?2";
#undef OTA_LOGIN_COLUMNS
inline constexpr const char* kBind =
    "INSERT INTO device_topology(product, device, gateway) VALUES (?1, ?2, ?3)"
    " ON CONFLICT DO UPDATE SET gateway = excluded.gateway";
inline constexpr const char* kUnbind =
    "DELETE FROM device_topology WHERE product = ?1 AND device = ?2 AND gateway = ?3";
inline constexpr const char* kSubDevices =
    "SELECT product, name FROM device WHERE gateway = ?1 UNION SELECT t.product, t.device"
    " FROM device_topology t JOIN device d ON d.product = t.product AND d.name = t.device"
    " WHERE t.gateway = ?1 AND d.gateway IS NULL ORDER BY 1, 2 LIMIT ?2";
inline constexpr const char* kHasSecrets = "SELECT EXISTS (SELECT 1 FROM device_secret)";
inline constexpr const char* kVersions =
    "SELECT component, version, trial, since_ms FROM device_version WHERE device_id = ?1"
    " ORDER BY component";
inline constexpr const char* kTags =
    "SELECT key, value FROM device_tag WHERE product = ?1 AND device = ?2";
// The widest one that is in force: of the site, the product, the device.
inline constexpr const char* kHold =
    "SELECT until_ms, reason FROM hold WHERE (product, device) IN (VALUES ('', ''), (?1, ''),"
    " (?1, ?2)) AND (until_ms IS NULL OR until_ms > ?3) ORDER BY product, device LIMIT 1";
inline constexpr const char* kStreaks =
    "SELECT component, target, failures, aside, until_ms FROM device_streak WHERE device_id = ?1"
    " ORDER BY component, target";
inline constexpr const char* kDeleteStreaks = "DELETE FROM device_streak WHERE device_id = ?1";
inline constexpr const char* kInsertStreak =
    "INSERT INTO device_streak(device_id, component, target, failures, aside, until_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
inline constexpr const char* kNextStreakEnd =
    "SELECT min(until_ms) FROM device_streak WHERE until_ms > ?1";
// Devices whose time aside ended after ?1 and up to ?2.
inline constexpr const char* kStreaksEnded =
    "SELECT s.device_id, d.product, d.name FROM device_streak s"
    " JOIN device_state d ON d.id = s.device_id WHERE s.until_ms > ?1 AND s.until_ms <= ?2"
    " ORDER BY s.until_ms LIMIT ?3";
#define OTA_TASK_COLUMNS                                                                       \
  "SELECT t.id, t.name, t.plan, t.state, t.reason, t.detail, t.code, t.owes_cancel, t.offers," \
  " t.retries, t.deadline_ms, t.created_ms, t.offered_ms, t.ended_ms, t.consent,"              \
  " t.position, t.progressed_ms,"                                                              \
  " EXISTS (SELECT 1 FROM plan_device l"                                                       \
  "   WHERE l.plan = t.plan AND l.list = 'white' AND l.device = ?2),"                          \
  " EXISTS (SELECT 1 FROM plan_device l"                                                       \
  "   WHERE l.plan = t.plan AND l.list = 'black' AND l.device = ?2) FROM task t "
inline constexpr const char* kLiveTasks =
    OTA_TASK_COLUMNS "WHERE t.device_id = ?1 AND (t.ended_ms = 0 OR t.owes_cancel = 1)";
inline constexpr const char* kNamedTask = OTA_TASK_COLUMNS "WHERE t.device_id = ?1 AND t.name = ?3";
inline constexpr const char* kFailedTasks =
    OTA_TASK_COLUMNS "WHERE t.device_id = ?1 AND t.state IN ('failed', 'refused')";
inline constexpr const char* kTaskOfPlan =
    OTA_TASK_COLUMNS "WHERE t.device_id = ?1 AND t.plan = ?3";
#undef OTA_TASK_COLUMNS
inline constexpr const char* kTaskComponents =
    "SELECT name, state, source, target, package, attempt, percent, progress, installing, boot_id,"
    " \"full\", returned_ms FROM task_component WHERE task_id = ?1 ORDER BY seq";
inline constexpr const char* kHasTask =
    "SELECT EXISTS (SELECT 1 FROM task WHERE plan = ?1 AND device_id = ?2)";
inline constexpr const char* kListed =
    "SELECT EXISTS (SELECT 1 FROM plan_device WHERE plan = ?1 AND list = 'white' AND device = ?2),"
    " EXISTS (SELECT 1 FROM plan_device WHERE plan = ?1 AND list = 'black' AND device = ?2),"
    " (SELECT rank FROM plan_device WHERE plan = ?1 AND list = 'white' AND device = ?2),"
    " (SELECT position FROM plan_device WHERE plan = ?1 AND list = 'white' AND device = ?2)";
inline constexpr const char* kCountDevices = "SELECT count(*) FROM device_state WHERE product = ?1";

inline constexpr const char* kRegisteredDevices = "SELECT coalesce(max(id), 0) FROM device_state";

// -- saves. What is indexed has a statement of its own that writes only a value that differs, so
// that the indexes' pages stay clean.
inline constexpr const char* kInsertDevice =
    "INSERT INTO device_state(product, name, boot_id, battery, signal, free_bytes, lang, max_bytes,"
    " sleep_s, registered_ms, seen_ms, reported_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
inline constexpr const char* kUpdateDevice =
    "UPDATE device_state SET boot_id = ?2, battery = ?3, signal = ?4, free_bytes = ?5, lang = ?6,"
    " max_bytes = ?7, sleep_s = ?8, registered_ms = ?9, seen_ms = ?10, reported_ms = ?11"
    " WHERE id = ?1";
inline constexpr const char* kUpdateSeen =
    "UPDATE device_state SET seen_ms = ?2, battery = ?3, signal = ?4, free_bytes = ?5,"
    " reported_ms = ?6 WHERE id = ?1";
inline constexpr const char* kInsertVersion =
    "INSERT INTO device_version(device_id, component, version, trial, since_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5)";
inline constexpr const char* kUpdateVersion =
    "UPDATE device_version SET version = ?3, trial = ?4, since_ms = ?5"
    " WHERE device_id = ?1 AND component = ?2";
inline constexpr const char* kDeleteVersion =
    "DELETE FROM device_version WHERE device_id = ?1 AND component = ?2";
inline constexpr const char* kInsertTask =
    "INSERT INTO task(name, plan, device_id, state, reason, detail, code, owes_cancel, offers,"
    " retries, deadline_ms, created_ms, offered_ms, ended_ms, consent, position, progressed_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
// A task that is wanted again starts anew, under another name.
inline constexpr const char* kRenameTask =
    "UPDATE task SET name = ?2, created_ms = ?3 WHERE id = ?1 AND name <> ?2";
inline constexpr const char* kUpdateTaskState =
    "UPDATE task SET state = ?2 WHERE id = ?1 AND state <> ?2";
inline constexpr const char* kUpdateTaskEnd =
    "UPDATE task SET ended_ms = ?2, owes_cancel = ?3"
    " WHERE id = ?1 AND (ended_ms, owes_cancel) IS NOT (?2, ?3)";
inline constexpr const char* kUpdateTaskDeadline =
    "UPDATE task SET deadline_ms = ?2 WHERE id = ?1 AND deadline_ms IS NOT ?2";
inline constexpr const char* kUpdateTask =
    "UPDATE task SET reason = ?2, detail = ?3, code = ?4, offers = ?5, retries = ?6,"
    " offered_ms = ?7, consent = ?8, position = ?9, progressed_ms = ?10"
    " WHERE id = ?1 AND (reason, detail, code, offers, retries, offered_ms, consent, position,"
    " progressed_ms) IS NOT (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
inline constexpr const char* kSaveTaskComponent =
    "INSERT INTO task_component(task_id, seq, name, state, source, target, package, attempt,"
    " percent, progress, installing, boot_id, \"full\", returned_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    " ON CONFLICT(task_id, seq) DO UPDATE SET name = excluded.name, state = excluded.state,"
    " source = excluded.source, target = excluded.target, package = excluded.package,"
    " attempt = excluded.attempt, percent = excluded.percent, progress = excluded.progress,"
    " installing = excluded.installing, boot_id = excluded.boot_id,"
    " \"full\" = excluded.\"full\", returned_ms = excluded.returned_ms"
    " WHERE (name, state, source, target, package, attempt, percent, progress, installing,"
    " boot_id, \"full\", returned_ms)"
    " IS NOT (excluded.name, excluded.state, excluded.source, excluded.target, excluded.package,"
    " excluded.attempt, excluded.percent, excluded.progress, excluded.installing,"
    " excluded.boot_id, excluded.\"full\", excluded.returned_ms)";
inline constexpr const char* kTrimTaskComponents =
    "DELETE FROM task_component WHERE task_id = ?1 AND seq >= ?2";
// Eight lines in one statement cost little more than half of what they cost alone: SQLite looks for
// the last number of an AUTOINCREMENT once for each statement.
#define OTA_LOG                                                                                 \
  "INSERT INTO log(at_ms, product, device, plan, task, component, event, old_state, new_state," \
  " reason, attempt, detail) VALUES "
#define OTA_LINE "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define OTA_LINES OTA_LINE ", " OTA_LINE ", " OTA_LINE ", " OTA_LINE
inline constexpr const char* kLog = OTA_LOG OTA_LINE;
inline constexpr std::size_t kLogLines = 8;
inline constexpr const char* kLogOfLines = OTA_LOG OTA_LINES ", " OTA_LINES;
#undef OTA_LINES
#undef OTA_LINE
#undef OTA_LOG

// -- deadlines
inline constexpr const char* kNextDeadline =
    "SELECT min(deadline_ms) FROM task WHERE deadline_ms IS NOT NULL";
inline constexpr const char* kDueDevices =
    "SELECT t.device_id, d.product, d.name FROM task t JOIN device_state d ON d.id = t.device_id"
    " WHERE t.deadline_ms <= ?1 ORDER BY t.deadline_ms LIMIT ?2";
inline constexpr const char* kShiftDeadlines =
    "UPDATE task SET deadline_ms = deadline_ms + ?1 WHERE deadline_ms IS NOT NULL";
// What else is on the scale of deadlines.
inline constexpr const char* kShiftProgressed =
    "UPDATE task SET progressed_ms = progressed_ms + ?1"
    " WHERE (ended_ms = 0 OR owes_cancel = 1) AND progressed_ms IS NOT NULL";
inline constexpr const char* kShiftReturned =
    "UPDATE task_component SET returned_ms = returned_ms + ?1 WHERE returned_ms IS NOT NULL"
    " AND task_id IN (SELECT id FROM task WHERE ended_ms = 0 OR owes_cancel = 1)";

// -- plans in slices
inline constexpr const char* kSavePlanState =
    "INSERT INTO plan_state(plan, state, reason, \"order\", activated_ms, scanned_id, scanned,"
    " ended_ms, halted, base_failed, base_ended, last_device_id, members, picked)"
    " VALUES (?1, ?2, ?3, coalesce(nullif(?4, 0), (SELECT coalesce(max(\"order\"), 0) + 1"
    " FROM plan_state)), ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    " ON CONFLICT(plan) DO UPDATE SET state = excluded.state, reason = excluded.reason,"
    " activated_ms = excluded.activated_ms, ended_ms = excluded.ended_ms";
inline constexpr const char* kSaveScan =
    "UPDATE plan_state SET scanned_id = ?2, scanned = ?3, members = ?4, picked = ?5,"
    " last_device_id = ?6 WHERE plan = ?1";
inline constexpr const char* kSaveHalt =
    "UPDATE plan_state SET halted = ?2, base_failed = ?3, base_ended = ?4 WHERE plan = ?1";
// A slice of a product's devices with what Matches() and the order of a plan's tasks look at.
#define OTA_CANDIDATE                                                        \
  "SELECT d.id, d.product, d.name, d.seen_ms,"                               \
  " EXISTS (SELECT 1 FROM task t WHERE t.plan = ?1 AND t.device_id = d.id)," \
  " l.device IS NOT NULL, l.rank, l.position, b.device IS NOT NULL,"         \
  " coalesce(a.disabled, 0), coalesce(a.retired, 0),"                        \
  " EXISTS (SELECT 1 FROM plan_member m WHERE m.plan = ?1 AND m.hash = -1"   \
  "   AND m.device_id = d.id) "
#define OTA_CANDIDATE_LISTS                                                            \
  " LEFT JOIN plan_device l ON l.plan = ?1 AND l.list = 'white' AND l.device = d.name" \
  " LEFT JOIN plan_device b ON b.plan = ?1 AND b.list = 'black' AND b.device = d.name" \
  " LEFT JOIN device a ON a.product = d.product AND a.name = d.name "
inline constexpr const char* kDevicesAfter =
    OTA_CANDIDATE "FROM device_state d" OTA_CANDIDATE_LISTS
                  "WHERE d.product = ?2 AND d.id > ?3 ORDER BY d.id LIMIT ?4";
// A slice of a plan's whitelist, with devices that nobody has heard of.
inline constexpr const char* kListedAfter =
    "SELECT w.position, coalesce(d.id, 0) FROM plan_device w"
    " LEFT JOIN device_state d ON d.product = ?2 AND d.name = w.device"
    " WHERE w.plan = ?1 AND w.list = 'white' AND w.position > ?3 ORDER BY w.position LIMIT ?4";
// Members of a static plan in the order in which they are picked.
inline constexpr const char* kMembersAfter = OTA_CANDIDATE
    ", p.hash FROM plan_member p JOIN device_state d ON d.id = p.device_id" OTA_CANDIDATE_LISTS
    "WHERE p.plan = ?1 AND (p.hash, p.device_id) > (?2, ?3) AND p.hash >= 0"
    " ORDER BY p.hash, p.device_id LIMIT ?4";
#undef OTA_CANDIDATE
#undef OTA_CANDIDATE_LISTS
inline constexpr const char* kSliceVersions =
    "SELECT d.id, v.component, v.version, v.trial, v.since_ms FROM device_state d"
    " JOIN device_version v ON v.device_id = d.id"
    " WHERE d.product = ?1 AND d.id BETWEEN ?2 AND ?3 ORDER BY d.id, v.component";
inline constexpr const char* kSliceTags =
    "SELECT d.id, g.key, g.value FROM device_state d"
    " JOIN device_tag g ON g.product = d.product AND g.device = d.name"
    " WHERE d.product = ?1 AND d.id BETWEEN ?2 AND ?3 ORDER BY d.id, g.key";
inline constexpr const char* kAddMember =
    "INSERT INTO plan_member(plan, hash, device_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
// The note that a device was looked at before the scan came to it.
inline constexpr const char* kDropLooked = "DELETE FROM plan_member WHERE plan = ?1 AND hash = -1";
inline constexpr const char* kIsMember =
    "SELECT EXISTS (SELECT 1 FROM plan_member WHERE plan = ?1 AND hash = ?2 AND device_id = ?3)";
inline constexpr const char* kCountMembers =
    "SELECT count(*) FROM plan_member WHERE plan = ?1 AND hash >= 0";
// Once per plan and start, and then kept in memory.
inline constexpr const char* kCountTasks =
    "SELECT count(*) FROM task WHERE plan = ?1 AND state = ?2";
inline constexpr const char* kCountFailures =
    "SELECT count(*) FROM task WHERE plan = ?1 AND state = 'failed' AND reason <> 'busy'";
inline constexpr const char* kQueuedDevices =
    "SELECT t.device_id, d.product, d.name, t.reason FROM task t"
    " JOIN device_state d ON d.id = t.device_id"
    " WHERE t.plan = ?1 AND t.state = 'queued' AND t.device_id > ?2 ORDER BY t.device_id LIMIT ?3";
inline constexpr const char* kFailedDevices =
    "SELECT t.device_id, d.product, d.name FROM task t JOIN device_state d ON d.id = t.device_id"
    " WHERE t.plan = ?1 AND t.state = 'failed' AND t.device_id > ?2 ORDER BY t.device_id LIMIT ?3";
// Tasks that wait for the plan's pace; the condition is that of the index task_waiting.
inline constexpr const char* kWaitingDevices =
    "SELECT t.device_id, d.product, d.name, t.position FROM task t"
    " JOIN device_state d ON d.id = t.device_id"
    " WHERE t.plan = ?1 AND t.state = 'queued'"
    " AND t.reason IN ('rate', 'too_many_open', 'bytes_per_second')"
    " ORDER BY t.position, t.id LIMIT ?2";
inline constexpr const char* kLiveDevices =
    "SELECT t.device_id, d.product, d.name FROM task t JOIN device_state d ON d.id = t.device_id"
    " WHERE t.plan = ?1 AND t.device_id > ?2 AND (t.ended_ms = 0 OR t.owes_cancel = 1)"
    " ORDER BY t.device_id LIMIT ?3";

// -- what other processes did
inline constexpr const char* kNewJournal =
    "SELECT id, \"table\", act, product, key, detail FROM journal WHERE id > ?1 ORDER BY id LIMIT "
    "?2";
inline constexpr const char* kNewRequests =
    "SELECT id, act, plan, product, device, argument, created_ms, at_device, tasks FROM request"
    " WHERE state = 'new' ORDER BY id LIMIT ?1";
inline constexpr const char* kAnswerRequest =
    "UPDATE request SET state = ?2, answer = ?3, answered_ms = ?4 WHERE id = ?1 AND state = 'new'";
inline constexpr const char* kRequestProgress =
    "UPDATE request SET at_device = ?2, tasks = ?3 WHERE id = ?1";

inline constexpr const char* kExplanation =
    "INSERT INTO explanation(request, plan, seq, rule, ok, reason, value, \"limit\", when_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
inline constexpr const char* kDeleteExplanation = "DELETE FROM explanation WHERE request = ?1";

// -- time zones
inline constexpr const char* kZones = "SELECT name FROM zone ORDER BY name";
inline constexpr const char* kAddZone = "INSERT INTO zone(name) VALUES (?1)";
inline constexpr const char* kDialects = "SELECT name FROM dialect";
inline constexpr const char* kAddDialect = "INSERT INTO dialect(name) VALUES (?1)";
inline constexpr const char* kDeleteZone = "DELETE FROM zone WHERE name = ?1";

// -- packages
inline constexpr const char* kAllFiles =
    "SELECT f.product, f.package, f.source, f.seq, f.path, f.sha256, s.id, s.path, s.state,"
    " s.problem, s.bytes, s.sha256, s.md5, s.inode, s.mtime_ns, s.ctime_ns, s.checked_ms,"
    " l.name, l.max_file_bytes"
    " FROM package_file f JOIN product p ON p.name = f.product JOIN profile l ON l.name = p.profile"
    " LEFT JOIN package_state s ON s.product = f.product"
    " AND s.package = f.package AND s.source = f.source AND s.seq = f.seq"
    " ORDER BY f.product, f.package, f.source, f.seq";
inline constexpr const char* kFileState =
    "SELECT id, path, sha256 FROM package_state"
    " WHERE product = ?1 AND package = ?2 AND source = ?3 AND seq = ?4";
inline constexpr const char* kDeleteFileState = "DELETE FROM package_state WHERE id = ?1";
inline constexpr const char* kInsertFileState =
    "INSERT INTO package_state(product, package, source, seq, path, state, problem, bytes, sha256,"
    " md5, inode, mtime_ns, ctime_ns, checked_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
inline constexpr const char* kUpdateFileState =
    "UPDATE package_state SET state = ?2, problem = ?3, bytes = ?4, sha256 = ?5, md5 = ?6,"
    " inode = ?7, mtime_ns = ?8, ctime_ns = ?9, checked_ms = ?10 WHERE id = ?1";
inline constexpr const char* kGoneFiles =
    "SELECT id FROM package_state s WHERE NOT EXISTS (SELECT 1 FROM package_file f"
    " WHERE f.product = s.product AND f.package = s.package AND f.source = s.source"
    " AND f.seq = s.seq)";

// -- upkeep
inline constexpr const char* kSaveHealth =
    "INSERT INTO engine_health VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    " ON CONFLICT(one) DO UPDATE SET at_ms = excluded.at_ms, pid = excluded.pid,"
    " started_ms = excluded.started_ms, connected = excluded.connected, inbox = excluded.inbox,"
    " outbox_bytes = excluded.outbox_bytes, oldest_uplink_ms = excluded.oldest_uplink_ms,"
    " ticks = excluded.ticks, wal_bytes = excluded.wal_bytes, free_bytes = excluded.free_bytes,"
    " last_error = excluded.last_error";
// Oldest first, by id: ids and times grow together, so no index on the time is needed. What is
// stamped after the last commit is as old as the first row after it that is not; that row is only
// looked for when one of the oldest ids is such.
#define OTA_OLD(table, time)                                               \
  "SELECT id FROM (SELECT * FROM " table                                   \
  " ORDER BY id LIMIT ?2)"                                                 \
  " WHERE (" time " < ?1 OR (" time                                        \
  " > (SELECT commit_ms FROM engine_state)"                                \
  " AND id < (SELECT iif(" time " < ?1, id, 0) FROM " table " WHERE " time \
  " <= (SELECT commit_ms FROM engine_state) ORDER BY id LIMIT 1)))"
inline constexpr const char* kOldLog = OTA_OLD("log", "at_ms");
inline constexpr const char* kDeleteLog = "DELETE FROM log WHERE id = ?1";
inline constexpr const char* kOldJournal =
    OTA_OLD("journal", "at_ms") " AND id <= (SELECT journal_done FROM engine_state)";
inline constexpr const char* kDeleteJournal = "DELETE FROM journal WHERE id = ?1";
inline constexpr const char* kOldRequests = OTA_OLD("request", "answered_ms") " AND state <> 'new'";
inline constexpr const char* kDeleteRequest = "DELETE FROM request WHERE id = ?1";
#undef OTA_OLD

// Run per event or per slice: none of them may scan device_state, device_version, task,
// task_component or log.
inline constexpr const char* kHot[] = {
    kLoginsAfter,
    kLogin,
    kBind,
    kUnbind,
    kSubDevices,
    kPlans,
    kPlanComponents,
    kPackage,
    kPackageFiles,
    kPlanSources,
    kDevice,
    kDeviceRow,
    kVersions,
    kLiveTasks,
    kNamedTask,
    kFailedTasks,
    kTaskOfPlan,
    kTaskComponents,
    kHasTask,
    kListed,
    kUpdateDevice,
    kUpdateSeen,
    kDeleteVersion,
    kUpdateTaskState,
    kUpdateTaskEnd,
    kUpdateTaskDeadline,
    kUpdateTask,
    kTrimTaskComponents,
    kPlanMatches,
    kPlanRetries,
    kTags,
    kHold,
    kStreaks,
    kDeleteStreaks,
    kNextStreakEnd,
    kStreaksEnded,
    kMembersAfter,
    kSliceVersions,
    kSliceTags,
    kDropLooked,
    kIsMember,
    kCountMembers,
    kCountTasks,
    kCountFailures,
    kQueuedDevices,
    kFailedDevices,
    kWaitingDevices,
    kDeleteExplanation,
    kDueDevices,
    kDevicesAfter,
    kListedAfter,
    kRegisteredDevices,
    kLiveDevices,
    kNewJournal,
    kNewRequests,
    kAnswerRequest,
    kRequestProgress,
    kFileState,
};

}  // namespace ota::store::sql
