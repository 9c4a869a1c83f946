// One transaction of the engine: what is due, in which order, and what keeps the house.
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "engine/engine.h"
#include "engine/fault_point.h"
#include "engine/lock_holders.h"
#include "engine/windows.h"

namespace ota::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// How often the engine looks whether another file stands in the database's place.
constexpr milliseconds kLook{250};
// Another program's checkpoint leaves the file shorter than its header says for less than this.
constexpr seconds kShort{2};
constexpr seconds kSeen{60};  // last seen is written this often, a slice in each turn
constexpr std::size_t kSeenSlice = 500;
constexpr std::size_t kSeenAtStop = 20'000;  // of more devices it stays up to a minute old
constexpr std::size_t kMostUnwritten = 100'000;
constexpr int kDeadlineSlice = 200;
constexpr int kPruneSlice = 500;
constexpr std::size_t kScanSlice = 200;
constexpr std::ptrdiff_t kSilentSlice = 200;
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

// On the disk of `file`; 0 when nobody can say.
std::int64_t FreeBytes(const std::string& file) {
  struct statvfs disk {};
  return ::statvfs(file.c_str(), &disk) != 0
             ? 0
             : static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
}

}  // namespace

bool Engine::IsDue(Monotonic now) {
  if (auto version = store_->DataVersion(); version && *version != data_version_) {
    data_version_ = *version;
    read_journal_ = true;
    exchange_->EndRepeated();
  }
  const Timeline::Reading reading = Timeline(*timeline_).Read(clocks_());
  const core::Now& time = reading.now;
  return !arrivals_.empty() || reload_catalogue_ || reload_files_ || read_journal_ || wake_all_ ||
         last_turn_ || plans_->busy() || plans_->stale() || logins_.busy() || topology_.busy() ||
         downloads_->has_findings() || downloads_->has_signs() || prune_more_ ||
         time.trusted != was_trusted_ || reading.shift != core::Duration(0) ||
         now >= next_minute_ || now >= next_health_ ||
         (now >= seen_flush_ &&
          (exchange_->unwritten_seen() > 0 || inbox_.unchanged().has_seen())) ||
         (exchange_->bursts().Next() && *exchange_->bursts().Next() <= time.steady) ||
         (!silent_.empty() && silent_.begin()->first <= now) ||
         (next_deadline_ && *next_deadline_ <= time.steady) ||
         (plans_->next_slot() && *plans_->next_slot() <= time.steady) ||
         (next_change_ && *next_change_ <= time.wall) ||
         (scan_.next() && *scan_.next() <= time.wall) || !telemetry_.empty() ||
         (telemetry_table_ && !telemetry_table_->empty() && now >= next_telemetry_) || !zones_;
}

// Nothing is committed, and confirmed, into a file that nobody will find again.
store::Status Engine::CheckFile() {
  const bool file = store_->Replaced();
  if (!file && !store_->LogReplaced()) {
    return {};
  }
  return core::Fail(core::ErrorCode::kCorruption,
                    "database '" + options_.database + "'" + (file ? "" : ": its write-ahead log") +
                        " was removed or replaced while the broker runs");
}

// Somebody may truncate the file, which SQLite does not notice before it needs what is gone.
store::Status Engine::CheckSize(Monotonic now) {
  if (!store_->IsShort()) {
    short_since_.reset();
    return {};
  }
  short_since_ = short_since_.value_or(now);
  truncated_ = now - *short_since_ >= kShort;
  return truncated_ ? store_->Truncated() : store::Status{};
}

void Engine::Undone() {
  silences_ = 0;
  topology_.Undone();
  exchange_->Undone();
  plans_->Undone();
  downloads_->Undone();
}

// What is in hand stays there, to be tried again.
void Engine::Abandon() {
  store_->Rollback();
  Undone();
  reload_catalogue_ = reload_files_ = read_journal_ = true;
  wake_all_ = true;
  telemetry_at_ = 0;
  zones_ = false;
}

