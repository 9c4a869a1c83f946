// What plans can say, one story for each: brakes, requests, consent, conditions, overriding, strict
// progress, grace, time-outs, spelling, retries, failures in a row.
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/rollout.h"
#include "sample.h"

namespace ota::core {
namespace {

using PS = ProgressState;

VersionReport Asking(const std::string& version, const std::string& boot) {
  VersionReport report = Site::Versions({{"main", version}}, boot);
  report.request = true;
  return report;
}

VersionReport OnTrial(const std::string& version, const std::string& boot) {
  VersionReport report = Site::Versions({{"main", version}}, boot);
  report.trial = {"main"};
  return report;
}

// A device without boot ids, whose download was accepted.
Site WithoutBootIds(seconds grace) {
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->grace = grace;
  Site site({plan});
  site.Report({{"main", "1.0"}});
  site.Accept(site.Of("spring").name);
  return site;
}

// The device comes back on a new connection.
void Return(Site& site, const std::string& version, const std::string& boot = {}) {
  site.Disconnect();
  site.Connect();
  site.Report({{"main", version}}, boot);
}

// ---------------------------------------------------------------- brakes

struct BrakeCase {
  Reason reason;
  std::function<void(Site&)> on, off;
};

const std::vector<BrakeCase>& Brakes() {
  static const std::vector<BrakeCase> brakes{
      {Reason::kStopped, [](Site& site) { site.stopped = "recall"; },
       [](Site& site) { site.stopped.reset(); }},
      {Reason::kHeld,
       [](Site& site) {
         site.hold = Hold{{}, "audit"};
       },
       [](Site& site) { site.hold.reset(); }},
      {Reason::kHeld,
       [](Site& site) {
         site.hold = Hold{site.now.wall + std::chrono::hours(1000), "audit"};
       },
       [](Site& site) { site.hold->until = site.now.wall; }},
      {Reason::kPlanHeld, [](Site& site) { site.plans[0]->held = true; },
       [](Site& site) { site.plans[0]->held = false; }},
  };
  return brakes;
}

TEST(Brake, AnOfferThatIsOwedWaitsForItsEnd) {
  for (const BrakeCase& brake : Brakes()) {
    SCOPED_TRACE(Name(brake.reason));
    Site site = Offered();
    brake.on(site);
    Return(site, "1.0", "b1");
    EXPECT_FALSE(site.Got<Offer>());
    EXPECT_EQ(site.State(), TaskState::kOffered);
    site.Accept(site.Of("spring").name);
    EXPECT_FALSE(site.Got<Download>());
    EXPECT_EQ(site.State(), TaskState::kAccepted);
    EXPECT_TRUE(site.Got<Reply>()->again);
    brake.off(site);
    site.Next();
    EXPECT_TRUE(site.Got<Download>());
  }
}

TEST(Brake, NoDeadlineRunsOutMeanwhile) {
  for (const BrakeCase& brake : Brakes()) {
    SCOPED_TRACE(Name(brake.reason));
    for (const PS told : {PS::kDownloading, PS::kInstalling, PS::kRebooting}) {
      Site site = WithoutBootIds(seconds(60));
      site.plans[0]->timeout = seconds(7200);
      site.Tell(site.Of("spring").name, "main", told);
      const TaskState state = site.State();
      Return(site, "1.0");  // while installing: the grace runs
      brake.on(site);
      for (int hour = 0; hour < 50; ++hour) {
        site.RunOut();
        EXPECT_EQ(site.State(), state);
        EXPECT_GT(*site.Of("spring").deadline, site.now.steady);
      }
      brake.off(site);
      site.RunOut();
      EXPECT_NE(site.State(), state);
    }
  }
}

TEST(Brake, BlocksAreRefusedAndTheDownloadComesAgainAfterwards) {
  for (const BrakeCase& brake : Brakes()) {
    SCOPED_TRACE(Name(brake.reason));
    Site site = Accepted();
    const BlockRequest first{site.Of("spring").name, "main", 0, "r", 0, 4096, 8};
    brake.on(site);
    site.Send(first);
    EXPECT_FALSE(site.last.blocks);
    EXPECT_EQ(site.Code(), 503);
    EXPECT_EQ(site.Got<Reply>()->message,
              brake.reason == Reason::kPlanHeld ? "plan held" : Name(brake.reason));
    EXPECT_TRUE(site.Got<Reply>()->retry_after);
    site.Next();
    EXPECT_FALSE(site.Got<Download>());
    brake.off(site);
    site.Next();
    EXPECT_TRUE(site.Got<Download>());
    site.Send(first);
    EXPECT_TRUE(site.last.blocks);
  }
}

TEST(Brake, AnAddressThatIsAskedForMeanwhileComesAfterwards) {
  for (const BrakeCase& brake : Brakes()) {
    SCOPED_TRACE(Name(brake.reason));
    Site site = Accepted();
    brake.on(site);
    site.Accept(site.Of("spring").name);  // again: its address has expired
    EXPECT_FALSE(site.Got<Download>());
    EXPECT_TRUE(site.Got<Reply>()->again);
    site.Next();
    EXPECT_FALSE(site.Got<Download>());
    brake.off(site);
    site.Next();
    EXPECT_TRUE(site.Got<Download>());
    site.Next();
    EXPECT_FALSE(site.Got<Download>());
  }
}

TEST(Brake, NoAttemptBeginsMeanwhile) {
  for (const BrakeCase& brake : Brakes()) {
    SCOPED_TRACE(Name(brake.reason));
    Site site = Accepted();
    site.plans[0]->retry = {1, seconds(600)};
    site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -2);
    brake.on(site);
    site.Pass(seconds(601));
    Return(site, "1.0", "b1");  // before the deadline is looked at
    EXPECT_EQ(site.State(), TaskState::kRetrying);
    site.Deadline();
    EXPECT_EQ(site.State(), TaskState::kRetrying);
    brake.off(site);
    site.RunOut();
    EXPECT_EQ(site.Got<Download>()->attempt, 2);
  }
}

TEST(Brake, AHaltedPlanOffersNothingButWhatRunsGoesOn) {
  Site site = Offered();
  site.plans[0]->halted = true;
  Return(site, "1.0", "b1");
  EXPECT_TRUE(site.Got<Offer>());  // it was made before
  site.Accept(site.Of("spring").name);
  EXPECT_TRUE(site.Got<Download>());
  Return(site, "2.0", "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
  Site other({ActivePlan("spring", {FullComponent("main", "2.0")})});
  other.plans[0]->halted = true;
  other.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(other.Of("spring").reason, Reason::kPlanHalted);
}

TEST(Scope, ADeviceThatLosesATagLosesTheOffer) {
  Site site = Offered();
  site.plans[0]->match = {{"ring", {"1"}}};
  site.Next();
  EXPECT_TRUE(site.Got<Cancel>());
  EXPECT_EQ(site.State(), TaskState::kQueued);
  EXPECT_EQ(site.Of("spring").reason, Reason::kNotMatched);
  EXPECT_EQ(site.Of("spring").detail, "ring is not set / 1");
}

// ---------------------------------------------------------------- who begins

TEST(Request, ThePlanIsOfferedWhenTheDeviceAsksAndNotBefore) {  // 001-09 003-12 003-13 [N-32]
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->trigger = Trigger::kRequest;
  Site site({plan});
  site.Report({{"main", "1.0"}}, "b1");
  site.Next();
  Return(site, "1.0", "b2");
  EXPECT_EQ(site.Of("spring").reason, Reason::kOnRequest);
  site.Send(Asking("1.0", "b2"));
  EXPECT_TRUE(site.Got<Offer>());
  Site silent = site;
  for (int sent = 0; sent < 3; ++sent) {
    silent.RunOut();
  }
  silent.Report({{"main", "1.0"}}, "b2");
  EXPECT_EQ(silent.Of("spring").reason, Reason::kOnRequest);
  silent.Accept(silent.Of("spring").name);  // a late answer shows that it still wants it
  EXPECT_EQ(silent.State(), TaskState::kAccepted);
  Return(site, "1.0", "b3");
  EXPECT_TRUE(site.Got<Offer>());  // what was offered is owed
  site.Decline(site.Of("spring").name, seconds(600));
  site.RunOut();
  EXPECT_TRUE(site.Got<Offer>());  // the device has named the time
}

TEST(Request, WhoHasAskedWaitsForThePaceWithoutAskingAgain) {  // 004-52 003-12
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->trigger = Trigger::kRequest;
  plan->rate = 10;
  Site site({plan});
  site.pace["spring"].next_offer = site.now.steady + seconds(6);
  site.Send(Asking("1.0", "b1"));
  EXPECT_EQ(site.Of("spring").reason, Reason::kRate);
  EXPECT_FALSE(site.Got<Reply>()->again) << "everybody would come at once";
  site.Next();
  EXPECT_EQ(site.Of("spring").reason, Reason::kRate);
  site.Pass(seconds(6));
  site.Next();
  EXPECT_TRUE(site.Got<Offer>());
}

TEST(Pace, AllThatTheEnginePicksFromCouldGoThisMoment) {  // 004-52 000-27
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->max_open = 1;
  Site site({plan});
  site.pace["spring"].open_tasks = 1;
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.Of("spring").reason, Reason::kTooManyOpen);
  EXPECT_EQ(site.Of("spring").detail, "1 / 1");
  site.Disconnect();
  site.Next();
  EXPECT_EQ(site.Of("spring").reason, Reason::kOffline);
}

TEST(Pace, APlanOfAHigherPriorityKeepsItsPlaceWhileItWaits) {  // 000-29
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")}),
             ActivePlan("mcu", {FullComponent("mcu", "5")})});
  site.plans[0]->rate = 10;
  site.pace["spring"].next_offer = site.now.steady + seconds(6);
  site.Report({{"main", "1.0"}, {"mcu", "4"}}, "b1");
  EXPECT_EQ(site.Of("spring").reason, Reason::kRate);
  EXPECT_EQ(site.Of("mcu").reason, Reason::kPredecessor);
  EXPECT_EQ(site.Of("mcu").detail, "spring");
  site.plans[0]->wanted = Wanted::kPaused;
  site.Next();
  EXPECT_EQ(site.State("mcu"), TaskState::kOffered);
}

