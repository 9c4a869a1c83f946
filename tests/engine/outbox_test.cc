// The outbox: lanes, order, bounds, addressees that are gone.
#include "engine/outbox.h"

#include <set>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr DrainLimits kAll{10s, 1'000'000, std::size_t{1} << 30};

core::DeviceKey Device(int number) {
  return {"pump", "p" + std::to_string(number)};
}

Message To(int device, Lane lane, std::string text) {
  Message message;
  message.lane = lane;
  message.device = Device(device);
  message.connection = 1;
  message.payload = std::move(text);
  return message;
}

// What one drain does, as one line: published payloads, [log lines], !undelivered.
struct Recorder {
  std::string seen;
  std::uint64_t live = 1;
  Outbox::Sink Sink() {
    return {[this](const LogLine& line) { seen += "[" + line.text + "]"; },
            [this](const core::DeviceKey&) { return live; },
            [this](const Message& message) { seen += message.payload; },
            [this](const Message& message) { seen += "!" + message.payload; }};
  }
};

std::string DrainAll(Outbox& outbox) {
  Recorder recorder;
  outbox.Drain(recorder.Sink(), kAll);
  return recorder.seen;
}

TEST(Outbox, AnswersGoBeforePushesBeforeBlocksEachInOrder) {
  Outbox outbox;
  outbox.Push({To(1, Lane::kBlock, "e"), To(2, Lane::kPush, "c"), To(3, Lane::kAnswer, "a"),
               To(4, Lane::kPush, "d"), To(5, Lane::kAnswer, "b"), To(6, Lane::kBlock, "f")});
  EXPECT_EQ(DrainAll(outbox), "abcdef");
}

TEST(Outbox, WhatGoesToOneDeviceStaysInOrder) {
  Outbox outbox;
  outbox.Push({To(1, Lane::kPush, "1"), To(1, Lane::kAnswer, "2"), To(1, Lane::kBlock, "3"),
               To(1, Lane::kAnswer, "4"), To(2, Lane::kAnswer, "a")});
  EXPECT_EQ(DrainAll(outbox), "a1234");
}

TEST(Outbox, ADeviceReturnsToTheFastLaneWhenItsSlowOneIsEmpty) {
  Outbox outbox;
  outbox.Push({To(1, Lane::kPush, "1")});
  EXPECT_EQ(DrainAll(outbox), "1");
  outbox.Push({To(2, Lane::kPush, "b"), To(1, Lane::kAnswer, "a")});
  EXPECT_EQ(DrainAll(outbox), "ab");
}

TEST(Outbox, MessagesOfAnotherConnectionAreNotPublished) {
  Outbox outbox;
  outbox.Push({To(1, Lane::kAnswer, "a")});
  Recorder recorder;
  recorder.live = 2;
  outbox.Drain(recorder.Sink(), kAll);
  EXPECT_EQ(recorder.seen, "!a");
}

TEST(Outbox, NothingIsPublishedToADeviceThatIsAway) {
  Outbox outbox;
  Message message = To(1, Lane::kAnswer, "a");
  message.connection = 0;
  outbox.Push({message});
  Recorder recorder;
  recorder.live = 0;
  outbox.Drain(recorder.Sink(), kAll);
  EXPECT_EQ(recorder.seen, "!a");
}

TEST(Outbox, OneDrainKeepsToItsLimitOfMessages) {
  Outbox outbox;
  outbox.Push({To(1, Lane::kAnswer, "a"), To(2, Lane::kAnswer, "b"), To(3, Lane::kAnswer, "c")});
  Recorder recorder;
  outbox.Drain(recorder.Sink(), {10s, 2, 1000});
  EXPECT_EQ(recorder.seen, "ab");
  EXPECT_FALSE(outbox.Empty());
  EXPECT_EQ(DrainAll(outbox), "c");
  EXPECT_TRUE(outbox.Empty());
}

TEST(Outbox, ADrainGivesOutFewUntilItIsNearlyFull) {
  Outbox outbox;
  while (outbox.Bytes() < kOutboxBytes / 4 * 3) {
    outbox.Push({To(1, Lane::kPush, "x")});
  }
  outbox.Push({To(1, Lane::kPush, "x")});
  Recorder nearly_full;
  outbox.Drain(nearly_full.Sink(), {10s, 25, 1000, 200});
  EXPECT_EQ(nearly_full.seen.size(), 200u);
  Recorder after;
  outbox.Drain(after.Sink(), {10s, 25, 1000, 200});
  EXPECT_EQ(after.seen.size(), 25u);
}

TEST(Outbox, OneDrainKeepsToItsLimitOfBytes) {
  Outbox outbox;
  for (int i = 0; i < 10; ++i) {
    outbox.Push({To(i, Lane::kBlock, std::string(100, 'x'))});
  }
  Recorder recorder;
  outbox.Drain(recorder.Sink(), {10s, 1000, 250});
  EXPECT_EQ(recorder.seen.size(), 300u);
}

TEST(Outbox, OneDrainEndsSoonAfterItsTime) {
  Outbox outbox;
  for (int i = 0; i < 100; ++i) {
    outbox.Push({To(i, Lane::kPush, "x")});
  }
  Recorder recorder;
  outbox.Drain(recorder.Sink(), {0s, 1000, 1000});
  EXPECT_GE(recorder.seen.size(), 1u);
  EXPECT_LE(recorder.seen.size(), 8u);
}

