// The protocol's clauses, one test or more for each, through the entry points.
#include "core/decide.h"

#include <string>

#include <gtest/gtest.h>

#include "sample.h"

namespace ota::core {
namespace {

using PS = ProgressState;

TEST(Report, AnUnknownDeviceIsRegisteredAndOfferedItsPlanBeforeTheReply) {  // [N-10] [N-13]
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.Report({{"main", "1.0"}});
  EXPECT_TRUE(site.last.device_changed && site.last.installed_changed);
  ASSERT_EQ(site.last.messages.size(), 2U);
  EXPECT_EQ(site.Got<Offer>()->components[0].from, "1.0");
  EXPECT_EQ(site.Code(), 200);
}

TEST(Report, WithoutIdOnlyErrorsAreAnswered) {  // [N-8] [N-11]
  Site site;
  site.Send(Site::Versions({{"main", "1.0"}}), {});
  EXPECT_TRUE(site.last.messages.empty());
  site.Send(Confirm{"nobody", true, "", {}}, {});
  EXPECT_EQ(site.Code(), 404);
}

TEST(Report, AnEqualReportChangesNothing) {  // [N-7] [N-9]
  Site site;
  site.Report({{"main", "1.0"}}, "b1");
  site.Pass(seconds(10));
  const Decision& second = site.Report({{"main", "1.0"}}, "b1");
  EXPECT_FALSE(second.device_changed || second.installed_changed);
  EXPECT_TRUE(second.tasks.empty() && second.log.empty());
  EXPECT_EQ(second.messages.size(), 1U);
}

TEST(Report, OnlyACompleteReportRemovesComponents) {  // [N-9]
  Site site;
  site.Report({{"main", "1.0"}, {"mcu", "4"}});
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.device.installed.size(), 2U);
  site.Connect();
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.device.installed.size(), 1U);
}

TEST(Report, BatteryAloneIsNoChangeThatMustBeStoredAtOnce) {
  Site site;
  site.Report({{"main", "1.0"}});
  VersionReport report = Site::Versions({{"main", "1.0"}});
  report.battery = 7;
  EXPECT_FALSE(site.Send(report).device_changed);
  EXPECT_EQ(site.device.battery, 7);
  report.max_bytes = 4096;
  EXPECT_TRUE(site.Send(report).device_changed);
}

TEST(Report, TheCurrentMessageComesOncePerConnectionAndPerBoot) {  // [N-12]
  Site site = Offered();
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_FALSE(site.Got<Offer>());
  site.Report({{"main", "1.0"}}, "b2");
  EXPECT_TRUE(site.Got<Offer>());
  site.Connect();
  site.Report({{"main", "1.0"}}, "b2");
  EXPECT_TRUE(site.Got<Offer>());
  site.Accept(site.Of("spring").name);
  site.Connect();
  site.Report({{"main", "1.0"}}, "b3");
  ASSERT_TRUE(site.Got<Download>());
  EXPECT_EQ(site.Got<Download>()->attempt, 1);
}

TEST(Report, ATaskThatIsNotOpenIsCanceledFirst) {  // [N-12]
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.Report({{"main", "1.0"}}, "b1", "stranger");
  ASSERT_EQ(site.last.messages.size(), 3U);
  EXPECT_EQ(std::get<Cancel>(site.last.messages[0]).task, "stranger");
}

TEST(Report, ARequestBringsTheOfferAgain) {  // [N-32]
  Site site = Offered();
  VersionReport report = Site::Versions({{"main", "1.0"}}, "b1");
  report.request = true;
  site.Send(report);
  EXPECT_TRUE(site.Got<Offer>());
  EXPECT_TRUE(site.last.tasks.empty());
}

TEST(Report, TrialIsNoSuccessAndGoingBackIsARollBack) {  // [N-14]
  Site site = Accepted();
  site.Connect();
  VersionReport trial = Site::Versions({{"main", "2.0"}}, "b2");
  trial.trial = {"main"};
  site.Send(trial);
  EXPECT_EQ(site.State(), TaskState::kRebooting);
  EXPECT_FALSE(site.Got<Download>());
  Site kept = site;
  kept.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(kept.State(), TaskState::kSucceeded);
  site.Connect();
  site.Report({{"main", "1.0"}}, "b3");
  EXPECT_EQ(site.State(), TaskState::kFailed);
  EXPECT_EQ(site.Of("spring").reason, Reason::kRolledBack);
}

TEST(Report, OldVersionsAfterRebootsAreInterruptionsUntilInstallingIsReported) {  // [N-14]
  Site site = Accepted();
  for (int boot = 2; boot < 9; ++boot) {
    site.Connect();
    site.Report({{"main", "1.0"}}, "b" + std::to_string(boot));
    EXPECT_TRUE(site.Got<Download>());
  }
  site.Tell(site.Of("spring").name, "main", PS::kInstalling);
  site.Connect();
  site.Report({{"main", "1.0"}}, "b1x");
  EXPECT_EQ(site.Of("spring").reason, Reason::kRolledBack);
}

