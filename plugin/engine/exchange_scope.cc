// Which devices a plan takes, what holds them up, and why: the part of Exchange that looks at plans
// as a whole.
#include <algorithm>
#include <array>
#include <tuple>

#include "core/eligibility.h"
#include "core/names.h"
#include "core/rollout.h"
#include "crypto/random.h"
#include "engine/exchange.h"
#include "engine/windows.h"

namespace ota::engine {
namespace {

constexpr std::array kOpenStates = {core::TaskState::kOffered,   core::TaskState::kPostponed,
                                    core::TaskState::kAccepted,  core::TaskState::kDownloading,
                                    core::TaskState::kWaiting,   core::TaskState::kInstalling,
                                    core::TaskState::kRebooting, core::TaskState::kRetrying};

bool IsScanning(const store::PlanEntry& entry) {
  return entry.state && !entry.state->scanned;
}

}  // namespace

// ---------------------------------------------------------------- Load

store::Status Exchange::LoadBrakes(Loaded& loaded) {
  core::Snapshot& snapshot = loaded.snapshot;
  snapshot.streaks = loaded.known.streaks;
  snapshot.stopped = catalogue_->settings.stopped;
  if (catalogue_->holds) {
    auto hold = store_->LoadHold(snapshot.device.key, now_.wall);
    if (!hold) {
      return tl::unexpected(hold.error());
    }
    snapshot.hold = std::move(*hold);
  }
  return {};
}

core::Result<const Pace::State*> Exchange::PaceOf(const std::string& plan) {
  if (const Pace::State* known = pace_.Find(plan)) {
    return known;
  }
  const auto count = [&](core::TaskState state, int& to) -> store::Status {
    auto tasks = store_->CountTasks(plan, state);
    if (!tasks) {
      return tl::unexpected(tasks.error());
    }
    to += static_cast<int>(*tasks);
    return {};
  };
  Pace::Counts counts;
  store::Status status;
  for (const core::TaskState state : kOpenStates) {
    status = status ? count(state, counts.open) : status;
  }
  status = status ? count(core::TaskState::kFailed, counts.failed) : status;
  counts.ended = counts.failed;
  status = status ? count(core::TaskState::kSucceeded, counts.ended) : status;
  if (!status) {
    return tl::unexpected(status.error());
  }
  pace_.Count(plan, counts);
  return pace_.Find(plan);
}

std::optional<core::Instant> Exchange::OpensAt(const core::Plan& plan) {
  if (!plan.window) {
    return std::nullopt;
  }
  const auto known = windows_.find(plan.name);
  if (known != windows_.end() && known->second.from <= now_.wall &&
      now_.wall < known->second.until) {
    return known->second.opens;
  }
  const std::optional<core::Instant> flip = NextFlip(*plan.window, now_.wall);
  WindowNow window{now_.wall, flip.value_or(core::Instant::max()), std::nullopt};
  if (!IsOpen(*plan.window, now_.wall)) {
    window.opens = window.until;
  }
  windows_[plan.name] = window;
  return window.opens;
}

// What the plans of the snapshot's tasks can give at this moment.
store::Status Exchange::LoadPace(core::Snapshot& snapshot) {
  const auto add = [&](const core::Task& task) -> store::Status {
    const core::Plan& plan = *task.plan;
    const auto entry = catalogue_->plans.find(plan.name);
    if (entry == catalogue_->plans.end() || snapshot.plans.contains(plan.name)) {
      return {};
    }
    auto state = PaceOf(plan.name);
    if (!state) {
      return tl::unexpected(state.error());
    }
    core::PlanNow now{OpensAt(plan), (*state)->counts.open, (*state)->next_offer,
                      (*state)->next_download};
    if (IsPaced(plan) && IsScanning(entry->second)) {
      // The order among the devices is known when all of them have a task.
      now.next_offer = std::max(now.next_offer, now_.steady + core::seconds(1));
      now.next_download = std::max(now.next_download, now_.steady + core::seconds(1));
      now.open_tasks = std::max(now.open_tasks, plan.max_open.value_or(0));
    }
    snapshot.plans.emplace(plan.name, now);
    return {};
  };
  store::Status status = snapshot.open ? add(*snapshot.open) : store::Status{};
  status = status && snapshot.named ? add(*snapshot.named) : status;
  for (const auto* tasks : {&snapshot.queued, &snapshot.prospects}) {
    for (const core::Task& task : *tasks) {
      status = status ? add(task) : status;
    }
  }
  return status;
}

// ---------------------------------------------------------------- scope

core::Result<core::Task> Exchange::NewTask(const std::shared_ptr<const core::Plan>& plan,
                                           const store::Listed& listed, core::Instant seen) const {
  auto name = crypto::RandomName(kTaskNameLength);
  if (!name) {
    return tl::unexpected(name.error());
  }
  core::Task task = core::MakeTask(plan, std::move(*name), now_.wall);
  task.listed_white = listed.white;
  task.listed_black = listed.black;
  task.position = PositionOf(listed.rank, listed.position, seen);
  return task;
}

store::Status Exchange::Join(const core::DeviceKey& key,
                             const std::shared_ptr<const core::Plan>& plan, bool if_matches) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return {};
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  const core::Device& device = loaded->snapshot.device;
  auto listed = store_->ListedIn(plan->name, key.device);
  if (!listed) {
    return tl::unexpected(listed.error());
  }
  if (device.id == 0 ||
      (if_matches && !core::Matches(*plan, device, listed->white, listed->black))) {
    return {};
  }
  auto has = store_->HasTask(plan->name, device.id);
  if (!has) {
    return tl::unexpected(has.error());
  }
  if (*has) {
    return {};
  }
  auto made = NewTask(plan, *listed, device.seen);
  if (!made) {
    return tl::unexpected(made.error());
  }
  core::Task task = std::move(*made);
  // Its plan's pace counts too.
  loaded->snapshot.prospects = {task};
  if (auto status = LoadPace(loaded->snapshot); !status) {
    return status;
  }
  loaded->snapshot.prospects.clear();
  return Apply(*loaded, core::DecideJoin(loaded->snapshot, std::move(task), now_), Lane::kPush,
               nullptr);
}

