#include "engine/plans.h"

#include <algorithm>

namespace ota::engine {
namespace {

// Small enough that a slice holds the database for a few milliseconds.
constexpr int kSlice = 200;
constexpr int kJournalSlice = 5000;
// More devices than this whose rows changed at once are matched by scanning their products again.
constexpr std::size_t kMatchAtOnce = 200;

}  // namespace

void Plans::Add(Job job) {
  finished_.erase({job.kind, job.plan});
  added_.push_back(std::move(job));
}

void Plans::Committed() {
  if (worked_) {
    if (worked_->done) {
      finished_.insert({worked_->kind, worked_->plan});
      jobs_.pop_front();
    } else {
      jobs_.front() = std::move(*worked_);
      // The others take turns, so that a small plan does not wait for a large one.
      std::rotate(jobs_.begin(), jobs_.begin() + 1, jobs_.end());
    }
    worked_.reset();
  }
  for (Job& job : added_) {
    const bool known = std::ranges::any_of(jobs_, [&](const Job& other) {
      return job.kind == other.kind && job.plan == other.plan && other.cursor == 0 && other.at == 0;
    });
    if (!known) {
      jobs_.push_back(std::move(job));
    }
  }
  added_.clear();
  changed_.clear();
}

void Plans::Undone() {
  worked_.reset();
  added_.clear();
  changed_.clear();
  finished_.clear();
  journal_ = -1;
}

void Plans::Reopened() {
  Undone();
  jobs_.clear();
  look_.clear();
}

void Plans::Look(const std::vector<core::DeviceKey>& devices) {
  look_.insert(devices.begin(), devices.end());
}

void Plans::Wake(const std::string& product) {
  Job job;
  job.kind = JobKind::kWake;
  job.plan = product;
  Add(std::move(job));
}

core::Result<Plans::Changed> Plans::ReadJournal(store::Store& store) {
  Changed changed;
  if (journal_ < 0) {
    auto done = store.JournalDone();
    if (!done) {
      return tl::unexpected(done.error());
    }
    journal_ = *done;
  }
  auto rows = store.NewJournal(journal_, kJournalSlice);
  if (!rows) {
    return tl::unexpected(rows.error());
  }
  if (rows->empty()) {
    return changed;
  }
  changed.catalogue = true;
  changed.again = rows->size() == static_cast<std::size_t>(kJournalSlice);
  std::set<std::string> rescan;
  std::set<std::string> wake;
  for (const store::Change& change : *rows) {
    journal_ = change.id;
    if (change.table == "device" || change.table == "device_secret") {
      changed.devices.push_back({change.product, change.key});
    }
    if (change.table == "device_secret") {
      continue;  // plans do not ask for it
    }
    if (change.table == "device") {
      changed_.push_back({change.product, change.key});
    } else if (change.table == "plan_device" && change.detail.starts_with("black ")) {
      changed_.push_back({change.product, change.detail.substr(6)});
    } else if (change.table == "plan_device") {
      rescan.insert(change.key);
    } else if (change.table == "package" || change.table == "package_file" ||
               change.table == "product" || change.table == "profile") {
      changed.files = true;
      wake.insert(change.product);
    } else {
      wake.insert(change.product);
    }
  }
  if (changed_.size() > kMatchAtOnce) {
    for (const core::DeviceKey& key : changed_) {
      wake.insert(key.product);
    }
    for (const auto& [name, entry] : exchange_.catalogue().plans) {
      if (wake.contains(entry.plan->product)) {
        rescan.insert(name);
      }
    }
    changed_.clear();
  }
  // The devices that a whitelist names from now on may have reported long ago.
  for (const std::string& name : rescan) {
    const auto entry = exchange_.catalogue().plans.find(name);
    if (entry == exchange_.catalogue().plans.end() || !entry->second.state) {
      continue;
    }
    store::PlanState state = *entry->second.state;
    state.scanned = false;
    state.scanned_id = 0;
    if (auto status = store.SavePlanState(state); !status) {
      return tl::unexpected(status.error());
    }
    std::erase_if(jobs_,
                  [&](const Job& job) { return job.kind == JobKind::kScan && job.plan == name; });
    Job job;
    job.kind = JobKind::kScan;
    job.plan = name;
    Add(std::move(job));
  }
  for (const std::string& product : wake) {
    Wake(product);
  }
  if (auto status = store.SaveJournalDone(journal_); !status) {
    return tl::unexpected(status.error());
  }
  return changed;
}

store::Status Plans::Match(store::Store& store) {
  for (const core::DeviceKey& key : changed_) {
    auto status = exchange_.Try(key, [&]() -> store::Status {
      const store::ProductEntry* product = exchange_.catalogue().FindProduct(key.product);
      auto known = store.LoadDevice(key);
      if (!known) {
        return tl::unexpected(known.error());
      }
      if (product == nullptr || known->device.id == 0) {
        return {};
      }
      for (const auto& plan : product->in_force) {
        const auto entry = exchange_.catalogue().plans.find(plan->name);
        auto has = store.HasTask(plan->name, known->device.id);
        if (!has) {
          return tl::unexpected(has.error());
        }
        if (!*has && entry != exchange_.catalogue().plans.end() && entry->second.state) {
          if (auto joined = exchange_.Join(key, plan); !joined) {
            return joined;
          }
        }
      }
      return exchange_.Next(key);
    });
    if (!status) {
      return status;
    }
  }
  return {};
}

// ---------------------------------------------------------------- states of plans

void Plans::Audit(const std::string& plan, const std::string& what) {
  exchange_.outcome().log.push_back({LogLevel::kNotice, "audit plan '" + plan + "' " + what});
}

core::Result<bool> Plans::Follow(store::Store& store, const store::PlanEntry& entry,
                                 core::Now now) {
  const core::Plan& plan = *entry.plan;
  store::PlanState state = entry.state.value_or(store::PlanState{});
  state.plan = plan.name;
  std::string what;
  std::optional<JobKind> job;
  const bool over = entry.state && (state.phase == store::PlanPhase::kCanceled ||
                                    state.phase == store::PlanPhase::kEnded);
  if (over) {
    return false;
  }
  if (plan.wanted == core::Wanted::kCanceled) {
    if (!entry.state) {
      return false;  // it was never active: nothing follows
    }
    state.phase = store::PlanPhase::kCanceled;
    state.reason = "wanted='canceled'";
    state.ended = now.wall;
    what = "canceled";
    job = JobKind::kCancel;
  } else if (plan.wanted == core::Wanted::kDraft) {
    return false;
  } else if (entry.state && plan.end && now.trusted && *plan.end <= now.wall) {
    state.phase = store::PlanPhase::kEnded;
    state.reason = "its end has come";
    state.ended = now.wall;
    what = "ended";
    job = JobKind::kEnd;
  } else if (!entry.state) {
    state.phase = plan.wanted == core::Wanted::kActive ? store::PlanPhase::kActive
                                                       : store::PlanPhase::kPaused;
    state.activated = now.wall;
    what = "activated";
    job = JobKind::kScan;
  } else if (state.phase == store::PlanPhase::kActive && plan.wanted == core::Wanted::kPaused) {
    state.phase = store::PlanPhase::kPaused;
    what = "paused";
  } else if (state.phase == store::PlanPhase::kPaused && plan.wanted == core::Wanted::kActive) {
    state.phase = store::PlanPhase::kActive;
    what = "resumed";
  } else {
    return false;
  }
  if (auto status = store.SavePlanState(state); !status) {
    return tl::unexpected(status.error());
  }
  core::LogEntry line;
  line.plan = plan.name;
  line.event = "plan";
  line.detail = what;
  if (auto status = store.Log(line, {plan.product, ""}, now.wall); !status) {
    return tl::unexpected(status.error());
  }
  Audit(plan.name, what);
  if (job) {
    Job next;
    next.kind = *job;
    next.plan = plan.name;
    Add(std::move(next));
  }
  if (job != JobKind::kScan) {
    Wake(plan.product);
  }
  return true;
}

core::Result<bool> Plans::Reconcile(store::Store& store, core::Now now) {
  bool changed = false;
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    auto followed = Follow(store, entry, now);
    if (!followed) {
      return tl::unexpected(followed.error());
    }
    changed = changed || *followed;
    // What a stop of the broker interrupted.
    if (!*followed && entry.state) {
      Job job;
      job.plan = name;
      if (entry.state->phase == store::PlanPhase::kCanceled) {
        job.kind = JobKind::kCancel;
      } else if (entry.state->phase == store::PlanPhase::kEnded) {
        job.kind = JobKind::kEnd;
      } else if (!entry.state->scanned) {
        job.kind = JobKind::kScan;
        job.cursor = entry.state->scanned_id;
      } else {
        continue;
      }
      const bool running = std::ranges::any_of(jobs_, [&](const Job& other) {
        return other.kind == job.kind && other.plan == job.plan;
      });
      if (!running && !finished_.contains({job.kind, job.plan})) {
        Add(std::move(job));
      }
    }
  }
  return changed;
}

