// The topic guard, against every hostile shape of topic and filter that we know.
#include "guard/guard.h"

#include <string>

#include <gtest/gtest.h>

namespace ota::guard {
namespace {

using dialect::ClassifyFilter;
using dialect::ClassifyTopic;
using enum Verdict;

Client Device() {
  return {core::DeviceKey{"pump", "p1"}, false, false, nullptr, nullptr};
}
Client Nobody() {
  return {};
}
Client Administrator() {
  return {std::nullopt, true, false, nullptr, nullptr};
}
Client Bridge() {
  return {std::nullopt, false, true, nullptr, nullptr};
}

Verdict Write(const Client& client, std::string_view topic) {
  return CheckWrite(client, ClassifyTopic(topic));
}
Verdict Read(const Client& client, std::string_view topic) {
  return CheckRead(client, ClassifyTopic(topic));
}
Verdict Subscribe(const Client& client, std::string_view filter) {
  return CheckSubscribe(client, ClassifyFilter(filter));
}

const std::string kTooLong(65, 'a');

TEST(CheckWrite, OwnUplinksAreAllowed) {
  for (const char* end : {"version", "confirm", "progress", "block"}) {
    EXPECT_EQ(Write(Device(), std::string("ota/v1/pump/p1/up/") + end), kAllow) << end;
  }
}

// [N-1] [N-3]
TEST(CheckWrite, EverythingElseUnderTheOtaTopicsIsDenied) {
  for (const std::string& topic : {std::string("ota/v1/pump/p2/up/version"),
                                   std::string("ota/v1/valve/p1/up/version"),
                                   std::string("ota/v1/pump/p1/down/plan"),
                                   std::string("ota/v1/pump/p1/down/reply"),
                                   std::string("ota/v1/pump/p1/down/block/b3/0"),
                                   std::string("ota/v1/pump/p1/up/unknown"),
                                   std::string("ota/v1/pump/p1/up"),
                                   std::string("ota/v1/pump/p1/up/"),
                                   std::string("ota/v1/pump/p1/up/version/"),
                                   std::string("ota/v1/pump/p1/up//version"),
                                   std::string("ota/v1/pump/p1/up/version/x"),
                                   std::string("ota/v1/pump/p1/UP/version"),
                                   std::string("ota/v1/pump/p1"),
                                   std::string("ota/v1/pump"),
                                   std::string("ota/v1/"),
                                   std::string("ota/v1//p1/up/version"),
                                   std::string("ota/v1/pump//up/version"),
                                   std::string("ota/v1//pump/p1/up/version"),
                                   std::string("ota/v1/pump/p1 /up/version"),
                                   std::string("ota/v1/pump/p1\0/up/version", 26),
                                   std::string("ota/v1/pump/\xff/up/version"),
                                   "ota/v1/pump/" + kTooLong + "/up/version",
                                   "ota/v1/" + kTooLong + "/p1/up/version"}) {
    EXPECT_EQ(Write(Device(), topic), kDeny) << topic;
    EXPECT_EQ(Write(Nobody(), topic), kDeny) << topic;
    EXPECT_EQ(Write(Administrator(), topic), kDeny) << topic;
  }
}

TEST(CheckWrite, InvalidNamesAreDeniedToAClientThatBearsThem) {
  const Client odd{core::DeviceKey{"", ""}, false, false};
  EXPECT_EQ(Write(odd, "ota/v1///up/version"), kDeny);
  EXPECT_EQ(Read(odd, "ota/v1///down/plan"), kDeny);
  EXPECT_EQ(Subscribe(odd, "ota/v1/#"), kDeny);
}

TEST(CheckWrite, ABridgeBringsUplinksOfAllDevicesButNoDownlinks) {
  EXPECT_EQ(Write(Bridge(), "ota/v1/pump/p1/up/version"), kAllow);
  EXPECT_EQ(Write(Bridge(), "ota/v1/valve/v9/up/block"), kAllow);
  EXPECT_EQ(Write(Bridge(), "ota/v1/pump/p1/down/plan"), kDeny);
  EXPECT_EQ(Write(Bridge(), "ota/v1/pump//up/version"), kDeny);
}

TEST(CheckWrite, WhatIsNotOtaIsLeftToOthers) {
  for (const char* topic :
       {"", "ota", "ota/", "ota/v1", "ota/v10/pump/p1/up/version", "ota/v2/pump/p1/up/version",
        "/ota/v1/pump/p1/up/version", "OTA/v1/pump/p1/up/version", "plant/ota/v1/x", "$SYS/x"}) {
    EXPECT_EQ(Write(Device(), topic), kOther) << topic;
    EXPECT_EQ(Read(Nobody(), topic), kOther) << topic;
  }
}

// [N-3]
TEST(CheckRead, OwnerAdministratorAndBridgeReadNobodyElseDoes) {
  for (const char* topic : {"ota/v1/pump/p1/down/plan", "ota/v1/pump/p1/up/version"}) {
    EXPECT_EQ(Read(Device(), topic), kAllow);
    EXPECT_EQ(Read(Administrator(), topic), kAllow);
    EXPECT_EQ(Read(Bridge(), topic), kAllow);
    EXPECT_EQ(Read(Nobody(), topic), kDeny);
  }
  EXPECT_EQ(Read(Device(), "ota/v1/pump/p2/down/plan"), kDeny);
  EXPECT_EQ(Read(Device(), "ota/v1/valve/p1/down/plan"), kDeny);
}

// [N-4]
TEST(CheckSubscribe, OwnFiltersAreAllowed) {
  for (const char* filter : {"ota/v1/pump/p1/down/#", "ota/v1/pump/p1/#", "ota/v1/pump/p1/+/plan",
                             "ota/v1/pump/p1/+/#", "ota/v1/pump/p1/down/plan",
                             "$share/g/ota/v1/pump/p1/down/#", "ota/v1/pump/p1/up/version"}) {
    EXPECT_EQ(Subscribe(Device(), filter), kAllow) << filter;
    EXPECT_EQ(Subscribe(Nobody(), filter), kDeny) << filter;
  }
}

// [N-4]
TEST(CheckSubscribe, FiltersThatReachOthersAreDenied) {
  for (const std::string& filter : {std::string("ota/v1/#"),
                                    std::string("ota/v1/+/p1/down/#"),
                                    std::string("ota/v1/pump/#"),
                                    std::string("ota/v1/pump/+/down/#"),
                                    std::string("ota/v1/pump/p2/down/#"),
                                    std::string("ota/v1/pump/p2/+/plan"),
                                    std::string("ota/v1/valve/p1/#"),
                                    std::string("ota/v1/+/+/down/plan"),
                                    std::string("ota/v1/pump/p1+/down"),
                                    std::string("ota/v1/pump/p1#"),
                                    std::string("ota/v1/pump/p11/#"),
                                    std::string("ota/v1/pump/p/#"),
                                    std::string("ota/v1//#"),
                                    std::string("ota/v1//p1/#"),
                                    std::string("ota/v1/pump//#"),
                                    std::string("ota/v1/"),
                                    std::string("ota/v1/pump"),
                                    std::string("$share/g/ota/v1/#"),
                                    std::string("$share/g/ota/v1/pump/+/down/#"),
                                    std::string("$share/g/ota/v1/pump/p2/down/plan"),
                                    std::string("$share//ota/v1/#"),
                                    std::string("ota/v1/pump/\xff/#"),
                                    "ota/v1/pump/" + kTooLong + "/#"}) {
    EXPECT_EQ(Subscribe(Device(), filter), kDeny) << filter;
    EXPECT_EQ(Subscribe(Nobody(), filter), kDeny) << filter;
    EXPECT_EQ(Subscribe(Administrator(), filter), kAllow) << filter;
    EXPECT_EQ(Subscribe(Bridge(), filter), kAllow) << filter;
  }
}

// [N-4]
TEST(CheckSubscribe, FiltersThatBeginOutsideAreLeftToOthers) {
  for (const char* filter :
       {"#", "+/#", "+/v1/pump/p2/down/#", "ota/#", "ota/+/pump/p2/down/#", "ota/v1", "$share/g/#",
        "$share/g/ota/#", "$share/g/+/v1/#", "$share/ota/v1/#", "$share/g", "$share/", "$SYS/#"}) {
    EXPECT_EQ(Subscribe(Device(), filter), kOther) << filter;
    EXPECT_EQ(Subscribe(Nobody(), filter), kOther) << filter;
  }
}

TEST(Gateway, SpeaksForItsSubDevicesAndForNobodyElse) {
  Registry registry;
  registry.Put("meter", "m1", {"", "pump/p1", false});
  registry.Put("meter", "m2", {"", "pump/p2", false});
  registry.Put("meter", "m3", {"", "", false});
  Client gateway = Device();
  gateway.registry = &registry;
  EXPECT_EQ(Write(gateway, "ota/v1/meter/m1/up/version"), kAllow);
  EXPECT_EQ(Read(gateway, "ota/v1/meter/m1/down/plan"), kAllow);
  EXPECT_EQ(Subscribe(gateway, "ota/v1/meter/m1/down/#"), kAllow);
  EXPECT_EQ(Write(gateway, "ota/v1/pump/p1/up/version"), kAllow);
  EXPECT_EQ(Write(gateway, "ota/v1/meter/m1/down/plan"), kDeny);
  for (const char* name : {"m2", "m3", "m4"}) {
    EXPECT_EQ(Write(gateway, std::string("ota/v1/meter/") + name + "/up/version"), kDeny) << name;
    EXPECT_EQ(Subscribe(gateway, std::string("ota/v1/meter/") + name + "/down/#"), kDeny) << name;
  }
  EXPECT_EQ(Subscribe(gateway, "ota/v1/meter/+/down/#"), kDeny);
  // A sub-device does not speak for its gateway, nor does an unknown client for anybody.
  Client sub{core::DeviceKey{"meter", "m1"}, false, false, &registry, nullptr};
  EXPECT_EQ(Write(sub, "ota/v1/pump/p1/up/version"), kDeny);
  Client nobody;
  nobody.registry = &registry;
  EXPECT_EQ(Write(nobody, "ota/v1/meter/m1/up/version"), kDeny);
}

TEST(Gateway, SpeaksForASubDeviceThatHasLoggedInOverItsConnection) {
  const std::set<core::DeviceKey> logged_in{{"meter", "m1"}};
  Client gateway = Device();
  gateway.logged_in = &logged_in;
  EXPECT_EQ(Write(gateway, "ota/v1/meter/m1/up/version"), kAllow);
  EXPECT_EQ(Write(gateway, "ota/v1/meter/m2/up/version"), kDeny);
}

// The clouds' SDKs subscribe to topics of their own that are not OTA's.
TEST(CheckSystem, ADeviceHasToDoWithItsOwnSystemTopicsAlone) {
  for (const char* own : {"/sys/pump/p1/thing/event/property/post", "/shadow/get/pump/p1",
                          "/shadow/update/pump/p1", "/ext/session/pump/p1/combine/login"}) {
    EXPECT_EQ(Write(Device(), own), kAllow) << own;
    EXPECT_EQ(Read(Device(), own), kAllow) << own;
    EXPECT_EQ(Subscribe(Device(), own), kAllow) << own;
  }
  EXPECT_EQ(Subscribe(Device(), "/sys/pump/p1/#"), kAllow);
  EXPECT_EQ(Subscribe(Device(), "/sys/pump/p1/thing/event/+/post_reply"), kAllow);
  for (const char* other : {"/sys/pump/p2/thing/event/property/post", "/shadow/get/pump/p2",
                            "/ext/session/pump/p2/combine/login", "/sys/pump"}) {
    EXPECT_EQ(Write(Device(), other), kDeny) << other;
    EXPECT_EQ(Read(Device(), other), kDeny) << other;
    EXPECT_EQ(Subscribe(Device(), other), kDeny) << other;
  }
  for (const char* filter : {"/sys/#", "/sys/pump/+/thing/event/property/post", "/sys/pump/p+"}) {
    EXPECT_EQ(Subscribe(Device(), filter), kDeny) << filter;
  }
}

TEST(CheckSystem, WhoIsNoDeviceIsLeftToOthers) {
  for (const Client& client : {Nobody(), Administrator(), Bridge()}) {
    EXPECT_EQ(Write(client, "/sys/pump/p1/thing/event/property/post"), kOther);
    EXPECT_EQ(Read(client, "/sys/pump/p1/thing/event/property/post"), kOther);
    EXPECT_EQ(Subscribe(client, "/sys/+/+/thing/event/property/post"), kOther);
  }
}

TEST(CheckWrite, OwnUplinksOfTheCloudsDialectsAreAllowedAndNothingElseOfThem) {
  for (const char* own :
       {"/ota/device/inform/pump/p1", "/ota/device/progress/pump/p1",
        "/sys/pump/p1/thing/ota/firmware/get", "/sys/pump/p1/thing/file/download",
        "/sys/pump/p1/ota/device/inform", "/sys/pump/p1/ota/device/upgrade_reply"}) {
    EXPECT_EQ(Write(Device(), own), kAllow) << own;
    EXPECT_EQ(Write(Nobody(), own), kDeny) << own;
  }
  for (const char* topic :
       {"/ota/device/inform/pump/p2", "/ota/device/upgrade/pump/p1", "/ota/device/inform/pump",
        "/sys/pump/p1/thing/ota/firmware/get_reply", "/sys/pump/p1/thing/ota/other",
        "/sys/pump/p1/ota/device/upgrade", "/sys/pump/p2/ota/device/inform"}) {
    EXPECT_EQ(Write(Device(), topic), kDeny) << topic;
  }
}

}  // namespace
}  // namespace ota::guard
