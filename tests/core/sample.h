// One device, its plans and its tasks in memory, as the engine would keep them: loads snapshots,
// applies decisions, and checks after each what must always hold. Forgets what the engine forgets.
// No clock: `now` is set by tests.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/decide.h"
#include "core/names.h"
#include "core/step.h"

namespace ota::core {

inline Package FullPackage(const std::string& component, const std::string& version) {
  Package package{component + "-" + version, component, PackageKind::kFull, version, {}};
  package.sets.push_back({"", {{7, component + ".bin", "p", 100000, "ab", "cd"}}, true, ""});
  return package;
}

inline Package DeltaPackage(const std::string& component, const std::string& source,
                            const std::string& version) {
  Package package{component + "-d", component, PackageKind::kDelta, version, {}};
  package.sets.push_back({source, {{8, component + ".delta", "q", 1000, "ef", "01"}}, true, ""});
  return package;
}

inline PlanComponent FullComponent(const std::string& name, const std::string& target) {
  PlanComponent component;
  component.name = name;
  component.target = target;
  component.full = FullPackage(name, target);
  return component;
}

inline std::shared_ptr<Plan> ActivePlan(const std::string& name,
                                        std::vector<PlanComponent> components) {
  auto plan = std::make_shared<Plan>();
  plan->name = name;
  plan->product = "pump";
  plan->wanted = Wanted::kActive;
  plan->components = std::move(components);
  return plan;
}

struct Site {
  Product product{"pump", true, false, true, true};
  Device device;
  std::vector<std::shared_ptr<Plan>> plans;
  std::map<std::string, Task> tasks;
  std::map<std::string, bool> white, black;  // by plan
  std::vector<LogEntry> log;
  std::uint64_t download_connection = 0, owed_connection = 0, generation = 0;
  bool outbox_full = false;
  std::map<std::string, PlanNow, std::less<>> pace;
  std::optional<std::string> stopped;
  std::optional<Hold> hold;
  std::vector<Streak> streaks;
  Now now{Instant(std::chrono::hours(480000)), Instant(std::chrono::hours(480000)), true};
  Decision last;
  int named = 0;

  explicit Site(std::vector<std::shared_ptr<Plan>> all = {}) : plans(std::move(all)) {
    device.key = {"pump", "p1"};
    for (std::size_t i = 0; i < plans.size(); ++i) {
      plans[i]->order = static_cast<std::int64_t>(i);
    }
    Connect();
  }

  void Connect() { device.connection = ++generation; }
  void Disconnect() {
    device.connection = device.reported_connection = 0;
    download_connection = owed_connection = 0;
  }
  void Pass(seconds time) {
    now.wall += time;
    now.steady += time;
  }

  // What the engine asks before it loads failed tasks and prospects.
  bool Differs(const VersionReport& report, bool with_trial) const {
    const bool known =
        std::all_of(report.components.begin(), report.components.end(), [&](const auto& component) {
          const bool trial = std::find(report.trial.begin(), report.trial.end(), component.first) !=
                             report.trial.end();
          return std::any_of(
              device.installed.begin(), device.installed.end(), [&](const Installed& one) {
                return one.component == component.first && one.version == component.second &&
                       (!with_trial || one.trial == trial);
              });
        });
    return device.id == 0 || !known;
  }

  Snapshot Load(const std::string& task = {}, const VersionReport* report = nullptr) {
    const bool arrives =
        report != nullptr && (device.reported_connection != device.connection ||
                              (report->boot_id && *report->boot_id != device.boot_id));
    const bool failed = report != nullptr && (arrives || Differs(*report, true));
    const bool prospects = report != nullptr && Differs(*report, false);
    Snapshot s;
    s.product = product;
    s.device = device;
    s.download_connection = download_connection;
    s.owed_connection = owed_connection;
    s.outbox_full = outbox_full;
    s.plans = pace;
    s.stopped = stopped;
    s.hold = hold;
    s.streaks = streaks;
    for (auto& [name, stored] : tasks) {
      stored.listed_white = white[stored.plan->name];
      stored.listed_black = black[stored.plan->name];
      if (IsOpen(stored.state)) {
        s.open = stored;
      } else if (stored.state == TaskState::kQueued) {
        s.queued.push_back(stored);
      } else {
        if (stored.owes_cancel) {
          s.cancels.push_back(stored);
        }
        if (failed && (stored.state == TaskState::kFailed ||
                       (stored.state == TaskState::kRefused && stored.code != 0))) {
          s.failed.push_back(stored);
        }
      }
      if (name == task && !IsOpen(stored.state)) {
        s.named = stored;
      }
    }
    std::sort(s.queued.begin(), s.queued.end(), [](const Task& one, const Task& other) {
      return one.plan->priority != other.plan->priority ? one.plan->priority > other.plan->priority
                                                        : one.plan->order < other.plan->order;
    });
    for (const auto& plan : plans) {
      const bool has = std::any_of(tasks.begin(), tasks.end(), [&](const auto& one) {
        return one.second.plan->name == plan->name;
      });
      const bool asked_for = prospects || (arrives && plan->new_reports);
      if (asked_for && !has && plan->wanted == Wanted::kActive &&
          plan->scope_kind == ScopeKind::kDynamic) {
        s.prospects.push_back(MakeTask(plan, "task-" + std::to_string(++named), now.wall));
        s.prospects.back().listed_white = white[plan->name];
        s.prospects.back().listed_black = black[plan->name];
      }
    }
    return s;
  }