TEST(Report, AReconnectWhileInstallingIsNoRollBack) {  // [N-14]
  Site site = Accepted();
  site.Tell(site.Of("spring").name, "main", PS::kInstalling);
  site.Connect();
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.State(), TaskState::kInstalling);
}

TEST(Report, ABootComponentIsProvedByAnotherBootOrConnectionOnly) {  // [N-15]
  Site site = Accepted();
  site.Report({{"main", "2.0"}}, "b1");
  EXPECT_EQ(site.State(), TaskState::kRebooting);
  Site again = site;
  site.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
  again.Connect();
  again.Report({{"main", "2.0"}}, "b1");
  EXPECT_EQ(again.State(), TaskState::kSucceeded);
}

TEST(Report, AThirdVersionWithdrawsAnOfferThatNoLongerFits) {
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->components[0].sources = {"1.0", "1.1"};
  Site site({plan});
  site.Report({{"main", "1.0"}});
  const std::string name = site.Of("spring").name;
  site.Report({{"main", "1.1"}});
  EXPECT_EQ(site.Got<Offer>()->components[0].from, "1.1");
  EXPECT_EQ(site.Got<Offer>()->task, name);
  site.Report({{"main", "1.2"}});
  EXPECT_TRUE(site.Got<Cancel>());
  EXPECT_EQ(site.State(), TaskState::kQueued);
  EXPECT_EQ(site.Of("spring").reason, Reason::kSourceVersion);
}

TEST(Report, AThirdVersionAfterTheDownloadFailsTheAttempt) {
  Site site = Accepted();
  site.Report({{"main", "3.0"}}, "b2");
  EXPECT_EQ(site.Of("spring").reason, Reason::kForeignVersion);
}

TEST(Report, ComponentsFollowOneAnotherAndThoseAtTheirTargetAreSkipped) {  // [N-20]
  Site site({ActivePlan(
      "spring", {FullComponent("a", "2"), FullComponent("b", "2"), FullComponent("c", "2")})});
  site.Report({{"a", "1"}, {"b", "2"}, {"c", "1"}}, "b1");
  EXPECT_EQ(site.Got<Offer>()->components.size(), 2U);
  site.Accept(site.Of("spring").name);
  EXPECT_EQ(site.Got<Download>()->component, "a");
  site.Report({{"a", "2"}, {"b", "2"}, {"c", "1"}}, "b2");
  EXPECT_EQ(site.Got<Download>()->component, "c");
  EXPECT_EQ(site.Of("spring").components[1].state, ComponentState::kSkipped);
  site.Report({{"a", "2"}, {"b", "2"}, {"c", "2"}}, "b3");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
}

TEST(Report, TheTargetIsSuccessEvenAfterAFailure) {  // [N-27]
  Site site = Accepted();
  site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -3);
  EXPECT_EQ(site.State(), TaskState::kFailed);
  site.Connect();
  site.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
}

TEST(Report, ATargetKeptAfterAFailureIsSuccess) {  // [N-27] [N-14]
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  site.Connect();
  VersionReport trial = Site::Versions({{"main", "2.0"}}, "b2", name);
  trial.trial = {"main"};
  site.Send(trial);
  site.Tell(name, "main", PS::kFailed);
  EXPECT_EQ(site.State(), TaskState::kFailed);
  Site kept = site;
  kept.Report({{"main", "2.0"}}, "b2");  // only the trial flag differs
  EXPECT_EQ(kept.State(), TaskState::kSucceeded);
  EXPECT_EQ(kept.Of("spring").code, 0);
  site.device.installed[0].trial = false;  // nothing differs, but the connection is new
  site.Connect();
  site.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
}

TEST(Report, TheTargetIsSuccessAfterAFailureThatWasARefusal) {  // [N-27] [N-24]
  Site site = Accepted();
  Site declined = Offered();
  site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -5);
  EXPECT_EQ(site.State(), TaskState::kRefused);
  site.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
  declined.Decline(declined.Of("spring").name);  // no failure: nothing was downloaded
  declined.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(declined.State(), TaskState::kRefused);
}

TEST(Deadline, ATrialIsWaitedForAsLongAsPossibleAndFailsForWhatItIs) {  // [N-14] [N-26]
  Site site = Accepted();
  site.plans[0]->retry = {3, seconds(0)};
  site.Connect();
  VersionReport trial = Site::Versions({{"main", "2.0"}}, "b2");
  trial.trial = {"main"};
  site.Send(trial);
  site.Pass(seconds(604799));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kRebooting);
  site.Pass(seconds(1));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kFailed);
  EXPECT_EQ(site.Of("spring").reason, Reason::kNotKept);
}

// A wake of a device whose download is on its way, on the old version.
void Wake(Site& site, const std::string& boot) {
  site.Disconnect();
  site.Connect();
  site.Report({{"main", "1.0"}}, boot);
}

