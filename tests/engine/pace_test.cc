// What plans can give at a moment, kept by decisions.
#include "engine/pace.h"

#include <memory>

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using core::seconds;
using core::TaskState;

core::Instant At(std::int64_t ms) {
  return core::Instant(core::Duration(ms));
}

struct Site {
  std::shared_ptr<core::Plan> plan = std::make_shared<core::Plan>();
  Pace pace;

  Site() {
    plan->name = "spring";
    pace.Count("spring", {});
    pace.Keep();
  }
  core::Task Task(TaskState state) const {
    core::Task task;
    task.id = 7;
    task.name = "task";
    task.plan = plan;
    task.state = state;
    return task;
  }
  // One decision that takes the task from one state to another.
  void Go(TaskState from, TaskState to, core::Instant steady = At(0),
          std::vector<core::Downlink> messages = {}) {
    core::Snapshot before;
    if (from == TaskState::kQueued) {
      before.queued = {Task(from)};
    } else if (from == TaskState::kFailed) {
      before.failed = {Task(from)};
    } else {
      before.open = Task(from);
    }
    core::Decision decision;
    decision.tasks = {Task(to)};
    decision.messages = std::move(messages);
    if (from == TaskState::kQueued && to != TaskState::kQueued) {
      core::LogEntry entry;
      entry.task = "task";
      entry.plan = "spring";
      entry.event = "offer";
      entry.old_state = "queued";
      entry.new_state = "offered";
      decision.log.push_back(entry);
    }
    pace.Apply(before, decision, steady);
  }
  const Pace::State& Now() const { return *pace.Find("spring"); }
};

TEST(Pace, OpenTasksAreThoseThatAreNeitherQueuedNorEnded) {  // 000-27
  Site site;
  site.Go(TaskState::kQueued, TaskState::kOffered);
  EXPECT_EQ(site.Now().counts.open, 1);
  site.Go(TaskState::kOffered, TaskState::kAccepted);
  EXPECT_EQ(site.Now().counts.open, 1);
  site.Go(TaskState::kAccepted, TaskState::kSucceeded);
  EXPECT_EQ(site.Now().counts.open, 0);
  EXPECT_EQ(site.Now().counts.ended, 1);
  site.Go(TaskState::kOffered, TaskState::kQueued);
  EXPECT_EQ(site.Now().counts.open, -1) << "the other one, that was counted at the start";
}

TEST(Pace, FailuresAreCountedAndTakenBack) {
  Site site;
  site.Go(TaskState::kInstalling, TaskState::kFailed);
  EXPECT_EQ(site.Now().counts.failed, 1);
  EXPECT_TRUE(site.pace.ended().contains("spring"));
  site.pace.Keep();
  EXPECT_TRUE(site.pace.ended().empty());
  site.Go(TaskState::kFailed, TaskState::kSucceeded);
  EXPECT_EQ(site.Now().counts.failed, 0) << "succeeded after all";
  EXPECT_EQ(site.Now().counts.ended, 1);
  site.Go(TaskState::kInstalling, TaskState::kFailed);
  site.Go(TaskState::kFailed, TaskState::kQueued);
  EXPECT_EQ(site.Now().counts.failed, 0) << "tried again";
  site.Go(TaskState::kOffered, TaskState::kRefused);
  EXPECT_EQ(site.Now().counts.ended, 1) << "a refusal is no failure";
}

TEST(Pace, TheRateSpreadsOffersEvenlyAndSavesNothingUp) {  // 004-51 004-52
  Site site;
  site.plan->rate = 60;
  site.Go(TaskState::kQueued, TaskState::kOffered, At(10'000));
  EXPECT_EQ(site.Now().next_offer, At(11'000));
  site.Go(TaskState::kQueued, TaskState::kOffered, At(11'300));
  EXPECT_EQ(site.Now().next_offer, At(12'300)) << "from now on";
  site.Go(TaskState::kQueued, TaskState::kOffered, At(12'000));
  EXPECT_EQ(site.Now().next_offer, At(13'300)) << "after the one that was due";
  site.Go(TaskState::kQueued, TaskState::kOffered, At(900'000));
  EXPECT_EQ(site.Now().next_offer, At(901'000)) << "quiet hours are no credit";
  site.Go(TaskState::kOffered, TaskState::kAccepted, At(905'000));
  EXPECT_EQ(site.Now().next_offer, At(901'000));
}

TEST(Pace, AnOfferSpendsItsBytes) {
  Site site;
  site.plan->bytes_per_second = 1000;
  core::Offer offer;
  offer.task = "task";
  offer.components.resize(2);
  offer.components[0].bytes = 1500;
  offer.components[1].bytes = 1000;
  site.Go(TaskState::kQueued, TaskState::kOffered, At(0), {offer});
  EXPECT_EQ(site.Now().next_download, At(2500));
  site.Go(TaskState::kOffered, TaskState::kOffered, At(0), {offer});
  EXPECT_EQ(site.Now().next_download, At(2500)) << "sent again, not spent again";
}

TEST(Pace, WhatIsUndoneWasNever) {
  Site site;
  site.plan->rate = 60;
  const std::size_t mark = site.pace.Mark();
  site.Go(TaskState::kQueued, TaskState::kOffered, At(5));
  site.pace.UndoTo(mark);
  EXPECT_EQ(site.Now().counts.open, 0);
  EXPECT_EQ(site.Now().next_offer, core::Instant{});
  site.pace.Count("summer", {1, 2, 3});
  site.pace.UndoTo(0);
  EXPECT_EQ(site.pace.Find("summer"), nullptr);
}

TEST(Position, RankGoesBeforeThePlaceOnTheListAndThatBeforeWhoWasSeenLast) {  // 003-08
  const core::Instant now = At(1'800'000'000'000);
  const auto rank = [&](std::int64_t r) { return PositionOf(r, 1, now); };
  EXPECT_LT(rank(-5), rank(1));
  EXPECT_LT(rank(1), rank(2));
  EXPECT_LT(rank(INT64_MIN), rank(0));
  EXPECT_LT(rank(INT64_MAX), PositionOf({}, 0, now));
  EXPECT_LT(PositionOf({}, 1, At(0)), PositionOf({}, 2, now));
  EXPECT_LT(PositionOf({}, INT64_MAX, now), PositionOf({}, {}, now));
  EXPECT_LT(PositionOf({}, {}, now), PositionOf({}, {}, now - seconds(1)));
}

}  // namespace
}  // namespace ota::engine
