// Each rule fails alone, says its reason, and is explained.
#include "core/eligibility.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "sample.h"

namespace ota::core {
namespace {

// A queued task of plan "spring" that may be offered. What the rules look at is there, and far from
// its limit.
struct Case {
  std::shared_ptr<Plan> plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  Snapshot s;
  Now now{Instant(std::chrono::hours(480000)), Instant(std::chrono::hours(470000)), true};

  Case() {
    plan->conditions = {30, -95, 1000, seconds(600), true};
    plan->rate = 10;
    plan->max_open = 5;
    plan->bytes_per_second = 1000;
    plan->match = {{"site", {"north", "south"}}};
    s.device.id = 1;
    s.device.connection = s.device.reported_connection = 3;
    s.device.installed = {{"main", "1.0", false, {}}};
    s.device.battery = 30;
    s.device.signal = -95;
    s.device.free_bytes = 1000;
    s.device.reported = now.wall - seconds(600);
    s.device.tags = {{"site", "north"}};
    s.plans["spring"] = PlanNow{{}, 4, now.steady, now.steady};
    s.streaks = {{"main", "1.5", 9, true, {}}, {"main", "2.0", 2, false, {}}};
    s.queued = {MakeTask(plan, "task-1", now.wall)};
  }
  Task& task() {
    return *std::find_if(s.queued.begin(), s.queued.end(),
                         [](const Task& one) { return one.name == "task-1"; });
  }
  PlanNow& pace() { return s.plans["spring"]; }
  std::optional<Verdict> Blocked() { return FirstObstacle(s, task(), now); }
  Reason Obstacle() {
    const auto verdict = Blocked();
    return verdict ? verdict->reason : Reason::kNone;
  }
  bool IsOffered() const {
    const Decision decision = DecideNext(s, now);
    return std::any_of(decision.messages.begin(), decision.messages.end(), [](const Downlink& one) {
      return std::holds_alternative<core::Offer>(one);
    });
  }
};

TEST(Eligibility, NothingStandsInTheWayOfTheSample) {
  EXPECT_EQ(Case().Obstacle(), Reason::kNone);
  EXPECT_TRUE(Case().IsOffered());
}

// One rule alone blocks the device, and lifting it alone lets the offer go.
struct Block {
  Reason reason;
  std::function<void(Case&)> set;
  std::function<void(Case&)> lift;
};

void SetOther(Case& c, TaskState state, Reason reason) {
  Task other = MakeTask(ActivePlan("other", {FullComponent("mcu", "5")}), "task-2", {});
  other.state = state;
  other.reason = reason;
  if (IsOpen(state)) {
    other.deadline = c.now.steady + seconds(60);
    c.s.open = other;
    return;
  }
  auto plan = std::make_shared<Plan>(*other.plan);
  plan->priority = 1;
  plan->rate = 1;
  other.plan = plan;
  c.s.plans["other"].next_offer = c.now.steady + seconds(60);
  c.s.device.installed.push_back({"mcu", "4", false, {}});
  c.s.queued.insert(c.s.queued.begin(), other);
}

// 000-09 001-10 002-08 003-12 004-08 004-64 (why not?)
const std::vector<Block>& Blocks() {
  using C = Case;
  static const std::vector<Block> blocks{
      {Reason::kTooLarge, [](C& c) { c.task().reason = Reason::kTooLarge; },
       [](C& c) { c.task().reason = Reason::kNone; }},
      {Reason::kClockBehind, [](C& c) { c.now.trusted = false; },
       [](C& c) { c.now.trusted = true; }},
      {Reason::kStopped, [](C& c) { c.s.stopped = "recall"; }, [](C& c) { c.s.stopped.reset(); }},
      {Reason::kHeld,
       [](C& c) {
         c.s.hold = Hold{{}, "audit"};
       },
       [](C& c) { c.s.hold.reset(); }},
      {Reason::kHeld,
       [](C& c) {
         c.s.hold = Hold{c.now.wall + seconds(60), "audit"};
       },
       [](C& c) { c.now.wall += seconds(60), c.s.device.reported = c.now.wall; }},
      {Reason::kPlanNotActive, [](C& c) { c.plan->wanted = Wanted::kPaused; },
       [](C& c) { c.plan->wanted = Wanted::kActive; }},
      {Reason::kPlanHeld, [](C& c) { c.plan->held = true; }, [](C& c) { c.plan->held = false; }},
      {Reason::kPlanHalted, [](C& c) { c.plan->halted = true; },
       [](C& c) { c.plan->halted = false; }},
      {Reason::kPlanEnded, [](C& c) { c.plan->end = c.now.wall; },
       [](C& c) { c.plan->end = c.now.wall + seconds(1); }},
      // 004-49
      {Reason::kNotStarted, [](C& c) { c.plan->start = c.now.wall + seconds(1); },
       [](C& c) { c.plan->start = c.now.wall; }},
      {Reason::kNoDelivery, [](C& c) { c.s.product.http = c.s.product.blocks = false; },
       [](C& c) { c.s.product.blocks = true; }},
      {Reason::kDeviceDisabled, [](C& c) { c.s.device.disabled = true; },
       [](C& c) { c.s.device.disabled = false; }},
      {Reason::kDeviceDisabled, [](C& c) { c.s.device.retired = true; },
       [](C& c) { c.s.device.retired = false; }},
      // 002-21 002-22: on both lists
      {Reason::kBlacklisted, [](C& c) { c.task().listed_black = c.task().listed_white = true; },
       [](C& c) { c.task().listed_black = false; }},
      // 002-20
      {Reason::kNotListed, [](C& c) { c.plan->scope = Scope::kSelected; },
       [](C& c) { c.task().listed_white = true; }},
      // 004-33
      {Reason::kNotListed, [](C& c) { c.plan->kind = PlanKind::kVerify; },
       [](C& c) { c.task().listed_white = true; }},
      {Reason::kNotMatched, [](C& c) { c.s.device.tags["site"] = "east"; },
       [](C& c) { c.s.device.tags["site"] = "south"; }},
      {Reason::kNotMatched, [](C& c) { c.s.device.tags.clear(); },
       [](C& c) { c.plan->match.clear(); }},
      // 004-39
      {Reason::kNotMember,
       [](C& c) {
         c.plan->scope_kind = ScopeKind::kStatic;
         c.task().member = false;
       },
       [](C& c) { c.plan->scope_kind = ScopeKind::kDynamic; }},
      // 004-47
      {Reason::kNotInPhase, [](C& c) { c.task().in_phase = false; },
       [](C& c) { c.task().in_phase = true; }},
      {Reason::kNotReported, [](C& c) { c.s.device.installed.clear(); },
       [](C& c) {
         c.s.device.installed = {{"main", "1.0", false, {}}};
       }},
      // 004-59
      {Reason::kNotReported,
       [](C& c) {
         c.plan->new_reports = true;
         c.task().member = false;
       },
       [](C& c) { c.plan->new_reports = false; }},
      {Reason::kAtTargetAlready, [](C& c) { c.s.device.installed[0].version = "2.0"; },
       [](C& c) { c.s.device.installed[0].version = "1.0"; }},
      // 003-10
      {Reason::kOffline, [](C& c) { c.s.device.connection = 0; },
       [](C& c) { c.s.device.connection = 3; }},
      {Reason::kOffline, [](C& c) { c.s.device.connection = 4; },
       [](C& c) { c.s.device.reported_connection = 4; }},
      // 003-12 003-13
      {Reason::kOnRequest, [](C& c) { c.plan->trigger = Trigger::kRequest; },
       [](C& c) { c.s.asked = true; }},
      {Reason::kOfferUnanswered, [](C& c) { c.task().reason = Reason::kOfferUnanswered; },
       [](C& c) { c.task().reason = Reason::kNone; }},
      {Reason::kQuarantined, [](C& c) { c.s.streaks[1].aside = true; },
       [](C& c) { c.s.streaks.pop_back(); }},
      {Reason::kQuarantined,
       [](C& c) {
         c.s.streaks[1] = {"main", "2.0", 3, true, c.now.wall + seconds(60)};
       },
       [](C& c) { c.s.streaks[1].until = c.now.wall; }},
      // 004-08
      {Reason::kPredecessor, [](C& c) { SetOther(c, TaskState::kDownloading, Reason::kNone); },
       [](C& c) { c.s.open.reset(); }},
      // 000-29 000-30: a plan of a higher priority waits for its rate
      {Reason::kPredecessor, [](C& c) { SetOther(c, TaskState::kQueued, Reason::kRate); },
       [](C& c) { c.s.queued.erase(c.s.queued.begin()); }},
      {Reason::kOnTrial,
       [](C& c) {
         c.s.device.installed = {{"main", "2.0", true, {}}};
       },
       [](C& c) {
         c.s.device.installed = {{"main", "1.0", true, {}}};
       }},
      // 000-08
      {Reason::kSourceVersion,
       [](C& c) {
         c.plan->components[0].sources = {"0.8", "0.9"};
       },
       [](C& c) { c.plan->components[0].sources.push_back("1.0"); }},
      // 002-06 002-08
      {Reason::kNoDeltaForSource,
       [](C& c) {
         c.plan->components[0].full.reset();
         c.plan->components[0].delta = DeltaPackage("main", "0.9", "2.0");
       },
       [](C& c) { c.plan->components[0].delta = DeltaPackage("main", "1.0", "2.0"); }},
      {Reason::kPackageNotReady, [](C& c) { c.plan->components[0].full->sets[0].ready = false; },
       [](C& c) { c.plan->components[0].full->sets[0].ready = true; }},
      // 002-26
      {Reason::kNoConsent,
       [](C& c) {
         c.s.product.confirms = false;
         c.plan->mode = Mode::kManual;
       },
       [](C& c) { c.s.product.confirms = true; }},
      {Reason::kNotYet, [](C& c) { c.task().deadline = c.now.steady + seconds(1); },
       [](C& c) { c.now.steady += seconds(1); }},
      // 002-23 002-24
      {Reason::kWindowClosed, [](C& c) { c.pace().opens = c.now.wall + seconds(1); },
       [](C& c) { c.pace().opens.reset(); }},
      // 000-28
      {Reason::kBattery, [](C& c) { c.s.device.battery = 29; },
       [](C& c) { c.s.device.battery = 30; }},
      {Reason::kBattery,
       [](C& c) {
         c.plan->conditions = {30, {}, {}, seconds(599), true};
       },
       [](C& c) { c.plan->conditions.unknown_waits = false; }},
      {Reason::kSignal, [](C& c) { c.s.device.signal = -96; },
       [](C& c) { c.s.device.signal = -95; }},
      {Reason::kSignal, [](C& c) { c.s.device.signal.reset(); },
       [](C& c) { c.plan->conditions.unknown_waits = false; }},
      // 002-39
      {Reason::kFreeSpace, [](C& c) { c.s.device.free_bytes = 999; },
       [](C& c) { c.plan->conditions.free_bytes = 999; }},
      {Reason::kOutboxFull, [](C& c) { c.s.outbox_full = true; },
       [](C& c) { c.s.outbox_full = false; }},
      // 004-52
      {Reason::kRate, [](C& c) { c.pace().next_offer = c.now.steady + Duration(1); },
       [](C& c) { c.now.steady += Duration(1); }},
      // 000-27
      {Reason::kTooManyOpen, [](C& c) { c.pace().open_tasks = 5; },
       [](C& c) { c.pace().open_tasks = 4; }},
      {Reason::kBytesPerSecond, [](C& c) { c.pace().next_download = c.now.steady + Duration(1); },
       [](C& c) { c.plan->bytes_per_second.reset(); }},
  };
  return blocks;
}

TEST(Eligibility, EachRuleAloneBlocksAndLiftingItAloneLetsTheOfferGo) {
  std::set<Reason> seen;
  for (const Block& block : Blocks()) {
    SCOPED_TRACE(Name(block.reason));
    Case c;
    block.set(c);
    EXPECT_EQ(c.Obstacle(), block.reason);
    EXPECT_FALSE(c.IsOffered());
    const std::vector<Verdict> verdicts = Explain(c.s, c.task(), c.now);
    ASSERT_EQ(verdicts.size(), Rules().size());
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
      EXPECT_EQ(verdicts[i].rule, Rules()[i].name);
      EXPECT_EQ(verdicts[i].ok, verdicts[i].reason != block.reason) << verdicts[i].rule;
    }
    block.lift(c);
    EXPECT_EQ(c.Obstacle(), Reason::kNone);
    EXPECT_TRUE(c.IsOffered());
    seen.insert(block.reason);
  }
  std::set<Reason> rules;
  for (const Rule& rule : Rules()) {
    EXPECT_TRUE(seen.contains(rule.reason)) << "rule '" << rule.name << "' has no case";
    EXPECT_TRUE(rules.insert(rule.reason).second) << "two rules for one reason";
    EXPECT_FALSE(Text(rule.reason).empty());
  }
}

TEST(Eligibility, TimesAreToldOnTheScaleOfDeadlines) {  // 004-65
  const std::vector<std::pair<Reason, std::function<void(Case&, Instant)>>> timed{
      {Reason::kHeld,
       [](Case& c, Instant at) {
         c.s.hold = Hold{at, ""};
       }},
      {Reason::kNotStarted, [](Case& c, Instant at) { c.plan->start = at; }},
      {Reason::kWindowClosed, [](Case& c, Instant at) { c.pace().opens = at; }},
      {Reason::kQuarantined,
       [](Case& c, Instant at) {
         c.s.streaks[1] = {"main", "2.0", 3, true, at};
       }},
  };
  for (const auto& [reason, set] : timed) {
    SCOPED_TRACE(Name(reason));
    Case c;
    set(c, c.now.wall + std::chrono::hours(3));
    const auto verdict = c.Blocked();
    ASSERT_TRUE(verdict);
    EXPECT_EQ(verdict->reason, reason);
    EXPECT_EQ(verdict->when, c.now.steady + std::chrono::hours(3));
    EXPECT_EQ(verdict->limit, "2024-10-04T03:00:00Z");
  }
  Case paced;
  paced.pace().next_offer = paced.now.steady + seconds(6);
  EXPECT_EQ(paced.Blocked()->when, paced.now.steady + seconds(6));
  EXPECT_EQ(paced.Blocked()->limit, "10 per minute");
}

TEST(Eligibility, MeasuredValuesAreComparedWithTheirUnits) {  // 000-28
  Case c;
  c.s.device.battery = 7;
  EXPECT_EQ(c.Blocked()->value, "7 %");
  EXPECT_EQ(c.Blocked()->limit, "30 %");
  c.s.device.battery = 30;
  c.plan->conditions.max_age = seconds(599);  // old: not known any more
  EXPECT_EQ(c.Blocked()->value, "30 % at 2024-10-03T23:50:00Z");
  c.plan->conditions.unknown_waits = false;  // then the device decides
  EXPECT_EQ(c.Obstacle(), Reason::kNone);
  c.s.device.battery = 7;  // old and low is not known either
  EXPECT_EQ(c.Obstacle(), Reason::kNone);
  c.plan->conditions.max_age.reset();
  EXPECT_EQ(c.Obstacle(), Reason::kBattery);
}

TEST(Eligibility, ThePaceIsAskedLast) {
  const std::size_t count = Rules().size();
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(IsPace(Rules()[i].reason), i + 3 >= count) << Rules()[i].name;
  }
}

