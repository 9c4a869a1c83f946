#include "guard/rate.h"

#include <gtest/gtest.h>

namespace ota::guard {
namespace {

using namespace std::chrono_literals;

const OncePerSecond::Time kStart{100s};
const int kClients[2] = {};
const void* const kOne = &kClients[0];
const void* const kTwo = &kClients[1];

TEST(OncePerSecond, ASecondTimeWithinASecondIsRefused) {
  OncePerSecond rate;
  EXPECT_EQ(rate.Allow(kOne, kStart), 0u);
  EXPECT_EQ(rate.Allow(kOne, kStart + 999ms), std::nullopt);
  EXPECT_TRUE(rate.Allow(kOne, kStart + 1000ms).has_value());
}

TEST(OncePerSecond, ClientsDoNotShare) {
  OncePerSecond rate;
  EXPECT_EQ(rate.Allow(kOne, kStart), 0u);
  EXPECT_EQ(rate.Allow(kTwo, kStart), 0u);
}

TEST(OncePerSecond, AFloodIsLetThroughOnceASecondAndCounted) {
  OncePerSecond rate;
  std::uint64_t allowed = 0;
  std::uint64_t refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (const auto count = rate.Allow(kOne, kStart + i * 1ms)) {
      ++allowed;
      refused += *count;
    }
  }
  EXPECT_EQ(allowed, 10u);
  EXPECT_EQ(refused, 9u * 999u);
}

TEST(OncePerSecond, NoOtherClientOpensTheSecondEarly) {
  OncePerSecond rate;
  EXPECT_TRUE(rate.Allow(kTwo, kStart).has_value());
  EXPECT_TRUE(rate.Allow(kOne, kStart + 990ms).has_value());
  EXPECT_TRUE(rate.Allow(kTwo, kStart + 1010ms).has_value());  // forgets who is long past
  EXPECT_EQ(rate.Allow(kOne, kStart + 1020ms), std::nullopt);
}

TEST(Buckets, ABurstGoesThroughAndThenOnePerInterval) {
  Buckets buckets(3, 1s, "seed");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(buckets.Has("a", kStart)) << i;
    buckets.Take("a", kStart);
  }
  EXPECT_FALSE(buckets.Has("a", kStart));
  EXPECT_TRUE(buckets.Has("b", kStart));
  EXPECT_FALSE(buckets.Has("a", kStart + 999ms));
  EXPECT_TRUE(buckets.Has("a", kStart + 1s));
  buckets.Take("a", kStart + 1s);
  EXPECT_FALSE(buckets.Has("a", kStart + 1s));
  EXPECT_TRUE(buckets.Has("a", kStart + 4s));
}

TEST(OncePerMinute, CountsWhatIsNotLogged) {
  OncePerMinute lines;
  EXPECT_EQ(lines.Allow(kStart), 0u);
  EXPECT_EQ(lines.Allow(kStart), std::nullopt);
  EXPECT_EQ(lines.Allow(kStart + 59'999ms), std::nullopt);
  EXPECT_EQ(lines.Allow(kStart + 60s), 2u);
  EXPECT_EQ(lines.Allow(kStart + 119s), std::nullopt);
  EXPECT_EQ(lines.Allow(kStart + 200s), 1u);
  EXPECT_EQ(lines.Allow(kStart + 300s), 0u);
}

// Whoever goes on while there is no token waits no longer for it.
TEST(Buckets, TakingFromAnEmptyOneCostsNothingMore) {
  Buckets buckets(3, 1s, "seed");
  for (int i = 0; i < 1000; ++i) {
    buckets.Take("a", kStart);
  }
  EXPECT_FALSE(buckets.Has("a", kStart));
  EXPECT_TRUE(buckets.Has("a", kStart + 1s));
}

}  // namespace
}  // namespace ota::guard
