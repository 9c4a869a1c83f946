#include "engine/plans.h"

#include <algorithm>

#include "core/rollout.h"
#include "engine/pace.h"
#include "engine/windows.h"

namespace ota::engine {
namespace {

constexpr int kMaxAside = 1000;
constexpr int kWaiting = 100;  // tasks that are looked at in one go when the pace allows some
constexpr int kJournalSlice = 5000;
// More devices than this whose rows changed at once are matched by scanning their products again.
constexpr std::size_t kMatchAtOnce = 200;
constexpr char kClosed[] = "wanted='canceled': no device joins any more, its tasks go on";

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
  times_.clear();
  noted_.reset();
  stale_ = false;
}

void Plans::Reopened() {
  Undone();
  jobs_.clear();
  look_.clear();
}

void Plans::Look(const std::vector<core::DeviceKey>& devices) {
  look_.insert(devices.begin(), devices.end());
}

void Plans::WakeQueued(const std::string& plan) {
  Job job;
  job.kind = JobKind::kQueued;
  job.plan = plan;
  Add(std::move(job));
}

void Plans::WakePlans(const std::string& product) {
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    if (entry.state && (product.empty() || entry.plan->product == product)) {
      WakeQueued(name);
    }
  }
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
  std::set<std::string> brakes;  // products of which a brake was put on or let go; empty: all
  for (const store::Change& change : *rows) {
    journal_ = change.id;
    if (change.table == "device" || change.table == "device_secret") {
      changed.devices.push_back({change.product, change.key});
    }
    if (change.table == "plan") {
      finished_.erase({JobKind::kCancel, change.key});  // it may cancel more than before
    }
    if (change.table == "device_secret") {
      continue;  // plans do not ask for it
    }
    if (change.table == "device" || change.table == "device_tag") {
      changed_.push_back({change.product, change.key});
    } else if (change.table == "hold" || change.table == "setting") {
      brakes.insert(change.product);
      wake.insert(change.product);
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
    if (entry == exchange_.catalogue().plans.end() || !entry->second.state ||
        entry->second.plan->scope_kind == core::ScopeKind::kStatic ||
        entry->second.plan->new_reports) {
      continue;
    }
    store::PlanState state = *entry->second.state;
    state.scanned = false;
    state.scanned_id = 0;
    if (auto status = store.SaveScan(state); !status) {
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
  for (const std::string& product : brakes) {
    WakePlans(product);
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
        if (plan->scope_kind == core::ScopeKind::kDynamic && !plan->new_reports &&
            entry != exchange_.catalogue().plans.end() && entry->second.state) {
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

// A line of the plan in the log and in the broker's.
store::Status Plans::Note(store::Store& store, const core::Plan& plan, const std::string& what,
                          core::Now now) {
  core::LogEntry line;
  line.plan = plan.name;
  line.event = "plan";
  line.detail = what;
  Audit(plan.name, what);
  return store.Log(line, {plan.product, ""}, now.wall);
}

// A plan that halted by itself goes on; failures count anew.
store::Status Plans::LetGo(store::Store& store, const std::string& plan, store::PlanState state) {
  auto pace = exchange_.PaceOf(plan);
  if (!pace) {
    return tl::unexpected(pace.error());
  }
  state.halted.clear();
  state.base_failed = (*pace)->counts.failed;
  state.base_ended = (*pace)->counts.ended;
  return store.SaveHalt(state);
}

// Whether a task of the plan waits or is open.
core::Result<bool> Plans::HasTasks(store::Store& store, const std::string& plan) {
  auto pace = exchange_.PaceOf(plan);
  if (!pace) {
    return tl::unexpected(pace.error());
  }
  auto queued = store.QueuedDevices(plan, 0, 1);
  if (!queued) {
    return tl::unexpected(queued.error());
  }
  return (*pace)->counts.open > 0 || !queued->empty();
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
  } else if (plan.end && now.trusted && *plan.end <= now.wall) {
    state.activated = entry.state ? state.activated : now.wall;  // too late: nobody joins
    state.phase = store::PlanPhase::kEnded;
    state.reason = "its end has come";
    state.ended = now.wall;
    what = "ended";
    job = JobKind::kEnd;
  } else if (plan.closed) {
    // Before its start all that it has is scheduled: that is what it ends. (004-73)
    const bool scheduled = plan.start && now.wall < *plan.start;
    auto goes_on = scheduled ? core::Result<bool>(false) : HasTasks(store, plan.name);
    if (!goes_on) {
      return tl::unexpected(goes_on.error());
    }
    if (*goes_on && state.reason == kClosed) {
      return false;
    }
    if (*goes_on) {
      state.reason = kClosed;
      what = "canceled: no device joins any more, its tasks go on";
      state.scanned = true;  // also if it was being activated
      auto status = store.DropLooked(plan.name);
      status = status ? store.SaveScan(state) : status;
      if (!status) {
        return tl::unexpected(status.error());
      }
    } else {
      state.phase = store::PlanPhase::kCanceled;
      state.reason = "wanted='canceled'";
      state.ended = now.wall;
      what = "canceled";
      job = JobKind::kCancel;
    }
  } else if (!entry.state) {
    state.phase = plan.wanted == core::Wanted::kActive ? store::PlanPhase::kActive
                                                       : store::PlanPhase::kPaused;
    state.activated = now.wall;
    what = "activated";
    if (plan.new_reports) {
      state.scanned = true;  // nobody who reported before is meant
    } else {
      auto last = store.RegisteredDevices();
      if (!last) {
        return tl::unexpected(last.error());
      }
      state.last_device_id = *last;
      job = JobKind::kScan;
    }
  } else if (state.phase == store::PlanPhase::kActive && plan.wanted == core::Wanted::kPaused) {
    state.phase = store::PlanPhase::kPaused;
    what = "paused";
  } else if (state.phase == store::PlanPhase::kPaused && plan.wanted == core::Wanted::kActive) {
    state.phase = store::PlanPhase::kActive;
    what = "resumed";
    if (!state.halted.empty()) {
      if (auto status = LetGo(store, plan.name, state); !status) {
        return tl::unexpected(status.error());
      }
    }
  } else {
    return false;
  }
  if (auto status = store.SavePlanState(state); !status) {
    return tl::unexpected(status.error());
  }
  if (auto status = Note(store, plan, what, now); !status) {
    return tl::unexpected(status.error());
  }
  if (job) {
    Job next;
    next.kind = *job;
    next.plan = plan.name;
    Add(std::move(next));
  }
  if (job != JobKind::kScan) {
    Wake(plan.product);
    WakeQueued(plan.name);
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
      } else if (entry.plan->closed) {
        continue;
      } else if (!entry.state->scanned) {
        job.kind = JobKind::kScan;
        job.cursor = entry.state->scanned_id;
      } else if (entry.plan->percent &&
                 entry.state->picked < core::Picked(entry.state->members, *entry.plan->percent)) {
        job.kind = JobKind::kPick;
      } else {
        continue;
      }
      const bool running = std::ranges::any_of(jobs_, [&](const Job& other) {
        return other.kind == job.kind && other.plan == job.plan;
      });
      // What was picked is saved, and the catalogue loaded again, before more are wanted.
      const bool again = job.kind == JobKind::kPick;
      if (!running && (again || !finished_.contains({job.kind, job.plan}))) {
        Add(std::move(job));
      }
    }
  }
  return changed;
}

// ---------------------------------------------------------------- time

core::Result<std::optional<core::Instant>> Plans::NextChange(store::Store& store, core::Now now) {
  std::optional<core::Instant> next;
  const auto consider = [&](const std::optional<core::Instant>& at) {
    if (at && *at > now.wall && (!next || *at < *next)) {
      next = at;
    }
  };
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    consider(entry.plan->start);
    consider(entry.plan->end);
    if (entry.plan->window) {
      consider(NextFlip(*entry.plan->window, now.wall));
    }
  }
  for (const auto& found : {store.NextHoldEnd(now.wall), store.NextStreakEnd(now.wall)}) {
    if (!found) {
      return tl::unexpected(found.error());
    }
    consider(*found);
  }
  return next;
}

store::Status Plans::NoteTime(store::Store& store, core::Now now) {
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    const core::Plan& plan = *entry.plan;
    const std::pair<bool, bool> is = {!plan.start || *plan.start <= now.wall,
                                      !exchange_.OpensAt(plan)};
    const auto [was, first] = times_.try_emplace(name, is);
    if (!first && was->second != is) {
      was->second = is;
      WakeQueued(name);
    }
  }
  const core::Instant since = std::min(noted_.value_or(now.wall), now.wall);
  noted_ = now.wall;
  auto hold = store.NextHoldEnd(since);
  if (!hold) {
    return tl::unexpected(hold.error());
  }
  if (*hold && **hold <= now.wall) {
    stale_ = true;  // whose downloads are cut is read with the catalogue
    Wake("");
    WakePlans("");
  }
  auto aside = store.StreaksEnded(since, now.wall, kMaxAside);
  if (!aside) {
    return tl::unexpected(aside.error());
  }
  for (const store::DeviceRef& device : *aside) {
    look_.insert(device.key);
  }
  return {};
}

store::Status Plans::Proceed(store::Store& store, core::Now now) {
  next_slot_.reset();
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    const core::Plan& plan = *entry.plan;
    if (!IsPaced(plan) || !entry.state || entry.state->phase != store::PlanPhase::kActive ||
        !entry.state->scanned) {
      continue;
    }
    // When the next offer may be made; nothing: when a task ends.
    const auto slot = [&]() -> core::Result<std::optional<core::Instant>> {
      auto pace = exchange_.PaceOf(plan.name);
      if (!pace) {
        return tl::unexpected(pace.error());
      }
      if (plan.max_open && (*pace)->counts.open >= *plan.max_open) {
        return std::nullopt;
      }
      return std::max(plan.rate ? (*pace)->next_offer : core::Instant{},
                      plan.bytes_per_second ? (*pace)->next_download : core::Instant{});
    };
    auto at = slot();
    if (!at) {
      return tl::unexpected(at.error());
    }
    if (!*at) {
      continue;
    }
    // Before the slot it is enough to know that somebody waits for it.
    auto waiting = store.WaitingDevices(name, **at > now.steady ? 1 : kWaiting);
    if (!waiting) {
      return tl::unexpected(waiting.error());
    }
    for (const store::DeviceRef& device : *waiting) {
      if (!*at || **at > now.steady) {
        break;
      }
      auto status = exchange_.Try(device.key, [&] { return exchange_.Next(device.key); });
      if (!status) {
        return status;
      }
      at = slot();
      if (!at) {
        return tl::unexpected(at.error());
      }
    }
    if (waiting->empty() || !*at) {
      continue;
    }
    // Something else holds up those that were looked at, or there are more.
    const core::Instant next = std::max(**at, now.steady + core::Duration(10));
    next_slot_ = std::min(next_slot_.value_or(next), next);
  }
  return {};
}