TEST(Eligibility, APlanThatComesLaterDoesNotStandInTheWay) {
  Case c;
  SetOther(c, TaskState::kQueued, Reason::kRate);
  c.plan->priority = 2;
  EXPECT_EQ(c.Obstacle(), Reason::kNone);
}

TEST(Eligibility, VerdictsCarryValueLimitAndTime) {
  Case c;
  c.plan->components[0].sources = {"0.8", "0.9"};
  const auto source = c.Blocked();
  ASSERT_TRUE(source);
  EXPECT_EQ(source->value, "main 1.0");
  EXPECT_EQ(source->limit, "0.8, 0.9");
  Case later;
  later.task().deadline = later.now.steady + seconds(60);
  EXPECT_EQ(later.Blocked()->when, later.task().deadline);
  later.now.steady += seconds(60);
  EXPECT_FALSE(later.Blocked());
}

TEST(Eligibility, PlansEndExactlyAtTheirEnd) {
  Case c;
  c.plan->end = c.now.wall + seconds(1);
  EXPECT_EQ(c.Obstacle(), Reason::kNone);
  c.now.wall += seconds(1);
  EXPECT_EQ(c.Obstacle(), Reason::kPlanEnded);
}

TEST(Eligibility, AComponentAtItsTargetNeedsNoSourceVersion) {
  Case c;
  c.plan->components.push_back(FullComponent("mcu", "5"));
  c.plan->components[1].sources = {"4"};
  c.s.device.installed.push_back({"mcu", "5", false, {}});
  EXPECT_EQ(c.Obstacle(), Reason::kNone);
  c.s.device.installed[1].trial = true;  // [N-14] not at its target
  EXPECT_EQ(c.Obstacle(), Reason::kOnTrial);
}

