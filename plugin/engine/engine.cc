#include "engine/engine.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "engine/fault_point.h"
#include "engine/lock_holders.h"
#include "engine/windows.h"
#include "package/threads.h"

namespace ota::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// How often the engine looks what other processes have committed: people expect an import to act
// within a second.
constexpr milliseconds kPoll{250};
// Between two turns of work for many devices: other programs look for the write lock only now and
// then, and would find it taken for ever.
constexpr milliseconds kRest{10};
constexpr seconds kReopen{5};        // after a fault of the data
constexpr seconds kRetry{1};         // after a commit that failed
constexpr seconds kFaultLine{60};    // one log line a minute says what is wrong
constexpr seconds kLockLine{5};      // a lock that is held as long is logged
constexpr seconds kLockPassive{60};  // ... and as long as this, uplinks get 503
constexpr seconds kStop{4};          // of the 5 s that the shutdown may take
constexpr seconds kSeen{60};         // last seen is written at the latest after this
constexpr std::size_t kSeenSlice = 500;
constexpr int kDeadlineSlice = 200;
constexpr int kPruneSlice = 500;
constexpr std::size_t kScanSlice = 200;
constexpr seconds kTelemetry{10};  // a device's values are taken once in this time
constexpr std::size_t kTelemetrySlice = 200;
// What a site should know before it stands still.
constexpr std::int64_t kLowDisk = std::int64_t{64} * 1024 * 1024;
constexpr std::int64_t kLateUplinkMs = 10'000;
constexpr seconds kHealth{10};
constexpr seconds kHealthIdle{120};
constexpr std::int64_t kWalLimit = std::int64_t{64} * 1024 * 1024;

std::string Seconds(core::Duration duration) {
  return std::to_string(std::chrono::duration_cast<seconds>(duration).count()) + " s";
}

// The directory of the database is the administrator's to make: a mistake here stops the broker at
// start.
core::Result<void> CheckDirectory(const std::string& database) {
  const std::string directory = std::filesystem::path(database).parent_path().string();
  struct stat facts {};
  if (::stat(directory.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode)) {
    return core::Fail(
        core::ErrorCode::kInvalidArgument,
        "option database: the directory '" + directory +
            "' does not exist or cannot be entered; make it, writable for the broker's user");
  }
  if (::access(directory.c_str(), W_OK | X_OK) != 0 && errno != EROFS) {
    return core::Fail(
        core::ErrorCode::kInvalidArgument,
        "option database: the directory '" + directory +
            "' is not writable for the broker's user: " + std::generic_category().message(errno));
  }
  return {};
}

// A disk that is full, or that the kernel has made read-only because of its errors, is no mistake
// of the configuration.
bool DiskRefuses(const std::string& database) {
  struct statvfs disk {};
  return ::statvfs(std::filesystem::path(database).parent_path().c_str(), &disk) == 0 &&
         ((disk.f_flag & ST_RDONLY) != 0 || disk.f_bavail == 0);
}

}  // namespace

Engine::Engine(Options options, Inbox& inbox, Outbox& outbox, std::function<std::uint64_t()> ticks,
               std::function<ClockReading()> clocks)
    : options_(std::move(options)),
      inbox_(inbox),
      outbox_(outbox),
      ticks_(std::move(ticks)),
      clocks_(std::move(clocks)),
      logins_(options_.secret_key, outbox),
      topology_(outbox) {}