core::Result<std::optional<core::Task>> Exchange::MakeAway(
    const std::shared_ptr<const core::Plan>& plan, const store::Candidate& candidate) {
  const store::ProductEntry* product = catalogue_->FindProduct(plan->product);
  if (product == nullptr || plan->overrides || connections_.Find(candidate.device.key) != nullptr) {
    return std::nullopt;
  }
  auto made = NewTask(plan, candidate.listed, candidate.device.seen);
  if (!made) {
    return tl::unexpected(made.error());
  }
  core::Task task = std::move(*made);
  Loaded loaded;
  core::Snapshot& snapshot = loaded.snapshot;
  snapshot.product = product->product;
  snapshot.device = candidate.device;
  snapshot.prospects.push_back(task);
  if (auto status = LoadBrakes(loaded); !status) {
    return tl::unexpected(status.error());
  }
  if (auto status = LoadPace(snapshot); !status) {
    return tl::unexpected(status.error());
  }
  if (core::AtTargets(snapshot.device, task)) {
    return std::nullopt;
  }
  const std::optional<core::Verdict> obstacle = core::FirstObstacle(snapshot, task, now_);
  if (!obstacle) {
    return std::nullopt;
  }
  task.reason = obstacle->reason;
  task.detail = obstacle->value;
  if (!obstacle->limit.empty()) {
    task.detail += (task.detail.empty() ? "" : " / ") + obstacle->limit;
  }
  return task;
}

store::Status Exchange::LookBefore(const store::ProductEntry& product, const core::DeviceKey& key) {
  std::optional<store::KnownDevice> known;
  for (const auto& plan : product.in_force) {
    const auto entry = catalogue_->plans.find(plan->name);
    if (plan->scope_kind != core::ScopeKind::kStatic || entry == catalogue_->plans.end() ||
        !IsScanning(entry->second)) {
      continue;
    }
    if (!known) {
      auto loaded = store_->LoadDevice(key, product.tags);
      if (!loaded) {
        return tl::unexpected(loaded.error());
      }
      known = std::move(*loaded);
    }
    core::Device& device = known->device;
    device.retired = known->retired;
    if (device.id <= entry->second.state->scanned_id ||
        device.id > entry->second.state->last_device_id) {
      continue;
    }
    auto slice = store_->DevicesAfter(*plan, device.id - 1, 1);
    if (!slice) {
      return tl::unexpected(slice.error());
    }
    if (slice->empty() || slice->front().device.id != device.id || slice->front().looked ||
        slice->front().has_task) {
      continue;
    }
    const store::Listed& listed = slice->front().listed;
    store::Status status = store_->AddLooked(plan->name, device.id);
    if (status && core::Matches(*plan, device, listed.white, listed.black)) {
      status = Take(plan, device, listed);
    }
    if (!status) {
      return status;
    }
  }
  return {};
}

// The plan takes the device, and offers nothing: the uplink that is about to be judged does.
store::Status Exchange::Take(const std::shared_ptr<const core::Plan>& plan,
                             const core::Device& device, const store::Listed& listed) {
  if (plan->percent) {
    return store_->AddMember(plan->name, core::StableHash(plan->name, device.key.device),
                             device.id);
  }
  if (plan->overrides) {
    return Join(device.key, plan);
  }
  auto task = NewTask(plan, listed, device.seen);
  if (!task) {
    return tl::unexpected(task.error());
  }
  const std::pair<store::DeviceRef, core::Task> one{store::DeviceRef{device.id, device.key},
                                                    std::move(*task)};
  return store_->AddTasks({&one, 1}, now_.wall);
}

