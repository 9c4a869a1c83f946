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
  std::map<std::string, std::string> components;  // component -> installed version; 1 to 32
  std::optional<std::string> task;                // the task that the device holds
  bool request = false;                           // the device asks for an upgrade
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
  std::string component;
  int file = 0;     // index into the download's files
  std::string ref;  // the device's own name for this download
  std::int64_t offset = 0;
  int length = 0;  // bytes of one block
  int count = 1;   // blocks
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

struct Product {
  std::string name;
  bool registers = true;      // an unknown device is registered on its first report
  bool auto_confirm = false;  // no confirmation is needed: the download follows the plan
  bool blocks = true;         // files may be fetched over MQTT
  bool http = true;           // files may be fetched over HTTP
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

struct Retry {
  int max = 0;  // attempts after the first
  seconds interval{600};
};

struct Plan {
  std::string name;
  std::string product;
  Wanted wanted = Wanted::kDraft;
  bool held =
      false;  // a brake of the engine's own (a restored database); only a release lets it go
  std::string held_reason;
  Scope scope = Scope::kAll;
  Mode mode = Mode::kSilent;
  int priority = 0;                       // higher first; then `order`
  std::int64_t order = 0;                 // by first activation
  std::optional<Instant> end;             // nothing is offered afterwards
  std::vector<PlanComponent> components;  // in sequence
  Conditions conditions;
  std::map<std::string, std::string> texts;  // language -> text
  std::map<std::string, std::string> tags;
  Timeouts timeouts;
  Retry retry;
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
  std::vector<Installed> installed;  // sorted by component

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
  kTaskCanceled,   // by a request
  kComponentGone,  // a complete report lacks a component of the plan
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
  std::vector<TaskComponent> components;  // in the plan's order

  bool listed_white = false;  // of this device in the plan's lists, as of the load
  bool listed_black = false;
  bool operator==(const Task&) const = default;  // of plans: the same value in memory
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
  // MakeTask gives it. A version report that matches such a plan makes the task real. Loaded only
  // when a version differs.
  std::vector<Task> prospects;
  // Failed tasks, and refused ones with a code, of any plan: a report of their targets is success
  // after all [N-27]. Loaded for the first report of a connection, for a new boot id, and when a
  // version or a trial differs.
  std::vector<Task> failed;
  // Kept by the engine in memory, per open task: the connection that TaskComponent::boot_id is of
  // (0: unknown, which counts as another one), and the one in which the owed message was last sent.
  std::uint64_t download_connection = 0;
  std::uint64_t owed_connection = 0;
  bool outbox_full = false;  // no new offers now
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
  seconds expires_in{0};
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
  std::string to;  // version, confirm, progress, block
  std::optional<std::string> task;
  ReplyCode code = ReplyCode::kOk;
  std::string message;
  std::string warning;
  std::optional<seconds> retry_after;
  std::optional<seconds> again;
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
};

}  // namespace ota::core

template <>
struct std::hash<ota::core::DeviceKey> {
  std::size_t operator()(const ota::core::DeviceKey& key) const noexcept {
    const std::size_t first = std::hash<std::string>{}(key.product);
    return first ^ (std::hash<std::string>{}(key.device) + 0x9e3779b97f4a7c15ULL + (first << 6) +
                    (first >> 2));
  }
};
