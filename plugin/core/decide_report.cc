// What a version report means: registration, inventory, proof of the open task, roll-backs,
// interruptions, what is owed, whose turn it is. [N-9] to [N-16] [N-27] [N-32]
#include <algorithm>
#include <set>
#include <utility>

#include "core/eligibility.h"
#include "core/messages.h"
#include "core/names.h"
#include "core/step.h"
#include "core/uplink.h"

namespace ota::core {
namespace {

bool Contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// Takes over the device's values; members that are absent leave what was known, but for what the
// first report of a connection settles: `maxBytes` and `sleep`.
void UpdateDevice(Device& device, const VersionReport& report, bool first, Instant now) {
  if (device.id == 0) {
    device.registered = now;
  }
  if (report.battery || report.signal || report.free_bytes) {
    device.reported = now;
  }
  if (first) {
    device.max_bytes = kMaxBytes;
    device.sleep = seconds(0);
  }
  device.reported_connection = device.connection;
  const auto take = [](auto& known, const auto& told) {
    if (told) {
      known = *told;
    }
  };
  take(device.boot_id, report.boot_id);
  take(device.lang, report.lang);
  take(device.max_bytes, report.max_bytes);
  take(device.sleep, report.sleep);
  const auto take_optional = [](auto& known, const auto& told) {
    if (told) {
      known = told;
    }
  };
  take_optional(device.battery, report.battery);
  take_optional(device.signal, report.signal);
  take_optional(device.free_bytes, report.free_bytes);
}

// Takes over the installed versions; gives the components that differ now. `full`: those that the
// report lacks are gone.
std::set<std::string> UpdateInstalled(Draft& draft, const VersionReport& report, bool full) {
  std::vector<Installed>& installed = draft.s.device.installed;
  std::set<std::string> changed;
  const auto log = [&](const std::string& component, std::string detail) {
    changed.insert(component);
    LogEntry entry;
    entry.component = component;
    entry.event = "report";
    entry.detail = std::move(detail);
    draft.log.push_back(std::move(entry));
  };
  for (const auto& [component, version] : report.components) {
    const bool trial = Contains(report.trial, component);
    const std::string suffix = trial ? " (trial)" : "";
    const auto place = std::lower_bound(
        installed.begin(), installed.end(), component,
        [](const Installed& one, const std::string& name) { return one.component < name; });
    if (place == installed.end() || place->component != component) {
      installed.insert(place, Installed{component, version, trial, draft.now.wall});
      log(component, version + suffix);
    } else if (place->version != version || place->trial != trial) {
      log(component, place->version + (place->trial ? " (trial)" : "") + " -> " + version + suffix);
      if (place->version != version) {
        place->since = draft.now.wall;
      }
      place->version = version;
      place->trial = trial;
    }
  }
  if (full) {
    std::erase_if(installed, [&](const Installed& one) {
      const bool gone = !report.components.contains(one.component);
      if (gone) {
        log(one.component, one.version + " -> gone");
      }
      return gone;
    });
  }
  return changed;
}

// Plans in force that the device belongs to now. The latest comes last: it may take the place of
// the others.
void AddProspects(Draft& draft) {
  std::vector<Task> prospects = std::move(draft.s.prospects);
  std::stable_sort(prospects.begin(), prospects.end(), [](const Task& one, const Task& other) {
    return one.plan->order < other.plan->order;
  });
  for (Task& prospect : prospects) {
    if (prospect.member && prospect.in_phase &&
        Matches(*prospect.plan, draft.s.device, prospect.listed_white, prospect.listed_black)) {
      draft.LogJoin(prospect);
      draft.Join(std::move(prospect));
    }
  }
}

// The offer was made for other versions than the device has now.
void ReconsiderOffer(Draft& draft) {
  const Task& task = *draft.s.open;
  for (const PlanComponent& component : task.plan->components) {
    const Installed* installed = FindInstalled(draft.s.device, component.name);
    Reason reason = Reason::kNotReported;
    if (installed != nullptr) {
      if (AtTarget(draft.s.device, component.name, component.target)) {
        reason = Reason::kNone;
      } else if (installed->version == component.target) {
        reason = Reason::kOnTrial;
      } else {
        reason = Choose(component, installed->version).reason;
      }
    }
    if (reason != Reason::kNone) {
      draft.Withdraw(CancelText(reason));
      draft.Requeue(reason, component.name + (installed ? " " + installed->version : ""));
      return;
    }
  }
  if (task.state == TaskState::kOffered) {
    draft.SendOwed();
  }
}

// The device has another version than the one for which its download was issued, and has not begun:
// what it was told holds for that one too, or it is told what does, or the plan is not for it.
void TakeNote(Draft& draft, TaskComponent& current, const std::string& version) {
  const std::vector<PlanComponent>& planned = draft.s.open->plan->components;
  const auto one = std::ranges::find(planned, current.name, &PlanComponent::name);
  const Choice choice = one == planned.end() ? Choice{} : Choose(*one, version);
  if (choice.set == nullptr) {
    draft.Withdraw(CancelText(choice.reason));
    draft.Requeue(choice.reason, current.name + " " + version);
    return;
  }
  const FileSet* const before = CurrentFiles(*draft.s.open);
  current.source = version;
  current.package = choice.kind;
  if (choice.set != before) {
    draft.SendOwed();
  }
}

// What the report shows of the current component.
void JudgeCurrent(Draft& draft, const VersionReport& report) {
  TaskComponent& current = *draft.Current();
  const Device& device = draft.s.device;
  const auto reported = report.components.find(current.name);
  if (reported == report.components.end()) {
    return;
  }
  const auto planned =
      std::find_if(draft.s.open->plan->components.begin(), draft.s.open->plan->components.end(),
                   [&](const PlanComponent& one) { return one.name == current.name; });
  const bool boot = draft.s.product.wire.tells_boots &&
                    (planned == draft.s.open->plan->components.end() || planned->boot);
  const bool knows_boot = report.boot_id && !current.boot_id.empty();
  const bool other_boot = knows_boot && *report.boot_id != current.boot_id;
  const bool other_connection = draft.s.download_connection != device.connection;
  const bool in_flight = IsInFlight(draft.s.open->state);

  if (reported->second == current.target) {
    const bool trial = Contains(report.trial, current.name);
    if (!trial && (!boot || other_boot || other_connection)) {
      if (draft.s.open->plan->strict_progress && !current.full) {  // C9
        draft.End(TaskEvent::kFail, Reason::kNoFullProgress, current.name + " " + current.target);
        return;
      }
      draft.Log(
          *draft.s.open, "proved",
          current.target + (current.full ? ", 100 % was reported" : ", by its version alone"));
      current.state = ComponentState::kProved;
      draft.Proceed();
    } else {
      draft.AwaitProof();
    }
    return;
  }
  if (!in_flight) {
    return;  // the attempt has failed already
  }
  const Installed* was = FindInstalled(draft.before.device, current.name);
  const bool left_target = was != nullptr && was->version == current.target;
  // A component that was on trial when its turn came has no source.
  const auto fail = [&](Reason reason) {
    draft.FailAttempt(reason, 0, current.name + " " + reported->second);
  };
  if (reported->second != current.source && !(left_target && current.source.empty())) {
    const bool begun = draft.s.open->state != TaskState::kAccepted || current.progress;
    if (!begun && !draft.s.product.wire.fails_early) {
      TakeNote(draft, current, reported->second);
      return;
    }
    fail(SpelledAlike(reported->second, current.target) ? Reason::kSpelling
                                                        : Reason::kForeignVersion);
    return;
  }
  // An equal boot id tells that the device has only reconnected, and goes on.
  const bool reconnected = !knows_boot && other_connection;
  const bool no_grace = draft.s.open->plan->grace <= seconds(0);
  const bool strict = no_grace && draft.s.open->state != TaskState::kAccepted;  // 004-71 (2)
  if (left_target || (current.installing && other_boot) || (reconnected && strict)) {
    fail(WentBack(current, reported->second));
    return;
  }
  const bool rests = draft.s.open->state == TaskState::kWaiting;
  if (reconnected && current.installing && !current.returned && !rests) {  // C10
    current.returned = draft.now.steady;
    draft.Log(*draft.s.open, "reconnect", current.name + " " + reported->second);
    draft.Touch();
  }
  // Whether it reboots is measured from the last sight of the old version.
  current.boot_id = device.boot_id;
  draft.s.download_connection = device.connection;
}

void JudgeOpen(Draft& draft, const VersionReport& report, const std::set<std::string>& changed) {
  const Task& task = *draft.s.open;
  const auto missing = std::find_if(
      task.components.begin(), task.components.end(),
      [&](const TaskComponent& one) { return FindInstalled(draft.s.device, one.name) == nullptr; });
  if (task.state == TaskState::kOffered || task.state == TaskState::kPostponed) {
    const bool touched =
        std::any_of(task.components.begin(), task.components.end(),
                    [&](const TaskComponent& one) { return changed.contains(one.name); });
    if (AtTargets(draft.s.device, task)) {
      draft.End(TaskEvent::kSucceed, Reason::kAtTarget);
    } else if (touched) {
      ReconsiderOffer(draft);
    }
  } else if (missing != task.components.end()) {
    draft.End(TaskEvent::kFail, Reason::kComponentGone, missing->name);
  } else if (draft.Current() != nullptr) {
    JudgeCurrent(draft, report);
  }
}

// The device reported a failure of the download, perhaps one that it calls a refusal.
bool HasFailed(const Task& task) {
  return task.state == TaskState::kFailed ||
         (task.state == TaskState::kRefused && task.code == kRefusedCode);
}

// Whether the versions are all that the plan wants for success: strict, each component that was
// downloaded has also shown 100 %.
bool IsComplete(const Task& task) {
  return !task.plan->strict_progress ||
         std::all_of(task.components.begin(), task.components.end(),
                     [](const TaskComponent& one) { return one.attempt == 0 || one.full; });
}

// Tasks that had failed and whose targets the device reports now [N-27]; those that people or a
// refused offer had ended stay as they are, but it is logged (C15).
void CompleteLate(Draft& draft, bool changed) {
  std::vector<Task>& failed = draft.s.failed;
  const std::optional<Task>& named = draft.s.named;
  const auto add = [&](const Task& task) {
    if (IsEnded(task.state) && std::none_of(failed.begin(), failed.end(), [&](const Task& one) {
          return one.name == task.name;
        })) {
      failed.push_back(task);
    }
  };
  if (named) {
    add(*named);
  }
  // Dialects whose devices name no task: as long as the cancel is owed.
  std::for_each(draft.s.cancels.begin(), draft.s.cancels.end(), add);
  for (Task& task : failed) {
    if (task.state == TaskState::kSucceeded || !AtTargets(draft.s.device, task)) {
      continue;
    }
    if (HasFailed(task) && IsComplete(task)) {
      const std::string detail = "late, after " + std::string(Name(task.reason));
      draft.Apply(task, TaskEvent::kSucceed, Reason::kAtTarget, detail);
      task.ended = draft.now.wall;
    } else if (changed) {
      draft.Log(task, "late", "the device has reached the targets all the same");
    }
  }
}

// Cancels that go out before everything else: debts, and a task that the device holds in vain
// [N-12] [N-31].
std::vector<Downlink> Cancels(Draft& draft, const VersionReport& report, bool arrived) {
  std::vector<Downlink> messages;
  bool told = false;
  for (Task& task : draft.s.cancels) {
    if (!task.owes_cancel) {
      continue;
    }
    const bool holds = report.task == task.name;
    if (arrived) {
      messages.emplace_back(Cancel{task.name, CancelText(task.reason)});
      told = told || holds;
    }
    if (!holds) {
      task.owes_cancel = false;
    }
  }
  const auto is_open = [&](const std::optional<Task>& open) {
    return open && open->name == *report.task;
  };
  if (arrived && report.task && !told && !is_open(draft.before.open) && !is_open(draft.s.open)) {
    const std::optional<Task>& named = draft.s.named;
    const bool known = named && named->name == *report.task && IsEnded(named->state);
    messages.emplace_back(
        Cancel{*report.task, known ? CancelText(named->reason) : "no such task is open"});
  }
  return messages;
}

bool Asks(std::string_view query, const TaskComponent* current) {
  return current != nullptr && (query.empty() || query == current->name);
}

}  // namespace

Answer OnReport(Draft& draft, const VersionReport& report) {
  Device& device = draft.s.device;
  const Device& old = draft.before.device;
  const bool first = old.reported_connection != device.connection;
  const bool new_boot = report.boot_id && *report.boot_id != old.boot_id;
  const bool arrived = first || new_boot;
  draft.s.asked = report.request;
  UpdateDevice(device, report, first, draft.now.wall);
  if (old.id == 0) {
    LogEntry entry;
    entry.event = "register";
    draft.log.push_back(std::move(entry));
  }
  const std::set<std::string> changed = UpdateInstalled(draft, report, report.full.value_or(first));
  if (first || device.max_bytes != old.max_bytes) {  // [N-18]: one try
    for (Task& task : draft.s.queued) {
      if (task.reason == Reason::kTooLarge) {
        task.reason = Reason::kNone;
        task.detail.clear();
      }
    }
  }
  CompleteLate(draft, !changed.empty());
  if (draft.s.open) {
    if (report.task == draft.s.open->name) {
      draft.Touch();
    }
    JudgeOpen(draft, report, changed);
  }
  AddProspects(draft);
  if (draft.s.open && draft.s.open->state == TaskState::kRetrying &&
      draft.s.open->deadline <= draft.now.steady && !draft.Brake()) {
    draft.Proceed();
  }
  draft.KeepInScope();
  // Where there is no confirmation it was the connection's software that had nobody to take it.
  const bool anew =
      first && !draft.s.product.confirms && draft.s.open && draft.s.open->reason == Reason::kNotYet;
  if (draft.s.open && (report.request || anew) && draft.s.open->state == TaskState::kPostponed) {
    draft.Requeue(Reason::kNone);  // the device asks before the time that it had named
  }
  if (draft.s.open && !draft.Brings()) {
    const bool asks = (report.request && draft.s.open->state == TaskState::kOffered) ||
                      (report.query && Asks(*report.query, draft.Current()));
    const bool owed = new_boot || draft.s.owed_connection != device.connection;
    if (owed) {
      draft.SendAgain();
    } else if (asks) {
      draft.SendOwed();
    }
  }
  draft.Next();
  std::vector<Downlink> messages = Cancels(draft, report, arrived);
  messages.insert(messages.end(), std::make_move_iterator(draft.messages.begin()),
                  std::make_move_iterator(draft.messages.end()));
  draft.messages = std::move(messages);
  return {};
}

}  // namespace ota::core
