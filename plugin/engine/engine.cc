#include "engine/engine.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <future>
#include <system_error>

#include "engine/lock_holders.h"
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
                                                    std::function<ClockReading()> clocks,
                                                    Descriptors descriptors) {
  const package::AllSignalsBlocked blocked;
  store::KeepNoMemoryStatistics();
  std::unique_ptr<Engine> engine(
      new Engine(options, inbox, outbox, std::move(ticks), std::move(clocks)));
  std::promise<core::Result<void>> prepared;
  auto outcome = prepared.get_future();
  engine->thread_ =
      std::thread([self = engine.get(), descriptors, prepared = std::move(prepared)]() mutable {
        package::YieldToBroker();
        self->own_descriptors_ = descriptors == Descriptors::kOwn && package::OwnDescriptors();
        bool runs = false;
        try {
          core::Result<void> done = self->Prepare();
          runs = done.has_value();
          prepared.set_value(std::move(done));
        } catch (...) {  // no thread, no memory: for the caller
          prepared.set_exception(std::current_exception());
        }
        if (runs) {
          self->Run();
        }
        self->Close();
      });
  if (auto done = outcome.get(); !done) {
    return tl::unexpected(std::move(done.error()));
  }
  return engine;
}

Engine::~Engine() {
  Stop();
}

bool Engine::Bind(TopologyRequest request) {
  if (passive() || !topology_.Reserve()) {
    return false;
  }
  const bool posted = inbox_.TryPost(
      [this, request = std::move(request)]() mutable { topology_.Add(std::move(request)); });
  if (!posted) {
    topology_.Release();
  }
  return posted;
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
}

// ---------------------------------------------------------------- the loop

core::Result<void> Engine::Prepare() {
  if (auto directory = CheckDirectory(options_.database); !directory) {
    return directory;
  }
  auto lock = store::TakeLock(options_.database);
  if (lock) {
    lock_.emplace(std::move(*lock));
  } else if (!DiskRefuses(options_.database)) {
    return tl::unexpected(std::move(lock.error()));
  }
  auto downloads = Downloads::Start(options_, inbox_, outbox_);
  if (!downloads) {
    return tl::unexpected(std::move(downloads.error()));
  }
  downloads_ = std::move(*downloads);
  exchange_ = std::make_unique<Exchange>(connections_, downloads_->delivery(), inbox_.unchanged());
  plans_ = std::make_unique<Plans>(*exchange_, connections_);
  return {};
}

// What has descriptors ends where it was made.
void Engine::Close() {
  plans_.reset();
  exchange_.reset();
  store_.reset();
  downloads_.reset();
  lock_.reset();
}

void Engine::Run() {
  for (bool goes_on = true; goes_on;) {
    try {
      goes_on = Round();
    } catch (const std::exception& exception) {  // no memory; it would end the broker
      goes_on = !stopping_.load();
      try {
        if (store_ != nullptr) {
          Abandon();
        }
        Fault({core::ErrorCode::kInternal, std::string("the engine: ") + exception.what()});
      } catch (const std::exception&) {  // not even for this: the next round says it
        std::this_thread::sleep_for(kRest);
      }
    }
  }
}

// Gives false at the end.
bool Engine::Round() {
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
    return !stopping;
  }
  if (fault_.empty() || stopping || steady_clock::now() >= retry_at_) {
    store::Status status = Turn();
    if (!status && one_by_one_) {
      status = Turn();
    }
    if (!status) {
      Fault(status.error());
    } else if (!fault_.empty()) {
      Recovered();
    }
  }
  return !last_turn_ && !(stopping && (!fault_.empty() || PastStop()));
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
    if (!silent_.empty()) {
      until = std::min(until, silent_.begin()->first);
    }
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
  if (!batch.arrivals.empty()) {
    arrivals_ = std::move(batch.arrivals);  // at once: they are in the devices' shares
  }
  std::vector<core::DeviceKey> gone;
  for (PresenceChange& change : batch.presence) {
    if (change.connection == 0) {
      gone.push_back(change.device);
    }
    connections_.Apply(change.device, change.connection, std::move(change.client));
    const seconds silence = change.connection == 0 || catalogue_ == nullptr
                                ? seconds(0)
                                : exchange_->SilenceOf(change.device);
    if (silence > seconds(0)) {
      silent_.emplace(now + silence, std::pair(std::move(change.device), change.connection));
    }
  }
  if (!gone.empty() && plans_) {
    plans_->Look(gone);  // what waits for them waits for their return now
  }
  for (const Undelivered& undelivered : batch.undelivered) {
    const Connection* connection = connections_.Find(undelivered.device);
    if (connection != nullptr && connection->owed == undelivered.connection) {
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
  if (decoded_.empty() && !arrivals_.empty()) {
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

// The process was stopped (a container that is paused), or had no processor or no disk: what
// devices have sent since waits in their sockets, behind the deadlines that ended meanwhile.
void Engine::NoteStandstill(Monotonic now) {
  const auto stood = std::chrono::duration_cast<core::Duration>(now - awake_);
  if (stood > Timeline::kJump && !unable_since_) {
    unable_since_ = Timeline(*timeline_).Read(clocks_()).now.steady - stood;
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
  options.may_create = !timeline_;  // else there was one
  options.truncated = truncated_;
  options.durable = options_.durability == Durability::kFull;
  auto opened = store::Store::Open(options_.database, clocks.wall, std::move(options));
  if (!opened) {
    Fault(opened.error());
    return false;
  }
  store_ = std::move(*opened);
  truncated_ = false;
  short_since_.reset();
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
  awake_ = steady_clock::now();
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

}  // namespace ota::engine
