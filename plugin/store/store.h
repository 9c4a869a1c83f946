// The one SQLite file: rows <-> values. The engine thread calls it and nobody else; every call may
// wait for the disk or for another process's lock, so the broker thread must never come here.
//
// It knows no dialect, no broker and no clock, and it decides nothing: what is written is what the
// engine gives. Governed by schema/README.md (who writes what, the guards, migrations).
//
// Errors. Every call gives core::Error with one of these codes, and a message for people:
//   kConflict     a guard or a constraint refused the rows, or a stored row has a value that this
//                 program does not know. Only this event is at fault: roll back its savepoint and
//                 go on with the batch.
//   kUnavailable  not now: the disk is full, I/O failed, the file is read-only, or `wait` gave up
//                 on another process's lock (then the caller is stopping). Roll back, keep the
//                 batch, try again.
//   kCorruption   the file is damaged or not a database: close, go passive, say so.
//   kUnsupported  another program's file, or of a newer schema: the file was not touched.
//   kNotFound     the directory does not exist.
//   kInternal     a bug (a call outside a transaction, a statement that does not fit the schema).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.h"
#include "core/result.h"

namespace ota::store {

using Status = core::Result<void>;

// In the file's header (PRAGMA application_id): "OTA1".
inline constexpr std::int32_t kApplicationId = 0x4F544131;
// The last step in schema/, which is the PRAGMA user_version of a current file.
int SchemaVersion();

struct Options {
  // Called while another process holds the lock, about every 20 ms, with the time waited so far in
  // this call; false gives up (kUnavailable). Empty: waits for ever.
  std::function<bool(core::Duration waited)> wait;
  std::int64_t cache_bytes = 32 << 20;
  // Called for each package of a plan when the catalogue is loaded; gives why it may not be
  // delivered, or "". Empty: every package may.
  std::function<std::string(const std::string& product, const std::string& public_key,
                            const core::Package& package)>
      check_package;
  bool may_create = true;  // a missing or empty file becomes an empty database
  bool truncated = false;  // it was when it was last open: not opened while it still is
  bool durable = true;     // a commit is on the disk when Commit() returns; false: a power cut may
                           // lose the last ones
};

// What Open() found and did.
struct Opening {
  bool created = false;
  bool restored = false;                     // an older copy, another database, or no marker
  std::string restored_reason;               // for people
  std::vector<std::string> held;             // plans that are held because of it
  int migrated_from = 0;                     // 0: nothing to migrate
  std::filesystem::path backup;              // made before a migration; else empty
  std::optional<core::Instant> last_commit;  // wall time; none: the engine never committed
};

// ---------------------------------------------------------------- what people configured

struct Component {
  core::ComponentType type = core::ComponentType::kFirmware;
  bool boot = true;
};

enum class PlanPhase { kActive, kPaused, kHeld, kEnded, kCanceled };

// What became of a plan: one row of plan_state.
struct PlanState {
  std::string plan;
  PlanPhase phase = PlanPhase::kActive;
  std::string reason;
  std::int64_t order = 0;  // by first activation; 0: the store gives the next one
  core::Instant activated{};
  std::int64_t scanned_id = 0;  // cursor of the activation: see DevicesAfter()
  bool scanned = false;         // every device of that time was matched
  std::optional<core::Instant> ended;
  std::string halted = {};       // why it halted by itself; empty: it did not
  std::int64_t base_failed = 0;  // failed and ended tasks when a person let it go on
  std::int64_t base_ended = 0;
  std::int64_t last_device_id = 0;  // static: the last device registered at the activation
  std::int64_t members = 0;         // static with a percentage: devices that matched ...
  std::int64_t picked = 0;          // ... and those that have a task
};

// Where devices publish a value of theirs anyway.
enum class Measure { kBattery, kSignal, kFreeBytes };
struct Telemetry {
  std::string product;
  Measure value = Measure::kBattery;
  std::string topic;  // with {device}, perhaps {product}
  std::string path;   // JSON pointer; empty: the payload is the number
};

struct ProductEntry {
  core::Product product;
  std::string dialect;
  std::int64_t max_devices = 0;  // that may register themselves
  std::string public_key;        // PEM; not empty: only packages that it has signed are delivered
  std::map<std::string, Component, std::less<>> components;
  // wanted active or paused and neither ended nor canceled; priority descending, order ascending.
  // Also those not activated yet (no `state`) and those held.
  std::vector<std::shared_ptr<const core::Plan>> in_force;
  bool tags = false;         // one of them asks for tags
  bool new_reports = false;  // one of them is joined by any report
  bool scanning = false;     // one of them is static, and its scan has not ended
};

struct PlanEntry {
  std::shared_ptr<const core::Plan> plan;
  std::optional<PlanState> state;  // as of the load; none: never activated
};

struct Settings {
  int log_days = 365;
  std::int64_t download_bytes_per_second = 0;  // of all downloads together; 0: no limit
  std::optional<std::string> stopped;          // everything is, for this reason
  core::seconds scan{600};        // of the clock: connected devices are looked at; 0: never
  core::seconds scan_jitter{60};  // spread over this
};

// Everything that people configured and that can still matter, as of one read. Immutable.
struct Catalogue {
  std::map<std::string, ProductEntry, std::less<>> products;
  // Plans in force, plans whose `wanted` and `state` do not agree yet, and plans that are over but
  // still have a live task (not ended, or owing a cancel).
  std::map<std::string, PlanEntry, std::less<>> plans;
  Settings settings;
  std::vector<Telemetry> telemetry;
  bool holds = false;  // there are any