core::Result<std::unique_ptr<Engine>> Engine::Start(const Options& options, Inbox& inbox,
                                                    Outbox& outbox,
                                                    std::function<std::uint64_t()> ticks,
                                                    std::function<ClockReading()> clocks) {
  const package::AllSignalsBlocked blocked;
  std::unique_ptr<Engine> engine(
      new Engine(options, inbox, outbox, std::move(ticks), std::move(clocks)));
  if (auto directory = CheckDirectory(options.database); !directory) {
    return tl::unexpected(directory.error());
  }
  auto lock = store::TakeLock(options.database);
  if (lock) {
    engine->lock_.emplace(std::move(*lock));
  } else if (!DiskRefuses(options.database)) {
    return tl::unexpected(lock.error());
  }
  auto downloads = Downloads::Start(options, inbox, outbox);
  if (!downloads) {
    return tl::unexpected(downloads.error());
  }
  engine->downloads_ = std::move(*downloads);
  engine->exchange_ =
      std::make_unique<Exchange>(engine->connections_, engine->downloads_->delivery());
  engine->plans_ = std::make_unique<Plans>(*engine->exchange_, engine->connections_);
  engine->thread_ = std::thread(&Engine::Run, engine.get());
  return engine;
}

Engine::~Engine() {
  Stop();
}

bool Engine::Bind(TopologyRequest request) {
  return !passive() && inbox_.TryPost([this, request = std::move(request)]() mutable {
    topology_.Add(std::move(request));
  });
}

void Engine::Stop() {
  if (!stopping_.load()) {
    stop_at_.store((steady_clock::now() + kStop).time_since_epoch().count());
    stopping_.store(true);
  }
  inbox_.Stop();
  outbox_.Stop();
  if (thread_.joinable()) {
    thread_.join();
  }
  if (downloads_) {
    downloads_->Stop();
  }
}

// ---------------------------------------------------------------- the loop

void Engine::Run() {
  while (true) {
    // A commit that failed is not tried again in a hurry: the disk is full, or worse.
    Take(fault_.empty() ? steady_clock::duration(kPoll) : steady_clock::duration(kRetry));
    if (end_broker_ && ticks_() > 0) {
      // Not before the broker runs: it would die of the signal, and the log line with it.
      end_broker_ = false;
      ::kill(::getpid(), SIGTERM);
    }
    ServeBlocks();
    const bool stopping = stopping_.load();
    if (store_ == nullptr && !Open()) {
      Refuse();
      if (stopping) {
        return;
      }
      continue;
    }
    if (fault_.empty() || stopping || steady_clock::now() >= retry_at_) {
      store::Status status = Turn();
      if (!status) {
        Fault(status.error());
      } else if (!fault_.empty()) {
        Recovered();
      }
    }
    if (last_turn_ || (stopping && (!fault_.empty() || PastStop()))) {
      return;
    }
  }
}

// Takes what is there, or waits for it. While a batch is in hand no further uplinks are taken.
void Engine::Take(steady_clock::duration wait) {
  const bool may = !last_turn_ && fault_.empty();
  const bool more =
      may && (!arrivals_.empty() || plans_->stale() || read_journal_ || !telemetry_.empty());
  const bool works = may && (plans_->busy() || prune_more_ || logins_.busy() || topology_.busy());
  const Monotonic now = steady_clock::now();
  Monotonic until = now + (more ? steady_clock::duration(0) : works ? kRest : wait);
  if (fault_.empty() && timeline_) {
    const core::Instant steady = Timeline(*timeline_).Read(clocks_()).now.steady;
    for (const auto& at : {next_deadline_, plans_->next_slot(), exchange_->bursts().Next()}) {
      if (at) {
        until = std::min(until, now + std::max(*at - steady, core::Duration(0)));
      }
    }
  }
  if (const auto block = downloads_->next_block()) {
    until = std::min(until, *block);
  }
  const bool full = outbox_.Full() && !stopping_.load();
  if (full) {
    // Nothing is decided that could not be said.
    wake_all_ = true;
    outbox_.WaitForRoom(now + kPoll);
    until = now;
  }
  Batch batch = inbox_.Take(until, arrivals_.empty() && !full ? kBatchArrivals : 0);
  std::vector<core::DeviceKey> gone;
  for (PresenceChange& change : batch.presence) {
    if (change.connection == 0) {
      gone.push_back(change.device);
    }
    connections_.Apply(change.device, change.connection, std::move(change.client));
  }
  if (!gone.empty() && plans_) {
    plans_->Look(gone);  // what waits for them waits for their return now
  }
  for (const Undelivered& undelivered : batch.undelivered) {
    const Connection* connection = connections_.Find(undelivered.device);
    if (connection != nullptr && connection->generation == undelivered.connection) {
      connections_.Edit(undelivered.device)->owed = 0;
    }
  }
  connections_.Keep();
  for (const std::function<void()>& event : batch.events) {
    event();
  }
  if (batch.reload) {
    for (LogLine& line : downloads_->Reload(options_)) {
      outbox_.Log(line.level, std::move(line.text));
    }
    exchange_->SetKey(downloads_->delivery().key);
    logins_.Reload();
    reload_files_ = true;
  }
  if (!batch.arrivals.empty()) {
    arrivals_ = std::move(batch.arrivals);
    decoded_ = Decode(arrivals_);
  }
  last_turn_ = last_turn_ || (batch.stop && arrivals_.empty());
}