store::Status Plans::CheckHalts(store::Store& store, core::Now now) {
  for (const std::string& name : exchange_.pace().ended()) {
    const auto found = exchange_.catalogue().plans.find(name);
    if (found == exchange_.catalogue().plans.end() || !found->second.state ||
        found->second.state->phase != store::PlanPhase::kActive ||
        !found->second.state->halted.empty()) {
      continue;
    }
    if (found->second.plan->closed) {
      auto goes_on = HasTasks(store, name);
      if (!goes_on) {
        return tl::unexpected(goes_on.error());
      }
      stale_ = stale_ || !*goes_on;  // Reconcile says that it is over
    }
    auto pace = exchange_.PaceOf(name);
    if (!pace) {
      return tl::unexpected(pace.error());
    }
    store::PlanState state = *found->second.state;
    const auto since = [](int count, std::int64_t base) {
      return std::max<std::int64_t>(0, count - base);
    };
    const std::optional<std::string> why =
        core::Halts(*found->second.plan, since((*pace)->counts.failed, state.base_failed),
                    since((*pace)->counts.ended, state.base_ended));
    if (!why) {
      continue;
    }
    state.halted = *why;
    store::Status status = store.SaveHalt(state);
    if (status) {
      status = Note(store, *found->second.plan, "halted: " + *why, now);
    }
    if (!status) {
      return status;
    }
    stale_ = true;
    Wake(found->second.plan->product);
    WakeQueued(name);
  }
  return {};
}

}  // namespace ota::engine
