// Push periods by the local clock, on ordinary days and on those on which a clock changes.
#include "engine/windows.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

core::Instant Utc(int year, int month, int day, int hour, int minute = 0) {
  using namespace std::chrono;
  return core::Instant(sys_days(std::chrono::year(year) / month / day) + std::chrono::hours(hour) +
                       std::chrono::minutes(minute));
}

core::Window In(const char* zone, minutes from, minutes to) {
  return {zone, from, to};
}

// How long the window is open between two instants, asked only through NextFlip.
core::Duration OpenFor(const core::Window& window, core::Instant from, core::Instant to) {
  core::Duration open{0};
  for (core::Instant at = from; at < to;) {
    const core::Instant next = std::min(NextFlip(window, at).value_or(to), to);
    EXPECT_GT(next, at);
    open += IsOpen(window, at) ? next - at : core::Duration(0);
    at = next;
  }
  return open;
}

TEST(Windows, AnOrdinaryDay) {  // 002-23 002-24
  const core::Window window = In("Europe/Berlin", hours(2), hours(4));
  EXPECT_FALSE(IsOpen(window, Utc(2026, 1, 10, 0, 59)));
  EXPECT_TRUE(IsOpen(window, Utc(2026, 1, 10, 1)));
  EXPECT_TRUE(IsOpen(window, Utc(2026, 1, 10, 2, 59)));
  EXPECT_FALSE(IsOpen(window, Utc(2026, 1, 10, 3)));
  EXPECT_EQ(NextFlip(window, Utc(2026, 1, 10, 1)), Utc(2026, 1, 10, 3));
  EXPECT_EQ(NextFlip(window, Utc(2026, 1, 10, 3)), Utc(2026, 1, 11, 1));
}

TEST(Windows, AcrossMidnight) {
  const core::Window window = In("Asia/Kolkata", hours(22), hours(2));  // UTC+5:30
  EXPECT_TRUE(IsOpen(window, Utc(2026, 1, 10, 16, 30)));
  EXPECT_TRUE(IsOpen(window, Utc(2026, 1, 10, 20, 29)));
  EXPECT_FALSE(IsOpen(window, Utc(2026, 1, 10, 20, 30)));
  EXPECT_EQ(NextFlip(window, Utc(2026, 1, 10, 17)), Utc(2026, 1, 10, 20, 30));
  EXPECT_EQ(NextFlip(window, Utc(2026, 1, 10, 20, 30)), Utc(2026, 1, 11, 16, 30));
}

TEST(Windows, EqualBoundsAreTheWholeDayAndNeverChange) {
  for (const auto& [from, to] :
       {std::pair{minutes(0), minutes(24 * 60)}, std::pair{minutes(90), minutes(90)}}) {
    const core::Window window = In("Europe/Berlin", from, to);
    EXPECT_TRUE(IsOpen(window, Utc(2026, 3, 29, 1)));
    EXPECT_FALSE(NextFlip(window, Utc(2026, 3, 29, 1)));
  }
}

TEST(Windows, UntilMidnight) {
  const core::Window window = In("Europe/Berlin", hours(20), hours(24));
  EXPECT_EQ(NextFlip(window, Utc(2026, 1, 10, 19)), Utc(2026, 1, 10, 23));
}

// Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
TEST(Windows, AWindowThatBeginsInTheSkippedHourOpensAtTheJump) {
  const core::Window window = In("Europe/Berlin", hours(2) + minutes(30), hours(4));
  EXPECT_FALSE(IsOpen(window, Utc(2026, 3, 29, 0, 59)));
  EXPECT_TRUE(IsOpen(window, Utc(2026, 3, 29, 1)));
  EXPECT_EQ(NextFlip(window, Utc(2026, 3, 28, 12)), Utc(2026, 3, 29, 1));
  EXPECT_EQ(NextFlip(window, Utc(2026, 3, 29, 1)), Utc(2026, 3, 29, 2));
}

TEST(Windows, AWindowInsideTheSkippedHourDoesNotOpenThatDay) {
  const core::Window window = In("Europe/Berlin", hours(2) + minutes(15), hours(2) + minutes(45));
  EXPECT_EQ(OpenFor(window, Utc(2026, 3, 28, 12), Utc(2026, 3, 29, 12)), core::Duration(0));
  EXPECT_EQ(NextFlip(window, Utc(2026, 3, 28, 12)), Utc(2026, 3, 30, 0, 15));
}

