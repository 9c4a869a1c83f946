// Each rule fails alone, says its reason, and is explained.
#include "core/eligibility.h"

#include <functional>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "sample.h"

namespace ota::core {
namespace {

// A queued task of plan "spring" that may be offered.
struct Case {
  std::shared_ptr<Plan> plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  Snapshot s;
  Now now{Instant(std::chrono::hours(480000)), Instant(std::chrono::hours(480000)), true};
  Task task;

  Case() {
    s.device.id = 1;
    s.device.connection = s.device.reported_connection = 3;
    s.device.installed = {{"main", "1.0", false, {}}};
    task = MakeTask(plan, "task-1", now.wall);
  }
  Reason Obstacle() const {
    const auto verdict = FirstObstacle(s, task, now);
    return verdict ? verdict->reason : Reason::kNone;
  }
};

TEST(Eligibility, NothingStandsInTheWayOfTheSample) {
  EXPECT_EQ(Case().Obstacle(), Reason::kNone);
}

TEST(Eligibility, EachRuleRefusesForItsOwnReasonAndNoOther) {
  const std::vector<std::pair<Reason, std::function<void(Case&)>>> breaks{
      {Reason::kTooLarge, [](Case& c) { c.task.reason = Reason::kTooLarge; }},
      {Reason::kClockBehind, [](Case& c) { c.now.trusted = false; }},
      {Reason::kPlanNotActive, [](Case& c) { c.plan->wanted = Wanted::kPaused; }},
      {Reason::kPlanHeld, [](Case& c) { c.plan->held = true; }},
      {Reason::kPlanEnded, [](Case& c) { c.plan->end = c.now.wall; }},
      {Reason::kDeviceDisabled, [](Case& c) { c.s.device.disabled = true; }},
      {Reason::kDeviceDisabled, [](Case& c) { c.s.device.retired = true; }},
      {Reason::kBlacklisted, [](Case& c) { c.task.listed_black = c.task.listed_white = true; }},
      {Reason::kNotListed, [](Case& c) { c.plan->scope = Scope::kSelected; }},
      {Reason::kNotReported, [](Case& c) { c.s.device.installed.clear(); }},
      {Reason::kOffline, [](Case& c) { c.s.device.connection = 0; }},
      {Reason::kOffline, [](Case& c) { c.s.device.connection = 4; }},
      {Reason::kOfferUnanswered, [](Case& c) { c.task.reason = Reason::kOfferUnanswered; }},
      {Reason::kPredecessor,
       [](Case& c) {
         c.s.open = MakeTask(ActivePlan("other", {FullComponent("main", "3.0")}), "task-2", {});
       }},
      {Reason::kOnTrial,
       [](Case& c) {
         c.s.device.installed = {{"main", "2.0", true, {}}};
       }},
      {Reason::kSourceVersion,
       [](Case& c) {
         c.plan->components[0].sources = {"0.8", "0.9"};
       }},
      {Reason::kNoDeltaForSource,
       [](Case& c) {
         c.plan->components[0].full.reset();
         c.plan->components[0].delta = DeltaPackage("main", "0.9", "2.0");
       }},
      {Reason::kPackageNotReady,
       [](Case& c) { c.plan->components[0].full->sets[0].ready = false; }},
      {Reason::kNoDelivery, [](Case& c) { c.s.product.http = c.s.product.blocks = false; }},
      {Reason::kNotYet, [](Case& c) { c.task.deadline = c.now.steady + seconds(1); }},
      {Reason::kOutboxFull, [](Case& c) { c.s.outbox_full = true; }},
  };
  std::set<Reason> seen;
  for (const auto& [reason, spoil] : breaks) {
    Case c;
    spoil(c);
    EXPECT_EQ(c.Obstacle(), reason) << Name(reason);
    const std::vector<Verdict> verdicts = Explain(c.s, c.task, c.now);
    ASSERT_EQ(verdicts.size(), Rules().size());
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
      EXPECT_EQ(verdicts[i].rule, Rules()[i].name);
      EXPECT_EQ(verdicts[i].ok, verdicts[i].reason != reason) << verdicts[i].rule;
    }
    seen.insert(reason);
  }
  EXPECT_EQ(seen.size(), Rules().size()) << "a rule without a case";
}

TEST(Eligibility, VerdictsCarryValueLimitAndTime) {
  Case c;
  c.plan->components[0].sources = {"0.8", "0.9"};
  const auto source = FirstObstacle(c.s, c.task, c.now);
  ASSERT_TRUE(source);
  EXPECT_EQ(source->value, "main 1.0");
  EXPECT_EQ(source->limit, "0.8, 0.9");
  Case later;
  later.task.deadline = later.now.steady + seconds(60);
  EXPECT_EQ(FirstObstacle(later.s, later.task, later.now)->when, later.task.deadline);
  later.now.steady += seconds(60);
  EXPECT_FALSE(FirstObstacle(later.s, later.task, later.now));
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
