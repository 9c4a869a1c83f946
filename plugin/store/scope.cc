// What the scope, the pace and the brakes of plans need of the database: slices of devices,
// members, counts, holds, time zones. See store.h. Engine thread.
#include <algorithm>
#include <set>

#include "core/names.h"
#include "store/connection.h"
#include "store/statements.h"

namespace ota::store {
namespace {

// One row of kDevicesAfter or kMembersAfter.
Candidate CandidateOf(const Query& row, bool member) {
  Candidate one;
  one.device.id = row.Int(0);
  one.device.key = {row.Text(1), row.Text(2)};
  one.device.seen = row.Time(3);
  one.has_task = row.Flag(4);
  one.listed = {row.Flag(5), row.Flag(8), row.MaybeInt(6), row.MaybeInt(7)};
  one.device.disabled = row.Flag(9);
  one.device.retired = row.Flag(10);
  one.looked = row.Flag(11);
  one.hash = member ? row.Int(12) : 0;
  return one;
}

// Versions, and tags if `plan` asks for them, of candidates in ascending order of their ids.
void AddVersions(Store::Impl& impl, const core::Plan& plan, std::vector<Candidate>& candidates) {
  if (candidates.empty()) {
    return;
  }
  const std::int64_t first = candidates.front().device.id;
  const std::int64_t last = candidates.back().device.id;
  auto at = candidates.begin();
  const auto find = [&](std::int64_t id) {
    while (at != candidates.end() && at->device.id < id) {
      ++at;
    }
    return at != candidates.end() && at->device.id == id ? &at->device : nullptr;
  };
  {
    Query rows = impl.Ask(sql::kSliceVersions);
    for (rows.Bind(plan.product, first, last); rows.Next();) {
      if (core::Device* device = find(rows.Int(0))) {
        device->installed.push_back({rows.Text(1), rows.Text(2), rows.Flag(3), rows.Time(4)});
      }
    }
  }
  if (plan.match.empty()) {
    return;
  }
  at = candidates.begin();
  Query rows = impl.Ask(sql::kSliceTags);
  for (rows.Bind(plan.product, first, last); rows.Next();) {
    if (core::Device* device = find(rows.Int(0))) {
      device->tags.emplace(rows.Text(1), rows.Text(2));
    }
  }
}

// Rows of (id, product, name).
std::vector<DeviceRef> Refs(Query& rows) {
  std::vector<DeviceRef> devices;
  while (rows.Next()) {
    devices.push_back({rows.Int(0), {rows.Text(1), rows.Text(2)}});
  }
  return devices;
}

core::Result<std::int64_t> Number(Query& row) {
  row.Next();
  return row.Int(0);
}

}  // namespace

core::Result<std::vector<Candidate>> Store::DevicesAfter(const core::Plan& plan,
                                                         std::int64_t after_id, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<Candidate>> {
    std::vector<Candidate> candidates;
    {
      Query rows = impl_->Ask(sql::kDevicesAfter);
      for (rows.Bind(plan.name, plan.product, after_id, limit); rows.Next();) {
        candidates.push_back(CandidateOf(rows, false));
      }
    }
    AddVersions(*impl_, plan, candidates);
    return candidates;
  });
}

core::Result<std::vector<std::pair<std::int64_t, std::int64_t>>> Store::ListedAfter(
    const core::Plan& plan, std::int64_t after, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<std::pair<std::int64_t, std::int64_t>>> {
    std::vector<std::pair<std::int64_t, std::int64_t>> listed;
    Query rows = impl_->Ask(sql::kListedAfter);
    for (rows.Bind(plan.name, plan.product, after, limit); rows.Next();) {
      listed.emplace_back(rows.Int(0), rows.Int(1));
    }
    return listed;
  });
}

core::Result<std::vector<Candidate>> Store::MembersAfter(const core::Plan& plan, std::int64_t hash,
                                                         std::int64_t after_id, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<Candidate>> {
    std::vector<Candidate> candidates;
    Query rows = impl_->Ask(sql::kMembersAfter);
    for (rows.Bind(plan.name, hash, after_id, limit); rows.Next();) {
      candidates.push_back(CandidateOf(rows, true));
      core::Device& device = candidates.back().device;
      Query versions = impl_->Ask(sql::kVersions);
      for (versions.Bind(device.id); versions.Next();) {
        device.installed.push_back(
            {versions.Text(0), versions.Text(1), versions.Flag(2), versions.Time(3)});
      }
    }
    return candidates;
  });
}

Status Store::SaveScan(const PlanState& state) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kSaveScan)
        .Bind(state.plan, state.scanned_id, state.scanned, state.members, state.picked,
              state.last_device_id)
        .Run();
    return {};
  });
}

Status Store::SaveHalt(const PlanState& state) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kSaveHalt)
        .Bind(state.plan, state.halted, state.base_failed, state.base_ended)
        .Run();
    return {};
  });
}

Status Store::AddMember(std::string_view plan, std::int64_t hash, std::int64_t device_id) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kAddMember).Bind(plan, hash, device_id).Run();
    return {};
  });
}

Status Store::AddLooked(std::string_view plan, std::int64_t device_id) {
  return AddMember(plan, -1, device_id);
}

