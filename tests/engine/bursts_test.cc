// Reports of one burst are judged together; what is limited in time.
#include "engine/bursts.h"

#include <map>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "engine/push_limit.h"
#include "engine/registrations.h"

namespace ota::engine {
namespace {

using core::Duration;
using core::Instant;

const core::DeviceKey kLamp{"lamp", "d1"};
constexpr Instant kStart{Duration(1'000'000)};
constexpr Duration kSettle{2000};

Arrival From(const core::DeviceKey& device, std::uint64_t connection = 1) {
  Arrival arrival;
  arrival.device = device;
  arrival.connection = connection;
  return arrival;
}

core::VersionReport Report(std::string version, std::string component = "default") {
  core::VersionReport report;
  report.components.emplace(std::move(component), std::move(version));
  return report;
}

core::Snapshot Waiting(std::string target) {
  core::Snapshot snapshot;
  snapshot.open.emplace();
  core::TaskComponent& component = snapshot.open->components.emplace_back();
  component.name = "default";
  component.target = std::move(target);
  return snapshot;
}

TEST(Bursts, AreDueSomeTimeAfterTheLastReport) {
  Bursts bursts;
  bursts.Add(From(kLamp), Report("1"), kSettle, kStart);
  bursts.Add(From(kLamp, 2), Report("2"), kSettle, kStart + Duration(1500));
  EXPECT_EQ(bursts.Next(), kStart + Duration(3500));
  EXPECT_TRUE(bursts.Due(kStart + Duration(3499), 10).empty());
  ASSERT_EQ(bursts.Due(kStart + Duration(3500), 10).size(), 1U);
  const auto burst = bursts.Take(kLamp);
  ASSERT_TRUE(burst);
  EXPECT_EQ(burst->origin.connection, 2U);
  EXPECT_EQ(Settled(*burst, {}).at("default"), "2");
  EXPECT_FALSE(bursts.Next());
}

TEST(Bursts, AreNotPutOffForEver) {
  Bursts bursts;
  for (int i = 0; i < 100; ++i) {
    bursts.Add(From(kLamp), Report("1"), kSettle, kStart + Duration(i * 1000));
  }
  EXPECT_EQ(bursts.Next(), kStart + 5 * kSettle);
}

TEST(Bursts, AreDueAtTheLatestWhenPutOff) {
  Bursts bursts;
  EXPECT_FALSE(bursts.PutOff(kLamp));
  bursts.Add(From(kLamp), Report("1"), kSettle, kStart);
  EXPECT_TRUE(bursts.PutOff(kLamp));
  EXPECT_EQ(bursts.Next(), kStart + 5 * kSettle);
  EXPECT_FALSE(bursts.PutOff(kLamp)) << "once";
  ASSERT_TRUE(bursts.Find(kLamp));
  ASSERT_TRUE(bursts.Take(kLamp));
  EXPECT_FALSE(bursts.Next());
}

TEST(Bursts, AVersionAtNeitherEndOfTheOpenTasksStepIsForeign) {
  core::Snapshot snapshot = Waiting("2.0");
  snapshot.open->components.front().source = "1.0";
  snapshot.open->state = core::TaskState::kDownloading;
  EXPECT_TRUE(ShowsForeign({{"default", "9"}}, snapshot));
  EXPECT_FALSE(ShowsForeign({{"default", "1.0"}}, snapshot));
  EXPECT_FALSE(ShowsForeign({{"default", "2.0"}}, snapshot));
  EXPECT_FALSE(ShowsForeign({{"mcu", "9"}}, snapshot));
  snapshot.open->state = core::TaskState::kOffered;
  EXPECT_FALSE(ShowsForeign({{"default", "9"}}, snapshot)) << "not begun";
  EXPECT_FALSE(ShowsForeign({{"default", "9"}}, {})) << "no task";
}

TEST(Bursts, AVersionThatTheOpenTaskWaitsForCountsWhereverItStands) {
  for (const auto& [first, second] : {std::pair("9", "2.0"), std::pair("2.0", "9")}) {
    Bursts bursts;
    bursts.Add(From(kLamp), Report(first), kSettle, kStart);
    bursts.Add(From(kLamp), Report(second), kSettle, kStart);
    EXPECT_EQ(Settled(*bursts.Take(kLamp), Waiting("2.0")).at("default"), "2.0");
  }
  EXPECT_TRUE(ShowsTarget(Report("2.0"), Waiting("2.0")));
  EXPECT_FALSE(ShowsTarget(Report("2.0", "mcu"), Waiting("2.0")));
  EXPECT_FALSE(ShowsTarget(Report("1.0"), Waiting("2.0")));
  EXPECT_FALSE(ShowsTarget(Report("1.0"), {}));
}

TEST(Bursts, ComeBackWhenTheTransactionIsUndone) {
  Bursts bursts;
  bursts.Add(From(kLamp), Report("1"), kSettle, kStart);
  ASSERT_TRUE(bursts.Take(kLamp));
  bursts.Add(From(kLamp), Report("2"), kSettle, kStart + Duration(500));
  bursts.Undo();
  EXPECT_EQ(bursts.Next(), kStart + kSettle);
  EXPECT_EQ(Settled(*bursts.Take(kLamp), {}).at("default"), "1");
  bursts.Keep();
  bursts.Undo();
  EXPECT_TRUE(bursts.empty());
  EXPECT_FALSE(bursts.Take(kLamp));
}

TEST(Bursts, KeepTheirSize) {
  Bursts bursts;
  for (int i = 0; i < 100; ++i) {
    bursts.Add(From(kLamp), Report(std::to_string(i)), kSettle, kStart);
    bursts.Add(From(kLamp), Report("1", "m" + std::to_string(i)), kSettle, kStart);
  }
  const auto burst = bursts.Take(kLamp);
  EXPECT_EQ(burst->versions.size(), 32U);
  EXPECT_EQ(burst->versions.at("default").size(), 8U);
  EXPECT_EQ(burst->versions.at("default").back(), "99");
}

TEST(PushLimit, IsSixtyAnHourForEachDevice) {
  PushLimit limit(kPushesPerHour);
  for (int i = 0; i < kPushesPerHour; ++i) {
    EXPECT_EQ(limit.Count(kLamp, kStart), PushLimit::Answer::kSend);
  }
  EXPECT_EQ(limit.Count(kLamp, kStart), PushLimit::Answer::kFirstRefused);
  EXPECT_EQ(limit.Count(kLamp, kStart + Duration(3'599'999)), PushLimit::Answer::kRefused);
  EXPECT_EQ(limit.Count({"lamp", "d2"}, kStart), PushLimit::Answer::kSend);
  EXPECT_EQ(limit.Count(kLamp, kStart + Duration(3'600'000)), PushLimit::Answer::kSend);
}

TEST(Registrations, WhoComesBeyondIsToldASecondOfItsOwn) {
  Registrations registrations;
  constexpr int kDevices = 10'000;
  std::map<Instant, int> come{{kStart, kDevices}};  // when, and how many ask
  int registered = 0;
  for (; !come.empty(); come.erase(come.begin())) {
    const auto [now, devices] = *come.begin();
    int at_once = 0;
    for (int device = 0; device < devices; ++device) {
      const core::seconds later = registrations.Ask(now);
      if (later == core::seconds(0)) {
        ++at_once;
      } else {
        ++come[now + later];
      }
    }
    EXPECT_EQ(at_once, kRegistrationsPerSecond);
    registered += at_once;
    EXPECT_LE(now, kStart + core::seconds(4));
  }
  EXPECT_EQ(registered, kDevices);
}

TEST(Registrations, AFloodOfMadeUpNamesPutsNobodyOffForLongerThanAMinute) {
  Registrations registrations;
  for (int name = 0; name < 100 * kRegistrationsPerSecond; ++name) {
    registrations.Ask(kStart);
  }
  EXPECT_EQ(registrations.Ask(kStart), kLongestComeAgain);
  EXPECT_EQ(registrations.Ask(kStart + kLongestComeAgain), core::seconds(0));
}

TEST(Registrations, AClockThatIsSetBackPutsNobodyOff) {
  Registrations registrations;
  registrations.Ask(kStart);
  for (int device = 0; device < kRegistrationsPerSecond; ++device) {
    registrations.Ask(kStart - std::chrono::hours(24));
  }
  EXPECT_EQ(registrations.Ask(kStart - std::chrono::hours(24)), core::seconds(1));
}

TEST(Registrations, TheSecondsOfThoseWhoNeverCameAreForgotten) {
  Registrations registrations;
  for (int device = 0; device < 3 * kRegistrationsPerSecond; ++device) {
    registrations.Ask(kStart);
  }
  EXPECT_EQ(registrations.Ask(kStart), core::seconds(3));
  for (int device = 0; device < kRegistrationsPerSecond; ++device) {
    ASSERT_EQ(registrations.Ask(kStart + core::seconds(60)), core::seconds(0));
  }
  EXPECT_EQ(registrations.Ask(kStart + core::seconds(60)), core::seconds(1));
}

}  // namespace
}  // namespace ota::engine