TEST(Matches, ScopeListsAndVersionsDecide) {
  Case c;
  const Plan& plan = *c.plan;
  EXPECT_TRUE(Matches(plan, c.s.device, false, false));
  EXPECT_FALSE(Matches(plan, c.s.device, true, true));
  c.plan->scope = Scope::kSelected;
  EXPECT_FALSE(Matches(plan, c.s.device, false, false));
  EXPECT_TRUE(Matches(plan, c.s.device, true, false));
  c.s.device.retired = true;
  EXPECT_FALSE(Matches(plan, c.s.device, true, false));
  c.s.device.retired = false;
  c.s.device.installed[0].version = "2.0";
  EXPECT_FALSE(Matches(plan, c.s.device, true, false));
  c.s.device.installed.clear();
  EXPECT_FALSE(Matches(plan, c.s.device, true, false));
}

TEST(Matches, SourceVersionsAreThePlansOrTheDeltas) {
  Case c;
  c.plan->components[0].sources = {"0.9"};
  EXPECT_FALSE(Matches(*c.plan, c.s.device, false, false));
  c.plan->components[0].sources = {"1.0"};
  EXPECT_TRUE(Matches(*c.plan, c.s.device, false, false));
  c.plan->components[0].full.reset();
  c.plan->components[0].delta = DeltaPackage("main", "0.9", "2.0");
  EXPECT_FALSE(Matches(*c.plan, c.s.device, false, false));
  c.plan->components[0].delta = DeltaPackage("main", "1.0", "2.0");
  EXPECT_TRUE(Matches(*c.plan, c.s.device, false, false));
}