TEST(Scope, NewReportsJoinWithoutADifferentVersion) {  // 004-59 004-60
  Site site;
  site.Report({{"main", "1.0"}}, "b1");
  site.plans.push_back(ActivePlan("spring", {FullComponent("main", "2.0")}));
  Return(site, "1.0", "b2");
  EXPECT_TRUE(site.tasks.empty());
  site.plans[0]->new_reports = true;
  Return(site, "1.0", "b3");
  EXPECT_EQ(site.State(), TaskState::kOffered);
}

TEST(Scope, AProspectThatIsNoMemberOrNotInThePhaseStaysOne) {  // 004-39 004-47
  for (const bool member : {true, false}) {
    Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
    const VersionReport report = Site::Versions({{"main", "1.0"}}, "b1");
    Snapshot s = site.Load({}, &report);
    ASSERT_EQ(s.prospects.size(), 1U);
    s.prospects[0].member = member;
    s.prospects[0].in_phase = !member;
    EXPECT_TRUE(DecideUplink(s, Uplink{{}, {}, report}, site.now).tasks.empty());
  }
}

// ---------------------------------------------------------------- without a confirmation

TEST(Dialect, WithoutAConfirmationTheDownloadIsTheOffer) {  // 004-10 004-66
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.product.confirms = false;
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.Count<Offer>(), 0);
  ASSERT_TRUE(site.Got<Download>());
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_EQ(site.Got<Download>()->deadline_in, seconds(86400));  // C11: as an offer
  Return(site, "1.0");
  EXPECT_TRUE(site.Got<Download>());
  EXPECT_EQ(site.State(), TaskState::kAccepted);
}