TEST(Report, ARebootIsMeasuredFromTheLastSightOfTheOldVersion) {  // [N-14] [N-15]
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  Wake(site, "b2");
  Site early = site;
  early.Report({{"main", "2.0"}}, "b2");  // flashed, not rebooted
  EXPECT_EQ(early.State(), TaskState::kRebooting);
  early.Report({{"main", "2.0"}}, "b3");
  EXPECT_EQ(early.State(), TaskState::kSucceeded);
  site.Tell(name, "main", PS::kInstalling);
  site.Report({{"main", "1.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kInstalling);
  Wake(site, "b2");  // only the connection broke
  EXPECT_EQ(site.State(), TaskState::kInstalling);
  Wake(site, "b3");
  EXPECT_EQ(site.Of("spring").reason, Reason::kRolledBack);
}

TEST(Report, TheBootInWhichInstallingBeganIsNoRollBack) {  // [N-14]
  Site site = Accepted();
  site.Disconnect();
  site.Connect();
  VersionReport partial = Site::Versions({{"mcu", "5"}}, "b2");
  partial.full = false;
  site.Send(partial);
  site.Tell(site.Of("spring").name, "main", PS::kInstalling);
  site.Report({{"main", "1.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kInstalling);
  site.Report({{"main", "1.0"}}, "b3");
  EXPECT_EQ(site.Of("spring").reason, Reason::kRolledBack);
}

TEST(Report, WithoutBootIdsTheConnectionTellsAReboot) {  // [N-15]
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.Report({{"main", "1.0"}, {"mcu", "5"}});
  const std::string name = site.Of("spring").name;
  site.Accept(name);
  site.Disconnect();
  site.Connect();
  site.Report({{"main", "1.0"}, {"mcu", "5"}});
  Site early = site;
  early.Report({{"main", "2.0"}});
  EXPECT_EQ(early.State(), TaskState::kRebooting);
  site.Disconnect();  // it reboots, and speaks of the other component first
  site.Connect();
  VersionReport partial = Site::Versions({{"mcu", "5"}});
  partial.full = false;
  site.Send(partial);
  site.Report({{"main", "2.0"}});
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
}

TEST(Report, AComponentWhoseTurnComesOnTrialIsNotDownloaded) {  // [N-14] [N-20]
  auto plan = ActivePlan("spring", {FullComponent("a", "2"), FullComponent("b", "2")});
  plan->components[1].sources = {"1"};
  Site site({plan});
  site.Report({{"a", "1"}, {"b", "1"}}, "b1");
  site.Accept(site.Of("spring").name);
  VersionReport report = Site::Versions({{"a", "2"}, {"b", "2"}}, "b2");
  report.trial = {"b"};
  site.Send(report);
  EXPECT_FALSE(site.Got<Download>());
  EXPECT_EQ(site.State(), TaskState::kRebooting);
  Site back = site;
  back.plans[0]->retry = {1, seconds(0)};
  site.Report({{"a", "2"}, {"b", "2"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
  back.Report({{"a", "2"}, {"b", "1"}}, "b3");
  EXPECT_EQ(back.Of("spring").reason, Reason::kRolledBack);
  ASSERT_TRUE(back.Got<Download>());
  EXPECT_EQ(back.Got<Download>()->from, "1");
}

TEST(Report, ADeviceThatRunsTheTargetOnTrialIsNotOfferedThePlan) {  // [N-14]
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  VersionReport trial = Site::Versions({{"main", "2.0"}}, "b1");
  trial.trial = {"main"};
  site.Send(trial);
  EXPECT_EQ(site.Of("spring").reason, Reason::kOnTrial);
  site.Report({{"main", "1.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kOffered);
  trial.boot_id = "b3";
  site.Send(trial);  // while the offer is unanswered
  EXPECT_TRUE(site.Got<Cancel>());
  EXPECT_EQ(site.Of("spring").reason, Reason::kOnTrial);
  site.Report({{"main", "2.0"}}, "b3");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
}

TEST(Report, ATargetWhileRetryingNeedsNoOtherAttempt) {  // [N-14] [N-12]
  Site site = Accepted();
  site.plans[0]->retry = {1, seconds(600)};
  site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, -1);
  EXPECT_EQ(site.State(), TaskState::kRetrying);
  Site before = site;
  before.Report({{"main", "2.0"}}, "b1");  // before its reboot
  EXPECT_EQ(before.State(), TaskState::kRebooting);
  before.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(before.State(), TaskState::kSucceeded);
  site.Disconnect();
  site.Connect();
  VersionReport trial = Site::Versions({{"main", "2.0"}}, "b2");
  trial.trial = {"main"};
  site.Send(trial);
  EXPECT_EQ(site.State(), TaskState::kRebooting);
  EXPECT_EQ(site.Of("spring").code, 0);
  site.Pass(seconds(600));
  site.Deadline();
  EXPECT_FALSE(site.Got<Download>());
  site.Report({{"main", "2.0"}}, "b2");
  EXPECT_EQ(site.State(), TaskState::kSucceeded);
}

TEST(Report, PlansFollowOneAnotherAtOnce) {  // [N-16] [N-32]
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")}),
             ActivePlan("mcu", {FullComponent("mcu", "5")})});
  site.Report({{"main", "1.0"}, {"mcu", "4"}}, "b1");
  EXPECT_EQ(site.Of("mcu").reason, Reason::kPredecessor);
  EXPECT_EQ(site.Count<Offer>(), 1);
  site.Decline(site.Of("spring").name);
  EXPECT_EQ(site.State("mcu"), TaskState::kOffered);
}

TEST(Confirm, AcceptanceBringsTheDownloadAndAgainTheSameOne) {  // [N-19] [N-21] [N-26]
  Site site = Accepted();
  EXPECT_EQ(site.Got<Download>()->deadline_in, seconds(3600));
  site.Accept(site.Of("spring").name);
  ASSERT_TRUE(site.Got<Download>());
  EXPECT_EQ(site.Got<Download>()->attempt, 1);
  EXPECT_TRUE(site.last.tasks.empty() && site.last.log.empty());
}

TEST(Confirm, RefusalIsFinalAndNoFailure) {  // [N-19]
  Site site = Offered();
  const std::string name = site.Of("spring").name;
  site.Decline(name);
  EXPECT_EQ(site.State(), TaskState::kRefused);
  site.Send(Confirm{name, true, "", {}}, {});
  EXPECT_EQ(site.Code(), 410);
}

TEST(Confirm, PostponedOffersComeAgainAtTheirTime) {  // [N-19]
  Site site = Offered();
  const std::string name = site.Of("spring").name;
  site.Decline(name, seconds(3600));
  EXPECT_EQ(site.State(), TaskState::kPostponed);
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.Got<Reply>()->again, seconds(3600));
  site.Pass(seconds(3599));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kPostponed);
  site.Pass(seconds(1));
  site.Deadline();
  ASSERT_TRUE(site.Got<Offer>());
  EXPECT_EQ(site.Got<Offer>()->task, name);
}

TEST(Confirm, WithoutConfirmationTheDownloadFollowsThePlan) {  // [N-19]
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.product.auto_confirm = true;
  site.Report({{"main", "1.0"}});
  ASSERT_EQ(site.last.messages.size(), 3U);
  EXPECT_TRUE(std::holds_alternative<Download>(site.last.messages[1]));
}

TEST(Confirm, WithoutConfirmationAManualPlanWaitsForConsent) {  // [N-19] [N-15]
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->mode = Mode::kManual;
  Site site({plan});
  site.product.auto_confirm = true;
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.State(), TaskState::kOffered);
  EXPECT_FALSE(site.Got<Download>());
  const std::string name = site.Of("spring").name;
  Site device = site;
  device.Accept(name);
  EXPECT_TRUE(device.Got<Download>());
  site.Apply(DecideConsent(site.Load(), name, "by post", site.now));
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  ASSERT_EQ(site.last.messages.size(), 2U);
  EXPECT_TRUE(site.Got<Offer>()->consent);
  EXPECT_TRUE(site.Got<Download>());
}

TEST(Confirm, ALateAcceptanceIsNotLost) {
  Site site = Offered();
  const std::string name = site.Of("spring").name;
  for (int sent = 0; sent < 3; ++sent) {
    site.Pass(seconds(86400));
    site.Deadline();
  }
  EXPECT_EQ(site.Of("spring").reason, Reason::kOfferUnanswered);
  site.Accept(name);
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_EQ(site.last.messages.size(), 2U);
}

TEST(Progress, StatesFollowTheDevice) {  // [N-24] [N-25]
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  const std::vector<std::pair<PS, TaskState>> expected{
      {PS::kDownloading, TaskState::kDownloading}, {PS::kDownloaded, TaskState::kDownloading},
      {PS::kVerifying, TaskState::kDownloading},   {PS::kWaiting, TaskState::kWaiting},
      {PS::kInstalling, TaskState::kInstalling},   {PS::kRebooting, TaskState::kRebooting},
      {PS::kDownloading, TaskState::kDownloading}};
  for (const auto& [told, state] : expected) {
    site.Tell(name, "main", told);
    EXPECT_EQ(site.State(), state);
    EXPECT_FALSE(site.last.log.empty());
    EXPECT_EQ(site.Code(), 200);
  }
}

TEST(Progress, CodesAreReasons) {  // [N-24]
  const std::vector<std::pair<int, Reason>> expected{
      {-1, Reason::kDeviceFailed}, {-2, Reason::kDownloadFailed}, {-3, Reason::kVerifyFailed},
      {-4, Reason::kWriteFailed},  {-5, Reason::kDeviceRefused},  {-77, Reason::kDeviceFailed}};
  for (const auto& [code, reason] : expected) {
    Site site = Accepted();
    site.Tell(site.Of("spring").name, "main", PS::kFailed, {}, code);
    EXPECT_EQ(site.Of("spring").reason, reason);
    EXPECT_EQ(site.Of("spring").code, code);
    EXPECT_EQ(site.State(), code == -5 ? TaskState::kRefused : TaskState::kFailed);
  }
}

TEST(Progress, RetriesAreNewAttemptsAndEarlierOnesAreLoggedOnly) {  // [N-21] [N-33]
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->retry = {1, seconds(600)};
  Site site({plan});
  site.Report({{"main", "1.0"}}, "b1");
  const std::string name = site.Of("spring").name;
  site.Accept(name);
  site.Tell(name, "main", PS::kFailed, 1, -2);
  EXPECT_EQ(site.State(), TaskState::kRetrying);
  site.Pass(seconds(599));
  site.Deadline();
  EXPECT_FALSE(site.Got<Download>());
  site.Pass(seconds(1));
  site.Deadline();
  ASSERT_TRUE(site.Got<Download>());
  EXPECT_EQ(site.Got<Download>()->attempt, 2);
  site.Tell(name, "main", PS::kFailed, 1, -2);
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_TRUE(site.last.tasks.empty());
  EXPECT_EQ(site.last.log.size(), 1U);
  site.Tell(name, "main", PS::kFailed, 2, -2);
  EXPECT_EQ(site.State(), TaskState::kFailed);
}

TEST(Progress, ARollBackThatIsToldTwiceIsOne) {  // [N-7] [N-14]
  Site site = Accepted();
  site.plans[0]->retry = {1, seconds(0)};
  const std::string name = site.Of("spring").name;
  site.Tell(name, "main", PS::kRebooting);
  Site told = site;
  site.Report({{"main", "1.0"}}, "b2");
  EXPECT_EQ(site.Of("spring").components[0].attempt, 2);
  site.Tell(name, "main", PS::kRolledBack);
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  VersionReport trial = Site::Versions({{"main", "2.0"}}, "b2");
  trial.trial = {"main"};
  told.Send(trial);
  told.Tell(name, "main", PS::kRolledBack);
  ASSERT_TRUE(told.Got<Download>());
  EXPECT_EQ(told.Got<Download>()->attempt, 2);
  told.Report({{"main", "1.0"}}, "b3");
  EXPECT_EQ(told.State(), TaskState::kAccepted);
}

TEST(Progress, RepliesSayWhenToCallAgain) {  // [N-13]
  Site site = Accepted();
  site.plans[0]->retry = {1, seconds(600)};
  const std::string name = site.Of("spring").name;
  site.Tell(name, "main", PS::kDownloading);
  EXPECT_FALSE(site.Got<Reply>()->again);
  site.Tell(name, "main", PS::kFailed, {}, -2);
  EXPECT_EQ(site.Got<Reply>()->again, seconds(600));
  Site later = Offered();
  later.Decline(name, seconds(700));
  EXPECT_EQ(later.Got<Reply>()->again, seconds(700));
  Site unready = Offered();
  unready.plans[0]->components[0].full->sets[0].ready = false;
  unready.Accept(name);
  EXPECT_EQ(unready.Got<Reply>()->again, seconds(10));
  unready.plans[0]->components[0].full->sets[0].ready = true;
  unready.Pass(seconds(10));
  unready.Report({{"main", "1.0"}}, "b1");
  EXPECT_TRUE(unready.Got<Download>());
  Site held = Offered();
  held.plans[0]->held = true;
  held.Accept(name);
  EXPECT_EQ(held.Got<Reply>()->again, seconds(3600));
}

TEST(Confirm, ALateAnswerToAnOfferThatWasWithdrawnLearnsThatItIsOver) {  // [N-19] [N-31]
  Site site = Offered();
  const std::string name = site.Of("spring").name;
  site.Disconnect();
  site.black["spring"] = true;
  site.Next();
  EXPECT_EQ(site.State(), TaskState::kQueued);
  EXPECT_TRUE(site.last.messages.empty());
  site.Connect();
  Site silent = site;
  silent.Accept(name);
  EXPECT_EQ(silent.Code(), 410);
  site.Report({{"main", "1.0"}}, "b2", name);  // [N-12]
  EXPECT_EQ(site.Count<Cancel>(), 1);
}

TEST(Report, WhatTheFirstReportOfAConnectionDoesNotSayIsTheDefault) {  // [N-18] [N-26]
  Site site = Offered();
  VersionReport report = Site::Versions({{"main", "1.0"}}, "b1");
  report.max_bytes = 4096;
  report.sleep = seconds(60);
  report.battery = 50;
  site.Send(report);
  const Instant told = site.device.reported;
  site.Pass(seconds(5));
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.device.max_bytes, 4096);
  EXPECT_EQ(site.device.sleep, seconds(60));
  site.Connect();
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.device.max_bytes, 2048);
  EXPECT_EQ(site.device.sleep, seconds(0));
  EXPECT_EQ(site.device.battery, 50);
  EXPECT_EQ(site.device.reported, told) << "an old value must not look fresh";
}

TEST(Progress, ATrialIsNotTurnedBackByALateReport) {  // [N-24] [N-14]
  Site site = Accepted();
  VersionReport trial = Site::Versions({{"main", "2.0"}}, "b2");
  trial.trial = {"main"};
  site.Send(trial);
  for (const PS late : {PS::kDownloading, PS::kVerifying, PS::kWaiting, PS::kInstalling}) {
    site.Tell(site.Of("spring").name, "main", late, 1);
    EXPECT_EQ(site.State(), TaskState::kRebooting);
    EXPECT_EQ(site.Code(), 200);
  }
}

TEST(Progress, ASignOfTheDownloadServerSetsNothingBack) {  // [N-24] [N-26]
  Site site = Accepted();
  Progress progress;
  progress.task = site.Of("spring").name;
  progress.component = "main";
  const Progress sign = progress;
  site.Send(sign);
  EXPECT_EQ(site.State(), TaskState::kDownloading);
  progress.state = PS::kVerifying;
  progress.percent = 40;
  site.Send(progress);
  site.Pass(seconds(100));
  site.Send(sign);
  const TaskComponent& current = site.Of("spring").components[0];
  EXPECT_EQ(current.progress, PS::kVerifying);
  EXPECT_EQ(current.percent, 40);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(3600));
}

TEST(Retry, TakesItsPlaceByPriority) {
  Site site({ActivePlan("low", {FullComponent("mcu", "5")}),
             ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.plans[1]->priority = 1;
  site.Report({{"main", "1.0"}, {"mcu", "4"}}, "b1");
  site.CancelTask(site.Of("spring").name);
  site.Decline(site.Of("low").name, seconds(600));  // postponed: back to the queue with request
  VersionReport report = Site::Versions({{"main", "1.0"}, {"mcu", "4"}}, "b1");
  site.plans[0]->held = true;
  report.request = true;
  site.Send(report);
  EXPECT_EQ(site.State("low"), TaskState::kQueued);
  site.plans[0]->held = false;
  const Task ended = site.Of("spring");
  site.tasks.erase(ended.name);
  site.Apply(DecideRetry(site.Load(), ended, "task-again", "", site.now));
  EXPECT_EQ(site.State("spring"), TaskState::kOffered);
  EXPECT_EQ(site.State("low"), TaskState::kQueued);
}

TEST(Progress, ErrorsNameWhatIsWrong) {
  Site site = Offered();
  const std::string name = site.Of("spring").name;
  site.Tell(name, "main", PS::kDownloading);
  EXPECT_EQ(site.Code(), 409);
  site.Accept(name);
  site.Tell(name, "ghost", PS::kDownloading);
  EXPECT_EQ(site.Code(), 404);
  site.Tell(name, "main", PS::kDownloading, 2);
  EXPECT_EQ(site.Code(), 409);
}

// The deadline of each state, one second before and at its time.
TEST(Deadline, EveryStateGivesUpAtItsDeadlineAndNotBefore) {  // [N-26]
  const std::vector<std::tuple<PS, seconds, Reason>> expected{
      {PS::kDownloading, seconds(3600), Reason::kDownloadTimeout},
      {PS::kInstalling, seconds(3600), Reason::kInstallTimeout},
      {PS::kRebooting, seconds(3600), Reason::kRebootTimeout}};
  for (const auto& [told, time, reason] : expected) {
    Site site = Accepted();
    site.Tell(site.Of("spring").name, "main", told);
    site.Pass(time - seconds(1));
    site.Deadline();
    EXPECT_NE(site.State(), TaskState::kFailed);
    site.Pass(seconds(1));
    site.Deadline();
    EXPECT_EQ(site.Of("spring").reason, reason);
  }
}

TEST(Deadline, AnyUplinkRestartsItAndEtaAndSleepExtendIt) {  // [N-26]
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  site.Pass(seconds(3000));
  site.Send(BlockRequest{name, "main", 0, "r", 0, 128, 1});
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(3600));
  Progress progress;
  progress.task = name;
  progress.component = "main";
  progress.eta = seconds(9999999);
  site.Send(progress);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(604800));
  Site sleeper = Offered();
  VersionReport report = Site::Versions({{"main", "1.0"}}, "b1");
  report.sleep = seconds(10000);
  sleeper.Send(report);
  sleeper.Accept(name);
  EXPECT_EQ(*sleeper.Of("spring").deadline - sleeper.now.steady, seconds(20000));
}

void RunOut(Site& site) {
  site.RunOut();
}

TEST(Deadline, ADeviceThatIsAwayIsWaitedForOnceForLongest) {  // [N-26]
  Site site = Accepted();
  site.plans[0]->retry = {3, seconds(0)};
  site.Disconnect();
  site.Pass(seconds(3600));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_EQ(site.Of("spring").reason, Reason::kOffline);
  Site back = site;
  back.now.wall += std::chrono::hours(10000);  // an outage: its deadlines have been shifted
  back.Pass(seconds(604799));
  back.Deadline();
  EXPECT_EQ(back.State(), TaskState::kAccepted);
  back.Connect();
  back.Report({{"main", "1.0"}}, "b2");
  EXPECT_TRUE(back.Got<Download>());
  EXPECT_EQ(back.Of("spring").reason, Reason::kNone);
  EXPECT_EQ(*back.Of("spring").deadline - back.now.steady, seconds(3600));
  site.Pass(seconds(604800));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kFailed);
  EXPECT_EQ(site.Of("spring").reason, Reason::kDownloadTimeout);
}

TEST(Deadline, NoAttemptBeginsWhileTheDeviceIsAway) {  // [N-26]
  Site site = Accepted();
  site.plans[0]->retry = {1, seconds(600)};
  const std::string name = site.Of("spring").name;
  Site waits = site;
  site.Tell(name, "main", PS::kFailed, {}, -2);
  site.Disconnect();
  RunOut(site);
  EXPECT_EQ(site.State(), TaskState::kRetrying);
  EXPECT_EQ(site.Of("spring").components[0].attempt, 1);
  site.Connect();
  RunOut(site);  // connected, and silent
  EXPECT_EQ(site.State(), TaskState::kFailed);
  site = waits;
  site.Tell(name, "main", PS::kFailed, {}, -2);
  site.Disconnect();
  RunOut(site);
  site.Connect();
  site.Report({{"main", "1.0"}}, "b2");
  ASSERT_TRUE(site.Got<Download>());
  EXPECT_EQ(site.Got<Download>()->attempt, 2);
  site = waits;
  site.plans[0]->retry = {2, seconds(0), {Reason::kInstallTimeout, Reason::kDownloadFailed}};
  site.Tell(name, "main", PS::kInstalling);
  site.Disconnect();
  RunOut(site);
  EXPECT_EQ(site.State(), TaskState::kRetrying);
  RunOut(site);
  EXPECT_EQ(site.Of("spring").reason, Reason::kOffline);
  EXPECT_EQ(site.Of("spring").components[0].attempt, 1);
  waits.Tell(name, "main", PS::kWaiting);
  waits.Disconnect();
  RunOut(waits);
  EXPECT_EQ(waits.State(), TaskState::kAccepted);
  EXPECT_EQ(waits.Of("spring").reason, Reason::kOffline);
  EXPECT_EQ(*waits.Of("spring").deadline - waits.now.steady, seconds(604800));
}

TEST(Deadline, AnAcceptedDownloadIsSentOnceMoreBeforeItFails) {  // [N-16] [N-26]
  Site site = Accepted();
  RunOut(site);
  ASSERT_TRUE(site.Got<Download>());
  EXPECT_EQ(site.Got<Download>()->attempt, 1);
  EXPECT_EQ(site.Got<Download>()->deadline_in, seconds(3600));
  RunOut(site);
  EXPECT_EQ(site.State(), TaskState::kFailed);
  EXPECT_EQ(site.Of("spring").reason, Reason::kDownloadTimeout);
}

TEST(Deadline, AnOfferComesThreeTimesToADeviceThatIsThere) {  // [N-16]
  Site site = Offered();
  for (int again = 0; again < 2; ++again) {
    RunOut(site);
    ASSERT_TRUE(site.Got<Offer>());
    EXPECT_EQ(site.Got<Offer>()->expires_in, seconds(86400));
  }
  RunOut(site);
  EXPECT_FALSE(site.Got<Offer>());
  EXPECT_EQ(site.Of("spring").reason, Reason::kOfferUnanswered);
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_TRUE(site.Got<Offer>());
}

TEST(Deadline, AnOfferThatIsSentAgainOnANewConnectionHasItsFullTime) {  // [N-16] [N-17]
  Site site = Offered();
  site.Disconnect();
  site.Pass(seconds(80000));
  site.Connect();
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.Got<Offer>()->expires_in, seconds(86400));
}

TEST(Deadline, WhatTheBrokerCannotServeIsNoSilence) {  // [N-30] [N-26]
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  const BlockRequest first{name, "main", 0, "r", 0, 4096, 8};
  site.Send(first);
  bool& ready = site.plans[0]->components[0].full->sets[0].ready;
  ready = false;
  site.Pass(seconds(3599));
  site.Send(first);
  EXPECT_EQ(site.Code(), 503);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(3600));
  RunOut(site);
  EXPECT_EQ(site.State(), TaskState::kDownloading);
  ready = true;
  site.Pass(seconds(1));
  site.Send(BlockRequest{name, "main", 0, "r", 100000, 4096, 8});
  EXPECT_EQ(site.Code(), 416);
  EXPECT_EQ(*site.Of("spring").deadline - site.now.steady, seconds(3600));
}

