// The values that every part of the program speaks: devices, plans, tasks, what devices say
// (uplinks) and what they are told (downlinks). Values only: no behaviour, no SQL, no JSON, no
// clock, no broker. Any thread may use them.
//
// Enumerations are stored in the database and shown to people by the names that `Name()` gives
// (core/names.cc). Do not rename a value that has been released: databases hold it.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace ota::core {

// Milliseconds since the epoch, UTC. Stored in columns named `..._ms`.
using Instant = std::chrono::sys_time<std::chrono::milliseconds>;
using Duration = std::chrono::milliseconds;
using std::chrono::seconds;

// The time, as an argument. The engine's comes from one place (engine/timeline.h).
struct Now {
  // What the wall clock shows. Start, end and windows of plans are compared with it.
  Instant wall;
  // The scale of all deadlines: wall time that runs on the monotonic clock, so that a clock that is
  // set does not make deadlines pass. Deadlines move when it is brought back in line with `wall`
  // (store::Store::ShiftDeadlines).
  Instant steady;
  // False while the wall clock is before the time of the last commit: nothing is offered then.
  bool trusted = true;
};

struct DeviceKey {
  std::string product;
  std::string device;
  auto operator<=>(const DeviceKey&) const = default;
};

// ---------------------------------------------------------------- uplinks: what a device says, in
// every dialect

struct VersionReport {
  // Component -> installed version; 1 to 32, none with a query alone.
  std::map<std::string, std::string> components;
  std::optional<std::string> task;  // the task that the device holds
  bool request = false;             // the device asks for an upgrade
  std::optional<std::string> boot_id;
  std::vector<std::string> trial;  // components that run but are not kept yet
  std::optional<int> battery;      // percent
  std::optional<int> signal;       // dBm
  std::optional<std::int64_t> free_bytes;
  std::optional<std::string> lang;
  std::optional<int> max_bytes;  // longest payload that the device takes; kMaxBytes if absent from
                                 // the first report of a connection
  std::optional<seconds> sleep;  // when the device will call next; as max_bytes, 0
  std::optional<bool> full;      // absent: true in the first report of a connection, else false
  // The device asks what there is for a component: the reply carries that download, or none. Empty:
  // its only one.
  std::optional<std::string> query = {};
};

struct Confirm {
  std::string task;
  bool accept = false;
  std::string reason;                  // at most 256 characters
  std::optional<seconds> retry_after;  // with !accept: postponed, not refused
};

enum class ProgressState {
  kDownloading,
  kDownloaded,
  kVerifying,
  kWaiting,
  kInstalling,
  kRebooting,
  kRolledBack,
  kFailed
};

struct Progress {
  std::string task;
  std::string component;
  std::optional<int> attempt;  // absent: the current one
  ProgressState state = ProgressState::kDownloading;
  std::optional<int> percent;
  std::optional<int> code;  // with kFailed: -1 unspecified, -2 download, -3 verification, -4
                            // writing, -5 refused, below: vendor's
  std::string message;      // `message` or `reason`; at most 256 characters
  std::optional<seconds> retry_after;  // with kWaiting
  std::optional<seconds> eta;
};

struct BlockRequest {
  std::string task;
  std::string component;  // empty: the current one
  int file = 0;           // index into the download's files
  std::string ref;        // the device's own name for this download
  std::int64_t offset = 0;
  int length = 0;  // bytes of one block
  int count = 1;   // blocks
  // File::id, where the wire names it; `file` is not looked at then.
  std::optional<std::int64_t> file_id = {};
};

using UplinkBody = std::variant<VersionReport, Confirm, Progress, BlockRequest>;

struct Uplink {
  std::optional<std::string> id;      // echoed in the reply; without it only errors are answered
  std::vector<std::string> warnings;  // optional members that were wrong and are treated as absent
  UplinkBody body;
};

// ---------------------------------------------------------------- the catalogue: what people
// configured