TEST(Dialect, WithoutAConfirmationAManualPlanWaitsForPeople) {  // 002-26 C18
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->mode = Mode::kManual;
  Site site({plan});
  site.product.confirms = false;
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.Of("spring").reason, Reason::kNoConsent);
  site.Consent(site.Of("spring").name);
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_EQ(site.Count<Offer>(), 0);
  EXPECT_TRUE(site.Got<Download>());
  EXPECT_TRUE(site.HasLogged("consent", "by post"));
}

TEST(Conditions, GateTheStartAndNothingElse) {  // 000-09 000-28
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->conditions.battery = 30;
  plan->retry = {1, seconds(0)};
  Site site({plan});
  VersionReport low = Site::Versions({{"main", "1.0"}}, "b1");
  low.battery = 10;
  site.Send(low);
  EXPECT_EQ(site.Of("spring").reason, Reason::kBattery);
  EXPECT_EQ(site.Of("spring").detail, "10 % / 30 %");
  low.battery = 30;
  site.Send(low);
  EXPECT_EQ(site.Got<Offer>()->conditions.battery, 30);
  low.battery = 10;
  site.Connect();
  site.Send(low);
  EXPECT_TRUE(site.Got<Offer>());  // it was made: the device decides
  const std::string name = site.Of("spring").name;
  site.Accept(name);
  EXPECT_TRUE(site.Got<Download>());
  site.Connect();
  site.Send(low);
  EXPECT_TRUE(site.Got<Download>());
  site.Tell(name, "main", PS::kFailed, {}, -2);
  EXPECT_EQ(site.Got<Download>()->attempt, 2);
}

// ---------------------------------------------------------------- overriding

// Plan "summer", which overrides, comes for a device whose task of "spring" is what `prepare` does.
Site Overridden(const std::function<void(Site&)>& prepare, bool fails_when_busy = false) {
  Site site = Offered();
  prepare(site);
  auto summer = ActivePlan("summer", {FullComponent("main", "3.0")});
  summer->overrides = true;
  summer->fails_when_busy = fails_when_busy;
  site.Join(summer);
  return site;
}

TEST(Override, WhatShowsNoProgressGivesWay) {  // 004-56 C14
  const std::vector<std::function<void(Site&)>> early{
      [](Site&) {},
      [](Site& site) { site.Decline(site.Of("spring").name, seconds(600)); },
      [](Site& site) { site.Accept(site.Of("spring").name); },
  };
  for (const auto& prepare : early) {
    const Site site = Overridden(prepare, true);
    const auto spring = std::find_if(site.tasks.begin(), site.tasks.end(), [](const auto& one) {
      return one.second.plan->name == "spring";
    });
    EXPECT_EQ(spring->second.state, TaskState::kCanceled);
    EXPECT_EQ(spring->second.reason, Reason::kOverridden);
    EXPECT_EQ(spring->second.detail, "plan 'summer'");
    EXPECT_TRUE(spring->second.owes_cancel);
    ASSERT_EQ(site.last.messages.size(), 2U);
    EXPECT_EQ(std::get<Cancel>(site.last.messages[0]).reason, "overridden");
    EXPECT_EQ(site.Got<Offer>()->plan, "summer");
  }
}

TEST(Override, QueuedTasksGiveWayWithoutACancelForTheDevice) {  // 004-56
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.plans[0]->start = site.now.wall + seconds(600);
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.Of("spring").reason, Reason::kNotStarted);
  auto summer = ActivePlan("summer", {FullComponent("main", "3.0")});
  summer->overrides = true;
  site.Join(summer);
  EXPECT_EQ(site.State(), TaskState::kCanceled);
  EXPECT_FALSE(site.Of("spring").owes_cancel);
  EXPECT_EQ(site.State("summer"), TaskState::kOffered);
}

TEST(Override, ATaskInUpgradeIsNeverOverridden) {  // 004-58
  const std::vector<PS> progress{PS::kDownloading, PS::kWaiting, PS::kInstalling, PS::kRebooting,
                                 PS::kFailed};
  for (const PS told : progress) {
    const auto prepare = [&](Site& site) {
      site.plans[0]->retry = {1, seconds(600)};
      site.Accept(site.Of("spring").name);
      site.Tell(site.Of("spring").name, "main", told);
    };
    Site site = Overridden(prepare);
    EXPECT_TRUE(InUpgrade(site.Of("spring"))) << Name(told);
    EXPECT_EQ(site.State("summer"), TaskState::kQueued);
    EXPECT_EQ(site.Of("summer").reason, Reason::kPredecessor);
    Return(site, "2.0", "b9");
    EXPECT_EQ(site.State(), TaskState::kSucceeded);
    EXPECT_EQ(site.State("summer"), TaskState::kOffered);
  }
}

TEST(Override, ANewTaskOfABusyDeviceFailsWhereTheProfileSaysSo) {  // 004-69
  const auto prepare = [](Site& site) {
    site.Accept(site.Of("spring").name);
    site.Tell(site.Of("spring").name, "main", PS::kDownloading);
  };
  Site site = Overridden(prepare, true);
  EXPECT_EQ(site.State(), TaskState::kDownloading);
  EXPECT_EQ(site.State("summer"), TaskState::kFailed);
  EXPECT_EQ(site.Of("summer").reason, Reason::kBusy);
  EXPECT_TRUE(site.streaks.empty());
  Return(site, "2.0", "b2");
  site.Again("summer");  // by hand, later
  EXPECT_EQ(site.State("summer"), TaskState::kOffered);
}

