// How a plan spreads over its devices, and when it halts.
#include "core/rollout.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace ota::core {
namespace {

TEST(StableHash, IsTheSameForEver) {
  // Stored orders depend on these numbers.
  EXPECT_EQ(StableHash("spring", "d1"), StableHash("spring", "d1"));
  EXPECT_EQ(StableHash("spring", "d1"), 5408759228187787404);
  EXPECT_EQ(StableHash("", ""), 1368591714183292304);
}

TEST(StableHash, DiffersByPlanDeviceAndWhereTheyMeet) {
  EXPECT_NE(StableHash("ab", "c"), StableHash("a", "bc"));
  EXPECT_NE(StableHash("spring", "d1"), StableHash("summer", "d1"));
}

TEST(StableHash, SpreadsNamesThatFollowEachOther) {
  int low = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::int64_t hash = StableHash("spring", "device-" + std::to_string(i));
    ASSERT_GE(hash, 0);
    low += hash % 10 == 0 ? 1 : 0;
  }
  EXPECT_NEAR(low, 1000, 150);
}

TEST(Picked, IsRoundedDownButNeverToNothing) {  // 004-47
  EXPECT_EQ(Picked(0, 50), 0);
  EXPECT_EQ(Picked(1, 1), 1);
  EXPECT_EQ(Picked(199, 1), 1);
  EXPECT_EQ(Picked(200, 1), 2);
  EXPECT_EQ(Picked(7, 50), 3);
  EXPECT_EQ(Picked(100'000, 100), 100'000);
}

TEST(Halts, AtANumberOfFailures) {
  Plan plan;
  plan.halt = {3, 0, 10};
  EXPECT_FALSE(Halts(plan, 2, 100));
  EXPECT_TRUE(Halts(plan, 3, 3));
  plan.halt.failures = 0;
  EXPECT_FALSE(Halts(plan, 1000, 1000)) << "0 switches the rule off";
}

TEST(Halts, AtAShareOnceTheSampleIsThere) {
  Plan plan;
  plan.halt = {0, 20, 10};
  EXPECT_FALSE(Halts(plan, 9, 9)) << "too few to tell";
  EXPECT_FALSE(Halts(plan, 1, 10));
  EXPECT_TRUE(Halts(plan, 2, 10));
  EXPECT_FALSE(Halts(plan, 0, 0));
}

}  // namespace
}  // namespace ota::core