bool Engine::PastStop() const {
  return steady_clock::now().time_since_epoch().count() > stop_at_.load();
}

bool Engine::MayWait(bool first) {
  if (stopping_.load() && PastStop()) {
    return false;
  }
  const auto now = clocks_().monotonic;
  if (first) {
    lock_since_ = now;
    lock_said_ = core::Duration(0);
  }
  const auto waited = std::chrono::duration_cast<core::Duration>(now - lock_since_);
  if (waited - lock_said_ >= (lock_said_ == core::Duration(0) ? kLockLine : kFaultLine)) {
    lock_said_ = waited;
    Say(LogLevel::kWarning, "the database is locked by another process for " + Seconds(waited) +
                                " now: " + LockHolders(options_.database) + "; uplinks wait");
  }
  if (waited >= kLockPassive) {
    Unable();
    passive_.store(true);
  }
  return true;
}

// From now on devices cannot be heard: their deadlines rest.
void Engine::Unable() {
  if (timeline_ && !unable_since_) {
    unable_since_ = Timeline(*timeline_).Read(clocks_()).now.steady;
  }
}

bool Engine::Open() {
  const Monotonic monotonic = steady_clock::now();
  if (!fault_.empty() && monotonic < next_second_ && !last_turn_) {
    return false;
  }
  next_second_ = monotonic + kReopen;
  if (!lock_) {
    auto lock = store::TakeLock(options_.database);
    if (!lock) {
      Fault(lock.error());
      return false;
    }
    lock_.emplace(std::move(*lock));
  }
  const ClockReading clocks = clocks_();
  store::Options options;
  options.wait = [this](core::Duration waited) { return MayWait(waited == core::Duration(0)); };
  options.check_package = [this](const std::string& product, const std::string& public_key,
                                 const core::Package& package) {
    return signatures_.Check(product, public_key, package);
  };
  options.durable = options_.durability == Durability::kFull;
  auto opened = store::Store::Open(options_.database, clocks.wall, std::move(options));
  if (!opened) {
    Fault(opened.error());
    return false;
  }
  store_ = std::move(*opened);
  const store::Opening& opening = store_->opening();
  const core::Instant last = opening.last_commit.value_or(clocks.wall);
  if (!timeline_) {
    timeline_.emplace(last, clocks);
    started_ = clocks.wall;
  } else {
    timeline_->Committed(last);
  }
  if (opening.created) {
    Say(LogLevel::kNotice, "database '" + options_.database + "' made");
  }
  if (opening.migrated_from != 0) {
    Say(LogLevel::kNotice, "database migrated from schema " +
                               std::to_string(opening.migrated_from) + " to " +
                               std::to_string(store::SchemaVersion()) + "; a copy of before is '" +
                               opening.backup.string() + "'");
  }
  if (opening.restored) {
    std::string plans;
    for (const std::string& plan : opening.held) {
      plans += (plans.empty() ? "'" : ", '") + plan + "'";
    }
    Say(LogLevel::kWarning,
        "audit " + opening.restored_reason +
            "; plans held until `otactl release`: " + (plans.empty() ? "none" : plans));
  }
  data_version_ = -1;
  reload_catalogue_ = reload_files_ = read_journal_ = true;
  next_deadline_.reset();
  connections_.Reopened();
  exchange_->Reopened();
  plans_->Reopened();
  zones_ = false;
  logins_.Reload();
  ReserveDescriptors();
  return true;
}