TEST(Override, WithoutItTheDeviceKeepsThePreviousTask) {  // 004-57
  Site site = Offered();
  site.Join(ActivePlan("summer", {FullComponent("main", "3.0")}));
  EXPECT_EQ(site.State(), TaskState::kOffered);
  EXPECT_EQ(site.Of("summer").reason, Reason::kPredecessor);
}

TEST(Override, AReportIsJudgedBeforeItBringsAnotherPlan) {  // 000-18 004-56
  Site site = Accepted();
  auto summer = ActivePlan("summer", {FullComponent("main", "3.0")});
  summer->components[0].sources = {"2.0"};
  summer->overrides = true;
  summer->order = 1;
  site.plans.push_back(summer);
  Return(site, "2.0", "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
  EXPECT_EQ(site.State("summer"), TaskState::kOffered);
}

TEST(Override, OfPlansThatComeTogetherTheLatestOverrides) {  // 004-56
  for (const bool reversed : {false, true}) {
    Site site({ActivePlan("spring", {FullComponent("main", "2.0")}),
               ActivePlan("summer", {FullComponent("main", "3.0")})});
    site.plans[0]->overrides = site.plans[1]->overrides = true;
    if (reversed) {
      std::swap(site.plans[0], site.plans[1]);
    }
    site.Report({{"main", "1.0"}}, "b1");
    EXPECT_EQ(site.State("summer"), TaskState::kOffered);
    EXPECT_EQ(site.State("spring"), TaskState::kCanceled);
  }
}

// ---------------------------------------------------------------- truth by version

Progress Hundred(const Site& site, PS state) {
  Progress progress;
  progress.task = site.tasks.begin()->second.name;
  progress.component = "main";
  progress.state = state;
  progress.percent = 100;
  return progress;
}

TEST(Strict, TheVersionAloneIsNotEnough) {  // 004-68 C9
  Site site = Accepted();
  site.plans[0]->strict_progress = true;
  site.plans[0]->retry = {5, seconds(0)};
  Site full = site;
  Progress most = Hundred(site, PS::kDownloading);
  most.percent = 99;
  site.Send(most);
  Return(site, "2.0", "b2");
  EXPECT_EQ(site.State(), TaskState::kFailed) << "there is nothing to try again";
  EXPECT_EQ(site.Of("spring").reason, Reason::kNoFullProgress);
  Return(site, "2.0", "b3");
  EXPECT_EQ(site.State(), TaskState::kFailed);
  full.Send(Hundred(full, PS::kDownloading));
  EXPECT_EQ(full.State(), TaskState::kDownloading) << "100 % alone is never success";
  Return(full, "2.0", "b2");
  EXPECT_EQ(full.State(), TaskState::kSucceeded);
  EXPECT_TRUE(full.HasLogged("proved", "100 % was reported"));
}

TEST(Strict, TheHundredIsOfThisAttempt) {  // C9
  Site site = Accepted();
  site.plans[0]->strict_progress = true;
  site.plans[0]->retry = {1, seconds(0)};
  site.Send(Hundred(site, PS::kDownloading));
  site.Tell(site.Of("spring").name, "main", PS::kFailed, 1, -3);
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  Return(site, "2.0", "b2");
  EXPECT_EQ(site.Of("spring").reason, Reason::kNoFullProgress);
}

TEST(Strict, ALateVersionCountsIfTheHundredWasSeen) {  // C9 [N-27]
  for (const bool seen : {false, true}) {
    Site site = Accepted();
    site.plans[0]->strict_progress = true;
    if (seen) {
      site.Send(Hundred(site, PS::kDownloading));
    }
    site.Tell(site.Of("spring").name, "main", PS::kFailed, 1, -3);
    Return(site, "2.0", "b2");
    EXPECT_EQ(site.State(), seen ? TaskState::kSucceeded : TaskState::kFailed);
  }
}

TEST(Truth, WithoutStrictProgressTheVersionIsTheOnlyProof) {  // 000-18 002-09 C9
  Site site = Accepted();
  site.Send(Hundred(site, PS::kInstalling));
  site.Send(Hundred(site, PS::kRebooting));
  EXPECT_EQ(site.State(), TaskState::kRebooting);
  Site bare = Accepted();
  Return(bare, "2.0", "b2");
  EXPECT_EQ(bare.State(), TaskState::kSucceeded);
  EXPECT_TRUE(bare.HasLogged("proved", "by its version alone"));
}

TEST(Truth, AnEqualVersionIsSuccessAfterAFailureAndSaysSo) {  // [N-27]
  Site site = Accepted();
  Site late = site;
  site.plans[0]->retry = {1, seconds(600)};
  site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -3);
  Return(site, "2.0", "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
  EXPECT_EQ(site.Of("spring").detail, "after verify_failed");
  late.plans[0] = std::make_shared<Plan>(*late.plans[0]);
  late.plans[0]->retry = {};
  late.Of("spring").plan = late.plans[0];
  late.Tell(late.Of("spring").name, "main", PS::kFailed, {}, -3);
  EXPECT_EQ(late.State(), TaskState::kFailed);
  Return(late, "2.0", "b2");
  EXPECT_EQ(late.Of("spring").detail, "late, after verify_failed");
}

TEST(Cancel, ALateCompletionIsRecorded) {  // 004-73 C15
  for (const bool names : {true, false}) {
    Site site = Accepted();
    const std::string name = site.Of("spring").name;
    site.Tell(name, "main", PS::kInstalling);
    site.CancelTask(name);
    site.Tell(name, "main", PS::kRebooting);
    EXPECT_EQ(site.Code(), 410);
    site.Disconnect();
    site.Connect();
    site.Report({{"main", "2.0"}}, "b2", names ? std::optional<std::string>(name) : std::nullopt);
    EXPECT_EQ(site.State(), TaskState::kCanceled);
    EXPECT_EQ(site.device.installed[0].version, "2.0");
    EXPECT_TRUE(site.HasLogged("late", "reached the targets"));
  }
}

TEST(Grace, TheOldVersionSoonAfterAReconnectIsNoRollBackYet) {  // C10
  Site site = WithoutBootIds(seconds(120));
  site.Tell(site.Of("spring").name, "main", PS::kInstalling);
  Return(site, "1.0");
  EXPECT_EQ(site.State(), TaskState::kInstalling);
  EXPECT_TRUE(site.HasLogged("reconnect", "main 1.0"));
  Site done = site;
  Site goes_on = site;
  site.Pass(seconds(60));
  Return(site, "1.0");  // again: the grace runs from the first sight
  EXPECT_EQ(site.State(), TaskState::kInstalling);
  site.Pass(seconds(59));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kInstalling);
  site.Pass(seconds(1));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kFailed);
  EXPECT_EQ(site.Of("spring").reason, Reason::kRolledBack);
  done.Pass(seconds(100));
  Return(done, "2.0");
  EXPECT_EQ(done.State(), TaskState::kSucceeded);
  goes_on.Pass(seconds(100));
  goes_on.Tell(goes_on.Of("spring").name, "main", PS::kInstalling);
  goes_on.Pass(seconds(3599));
  goes_on.Deadline();
  EXPECT_EQ(goes_on.State(), TaskState::kInstalling);
}

