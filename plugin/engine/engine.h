// The engine: the thread that owns the database and every decision. It takes what is in the inbox,
// decides, commits once for the batch, and only then hands messages to the outbox. Faults of the
// data never stop the broker: the engine goes passive (uplinks get 503), says so once a minute, and
// tries again.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/model.h"
#include "core/result.h"
#include "engine/connections.h"
#include "engine/downloads.h"
#include "engine/exchange.h"
#include "engine/inbox.h"
#include "engine/logins.h"
#include "engine/options.h"
#include "engine/outbox.h"
#include "engine/plans.h"
#include "engine/scan.h"
#include "engine/signatures.h"
#include "engine/telemetry.h"
#include "engine/timeline.h"
#include "engine/topology.h"
#include "store/lock.h"
#include "store/store.h"

namespace ota::engine {

// Whose table of open files the engine and the threads that it starts use (package/threads.h).
enum class Descriptors { kOfTheProcess, kOwn };

class Engine {
 public:
  // Starts the engine's thread, all signals blocked, and waits until it has checked what is a
  // mistake of the configuration (directories, keys, the server's port, a database that another
  // broker uses) and has started the others. The database is opened after that. `ticks` counts the
  // broker's ticks, for health; any thread. `clocks` reads the time, on the engine's thread. With
  // Descriptors::kOwn no other thread of the process may open the database. Broker thread.
  static core::Result<std::unique_ptr<Engine>> Start(
      const Options& options, Inbox& inbox, Outbox& outbox, std::function<std::uint64_t()> ticks,
      std::function<ClockReading()> clocks = Clocks,
      Descriptors descriptors = Descriptors::kOfTheProcess);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  // True while nothing can be stored: the broker thread answers uplinks with 503. Any thread.
  bool passive() const { return passive_.load(std::memory_order_relaxed); }

  // What is known of devices, for logins and gateways; null until it was loaded. Any thread.
  std::shared_ptr<const guard::Registry> registry() const { return logins_.registry(); }

  // A gateway binds or unbinds sub-devices, or asks for them; it is answered when that is stored.
  // False: not now. Broker thread.
  bool Bind(TopologyRequest request);

  // Commits what was taken, within 5 s, and ends the threads. Idempotent. Broker thread.
  void Stop();

 private:
  using Monotonic = std::chrono::steady_clock::time_point;

  Engine(Options options, Inbox& inbox, Outbox& outbox, std::function<std::uint64_t()> ticks,
         std::function<ClockReading()> clocks);

  core::Result<void> Prepare();
  void Run();
  bool Round();
  void Close();
  void Take(std::chrono::steady_clock::duration wait);
  bool Open();
  bool IsDue(Monotonic now);
  store::Status Turn();
  store::Status CheckFile();
  store::Status CheckSize(Monotonic now);
  void Undone();
  void Abandon();
  store::Status TurnInside(core::Now now, Timeline& timeline);
  store::Status LoadCatalogue(core::Now now);
  store::Status Changes(core::Now now, Timeline& timeline);
  store::Status NoteTime(core::Now now);
  store::Status Arrivals(core::Now now);
  store::Status Silences();
  store::Status Deadlines(core::Now now);
  store::Status Scan(core::Now now);
  store::Status Telemetry();
  store::Status Bindings();
  void ObeyBrakes();
  store::Status Upkeep(core::Now now, Monotonic monotonic);
  void Send();
  void ServeBlocks();
  void Fault(const core::Error& error);
  void Refuse();
  void Recovered();
  bool MayWait(bool first);
  bool PastStop() const;
  void Unable();
  void NoteStandstill(Monotonic now);
  void ReserveDescriptors();
  void SaveHealth(core::Now now);
  void Judge(const store::Health& health);
  void Say(LogLevel level, std::string text) { outbox_.Log(level, std::move(text)); }

  const Options options_;
  Inbox& inbox_;
  Outbox& outbox_;
  const std::function<std::uint64_t()> ticks_;
  const std::function<ClockReading()> clocks_;
  Logins logins_;
  Topology topology_;

  std::atomic<bool> passive_{false};  // also while it opens the database: uplinks wait in the inbox
  std::atomic<bool> stopping_{false};
  std::atomic<std::chrono::steady_clock::rep> stop_at_{0};

  // The engine thread's own.
  bool own_descriptors_ = false;
  std::optional<store::Lock> lock_;
  std::unique_ptr<Downloads> downloads_;
  std::unique_ptr<store::Store> store_;
  std::shared_ptr<const store::Catalogue> catalogue_;
  std::optional<Timeline> timeline_;
  Connections connections_;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<Plans> plans_;
  Signatures signatures_;
  std::vector<Arrival> arrivals_;  // of the batch in hand; stays until it is committed
  std::vector<Decoded> decoded_;
  std::int64_t data_version_ = -1;
  bool reload_catalogue_ = true;
  bool reload_files_ = true;
  bool read_journal_ = true;
  bool end_broker_ = false;  // on_database_fault stop
  bool wake_all_ = false;    // the outbox was full
  bool last_turn_ = false;
  bool one_by_one_ = false;  // the last transaction lost an event: the next can undo one alone
  bool was_trusted_ = true;
  std::optional<core::Instant> next_deadline_;  // steady scale
  std::optional<core::Instant> next_change_;    // wall: see Plans::NextChange
  ClockScan scan_;
  // Connections, and when they have been silent for long enough.
  std::multimap<Monotonic, std::pair<core::DeviceKey, std::uint64_t>> silent_;
  std::ptrdiff_t silences_ = 0;  // of them, looked at by the open turn
  std::vector<std::pair<std::string, std::string>> telemetry_;  // topic and payload, in hand
  std::size_t telemetry_at_ = 0;                                // of it, done by the open turn
  std::shared_ptr<const TelemetryTable> telemetry_table_;
  Monotonic next_telemetry_{};
  bool zones_ = false;                                    // the table of zones is the system's
  std::optional<std::string> stopped_;                    // as the last turn knew it
  std::optional<std::unordered_set<std::int64_t>> held_;  // devices, when they were read anew
  std::string unwell_;                                    // what health says is wrong
  Monotonic seen_flush_{};
  Monotonic next_repeated_{};  // who the broker thread has answered is asked for
  Monotonic next_minute_{};
  Monotonic next_second_{};
  Monotonic next_look_{};                 // whether another file stands in the database's place
  std::optional<Monotonic> short_since_;  // the file is shorter than its header says
  bool truncated_ = false;                // for so long that somebody has truncated it
  Monotonic next_health_{};
  Monotonic fault_said_{};
  std::string fault_;
  Monotonic lock_since_{};                     // another process holds the lock since then
  core::Duration lock_said_{0};                // time waited at the last line about a lock
  std::optional<core::Instant> unable_since_;  // steady scale; while nothing could be stored
  Monotonic awake_{};                          // when a turn had its lock last, or needed none
  Monotonic retry_at_{};
  bool reconcile_ = true;  // plans and their states were not compared since they changed
  bool prune_more_ = false;
  std::optional<store::Health> health_;
  core::Instant started_{};

  std::thread thread_;
};

}  // namespace ota::engine