TEST(Deadline, WaitingRestsUntilRetryAfter) {  // [N-24]
  Site site = Accepted();
  Progress progress;
  progress.task = site.Of("spring").name;
  progress.component = "main";
  progress.state = PS::kWaiting;
  progress.retry_after = seconds(90000);
  site.Send(progress);
  site.Pass(seconds(89999));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kWaiting);
  site.Pass(seconds(1));
  site.Deadline();
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_TRUE(site.Got<Download>());
}

TEST(Blocks, AreServedForTheCurrentComponentOfTheOpenTask) {  // [N-28] [N-29] [N-30]
  Site site = Offered();
  const std::string name = site.Of("spring").name;
  site.Send(BlockRequest{name, "main", 0, "r", 0, 4096, 8});
  EXPECT_EQ(site.Code(), 409);
  site.Accept(name);
  site.Send(BlockRequest{name, "main", 0, "r", 98304, 4096, 8});
  ASSERT_TRUE(site.last.blocks);
  EXPECT_EQ(site.last.blocks->count, 1);
  EXPECT_EQ(site.last.blocks->length, 1696);
  EXPECT_EQ(site.State(), TaskState::kDownloading);
  const std::vector<std::pair<BlockRequest, int>> refused{
      {{name, "main", 0, "r", 100000, 4096, 1}, 416},
      {{name, "main", 1, "r", 0, 4096, 1}, 404},
      {{name, "ghost", 0, "r", 0, 4096, 1}, 404},
      {{name, "main", 0, "r", 0, 65536, 5}, 400},
      {{"nobody", "main", 0, "r", 0, 4096, 1}, 404}};
  for (const auto& [request, code] : refused) {
    site.Send(request);
    EXPECT_EQ(site.Code(), code);
    EXPECT_FALSE(site.last.blocks);
  }
}