  const ProductEntry* FindProduct(std::string_view name) const;
  std::shared_ptr<const core::Plan> FindPlan(std::string_view name) const;  // null: not in it
};

// ---------------------------------------------------------------- devices and tasks

struct KnownDevice {
  core::Device device;      // id 0: not registered; then only `key` and `disabled` are set
  bool configured = false;  // people made a row in `device`
  bool retired = false;     // by people: leaves every scope
  std::vector<core::Streak> streaks;
};

struct DeviceTasks {
  std::optional<core::Task> open;
  std::vector<core::Task> queued;   // by plan priority, then plan order
  std::vector<core::Task> cancels;  // ended ones that owe a cancel
};

struct Listed {
  bool white = false;
  bool black = false;
  std::optional<std::int64_t> rank;      // on the whitelist, by people
  std::optional<std::int64_t> position;  // on the whitelist, as it was written
};

struct DeviceRef {
  std::int64_t id = 0;  // 0: not registered
  core::DeviceKey key;
};

// A device that a plan's scope may name. Of `device` there are id, key, disabled, retired, seen,
// installed and, if the plan asks for them, tags.
struct Candidate {
  core::Device device;
  Listed listed;
  bool has_task = false;  // of this plan
  bool looked = false;    // it was looked at before the scan came to it
  std::int64_t hash = 0;  // of a member
};

// A queued task's device.
struct Queued {
  DeviceRef device;
  core::Reason reason = core::Reason::kNone;
};

// A device that people know, for its login. `sealed` is its encrypted secret; empty: none.
struct LoginRow {
  core::DeviceKey key;
  bool disabled = false;
  std::string gateway;  // product/name; empty: none
  std::string sealed;
  bool bound = false;  // the gateway has said so, not people
};

// ---------------------------------------------------------------- journal, requests, packages

struct Change {
  std::int64_t id = 0;
  std::string table;
  std::string act;  // insert, update, delete
  std::string product;
  std::string key;     // plan, package, device ... by its name
  std::string detail;  // which columns, or which row of the thing
};

struct Request {
  std::int64_t id = 0;
  std::string act;      // release, cancel, retry, consent, explain
  std::string plan;     // may be empty
  std::string product;  // may be empty
  std::string device;   // may be empty
  std::string argument;
  core::Instant created{};
  std::int64_t at_device = 0;  // of many devices: the last one that was looked at
  int tasks = 0;               // ... and how many were acted on
};

enum class RequestState { kDone, kRefused };
enum class FileState { kHashing, kReady, kRefused };

// A file of a package: where people say it is, and what the workers found there.
struct PackageFile {
  std::string product;
  std::string package;
  std::string source;  // installed version that it starts from; empty: any
  int seq = 0;
  std::string path;      // inside the store directory
  std::string expected;  // SHA-256 that people gave, lower-case hex; empty: none
  std::string profile;   // the product's, and how large it lets a file be
  std::int64_t limit_bytes = 0;