TEST(Grace, WhoAsksForBlocksGoesOnAndANewAttemptHasItsFullTime) {  // C10
  Site site = WithoutBootIds(seconds(120));
  const std::string name = site.Of("spring").name;
  site.plans[0]->retry = {1, seconds(0)};
  site.Tell(name, "main", PS::kInstalling);
  Return(site, "1.0");
  Site asks = site;
  site.RunOut();
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(3600));
  asks.Send(BlockRequest{name, "main", 0, "r", 0, 4096, 8});
  asks.Pass(seconds(121));
  asks.Deadline();
  EXPECT_EQ(asks.State(), TaskState::kInstalling);
}

TEST(Grace, RestsWhileTheDeviceWaits) {  // C10 [N-24]
  Site site = WithoutBootIds(seconds(120));
  site.Tell(site.Of("spring").name, "main", PS::kInstalling);
  site.Tell(site.Of("spring").name, "main", PS::kWaiting);
  Return(site, "1.0");
  site.RunOut();
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  site.Pass(seconds(121));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kAccepted);
}

TEST(Grace, AnotherBootIdIsARollBackAtOnceAndAnEqualOneNone) {  // C10 [N-14]
  for (const seconds grace : {seconds(0), seconds(120)}) {
    Site site = Accepted();
    site.plans[0]->grace = grace;
    site.Tell(site.Of("spring").name, "main", PS::kInstalling);
    Return(site, "1.0", "b1");
    EXPECT_EQ(site.State(), TaskState::kInstalling);
    Return(site, "1.0", "b2");
    EXPECT_EQ(site.State(), TaskState::kFailed);
    EXPECT_EQ(site.Of("spring").reason, Reason::kRolledBack);
  }
}

TEST(Grace, WithoutAnyTheOldVersionInUpgradeIsAFailure) {  // 004-71 C10
  for (const PS told : {PS::kDownloading, PS::kVerifying, PS::kInstalling, PS::kRebooting}) {
    Site site = WithoutBootIds(seconds(0));
    Return(site, "1.0");
    EXPECT_EQ(site.State(), TaskState::kAccepted) << "pushed: the current version is no failure";
    site.Tell(site.Of("spring").name, "main", told);
    site.Report({{"main", "1.0"}});
    EXPECT_TRUE(InUpgrade(site.Of("spring"))) << "the same connection";
    Return(site, "1.0");
    EXPECT_EQ(site.Of("spring").reason, Reason::kRolledBack) << Name(told);
    Site patient = WithoutBootIds(seconds(120));
    patient.Tell(patient.Of("spring").name, "main", told);
    Return(patient, "1.0");
    EXPECT_NE(patient.State(), TaskState::kFailed);
  }
}

TEST(Grace, ADeviceThatSleepsWhileItDownloadsHasNotFailed) {  // [N-14]
  Site site = Accepted();
  site.plans[0]->grace = seconds(0);
  site.Tell(site.Of("spring").name, "main", PS::kDownloading);
  Return(site, "1.0", "b2");
  EXPECT_EQ(site.State(), TaskState::kDownloading);
  EXPECT_TRUE(site.Got<Download>());
}

TEST(Spelling, TheTargetInAnotherSpellingIsNamedAsTheCause) {
  for (const char* version : {"2.0 beta", " 2.0B e t a"}) {
    auto plan = ActivePlan("spring", {FullComponent("main", "2.0 Beta")});
    Site site({plan});
    site.Report({{"main", "1.0"}}, "b1");
    site.Accept(site.Of("spring").name);
    Return(site, version, "b2");
    EXPECT_EQ(site.Of("spring").reason, Reason::kSpelling);
    site.Again();  // it is now what the device starts from
    site.Accept(site.Of("spring").name);
    site.Tell(site.Of("spring").name, "main", PS::kInstalling);
    Return(site, version, "b3");
    EXPECT_EQ(site.Of("spring").reason, Reason::kSpelling);
  }
  Site other = Accepted();
  Return(other, "2.00", "b2");
  EXPECT_EQ(other.Of("spring").reason, Reason::kForeignVersion);
}

// ---------------------------------------------------------------- retries and time-outs