void Engine::Fault(const core::Error& error) {
  const Monotonic now = steady_clock::now();
  Unable();
  passive_.store(true);
  retry_at_ = now + kRetry;
  const bool first = fault_.empty();
  if (error.message != fault_ || now - fault_said_ >= kFaultLine) {
    fault_said_ = now;
    Say(LogLevel::kError,
        error.message +
            "; OTA uplinks get 503 until this is repaired, the broker serves everything else");
  }
  fault_ = error.message;
  if (error.code != core::ErrorCode::kUnavailable) {
    store_.reset();
    next_second_ = now + kReopen;
  }
  if (first && options_.on_database_fault == OnDatabaseFault::kStop && !stopping_.load()) {
    Say(LogLevel::kError, "option on_database_fault is stop: the broker ends");
    end_broker_ = true;
  }
}

// Without a database nothing that was taken can be kept: the devices send it again.
void Engine::Refuse() {
  for (const Decoded& decoded : decoded_) {
    exchange_->Unavailable(decoded);
  }
  outbox_.Push(std::move(exchange_->outcome().messages));
  exchange_->Undone();
  inbox_.Done(arrivals_);
  decoded_.clear();
  arrivals_.clear();
}

void Engine::Recovered() {
  Say(LogLevel::kNotice, "the database can be used again");
  fault_.clear();
  wake_all_ = true;
}

// ---------------------------------------------------------------- one transaction

bool Engine::IsDue(Monotonic now) {
  if (auto version = store_->DataVersion(); version && *version != data_version_) {
    data_version_ = *version;
    read_journal_ = true;
  }
  const Timeline::Reading reading = Timeline(*timeline_).Read(clocks_());
  const core::Now& time = reading.now;
  return !arrivals_.empty() || reload_catalogue_ || reload_files_ || read_journal_ || wake_all_ ||
         last_turn_ || plans_->busy() || plans_->stale() || logins_.busy() || topology_.busy() ||
         downloads_->has_findings() || downloads_->has_signs() || prune_more_ ||
         time.trusted != was_trusted_ || reading.shift != core::Duration(0) ||
         now >= next_minute_ || now >= next_health_ ||
         (exchange_->unwritten_seen() > 0 && now >= seen_flush_) ||
         (exchange_->bursts().Next() && *exchange_->bursts().Next() <= time.steady) ||
         (next_deadline_ && *next_deadline_ <= time.steady) ||
         (plans_->next_slot() && *plans_->next_slot() <= time.steady) ||
         (next_change_ && *next_change_ <= time.wall) ||
         (scan_.next() && *scan_.next() <= time.wall) || !telemetry_.empty() ||
         (telemetry_table_ && !telemetry_table_->empty() && now >= next_telemetry_) || !zones_;
}

