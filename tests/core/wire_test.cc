// What a dialect cannot carry: devices that name no task, tell no boots, ask and take the answer
// for the offer, and fetch files only so long.
#include <string>

#include <gtest/gtest.h>

#include "core/eligibility.h"
#include "sample.h"

namespace ota::core {
namespace {

using PS = ProgressState;

// As the engine sets a product up whose device speaks such a dialect.
Site Cloud(std::vector<std::shared_ptr<Plan>> plans) {
  Site site(std::move(plans));
  site.product.auto_confirm = true;
  site.product.confirms = false;
  site.product.wire = {.names_tasks = false, .tells_boots = false};
  return site;
}

Site Told() {
  Site site = Cloud({ActivePlan("spring", {FullComponent("main", "2.0")})});
  site.Report({{"main", "1.0"}});
  return site;
}

VersionReport Query(std::string component) {
  VersionReport report;
  report.query = std::move(component);
  report.request = true;
  report.full = false;
  return report;
}

Progress Step(const std::string& task, PS state, int percent) {
  Progress progress;
  progress.task = task;
  progress.component = "main";
  progress.state = state;
  progress.percent = percent;
  return progress;
}

const Reply& ReplyOf(const Decision& decision) {
  return std::get<Reply>(decision.messages.back());
}

TEST(Wire, OfferAndDownloadGoTogether) {
  Site site = Told();
  EXPECT_NE(site.Got<Download>(), nullptr);
  EXPECT_EQ(site.tasks.begin()->second.state, TaskState::kAccepted);
}

TEST(Wire, TheTargetIsProofInTheSameConnection) {
  Site site = Told();
  site.Report({{"main", "2.0"}});
  EXPECT_EQ(site.tasks.begin()->second.state, TaskState::kSucceeded);
}

TEST(Wire, AQuestionIsAnsweredWithTheDownloadAndNothingComesBesides) {
  Site site = Told();
  for (const char* component : {"main", ""}) {
    const Decision& decision = site.Send(Query(component), {});
    ASSERT_EQ(decision.messages.size(), 1U) << component;
    ASSERT_TRUE(ReplyOf(decision).download);
    EXPECT_EQ(ReplyOf(decision).download->to, "2.0");
  }
  const Decision& other = site.Send(Query("mcu"), {});
  ASSERT_EQ(other.messages.size(), 1U);
  EXPECT_FALSE(ReplyOf(other).download);
  EXPECT_EQ(ReplyOf(other).code, ReplyCode::kOk);
}

TEST(Wire, AQuestionOfADeviceWithoutATaskIsAnswered) {
  Site site = Cloud({});
  site.Report({{"main", "1.0"}});
  const Decision& decision = site.Send(Query("main"), {});
  EXPECT_FALSE(ReplyOf(decision).download);
  EXPECT_TRUE(decision.tasks.empty() && decision.log.empty() && !decision.installed_changed);
}

TEST(Wire, ProgressInANewConnectionShowsThatTheDeviceHasTheMessage) {
  Site site = Told();
  const std::string task = site.tasks.begin()->first;
  site.Connect();
  site.Send(Step(task, PS::kDownloading, 10), {});
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.Got<Download>(), nullptr);
  site.Connect();
  site.Report({{"main", "1.0"}});
  EXPECT_NE(site.Got<Download>(), nullptr);
}

TEST(Wire, WhoNeverBeginsIsToldInAThousandConnections) {
  Site site = Told();
  Task& task = site.tasks.begin()->second;
  for (int told = 1; told < 1000; ++told) {
    site.Connect();
    site.Report({{"main", "1.0"}});
    ASSERT_NE(site.Got<Download>(), nullptr) << told;
    site.Report({{"main", "1.0"}});
    ASSERT_EQ(site.Got<Download>(), nullptr) << told;
    site.Pass(seconds(10));
  }
  EXPECT_EQ(task.state, TaskState::kAccepted);
  EXPECT_EQ(task.offers, 1000);
  site.Connect();
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.Got<Download>(), nullptr);
  EXPECT_EQ(task.state, TaskState::kFailed);
  EXPECT_EQ(task.reason, Reason::kDownloadTimeout);
  EXPECT_EQ(task.detail, "told in 1000 connections, and no further");
}

TEST(Wire, APlanOnRequestIsToldByTheAnswerAlone) {  // 003-12 003-14
  auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
  plan->trigger = Trigger::kRequest;
  plan->retry = {1, seconds(0), {}};
  Site site = Cloud({plan});
  site.Report({{"main", "1.0"}});
  const auto asks = [&] { return ReplyOf(site.Send(Query("main"), {})).download.has_value(); };
  EXPECT_TRUE(asks());
  site.Connect();
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.Got<Download>(), nullptr);
  EXPECT_TRUE(asks());
  const std::string task = site.Of("spring").name;
  site.Send(Step(task, PS::kDownloading, 10), {});
  site.Tell(task, "main", PS::kFailed, {}, -2);
  EXPECT_EQ(site.State(), TaskState::kAccepted);
  EXPECT_EQ(site.Got<Download>(), nullptr);
  EXPECT_TRUE(asks());
  site.RunOut();  // it has not decided: it may ask again
  EXPECT_EQ(site.Of("spring").reason, Reason::kOnRequest);
  EXPECT_EQ(site.Got<Download>(), nullptr);
  site.Send(Step(task, PS::kDownloading, 10), {});
  EXPECT_EQ(site.State(), TaskState::kDownloading);
  EXPECT_EQ(site.Got<Download>(), nullptr);
}