TEST(Retry, AllFailuresButTimeOutsAreTriedAgain) {  // 004-71 004-72 C13
  struct {
    Reason reason;
    bool retried;
    std::function<void(Site&)> fail;
  } const rows[] = {
      {Reason::kDeviceFailed, true,
       [](Site& site) { site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -1); }},
      {Reason::kDownloadFailed, true,
       [](Site& site) { site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -2); }},
      {Reason::kVerifyFailed, true,
       [](Site& site) { site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -3); }},
      {Reason::kWriteFailed, true,
       [](Site& site) { site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -4); }},
      {Reason::kRolledBack, true,
       [](Site& site) { site.Tell(site.Of("spring").name, "main", PS::kRolledBack); }},
      {Reason::kForeignVersion, true, [](Site& site) { Return(site, "9.9", "b2"); }},
      {Reason::kDownloadTimeout, false,
       [](Site& site) {
         site.Tell(site.Of("spring").name, "main", PS::kDownloading);
         site.RunOut();
       }},
      {Reason::kInstallTimeout, false,
       [](Site& site) {
         site.Tell(site.Of("spring").name, "main", PS::kInstalling);
         site.RunOut();
       }},
      {Reason::kRebootTimeout, false,
       [](Site& site) {
         site.Tell(site.Of("spring").name, "main", PS::kRebooting);
         site.RunOut();
       }},
      {Reason::kTimeout, false,
       [](Site& site) {
         site.plans[0]->timeout = seconds(60);
         site.Tell(site.Of("spring").name, "main", PS::kDownloading);
         site.RunOut();
       }},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(Name(row.reason));
    Site site = Accepted();
    site.plans[0]->retry = {1, seconds(600)};
    row.fail(site);
    EXPECT_EQ(site.Of("spring").reason, row.reason);
    EXPECT_EQ(site.State(), row.retried ? TaskState::kRetrying : TaskState::kFailed);
    Site only = Accepted();
    only.plans[0]->retry = {1, seconds(600), {row.reason}};
    row.fail(only);
    EXPECT_EQ(only.State(), TaskState::kRetrying);
    Site never = Accepted();
    never.plans[0]->retry = {1, seconds(600), {Reason::kNotKept}};
    row.fail(never);
    EXPECT_EQ(never.State(), TaskState::kFailed);
  }
}

TEST(Retry, ARefusalIsNoFailureThatIsTriedAgain) {  // C19
  Site site = Accepted();
  site.plans[0]->retry = {5, seconds(0)};
  site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -5);
  EXPECT_EQ(site.State(), TaskState::kRefused);
}

TEST(Retry, ARefusalComesAgainWhereThePlanSaysSoButNotInAMinute) {  // C19
  Site site = Accepted();
  site.plans[0]->retry = {5, seconds(0), {Reason::kDeviceRefused}};
  site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -5);
  EXPECT_EQ(site.State(), TaskState::kPostponed);
  EXPECT_EQ(site.Of("spring").reason, Reason::kDeviceRefused);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(60));
}

TEST(Retry, ARefusalOfWhatIsUnderWayIsFinal) {
  Site site = Accepted();
  site.plans[0]->retry = {5, seconds(0), {Reason::kDeviceRefused}};
  const std::string name = site.Of("spring").name;
  site.Tell(name, "main", PS::kDownloading);
  site.Tell(name, "main", PS::kFailed, {}, -5);
  EXPECT_EQ(site.State(), TaskState::kRefused);
  EXPECT_EQ(site.Of("spring").code, -5);
}

TEST(Timeout, RunsFromTheFirstProgressWhateverTheDeviceSays) {  // 004-34 004-55
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  site.plans[0]->timeout = seconds(600);
  site.plans[0]->retry = {5, seconds(100)};
  site.Pass(seconds(3000));
  site.Tell(name, "main", PS::kDownloading);
  site.Pass(seconds(500));
  Progress progress;
  progress.task = name;
  progress.component = "main";
  progress.state = PS::kInstalling;
  progress.eta = seconds(5000);
  site.Send(progress);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(100));
  site.Pass(seconds(99));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kInstalling);
  Site retrying = site;
  site.Pass(seconds(1));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kFailed);
  EXPECT_EQ(site.Of("spring").reason, Reason::kTimeout);
  retrying.Tell(name, "main", PS::kFailed, {}, -2);
  EXPECT_EQ(retrying.State(), TaskState::kRetrying);
  retrying.Pass(seconds(1));
  retrying.Deadline();
  EXPECT_EQ(retrying.Of("spring").reason, Reason::kTimeout);
  EXPECT_EQ(retrying.State(), TaskState::kFailed);
}

TEST(Timeout, BlocksAreProgressAndWaitingRests) {  // 004-55 [N-24]
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  site.plans[0]->timeout = seconds(600);
  site.Send(BlockRequest{name, "main", 0, "r", 0, 4096, 8});
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(600));
  Progress progress;
  progress.task = name;
  progress.component = "main";
  progress.state = PS::kWaiting;
  progress.retry_after = seconds(5000);
  site.Send(progress);
  site.Pass(seconds(4999));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kWaiting);
  site.Pass(seconds(1));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  site.Tell(name, "main", PS::kDownloading);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(600));
}

TEST(Timeout, BlocksAreTheFirstProgressInEveryState) {  // 004-55
  Site site = Accepted();
  site.plans[0]->timeout = seconds(600);
  site.Report({{"main", "2.0"}}, "b1");  // written, not rebooted
  EXPECT_EQ(site.State(), TaskState::kRebooting);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(604800));
  site.Send(BlockRequest{site.Of("spring").name, "main", 0, "r", 0, 4096, 8});
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(600));
}

TEST(Timeout, OneThatIsTriedAgainIsOfTheAttempt) {  // C13
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  site.plans[0]->timeout = seconds(600);
  site.plans[0]->retry = {1, seconds(0), {Reason::kTimeout}};
  site.Tell(name, "main", PS::kDownloading);
  site.RunOut();
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_EQ(site.Of("spring").components[0].attempt, 2);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(3600));
  site.Tell(name, "main", PS::kDownloading);
  site.RunOut();
  EXPECT_EQ(site.Of("spring").reason, Reason::kTimeout);
  EXPECT_EQ(site.State(), TaskState::kFailed);
}

// ---------------------------------------------------------------- failures in a row

