// Random events against Decide; what must always hold is checked in sample.h after each. Repeating
// an uplink at once changes nothing [N-7].
#include <array>
#include <random>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "sample.h"

namespace ota::core {
namespace {

struct Dice {
  std::mt19937 engine;
  int operator()(int sides) { return static_cast<int>(engine() % static_cast<unsigned>(sides)); }
};

std::shared_ptr<Plan> RandomPlan(Dice& dice, int index) {
  PlanComponent main = FullComponent("main", "2." + std::to_string(index));
  if (dice(2) == 0) {
    main.delta = DeltaPackage("main", "1.0", main.target);
  }
  if (dice(4) == 0) {
    main.sources = {"1.0", "2.0"};
  }
  std::vector<PlanComponent> components{main};
  if (dice(2) == 0) {
    components.push_back(FullComponent("mcu", "5"));
    components.back().boot = dice(2) == 0;
  }
  auto plan = ActivePlan("plan-" + std::to_string(index), components);
  plan->priority = dice(3);
  plan->retry = {dice(4), seconds(dice(2) * 600)};
  plan->scope = dice(4) == 0 ? Scope::kSelected : Scope::kAll;
  plan->trigger = dice(4) == 0 ? Trigger::kRequest : Trigger::kPush;
  plan->mode = dice(4) == 0 ? Mode::kManual : Mode::kSilent;
  plan->overrides = dice(4) == 0;
  plan->fails_when_busy = dice(2) == 0;
  plan->strict_progress = dice(4) == 0;
  plan->grace = seconds(dice(2) * 120);
  plan->rate = dice(4) == 0 ? std::optional<int>(10) : std::nullopt;
  plan->loop = {dice(4), seconds(dice(2) * 50000)};
  if (dice(3) == 0) {
    plan->timeout = seconds(60 + dice(2) * 100000);
  }
  return plan;
}

UplinkBody RandomUplink(Dice& dice, Site& site) {
  const std::array<std::string, 5> main{"1.0", "2.0", "2.1", "2.2", "0.1"};
  std::string task = "unknown";
  if (!site.tasks.empty() && dice(10) != 0) {
    auto chosen = site.tasks.begin();
    std::advance(chosen, dice(static_cast<int>(site.tasks.size())));
    task = chosen->first;
    for (const auto& [name, one] : site.tasks) {
      task = IsOpen(one.state) && dice(4) != 0 ? name : task;
    }
  }
  const std::string component = dice(3) == 0 ? "mcu" : "main";
  switch (dice(6)) {
    case 0:
    case 1: {
      VersionReport report = Site::Versions({{"main", main[static_cast<std::size_t>(dice(5))]}},
                                            dice(4) == 0 ? "" : "b" + std::to_string(dice(5)));
      if (dice(4) != 0) {
        report.components["mcu"] = dice(2) == 0 ? "4" : "5";
      }
      if (dice(3) == 0) {
        report.trial = {component};
      }
      if (dice(2) == 0) {
        report.task = task;
      }
      report.request = dice(5) == 0;
      if (dice(8) == 0) {
        report.max_bytes = 512 + dice(2);
      }
      return report;
    }
    case 2:
      return Confirm{task, dice(3) != 0, "r",
                     dice(2) == 0 ? std::optional<seconds>(600) : std::nullopt};
    case 3:
      return BlockRequest{task, component, 0, "r1", dice(2) * 99999, 4096, 8};
    default: {
      Progress progress;
      progress.task = task;
      progress.component = component;
      progress.state = static_cast<ProgressState>(dice(8));
      if (dice(2) == 0) {
        progress.attempt = 1 + dice(2);
      }
      if (progress.state == ProgressState::kFailed) {
        progress.code = -1 - dice(6);
      }
      progress.percent = dice(101);
      return progress;
    }
  }
}

// The same uplink once more has no effect but its reply and the messages that it asks for again. A
// report that has brought a cancel, and does not name the task, ends that debt.
void Repeat(Site& site, const UplinkBody& body) {
  const std::map<std::string, Task> before = site.tasks;
  const Decision& second = site.Send(body);
  const Progress* progress = std::get_if<Progress>(&body);
  EXPECT_TRUE(std::all_of(second.tasks.begin(), second.tasks.end(),
                          [&](Task task) {
                            const auto old = before.find(task.name);
                            task.owes_cancel = true;
                            return old != before.end() && task == old->second;
                          }))
      << "uplink " << body.index() << ", "
      << (second.log.empty() ? "no log"
                             : second.log[0].event + " " + second.log[0].old_state + " -> " +
                                   second.log[0].new_state + " " + second.log[0].detail);
  EXPECT_TRUE(second.log.empty() || (progress != nullptr && progress->attempt));  // [N-33]
  EXPECT_FALSE(second.device_changed || second.installed_changed);
}

// What people do.
void RandomAct(Dice& dice, Site& site) {
  const std::string task = site.tasks.begin()->first;
  switch (dice(8)) {
    case 0:
      site.CancelTask(task);
      return;
    case 1:
      site.Consent(task);
      return;
    case 2:
      site.stopped = dice(2) == 0 ? std::optional<std::string>("recall") : std::nullopt;
      site.Next();
      return;
    case 3:
      site.hold = Hold{site.now.wall + seconds(dice(2) * 50000), "audit"};
      site.Next();
      return;
    case 4:
      if (const Task& one = site.tasks.begin()->second;
          IsEnded(one.state) && one.state != TaskState::kSucceeded) {
        site.Again(one.plan->name);
      }
      return;
    case 5:
      if (site.plans.size() < 5) {
        site.Join(RandomPlan(dice, static_cast<int>(site.plans.size())));
      }
      return;
    case 6:
      site.streaks.clear();
      return;
    default:
      return;
  }
}

void Event(Dice& dice, Site& site) {
  const int kind = dice(20);
  if (kind < 12 && site.device.connection != 0) {
    const UplinkBody body = RandomUplink(dice, site);
    site.Send(body);
    Repeat(site, body);
  } else if (kind < 14) {
    dice(3) == 0 ? site.Disconnect() : site.Connect();
  } else if (kind < 16) {
    site.Pass(seconds(1 + dice(2) * 100000));
    site.Deadline();
  } else if (kind == 16) {
    Plan& plan = *site.plans[static_cast<std::size_t>(dice(3))];
    plan.wanted = dice(2) == 0 ? Wanted::kActive : Wanted::kPaused;
    plan.held = dice(4) == 0;
    plan.halted = dice(4) == 0;
    site.pace[plan.name].next_offer = site.now.steady + seconds(dice(2) * 60);
    site.white[plan.name] = dice(2) == 0;
    site.Next();
  } else if (kind == 17 && !site.tasks.empty()) {
    RandomAct(dice, site);
  } else if (kind == 18) {  // a restart of the plugin
    site.Disconnect();
    site.now.trusted = dice(4) != 0;
  } else if (!site.tasks.empty()) {
    site.Apply(DecideUnsendable(site.Load(), site.tasks.rbegin()->first, 3000, 2048, site.now));
  }
}

TEST(Random, WhatMustAlwaysHoldHolds) {  // [N-7] [N-13] [N-16]
  int ends[4] = {0, 0, 0, 0};
  for (unsigned seed = 1; seed <= 400 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Dice dice{std::mt19937(seed)};
    Site site({RandomPlan(dice, 0), RandomPlan(dice, 1), RandomPlan(dice, 2)});
    site.product.auto_confirm = dice(4) == 0;
    site.product.confirms = dice(4) != 0;
    for (int step = 0; step < 150 && !::testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE(step);
      Event(dice, site);
    }
    for (const auto& [name, task] : site.tasks) {
      if (IsEnded(task.state)) {
        ++ends[static_cast<int>(task.state) - static_cast<int>(TaskState::kSucceeded)];
      }
    }
  }
  for (const int count : ends) {
    EXPECT_GT(count, 10) << "an end that the random events do not reach";
  }
}

// A device that does what it is told: sleeps and wakes while it downloads, loses its connection
// while it installs, boots on trial, goes back.
struct Diligent {
  Site& site;
  Dice& dice;
  std::map<std::string, std::string> versions{{"main", "1.0"}, {"mcu", "4"}};
  int boot = 1;
  int failures = 0;

