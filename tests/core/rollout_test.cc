// Shares of devices, the stable hash, halting and ending.
#include "core/rollout.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sample.h"

namespace ota::core {
namespace {

TEST(Rollout, AShareIsRoundedDownButAtLeastOneDevice) {  // 004-47 C16
  EXPECT_EQ(Picked(0, 50), 0);
  EXPECT_EQ(Picked(1, 1), 1);
  EXPECT_EQ(Picked(99, 1), 1);
  EXPECT_EQ(Picked(199, 1), 1);
  EXPECT_EQ(Picked(200, 1), 2);
  EXPECT_EQ(Picked(7, 50), 3);
  EXPECT_EQ(Picked(7, 100), 7);
  EXPECT_EQ(Picked(999, 99), 989);
  EXPECT_EQ(Picked(100000, 33), 33000);
}

TEST(Rollout, TheHashIsTheSameForEver) {
  EXPECT_EQ(StableHash("spring", "p1"), 2516962694342747970);
  EXPECT_EQ(StableHash("", ""), 6665790796965051133);
  EXPECT_NE(StableHash("a", "bc"), StableHash("ab", "c"));
  EXPECT_NE(StableHash("spring", "p1"), StableHash("summer", "p1"));
}

// The devices of a share, as the engine picks them.
std::set<std::string> Share(const std::string& plan, int members, int percent) {
  std::vector<std::pair<std::int64_t, std::string>> order;
  for (int i = 0; i < members; ++i) {
    const std::string device = "pump-" + std::to_string(100000 + i);
    order.emplace_back(StableHash(plan, device), device);
  }
  std::sort(order.begin(), order.end());
  std::set<std::string> share;
  for (std::int64_t i = 0; i < Picked(members, percent); ++i) {
    share.insert(order[static_cast<std::size_t>(i)].second);
  }
  return share;
}

TEST(Rollout, RaisingThePercentageOnlyAddsDevices) {  // 004-46 004-47
  std::set<std::string> before;
  for (const int percent : {1, 10, 11, 50, 99, 100}) {
    const std::set<std::string> now = Share("spring", 1000, percent);
    EXPECT_EQ(now.size(), static_cast<std::size_t>(percent) * 10);
    EXPECT_TRUE(std::includes(now.begin(), now.end(), before.begin(), before.end()));
    before = now;
  }
}

TEST(Rollout, AShareIsSpreadOverNamesThatCountUp) {
  const std::set<std::string> tenth = Share("spring", 10000, 10);
  for (int hundred = 0; hundred < 100; ++hundred) {
    const auto from = tenth.lower_bound("pump-" + std::to_string(100000 + hundred * 100));
    const auto to = tenth.lower_bound("pump-" + std::to_string(100100 + hundred * 100));
    const auto count = std::distance(from, to);
    EXPECT_GE(count, 1) << hundred;
    EXPECT_LE(count, 25) << hundred;
  }
  EXPECT_NE(tenth, Share("summer", 10000, 10));
}

TEST(Rollout, APlanHaltsAtANumberOfFailuresOrAShareOfASample) {
  Plan plan;
  EXPECT_FALSE(Halts(plan, 2, 1000));
  EXPECT_EQ(Halts(plan, 3, 3), "3 tasks have failed; the limit is 3");
  plan.halt = {0, 20, 10};
  EXPECT_FALSE(Halts(plan, 9, 9)) << "the sample is too small";
  EXPECT_FALSE(Halts(plan, 1, 10));
  EXPECT_EQ(Halts(plan, 2, 10), "2 of 10 tasks have failed; the limit is 20 %");
  plan.halt = {0, 0, 10};
  EXPECT_FALSE(Halts(plan, 1000, 1000));
}

TEST(Rollout, OnlyAFailedTaskThatWasTriedIsAFailure) {  // C19
  Task task;
  for (const TaskState state : {TaskState::kSucceeded, TaskState::kRefused, TaskState::kCanceled,
                                TaskState::kRetrying, TaskState::kQueued}) {
    task.state = state;
    EXPECT_FALSE(IsFailure(task));
  }
  task.state = TaskState::kFailed;
  task.reason = Reason::kRolledBack;
  EXPECT_TRUE(IsFailure(task));
  task.reason = Reason::kBusy;
  EXPECT_FALSE(IsFailure(task));
}

TEST(Rollout, TheEndOfAPlanEndsWhatItSays) {  // 004-50 C24
  struct {
    TaskState state;
    bool stop, cancel, force;
  } const rows[] = {
      {TaskState::kQueued, true, true, true},        {TaskState::kOffered, false, true, true},
      {TaskState::kPostponed, false, true, true},    {TaskState::kAccepted, false, true, true},
      {TaskState::kDownloading, false, false, true}, {TaskState::kWaiting, false, false, true},
      {TaskState::kInstalling, false, false, true},  {TaskState::kRebooting, false, false, true},
      {TaskState::kRetrying, false, false, true},    {TaskState::kSucceeded, false, false, false},
      {TaskState::kFailed, false, false, false},     {TaskState::kRefused, false, false, false},
      {TaskState::kCanceled, false, false, false},
  };
  for (const auto& row : rows) {
    auto plan = ActivePlan("spring", {FullComponent("main", "2.0")});
    Task task = MakeTask(plan, "t", {});
    task.state = row.state;
    plan->at_end = AtEnd::kStop;
    EXPECT_EQ(EndsWithPlan(task), row.stop) << Name(row.state);
    plan->at_end = AtEnd::kCancel;
    EXPECT_EQ(EndsWithPlan(task), row.cancel) << Name(row.state);
    plan->at_end = AtEnd::kForce;
    EXPECT_EQ(EndsWithPlan(task), row.force) << Name(row.state);
  }
}

TEST(Rollout, AnAcceptedTaskIsInUpgradeOnceProgressWasSeen) {  // 004-66 004-67
  Task task = MakeTask(ActivePlan("spring", {FullComponent("main", "2.0")}), "t", {});
  task.state = TaskState::kAccepted;
  TaskComponent& current = task.components[0];
  current.state = ComponentState::kCurrent;
  current.attempt = 1;
  EXPECT_FALSE(InUpgrade(task));
  current.attempt = 2;
  EXPECT_TRUE(InUpgrade(task));
  current.attempt = 1;
  current.progress = ProgressState::kDownloading;
  EXPECT_TRUE(InUpgrade(task));
  current.state = ComponentState::kProved;
  current.progress.reset();
  EXPECT_TRUE(InUpgrade(task));
}

}  // namespace
}  // namespace ota::core