enum class ComponentType { kFirmware, kModule, kMcu, kSoftware, kDriver, kConfig, kOther };
enum class PackageKind { kFull, kDelta };
enum class Wanted { kDraft, kActive, kPaused, kCanceled };
enum class Scope { kAll, kSelected };
enum class Mode { kSilent, kManual };
enum class PlanKind { kBatch, kVerify };
// Static: the devices that match when the plan is activated. Dynamic: also those that match later.
enum class ScopeKind { kStatic, kDynamic };
enum class Trigger { kPush, kRequest };  // who begins: the platform, or only the device by asking
// What becomes of open tasks when the plan's end comes: they go on, those that show no progress yet
// are canceled, all are. Queued tasks are canceled in each case.
enum class AtEnd { kStop, kCancel, kForce };

// What the dialect of a device can carry; the defaults are the native one's.
struct Wire {
  bool names_tasks = true;  // else an uplink is about the open task
  bool tells_boots = true;  // else the target's version alone is proof
  // A third version fails the attempt also before the device shows that it has begun; else it is
  // only taken note of then.
  bool fails_early = true;
  int http_files = 5;  // of one download
  int block_files = 5;
  std::int64_t http_bytes = std::numeric_limits<std::int64_t>::max();   // of one file
  std::int64_t block_bytes = std::numeric_limits<std::int64_t>::max();  // 0: files over HTTP alone
};

struct Product {
  std::string name;
  bool registers = true;      // an unknown device is registered on its first report
  bool auto_confirm = false;  // no confirmation is needed: the download follows the plan
  bool blocks = true;         // files may be fetched over MQTT
  bool http = true;           // files may be fetched over HTTP
  // Clouds that know no confirmation: the plan is told by its download, after a consent if any.
  bool confirms = true;  // the dialect has a confirmation
  Wire wire = {};        // of the dialect that the device speaks
};

struct File {
  std::int64_t id = 0;  // stable; names the file in download addresses
  std::string name;     // as the device sees it
  std::string path;     // inside the store directory
  std::int64_t bytes = 0;
  std::string sha256;  // lower-case hex
  std::string md5;     // lower-case hex
};

// The files of one package for one source version. A full package has one, with an empty source.
struct FileSet {
  std::string source;  // installed version that these files start from; empty: any
  std::vector<File> files;
  bool ready = false;   // every file is hashed and unchanged
  std::string problem;  // why not ready, for people; names the file
};

struct Package {
  std::string name;
  std::string component;
  PackageKind kind = PackageKind::kFull;
  std::string version;  // target
  std::vector<FileSet> sets;
  // Of a signed package [N-23]: core/manifest.h, and bytes.
  std::string manifest = {};
  std::string signature = {};
  std::string key_id = {};
};

// One component of a plan: at least one of `full` and `delta`; a device whose version has a delta
// gets that.
struct PlanComponent {
  std::string name;
  ComponentType type = ComponentType::kFirmware;
  bool boot = true;  // proved only by a report with another boot id or on a new connection
  std::string target;
  std::optional<Package> full;
  std::optional<Package> delta;
  std::vector<std::string> sources;  // empty: any installed version
};

struct Conditions {
  std::optional<int> battery;
  std::optional<int> signal;
  std::optional<std::int64_t> free_bytes;
  std::optional<seconds> max_age = {};  // older measured values count as unknown; nothing: no limit
  bool unknown_waits = false;           // an unknown value: wait for it; else the device is asked
};

// How long a task may stay in a state without hearing from the device. No value switches a deadline
// off.
struct Timeouts {
  seconds offer{86400};  // an offer unanswered
  seconds download{
      3600};  // an accepted task without a sign of the download; also between two signs of it
  seconds install{3600};    // installing without a sign
  seconds reboot{3600};     // no return after the reboot
  seconds longest{604800};  // the most that `eta`, `sleep` and `retryAfter` of a device can ask for
};

enum class Reason;

struct Retry {
  int max = 0;  // attempts after the first
  seconds interval{600};
  // Failures that are tried again; none: all but time-outs. kDeviceRefused: who refuses is asked
  // again.
  std::vector<Reason> reasons = {};
};

