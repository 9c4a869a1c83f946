// Transactions, upkeep and the small questions of the store: see store.h. Engine thread.
#include "store/store.h"

#include <array>

#include "store/connection.h"
#include "store/statements.h"

namespace ota::store {
namespace {

constexpr int kLogPages = 1000;  // in the write-ahead log when a commit checkpoints: 4 MiB

constexpr std::array<std::string_view, 5> kPhases = {"active", "paused", "held", "ended",
                                                     "canceled"};
constexpr std::array<std::string_view, 3> kFileStates = {"hashing", "ready", "refused"};

}  // namespace

std::string_view Name(PlanPhase value) {
  return kPhases.at(static_cast<std::size_t>(value));
}
std::string_view Name(FileState value) {
  return kFileStates.at(static_cast<std::size_t>(value));
}

std::optional<PlanPhase> PlanPhaseFrom(std::string_view name) {
  for (std::size_t index = 0; index < kPhases.size(); ++index) {
    if (kPhases.at(index) == name) {
      return static_cast<PlanPhase>(index);
    }
  }
  return std::nullopt;
}

std::optional<FileState> FileStateFrom(std::string_view name) {
  for (std::size_t index = 0; index < kFileStates.size(); ++index) {
    if (kFileStates.at(index) == name) {
      return static_cast<FileState>(index);
    }
  }
  return std::nullopt;
}

void KeepNoMemoryStatistics() {
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

// ---------------------------------------------------------------- transactions

Savepoint::Savepoint(Savepoint&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)), wrote_(other.wrote_) {}

Savepoint::~Savepoint() {
  if (store_ == nullptr) {
    return;
  }
  Store::Impl& impl = *store_->impl_;
  if (!store_->EndEvent()) {
    return;
  }
  if (!impl.undoable) {
    impl.spoiled = true;
    return;
  }
  impl.resting.Clear();
  impl.lines.clear();
  // When this fails the transaction itself is gone; the next write or the commit says so.
  [[maybe_unused]] const Status undone = impl.RunWrite([&]() -> Status {
    impl.Ask(sql::kRollbackTo).Run();
    impl.Ask(sql::kRelease).Run();
    impl.wrote = wrote_;
    return {};
  });
}

Status Savepoint::Keep() {
  Store& store = *std::exchange(store_, nullptr);
  if (!store.EndEvent() || !store.impl_->undoable) {
    return {};
  }
  return store.impl_->RunWrite([&]() -> Status {
    store.impl_->Ask(sql::kRelease).Run();
    return {};
  });
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

const Opening& Store::opening() const {
  return impl_->opening;
}

bool Store::wrote() const {
  return impl_->wrote;
}

bool Store::spoiled() const {
  return impl_->spoiled;
}

std::int64_t Store::commit_no() const {
  return impl_->commit_no;
}

Status Store::Begin(bool undoable) {
  if (impl_->open) {
    return core::Fail(core::ErrorCode::kInternal,
                      "database '" + impl_->path.string() + "': a transaction is open already");
  }
  return impl_->Run([&]() -> Status {
    impl_->Ask(sql::kBegin).Run();
    impl_->open = true;
    impl_->wrote = false;
    impl_->undoable = undoable;
    Query version = impl_->Ask(sql::kDataVersion);
    version.Next();
    if (version.Int(0) != std::exchange(impl_->data_version, version.Int(0))) {
      impl_->resting.Clear();
    }
    return {};
  });
}

Status Store::Commit(core::Instant wall) {
  const int log_pages = impl_->log_pages;
  Status done = impl_->RunWrite([&]() -> Status {
    if (impl_->wrote) {
      impl_->WriteLines();
      impl_->Ask(sql::kSetCommit).Bind(impl_->commit_no + 1, wall).Run();
    }
    impl_->Ask(sql::kCommit).Run();
    return {};
  });
  if (!done) {
    Rollback();
    return done;
  }
  impl_->open = false;
  if (impl_->wrote) {
    ++impl_->commit_no;
    if (impl_->options.durable) {
      impl_->WriteMarker();
    }
    // A log that has become shorter was moved into the main file by another program.
    if ((impl_->log_pages >= kLogPages || impl_->log_pages < log_pages) && !IsShort()) {
      impl_->Checkpoint();
    }
  }
  impl_->wrote = false;
  return done;
}

void Store::Rollback() {
  if (impl_->open && sqlite3_get_autocommit(impl_->database.getHandle()) == 0) {
    [[maybe_unused]] const Status undone = impl_->Run([&]() -> Status {
      impl_->Ask(sql::kRollback).Run();
      return {};
    });
  }
  impl_->open = false;
  impl_->wrote = false;
  impl_->spoiled = false;
  impl_->events = 0;
  impl_->written_events = 0;
  impl_->resting.Clear();
  impl_->lines.clear();
}

core::Result<Savepoint> Store::BeginEvent() {
  if (Status ready = impl_->InTransaction(); !ready) {
    return tl::unexpected(ready.error());
  }
  ++impl_->events;
  return Savepoint(this, impl_->wrote);
}

bool Store::EndEvent() {
  if (impl_->events == 0) {
    return false;
  }
  const bool wrote = impl_->written_events == impl_->events;
  impl_->written_events -= wrote ? 1 : 0;
  --impl_->events;
  return wrote;
}

// ---------------------------------------------------------------- deadlines

core::Result<std::optional<core::Instant>> Store::NextDeadline() {
  return impl_->Run([&]() -> core::Result<std::optional<core::Instant>> {
    Query query = impl_->Ask(sql::kNextDeadline);
    query.Next();
    return query.MaybeTime(0);
  });
}

namespace {

// Rows of (id, product, name). An id may come twice in a row.
std::vector<DeviceRef> Devices(Query& query) {
  std::vector<DeviceRef> devices;
  while (query.Next()) {
    devices.push_back({query.Int(0), {query.Text(1), query.Text(2)}});
  }
  return devices;
}

}  // namespace

core::Result<std::vector<DeviceRef>> Store::DueDevices(core::Instant steady, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<DeviceRef>> {
    Query query = impl_->Ask(sql::kDueDevices);
    return Devices(query.Bind(steady, limit));
  });
}

Status Store::ShiftDeadlines(core::Duration by) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kShiftDeadlines).Bind(by).Run();
    impl_->Ask(sql::kShiftProgressed).Bind(by).Run();
    impl_->Ask(sql::kShiftReturned).Bind(by).Run();
    return {};
  });
}