// One more task of target 2.0 fails.
void FailOnce(Site& site) {
  if (IsEnded(site.State())) {
    site.Again();
  }
  site.Accept(site.Of("spring").name);
  site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -3);
}

TEST(Streak, ADeviceThatFailsATargetAgainAndAgainIsPutAside) {
  Site site = Offered();
  site.plans[0]->retry = {1, seconds(0)};
  FailOnce(site);
  EXPECT_TRUE(site.streaks.empty()) << "an attempt is not a task";
  site.plans[0]->retry = {};
  site.Tell(site.Of("spring").name, "main", PS::kFailed, 2, -3);
  EXPECT_EQ(site.streaks, (std::vector<Streak>{{"main", "2.0", 1, false, {}}}));
  FailOnce(site);
  site.Again();
  EXPECT_EQ(site.State(), TaskState::kOffered);
  site.Accept(site.Of("spring").name);
  site.Tell(site.Of("spring").name, "main", PS::kRolledBack);
  EXPECT_EQ(site.streaks, (std::vector<Streak>{{"main", "2.0", 3, true, {}}}));
  EXPECT_TRUE(site.HasLogged("aside", "main 2.0: 3 tasks failed in a row"));
  site.Again();
  EXPECT_EQ(site.Of("spring").reason, Reason::kQuarantined);
  site.Pass(std::chrono::hours(10000));
  site.Next();
  EXPECT_EQ(site.Of("spring").reason, Reason::kQuarantined);
  site.streaks.clear();  // a person releases it
  site.Next();
  EXPECT_EQ(site.State(), TaskState::kOffered);
}

TEST(Streak, AProvedComponentThatIsLostAgainCounts) {
  Site site({ActivePlan("spring", {FullComponent("main", "2.0"), FullComponent("mcu", "5")})});
  site.plans[0]->retry = {1, seconds(600)};
  site.Report({{"main", "1.0"}, {"mcu", "4"}}, "b1");
  site.Accept(site.Of("spring").name);
  site.Report({{"main", "2.0"}, {"mcu", "4"}}, "b2");
  site.Tell(site.Of("spring").name, "mcu", PS::kFailed, {}, -2);
  EXPECT_EQ(site.State(), TaskState::kRetrying);
  Site lost = site;
  lost.plans[0] = std::make_shared<Plan>(*site.plans[0]);
  lost.plans[0]->retry.max = 2;
  lost.Of("spring").plan = lost.plans[0];
  for (Site* one : {&site, &lost}) {
    one->Report({{"main", "1.0"}, {"mcu", "5"}}, "b3");
    EXPECT_EQ(one->Of("spring").reason, Reason::kRolledBack);
  }
  EXPECT_EQ(site.State(), TaskState::kFailed);
  EXPECT_EQ(site.streaks, (std::vector<Streak>{{"main", "2.0", 1, false, {}}}));
  EXPECT_EQ(lost.State(), TaskState::kRetrying);
  EXPECT_EQ(*lost.Of("spring").deadline - lost.now.steady, seconds(600)) << "a new interval";
  lost.RunOut();
  EXPECT_EQ(lost.Got<Download>()->component, "main");
}

TEST(Streak, OtherTargetsAreNotBlocked) {
  Site site = Offered();
  site.plans[0]->loop.max = 1;
  FailOnce(site);
  site.Join(ActivePlan("same", {FullComponent("main", "2.0")}));
  site.Join(ActivePlan("other", {FullComponent("main", "2.1")}));
  EXPECT_EQ(site.Of("same").reason, Reason::kQuarantined);
  EXPECT_EQ(site.State("other"), TaskState::kOffered);
}

TEST(Streak, QuarantineEndsAndTheCountStartsAnew) {
  Site site = Offered();
  site.plans[0]->loop = {2, seconds(3600)};
  FailOnce(site);
  FailOnce(site);
  EXPECT_EQ(site.streaks[0].until, site.now.wall + seconds(3600));
  site.Again();
  site.Pass(seconds(3599));
  site.Next();
  EXPECT_EQ(site.Of("spring").reason, Reason::kQuarantined);
  site.Pass(seconds(1));
  site.Next();
  EXPECT_EQ(site.State(), TaskState::kOffered);
  FailOnce(site);
  EXPECT_EQ(site.streaks, (std::vector<Streak>{{"main", "2.0", 1, false, {}}}));
}