// When a plan halts by itself; a person lets it go on. 0 switches a rule off.
struct Halt {
  int failures = 3;  // tasks
  int percent = 0;   // of the tasks that ended by success or failure ...
  int sample = 10;   // ... once there are so many
};

// Devices that fail the same target again and again are put aside.
struct Loop {
  int max = 3;            // tasks of one target that fail in a row; 0: never put aside
  seconds quarantine{0};  // 0: until a person releases the device
};

// The daily push period, in the local time of a zone.
struct Window {
  std::string zone;              // IANA name; empty: the machine's own
  std::chrono::minutes from{0};  // of the local day
  std::chrono::minutes to{0};    // before `from`: of the next day; equal: the whole day
};

struct Plan {
  std::string name;
  std::string product;
  Wanted wanted = Wanted::kDraft;
  bool held =
      false;  // a brake of the engine's own (a restored database); only a release lets it go
  std::string held_reason;
  bool halted = false;  // by its own rule (Halt); only a person lets it go on
  std::string halted_reason;
  PlanKind kind = PlanKind::kBatch;
  Scope scope = Scope::kAll;
  ScopeKind scope_kind = ScopeKind::kDynamic;
  bool new_reports = false;    // dynamic: only devices that report after the activation
  std::optional<int> percent;  // static: share of the matching devices, 1 to 100
  // Tags that a device must have: of every key one of the values.
  std::map<std::string, std::vector<std::string>> match;
  Mode mode = Mode::kSilent;
  Trigger trigger = Trigger::kPush;
  int priority = 0;              // higher first; then `order`
  std::int64_t order = 0;        // by first activation
  std::optional<Instant> start;  // nothing is offered before
  std::optional<Instant> end;    // nothing is offered afterwards
  AtEnd at_end = AtEnd::kStop;
  bool cancels_open = true;  // a cancel of the plan also ends the tasks that are open
  // Canceled, but for the tasks that it has (004-73): no device joins any more, `wanted` is
  // kActive.
  bool closed = false;
  std::optional<Window> window;
  std::optional<int> rate;                       // offers per minute, spread evenly
  std::optional<int> max_open;                   // open tasks at a time
  std::optional<std::int64_t> bytes_per_second;  // of issued downloads
  bool overrides = false;  // cancels the tasks of other plans that show no progress yet
  // What becomes of a task whose device is in the middle of another plan's: it waits, or fails.
  bool fails_when_busy = false;
  bool strict_progress = false;    // success also needs a report of 100 % in the attempt
  seconds grace{120};              // that a device may show its old version after a reconnect
  std::optional<seconds> timeout;  // of a whole task, from its first progress
  std::vector<PlanComponent> components;  // in sequence
  Conditions conditions;
  std::map<std::string, std::string> texts;  // language -> text
  std::map<std::string, std::string> tags;
  Timeouts timeouts;
  Retry retry;
  Halt halt;
  Loop loop;
};

// ---------------------------------------------------------------- state: what the engine knows

struct Installed {
  std::string component;
  std::string version;
  bool trial = false;
  Instant since{};
  auto operator<=>(const Installed&) const = default;
};

inline constexpr int kMaxBytes = 2048;  // of a message, unless the device says otherwise

// What is known of one device. `connection` is 0 while the device is away; generations are never
// stored.
struct Device {
  std::int64_t id = 0;  // 0: not registered yet
  DeviceKey key;
  bool disabled = false;  // by an administrator
  bool retired = false;   // by an administrator: leaves every scope
  std::string boot_id;
  std::optional<int> battery;
  std::optional<int> signal;
  std::optional<std::int64_t> free_bytes;
  std::string lang;
  int max_bytes = kMaxBytes;
  seconds sleep{0};
  Instant registered{};
  Instant seen{};
  Instant reported{};  // the last report with battery, signal or free bytes: their age
  std::vector<Installed> installed;         // sorted by component
  std::map<std::string, std::string> tags;  // that people gave it

  std::uint64_t connection = 0;           // generation of the live connection; 0: away. Not stored.
  std::uint64_t reported_connection = 0;  // generation of the last version report. Not stored.
};

