// Whether a plan may be offered to a device now, as one table of named rules. The same table
// decides and explains ("why does this device get no plan?"). Pure: knows no clock, no store, no
// message. Any thread. The order of the rules matters: see kRules.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.h"

namespace ota::core {

// What one rule says of one task.
struct Verdict {
  std::string_view rule;          // Rule::name
  Reason reason = Reason::kNone;  // Rule::reason, also when ok
  bool ok = true;
  std::string value;            // what was found; may be empty
  std::string limit;            // what it was compared with; may be empty
  std::optional<Instant> when;  // not ok: when it will be, on the steady scale, if that is known
};

struct Rule {
  std::string_view name;
  Reason reason;  // of the queued task when the rule fails
  Verdict (*judge)(const Snapshot&, const Task&, const Now&);
  bool withdraws = false;  // also takes back an offer that the device has not accepted
};

// All rules, in the order in which they are asked.
std::span<const Rule> Rules();

// What every rule says of `task`, in order. `task` need not be in the snapshot: for a device that a
// plan has no task of, it is what MakeTask gives, with `listed_white`, `listed_black`, `member` and
// `in_phase` set. The snapshot has that plan in `plans` if the plan has a pace. Never fails.
std::vector<Verdict> Explain(const Snapshot& snapshot, const Task& task, const Now& now);

// The first rule that says that the device is out of the plan's scope: disabled, retired,
// blacklisted, not listed, without a tag. Such a rule also takes back an offer that the device has
// not accepted.
std::optional<Verdict> OutOfScope(const Snapshot& snapshot, const Task& task, const Now& now);

// The verdict of the first rule that fails; nothing: the task may be offered now.
std::optional<Verdict> FirstObstacle(const Snapshot& snapshot, const Task& task, const Now& now);

// What people have braked, of which nothing is sent (offers, downloads, blocks) and no deadline
// runs out: everything is stopped, the device is held, the plan is held. Nothing: no brake is on.
std::optional<Verdict> BrakeOn(const Snapshot& snapshot, const Task& task, const Now& now);

// A queued task with such a reason could go this moment, but for the pace of its plan: the rate,
// the open tasks, the bytes per second. The engine picks from those, by Task::position.
bool IsPace(Reason reason);

// Whether tasks of `one` come before tasks of `other`: by priority, then by activation.
bool ComesFirst(const Plan& one, const Plan& other);

// Whether `device` belongs to `plan`, asked when a version changes or a plan is activated: it is in
// the plan's scope (`white`, `black`: is it on that list; black wins), has its tags, is neither
// disabled nor retired, has reported every component, starts from a source version that the plan
// upgrades, and is not at every target. A device that has not reported does not match: it is
// matched when it reports. Whether it is too late for a static plan, or too early for one with
// `new_reports`, is for the caller to know.
bool Matches(const Plan& plan, const Device& device, bool white, bool black);

// The installed version of a component; null: not reported.
const Installed* FindInstalled(const Device& device, std::string_view component);

// Whether the device runs `target` for good, that is, not on trial [N-14].
bool AtTarget(const Device& device, std::string_view component, std::string_view target);
bool AtTargets(const Device& device, const Task& task);

// The files for one component of a plan and one installed version.
struct Choice {
  PackageKind kind = PackageKind::kFull;
  const FileSet* set = nullptr;   // null: nothing leads from this version to the target
  Reason reason = Reason::kNone;  // why null: kSourceVersion or kNoDeltaForSource
};

// Picks the delta for exactly `version` if it is ready, else the full package, else a delta that is
// not ready yet. Points into `component`.
Choice Choose(const PlanComponent& component, std::string_view version);

// The files of a download that was issued from `source` as `kind`; null: the plan has none.
const FileSet* FilesOf(const PlanComponent& component, PackageKind kind, std::string_view source);

}  // namespace ota::core