TEST(Matches, EveryTagIsNeededWithOneOfItsValues) {
  Case c;
  c.plan->match["ring"] = {"1"};
  EXPECT_FALSE(Matches(*c.plan, c.s.device, false, false));
  c.s.device.tags["ring"] = "1";
  EXPECT_TRUE(Matches(*c.plan, c.s.device, false, false));
  c.s.device.tags["site"] = "east";
  EXPECT_FALSE(Matches(*c.plan, c.s.device, false, false));
}

TEST(Matches, AVerificationIsOfChosenDevices) {  // 002-14 004-33
  Case c;
  c.plan->kind = PlanKind::kVerify;
  EXPECT_FALSE(Matches(*c.plan, c.s.device, false, false));
  EXPECT_TRUE(Matches(*c.plan, c.s.device, true, false));
}

TEST(Choose, TakesTheReadyDeltaElseTheFullPackage) {
  PlanComponent component = FullComponent("main", "2.0");
  component.delta = DeltaPackage("main", "1.0", "2.0");
  EXPECT_EQ(Choose(component, "1.0").kind, PackageKind::kDelta);
  EXPECT_EQ(Choose(component, "1.1").kind, PackageKind::kFull);
  component.delta->sets[0].ready = false;
  EXPECT_EQ(Choose(component, "1.0").kind, PackageKind::kFull);
  component.full.reset();
  EXPECT_EQ(Choose(component, "1.0").kind, PackageKind::kDelta);
  EXPECT_EQ(Choose(component, "1.1").set, nullptr);
}

}  // namespace
}  // namespace ota::core
