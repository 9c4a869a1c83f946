#include "engine/plans.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "core/names.h"
#include "core/rollout.h"
#include "engine/pace.h"
#include "engine/windows.h"

namespace ota::engine {
namespace {

using std::chrono::steady_clock;

// Small enough that a slice holds the database for a few milliseconds; a transaction works on
// slices for kWorkTime.
constexpr int kSlice = 50;
constexpr int kScanSlice = 100;
constexpr int kListSlice = 1000;
constexpr std::chrono::milliseconds kWorkTime{25};
constexpr int kMaxAside = 1000;
constexpr int kWaiting = 100;  // tasks that are looked at in one go when the pace allows some
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

// ---------------------------------------------------------------- requests

core::Result<Plans::Answer> Plans::Release(store::Store& store, const store::Request& request,
                                           core::Now now, Timeline& timeline) {
  if (!request.device.empty()) {
    auto refused = exchange_.Release({request.product, request.device});
    if (!refused) {
      return tl::unexpected(refused.error());
    }
    return refused->empty() ? std::pair{store::RequestState::kDone, std::string("released")}
                            : std::pair{store::RequestState::kRefused, *refused};
  }
  int released = 0;
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    if (!entry.state || (!request.plan.empty() && request.plan != name) ||
        (entry.state->phase != store::PlanPhase::kHeld && entry.state->halted.empty())) {
      continue;
    }
    store::PlanState state = *entry.state;
    store::Status status;
    if (!state.halted.empty()) {
      status = LetGo(store, name, state);
    }
    if (status && state.phase == store::PlanPhase::kHeld) {
      state.phase = entry.plan->wanted == core::Wanted::kPaused ? store::PlanPhase::kPaused
                                                                : store::PlanPhase::kActive;
      state.reason.clear();
      status = store.SavePlanState(state);
    }
    if (status) {
      status = Note(store, *entry.plan, "released", now);
    }
    if (!status) {
      return tl::unexpected(status.error());
    }
    Wake(entry.plan->product);
    WakeQueued(name);
    ++released;
  }
  bool clock = false;
  if (request.plan.empty() && !now.trusted) {
    timeline.TrustFrom(now.wall);
    clock = true;
  }
  if (released == 0 && !clock) {
    return std::pair{store::RequestState::kRefused,
                     request.plan.empty()
                         ? std::string("nothing is held and nothing has halted")
                         : "plan '" + request.plan + "' is not held and has not halted"};
  }
  return std::pair{store::RequestState::kDone, std::to_string(released) + " plans released" +
                                                   (clock ? "; the clock is trusted" : "")};
}

// The failed tasks of a whole plan, in slices: the request stays new until the last one, and says
// how far it is. A task that cannot be tried again stops none of the others.
core::Result<Plans::Answer> Plans::RetryAll(store::Store& store, const store::Request& request) {
  auto devices = store.FailedDevices(request.plan, request.at_device, kSlice);
  if (!devices) {
    return tl::unexpected(devices.error());
  }
  int tasks = request.tasks;
  std::string why = "plan '" + request.plan + "' has no failed task";
  for (const store::DeviceRef& device : *devices) {
    auto refused = exchange_.Retry(device.key, request.plan, request.argument);
    if (!refused) {
      return tl::unexpected(refused.error());
    }
    tasks += refused->empty() ? 1 : 0;
    why = refused->empty() ? why : *refused;
  }
  if (devices->size() == static_cast<std::size_t>(kSlice)) {
    more_requests_ = true;
    if (auto status = store.SaveProgress(request.id, devices->back().id, tasks); !status) {
      return tl::unexpected(status.error());
    }
    return Answer{};
  }
  return tasks == 0 ? std::pair{store::RequestState::kRefused, why}
                    : std::pair{store::RequestState::kDone,
                                std::to_string(tasks) + " tasks are tried again"};
}

core::Result<Plans::Answer> Plans::Act(store::Store& store, const store::Request& request,
                                       core::Now now, Timeline& timeline) {
  const std::shared_ptr<const core::Plan> plan = exchange_.catalogue().FindPlan(request.plan);
  const core::DeviceKey key{
      request.product.empty() && plan != nullptr ? plan->product : request.product, request.device};
  if (request.act == "release") {
    return Release(store, request, now, timeline);
  }
  if (request.act == "retry" && request.device.empty()) {
    return RetryAll(store, request);
  }
  if (request.act == "retry" || request.act == "consent") {
    auto refused = request.act == "retry" ? exchange_.Retry(key, request.plan, request.argument)
                                          : exchange_.Consent(key, request.plan, request.argument);
    if (!refused) {
      return tl::unexpected(refused.error());
    }
    return refused->empty() ? std::pair{store::RequestState::kDone, std::string("done")}
                            : std::pair{store::RequestState::kRefused, *refused};
  }
  if (request.act == "explain") {
    auto plans = exchange_.Explain(request.id, key, request.plan);
    if (!plans) {
      return tl::unexpected(plans.error());
    }
    return *plans == 0
               ? std::pair{store::RequestState::kRefused, std::string("no such plan is in force")}
               : std::pair{store::RequestState::kDone, std::to_string(*plans) + " plans"};
  }
  if (request.act == "cancel") {
    auto canceled =
        exchange_.Cancel(key, request.plan, core::Reason::kTaskCanceled, request.argument);
    if (!canceled) {
      return tl::unexpected(canceled.error());
    }
    return *canceled == 0 ? std::pair{store::RequestState::kRefused,
                                      std::string("the device has no such task to cancel")}
                          : std::pair{store::RequestState::kDone,
                                      std::to_string(*canceled) + " tasks canceled"};
  }
  return std::pair{store::RequestState::kRefused, "unknown act '" + request.act + "'"};
}

core::Result<int> Plans::AnswerRequests(store::Store& store, core::Now now, Timeline& timeline) {
  auto requests = store.NewRequests(kRequestSlice);
  if (!requests) {
    return tl::unexpected(requests.error());
  }
  more_requests_ = false;
  for (const store::Request& request : *requests) {
    bool handled = false;
    const auto answer = [&]() -> store::Status {
      auto given = Act(store, request, now, timeline);
      if (!given) {
        return tl::unexpected(given.error());
      }
      handled = true;
      return *given ? store.AnswerRequest(request.id, (*given)->first, (*given)->second, now.wall)
                    : store::Status{};
    };
    if (auto status = exchange_.Try({request.product, request.device}, answer); !status) {
      return tl::unexpected(status.error());
    }
    if (!handled) {
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

// Makes the tasks of those candidates that have none. Devices that are away cost two inserts each;
// the others get their offer at once.
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
    return store.DevicesAfter(plan, job.cursor, kScanSlice);
  }
  std::vector<store::Candidate> candidates;
  while (!job.listed.empty() && candidates.size() < static_cast<std::size_t>(kScanSlice)) {
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
      found->second.state->phase == store::PlanPhase::kEnded) {
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
  job.done = devices->size() < static_cast<std::size_t>(kScanSlice) && job.listed.empty();
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
    }
    if (none) {
      warning = "no device matched when the plan was activated: nothing will be upgraded";
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
      found->second.state->phase == store::PlanPhase::kEnded) {
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
                                    static_cast<int>(std::min<std::size_t>(left, kScanSlice)));
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