TEST(Wire, AnAnswerIsNoGate) {
  Site site = Told();
  const std::string task = site.Of("spring").name;
  site.Decline(task, seconds(300));
  EXPECT_EQ(site.State(), TaskState::kPostponed);
  site.Report({{"main", "1.0"}});
  EXPECT_EQ(site.Got<Download>(), nullptr);
  Site begins = site;
  begins.Send(Step(task, PS::kDownloading, 10), {});
  EXPECT_EQ(begins.State(), TaskState::kDownloading);
  EXPECT_EQ(begins.Got<Download>(), nullptr);
  site.Connect();
  site.Report({{"main", "1.0"}});
  EXPECT_NE(site.Got<Download>(), nullptr);
}

TEST(Wire, AThirdVersionBeforeTheBeginningFailsOnlyWhereTheDialectSaysSo) {  // 004-71
  for (const bool fails : {true, false}) {
    Site site = Told();
    site.product.wire.fails_early = fails;
    site.Report({{"main", "1.5"}});
    EXPECT_EQ(site.State(), fails ? TaskState::kFailed : TaskState::kAccepted);
    EXPECT_EQ(site.Got<Download>(), nullptr);
    if (!fails) {
      EXPECT_EQ(site.Of("spring").components[0].source, "1.5");
    }
  }
}

TEST(Wire, AnotherVersionThatNeedsOtherFilesIsToldOfThem) {
  PlanComponent component = FullComponent("main", "2.0");
  component.delta = DeltaPackage("main", "1.5", "2.0");
  Site site = Cloud({ActivePlan("spring", {component})});
  site.product.wire.fails_early = false;
  for (const char* version : {"1.0", "1.5", "1.7"}) {
    site.Report({{"main", version}});
    ASSERT_NE(site.Got<Download>(), nullptr) << version;
    EXPECT_EQ(site.Got<Download>()->from, version);
    const bool is_delta = site.Got<Download>()->package == PackageKind::kDelta;
    EXPECT_EQ(is_delta, version == std::string("1.5"));
  }
}

TEST(Wire, ProgressThatRepeatsWritesNothing) {
  Site site = Told();
  const std::string task = site.tasks.begin()->first;
  site.Send(Step(task, PS::kDownloading, 10), {});
  site.Pass(seconds(1));
  const Decision& again = site.Send(Step(task, PS::kDownloading, 10), {});
  EXPECT_TRUE(again.tasks.empty() && again.log.empty());
  site.Pass(seconds(60));
  EXPECT_EQ(site.Send(Step(task, PS::kDownloading, 10), {}).tasks.size(), 1U);  // a sign of life
  EXPECT_EQ(site.Send(Step(task, PS::kDownloading, 9), {}).tasks.size(), 1U);
}

TEST(Wire, WhoHasAllOfTheFileInstalls) {
  Site site = Told();
  const std::string task = site.tasks.begin()->first;
  site.Send(Step(task, PS::kDownloading, 10), {});
  EXPECT_FALSE(site.tasks.at(task).components[0].installing);
  site.Send(Step(task, PS::kDownloaded, 100), {});
  EXPECT_TRUE(site.tasks.at(task).components[0].installing);
}

TEST(Wire, AnAcceptanceBringsNoSecondDownload) {
  Site site = Told();
  Confirm confirm;
  confirm.task = site.tasks.begin()->first;
  confirm.accept = true;
  EXPECT_TRUE(site.Send(confirm, {}).messages.empty());
}

TEST(Wire, WhatTheDialectCannotCarryWaitsAndSaysWhy) {
  const auto reason = [](Wire wire, bool http) {
    Site site = Cloud({ActivePlan("spring", {FullComponent("main", "2.0")})});
    site.product.http = http;
    site.product.wire = wire;
    site.Report({{"main", "1.0"}});
    const Task& task = site.tasks.begin()->second;
    return std::string(Name(task.reason)) + ": " + task.detail;
  };
  EXPECT_EQ(reason({.http_bytes = 100000, .block_bytes = 0}, true), ": ");
  EXPECT_EQ(reason({.http_bytes = 99999, .block_bytes = 0}, true),
            "no_delivery: main: 100000 bytes / 99999 bytes over HTTP");
  EXPECT_EQ(reason({.block_bytes = 99999}, false),
            "no_delivery: main: 100000 bytes / 99999 bytes over MQTT");
  EXPECT_EQ(reason({.http_files = 0, .block_files = 0}, true),
            "no_delivery: main: 1 files / 0 over HTTP");
}

TEST(Wire, WhoAsksForABlockUnderABrakeIsNotToldAgain) {  // it asks again
  Site site = Told();
  BlockRequest request;
  request.task = site.tasks.begin()->first;
  request.length = 256;
  request.file_id = 7;
  site.plans[0]->held = true;
  EXPECT_FALSE(site.Send(request, "x").blocks);
  EXPECT_EQ(site.Code(), 503);
  site.plans[0]->held = false;
  site.Next();
  EXPECT_FALSE(site.Got<Download>());
  EXPECT_TRUE(site.Send(request, "x").blocks);
}

TEST(Wire, ABlockNamesItsFile) {
  Site site = Told();
  BlockRequest request;
  request.task = site.tasks.begin()->first;
  request.length = 256;
  request.file_id = 7;
  ASSERT_TRUE(site.Send(request, "x").blocks);
  EXPECT_EQ(site.last.blocks->id, "x");
  EXPECT_EQ(site.last.blocks->file.id, 7);
  request.file_id = 8;
  EXPECT_FALSE(site.Send(request, "x").blocks);
  EXPECT_EQ(site.Code(), 404);
  request.file_id = 7;
  site.product.wire.block_bytes = 1000;
  EXPECT_FALSE(site.Send(request, "x").blocks);
  EXPECT_EQ(site.Code(), 413);
}

}  // namespace
}  // namespace ota::core