  std::int64_t id = 0;  // 0: never looked at; stable and never used again
  FileState state = FileState::kHashing;
  std::string problem;  // why refused; names the file
  std::int64_t bytes = 0;
  std::string sha256;  // lower-case hex
  std::string md5;     // lower-case hex
  std::int64_t inode = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  core::Instant checked{};
};

struct Health {
  core::Instant at{};
  std::int64_t pid = 0;
  core::Instant started{};
  std::int64_t connected = 0;
  std::int64_t inbox = 0;
  std::int64_t outbox_bytes = 0;
  std::int64_t oldest_uplink_ms = 0;
  std::int64_t ticks = 0;
  std::int64_t wal_bytes = 0;
  std::int64_t free_bytes = 0;
  std::string last_error;
};

// ---------------------------------------------------------------- the store

class Store;

// The rows of one event: gone again unless Keep() was called, alone or with the transaction (see
// Store::Begin). Lives inside a transaction, and must not outlive it.
class Savepoint {
 public:
  Savepoint(Savepoint&& other) noexcept;
  Savepoint& operator=(Savepoint&&) = delete;
  Savepoint(const Savepoint&) = delete;
  Savepoint& operator=(const Savepoint&) = delete;
  ~Savepoint();

  Status Keep();

 private:
  friend class Store;
  Savepoint(Store* store, bool wrote) : store_(store), wrote_(wrote) {}
  Store* store_;
  bool wrote_;  // whether the transaction had written before it
};

// Tells SQLite to keep no statistics of its memory: a lock around each allocation. Before the
// process uses SQLite; later it changes nothing.
void KeepNoMemoryStatistics();

class Store {
 public:
  // Opens the database at `path`; makes it (0640) when there is none, but never its directory; runs
  // missing steps of the schema, after a copy to PATH.vN.bak. `wall` stamps what Open itself
  // writes, but never lowers the time of the last commit. A file that is behind its marker
  // (PATH.commit), or has another id or no marker, is `restored`: every plan in force is held until
  // a release.
  static core::Result<std::unique_ptr<Store>> Open(const std::filesystem::path& path,
                                                   core::Instant wall, Options options);
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store();

  const Opening& opening() const;

  // True when another file stands at the path, or none: asks stat() alone. Then destroy the store:
  // it sets its write-ahead log aside (PATH-wal.stale), so that Open() does not mix it into the new
  // file.
  bool Replaced() const;
  // True when that is so of the write-ahead log or its index: then other programs neither see what
  // is in ours nor respect our locks. Destroy the store: it moves its log into the file.
  bool LogReplaced() const;

  // Whether the file is shorter than its header says. True for a moment also while another program
  // moves the write-ahead log into it; if it stays so, it was truncated: give Truncated() as the
  // error, destroy the store, and open it with Options::truncated. Nothing more is moved into it.
  bool IsShort() const;
  Status Truncated() const;

  // Transactions. Begin() takes the write lock before the first read. Commit() of a transaction
  // that wrote nothing touches no disk; otherwise it costs one fsync, and at every 4 MiB of the
  // write-ahead log a checkpoint. When Commit() fails
  // everything is rolled back and the batch can be tried again. Rollback() never fails. `wall` is
  // kept as the time of the last commit as it is: the caller sees to it that it does not go back.
  // `undoable`: an event that is not kept goes back alone. Else, which costs less, it spoils the
  // transaction when it had written: every write and Commit() fail with kConflict from then on.
  Status Begin(bool undoable = false);
  Status Commit(core::Instant wall);
  void Rollback();
  core::Result<Savepoint> BeginEvent();
  bool wrote() const;    // in the open transaction
  bool spoiled() const;  // the open transaction
  // Number and wall time of the last commit of the engine.
  std::int64_t commit_no() const;