TEST(Cancel, IsAFactAtOnceAndTheNextPlanFollows) {  // [N-31] [N-16]
  Site site({ActivePlan("spring", {FullComponent("main", "2.0")}),
             ActivePlan("mcu", {FullComponent("mcu", "5")})});
  site.Report({{"main", "1.0"}, {"mcu", "4"}}, "b1");
  site.CancelTask(site.Of("spring").name);
  ASSERT_EQ(site.last.messages.size(), 2U);
  EXPECT_EQ(std::get<Cancel>(site.last.messages[0]).reason, "plan canceled");
  EXPECT_EQ(site.State("mcu"), TaskState::kOffered);
  EXPECT_TRUE(site.Of("spring").owes_cancel);
  site.Accept(site.Of("mcu").name);
  EXPECT_FALSE(site.Of("spring").owes_cancel);
}

TEST(Cancel, IsOwedToADeviceThatIsAwayUntilItDoesNotNameTheTask) {  // [N-31] [N-12]
  Site site = Accepted();
  const std::string name = site.Of("spring").name;
  site.Disconnect();
  site.CancelTask(name);
  EXPECT_TRUE(site.last.messages.empty());
  site.Connect();
  site.Report({{"main", "1.0"}}, "b1", name);
  EXPECT_EQ(site.Count<Cancel>(), 1);
  EXPECT_TRUE(site.Of("spring").owes_cancel);
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_FALSE(site.Of("spring").owes_cancel);
}