store::Status Engine::Turn() {
  const Monotonic monotonic = steady_clock::now();
  if (monotonic >= next_look_ && store_->Replaced()) {
    exchange_->Undone();
    plans_->Undone();
    downloads_->Undone();
    return core::Fail(
        core::ErrorCode::kCorruption,
        "database '" + options_.database + "' was removed or replaced while the broker runs");
  }
  if (monotonic >= next_look_) {
    next_look_ = monotonic + kPoll;
  }
  if (!IsDue(monotonic)) {
    passive_.store(false);
    return {};
  }
  lock_said_ = core::Duration(0);
  if (auto status = store_->Begin(); !status) {
    return status;
  }
  // After the lock was waited for.
  Timeline trial = *timeline_;
  const Timeline::Reading reading = trial.Read(clocks_());
  core::Duration shift = reading.shift;
  if (unable_since_ && reading.now.steady - *unable_since_ > Timeline::kJump) {
    shift += reading.now.steady - *unable_since_;
  }
  store::Status status;
  if (shift != core::Duration(0)) {
    status = store_->ShiftDeadlines(shift);
  }
  if (shift != core::Duration(0)) {
    reconcile_ = true;  // windows and dates follow the wall clock
  }
  if (status) {
    status = TurnInside(reading.now, trial);
  }
  if (status) {
    status = Upkeep(reading.now, monotonic);
  }
  if (status) {
    OTA_FAULT_POINT("decided");
    status = store_->Commit(std::max(reading.now.wall, trial.floor()));
  }
  if (!status) {
    store_->Rollback();
    topology_.Undone();
    exchange_->Undone();
    plans_->Undone();
    downloads_->Undone();
    reload_catalogue_ = reload_files_ = read_journal_ = true;
    wake_all_ = true;
    telemetry_at_ = 0;
    zones_ = false;
    return status;
  }
  timeline_ = trial;
  timeline_->Committed(reading.now.wall);
  unable_since_.reset();
  if (shift != core::Duration(0)) {
    Say(LogLevel::kWarning,
        "the clock was set, the broker was away, or the database could not be used: deadlines of "
        "open tasks moved by " +
            Seconds(shift));
  }
  if (!reading.now.trusted && was_trusted_) {
    Say(LogLevel::kWarning,
        "the clock shows a time before the last commit: nothing is offered until it is right, or "
        "`otactl release` "
        "says that it is");
  }
  was_trusted_ = reading.now.trusted;
  passive_.store(false);
  if (!exchange_->outcome().messages.empty()) {
    OTA_FAULT_POINT("committed");
  }
  Send();
  return {};
}

store::Status Engine::LoadCatalogue(core::Now now) {
  auto loaded = store_->LoadCatalogue();
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  catalogue_ = std::move(*loaded);
  reload_catalogue_ = false;
  reconcile_ = true;
  if (telemetry_table_ != nullptr || !catalogue_->telemetry.empty()) {
    telemetry_table_ = std::make_shared<const TelemetryTable>(catalogue_->telemetry);
    inbox_.SetTelemetry(telemetry_table_);
  }
  held_.emplace();
  if (catalogue_->holds) {
    auto held = store_->HeldDevices(now.wall);
    if (!held) {
      return tl::unexpected(held.error());
    }
    held_->insert(held->begin(), held->end());
  }
  const std::int64_t rate = catalogue_->settings.download_bytes_per_second;
  downloads_->SetBytesPerSecond(rate != 0 ? rate : options_.download_bytes_per_second);
  exchange_->Begin(*store_, catalogue_, now);
  logins_.SetProducts(*catalogue_);
  return {};
}

// What gateways say of their sub-devices.
store::Status Engine::Bindings() {
  auto changed = topology_.Work(*store_);
  if (!changed) {
    return tl::unexpected(changed.error());
  }
  logins_.Changed(*changed);
  return {};
}

// What other people and the workers have changed.
store::Status Engine::Changes(core::Now now, Timeline& timeline) {
  bool changed = false;
  if (read_journal_) {
    auto journal = plans_->ReadJournal(*store_);
    if (!journal) {
      return tl::unexpected(journal.error());
    }
    reload_files_ = reload_files_ || journal->files;
    logins_.Changed(journal->devices);
    if (journal->catalogue) {
      if (auto status = LoadCatalogue(now); !status) {
        return status;
      }
      if (auto status = plans_->Match(*store_); !status) {
        return status;
      }
    }
    auto answered = plans_->AnswerRequests(*store_, now, timeline);
    if (!answered) {
      return tl::unexpected(answered.error());
    }
    read_journal_ = journal->again || *answered == Plans::kRequestSlice || plans_->more_requests();
    changed = *answered > 0;
  }
  if (reload_files_) {
    if (auto status = downloads_->Refresh(*store_, now); !status) {
      return status;
    }
    reload_files_ = false;
    changed = true;
  }
  auto found = downloads_->SaveFindings(*store_, now);
  if (!found) {
    return tl::unexpected(found.error());
  }
  if (*found) {
    plans_->Wake("");
    changed = true;
  }
  return changed ? LoadCatalogue(now) : store::Status{};
}

