#include "fleet/mqtt.h"

#include <gtest/gtest.h>

namespace ota::fleet::mqtt {
namespace {

// Whatever the network makes of it, the same packets come out.
TEST(Mqtt, PacketsAreReadWhereverTheBytesAreCut) {
  for (const auto version : {Version::k311, Version::k5}) {
    std::string bytes;
    AppendPublish(bytes, version, "a/b", "payload", 1, 7);
    AppendPublish(bytes, version, "a/b", std::string(300, 'x'), 0, 0);
    AppendPuback(bytes, 9);
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
      std::vector<Kind> kinds;
      std::string kept;
      for (const auto& part : {bytes.substr(0, cut), bytes.substr(cut)}) {
        kept += part;
        std::string_view view = kept;
        Packet packet;
        Parsed parsed;
        while ((parsed = Take(version, view, packet)) == Parsed::kPacket) {
          kinds.push_back(packet.kind);
          if (packet.kind == Kind::kPublish) {
            EXPECT_EQ(packet.topic, "a/b");
            EXPECT_EQ(packet.payload.size(), packet.qos == 1 ? 7u : 300u);
          }
        }
        ASSERT_EQ(parsed, Parsed::kIncomplete);
        kept = std::string(view);
      }
      EXPECT_EQ(kinds, (std::vector{Kind::kPublish, Kind::kPublish, Kind::kPuback})) << cut;
    }
  }
}

TEST(Mqtt, WhatNoBrokerSendsIsMalformed) {
  for (const std::string_view text :
       {std::string_view("\x30\x01\x00", 3), std::string_view("\x30\xff\xff\xff\xff\x01", 6),
        std::string_view("\x10\x00", 2), std::string_view("\x36\x05\x00\x01\x61\x00\x01", 7)}) {
    auto bytes = text;
    Packet packet;
    EXPECT_EQ(Take(Version::k311, bytes, packet), Parsed::kMalformed);
  }
}

TEST(Mqtt, OneRefusedFilterRefusesTheSubscription) {
  Packet packet;
  std::string_view granted("\x90\x04\x00\x01\x01\x01", 6);
  ASSERT_EQ(Take(Version::k311, granted, packet), Parsed::kPacket);
  EXPECT_EQ(packet.code, 1);
  std::string_view refused("\x90\x04\x00\x01\x01\x80", 6);
  ASSERT_EQ(Take(Version::k311, refused, packet), Parsed::kPacket);
  EXPECT_EQ(packet.code, 0x80);
}

TEST(Mqtt, APersistentSessionOfVersionFiveHasAnExpiry) {
  Connect connect;
  connect.version = Version::k5;
  connect.client_id = "c";
  connect.clean = false;
  std::string bytes;
  Append(bytes, connect);
  EXPECT_EQ(bytes,
            std::string("\x10\x13\x00\x04MQTT\x05\x00\x00\x00\x05\x11\x00\x00\x0e\x10\x00\x01"
                        "c",
                        21));
}

}  // namespace
}  // namespace ota::fleet::mqtt
