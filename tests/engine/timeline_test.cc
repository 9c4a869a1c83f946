// Deadlines under clocks that are set, lost and found again.
#include "engine/timeline.h"

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using namespace std::chrono_literals;

constexpr core::Instant kCommit{1'795'219'200'000ms};
const std::chrono::steady_clock::time_point kBoot{100h};

ClockReading At(core::Instant wall, std::chrono::milliseconds since_start) {
  return {wall, kBoot + since_start};
}

TEST(Timeline, DeadlinesRunWithTheWallClockWhileNothingHappens) {
  Timeline timeline(kCommit, At(kCommit, 0ms));
  const Timeline::Reading reading = timeline.Read(At(kCommit + 10s, 10s));
  EXPECT_EQ(reading.now.steady, kCommit + 10s);
  EXPECT_EQ(reading.shift, 0ms);
  EXPECT_TRUE(reading.now.trusted);
}

TEST(Timeline, AWeekendWithoutPowerMovesDeadlinesByWhatWasMissing) {
  Timeline timeline(kCommit, At(kCommit + 60h, 0ms));
  const Timeline::Reading reading = timeline.Read(At(kCommit + 60h, 0ms));
  EXPECT_EQ(reading.shift, 60h);
  EXPECT_EQ(reading.now.steady, kCommit + 60h);
  EXPECT_EQ(timeline.Read(At(kCommit + 60h + 1s, 1s)).shift, 0ms) << "one jump is reported once";
}

TEST(Timeline, ARestartWithinAMinuteMovesNothing) {
  Timeline timeline(kCommit, At(kCommit + 60s, 0ms));
  EXPECT_EQ(timeline.Read(At(kCommit + 60s, 0ms)).shift, 0ms);
}

TEST(Timeline, AClockFrom1970IsNotTrustedAndDeadlinesGoOn) {
  Timeline timeline(kCommit, At(core::Instant{0ms}, 0ms));
  const Timeline::Reading reading = timeline.Read(At(core::Instant{5s}, 5s));
  EXPECT_FALSE(reading.now.trusted);
  EXPECT_EQ(reading.shift, 0ms);
  EXPECT_EQ(reading.now.steady, kCommit + 5s);
}

TEST(Timeline, TheClockThatIsFoundAgainMovesDeadlinesByTheOutage) {
  Timeline timeline(kCommit, At(core::Instant{0ms}, 0ms));
  timeline.Read(At(core::Instant{5s}, 5s));
  const Timeline::Reading reading = timeline.Read(At(kCommit + 1h, 10s));
  EXPECT_TRUE(reading.now.trusted);
  EXPECT_EQ(reading.shift, 1h - 10s);
  EXPECT_EQ(reading.now.steady, kCommit + 1h);
}

TEST(Timeline, AClockThatIsSetForwardFailsNobody) {
  Timeline timeline(kCommit, At(kCommit, 0ms));
  const Timeline::Reading reading = timeline.Read(At(kCommit + 24h, 1s));
  EXPECT_EQ(reading.shift, 24h - 1s);
  EXPECT_EQ(reading.now.steady, kCommit + 24h);
}

TEST(Timeline, AClockThatIsSetBackBehindTheLastCommitStopsOffersUntilReleased) {
  Timeline timeline(kCommit, At(kCommit, 0ms));
  timeline.Committed(kCommit + 10s);
  Timeline::Reading reading = timeline.Read(At(kCommit - 2h, 20s));
  EXPECT_FALSE(reading.now.trusted);
  EXPECT_EQ(reading.now.steady, kCommit + 20s);
  timeline.TrustFrom(kCommit - 2h);
  reading = timeline.Read(At(kCommit - 2h, 20s));
  EXPECT_TRUE(reading.now.trusted);
  EXPECT_EQ(reading.shift, -(2h + 20s));
  EXPECT_EQ(reading.now.steady, kCommit - 2h);
}

TEST(Timeline, ACommitUnderAWrongClockDoesNotLowerWhatIsTrusted) {
  Timeline timeline(kCommit, At(core::Instant{0ms}, 0ms));
  timeline.Committed(core::Instant{5s});
  EXPECT_EQ(timeline.floor(), kCommit);
  EXPECT_FALSE(timeline.Read(At(core::Instant{6s}, 6s)).now.trusted);
}

}  // namespace
}  // namespace ota::engine