// What the wall clock has brought, and what people want of plans.
store::Status Engine::NoteTime(core::Now now) {
  if (!reconcile_ && !(next_change_ && *next_change_ <= now.wall) && now.trusted == was_trusted_) {
    return {};
  }
  auto reconciled = plans_->Reconcile(*store_, now);
  if (!reconciled) {
    return tl::unexpected(reconciled.error());
  }
  if (*reconciled) {
    if (auto status = LoadCatalogue(now); !status) {
      return status;
    }
  }
  reconcile_ = false;
  if (auto status = plans_->NoteTime(*store_, now); !status) {
    return status;
  }
  auto next = plans_->NextChange(*store_, now);
  if (!next) {
    return tl::unexpected(next.error());
  }
  next_change_ = *next;
  return {};
}

store::Status Engine::Arrivals(core::Now now) {
  for (const Decoded& decoded : decoded_) {
    auto status = exchange_->Try(
        decoded.arrival->device, [&] { return exchange_->Uplink(decoded); },
        [&] { exchange_->Unavailable(decoded); });
    if (!status) {
      return status;
    }
  }
  const core::Instant settled = last_turn_ ? core::Instant::max() : now.steady;
  for (const core::DeviceKey& key : exchange_->bursts().Due(settled, kBatchArrivals)) {
    auto status = exchange_->Try(key, [&] { return exchange_->Settle(key); });
    if (!status) {
      return status;
    }
  }
  for (const auto& [device, file] : downloads_->TakeSigns()) {
    const core::DeviceKey* key = connections_.FindDevice(device);
    if (key == nullptr) {
      continue;
    }
    const core::DeviceKey copy = *key;
    if (auto status = exchange_->Try(copy, [&, id = file] { return exchange_->Sign(copy, id); });
        !status) {
      return status;
    }
  }
  return {};
}

store::Status Engine::Deadlines(core::Now now) {
  // What has arrived may show that a device is in time.
  if (inbox_.depth().messages != arrivals_.size()) {
    return {};
  }
  auto due = store_->DueDevices(now.steady, kDeadlineSlice);
  if (!due) {
    return tl::unexpected(due.error());
  }
  for (const store::DeviceRef& device : *due) {
    auto status = exchange_->Try(device.key, [&] { return exchange_->Deadline(device.key); });
    if (!status) {
      return status;
    }
  }
  return {};
}

// The safety net: nothing but this looks at devices for whom nothing has happened.
store::Status Engine::Scan(core::Now now) {
  const store::Settings& settings = catalogue_->settings;
  for (const core::DeviceKey& key :
       scan_.Take(now.wall, settings.scan, settings.scan_jitter, kScanSlice,
                  [this] { return connections_.Waiting(); })) {
    if (auto status = exchange_->Try(key, [&] { return exchange_->Next(key); }); !status) {
      return status;
    }
  }
  return {};
}

store::Status Engine::Telemetry() {
  if (telemetry_table_ == nullptr) {
    return {};
  }
  const Monotonic monotonic = steady_clock::now();
  if (telemetry_.empty() && monotonic >= next_telemetry_) {
    next_telemetry_ = monotonic + kTelemetry;
    Inbox::Telemetry taken = inbox_.TakeTelemetry();
    if (taken.dropped > 0) {
      Say(LogLevel::kWarning, std::to_string(taken.dropped) +
                                  " messages of telemetry were too long, or too many at once, and "
                                  "were not looked at");
    }
    telemetry_.assign(std::make_move_iterator(taken.messages.begin()),
                      std::make_move_iterator(taken.messages.end()));
  }
  const std::size_t end = std::min(telemetry_.size(), kTelemetrySlice);
  for (telemetry_at_ = 0; telemetry_at_ < end; ++telemetry_at_) {
    const auto& [topic, payload] = telemetry_[telemetry_at_];
    for (const TelemetryTable::Reading& one : telemetry_table_->Read(topic, payload)) {
      auto status = exchange_->Try(
          one.device, [&] { return exchange_->Measured(one.device, one.value, one.number); });
      if (!status) {
        return status;
      }
    }
  }
  return {};
}