  // -- loads: inside or outside a transaction
  core::Result<std::shared_ptr<const Catalogue>> LoadCatalogue();
  core::Result<KnownDevice> LoadDevice(const core::DeviceKey& key, bool tags = false);
  // The widest hold that is in force for the device at `wall`.
  core::Result<std::optional<core::Hold>> LoadHold(const core::DeviceKey& key, core::Instant wall);
  // `device` needs id and key. A task whose plan is not in `catalogue` has a plan of that name that
  // is canceled and empty.
  core::Result<DeviceTasks> LoadTasks(const core::Device& device, const Catalogue& catalogue);
  // Also an ended task; nullopt when there is none of this name that belongs to the device.
  core::Result<std::optional<core::Task>> LoadTask(std::string_view name,
                                                   const core::Device& device,
                                                   const Catalogue& catalogue);
  // Tasks of the device that failed or were refused, also of plans that are over [N-27].
  core::Result<std::vector<core::Task>> LoadFailed(const core::Device& device,
                                                   const Catalogue& catalogue);
  // The device's task of `plan`, whatever became of it.
  core::Result<std::optional<core::Task>> LoadTaskOf(std::string_view plan,
                                                     const core::Device& device,
                                                     const Catalogue& catalogue);
  core::Result<bool> HasTask(std::string_view plan, std::int64_t device_id);
  core::Result<Listed> ListedIn(std::string_view plan, std::string_view device);
  // Registered ones. Counts rows: once per product at start, not per event.
  core::Result<std::int64_t> CountDevices(std::string_view product);
  // At least as many as are registered, of all products, at once: the highest id. Ids are given in
  // order, so it is the number itself as long as no device was ever taken out.
  core::Result<std::int64_t> RegisteredDevices();

  // -- what a decision says: inside a transaction
  // Writes device (when device_changed or installed_changed, or not registered yet and anything is
  // to be written), tasks and log. Fills the ids of a new device and of new tasks.
  Status Save(core::Decision& decision, core::Instant wall);
  // Seen time, battery, signal and free space of registered devices.
  Status SaveSeen(std::span<const core::Device> devices);
  // A line that belongs to no device: of a plan, a request, the store.
  Status Log(const core::LogEntry& entry, const core::DeviceKey& key, core::Instant wall);

  // -- deadlines, on the steady scale
  core::Result<std::optional<core::Instant>> NextDeadline();
  core::Result<std::vector<DeviceRef>> DueDevices(core::Instant steady, int limit);
  // Moves everything on the steady scale.
  Status ShiftDeadlines(core::Duration by);

  // -- brakes: when the next hold, and the next time aside, ends after `wall`
  core::Result<std::optional<core::Instant>> NextHoldEnd(core::Instant wall);
  // The registered devices that are held at `wall`. Reads the products that are held: once per load
  // of the catalogue.
  core::Result<std::vector<std::int64_t>> HeldDevices(core::Instant wall);
  core::Result<std::optional<core::Instant>> NextStreakEnd(core::Instant wall);
  // Devices whose time aside ended after `after` and up to `until`.
  core::Result<std::vector<DeviceRef>> StreaksEnded(core::Instant after, core::Instant until,
                                                    int limit);
  Status DropStreaks(std::int64_t device_id);

