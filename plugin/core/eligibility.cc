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

std::string Joined(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) {
    list.append(list.empty() ? "" : ", ").append(text);
  }
  return list;
}

// For people: 2026-03-29T01:00:00Z.
std::string Utc(Instant at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss of_day(std::chrono::floor<seconds>(at - day));
  const auto two = [](auto number, char after) {
    std::string digits = std::to_string(number);
    return (digits.size() < 2 ? "0" + digits : digits) + after;
  };
  return two(static_cast<int>(date.year()), '-') + two(static_cast<unsigned>(date.month()), '-') +
         two(static_cast<unsigned>(date.day()), 'T') + two(of_day.hours().count(), ':') +
         two(of_day.minutes().count(), ':') + two(of_day.seconds().count(), 'Z');
}

// A time of the wall clock on the scale of deadlines.
Instant Steady(Instant wall, const Now& now) {
  return now.steady + (wall - now.wall);
}

// A verdict that turns at a time of the wall clock.
Verdict Until(Instant wall, std::string value, const Now& now) {
  return now.wall < wall ? Say(false, std::move(value), Utc(wall), Steady(wall, now)) : Say(true);
}

bool IsSelected(const Plan& plan) {
  return plan.scope == Scope::kSelected || plan.kind == PlanKind::kVerify;
}

// The key of `plan.match` that the device lacks; null: none.
const std::pair<const std::string, std::vector<std::string>>* LackedTag(const Plan& plan,
                                                                        const Device& device) {
  for (const auto& wanted : plan.match) {
    const auto tag = device.tags.find(wanted.first);
    if (tag == device.tags.end() ||
        std::find(wanted.second.begin(), wanted.second.end(), tag->second) == wanted.second.end()) {
      return &wanted;
    }
  }
  return nullptr;
}