// Where a task stands. Stored by name.
enum class TaskState {
  kQueued,       // waiting for its turn; `reason` says for what
  kOffered,      // the plan was sent, or is owed
  kPostponed,    // the device asked for the offer again at `deadline`
  kAccepted,     // the download was sent, or is owed; no sign of it yet
  kDownloading,  // progress was seen
  kWaiting,      // the device has accepted, but not now: until `deadline`
  kInstalling,   // installing was reported
  kRebooting,    // rebooting was reported, or the component runs on trial
  kRetrying,     // an attempt failed; the next one is sent at `deadline`
  kSucceeded,
  kFailed,
  kRefused,
  kCanceled,
};

// Why a task is where it is. Stored by name, shown in views; the texts for people are in names.cc.
enum class Reason {
  kNone,
  // a queued task waits because
  kClockBehind,    // the clock shows a time before the last commit
  kPlanNotActive,  // the plan is a draft or paused
  kPlanHeld,       // the plan is held until a release
  kPlanEnded,
  kDeviceDisabled,
  kNotListed,  // not on the whitelist
  kBlacklisted,
  kNotReported,  // no version report yet
  kOffline,
  kPredecessor,       // another task of the device is open, or comes first
  kOnTrial,           // the device runs the target on trial
  kSourceVersion,     // the installed version is none of the plan's source versions
  kNoDeltaForSource,  // only a delta, and none for the installed version
  kPackageNotReady,
  kNoDelivery,  // neither HTTP nor blocks can deliver the files
  kTooLarge,    // the message does not fit into what the device takes
  kOutboxFull,
  kOfferUnanswered,  // the offer's deadline passed; it is made again when the device is heard of
  kNotYet,           // the device or the retry policy named a later time
  kStopped,          // everything is stopped
  kHeld,             // the device, its product or the site is held
  kPlanHalted,       // by its own rule
  kNotStarted,       // the plan's start
  kWindowClosed,     // the push period
  kNotMatched,       // lacks a tag that the plan asks for
  kNotMember,        // static: did not match when the plan was activated
  kNotInPhase,       // static: not in the share of devices that is upgraded yet
  kOnRequest,        // the device has not asked
  kNoConsent,        // manual, and the dialect has no confirmation: people have not consented
  kBattery,
  kSignal,
  kFreeSpace,
  kRate,
  kTooManyOpen,
  kBytesPerSecond,
  kQuarantined,  // failed the same target too often
  // a task has ended because
  kAtTarget,         // every component was reported at its target
  kAtTargetAlready,  // ... before anything was offered
  kDeviceRefused,
  kDeviceFailed,  // `code` and `message` of the device are beside it
  kDownloadFailed,
  kVerifyFailed,
  kWriteFailed,
  kRolledBack,
  kForeignVersion,  // a version that is neither source nor target
  kDownloadTimeout,
  kInstallTimeout,
  kRebootTimeout,
  kNotKept,  // the target runs, but on trial or before its reboot, for `longest`
  kPlanCanceled,
  kTaskCanceled,    // by a request
  kComponentGone,   // a complete report lacks a component of the plan
  kOverridden,      // by a plan that overrides
  kBusy,            // the device is in the middle of another task, and the profile says so
  kTimeout,         // plan.timeout since the first progress
  kSpelling,        // the target in another spelling (case or blanks)
  kNoFullProgress,  // strict: the target without 100 %
};

enum class ComponentState { kPending, kCurrent, kProved, kSkipped };

struct TaskComponent {
  std::string name;
  ComponentState state = ComponentState::kPending;
  std::string source;  // version installed when its download was issued; empty: none was
  std::string target;
  PackageKind package = PackageKind::kFull;
  int attempt = 0;   // of the download; 1 with the first
  int percent = -1;  // of `progress`; -1: none seen
  std::optional<ProgressState> progress;
  bool installing = false;  // installing, rebooting or a trial was reported in this attempt
  // The device's when the download was issued, the old version last seen, or the installation
  // began: another one shows that it has rebooted since.
  std::string boot_id;
  bool full = false;  // 100 % was reported in this attempt
  // When the source version was first seen again after the installation began: `grace` runs.
  std::optional<Instant> returned = {};  // on the steady scale
  bool operator==(const TaskComponent&) const = default;
};

