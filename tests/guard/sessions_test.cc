#include "guard/sessions.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dialect/session.h"
#include "guard/refusals.h"

namespace ota::guard {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

const core::DeviceKey kLamp{"lamp", "d1"};
const core::DeviceKey kGateway{"hub", "g1"};
const int kConnections[2] = {};
const void* const kOne = &kConnections[0];
const void* const kTwo = &kConnections[1];

TEST(Sessions, ASecondLoginOfADeviceEndsTheFirst) {
  Sessions sessions;
  sessions.LogIn(kLamp, kOne, "lamp|1");
  EXPECT_THAT(sessions.TakeSuperseded(), IsEmpty());
  sessions.LogIn(kLamp, kTwo, "lamp|2");
  EXPECT_THAT(sessions.TakeSuperseded(), ElementsAre("lamp|1"));
  EXPECT_THAT(sessions.TakeSuperseded(), IsEmpty());
}

TEST(Sessions, WhoComesAgainByTheSameClientIdIsTheBrokersToEnd) {
  Sessions sessions;
  sessions.LogIn(kLamp, kOne, "lamp|1");
  sessions.LogIn(kLamp, kTwo, "lamp|1");
  sessions.LogIn(kLamp, kTwo, "lamp|2");
  EXPECT_THAT(sessions.TakeSuperseded(), IsEmpty());
}

TEST(Sessions, WhatHasEndedByItselfIsNotEnded) {
  Sessions sessions;
  sessions.LogIn(kLamp, kOne, "lamp|1");
  sessions.LogIn(kLamp, kTwo, "lamp|2");
  sessions.Gone(kOne);
  EXPECT_THAT(sessions.TakeSuperseded(), IsEmpty());
  sessions.Gone(kTwo);
  sessions.LogIn(kLamp, kOne, "lamp|3");
  EXPECT_THAT(sessions.TakeSuperseded(), IsEmpty());
}

TEST(Sessions, TheEndOfTheSupersededOneLeavesTheOther) {
  Sessions sessions;
  sessions.LogIn(kLamp, kOne, "lamp|1");
  sessions.LogIn(kLamp, kTwo, "lamp|2");
  sessions.Gone(kOne);
  sessions.LogIn(kLamp, kOne, "lamp|3");
  EXPECT_THAT(sessions.TakeSuperseded(), ElementsAre("lamp|2"));
}

TEST(Sessions, SubDevicesAreThoseOfTheirGatewaysConnection) {
  Sessions sessions;
  EXPECT_TRUE(sessions.LogInSubDevice(kLamp, kGateway, kOne, "hub|1"));
  ASSERT_NE(sessions.SubDevicesOn(kOne, "hub|1", &kGateway), nullptr);
  EXPECT_THAT(*sessions.SubDevicesOn(kOne, "hub|1", &kGateway), ElementsAre(kLamp));
  EXPECT_EQ(sessions.SubDevicesOn(kTwo, "hub|1", &kGateway), nullptr);
  EXPECT_EQ(sessions.SubDevicesOn(kOne, "hub|1", &kLamp), nullptr);
  EXPECT_EQ(sessions.SubDevicesOn(kOne, "hub|1", nullptr), nullptr);
  sessions.LogOutSubDevice(kLamp, kOne);
  EXPECT_THAT(*sessions.SubDevicesOn(kOne, "hub|1", &kGateway), IsEmpty());
}

TEST(Sessions, ANewConnectionAtTheAddressOfOneThatIsGoneHasNobodyBehindIt) {
  Sessions sessions;
  EXPECT_TRUE(sessions.LogInSubDevice(kLamp, kGateway, kOne, "hub|1"));
  EXPECT_EQ(sessions.SubDevicesOn(kOne, "hub|2", &kGateway), nullptr);
  EXPECT_TRUE(sessions.LogInSubDevice({"lamp", "d2"}, kGateway, kOne, "hub|2"));
  EXPECT_THAT(*sessions.SubDevicesOn(kOne, "hub|2", &kGateway),
              ElementsAre(core::DeviceKey{"lamp", "d2"}));
  sessions.Gone(kOne);
  EXPECT_EQ(sessions.SubDevicesOn(kOne, "hub|2", &kGateway), nullptr);
}

TEST(Sessions, AConnectionHasALimitOfSubDevices) {
  Sessions sessions;
  for (std::size_t i = 0; i < dialect::kMaxSubDevices; ++i) {
    EXPECT_TRUE(sessions.LogInSubDevice({"lamp", std::to_string(i)}, kGateway, kOne, "hub|1"));
  }
  EXPECT_FALSE(sessions.LogInSubDevice(kLamp, kGateway, kOne, "hub|1"));
  EXPECT_TRUE(sessions.LogInSubDevice({"lamp", "0"}, kGateway, kOne, "hub|1"));
  EXPECT_TRUE(sessions.LogInSubDevice(kLamp, kGateway, kTwo, "hub|2"));
}

TEST(Refusals, AfterTenFailuresADeviceIsNotLookedAtFromThatAddress) {
  Refusals refusals("seed");
  const Refusals::Time now{100s};
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(refusals.Looks("1.2.3.4", "lamp/d1", now)) << i;
    refusals.Failed("1.2.3.4", "lamp/d1", now);
  }
  EXPECT_FALSE(refusals.Looks("1.2.3.4", "lamp/d1", now));
  EXPECT_TRUE(refusals.Looks("1.2.3.4", "lamp/d2", now));
  EXPECT_TRUE(refusals.Looks("1.2.3.5", "lamp/d1", now));
  EXPECT_TRUE(refusals.Looks("1.2.3.4", "lamp/d1", now + 2s));
}

TEST(Refusals, AfterTwoHundredFailuresNothingFromThatAddressIsLookedAt) {
  Refusals refusals("seed");
  const Refusals::Time now{100s};
  for (int i = 0; i < 200; ++i) {
    refusals.Failed("1.2.3.4", "lamp/" + std::to_string(i), now);
  }
  EXPECT_FALSE(refusals.Looks("1.2.3.4", "lamp/new", now));
  EXPECT_TRUE(refusals.Looks("1.2.3.5", "lamp/new", now));
}

TEST(Refusals, AFloodHasFewLinesAndTheyCountTheOthers) {
  Refusals refusals("seed");
  const Refusals::Time now{100s};
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(refusals.Tell(now), 0U);
  }
  EXPECT_EQ(refusals.Tell(now), std::nullopt);
  EXPECT_EQ(refusals.Tell(now), std::nullopt);
  EXPECT_EQ(refusals.Tell(now + 200ms), 2U);
}

}  // namespace
}  // namespace ota::guard