// ---------------------------------------------------------------- acts

core::Result<int> Exchange::Explain(std::int64_t request, const core::DeviceKey& key,
                                    const std::string& plan) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return 0;
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  core::Snapshot& snapshot = loaded->snapshot;
  std::vector<std::shared_ptr<const core::Plan>> plans = product->in_force;
  if (!plan.empty()) {
    auto one = catalogue_->FindPlan(plan);
    plans = one == nullptr || one->product != key.product
                ? std::vector<std::shared_ptr<const core::Plan>>{}
                : std::vector{std::move(one)};
  }
  const core::Duration ahead = now_.wall - now_.steady;
  for (const auto& one : plans) {
    auto listed = store_->ListedIn(one->name, key.device);
    if (!listed) {
      return tl::unexpected(listed.error());
    }
    auto has = store_->LoadTaskOf(one->name, snapshot.device, *catalogue_);
    if (!has) {
      return tl::unexpected(has.error());
    }
    core::Task task = *has ? **has : core::MakeTask(one, "", now_.wall);
    task.listed_white = listed->white;
    task.listed_black = listed->black;
    if (!*has && (one->scope_kind == core::ScopeKind::kStatic || one->new_reports)) {
      auto member =
          store_->IsMember(one->name, core::StableHash(one->name, key.device), snapshot.device.id);
      if (!member) {
        return tl::unexpected(member.error());
      }
      task.member = *member;
      task.in_phase = !*member;
    }
    snapshot.prospects = {task};
    if (auto status = LoadPace(snapshot); !status) {
      return tl::unexpected(status.error());
    }
    int seq = 0;
    auto status = store_->Explain(request, one->name, seq++, "task", task.ended == core::Instant{},
                                  core::Name(task.reason), *has ? core::Name(task.state) : "none",
                                  task.detail, std::nullopt);
    snapshot.prospects.clear();
    for (const core::Verdict& verdict : core::Explain(snapshot, task, now_)) {
      if (!status) {
        break;
      }
      std::optional<core::Instant> when;
      if (verdict.when) {
        when = *verdict.when + ahead;
      }
      status = store_->Explain(request, one->name, seq++, verdict.rule, verdict.ok,
                               verdict.ok ? std::string_view() : core::Name(verdict.reason),
                               verdict.value, verdict.limit, when);
    }
    if (!status) {
      return tl::unexpected(status.error());
    }
  }
  return static_cast<int>(plans.size());
}

core::Result<std::string> Exchange::Release(const core::DeviceKey& key) {
  auto known = store_->LoadDevice(key);
  if (!known) {
    return tl::unexpected(known.error());
  }
  if (std::ranges::none_of(known->streaks, &core::Streak::aside)) {
    return "the device is not put aside";
  }
  core::LogEntry line;
  line.event = "release";
  for (const core::Streak& streak : known->streaks) {
    if (streak.aside) {
      line.component = streak.component;
      line.detail += (line.detail.empty() ? "" : ", ") + streak.target;
    }
  }
  store::Status status = store_->DropStreaks(known->device.id);
  if (status) {
    status = store_->Log(line, key, now_.wall);
  }
  if (status) {
    outcome_.log.push_back({LogLevel::kNotice, "audit device " + key.product + '/' + key.device +
                                                   ": released, was put aside for " + line.detail});
    status = Next(key);
  }
  if (!status) {
    return tl::unexpected(status.error());
  }
  return "";
}

store::Status Exchange::Measured(const core::DeviceKey& key, store::Measure value,
                                 std::int64_t number) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return {};
  }
  auto known = store_->LoadDevice(key);
  if (!known) {
    return tl::unexpected(known.error());
  }
  const std::int64_t id = known->device.id;
  if (id == 0 || known->device.disabled) {
    return {};
  }
  core::Device& device = seen_.try_emplace(id, std::move(known->device)).first->second;
  const std::tuple before(device.battery, device.signal, device.free_bytes);
  switch (value) {
    case store::Measure::kBattery:
      device.battery = static_cast<int>(number);
      break;
    case store::Measure::kSignal:
      device.signal = static_cast<int>(number);
      break;
    case store::Measure::kFreeBytes:
      device.free_bytes = number;
      break;
  }
  if (std::tuple(device.battery, device.signal, device.free_bytes) != before) {
    EndRepeated(device);  // its last report would change something again
  }
  device.reported = now_.wall;
  const Connection* connection = connections_.Find(key);
  return connection != nullptr && connection->waits ? Next(key) : store::Status{};
}

}  // namespace ota::engine