// The plan's pace; null: not known, which is none.
const PlanNow* PaceOf(const Snapshot& snapshot, const Task& task) {
  const auto found = snapshot.plans.find(task.plan->name);
  return found == snapshot.plans.end() ? nullptr : &found->second;
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

Verdict NotStopped(const Snapshot& snapshot, const Task&, const Now&) {
  return Say(!snapshot.stopped, snapshot.stopped.value_or(""));
}

Verdict NotHeld(const Snapshot& snapshot, const Task&, const Now& now) {
  if (!snapshot.hold) {
    return Say(true);
  }
  const Hold& hold = *snapshot.hold;
  return hold.until ? Until(*hold.until, hold.reason, now) : Say(false, hold.reason);
}

Verdict PlanActive(const Snapshot&, const Task& task, const Now&) {
  return Say(task.plan->wanted == Wanted::kActive);
}

Verdict PlanNotHeld(const Snapshot&, const Task& task, const Now&) {
  return Say(!task.plan->held, task.plan->held_reason);
}

Verdict PlanNotHalted(const Snapshot&, const Task& task, const Now&) {
  return Say(!task.plan->halted, task.plan->halted_reason);
}

Verdict PlanStarted(const Snapshot&, const Task& task, const Now& now) {
  return task.plan->start ? Until(*task.plan->start, "", now) : Say(true);
}

Verdict PlanNotEnded(const Snapshot&, const Task& task, const Now& now) {
  const std::optional<Instant>& end = task.plan->end;
  return end ? Say(now.wall < *end, "", Utc(*end)) : Say(true);
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
  return Say(!IsSelected(*task.plan) || task.listed_white);
}

Verdict TagsMatch(const Snapshot& snapshot, const Task& task, const Now&) {
  const auto* lacked = LackedTag(*task.plan, snapshot.device);
  if (lacked == nullptr) {
    return Say(true);
  }
  const auto tag = snapshot.device.tags.find(lacked->first);
  const bool has = tag != snapshot.device.tags.end();
  return Say(false, lacked->first + (has ? " = " + tag->second : " is not set"),
             Joined(lacked->second));
}

Verdict IsMember(const Snapshot&, const Task& task, const Now&) {
  return Say(task.member || task.plan->scope_kind == ScopeKind::kDynamic);
}

Verdict IsInPhase(const Snapshot&, const Task& task, const Now&) {
  return task.in_phase ? Say(true)
                       : Say(false, "", std::to_string(task.plan->percent.value_or(100)) + " %");
}

Verdict Reported(const Snapshot& snapshot, const Task& task, const Now&) {
  if (!task.member && task.plan->new_reports) {
    return Say(false, "", "a report after the activation");
  }
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

Verdict SomethingToDo(const Snapshot& snapshot, const Task& task, const Now&) {
  return Say(task.components.empty() || !AtTargets(snapshot.device, task));
}

// That it has asked is remembered by the reason: the task could go but for its plan's pace.
Verdict Asked(const Snapshot& snapshot, const Task& task, const Now&) {
  return Say(task.plan->trigger == Trigger::kPush || snapshot.asked || IsPace(task.reason));
}

Verdict NotAside(const Snapshot& snapshot, const Task& task, const Now& now) {
  return EachToUpgrade(snapshot, task, [&](const PlanComponent& one, const std::string&) {
    for (const Streak& streak : snapshot.streaks) {
      if (!streak.aside || streak.component != one.name || streak.target != one.target) {
        continue;
      }
      const std::string value = one.name + " " + one.target + ": " +
                                std::to_string(streak.failures) + " tasks failed in a row";
      return streak.until ? Until(*streak.until, value, now) : Say(false, value);
    }
    return Say(true);
  });
}

Verdict Consented(const Snapshot& snapshot, const Task& task, const Now&) {
  return Say(snapshot.product.confirms || task.plan->mode == Mode::kSilent || task.consent);
}

Verdict WindowOpen(const Snapshot& snapshot, const Task& task, const Now& now) {
  const PlanNow* pace = PaceOf(snapshot, task);
  return pace != nullptr && pace->opens ? Until(*pace->opens, "", now) : Say(true);
}

// A measured value against its lower limit. (000-09, 000-28, 002-38)
Verdict AtLeast(const Snapshot& snapshot, const Task& task, const Now& now,
                std::optional<std::int64_t> value, std::optional<std::int64_t> limit,
                const char* unit) {
  if (!limit) {
    return Say(true);
  }
  const Conditions& conditions = task.plan->conditions;
  const bool stale =
      conditions.max_age && now.wall - snapshot.device.reported > *conditions.max_age;
  const std::string told = value ? std::to_string(*value) + unit : "unknown";
  const std::string least = std::to_string(*limit) + unit;
  if (!value || stale) {
    return Say(!conditions.unknown_waits,
               told + (value ? " at " + Utc(snapshot.device.reported) : ""), least);
  }
  return Say(*value >= *limit, told, least);
}

Verdict Battery(const Snapshot& snapshot, const Task& task, const Now& now) {
  return AtLeast(snapshot, task, now, snapshot.device.battery, task.plan->conditions.battery, " %");
}

Verdict Signal(const Snapshot& snapshot, const Task& task, const Now& now) {
  return AtLeast(snapshot, task, now, snapshot.device.signal, task.plan->conditions.signal, " dBm");
}

Verdict FreeSpace(const Snapshot& snapshot, const Task& task, const Now& now) {
  return AtLeast(snapshot, task, now, snapshot.device.free_bytes, task.plan->conditions.free_bytes,
                 " bytes");
}

// A time of the pace, which is on the steady scale.
Verdict Paced(Instant next, std::string limit, const Now& now) {
  return now.steady < next ? Say(false, "", std::move(limit), next) : Say(true);
}

Verdict RateLeft(const Snapshot& snapshot, const Task& task, const Now& now) {
  const PlanNow* pace = PaceOf(snapshot, task);
  const std::optional<int>& rate = task.plan->rate;
  return pace != nullptr && rate
             ? Paced(pace->next_offer, std::to_string(*rate) + " per minute", now)
             : Say(true);
}

Verdict PlaceLeft(const Snapshot& snapshot, const Task& task, const Now&) {
  const PlanNow* pace = PaceOf(snapshot, task);
  const std::optional<int>& most = task.plan->max_open;
  return pace != nullptr && most ? Say(pace->open_tasks < *most, std::to_string(pace->open_tasks),
                                       std::to_string(*most))
                                 : Say(true);
}

Verdict BytesLeft(const Snapshot& snapshot, const Task& task, const Now& now) {
  const PlanNow* pace = PaceOf(snapshot, task);
  const std::optional<std::int64_t>& rate = task.plan->bytes_per_second;
  return pace != nullptr && rate
             ? Paced(pace->next_download, std::to_string(*rate) + " bytes per second", now)
             : Say(true);
}

Verdict OutboxHasRoom(const Snapshot& snapshot, const Task&, const Now& now) {
  return snapshot.outbox_full ? Say(false, "", "", now.steady + seconds(10)) : Say(true);
}

// One that comes first and waits for its plan's pace only does not lose its place.
Verdict PlaceFree(const Snapshot& snapshot, const Task& task, const Now&) {
  const std::optional<Task>& open = snapshot.open;
  if (open) {
    return open->name == task.name ? Say(true) : Say(false, open->plan->name);
  }
  for (const Task& one : snapshot.queued) {
    if (IsPace(one.reason) && ComesFirst(*one.plan, *task.plan)) {
      return Say(false, one.plan->name);
    }
  }
  return Say(true);
}

Verdict NothingOnTrial(const Snapshot& snapshot, const Task& task, const Now&) {
  return EachToUpgrade(snapshot, task, [](const PlanComponent& one, const std::string& version) {
    return version == one.target ? Say(false, one.name + " " + version) : Say(true);
  });
}

Verdict SourceVersion(const Snapshot& snapshot, const Task& task, const Now&) {
  return EachToUpgrade(snapshot, task, [](const PlanComponent& one, const std::string& version) {
    const bool ok = Choose(one, version).reason != Reason::kSourceVersion;
    return ok ? Say(true) : Say(false, one.name + " " + version, Joined(one.sources));
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
    return Say(false, one.name + " " + version, Joined(sources));
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
  return Say(*task.deadline <= now.steady, "", Utc(now.wall + (*task.deadline - now.steady)),
             task.deadline);
}

// `fits` is first: the reason is also the memory that the message did not fit, so no other reason
// may hide it. Then what concerns everything, the plan, the device, both; what changes most often
// last, and the plan's pace at the very end: a task that waits for it could go this moment
// (IsPace).
constexpr std::array kRules{
    Rule{"message fits", Reason::kTooLarge, Fits},
    Rule{"clock is trusted", Reason::kClockBehind, ClockTrusted},
    Rule{"nothing is stopped", Reason::kStopped, NotStopped},
    Rule{"device, product and site are not held", Reason::kHeld, NotHeld},
    Rule{"plan is active", Reason::kPlanNotActive, PlanActive},
    Rule{"plan is not held", Reason::kPlanHeld, PlanNotHeld},
    Rule{"plan has not halted", Reason::kPlanHalted, PlanNotHalted},
    Rule{"plan has not ended", Reason::kPlanEnded, PlanNotEnded},
    Rule{"plan has started", Reason::kNotStarted, PlanStarted},
    Rule{"files can be delivered", Reason::kNoDelivery, Deliverable},
    Rule{"device is enabled", Reason::kDeviceDisabled, DeviceEnabled, true},
    Rule{"device is not on the blacklist", Reason::kBlacklisted, NotBlacklisted, true},
    Rule{"device is in the scope", Reason::kNotListed, Listed, true},
    Rule{"device has the tags", Reason::kNotMatched, TagsMatch, true},
    Rule{"device matched at the activation", Reason::kNotMember, IsMember},
    Rule{"device is in the phase", Reason::kNotInPhase, IsInPhase},
    Rule{"device has reported", Reason::kNotReported, Reported},
    Rule{"something is to be upgraded", Reason::kAtTargetAlready, SomethingToDo},
    Rule{"device is online", Reason::kOffline, Online},
    Rule{"device has asked", Reason::kOnRequest, Asked},
    Rule{"device was heard of since the last offer", Reason::kOfferUnanswered, HeardOf},
    Rule{"device is not put aside", Reason::kQuarantined, NotAside},
    Rule{"no other task is open or comes first", Reason::kPredecessor, PlaceFree},
    Rule{"no target runs on trial", Reason::kOnTrial, NothingOnTrial},
    Rule{"source version", Reason::kSourceVersion, SourceVersion},
    Rule{"delta for the source version", Reason::kNoDeltaForSource, DeltaForSource},
    Rule{"package is ready", Reason::kPackageNotReady, PackageReady},
    Rule{"people have consented", Reason::kNoConsent, Consented},
    Rule{"time has come", Reason::kNotYet, NotBefore},
    Rule{"push period is open", Reason::kWindowClosed, WindowOpen},
    Rule{"battery", Reason::kBattery, Battery},
    Rule{"signal", Reason::kSignal, Signal},
    Rule{"free space", Reason::kFreeSpace, FreeSpace},
    Rule{"outbox has room", Reason::kOutboxFull, OutboxHasRoom},
    Rule{"rate of offers", Reason::kRate, RateLeft},
    Rule{"number of open tasks", Reason::kTooManyOpen, PlaceLeft},
    Rule{"rate of bytes", Reason::kBytesPerSecond, BytesLeft},
};

Verdict Judge(const Rule& rule, const Snapshot& snapshot, const Task& task, const Now& now) {
  Verdict verdict = rule.judge(snapshot, task, now);
  verdict.rule = rule.name;
  verdict.reason = rule.reason;
  return verdict;
}

std::optional<Verdict> FirstFailing(const Snapshot& snapshot, const Task& task, const Now& now,
                                    bool (*concerns)(const Rule&)) {
  for (const Rule& rule : kRules) {
    if (!concerns(rule)) {
      continue;
    }
    Verdict verdict = Judge(rule, snapshot, task, now);
    if (!verdict.ok) {
      return verdict;
    }
  }
  return std::nullopt;
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
  return FirstFailing(snapshot, task, now, [](const Rule& rule) { return rule.withdraws; });
}

std::optional<Verdict> FirstObstacle(const Snapshot& snapshot, const Task& task, const Now& now) {
  return FirstFailing(snapshot, task, now, [](const Rule&) { return true; });
}

std::optional<Verdict> BrakeOn(const Snapshot& snapshot, const Task& task, const Now& now) {
  return FirstFailing(snapshot, task, now, [](const Rule& rule) {
    return rule.reason == Reason::kStopped || rule.reason == Reason::kHeld ||
           rule.reason == Reason::kPlanHeld;
  });
}

bool IsPace(Reason reason) {
  return reason == Reason::kRate || reason == Reason::kTooManyOpen ||
         reason == Reason::kBytesPerSecond;
}

bool ComesFirst(const Plan& one, const Plan& other) {
  return one.priority != other.priority ? one.priority > other.priority : one.order < other.order;
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
  if (plan.closed) {
    return false;
  }
  if (device.disabled || device.retired || black || (IsSelected(plan) && !white) ||
      LackedTag(plan, device) != nullptr) {
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
