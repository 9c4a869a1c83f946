// What people, plans and time do to one device, as uplinks do it in exchange.cc: Load, Decide, and
// Apply for the rest.
#include <algorithm>

#include "core/names.h"
#include "core/rollout.h"
#include "core/step.h"
#include "crypto/random.h"
#include "engine/exchange.h"

namespace ota::engine {

store::Status Exchange::Next(const core::DeviceKey& key) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return {};
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  if (loaded->snapshot.device.id == 0) {
    return {};
  }
  return Apply(*loaded, core::DecideNext(loaded->snapshot, now_), Lane::kPush, nullptr);
}

core::seconds Exchange::SilenceOf(const core::DeviceKey& key) const {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  const dialect::Dialect* speaks =
      product == nullptr ? nullptr : Speaks(*product, connections_.Find(key));
  return speaks == nullptr ? core::seconds(0) : speaks->silence;
}

bool Exchange::IsSilent(const core::DeviceKey& key, std::uint64_t generation) const {
  const Connection* connection = connections_.Find(key);
  return connection != nullptr && connection->generation == generation &&
         connection->reported != generation && !bursts_.Has(key) &&
         SilenceOf(key) > core::seconds(0);
}

store::Status Exchange::Silent(const core::DeviceKey& key, std::uint64_t generation) {
  if (!IsSilent(key, generation)) {
    return {};
  }
  auto loaded = Load(*catalogue_->FindProduct(key.product), key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  core::Snapshot& snapshot = loaded->snapshot;
  const std::optional<core::Task>& open = snapshot.open;
  if (snapshot.device.id == 0 || snapshot.device.disabled ||
      (open && core::IsInFlight(open->state) && core::InUpgrade(*open))) {
    return {};  // it goes on; a message would begin a second download beside the first
  }
  snapshot.device.reported_connection = generation;
  return Apply(*loaded, core::DecideNext(snapshot, now_), Lane::kPush, nullptr);
}

store::Status Exchange::Deadline(const core::DeviceKey& key) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return {};
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  return Apply(*loaded, core::DecideDeadline(loaded->snapshot, now_), Lane::kPush, nullptr);
}

core::Result<int> Exchange::Cancel(const core::DeviceKey& key, const std::string& plan,
                                   core::Reason reason, const std::string& detail) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  int canceled = 0;
  while (product != nullptr) {
    auto loaded = Load(*product, key);
    if (!loaded) {
      return tl::unexpected(loaded.error());
    }
    const auto wanted = [&](const core::Task& task) {
      return (plan.empty() || task.plan->name == plan) &&
             (reason == core::Reason::kTaskCanceled || core::EndsWithPlan(task, reason));
    };
    const core::Snapshot& snapshot = loaded->snapshot;
    const auto queued = std::ranges::find_if(snapshot.queued, wanted);
    std::string task;
    if (queued != snapshot.queued.end()) {
      task = queued->name;
    } else if (snapshot.open && wanted(*snapshot.open)) {
      task = snapshot.open->name;
    } else {
      break;
    }
    auto status = Apply(*loaded, core::DecideCancel(snapshot, task, reason, detail, now_),
                        Lane::kPush, nullptr);
    if (!status) {
      return tl::unexpected(status.error());
    }
    ++canceled;
  }
  return canceled;
}

core::Result<std::string> Exchange::Retry(const core::DeviceKey& key, const std::string& plan,
                                          const std::string& detail) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return "there is no such product";
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  auto task = store_->LoadTaskOf(plan, loaded->snapshot.device, *catalogue_);
  if (!task) {
    return tl::unexpected(task.error());
  }
  if (!*task) {
    return "the device has no task of this plan";
  }
  if ((*task)->ended == core::Instant{}) {
    return "the task has not ended: it is " + std::string(core::Name((*task)->state));
  }
  if ((*task)->state == core::TaskState::kSucceeded) {
    return "the task has succeeded";
  }
  if ((*task)->plan->wanted != core::Wanted::kActive || (*task)->plan->closed) {
    return "the plan is not active";
  }
  auto name = crypto::RandomName(kTaskNameLength);
  if (!name) {
    return tl::unexpected(name.error());
  }
  loaded->snapshot.named = **task;
  if (auto status = LoadPace(loaded->snapshot); !status) {
    return tl::unexpected(status.error());
  }
  auto status =
      Apply(*loaded, core::DecideRetry(loaded->snapshot, **task, std::move(*name), detail, now_),
            Lane::kPush, nullptr);
  if (!status) {
    return tl::unexpected(status.error());
  }
  return "";
}

core::Result<std::string> Exchange::Consent(const core::DeviceKey& key, const std::string& plan,
                                            const std::string& detail) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return "there is no such product";
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  const core::Snapshot& snapshot = loaded->snapshot;
  const auto wanted = [&](const core::Task& task) { return task.plan->name == plan; };
  const auto queued = std::ranges::find_if(snapshot.queued, wanted);
  const core::Task* task = snapshot.open && wanted(*snapshot.open) ? &*snapshot.open
                           : queued != snapshot.queued.end()       ? &*queued
                                                                   : nullptr;
  if (task == nullptr) {
    return "the device has no task of this plan that waits for consent";
  }
  if (task->plan->mode != core::Mode::kManual) {
    return "the plan is silent: nobody is asked for consent";
  }
  auto status =
      Apply(*loaded, core::DecideConsent(snapshot, task->name, detail, now_), Lane::kPush, nullptr);
  if (!status) {
    return tl::unexpected(status.error());
  }
  return "";
}

store::Status Exchange::Sign(const core::DeviceKey& key, std::int64_t file) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  if (product == nullptr) {
    return {};
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  const std::optional<core::Task>& open = loaded->snapshot.open;
  if (!open ||
      (open->state != core::TaskState::kAccepted && open->state != core::TaskState::kDownloading)) {
    return {};
  }
  for (std::size_t i = 0; i < open->components.size(); ++i) {
    const core::TaskComponent& current = open->components[i];
    if (current.state != core::ComponentState::kCurrent) {
      continue;
    }
    const auto component =
        std::ranges::find(open->plan->components, current.name, &core::PlanComponent::name);
    if (component == open->plan->components.end()) {
      return {};
    }
    const auto& package =
        current.package == core::PackageKind::kDelta ? component->delta : component->full;
    const bool ours = package && std::ranges::any_of(package->sets, [&](const core::FileSet& set) {
                        return std::ranges::any_of(
                            set.files, [&](const core::File& one) { return one.id == file; });
                      });
    if (!ours) {
      return {};
    }
    core::Uplink uplink;
    core::Progress progress;
    progress.task = open->name;
    progress.component = current.name;
    uplink.body = progress;
    return Apply(*loaded, core::DecideUplink(loaded->snapshot, uplink, now_), Lane::kPush, nullptr);
  }
  return {};
}

}  // namespace ota::engine