TEST(Next, AHeldPlanSendsNothingUntilItsRelease) {
  Site site = Offered();
  site.plans[0]->held = true;
  site.Connect();
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_FALSE(site.Got<Offer>());
  site.plans[0]->held = false;
  site.Next();
  EXPECT_TRUE(site.Got<Offer>());
  site.Next();
  EXPECT_TRUE(site.last.messages.empty() && site.last.tasks.empty());
}

TEST(Next, ADeviceAtItsTargetsIsNotAsked) {
  Site site;
  site.Report({{"main", "2.0"}});
  Task task = MakeTask(ActivePlan("spring", {FullComponent("main", "2.0")}), "t", site.now.wall);
  site.tasks["t"] = task;
  site.Next();
  EXPECT_EQ(site.Of("spring").reason, Reason::kAtTargetAlready);
  EXPECT_TRUE(site.last.messages.empty());
}

TEST(Next, APackageThatIsBeingHashedIsWaitedFor) {  // [N-13]
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->components[0].full->sets[0].ready = false;
  Site site({plan});
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.Of("spring").reason, Reason::kPackageNotReady);
  EXPECT_EQ(site.Got<Reply>()->again, seconds(10));
  plan->components[0].full->sets[0].ready = true;
  site.Next();
  EXPECT_TRUE(site.Got<Offer>());
}

