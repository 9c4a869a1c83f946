// The rules of eligibility and what they share with the choice of a package.
#include "core/eligibility.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/messages.h"

namespace ota::core {
namespace {

// A verdict without its rule's name and reason: Judge adds them.
Verdict Say(bool ok, std::string value = {}, std::string limit = {},
            std::optional<Instant> when = {}) {
  return Verdict{{}, Reason::kNone, ok, std::move(value), std::move(limit), when};
}

std::string Versions(const std::vector<std::string>& versions) {
  std::string list;
  for (const std::string& version : versions) {
    list.append(list.empty() ? "" : ", ").append(version);
  }
  return list;
}

std::string Millis(Instant at) {
  return std::to_string(at.time_since_epoch().count());
}

// Asks `check(component of the plan, installed version)` for every component that is to be
// upgraded, until one says no.
template <typename Check>
Verdict EachToUpgrade(const Snapshot& snapshot, const Task& task, Check check) {
  for (const PlanComponent& component : task.plan->components) {
    const Installed* installed = FindInstalled(snapshot.device, component.name);
    if (installed == nullptr || AtTarget(snapshot.device, component.name, component.target)) {
      continue;
    }
    Verdict verdict = check(component, installed->version);
    if (!verdict.ok) {
      return verdict;
    }
  }
  return Say(true);
}

Verdict Fits(const Snapshot&, const Task& task, const Now&) {
  return Say(task.reason != Reason::kTooLarge, task.reason == Reason::kTooLarge ? task.detail : "");
}

Verdict ClockTrusted(const Snapshot&, const Task&, const Now& now) {
  return Say(now.trusted);
}

Verdict PlanActive(const Snapshot&, const Task& task, const Now&) {
  return Say(task.plan->wanted == Wanted::kActive);
}

Verdict PlanNotHeld(const Snapshot&, const Task& task, const Now&) {
  return Say(!task.plan->held, task.plan->held_reason);
}

Verdict PlanNotEnded(const Snapshot&, const Task& task, const Now& now) {
  const std::optional<Instant>& end = task.plan->end;
  return end ? Say(now.wall < *end, "", Millis(*end)) : Say(true);
}

Verdict DeviceEnabled(const Snapshot& snapshot, const Task&, const Now&) {
  if (snapshot.device.disabled) {
    return Say(false, "disabled");
  }
  return snapshot.device.retired ? Say(false, "retired") : Say(true);
}

Verdict NotBlacklisted(const Snapshot&, const Task& task, const Now&) {
  return Say(!task.listed_black);
}

Verdict Listed(const Snapshot&, const Task& task, const Now&) {
  return Say(task.plan->scope == Scope::kAll || task.listed_white);
}

Verdict Reported(const Snapshot& snapshot, const Task& task, const Now&) {
  for (const PlanComponent& component : task.plan->components) {
    if (FindInstalled(snapshot.device, component.name) == nullptr) {
      return Say(false, "", component.name);
    }
  }
  return Say(true);
}

Verdict Online(const Snapshot& snapshot, const Task&, const Now&) {
  const Device& device = snapshot.device;
  if (device.connection == 0) {
    return Say(false, "away");
  }
  return Say(device.reported_connection == device.connection, "connected",
             "reported since it connected");
}

Verdict HeardOf(const Snapshot&, const Task& task, const Now&) {
  return Say(task.reason != Reason::kOfferUnanswered);
}

Verdict OutboxHasRoom(const Snapshot& snapshot, const Task&, const Now& now) {
  return snapshot.outbox_full ? Say(false, "", "", now.steady + seconds(10)) : Say(true);
}

Verdict PlaceFree(const Snapshot& snapshot, const Task& task, const Now&) {
  const std::optional<Task>& open = snapshot.open;
  return !open || open->name == task.name ? Say(true) : Say(false, open->plan->name);
}

Verdict NothingOnTrial(const Snapshot& snapshot, const Task& task, const Now&) {
  return EachToUpgrade(snapshot, task, [](const PlanComponent& one, const std::string& version) {
    return version == one.target ? Say(false, one.name + " " + version) : Say(true);
  });
}

Verdict SourceVersion(const Snapshot& snapshot, const Task& task, const Now&) {
  return EachToUpgrade(snapshot, task, [](const PlanComponent& one, const std::string& version) {
    const bool ok = Choose(one, version).reason != Reason::kSourceVersion;
    return ok ? Say(true) : Say(false, one.name + " " + version, Versions(one.sources));
  });
}

Verdict DeltaForSource(const Snapshot& snapshot, const Task& task, const Now&) {
  return EachToUpgrade(snapshot, task, [](const PlanComponent& one, const std::string& version) {
    if (Choose(one, version).reason != Reason::kNoDeltaForSource) {
      return Say(true);
    }
    std::vector<std::string> sources;
    if (one.delta) {
      for (const FileSet& set : one.delta->sets) {
        sources.push_back(set.source);
      }
    }
    return Say(false, one.name + " " + version, Versions(sources));
  });
}

Verdict PackageReady(const Snapshot& snapshot, const Task& task, const Now& now) {
  return EachToUpgrade(snapshot, task, [&](const PlanComponent& one, const std::string& version) {
    const FileSet* set = Choose(one, version).set;
    if (set == nullptr || (set->ready && !set->files.empty())) {
      return Say(true);
    }
    return set->problem.empty()
               ? Say(false, one.name + ": files are being hashed", "", now.steady + seconds(10))
               : Say(false, one.name + ": " + set->problem);
  });
}

Verdict Deliverable(const Snapshot& snapshot, const Task& task, const Now&) {
  const Product& product = snapshot.product;
  if (!product.http && !product.blocks) {
    return Say(false);
  }
  return EachToUpgrade(snapshot, task, [&](const PlanComponent& one, const std::string& version) {
    const FileSet* set = Choose(one, version).set;
    if (set == nullptr || FitHttp(product, set->files) || FitBlocks(product, set->files)) {
      return Say(true);
    }
    const Wire& wire = product.wire;
    const int files = product.http ? wire.http_files : wire.block_files;
    if (set->files.size() > static_cast<std::size_t>(files)) {
      return Say(false, one.name + ": " + std::to_string(set->files.size()) + " files",
                 std::to_string(files) + " over " + (product.http ? "HTTP" : "MQTT"));
    }
    std::int64_t longest = 0;
    for (const File& file : set->files) {
      longest = std::max(longest, file.bytes);
    }
    return Say(false, one.name + ": " + std::to_string(longest) + " bytes",
               std::to_string(product.http ? wire.http_bytes : wire.block_bytes) + " bytes over " +
                   (product.http ? "HTTP" : "MQTT"));
  });
}

Verdict NotBefore(const Snapshot&, const Task& task, const Now& now) {
  if (task.state != TaskState::kQueued || !task.deadline) {
    return Say(true);
  }
  return Say(*task.deadline <= now.steady, "", Millis(*task.deadline), task.deadline);
}

// `fits` is first: the reason is also the memory that the message did not fit, so no other reason
// may hide it.
constexpr std::array kRules{
    Rule{"message fits", Reason::kTooLarge, Fits},
    Rule{"clock is trusted", Reason::kClockBehind, ClockTrusted},
    Rule{"plan is active", Reason::kPlanNotActive, PlanActive},
    Rule{"plan is not held", Reason::kPlanHeld, PlanNotHeld},
    Rule{"plan has not ended", Reason::kPlanEnded, PlanNotEnded},
    Rule{"device is enabled", Reason::kDeviceDisabled, DeviceEnabled},
    Rule{"device is not on the blacklist", Reason::kBlacklisted, NotBlacklisted},
    Rule{"device is in the scope", Reason::kNotListed, Listed},
    Rule{"device has reported", Reason::kNotReported, Reported},
    Rule{"device is online", Reason::kOffline, Online},
    Rule{"device was heard of since the last offer", Reason::kOfferUnanswered, HeardOf},
    Rule{"no other task is open", Reason::kPredecessor, PlaceFree},
    Rule{"no target runs on trial", Reason::kOnTrial, NothingOnTrial},
    Rule{"source version", Reason::kSourceVersion, SourceVersion},
    Rule{"delta for the source version", Reason::kNoDeltaForSource, DeltaForSource},
    Rule{"package is ready", Reason::kPackageNotReady, PackageReady},
    Rule{"files can be delivered", Reason::kNoDelivery, Deliverable},
    Rule{"time has come", Reason::kNotYet, NotBefore},
    Rule{"outbox has room", Reason::kOutboxFull, OutboxHasRoom},
};

Verdict Judge(const Rule& rule, const Snapshot& snapshot, const Task& task, const Now& now) {
  Verdict verdict = rule.judge(snapshot, task, now);
  verdict.rule = rule.name;
  verdict.reason = rule.reason;
  return verdict;
}

}  // namespace

std::span<const Rule> Rules() {
  return kRules;
}

std::vector<Verdict> Explain(const Snapshot& snapshot, const Task& task, const Now& now) {
  std::vector<Verdict> verdicts;
  verdicts.reserve(kRules.size());
  for (const Rule& rule : kRules) {
    verdicts.push_back(Judge(rule, snapshot, task, now));
  }
  return verdicts;
}

std::optional<Verdict> OutOfScope(const Snapshot& snapshot, const Task& task, const Now& now) {
  for (const Rule& rule : kRules) {
    if (rule.reason != Reason::kDeviceDisabled && rule.reason != Reason::kBlacklisted &&
        rule.reason != Reason::kNotListed) {
      continue;
    }
    Verdict verdict = Judge(rule, snapshot, task, now);
    if (!verdict.ok) {
      return verdict;
    }
  }
  return std::nullopt;
}

std::optional<Verdict> FirstObstacle(const Snapshot& snapshot, const Task& task, const Now& now) {
  for (const Rule& rule : kRules) {
    Verdict verdict = Judge(rule, snapshot, task, now);
    if (!verdict.ok) {
      return verdict;
    }
  }
  return std::nullopt;
}

const Installed* FindInstalled(const Device& device, std::string_view component) {
  const auto found = std::find_if(device.installed.begin(), device.installed.end(),
                                  [&](const Installed& one) { return one.component == component; });
  return found == device.installed.end() ? nullptr : &*found;
}

bool AtTarget(const Device& device, std::string_view component, std::string_view target) {
  const Installed* installed = FindInstalled(device, component);
  return installed != nullptr && installed->version == target && !installed->trial;
}

bool AtTargets(const Device& device, const Task& task) {
  return std::all_of(task.components.begin(), task.components.end(), [&](const TaskComponent& one) {
    return AtTarget(device, one.name, one.target);
  });
}

bool Matches(const Plan& plan, const Device& device, bool white, bool black) {
  if (device.disabled || device.retired || black || (plan.scope == Scope::kSelected && !white)) {
    return false;
  }
  bool something_to_do = false;
  for (const PlanComponent& component : plan.components) {
    const Installed* installed = FindInstalled(device, component.name);
    if (installed == nullptr) {
      return false;
    }
    if (AtTarget(device, component.name, component.target)) {
      continue;
    }
    something_to_do = true;
    if (Choose(component, installed->version).reason != Reason::kNone) {
      return false;
    }
  }
  return something_to_do;
}

Choice Choose(const PlanComponent& component, std::string_view version) {
  const std::vector<std::string>& sources = component.sources;
  if (!sources.empty() && std::find(sources.begin(), sources.end(), version) == sources.end()) {
    return {PackageKind::kFull, nullptr, Reason::kSourceVersion};
  }
  const FileSet* delta = FilesOf(component, PackageKind::kDelta, version);
  const FileSet* full = FilesOf(component, PackageKind::kFull, version);
  if (delta != nullptr && (delta->ready || full == nullptr)) {
    return {PackageKind::kDelta, delta, Reason::kNone};
  }
  if (full != nullptr) {
    return {PackageKind::kFull, full, Reason::kNone};
  }
  return {PackageKind::kFull, nullptr, Reason::kNoDeltaForSource};
}

const FileSet* FilesOf(const PlanComponent& component, PackageKind kind, std::string_view source) {
  const std::optional<Package>& package =
      kind == PackageKind::kFull ? component.full : component.delta;
  if (!package) {
    return nullptr;
  }
  for (const FileSet& set : package->sets) {
    if (kind == PackageKind::kFull ? set.source.empty() : set.source == source) {
      return &set;
    }
  }
  return nullptr;
}

}  // namespace ota::core