  const Decision& Apply(Decision decision) {
    device = decision.device;
    if (device.id == 0 && decision.device_changed) {
      device.id = 1;
    }
    for (Task& row : decision.tasks) {
      Store(row, decision);
    }
    EXPECT_EQ(decision.streaks_changed, decision.streaks != streaks);
    streaks = decision.streaks;
    log.insert(log.end(), decision.log.begin(), decision.log.end());
    download_connection = decision.download_connection;
    owed_connection = decision.owed_connection;
    for (std::size_t i = 0; i < decision.messages.size(); ++i) {
      const bool reply = std::holds_alternative<Reply>(decision.messages[i]);
      EXPECT_TRUE(reply || device.connection != 0) << "a message to a device that is away";
      EXPECT_TRUE(!reply || i + 1 == decision.messages.size()) << "something after the reply";
      EXPECT_TRUE(!IsBraked() || reply || std::holds_alternative<Cancel>(decision.messages[i]))
          << "an offer or a download in spite of a brake";
    }
    EXPECT_TRUE(!IsBraked() || !decision.blocks) << "blocks in spite of a brake";
    last = std::move(decision);
    return last;
  }

  bool IsBraked() const { return stopped || (hold && (!hold->until || now.wall < *hold->until)); }

  void Store(Task& row, const Decision& decision) {
    const auto found = tasks.find(row.name);
    const TaskState old = found == tasks.end() ? TaskState::kQueued : found->second.state;
    row.id = found == tasks.end() ? static_cast<std::int64_t>(tasks.size()) + 1 : found->second.id;
    EXPECT_TRUE(!IsEnded(old) || row.state == old ||
                ((old == TaskState::kFailed || found->second.code == -5) &&
                 row.state == TaskState::kSucceeded))
        << "an ended task was opened again";
    EXPECT_TRUE(row.state != TaskState::kSucceeded || row.code == 0) << "a success with a code";
    EXPECT_TRUE(!IsOpen(row.state) || row.deadline) << Name(row.state) << " without a deadline";
    EXPECT_TRUE(!IsEnded(row.state) || !row.deadline) << "an ended task with a deadline";
    EXPECT_TRUE(!IsEnded(row.state) || row.ended != Instant{}) << "an end without a time";
    if (row.state != old) {
      EXPECT_TRUE(std::any_of(decision.log.begin(), decision.log.end(), [&](const LogEntry& one) {
        return one.task == row.name && one.new_state == Name(row.state);
      })) << "a transition without a log entry";
    }
    if (old == TaskState::kQueued && IsOpen(row.state)) {
      const Plan& plan = *row.plan;
      EXPECT_TRUE(!IsBraked() && !plan.halted && (!plan.start || now.wall >= *plan.start))
          << "an offer that is braked";
      EXPECT_TRUE(now.trusted && plan.wanted == Wanted::kActive && !plan.held &&
                  (!plan.end || now.wall < *plan.end) && !device.disabled && !device.retired &&
                  !row.listed_black && (plan.scope == Scope::kAll || row.listed_white) &&
                  device.connection != 0 && device.reported_connection == device.connection)
          << "an offer that is not allowed";
    }
    tasks[row.name] = row;
    EXPECT_LE(std::count_if(tasks.begin(), tasks.end(),
                            [](const auto& one) { return IsOpen(one.second.state); }),
              1)
        << "two open tasks";
  }