  void Report(const std::string& trial = {}) {
    VersionReport report = Site::Versions(versions, "b" + std::to_string(boot));
    if (!trial.empty()) {
      report.trial = {trial};
    }
    site.Send(report);
  }
  void Reconnect() {
    if (dice(2) == 0) {
      site.Disconnect();
    }
    site.Connect();
  }
  void Reboot() {
    Reconnect();
    ++boot;
  }
  void Install(const Download& download) {
    for (int wakes = dice(3); wakes > 0; --wakes) {
      Reboot();
      Report();
    }
    if (dice(4) == 0) {
      ++failures;
      site.Tell(download.task, download.component, ProgressState::kFailed, download.attempt, -2);
      return;
    }
    if (dice(2) == 0) {
      site.Tell(download.task, download.component, ProgressState::kInstalling);
      if (dice(2) == 0) {
        Reconnect();
      }
      Report();
    }
    const std::string before = std::exchange(versions[download.component], download.to);
    Reboot();
    if (dice(2) == 0) {
      Report(download.component);
      if (dice(3) == 0) {
        ++failures;
        versions[download.component] = before;
        Reboot();
      }
    }
    Report();
  }
};

// However it went: it reaches every target, and nothing counts as a failure that is none.
TEST(Random, AWellBehavedDeviceFinishesFromAnywhere) {  // [N-12] [N-14] [N-27]
  for (unsigned seed = 1; seed <= 300 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Dice dice{std::mt19937(seed)};
    auto plan = RandomPlan(dice, 1);
    plan->scope = Scope::kAll;
    plan->trigger = Trigger::kPush;
    plan->strict_progress = false;
    plan->timeout.reset();
    plan->retry = {100, seconds(dice(2) * 60)};
    plan->components[0].sources.clear();
    Site site({plan});
    Diligent device{site, dice};
    for (int step = 0; step < 60; ++step) {
      if (dice(3) == 0) {  // cut off at any moment, and back
        device.Reboot();
      }
      device.Report();
      for (int turn = 0; turn < 4 && !site.last.messages.empty(); ++turn) {
        const Download* got = site.Got<Download>();
        if (const ota::core::Offer* offer = site.Got<ota::core::Offer>(); offer && !got) {
          site.Accept(std::string(offer->task));
        } else if (got != nullptr && dice(2) == 0) {
          device.Install(Download(*got));
        }
      }
      site.Pass(seconds(61));
      site.Deadline();
    }
    EXPECT_EQ(site.State("plan-1"), TaskState::kSucceeded);
    EXPECT_EQ(site.Of("plan-1").retries, device.failures);
  }
}

}  // namespace
}  // namespace ota::core