// One plan's share for one device. At most one task of a device is open (neither queued nor ended).
struct Task {
  std::int64_t id = 0;  // row
  std::string name;     // on the wire: 8 to 32 characters, random, never used again
  std::shared_ptr<const Plan> plan;
  TaskState state = TaskState::kQueued;
  Reason reason = Reason::kNone;
  std::string detail;        // value and limit, or the device's own words
  int code = 0;              // the device's failure code
  bool owes_cancel = false;  // a cancel is owed until an uplink shows that the device knows
  bool consent = false;      // manual mode: given on the platform [N-15]
  int offers = 0;
  int retries = 0;                  // used of plan->retry.max
  std::optional<Instant> deadline;  // on the steady scale; when the task moves on by itself
  Instant created{};
  Instant offered{};
  Instant ended{};
  std::optional<Instant> progressed;      // first progress, on the steady scale
  std::int64_t position = 0;              // among the plan's tasks: lower goes first
  std::vector<TaskComponent> components;  // in the plan's order

  bool listed_white = false;  // of this device in the plan's lists, as of the load
  bool listed_black = false;
  // Of a task that does not exist yet (id 0): whether the device is one of those that the plan was
  // activated for (static), or has reported since (new_reports); and whether it is in the share of
  // them that is upgraded now. True of every real task.
  bool member = true;
  bool in_phase = true;
  bool operator==(const Task&) const = default;  // of plans: the same value in memory
};

// What is true of a plan as a whole at this moment. Kept by the engine in memory.
struct PlanNow {
  std::optional<Instant> opens;  // wall time; the push period is closed until then
  int open_tasks = 0;
  Instant next_offer{};     // steady: not before, by the rate
  Instant next_download{};  // steady: not before, by the bytes per second
};

// A brake that people put on a device, a product or the site.
struct Hold {
  std::optional<Instant> until;  // wall time; nothing: until it is taken away
  std::string reason;
};

// Failures of one target on one device, in a row.
struct Streak {
  std::string component;
  std::string target;
  int failures = 0;
  bool aside = false;            // put aside
  std::optional<Instant> until;  // wall time; nothing: until a person releases the device
  auto operator<=>(const Streak&) const = default;
};

// Everything that Decide may look at for one device, as of one read.
struct Snapshot {
  Product product;
  Device device;
  std::optional<Task> open;
  std::vector<Task> queued;  // by plan priority, then plan order
  std::optional<Task>
      named;  // the task that the uplink names, when it is another one (also an ended one)
  std::vector<Task> cancels;  // ended tasks with owes_cancel
  // Tasks that do not exist yet: one for each plan in force that has none for this device, as
  // MakeTask gives it. A version report that matches such a plan makes the task real. Loaded for a
  // version report in which a version differs; those of plans with `new_reports` also for the first
  // report of a connection.
  std::vector<Task> prospects;
  // Failed tasks, and refused ones with a code, of any plan: a report of their targets is success
  // after all [N-27]. Canceled ones may be there too: their targets are logged. Loaded for the
  // first report of a connection, for a new boot id, and when a version or a trial differs.
  std::vector<Task> failed;
  // Kept by the engine in memory, per open task: the connection that TaskComponent::boot_id is of
  // (0: unknown, which counts as another one), and the one in which the owed message was last sent.
  std::uint64_t download_connection = 0;
  std::uint64_t owed_connection = 0;
  bool outbox_full = false;  // no new offers now
  bool asked = false;        // the device asks for an upgrade; Decide sets it
  std::map<std::string, PlanNow, std::less<>> plans;  // by name: those of the tasks above
  std::optional<std::string> stopped;                 // everything is, for this reason
  std::optional<Hold> hold;                           // in force, the widest one
  std::vector<Streak> streaks;
};

