// What follows for the devices from what people want of plans, slice by slice: the scan of an
// activation, a percentage, cancels, offers. The part of Plans that holds up nobody while it works.
// Engine thread only, inside an open transaction.
#include <algorithm>
#include <chrono>
#include <functional>

#include "core/rollout.h"
#include "engine/plans.h"

namespace ota::engine {
namespace {

using std::chrono::steady_clock;

// A transaction works on slices for this long; each holds the database for a few milliseconds.
constexpr std::chrono::milliseconds kWorkTime{25};
constexpr int kListSlice = 1000;

}  // namespace

// Makes the tasks of those candidates that have none. Devices that are away cost three inserts
// each; the others get their offer at once.
store::Status Plans::AddTasks(store::Store& store, const std::shared_ptr<const core::Plan>& plan,
                              const std::vector<store::Candidate>& candidates, bool if_matches,
                              core::Now now) {
  std::vector<std::pair<store::DeviceRef, core::Task>> away;
  for (const store::Candidate& candidate : candidates) {
    auto task = exchange_.MakeAway(plan, candidate);
    if (!task) {
      return tl::unexpected(task.error());
    }
    if (*task) {
      away.emplace_back(store::DeviceRef{candidate.device.id, candidate.device.key},
                        std::move(**task));
      continue;
    }
    const core::DeviceKey& key = candidate.device.key;
    if (auto status = exchange_.Try(key, [&] { return exchange_.Join(key, plan, if_matches); });
        !status) {
      return status;
    }
  }
  return away.empty() ? store::Status{} : store.AddTasks(away, now.wall);
}

// The whitelist is in the order of its rows, a scan in that of the devices' ids.
store::Status Plans::Gather(store::Store& store, const core::Plan& plan, Job& job) {
  auto listed = store.ListedAfter(plan, static_cast<std::int64_t>(job.at), kListSlice);
  if (!listed) {
    return tl::unexpected(listed.error());
  }
  for (const auto& [position, id] : *listed) {
    job.at = static_cast<std::size_t>(position);
    if (id > job.cursor) {
      job.listed.push_back(id);
    }
  }
  job.gathered = listed->size() < static_cast<std::size_t>(kListSlice);
  if (job.gathered) {
    std::ranges::sort(job.listed, std::greater<>());
  }
  return {};
}

// The next devices that a scan looks at: of the product, or of the whitelist.
core::Result<std::vector<store::Candidate>> Plans::Candidates(store::Store& store,
                                                              const core::Plan& plan, Job& job) {
  if (plan.scope != core::Scope::kSelected) {
    return store.DevicesAfter(plan, job.cursor, kSlice);
  }
  std::vector<store::Candidate> candidates;
  while (!job.listed.empty() && candidates.size() < static_cast<std::size_t>(kSlice)) {
    const std::int64_t id = job.listed.back();
    job.listed.pop_back();
    auto one = store.DevicesAfter(plan, id - 1, 1);
    if (!one) {
      return one;
    }
    if (!one->empty() && one->front().device.id == id) {
      candidates.push_back(std::move(one->front()));
    }
  }
  return candidates;
}

store::Status Plans::Scan(store::Store& store, Job& job, core::Now now) {
  const auto found = exchange_.catalogue().plans.find(job.plan);
  if (found == exchange_.catalogue().plans.end() || !found->second.state ||
      found->second.state->phase == store::PlanPhase::kCanceled ||
      found->second.state->phase == store::PlanPhase::kEnded || found->second.plan->closed) {
    job.done = true;
    return {};
  }
  const std::shared_ptr<const core::Plan>& plan = found->second.plan;
  store::PlanState state = *found->second.state;
  const bool is_static = plan->scope_kind == core::ScopeKind::kStatic;
  if (is_static && state.last_device_id == 0) {
    // It was held in a restored database before it was activated.
    auto last = store.RegisteredDevices();
    if (!last) {
      return tl::unexpected(last.error());
    }
    state.last_device_id = *last;
  }
  if (plan->scope == core::Scope::kSelected && !job.gathered) {
    return Gather(store, *plan, job);
  }
  auto devices = Candidates(store, *plan, job);
  if (!devices) {
    return tl::unexpected(devices.error());
  }
  job.done = devices->size() < static_cast<std::size_t>(kSlice) && job.listed.empty();
  std::vector<store::Candidate> matching;
  for (store::Candidate& candidate : *devices) {
    if (is_static && candidate.device.id > state.last_device_id) {
      job.done = true;
      break;
    }
    job.cursor = candidate.device.id;
    const store::Listed& listed = candidate.listed;
    if (candidate.has_task || candidate.looked ||
        !core::Matches(*plan, candidate.device, listed.white, listed.black)) {
      continue;
    }
    if (!plan->percent) {
      matching.push_back(std::move(candidate));
      continue;
    }
    const std::int64_t hash = core::StableHash(plan->name, candidate.device.key.device);
    if (auto status = store.AddMember(plan->name, hash, candidate.device.id); !status) {
      return status;
    }
  }
  if (auto status = AddTasks(store, plan, matching, true, now); !status) {
    return status;
  }
  state.scanned_id = job.done ? 0 : job.cursor;
  state.scanned = job.done;
  return job.done ? EndScan(store, *plan, std::move(state), now) : store.SaveScan(state);
}

store::Status Plans::EndScan(store::Store& store, const core::Plan& plan, store::PlanState state,
                             core::Now now) {
  stale_ = true;
  std::string warning;
  if (plan.scope_kind == core::ScopeKind::kStatic) {
    if (auto status = store.DropLooked(plan.name); !status) {
      return status;
    }
    bool none = false;
    if (plan.percent) {
      auto members = store.CountMembers(plan.name);
      if (!members) {
        return tl::unexpected(members.error());
      }
      state.members = *members;
      none = *members == 0;
      if (!none && *members * *plan.percent < 100) {
        warning = std::to_string(*plan.percent) + " % of " + std::to_string(*members) +
                  " devices is less than one: one is upgraded";
      }
      Job job;
      job.kind = JobKind::kPick;
      job.plan = plan.name;
      Add(std::move(job));
    } else {
      auto live = store.LiveDevices(plan.name, 0, 1);
      auto pace = exchange_.PaceOf(plan.name);
      if (!live || !pace) {
        return tl::unexpected(live ? pace.error() : live.error());
      }
      none = live->empty() && (*pace)->counts.ended == 0;
      for (const auto over : {core::TaskState::kRefused, core::TaskState::kCanceled}) {
        auto tasks = store.CountTasks(plan.name, over);
        if (!tasks) {
          return tl::unexpected(tasks.error());
        }
        none = none && *tasks == 0;
      }
    }
    if (none) {  // and none can join any more (C16)
      warning = "no device matched when the plan was activated: nothing will be upgraded";
      state.phase = store::PlanPhase::kEnded;
      state.reason = warning;
      state.ended = now.wall;
      if (auto status = store.SavePlanState(state); !status) {
        return status;
      }
    }
  }
  if (!warning.empty()) {
    exchange_.outcome().log.push_back({LogLevel::kWarning, "plan '" + plan.name + "': " + warning});
    core::LogEntry line;
    line.plan = plan.name;
    line.event = "warning";
    line.detail = warning;
    if (auto status = store.Log(line, {plan.product, ""}, now.wall); !status) {
      return status;
    }
  }
  return store.SaveScan(state);
}

store::Status Plans::Pick(store::Store& store, Job& job, core::Now now) {
  const auto found = exchange_.catalogue().plans.find(job.plan);
  if (found == exchange_.catalogue().plans.end() || !found->second.state ||
      !found->second.plan->percent || found->second.state->phase == store::PlanPhase::kCanceled ||
      found->second.state->phase == store::PlanPhase::kEnded || found->second.plan->closed) {
    job.done = true;
    return {};
  }
  store::PlanState state = *found->second.state;
  if (!state.scanned) {
    return {};  // the catalogue is about to be loaded again
  }
  const std::shared_ptr<const core::Plan>& plan = found->second.plan;
  const auto wanted = static_cast<std::size_t>(core::Picked(state.members, *plan->percent));
  const std::size_t left = wanted - std::min(wanted, job.at);
  auto members = store.MembersAfter(*plan, job.hash, job.cursor,
                                    static_cast<int>(std::min<std::size_t>(left, kSlice)));
  if (!members) {
    return tl::unexpected(members.error());
  }
  job.at += members->size();
  job.done = job.at >= wanted || members->empty();
  std::vector<store::Candidate> without;
  for (store::Candidate& member : *members) {
    job.hash = member.hash;
    job.cursor = member.device.id;
    if (!member.has_task && !member.device.retired) {
      without.push_back(std::move(member));
    }
  }
  // Also one that has changed since: it matched when the plan was activated.
  if (auto status = AddTasks(store, plan, without, false, now); !status) {
    return status;
  }
  if (!job.done) {
    return {};
  }
  stale_ = true;
  state.picked = static_cast<std::int64_t>(wanted);
  return store.SaveScan(state);
}

// A task whose device is away waits for its return, unless it shows another reason.
store::Status Plans::QueuedSlice(store::Store& store, Job& job) {
  auto queued = store.QueuedDevices(job.plan, job.cursor, kSlice);
  if (!queued) {
    return tl::unexpected(queued.error());
  }
  for (const store::Queued& one : *queued) {
    const core::DeviceKey& key = one.device.key;
    job.cursor = one.device.id;
    if (one.reason == core::Reason::kOffline && connections_.Find(key) == nullptr &&
        !exchange_.catalogue().settings.stopped) {
      continue;
    }
    if (auto status = exchange_.Try(key, [&] { return exchange_.Next(key); }); !status) {
      return status;
    }
  }
  job.done = queued->size() < static_cast<std::size_t>(kSlice);
  return {};
}

store::Status Plans::CancelSlice(store::Store& store, Job& job) {
  auto devices = store.LiveDevices(job.plan, job.cursor, kSlice);
  if (!devices) {
    return tl::unexpected(devices.error());
  }
  const core::Reason reason =
      job.kind == JobKind::kEnd ? core::Reason::kPlanEnded : core::Reason::kPlanCanceled;
  for (const store::DeviceRef& device : *devices) {
    job.cursor = device.id;
    auto status = exchange_.Try(device.key, [&]() -> store::Status {
      auto canceled = exchange_.Cancel(device.key, job.plan, reason, "");
      if (!canceled) {
        return tl::unexpected(canceled.error());
      }
      return {};
    });
    if (!status) {
      return status;
    }
  }
  job.done = devices->size() < static_cast<std::size_t>(kSlice);
  return {};
}

store::Status Plans::Devices(Job& job) {
  if (job.devices == nullptr) {
    job.devices = std::make_shared<const std::vector<core::DeviceKey>>(connections_.Of(job.plan));
  }
  const std::size_t end = std::min(job.devices->size(), job.at + kSlice);
  for (; job.at < end; ++job.at) {
    const core::DeviceKey& key = (*job.devices)[job.at];
    if (auto status = exchange_.Try(key, [&] { return exchange_.Next(key); }); !status) {
      return status;
    }
  }
  job.done = job.at == job.devices->size();
  return {};
}

store::Status Plans::Slice(store::Store& store, Job& job, core::Now now) {
  switch (job.kind) {
    case JobKind::kScan:
      return Scan(store, job, now);
    case JobKind::kPick:
      return Pick(store, job, now);
    case JobKind::kCancel:
    case JobKind::kEnd:
      return CancelSlice(store, job);
    case JobKind::kQueued:
      return QueuedSlice(store, job);
    case JobKind::kWake:
    case JobKind::kLook:
      return Devices(job);
  }
  return {};
}

store::Status Plans::Work(store::Store& store, core::Now now) {
  const bool looks =
      std::ranges::any_of(jobs_, [](const Job& job) { return job.kind == JobKind::kLook; });
  if (!look_.empty() && !looks) {
    Job job;
    job.kind = JobKind::kLook;
    job.devices = std::make_shared<const std::vector<core::DeviceKey>>(look_.begin(), look_.end());
    look_.clear();
    jobs_.push_back(std::move(job));
  }
  if (jobs_.empty()) {
    return {};
  }
  worked_ = jobs_.front();
  const auto until = steady_clock::now() + kWorkTime;
  do {
    const std::int64_t cursor = worked_->cursor;
    const std::size_t at = worked_->at;
    if (auto status = Slice(store, *worked_, now); !status) {
      return status;
    }
    if (worked_->cursor == cursor && worked_->at == at) {
      break;  // it waits for the next transaction
    }
  } while (!worked_->done && steady_clock::now() < until);
  return {};
}

}  // namespace ota::engine