TEST(Unsendable, WaitsWithBothNumbersUntilTheDeviceTakesMore) {  // [N-18]
  Site site = Offered();
  const std::string name = site.Of("spring").name;
  site.Apply(DecideUnsendable(site.Load(), name, 3000, 2048, site.now));
  EXPECT_EQ(site.Of("spring").reason, Reason::kTooLarge);
  EXPECT_EQ(site.Of("spring").detail, "3000 bytes / 2048 bytes");
  site.Report({{"main", "1.0"}}, "b1");
  EXPECT_EQ(site.State(), TaskState::kQueued);
  Site shorter = site;  // the addresses may have become shorter: one try for each connection
  shorter.Disconnect();
  shorter.Connect();
  shorter.Report({{"main", "1.0"}}, "b1");
  EXPECT_TRUE(shorter.Got<Offer>());
  shorter.Apply(DecideUnsendable(shorter.Load(), name, 3000, 2048, shorter.now));
  shorter.Report({{"main", "1.0"}}, "b2");
  EXPECT_EQ(shorter.State(), TaskState::kQueued);
  VersionReport report = Site::Versions({{"main", "1.0"}}, "b1");
  report.max_bytes = 4096;
  site.Send(report);
  EXPECT_TRUE(site.Got<Offer>());
}

}  // namespace
}  // namespace ota::core
