// The inbox: shares, bounds, order, presence, waiting.
#include "engine/inbox.h"

#include <atomic>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

const Clock::time_point kNoWait{};

core::DeviceKey Device(int number) {
  return {"pump", "p" + std::to_string(number)};
}

Arrival From(int device, std::size_t bytes = 2) {
  Arrival arrival;
  arrival.device = Device(device);
  arrival.payload = std::string(bytes, 'x');
  return arrival;
}

TEST(Inbox, ArrivalsAreTakenInOrderAcrossDevices) {
  Inbox inbox;
  for (const int device : {3, 1, 3, 2}) {
    EXPECT_EQ(inbox.Offer(From(device)), Admission::kTaken);
  }
  const Batch batch = inbox.Take(kNoWait);
  ASSERT_EQ(batch.arrivals.size(), 4u);
  EXPECT_EQ(batch.arrivals[0].device, Device(3));
  EXPECT_EQ(batch.arrivals[1].device, Device(1));
  EXPECT_EQ(batch.arrivals[2].device, Device(3));
  EXPECT_EQ(batch.arrivals[3].device, Device(2));
}

TEST(Inbox, TheSixtyFifthMessageOfADeviceIsRefusedAndOthersAreNot) {
  Inbox inbox;
  for (std::size_t i = 0; i < kShareMessages; ++i) {
    ASSERT_EQ(inbox.Offer(From(1)), Admission::kTaken);
  }
  EXPECT_EQ(inbox.Offer(From(1)), Admission::kTooMany);
  EXPECT_EQ(inbox.Offer(From(2)), Admission::kTaken);
}

TEST(Inbox, BytesAboveTheShareAreRefused) {
  Inbox inbox;
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(inbox.Offer(From(1, 16384)), Admission::kTaken);
  }
  EXPECT_EQ(inbox.Offer(From(1, 1)), Admission::kTooMany);
}

TEST(Inbox, AShareIsFreeAgainOnlyWhenTheBatchIsDone) {
  Inbox inbox;
  for (std::size_t i = 0; i < kShareMessages; ++i) {
    ASSERT_EQ(inbox.Offer(From(1)), Admission::kTaken);
  }
  const Batch batch = inbox.Take(kNoWait);
  EXPECT_EQ(inbox.Offer(From(1)), Admission::kTooMany);
  EXPECT_EQ(inbox.depth().messages, kShareMessages);
  inbox.Done(batch.arrivals);
  EXPECT_EQ(inbox.depth().messages, 0u);
  EXPECT_EQ(inbox.depth().bytes, 0u);
  EXPECT_EQ(inbox.Offer(From(1)), Admission::kTaken);
}

// [N-5]
TEST(Inbox, APayloadAboveSixteenKibibytesIsTooLarge) {
  Inbox inbox;
  EXPECT_EQ(inbox.Offer(From(1, 16384)), Admission::kTaken);
  EXPECT_EQ(inbox.Offer(From(1, 16385)), Admission::kTooLarge);
}

TEST(Inbox, TheWholeIsBounded) {
  Inbox inbox;
  Admission admission = Admission::kTaken;
  int device = 0;
  for (; admission == Admission::kTaken && device < 10'000; ++device) {
    admission = inbox.Offer(From(device, 16384));
  }
  EXPECT_EQ(admission, Admission::kUnavailable);
  EXPECT_LE(inbox.depth().bytes, kInboxBytes);
  EXPECT_GT(device, 3500);
  inbox.Done(inbox.Take(kNoWait).arrivals);
  EXPECT_EQ(inbox.Offer(From(1, 16384)), Admission::kTaken);
}

TEST(Inbox, EmptyPayloadsAreBoundedToo) {
  Inbox inbox;
  int taken = 0;
  while (taken < 2'000'000 && inbox.Offer(From(taken / 64, 0)) == Admission::kTaken) {
    ++taken;
  }
  EXPECT_LT(taken, 1'000'000);
}

TEST(Inbox, ABatchHoldsAtMostWhatWasAsked) {
  Inbox inbox;
  for (int i = 0; i < 5; ++i) {
    inbox.Offer(From(i));
  }
  EXPECT_EQ(inbox.Take(kNoWait, 2).arrivals.size(), 2u);
  const Batch rest = inbox.Take(kNoWait, 10);
  ASSERT_EQ(rest.arrivals.size(), 3u);
  EXPECT_EQ(rest.arrivals[0].device, Device(2));
}

TEST(Inbox, ArrivalsThatAreNotAskedForDoNotEndTheWait) {
  Inbox inbox;
  inbox.Offer(From(1));
  const Clock::time_point deadline = Clock::now() + 5ms;
  EXPECT_TRUE(inbox.Take(deadline, 0).empty());
  EXPECT_GE(Clock::now(), deadline);
  EXPECT_EQ(inbox.Take(kNoWait).arrivals.size(), 1u);
}

TEST(Inbox, DepthTellsTheOldestThatWaits) {
  Inbox inbox;
  EXPECT_EQ(inbox.depth().oldest, Clock::time_point::max());
  for (const int second : {7, 9}) {
    Arrival arrival = From(1);
    arrival.at = Clock::time_point(std::chrono::seconds(second));
    inbox.Offer(std::move(arrival));
  }
  EXPECT_EQ(inbox.depth().oldest, Clock::time_point(7s));
}

TEST(InboxPresence, OnlyTheLatestStateOfADeviceIsTaken) {
  Inbox inbox;
  inbox.SetPresence({Device(1), 1, "a"}, false);
  inbox.SetPresence({Device(1), 2, "b"}, true);
  inbox.SetPresence({Device(2), 3, "c"}, false);
  const Batch batch = inbox.Take(kNoWait);
  ASSERT_EQ(batch.presence.size(), 2u);
  for (const PresenceChange& change : batch.presence) {
    EXPECT_EQ(change.connection, change.device == Device(1) ? 2u : 3u);
    EXPECT_EQ(change.client, change.device == Device(1) ? "b" : "c");
  }
  EXPECT_TRUE(inbox.Take(kNoWait).presence.empty());
}

