// The safety scan: at wall-clock multiples, spread by a number of each device's own.
#include "engine/scan.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using core::seconds;

constexpr seconds kEvery{600};
constexpr seconds kJitter{60};

core::Instant At(std::int64_t s) {
  return core::Instant(seconds(s));
}

std::vector<core::DeviceKey> Hundred() {
  std::vector<core::DeviceKey> keys;
  for (int i = 0; i < 100; ++i) {
    keys.push_back({"acme", "d" + std::to_string(i)});
  }
  return keys;
}

TEST(ClockScan, AsksAtMultiplesOfItsPeriodOnly) {  // 002-37
  ClockScan scan;
  int asked = 0;
  const auto waiting = [&] {
    ++asked;
    return Hundred();
  };
  EXPECT_TRUE(scan.Take(At(1000), kEvery, kJitter, 1000, waiting).empty());
  EXPECT_EQ(scan.next(), At(1200));
  EXPECT_TRUE(scan.Take(At(1199), kEvery, kJitter, 1000, waiting).empty());
  EXPECT_EQ(asked, 0);
  std::set<core::DeviceKey> taken;
  std::size_t most = 0;
  for (int s = 1200; s <= 1260; ++s) {
    const auto some = scan.Take(At(s), kEvery, kJitter, 1000, waiting);
    most = std::max(most, some.size());
    taken.insert(some.begin(), some.end());
  }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(taken.size(), 100u) << "each device once";
  EXPECT_LT(most, 15u) << "not all at once";
  EXPECT_EQ(scan.next(), At(1800));
}

TEST(ClockScan, ADeviceHasTheSamePlaceEachTime) {
  ClockScan scan;
  const auto one = [] { return std::vector<core::DeviceKey>{{"acme", "d1"}}; };
  scan.Take(At(0), kEvery, kJitter, 10, one);
  scan.Take(At(600), kEvery, kJitter, 10, one);
  const core::Duration first = *scan.next() - At(600);
  scan.Take(At(700), kEvery, kJitter, 10, one);
  scan.Take(At(1200), kEvery, kJitter, 10, one);
  EXPECT_EQ(*scan.next() - At(1200), first);
}

TEST(ClockScan, ZeroIsOff) {
  ClockScan scan;
  scan.Take(At(1000), kEvery, kJitter, 10, Hundred);
  EXPECT_TRUE(scan.Take(At(1200), seconds(0), kJitter, 10, Hundred).empty());
  EXPECT_FALSE(scan.next());
}

TEST(ClockScan, FollowsAClockThatIsSet) {
  ClockScan scan;
  scan.Take(At(100'000), kEvery, kJitter, 10, Hundred);
  scan.Take(At(500), kEvery, kJitter, 10, Hundred);
  EXPECT_EQ(scan.next(), At(600)) << "set back";
  EXPECT_FALSE(scan.Take(At(700'000), kEvery, seconds(0), 10, Hundred).empty()) << "set ahead";
}

TEST(ClockScan, TakesNoMoreThanItIsAskedFor) {
  ClockScan scan;
  scan.Take(At(0), kEvery, seconds(0), 30, Hundred);
  EXPECT_EQ(scan.Take(At(600), kEvery, seconds(0), 30, Hundred).size(), 30u);
  EXPECT_EQ(scan.Take(At(600), kEvery, seconds(0), 100, Hundred).size(), 70u);
}

}  // namespace
}  // namespace ota::engine