store::Status Engine::TurnInside(core::Now now, Timeline& timeline) {
  const bool full = outbox_.Full();
  exchange_->SetOutboxFull(full);
  if (plans_->TakeStale() || reload_catalogue_ || catalogue_ == nullptr) {
    if (auto status = LoadCatalogue(now); !status) {
      return status;
    }
  }
  exchange_->Begin(*store_, catalogue_, now);
  if (!zones_) {
    if (auto status = store_->SetZones(ZoneNames()); !status) {
      return status;
    }
    zones_ = true;
  }
  store::Status status = Changes(now, timeline);
  status = status ? NoteTime(now) : status;
  // Who has waited longer goes before who arrives.
  status = status && !full ? plans_->Proceed(*store_, now) : status;
  status = status ? Arrivals(now) : status;
  status = status ? Deadlines(now) : status;
  status = status ? Telemetry() : status;
  status = status ? Bindings() : status;
  status = status ? logins_.Work(*store_) : status;
  if (!status) {
    return status;
  }
  if ((wake_all_ && !full) || now.trusted != was_trusted_) {
    plans_->Wake("");
    wake_all_ = false;
  }
  if (!full) {
    status = Scan(now);
    status = status ? plans_->Work(*store_, now) : status;
    status = status ? plans_->Proceed(*store_, now) : status;
  }
  return status ? plans_->CheckHalts(*store_, now) : status;
}

store::Status Engine::Upkeep(core::Now now, Monotonic monotonic) {
  if (monotonic >= seen_flush_ || last_turn_ || exchange_->unwritten_seen() > kSeenSlice * 200) {
    const std::size_t limit = last_turn_ ? exchange_->unwritten_seen() : kSeenSlice;
    if (auto status = exchange_->FlushSeen(limit); !status) {
      return status;
    }
    if (exchange_->unwritten_seen() <= limit) {
      seen_flush_ = monotonic + kSeen;
    }
  }
  if (monotonic >= next_minute_ || prune_more_) {
    if (monotonic >= next_minute_) {
      next_minute_ = monotonic + seconds(60);
      downloads_->Check();
    }
    // A clock that is not trusted must not delete what is young.
    prune_more_ = false;
    if (now.trusted) {
      const auto age = std::chrono::hours(24) * catalogue_->settings.log_days;
      auto pruned =
          store_->Prune(now.wall - std::chrono::duration_cast<core::Duration>(age), kPruneSlice);
      if (!pruned) {
        return tl::unexpected(pruned.error());
      }
      prune_more_ = *pruned > 0;
    }
    if (const std::int64_t wal = store_->WalBytes(); wal > kWalLimit) {
      Say(LogLevel::kWarning, "the write-ahead log of the database has grown to " +
                                  std::to_string(wal / 1048576) +
                                  " MiB: another process holds a read transaction open: " +
                                  LockHolders(options_.database));
    }
  }
  SaveHealth(now);
  auto next = store_->NextDeadline();
  if (!next) {
    return tl::unexpected(next.error());
  }
  next_deadline_ = *next;
  if (next_deadline_ && *next_deadline_ <= now.steady && !store_->wrote()) {
    next_deadline_ = now.steady + seconds(1);  // it moved nobody: do not ask again at once
  }
  return {};
}

// What people have stopped or held is cut, once that is committed.
void Engine::ObeyBrakes() {
  const std::optional<std::string>& stopped = catalogue_->settings.stopped;
  if (stopped != stopped_) {
    stopped_ = stopped;
    Say(LogLevel::kWarning, stopped ? "audit everything is stopped: " + *stopped +
                                          "; downloads are cut, nothing is offered"
                                    : "audit everything goes on");
  }
  downloads_->SetServing(!stopped);
  if (held_) {
    downloads_->SetHeld(std::move(*held_));
    held_.reset();
  }
}