core::Result<bool> Store::IsMember(std::string_view plan, std::int64_t hash,
                                   std::int64_t device_id) {
  return impl_->Run([&]() -> core::Result<bool> {
    Query row = impl_->Ask(sql::kIsMember);
    row.Bind(plan, hash, device_id).Next();
    return row.Flag(0);
  });
}

Status Store::DropLooked(std::string_view plan) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kDropLooked).Bind(plan).Run();
    return {};
  });
}

core::Result<std::int64_t> Store::CountMembers(std::string_view plan) {
  return impl_->Run([&] {
    Query row = impl_->Ask(sql::kCountMembers);
    return Number(row.Bind(plan));
  });
}

core::Result<std::int64_t> Store::CountTasks(std::string_view plan, core::TaskState state) {
  return impl_->Run([&] {
    if (state == core::TaskState::kFailed) {
      Query row = impl_->Ask(sql::kCountFailures);
      return Number(row.Bind(plan));
    }
    Query row = impl_->Ask(sql::kCountTasks);
    return Number(row.Bind(plan, core::Name(state)));
  });
}

core::Result<std::vector<Queued>> Store::QueuedDevices(std::string_view plan,
                                                       std::int64_t after_device_id, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<Queued>> {
    std::vector<Queued> queued;
    Query rows = impl_->Ask(sql::kQueuedDevices);
    for (rows.Bind(plan, after_device_id, limit); rows.Next();) {
      queued.push_back({{rows.Int(0), {rows.Text(1), rows.Text(2)}},
                        core::ReasonFrom(rows.Text(3)).value_or(core::Reason::kNone)});
    }
    return queued;
  });
}

core::Result<std::vector<DeviceRef>> Store::FailedDevices(std::string_view plan,
                                                          std::int64_t after_device_id, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<DeviceRef>> {
    Query rows = impl_->Ask(sql::kFailedDevices);
    return Refs(rows.Bind(plan, after_device_id, limit));
  });
}

core::Result<std::vector<DeviceRef>> Store::WaitingDevices(std::string_view plan, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<DeviceRef>> {
    Query rows = impl_->Ask(sql::kWaitingDevices);
    return Refs(rows.Bind(plan, limit));
  });
}

// ---------------------------------------------------------------- brakes

core::Result<std::optional<core::Instant>> Store::NextHoldEnd(core::Instant wall) {
  return impl_->Run([&]() -> core::Result<std::optional<core::Instant>> {
    Query row = impl_->Ask(sql::kNextHoldEnd);
    row.Bind(wall).Next();
    return row.MaybeTime(0);
  });
}

core::Result<std::vector<std::int64_t>> Store::HeldDevices(core::Instant wall) {
  return impl_->Run([&]() -> core::Result<std::vector<std::int64_t>> {
    std::vector<std::int64_t> devices;
    Query rows = impl_->Ask(sql::kHeldDevices);
    for (rows.Bind(wall); rows.Next();) {
      devices.push_back(rows.Int(0));
    }
    return devices;
  });
}

core::Result<std::optional<core::Instant>> Store::NextStreakEnd(core::Instant wall) {
  return impl_->Run([&]() -> core::Result<std::optional<core::Instant>> {
    Query row = impl_->Ask(sql::kNextStreakEnd);
    row.Bind(wall).Next();
    return row.MaybeTime(0);
  });
}

core::Result<std::vector<DeviceRef>> Store::StreaksEnded(core::Instant after, core::Instant until,
                                                         int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<DeviceRef>> {
    Query rows = impl_->Ask(sql::kStreaksEnded);
    return Refs(rows.Bind(after, until, limit));
  });
}

Status Store::DropStreaks(std::int64_t device_id) {
  return impl_->RunWrite([&]() -> Status {
    impl_->resting.Clear();
    impl_->Write();
    impl_->Ask(sql::kDeleteStreaks).Bind(device_id).Run();
    return {};
  });
}

// ---------------------------------------------------------------- explanations, zones

// NOLINTNEXTLINE(readability-function-size): the columns of a row
Status Store::Explain(std::int64_t request, std::string_view plan, int seq, std::string_view rule,
                      bool ok, std::string_view reason, std::string_view value,
                      std::string_view limit, std::optional<core::Instant> when) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kExplanation)
        .Bind(request, plan, seq, rule, ok, reason, value, limit, when)
        .Run();
    return {};
  });
}

Status Store::SetZones(std::span<const std::string> names) {
  return impl_->RunWrite([&]() -> Status {
    std::set<std::string> gone;
    for (Query rows = impl_->Ask(sql::kZones); rows.Next();) {
      gone.insert(rows.Text(0));
    }
    for (const std::string& name : names) {
      if (gone.erase(name) == 0) {
        impl_->Write();
        impl_->Ask(sql::kAddZone).Bind(name).Run();
      }
    }
    for (const std::string& name : gone) {
      impl_->Write();
      impl_->Ask(sql::kDeleteZone).Bind(name).Run();
    }
    return {};
  });
}

Status Store::AddDialects(std::set<std::string> names) {
  return impl_->RunWrite([&]() -> Status {
    for (Query rows = impl_->Ask(sql::kDialects); rows.Next();) {
      names.erase(rows.Text(0));
    }
    for (const std::string& name : names) {
      impl_->Write();
      impl_->Ask(sql::kAddDialect).Bind(name).Run();
    }
    return {};
  });
}

}  // namespace ota::store
