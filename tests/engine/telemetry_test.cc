// Values of devices out of topics that are not OTA's.
#include "engine/telemetry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dialect/json.h"
#include "engine/inbox.h"

namespace ota::engine {
namespace {

using store::Measure;
using testing::IsEmpty;
using testing::SizeIs;

TelemetryTable Table() {
  return TelemetryTable(
      {{"acme", Measure::kBattery, "plant/{product}/{device}/state", "/power/battery"},
       {"acme", Measure::kSignal, "plant/{product}/{device}/state", "/rssi"},
       {"acme", Measure::kFreeBytes, "free/dev-{device}", ""},
       {"acme", Measure::kBattery, "no/placeholder", "/b"},
       {"acme", Measure::kBattery, "wild/+/{device}", "/b"}});
}

TEST(Telemetry, OnlyTheTopicsOfTheTableMatch) {
  const TelemetryTable table = Table();
  EXPECT_TRUE(table.Matches("plant/acme/d1/state"));
  EXPECT_TRUE(table.Matches("free/dev-d1"));
  for (const char* topic : {"plant/other/d1/state", "plant/acme/d1", "plant/acme/d1/state/x",
                            "plant/acme//state", "plant/acme/d 1/state", "free/dev-", "free/d1",
                            "no/placeholder", "wild/+/d1", "", "plant"}) {
    EXPECT_FALSE(table.Matches(topic)) << topic;
  }
}

TEST(Telemetry, AllValuesOfAMessageAreRead) {
  const auto readings =
      Table().Read("plant/acme/d1/state", R"({"power":{"battery":87.6},"rssi":-70})");
  ASSERT_THAT(readings, SizeIs(2));
  EXPECT_EQ(readings[0].device, (core::DeviceKey{"acme", "d1"}));
  EXPECT_EQ(readings[0].value, Measure::kBattery);
  EXPECT_EQ(readings[0].number, 88);
  EXPECT_EQ(readings[1].number, -70);
  const auto bare = Table().Read("free/dev-d1", "1048576");
  ASSERT_THAT(bare, SizeIs(1));
  EXPECT_EQ(bare[0].number, 1048576);
}

TEST(Telemetry, WhatIsNoSensibleNumberIsNoReading) {
  for (const char* payload : {"", "x", "{}", R"({"power":5})", R"({"power":{"battery":"87"}})",
                              R"({"power":{"battery":101}})", R"({"power":{"battery":-1}})",
                              R"({"power":{"battery":1e300}})", "[[[[", "null"}) {
    EXPECT_THAT(Table().Read("plant/acme/d1/state", payload), IsEmpty()) << payload;
  }
  const std::string deep(60'000, '[');
  EXPECT_THAT(Table().Read("free/dev-d1", deep), IsEmpty());
  const std::string closed = deep.substr(0, 30'000) + std::string(30'000, ']');
  EXPECT_THAT(Table().Read("free/dev-d1", closed), IsEmpty());
}

TEST(NumberAt, FollowsAPointer) {
  using dialect::json::NumberAt;
  EXPECT_EQ(NumberAt(R"({"a":[1,{"b/c":2.5}]})", "/a/1/b~1c", 100), 2.5);
  EXPECT_EQ(NumberAt(" 7 ", "", 100), 7);
  EXPECT_FALSE(NumberAt("7", "", 0)) << "longer than allowed";
  EXPECT_FALSE(NumberAt(R"({"a":1})", "a", 100)) << "no pointer";
  EXPECT_FALSE(NumberAt(R"({"a":1} x)", "/a", 100));
  EXPECT_FALSE(NumberAt(R"({"a":1})", "/b", 100));
}

TEST(TelemetryInbox, KeepsTheLatestMessageOfEachTopic) {
  Inbox inbox;
  inbox.OfferTelemetry("free/dev-d1", "1");
  EXPECT_THAT(inbox.TakeTelemetry().messages, IsEmpty()) << "nothing is configured";
  inbox.SetTelemetry(std::make_shared<const TelemetryTable>(Table()));
  inbox.OfferTelemetry("free/dev-d1", "1");
  inbox.OfferTelemetry("free/dev-d1", "2");
  inbox.OfferTelemetry("free/dev-d2", "3");
  inbox.OfferTelemetry("else/d3", "4");
  const Inbox::Telemetry taken = inbox.TakeTelemetry();
  EXPECT_THAT(taken.messages, SizeIs(2));
  EXPECT_EQ(taken.messages.at("free/dev-d1"), "2");
  EXPECT_THAT(inbox.TakeTelemetry().messages, IsEmpty());
}

TEST(TelemetryInbox, IsBoundedAndCountsWhatItDrops) {
  Inbox inbox;
  inbox.SetTelemetry(std::make_shared<const TelemetryTable>(Table()));
  inbox.OfferTelemetry("free/dev-d", std::string(kMaxTelemetryBytes + 1, '1'));
  EXPECT_EQ(inbox.TakeTelemetry().dropped, 1u);
  const std::string payload(kMaxTelemetryBytes, '1');
  for (int i = 0; i < 300; ++i) {
    inbox.OfferTelemetry("free/dev-d" + std::to_string(i), payload);
    inbox.OfferTelemetry("free/dev-d0", payload);
  }
  const Inbox::Telemetry taken = inbox.TakeTelemetry();
  EXPECT_LE(taken.messages.size(), kTelemetryBytes / kMaxTelemetryBytes);
  EXPECT_EQ(taken.messages.size() + taken.dropped, 300u);
}

}  // namespace
}  // namespace ota::engine