TEST(Outbox, IsFullAtItsBoundAndEmptyAfterTheDrain) {
  Outbox outbox;
  while (!outbox.Full()) {
    outbox.Push({To(1, Lane::kPush, std::string(65536, 'x'))});
  }
  EXPECT_GE(outbox.Bytes(), kOutboxBytes);
  DrainAll(outbox);
  EXPECT_EQ(outbox.Bytes(), 0u);
  EXPECT_FALSE(outbox.Full());
}

void Fill(Outbox& outbox) {
  while (!outbox.Full()) {
    outbox.Push({To(1, Lane::kPush, std::string(65536, 'x'))});
  }
}

void FillBlocks(Outbox& outbox) {
  while (!outbox.BlocksFull()) {
    outbox.Push({To(1, Lane::kBlock, std::string(65536, 'x'))});
  }
}

TEST(Outbox, BlocksDoNotTakeTheRoomOfAnswers) {
  Outbox outbox;
  FillBlocks(outbox);
  EXPECT_FALSE(outbox.Full());
  EXPECT_EQ(outbox.Bytes(), 0u);
  DrainAll(outbox);
  EXPECT_FALSE(outbox.BlocksFull());
}

TEST(Outbox, AWorkerWaitsForRoomAndGoesOnWhenThereIs) {
  Outbox outbox;
  FillBlocks(outbox);
  std::thread worker([&] { EXPECT_TRUE(outbox.PushWhenRoom({To(2, Lane::kBlock, "late")})); });
  std::string seen;
  while (!seen.ends_with("late")) {
    seen += DrainAll(outbox);
  }
  worker.join();
}

TEST(Outbox, WaitForRoomEndsAtItsDeadline) {
  Outbox outbox;
  EXPECT_TRUE(outbox.WaitForRoom(Clock::time_point::max()));
  Fill(outbox);
  EXPECT_FALSE(outbox.WaitForRoom(Clock::now() + 5ms));
}

TEST(Outbox, StopEndsEveryWait) {
  Outbox outbox;
  Fill(outbox);
  FillBlocks(outbox);
  std::thread worker([&] { EXPECT_FALSE(outbox.PushWhenRoom({To(2, Lane::kBlock, "x")})); });
  std::thread engine([&] { EXPECT_FALSE(outbox.WaitForRoom(Clock::time_point::max())); });
  outbox.Stop();
  worker.join();
  engine.join();
}

TEST(Outbox, EveryPushWakesTheBroker) {
  int woken = 0;
  Outbox outbox([&] { ++woken; });
  outbox.Push({To(1, Lane::kAnswer, "a"), To(1, Lane::kAnswer, "b")});
  EXPECT_EQ(woken, 1);
  outbox.PushWhenRoom({To(1, Lane::kBlock, "c")});
  EXPECT_EQ(woken, 2);
  outbox.Log(LogLevel::kNotice, "line");
  EXPECT_EQ(woken, 3);
  outbox.Push({});
  EXPECT_EQ(woken, 3);
}

TEST(OutboxLog, LinesAreEmittedInOrder) {
  Outbox outbox;
  outbox.Log(LogLevel::kNotice, "a");
  outbox.Log(LogLevel::kError, "b");
  EXPECT_EQ(DrainAll(outbox), "[a][b]");
  EXPECT_TRUE(outbox.Empty());
}

TEST(OutboxLog, AFloodIsCutAndCounted) {
  Outbox outbox;
  for (std::size_t i = 0; i < kOutboxLogLines + 7; ++i) {
    outbox.Log(LogLevel::kNotice, "x");
  }
  std::string seen;
  while (!outbox.Empty()) {
    seen += DrainAll(outbox);
  }
  EXPECT_EQ(seen.size(), std::string("[x]").size() * kOutboxLogLines +
                             std::string("[7 log lines were dropped: too many at once]").size());
  EXPECT_TRUE(seen.ends_with("[7 log lines were dropped: too many at once]"));
}

TEST(Outbox, EverythingComesOutOnceWhileThreadsCompete) {
  constexpr int kMessages = 5'000;
  Outbox outbox;
  const auto push = [&](int device, Lane lane, bool wait) {
    for (int i = 0; i < kMessages; ++i) {
      Message message = To(device, lane, std::to_string(i));
      if (wait) {
        outbox.PushWhenRoom({std::move(message)});
      } else {
        outbox.Push({std::move(message)});
      }
    }
  };
  std::thread engine(push, 1, Lane::kAnswer, false);
  std::thread worker(push, 2, Lane::kBlock, true);
  int next[3] = {0, 0, 0};
  const Outbox::Sink sink{[](const LogLine&) {}, [](const core::DeviceKey&) { return 1; },
                          [&](const Message& message) {
                            int& expected = next[message.device == Device(1) ? 1 : 2];
                            EXPECT_EQ(message.payload, std::to_string(expected));
                            ++expected;
                          },
                          [](const Message&) { FAIL(); }};
  while (next[1] < kMessages || next[2] < kMessages) {
    outbox.Drain(sink);
  }
  engine.join();
  worker.join();
  EXPECT_TRUE(outbox.Empty());
  EXPECT_EQ(outbox.Bytes(), 0u);
}

}  // namespace
}  // namespace ota::engine