// ---------------------------------------------------------------- downlinks: what a device is told

struct Offer {
  std::string task;
  Mode mode = Mode::kSilent;
  bool consent = false;
  struct Component {
    std::string name;
    ComponentType type = ComponentType::kFirmware;
    PackageKind package = PackageKind::kFull;
    std::string from, to;
    std::int64_t bytes = 0;
    bool boot = true;
  };
  std::vector<Component> components;
  Conditions conditions;
  std::string text;
  std::string plan;
  std::map<std::string, std::string> tags;
  seconds expires_in{0};
};

struct Download {
  std::string task;
  std::string component;
  PackageKind package = PackageKind::kFull;
  std::string from, to;
  int attempt = 1;
  seconds deadline_in{0};
  bool blocks = true;  // files may be asked for block by block
  bool http = true;    // the engine adds addresses to the files before it encodes
  std::vector<File> files;
  std::vector<std::string> urls;  // as `files`; empty without http
  std::string manifest;           // of a signed package; then the next two too
  std::string signature;          // bytes
  std::string key_id;
  seconds expires_in{0};
  std::map<std::string, std::string> tags = {};  // the plan's, for dialects without an offer
};

struct Cancel {
  std::string task;
  std::string reason;
};

enum class ReplyCode {
  kOk = 200,
  kMalformed = 400,
  kForbidden = 403,
  kNotFound = 404,
  kConflict = 409,
  kOver = 410,
  kTooLarge = 413,
  kOffset = 416,
  kTooMany = 429,
  kUnavailable = 503,
};

struct Reply {
  std::optional<std::string> id;
  std::string to;  // version, confirm, progress, block, query
  std::optional<std::string> task;
  ReplyCode code = ReplyCode::kOk;
  std::string message;
  std::string warning;
  std::optional<seconds> retry_after;
  std::optional<seconds> again;
  std::optional<Download> download = {};  // the answer to a query
};

using Downlink = std::variant<Offer, Download, Cancel, Reply>;

// ---------------------------------------------------------------- decisions: what Decide gives

struct LogEntry {
  std::string task;  // may be empty
  std::string plan;
  std::string component;
  std::string
      event;  // what happened: report, offer, confirm, progress, deadline, request, plan ...
  std::string old_state;  // empty: no transition
  std::string new_state;
  Reason reason = Reason::kNone;
  int attempt = 0;
  std::string detail;
};

struct BlockGrant {
  File file;
  std::string ref;
  std::int64_t offset = 0;
  int length = 0;
  int count = 0;
  std::optional<std::string> id = {};  // of the request
};

// Rows to write and messages to send. SAVED BEFORE ANY MESSAGE IS SENT: the engine commits
// `device`, `installed`, `tasks` and `log`, and only then hands `messages`, in this order, to the
// outbox.
struct Decision {
  bool device_changed = false;     // `device` differs in something that must be stored now
  bool installed_changed = false;  // device.installed differs
  Device device;
  // Every task that changed, whole; in an order in which, row by row, at most one is open.
  std::vector<Task> tasks;
  std::vector<LogEntry> log;
  std::vector<Downlink> messages;
  // Blocks that a worker reads and sends; `messages` (a reply, if any) go after them.
  std::optional<BlockGrant> blocks;
  // What the engine keeps in memory for the device's open task from now on and gives to the next
  // Snapshot; both are 0 when no task is open.
  std::uint64_t download_connection = 0;
  std::uint64_t owed_connection = 0;
  bool streaks_changed = false;
  std::vector<Streak> streaks;  // all of the device
};

}  // namespace ota::core

// Not noexcept: then tables keep each key's code beside it, and do not compute those of its
// neighbours again.
template <>
struct std::hash<ota::core::DeviceKey> {
  std::size_t operator()(const ota::core::DeviceKey& key) const {
    const std::size_t first = std::hash<std::string>{}(key.product);
    return first ^ (std::hash<std::string>{}(key.device) + 0x9e3779b97f4a7c15ULL + (first << 6) +
                    (first >> 2));
  }
};