std::optional<core::Instant> Plans::NextEnd(core::Now now) const {
  std::optional<core::Instant> next;
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    const core::Plan& plan = *entry.plan;
    if (plan.end && *plan.end > now.wall && (!next || *plan.end < *next)) {
      next = plan.end;
    }
  }
  return next;
}

// ---------------------------------------------------------------- requests

core::Result<std::pair<store::RequestState, std::string>> Plans::Act(store::Store& store,
                                                                     const store::Request& request,
                                                                     core::Now now,
                                                                     Timeline& timeline) {
  using Answer = std::pair<store::RequestState, std::string>;
  if (request.act == "release") {
    int released = 0;
    for (const auto& [name, entry] : exchange_.catalogue().plans) {
      if (!entry.state || entry.state->phase != store::PlanPhase::kHeld ||
          (!request.plan.empty() && request.plan != name)) {
        continue;
      }
      store::PlanState state = *entry.state;
      state.phase = entry.plan->wanted == core::Wanted::kPaused ? store::PlanPhase::kPaused
                                                                : store::PlanPhase::kActive;
      state.reason.clear();
      if (auto status = store.SavePlanState(state); !status) {
        return tl::unexpected(status.error());
      }
      core::LogEntry line;
      line.plan = name;
      line.event = "plan";
      line.detail = "released";
      if (auto status = store.Log(line, {entry.plan->product, ""}, now.wall); !status) {
        return tl::unexpected(status.error());
      }
      Audit(name, "released");
      Wake(entry.plan->product);
      ++released;
    }
    bool clock = false;
    if (request.plan.empty() && !now.trusted) {
      timeline.TrustFrom(now.wall);
      clock = true;
    }
    if (released == 0 && !clock) {
      return Answer{store::RequestState::kRefused, request.plan.empty()
                                                       ? "nothing is held"
                                                       : "plan '" + request.plan + "' is not held"};
    }
    return Answer{store::RequestState::kDone, std::to_string(released) + " plans released" +
                                                  (clock ? "; the clock is trusted" : "")};
  }
  const std::shared_ptr<const core::Plan> plan = exchange_.catalogue().FindPlan(request.plan);
  const core::DeviceKey key{
      request.product.empty() && plan != nullptr ? plan->product : request.product, request.device};
  if (request.act == "retry" || request.act == "consent") {
    auto refused = request.act == "retry" ? exchange_.Retry(key, request.plan, request.argument)
                                          : exchange_.Consent(key, request.plan, request.argument);
    if (!refused) {
      return tl::unexpected(refused.error());
    }
    return refused->empty() ? Answer{store::RequestState::kDone, "done"}
                            : Answer{store::RequestState::kRefused, *refused};
  }
  if (request.act == "cancel") {
    auto canceled =
        exchange_.Cancel(key, request.plan, core::Reason::kTaskCanceled, request.argument, false);
    if (!canceled) {
      return tl::unexpected(canceled.error());
    }
    if (*canceled == 0) {
      return Answer{store::RequestState::kRefused, "the device has no such task to cancel"};
    }
    return Answer{store::RequestState::kDone, std::to_string(*canceled) + " tasks canceled"};
  }
  return Answer{store::RequestState::kRefused, "unknown act '" + request.act + "'"};
}