// One line when something becomes wrong, and one when nothing is any more.
void Engine::Judge(const store::Health& health) {
  std::string unwell;
  const auto add = [&](bool wrong, const std::string& what) {
    if (wrong) {
      unwell += (unwell.empty() ? "" : "; ") + what;
    }
  };
  add(health.oldest_uplink_ms > kLateUplinkMs, "uplinks wait for more than 10 s");
  add(outbox_.Full(), "the outbox is full");
  add(health.wal_bytes > kWalLimit, "the write-ahead log is longer than 64 MiB");
  add(health.free_bytes < kLowDisk, "less than 64 MiB are free on the database's disk");
  if (unwell != unwell_) {
    unwell_ = unwell;
    Say(unwell.empty() ? LogLevel::kNotice : LogLevel::kWarning,
        "health: " + (unwell.empty() ? "well again" : unwell));
  }
}

// MQTT clients find their descriptors before downloads do.
void Engine::ReserveDescriptors() {
  if (auto devices = store_->RegisteredDevices()) {
    downloads_->SetReserved(*devices);
  }
}

void Engine::SaveHealth(core::Now now) {
  const Monotonic monotonic = steady_clock::now();
  if (monotonic < next_health_ && !last_turn_) {
    return;
  }
  next_health_ = monotonic + kHealth;
  const Inbox::Depth depth = inbox_.depth();
  store::Health health;
  health.at = now.wall;
  health.pid = ::getpid();
  health.started = started_;
  health.connected = static_cast<std::int64_t>(connections_.size());
  health.inbox = static_cast<std::int64_t>(depth.messages);
  health.outbox_bytes = static_cast<std::int64_t>(outbox_.Bytes());
  if (depth.oldest != Monotonic::max()) {
    health.oldest_uplink_ms =
        std::chrono::duration_cast<milliseconds>(monotonic - depth.oldest).count();
  }
  health.ticks = static_cast<std::int64_t>(ticks_());
  health.wal_bytes = store_->WalBytes();
  struct statvfs disk {};
  if (::statvfs(options_.database.c_str(), &disk) == 0) {
    health.free_bytes =
        static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
  }
  health.last_error = fault_;
  Judge(health);
  ReserveDescriptors();
  // An idle site writes nothing but a sign of life now and then.
  const bool same = health_ && health_->connected == health.connected &&
                    health_->last_error == health.last_error && health.inbox == 0 &&
                    now.wall - health_->at < kHealthIdle;
  if (same && !store_->wrote() && !last_turn_) {
    return;
  }
  if (store_->SaveHealth(health)) {
    health_ = health;
  }
}

void Engine::ServeBlocks() {
  downloads_->ServeDue([this](const BlockJob& job) {
    const Connection* connection = connections_.Find(job.envelope.device);
    return connection != nullptr && connection->generation == job.envelope.connection;
  });
}

void Engine::Send() {
  Outcome& outcome = exchange_->outcome();
  for (LogLine& line : outcome.log) {
    outbox_.Log(line.level, std::move(line.text));
  }
  if (!outcome.messages.empty()) {
    outbox_.Push(std::move(outcome.messages));
  }
  for (BlockJob& job : outcome.blocks) {
    downloads_->Serve(std::move(job));
  }
  ServeBlocks();
  topology_.Committed();
  exchange_->Committed();
  plans_->Committed();
  downloads_->Committed();
  ObeyBrakes();
  telemetry_.erase(telemetry_.begin(),
                   telemetry_.begin() + static_cast<std::ptrdiff_t>(telemetry_at_));
  telemetry_at_ = 0;
  if (!arrivals_.empty()) {
    inbox_.Done(arrivals_);
    decoded_.clear();
    arrivals_.clear();
  }
}

}  // namespace ota::engine