TEST(InboxPresence, WhatCameAndWentUnseenLeavesNothing) {
  Inbox inbox;
  for (int i = 0; i < 1000; ++i) {
    inbox.SetPresence({Device(i), 1, "a"}, false);
    inbox.SetPresence({Device(i), 0, ""}, true);
  }
  EXPECT_TRUE(inbox.Take(kNoWait).presence.empty());
}

TEST(InboxPresence, WhatTheEngineKnewIsToldToBeGone) {
  Inbox inbox;
  inbox.SetPresence({Device(1), 1, "a"}, false);
  inbox.Take(kNoWait);
  inbox.SetPresence({Device(1), 2, "b"}, true);
  inbox.SetPresence({Device(1), 0, ""}, true);
  const Batch batch = inbox.Take(kNoWait);
  ASSERT_EQ(batch.presence.size(), 1u);
  EXPECT_EQ(batch.presence[0].connection, 0u);
}

TEST(InboxPresence, WhatTheEngineKnewAndCameBackIsStillToldToBeGone) {
  Inbox inbox;
  inbox.SetPresence({Device(1), 1, "a"}, false);
  inbox.Take(kNoWait);
  inbox.SetPresence({Device(1), 0, ""}, true);
  inbox.SetPresence({Device(1), 2, "b"}, false);
  inbox.SetPresence({Device(1), 0, ""}, true);
  const Batch batch = inbox.Take(kNoWait);
  ASSERT_EQ(batch.presence.size(), 1u);
  EXPECT_EQ(batch.presence[0].connection, 0u);
}

TEST(Inbox, UndeliveredIsToldOncePerDevice) {
  Inbox inbox;
  inbox.AddUndelivered(Device(1), 4);
  inbox.AddUndelivered(Device(1), 5);
  const Batch batch = inbox.Take(kNoWait);
  ASSERT_EQ(batch.undelivered.size(), 1u);
  EXPECT_EQ(batch.undelivered[0].device, Device(1));
  EXPECT_EQ(batch.undelivered[0].connection, 5u);
}

TEST(Inbox, ReloadIsToldOnce) {
  Inbox inbox;
  inbox.Reload();
  inbox.Reload();
  EXPECT_TRUE(inbox.Take(kNoWait).reload);
  EXPECT_FALSE(inbox.Take(kNoWait).reload);
}

TEST(Inbox, EventsOfWorkersComeInOrder) {
  Inbox inbox;
  std::string order;
  EXPECT_TRUE(inbox.Post([&] { order += 'a'; }));
  EXPECT_TRUE(inbox.Post([&] { order += 'b'; }));
  for (const auto& event : inbox.Take(kNoWait).events) {
    event();
  }
  EXPECT_EQ(order, "ab");
}

TEST(Inbox, AWorkerWaitsForRoomAndGoesOnWhenThereIs) {
  Inbox inbox;
  for (std::size_t i = 0; i < kInboxEvents; ++i) {
    ASSERT_TRUE(inbox.Post([] {}));
  }
  std::thread worker([&] { EXPECT_TRUE(inbox.Post([] {})); });
  std::size_t events = 0;
  while (events < kInboxEvents + 1) {
    events += inbox.Take(Clock::now() + 10s).events.size();
  }
  worker.join();
  EXPECT_EQ(events, kInboxEvents + 1);
}

TEST(Inbox, StopEndsEveryWaitAndKeepsWhatIsInside) {
  Inbox inbox;
  for (std::size_t i = 0; i < kInboxEvents; ++i) {
    ASSERT_TRUE(inbox.Post([] {}));
  }
  inbox.Offer(From(1));
  std::thread worker([&] { EXPECT_FALSE(inbox.Post([] {})); });
  inbox.Stop();
  worker.join();
  EXPECT_EQ(inbox.Offer(From(2)), Admission::kUnavailable);
  const Batch batch = inbox.Take(Clock::time_point::max());
  EXPECT_TRUE(batch.stop);
  EXPECT_EQ(batch.arrivals.size(), 1u);
  EXPECT_TRUE(inbox.Take(Clock::time_point::max()).stop);
}

TEST(Inbox, EverythingTakenInIsTakenOutWhileThreadsCompete) {
  constexpr int kMessages = 20'000;
  constexpr int kEvents = 5'000;
  Inbox inbox;
  std::atomic<int> called{0};
  std::thread broker([&] {
    for (int i = 0; i < kMessages;) {
      inbox.SetPresence({Device(i % 50), static_cast<std::uint64_t>(i + 1), "c"}, true);
      i += inbox.Offer(From(i % 50)) == Admission::kTaken ? 1 : 0;
    }
  });
  std::thread worker([&] {
    for (int i = 0; i < kEvents; ++i) {
      inbox.Post([&] { ++called; });
    }
  });
  int taken = 0;
  while (taken < kMessages || called < kEvents) {
    const Batch batch = inbox.Take(Clock::now() + 10s, 100);
    taken += static_cast<int>(batch.arrivals.size());
    for (const auto& event : batch.events) {
      event();
    }
    inbox.Done(batch.arrivals);
  }
  broker.join();
  worker.join();
  EXPECT_EQ(taken, kMessages);
  EXPECT_EQ(called, kEvents);
  EXPECT_EQ(inbox.depth().bytes, 0u);
}

}  // namespace
}  // namespace ota::engine