store::Status Engine::Turn() {
  const Monotonic monotonic = steady_clock::now();
  NoteStandstill(monotonic);
  if (monotonic >= next_look_) {
    next_look_ = monotonic + kLook;
    exchange_->SetDiskLow(FreeBytes(options_.database) < kLowDisk);
    auto status = CheckFile();
    status = status ? CheckSize(monotonic) : status;
    if (!status) {
      Undone();
      return status;
    }
  }
  while (!silent_.empty() && silent_.begin()->first <= monotonic && catalogue_ != nullptr &&
         !exchange_->IsSilent(silent_.begin()->second.first, silent_.begin()->second.second)) {
    silent_.erase(silent_.begin());
  }
  if (!IsDue(monotonic)) {
    awake_ = monotonic;
    passive_.store(false);
    return {};
  }
  lock_said_ = core::Duration(0);
  if (auto status = store_->Begin(one_by_one_); !status) {
    return status;
  }
  // After the lock was waited for.
  awake_ = steady_clock::now();
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
  if (status && store_->wrote()) {
    status = CheckFile();
  }
  if (status) {
    OTA_FAULT_POINT("decided");
    status = store_->Commit(std::max(reading.now.wall, trial.floor()));
  }
  if (!status) {
    one_by_one_ = store_->spoiled();
    Abandon();
    return status;
  }
  one_by_one_ = false;
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
  const bool first = catalogue_ == nullptr;
  exchange_->EndRepeated();
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
  if (first) {
    for (core::DeviceKey& key : connections_.Of("")) {
      const std::uint64_t generation = connections_.Find(key)->generation;
      const Monotonic due = steady_clock::now() + exchange_->SilenceOf(key);
      silent_.emplace(due, std::pair(std::move(key), generation));
    }
  }
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

// Devices that have connected and reported nothing.
store::Status Engine::Silences() {
  const Monotonic monotonic = steady_clock::now();
  silences_ = 0;
  for (const auto& [due, connection] : silent_) {
    if (due > monotonic || silences_ == kSilentSlice) {
      break;
    }
    ++silences_;
    const core::DeviceKey& key = connection.first;
    const std::uint64_t generation = connection.second;
    auto status = exchange_->Try(key, [&] { return exchange_->Silent(key, generation); });
    if (!status) {
      return status;
    }
  }
  return {};
}

store::Status Engine::Deadlines(core::Now now) {
  // What has arrived, and waits behind the batch in hand, may show that a device was in time. A
  // flood of later messages holds up nobody's deadline.
  core::Instant until = now.steady;
  if (const Monotonic oldest = inbox_.depth().oldest; oldest != Monotonic::max()) {
    until -= std::chrono::ceil<core::Duration>(
        std::max(steady_clock::now() - oldest, steady_clock::duration(0)));
  }
  auto due = store_->DueDevices(until, kDeadlineSlice);
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
    std::set<std::string> dialects;
    for (const dialect::Dialect& one : dialect::Dialects()) {
      dialects.emplace(one.name);
    }
    if (auto status = store_->AddDialects(std::move(dialects)); !status) {
      return status;
    }
    zones_ = true;
  }
  store::Status status = Changes(now, timeline);
  status = status ? NoteTime(now) : status;
  // Who has waited longer goes before who arrives.
  status = status && !full ? plans_->Proceed(*store_, now) : status;
  status = status ? Arrivals(now) : status;
  status = status && !full ? Silences() : status;
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
  if (monotonic >= seen_flush_ || last_turn_ || exchange_->unwritten_seen() > kMostUnwritten) {
    // Not for each slice: who is answered meanwhile would be written again with each of them.
    if (monotonic >= next_repeated_ || last_turn_) {
      next_repeated_ = monotonic + kSeen;
      exchange_->TakeRepeated();
    }
    const std::size_t limit = last_turn_ ? kSeenAtStop : kSeenSlice;
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
  add(health.free_bytes < kLowDisk,
      "less than 64 MiB are free on the database's disk: only changes of state are logged of what "
      "devices say");
  if (unwell != unwell_) {
    unwell_ = unwell;
    Say(unwell.empty() ? LogLevel::kNotice : LogLevel::kWarning,
        "health: " + (unwell.empty() ? "well again" : unwell));
  }
}

// MQTT clients find their descriptors before downloads do.
void Engine::ReserveDescriptors() {
  if (own_descriptors_) {
    return;  // the broker's connections take none of them
  }
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
  health.free_bytes = FreeBytes(options_.database);
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
  silent_.erase(silent_.begin(), std::next(silent_.begin(), silences_));
  silences_ = 0;
  if (!arrivals_.empty()) {
    inbox_.Done(arrivals_);
    decoded_.clear();
    arrivals_.clear();
  }
}

}  // namespace ota::engine