  static VersionReport Versions(std::map<std::string, std::string> components,
                                std::string boot_id = {}, std::optional<std::string> task = {}) {
    VersionReport report;
    report.components = std::move(components);
    if (!boot_id.empty()) {
      report.boot_id = std::move(boot_id);
    }
    report.task = std::move(task);
    return report;
  }

  const Decision& Send(UplinkBody body, std::optional<std::string> id = "1") {
    const std::string task = std::visit(
        [](const auto& one) {
          if constexpr (requires { one.task.value(); }) {
            return one.task.value_or("");
          } else {
            return one.task;
          }
        },
        body);
    const Snapshot s = Load(task, std::get_if<VersionReport>(&body));
    return Apply(DecideUplink(s, Uplink{std::move(id), {}, std::move(body)}, now));
  }
  const Decision& Report(std::map<std::string, std::string> components, std::string boot_id = {},
                         std::optional<std::string> task = {}) {
    return Send(Versions(std::move(components), std::move(boot_id), std::move(task)));
  }
  const Decision& Accept(const std::string& task) { return Send(Confirm{task, true, "", {}}); }
  const Decision& Decline(const std::string& task, std::optional<seconds> later = {}) {
    return Send(Confirm{task, false, "busy", later});
  }
  const Decision& Tell(const std::string& task, const std::string& component, ProgressState state,
                       std::optional<int> attempt = {}, std::optional<int> code = {}) {
    Progress progress;
    progress.task = task;
    progress.component = component;
    progress.state = state;
    progress.attempt = attempt;
    progress.code = code;
    return Send(progress);
  }
  const Decision& Deadline() { return Apply(DecideDeadline(Load(), now)); }
  const Decision& Next() { return Apply(DecideNext(Load(), now)); }
  // Runs the deadline of the open task out, as the engine would.
  const Decision& RunOut(const std::string& plan = "spring") {
    Pass(std::chrono::ceil<seconds>(*Of(plan).deadline - now.steady));
    return Deadline();
  }
  // A plan takes up the device, as the engine does when the plan is activated.
  const Decision& Join(const std::shared_ptr<Plan>& plan) {
    plan->order = static_cast<std::int64_t>(plans.size());
    plans.push_back(plan);
    Task task = MakeTask(plan, "task-" + std::to_string(++named), now.wall);
    return Apply(DecideJoin(Load(), std::move(task), now));
  }
  const Decision& Consent(const std::string& task) {
    return Apply(DecideConsent(Load(), task, "by post", now));
  }
  const Decision& Again(const std::string& plan = "spring") {
    const Task ended = Of(plan);
    tasks.erase(ended.name);
    return Apply(DecideRetry(Load(), ended, "task-" + std::to_string(++named), "", now));
  }
  bool HasLogged(const std::string& event, const std::string& detail) const {
    return std::any_of(log.begin(), log.end(), [&](const LogEntry& one) {
      return one.event == event && one.detail.find(detail) != std::string::npos;
    });
  }
  const Decision& CancelTask(const std::string& task) {
    return Apply(DecideCancel(Load(), task, Reason::kPlanCanceled, "", now));
  }

  // The message of type M in the last decision; null: none.
  template <typename M>
  const M* Got() const {
    for (const Downlink& message : last.messages) {
      if (const M* one = std::get_if<M>(&message)) {
        return one;
      }
    }
    return nullptr;
  }
  template <typename M>
  int Count() const {
    return static_cast<int>(
        std::count_if(last.messages.begin(), last.messages.end(),
                      [](const Downlink& one) { return std::holds_alternative<M>(one); }));
  }
  int Code() const { return Got<Reply>() ? static_cast<int>(Got<Reply>()->code) : 0; }
  // The task of the plan with this name.
  Task& Of(const std::string& plan) {
    for (auto& [name, task] : tasks) {
      if (task.plan->name == plan) {
        return task;
      }
    }
    static Task none;
    ADD_FAILURE() << "no task of " << plan;
    return none;
  }
  TaskState State(const std::string& plan = "spring") { return Of(plan).state; }
};

// A device on main 1.0 that was offered plan "spring" to main 2.0.
inline Site Offered() {
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.State(), TaskState::kOffered);
  return site;
}

// ... and has accepted; the download was sent.
inline Site Accepted() {
  Site site = Offered();
  site.Accept(site.Of("spring").name);
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  return site;
}

}  // namespace ota::core