core::Result<int> Plans::AnswerRequests(store::Store& store, core::Now now, Timeline& timeline) {
  auto requests = store.NewRequests(kRequestSlice);
  if (!requests) {
    return tl::unexpected(requests.error());
  }
  for (const store::Request& request : *requests) {
    bool answered = false;
    const auto answer = [&]() -> store::Status {
      auto given = Act(store, request, now, timeline);
      if (!given) {
        return tl::unexpected(given.error());
      }
      answered = true;
      return store.AnswerRequest(request.id, given->first, given->second, now.wall);
    };
    if (auto status = exchange_.Try({request.product, request.device}, answer); !status) {
      return tl::unexpected(status.error());
    }
    if (!answered) {
      auto status = store.AnswerRequest(request.id, store::RequestState::kRefused,
                                        "the database refused it: see the broker's log", now.wall);
      if (!status) {
        return tl::unexpected(status.error());
      }
    }
  }
  return static_cast<int>(requests->size());
}

// ---------------------------------------------------------------- slices

store::Status Plans::Scan(store::Store& store, Job& job) {
  const auto found = exchange_.catalogue().plans.find(job.plan);
  if (found == exchange_.catalogue().plans.end() || !found->second.state ||
      found->second.state->phase == store::PlanPhase::kCanceled ||
      found->second.state->phase == store::PlanPhase::kEnded) {
    job.done = true;
    return {};
  }
  const std::shared_ptr<const core::Plan>& plan = found->second.plan;
  store::PlanState state = *found->second.state;
  auto devices = store.DevicesAfter(plan->name, plan->product, job.cursor, kSlice);
  if (!devices) {
    return tl::unexpected(devices.error());
  }
  for (const store::Candidate& candidate : *devices) {
    job.cursor = candidate.device.id;
    if (candidate.has_task || candidate.black) {
      continue;
    }
    auto status = exchange_.Try(candidate.device.key,
                                [&] { return exchange_.Join(candidate.device.key, plan); });
    if (!status) {
      return status;
    }
  }
  job.done = devices->size() < static_cast<std::size_t>(kSlice);
  state.scanned_id = job.done ? 0 : job.cursor;
  state.scanned = job.done;
  return store.SavePlanState(state);
}

store::Status Plans::CancelSlice(store::Store& store, Job& job) {
  auto devices = store.LiveDevices(job.plan, job.cursor, kSlice);
  if (!devices) {
    return tl::unexpected(devices.error());
  }
  const bool end = job.kind == JobKind::kEnd;
  for (const store::DeviceRef& device : *devices) {
    job.cursor = device.id;
    auto status = exchange_.Try(device.key, [&]() -> store::Status {
      auto canceled =
          exchange_.Cancel(device.key, job.plan,
                           end ? core::Reason::kPlanEnded : core::Reason::kPlanCanceled, "", end);
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

store::Status Plans::Work(store::Store& store) {
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
  switch (worked_->kind) {
    case JobKind::kScan:
      return Scan(store, *worked_);
    case JobKind::kCancel:
    case JobKind::kEnd:
      return CancelSlice(store, *worked_);
    case JobKind::kWake:
    case JobKind::kLook:
      return Devices(*worked_);
  }
  return {};
}

}  // namespace ota::engine