TEST(Windows, AWindowThatEndsInTheSkippedHourClosesAtTheJump) {
  const core::Window window = In("Europe/Berlin", hours(1), hours(2) + minutes(30));
  EXPECT_EQ(NextFlip(window, Utc(2026, 3, 29, 0, 30)), Utc(2026, 3, 29, 1));
}

// Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
TEST(Windows, AWindowInTheRepeatedHourOpensTwice) {
  const core::Window window = In("Europe/Berlin", hours(2) + minutes(15), hours(2) + minutes(45));
  EXPECT_EQ(NextFlip(window, Utc(2026, 10, 24, 12)), Utc(2026, 10, 25, 0, 15));
  EXPECT_EQ(NextFlip(window, Utc(2026, 10, 25, 0, 15)), Utc(2026, 10, 25, 0, 45));
  EXPECT_EQ(NextFlip(window, Utc(2026, 10, 25, 0, 45)), Utc(2026, 10, 25, 1, 15));
  EXPECT_EQ(NextFlip(window, Utc(2026, 10, 25, 1, 15)), Utc(2026, 10, 25, 1, 45));
  EXPECT_EQ(OpenFor(window, Utc(2026, 10, 24, 12), Utc(2026, 10, 25, 12)),
            core::Duration(hours(1)));
}

TEST(Windows, AWindowRoundTheRepeatedHourIsAnHourLonger) {
  const core::Window window = In("Europe/Berlin", hours(1), hours(4));
  EXPECT_EQ(OpenFor(window, Utc(2026, 10, 24, 12), Utc(2026, 10, 25, 12)),
            core::Duration(hours(4)));
  EXPECT_EQ(OpenFor(window, Utc(2026, 3, 28, 12), Utc(2026, 3, 29, 12)), core::Duration(hours(2)));
}

// New York, 2026-03-08: 02:00 becomes 03:00 at 07:00 UTC; 2026-11-01: 02:00 becomes 01:00 at 06:00.
TEST(Windows, NewYork) {
  const core::Window window = In("America/New_York", hours(1), hours(3));
  EXPECT_EQ(OpenFor(window, Utc(2026, 3, 8, 0), Utc(2026, 3, 8, 12)), core::Duration(hours(1)));
  EXPECT_EQ(OpenFor(window, Utc(2026, 11, 1, 0), Utc(2026, 11, 1, 12)), core::Duration(hours(3)));
  EXPECT_EQ(OpenFor(window, Utc(2026, 7, 1, 0), Utc(2026, 7, 1, 12)), core::Duration(hours(2)));
}

// Lord Howe changes by half an hour: 2026-04-05 02:00 becomes 01:30 at 15:00 UTC the day before.
TEST(Windows, AZoneThatChangesByHalfAnHour) {
  const core::Window window = In("Australia/Lord_Howe", hours(1) + minutes(30), hours(2));
  EXPECT_EQ(OpenFor(window, Utc(2026, 4, 4, 6), Utc(2026, 4, 5, 6)), core::Duration(hours(1)));
  EXPECT_EQ(OpenFor(window, Utc(2026, 4, 6, 6), Utc(2026, 4, 7, 6)), core::Duration(minutes(30)));
}

TEST(Windows, EveryFlipIsOneForAYear) {
  for (const char* zone : {"Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"}) {
    const core::Window window = In(zone, hours(23) + minutes(30), hours(2) + minutes(30));
    core::Instant at = Utc(2026, 1, 1, 12);
    for (int i = 0; i < 800; ++i) {
      const auto next = NextFlip(window, at);
      ASSERT_TRUE(next);
      ASSERT_GT(*next, at);
      ASSERT_NE(IsOpen(window, *next), IsOpen(window, *next - core::Duration(1)));
      at = *next;
    }
  }
}

TEST(Windows, AnUnknownZoneIsTheMachinesOwn) {
  EXPECT_EQ(IsOpen(In("No/Where", hours(2), hours(4)), Utc(2026, 1, 10, 3)),
            IsOpen(In("", hours(2), hours(4)), Utc(2026, 1, 10, 3)));
}

TEST(Windows, TheNamesOfTheZonesAreSorted) {
  const std::vector<std::string> names = ZoneNames();
  EXPECT_GT(names.size(), 300u);
  EXPECT_TRUE(std::ranges::is_sorted(names));
  EXPECT_TRUE(std::ranges::binary_search(names, "Europe/Berlin"));
}

}  // namespace
}  // namespace ota::engine
