// The token bucket on a made-up clock.
#include "package/pacer.h"

#include <array>
#include <map>

#include <gtest/gtest.h>

namespace ota::package {
namespace {

using namespace std::chrono_literals;

const Pacer::Time kStart{1000h};

TEST(Pacer, WithoutARateGrantsEverything) {
  Pacer pacer;
  EXPECT_EQ(pacer.Take(1 << 20, kStart), 1 << 20);
  EXPECT_EQ(pacer.Take(1 << 20, kStart), 1 << 20);
}

TEST(Pacer, GrantsTheRateOverTimeAndNoMore) {
  Pacer pacer;
  pacer.SetRate(100'000, kStart);
  std::int64_t granted = 0;
  for (Pacer::Time now = kStart; now < kStart + 10s; now += 1ms) {
    granted += pacer.Take(65536, now);
  }
  EXPECT_LE(granted, 1'000'000 + 20'000);
  EXPECT_GE(granted, 1'000'000 - 20'000);
}

TEST(Pacer, DoesNotSaveUpWhatWasNotUsed) {
  Pacer pacer;
  pacer.SetRate(100'000, kStart);
  std::int64_t granted = 0;
  for (int i = 0; i < 100; ++i) {
    granted += pacer.Take(65536, kStart + 1h);
  }
  EXPECT_LE(granted, 20'000);
}

TEST(Pacer, GivesWaitersTurnsInOrder) {
  Pacer pacer;
  pacer.SetRate(100'000, kStart);
  std::array<int, 3> waiters{};
  for (int& waiter : waiters) {
    pacer.Wait(&waiter);
  }
  EXPECT_EQ(pacer.Take(1, kStart + 1s), 0);  // nobody overtakes those who wait
  std::map<Pacer::Waiter, int> turns;
  for (Pacer::Time now = kStart; now < kStart + 30s; now += 10ms) {
    while (const auto next = pacer.Next(now)) {
      ++turns[*next];
      pacer.Wait(*next);
    }
  }
  for (int& waiter : waiters) {
    EXPECT_NEAR(turns[&waiter], 100, 2);
  }
}

TEST(Pacer, SaysWhenTheNextTurnIs) {
  Pacer pacer;
  EXPECT_FALSE(pacer.When(kStart));
  pacer.SetRate(100'000, kStart);
  int waiter = 0;
  pacer.Wait(&waiter);
  EXPECT_FALSE(pacer.Next(kStart));
  const Pacer::Time when = pacer.When(kStart).value();
  EXPECT_GT(when, kStart + 90ms);
  EXPECT_LT(when, kStart + 110ms);
  EXPECT_EQ(pacer.Next(when), &waiter);
}

TEST(Pacer, ForgetsAWaiter) {
  Pacer pacer;
  pacer.SetRate(1, kStart);
  int waiter = 0;
  pacer.Wait(&waiter);
  pacer.Forget(&waiter);
  EXPECT_FALSE(pacer.Next(kStart + 10h));
}

TEST(Pacer, LetsAllGoWhenTheRateIsTakenAway) {
  Pacer pacer;
  pacer.SetRate(1, kStart);
  int waiter = 0;
  pacer.Wait(&waiter);
  pacer.SetRate(0, kStart);
  EXPECT_EQ(pacer.Next(kStart), &waiter);
}

}  // namespace
}  // namespace ota::package