TEST(Streak, SuccessEndsItAlsoALateOne) {
  Site site = Offered();
  FailOnce(site);
  FailOnce(site);
  Return(site, "2.0", "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
  EXPECT_TRUE(site.streaks.empty());
}

TEST(Streak, RefusalsAndCancelsAreNoFailures) {  // C19
  Site site = Offered();
  site.Decline(site.Of("spring").name);
  site.Again();
  site.CancelTask(site.Of("spring").name);
  EXPECT_TRUE(site.streaks.empty());
  site.plans[0]->loop.max = 0;  // never put aside: not counted
  site.Again();
  FailOnce(site);
  EXPECT_TRUE(site.streaks.empty());
}

// ---------------------------------------------------------------- deadlines

struct Expiry {
  const char* name;
  TaskState state;  // before
  seconds after;
  std::function<void(Site&)> prepare;  // from an offer
  TaskState then;
  Reason reason;
};

void Take(Site& site) {
  site.Accept(site.Of("spring").name);
}

void Say(Site& site, PS state) {
  Take(site);
  site.Tell(site.Of("spring").name, "main", state);
}

void Wait(Site& site, std::optional<seconds> retry_after) {
  Take(site);
  Progress progress;
  progress.task = site.Of("spring").name;
  progress.component = "main";
  progress.state = PS::kWaiting;
  progress.retry_after = retry_after;
  site.Send(progress);
}

// 004-34 004-55 C11: no state lasts for ever.
TEST(Deadline, OneSecondBeforeNothingHappensAndAfterItTheTaskHasMovedOn) {
  const seconds longest{5000};
  const std::vector<Expiry> rows{
      {"offer", TaskState::kOffered, seconds(100), [](Site&) {}, TaskState::kOffered,
       Reason::kNone},
      {"offer, away", TaskState::kOffered, seconds(100), [](Site& site) { site.Disconnect(); },
       TaskState::kQueued, Reason::kOffline},
      {"offer, for the last time", TaskState::kOffered, seconds(100),
       [](Site& site) { site.RunOut(), site.RunOut(); }, TaskState::kQueued,
       Reason::kOfferUnanswered},
      {"postponed", TaskState::kPostponed, seconds(600),
       [](Site& site) { site.Decline(site.Of("spring").name, seconds(600)); }, TaskState::kOffered,
       Reason::kNone},
      {"accepted", TaskState::kAccepted, seconds(200), Take, TaskState::kAccepted,
       Reason::kDownloadTimeout},
      {"accepted, sent again", TaskState::kAccepted, seconds(200),
       [](Site& site) { Take(site), site.RunOut(); }, TaskState::kFailed, Reason::kDownloadTimeout},
      {"accepted, away", TaskState::kAccepted, seconds(200),
       [](Site& site) { Take(site), site.Disconnect(); }, TaskState::kAccepted, Reason::kOffline},
      {"accepted, away for longest", TaskState::kAccepted, longest,
       [](Site& site) { Take(site), site.Disconnect(), site.RunOut(); }, TaskState::kFailed,
       Reason::kDownloadTimeout},
      {"downloading", TaskState::kDownloading, seconds(200),
       [](Site& site) { Say(site, PS::kDownloading); }, TaskState::kFailed,
       Reason::kDownloadTimeout},
      {"waiting", TaskState::kWaiting, seconds(900), [](Site& site) { Wait(site, seconds(900)); },
       TaskState::kAccepted, Reason::kNone},
      {"waiting, without a time", TaskState::kWaiting, longest, [](Site& site) { Wait(site, {}); },
       TaskState::kAccepted, Reason::kNone},
      {"installing", TaskState::kInstalling, seconds(300),
       [](Site& site) { Say(site, PS::kInstalling); }, TaskState::kFailed, Reason::kInstallTimeout},
      {"rebooting", TaskState::kRebooting, seconds(400),
       [](Site& site) { Say(site, PS::kRebooting); }, TaskState::kFailed, Reason::kRebootTimeout},
      {"rebooting, away", TaskState::kRebooting, seconds(400),
       [](Site& site) { Say(site, PS::kRebooting), site.Disconnect(); }, TaskState::kFailed,
       Reason::kRebootTimeout},
      {"on trial", TaskState::kRebooting, longest,
       [](Site& site) { Take(site), site.Connect(), site.Send(OnTrial("2.0", "b2")); },
       TaskState::kFailed, Reason::kNotKept},
      {"retrying", TaskState::kRetrying, seconds(50),
       [](Site& site) {
         site.plans[0]->retry = {1, seconds(50)};
         Say(site, PS::kFailed);
       },
       TaskState::kAccepted, Reason::kDeviceFailed},
      {"retrying, away", TaskState::kRetrying, seconds(50),
       [](Site& site) {
         site.plans[0]->retry = {1, seconds(50)};
         Say(site, PS::kFailed);
         site.Disconnect();
       },
       TaskState::kRetrying, Reason::kOffline},
      {"retrying, away for longest", TaskState::kRetrying, longest,
       [](Site& site) {
         site.plans[0]->retry = {1, seconds(50)};
         Say(site, PS::kFailed);
         site.Disconnect();
         site.RunOut();
       },
       TaskState::kFailed, Reason::kDownloadTimeout},
      {"the plan's time-out", TaskState::kDownloading, seconds(60),
       [](Site& site) {
         site.plans[0]->timeout = seconds(60);
         Say(site, PS::kDownloading);
       },
       TaskState::kFailed, Reason::kTimeout},
      {"the plan's time-out, on trial", TaskState::kRebooting, seconds(60),
       [](Site& site) {
         site.plans[0]->timeout = seconds(60);
         Say(site, PS::kDownloading);
         site.Connect();
         site.Send(OnTrial("2.0", "b2"));
       },
       TaskState::kFailed, Reason::kTimeout},
      {"grace", TaskState::kRebooting, seconds(30),
       [](Site& site) {
         site.plans[0]->grace = seconds(30);
         site.device.boot_id.clear();
         Say(site, PS::kRebooting);
         Return(site, "1.0");
       },
       TaskState::kFailed, Reason::kRolledBack},
  };
  std::vector<TaskState> seen;
  for (const Expiry& row : rows) {
    SCOPED_TRACE(row.name);
    Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
    site.plans[0]->timeouts = {seconds(100), seconds(200), seconds(300), seconds(400), longest};
    site.Report({{"main", "1.0"}}, "b1");
    row.prepare(site);
    ASSERT_EQ(site.State(), row.state);
    ASSERT_TRUE(site.Of("spring").deadline);
    EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, row.after);
    site.Pass(row.after - seconds(1));
    site.Deadline();
    EXPECT_TRUE(site.last.tasks.empty() && site.last.messages.empty());
    site.Pass(seconds(2));
    site.Deadline();
    EXPECT_FALSE(site.last.tasks.empty());
    EXPECT_EQ(site.State(), row.then);
    EXPECT_EQ(site.Of("spring").reason, row.reason);
    seen.push_back(row.state);
  }
  for (int i = 0; i <= static_cast<int>(TaskState::kCanceled); ++i) {
    const TaskState state = static_cast<TaskState>(i);
    EXPECT_TRUE(!IsOpen(state) || std::find(seen.begin(), seen.end(), state) != seen.end())
        << Name(state) << " has no row";
  }
}

}  // namespace
}  // namespace ota::core