// ---------------------------------------------------------------- plans

Status Store::SavePlanState(const PlanState& state) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kSavePlanState)
        .Bind(state.plan, Name(state.phase), state.reason, state.order, state.activated,
              state.scanned_id, state.scanned, state.ended, state.halted, state.base_failed,
              state.base_ended, state.last_device_id, state.members, state.picked)
        .Run();
    return {};
  });
}

core::Result<std::vector<DeviceRef>> Store::LiveDevices(std::string_view plan,
                                                        std::int64_t after_device_id, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<DeviceRef>> {
    Query query = impl_->Ask(sql::kLiveDevices);
    return Devices(query.Bind(plan, after_device_id, limit));
  });
}

// ---------------------------------------------------------------- what other processes did

core::Result<std::int64_t> Store::DataVersion() {
  return impl_->Run([&]() -> core::Result<std::int64_t> {
    Query query = impl_->Ask(sql::kDataVersion);
    query.Next();
    return query.Int(0);
  });
}

core::Result<std::int64_t> Store::JournalDone() {
  return impl_->Run([&]() -> core::Result<std::int64_t> {
    Query query = impl_->Ask(sql::kLoadEngine);
    query.Next();
    return query.Int(3);
  });
}

core::Result<std::vector<Change>> Store::NewJournal(std::int64_t after, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<Change>> {
    std::vector<Change> changes;
    Query query = impl_->Ask(sql::kNewJournal);
    for (query.Bind(after, limit); query.Next();) {
      changes.push_back({query.Int(0), query.Text(1), query.Text(2), query.Text(3), query.Text(4),
                         query.Text(5)});
    }
    return changes;
  });
}

Status Store::SaveJournalDone(std::int64_t id) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kSetJournalDone).Bind(id).Run();
    return {};
  });
}

core::Result<std::vector<Request>> Store::NewRequests(int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<Request>> {
    std::vector<Request> requests;
    Query query = impl_->Ask(sql::kNewRequests);
    for (query.Bind(limit); query.Next();) {
      requests.push_back({query.Int(0), query.Text(1), query.Text(2), query.Text(3), query.Text(4),
                          query.Text(5), query.Time(6), query.Int(7),
                          static_cast<int>(query.Int(8))});
    }
    return requests;
  });
}

Status Store::AnswerRequest(std::int64_t id, RequestState state, std::string_view answer,
                            core::Instant wall) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kAnswerRequest)
        .Bind(id, std::string_view(state == RequestState::kDone ? "done" : "refused"), answer, wall)
        .Run();
    return {};
  });
}

Status Store::SaveProgress(std::int64_t id, std::int64_t at_device, int tasks) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kRequestProgress).Bind(id, at_device, tasks).Run();
    return {};
  });
}

// ---------------------------------------------------------------- upkeep

Status Store::SaveHealth(const Health& health) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kSaveHealth)
        .Bind(health.at, health.pid, health.started, health.connected, health.inbox,
              health.outbox_bytes, health.oldest_uplink_ms, health.ticks, health.wal_bytes,
              health.free_bytes, health.last_error)
        .Run();
    return {};
  });
}

core::Result<int> Store::Prune(core::Instant before, int limit) {
  return impl_->RunWrite([&]() -> core::Result<int> {
    constexpr std::array<std::pair<const char*, const char*>, 3> kTables = {{
        {sql::kOldLog, sql::kDeleteLog},
        {sql::kOldJournal, sql::kDeleteJournal},
        {sql::kOldRequests, sql::kDeleteRequest},
    }};
    int pruned = 0;
    for (const auto& [find, erase] : kTables) {
      std::vector<std::int64_t> ids;
      {
        Query query = impl_->Ask(find);
        for (query.Bind(before, limit); query.Next();) {
          ids.push_back(query.Int(0));
        }
      }
      for (const std::int64_t id : ids) {
        impl_->Write();
        pruned += impl_->Ask(erase).Bind(id).Run();
        if (erase == sql::kDeleteRequest) {
          impl_->Ask(sql::kDeleteExplanation).Bind(id).Run();
        }
      }
    }
    return pruned;
  });
}

}  // namespace ota::store