  // -- plans. Slices of at most `limit`, in ascending order; fewer than `limit`: that was the end.
  // Of a plan that has a row already, only what people read: phase, reason and times.
  Status SavePlanState(const PlanState& state);
  // The rest of the row: how far the activation is, and whether the plan has halted by itself.
  Status SaveScan(const PlanState& state);
  Status SaveHalt(const PlanState& state);
  // Registered devices of `product` with id > after_id.
  core::Result<std::vector<Candidate>> DevicesAfter(const core::Plan& plan, std::int64_t after_id,
                                                    int limit);
  // (position, device id) of the whitelist with position > after; the id is 0 for a device that
  // nobody has heard of.
  core::Result<std::vector<std::pair<std::int64_t, std::int64_t>>> ListedAfter(
      const core::Plan& plan, std::int64_t after, int limit);
  // Members of a static plan with a percentage, after (hash, id) in the order of picking.
  core::Result<std::vector<Candidate>> MembersAfter(const core::Plan& plan, std::int64_t hash,
                                                    std::int64_t after_id, int limit);
  // Inserts new tasks of devices that are away, and a line of the log for each.
  Status AddTasks(std::span<const std::pair<DeviceRef, core::Task>> tasks, core::Instant wall);
  Status AddMember(std::string_view plan, std::int64_t hash, std::int64_t device_id);
  core::Result<bool> IsMember(std::string_view plan, std::int64_t hash, std::int64_t device_id);
  // A device was looked at before the scan of a static plan came to it; forgotten when it ends.
  Status AddLooked(std::string_view plan, std::int64_t device_id);
  Status DropLooked(std::string_view plan);
  core::Result<std::int64_t> CountMembers(std::string_view plan);
  // Of failed ones, those that are failures (core::IsFailure).
  core::Result<std::int64_t> CountTasks(std::string_view plan, core::TaskState state);
  // Devices with a queued task of the plan; with a failed one.
  core::Result<std::vector<Queued>> QueuedDevices(std::string_view plan,
                                                  std::int64_t after_device_id, int limit);
  core::Result<std::vector<DeviceRef>> FailedDevices(std::string_view plan,
                                                     std::int64_t after_device_id, int limit);
  // Devices whose task waits for the plan's pace, in their order.
  core::Result<std::vector<DeviceRef>> WaitingDevices(std::string_view plan, int limit);
  // Devices with a task of the plan that has not ended or owes a cancel.
  core::Result<std::vector<DeviceRef>> LiveDevices(std::string_view plan,
                                                   std::int64_t after_device_id, int limit);

  // -- what other processes did
  core::Result<std::int64_t> DataVersion();  // differs when another process has committed
  core::Result<std::int64_t> JournalDone();
  core::Result<std::vector<Change>> NewJournal(std::int64_t after, int limit);
  Status SaveJournalDone(std::int64_t id);
  core::Result<std::vector<Request>> NewRequests(int limit);
  Status AnswerRequest(std::int64_t id, RequestState state, std::string_view answer,
                       core::Instant wall);
  Status SaveProgress(std::int64_t id, std::int64_t at_device, int tasks);

  // One verdict of an answer to a request 'explain'. `when` is wall time.
  Status Explain(std::int64_t request, std::string_view plan, int seq, std::string_view rule,
                 bool ok, std::string_view reason, std::string_view value, std::string_view limit,
                 std::optional<core::Instant> when);

  // Makes the table of zones hold exactly `names`.
  Status SetZones(std::span<const std::string> names);
  // Makes the table of dialects hold these, too.
  Status AddDialects(std::set<std::string> names);

  // -- logins
  // Devices after `after` in the order of product and name; fewer than `limit`: that was the end.
  core::Result<std::vector<LoginRow>> LoginsAfter(const core::DeviceKey& after, int limit);
  // Nothing: people know no such device.
  core::Result<std::optional<LoginRow>> LoadLogin(const core::DeviceKey& key);
  // Binds a device to a gateway (product/name), in place of another one; unbinds it from this one.
  Status Bind(const core::DeviceKey& key, const std::string& gateway);
  Status Unbind(const core::DeviceKey& key, const std::string& gateway);
  // Which devices are behind a gateway, by the word of people or its own; at most `limit`.
  core::Result<std::vector<core::DeviceKey>> SubDevices(const std::string& gateway, int limit);
  core::Result<bool> HasSecrets();

  // -- packages
  core::Result<std::vector<PackageFile>> PackageFiles();
  // Writes the second half of `file`. Gives its id: a new one when its path or its digest is
  // another than before.
  core::Result<std::int64_t> SavePackageState(const PackageFile& file);
  // Forgets what was found about files that people have taken out.
  Status ForgetGoneFiles();

  // -- upkeep
  Status SaveHealth(const Health& health);
  // Deletes at most `limit` rows each of log, journal and answered requests older than `before`.
  // Gives how many went: 0 when there is nothing left to do. A row with a time after the last
  // commit was stamped by a clock that was ahead: it goes when the first row after it without such
  // a time is older than `before`. So a clock that was ahead makes rows stay longer, at most as
  // long again, and deletes none early.
  core::Result<int> Prune(core::Instant before, int limit);
  std::int64_t WalBytes() const;

  struct Impl;

 private:
  friend class Savepoint;
  // Ends the innermost event; true: it has written.
  bool EndEvent();
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ota::store
