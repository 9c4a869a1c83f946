// What a device is told in the native dialect, byte by byte.
#include <string>

#include <gtest/gtest.h>

#include "core/names.h"
#include "dialect/dialect.h"
#include "dialect/downlinks.h"
#include "dialect/json.h"

namespace ota::dialect {
namespace {

const core::DeviceKey kDevice{"pump", "d-1"};

tl::expected<Encoded, TooLarge> Encode(const core::Downlink& downlink,
                                       std::size_t max_bytes = 2048) {
  return Dialects().front().encode(kDevice, downlink, {.max_bytes = max_bytes, .now = kNow});
}

std::string Payload(const core::Downlink& downlink, std::size_t max_bytes = 2048) {
  const auto encoded = Encode(downlink, max_bytes);
  return encoded ? encoded->payload : "too large";
}

bool Has(const std::string& payload, const char* name) {
  const auto value = json::Parse(payload, 65536);
  return value && json::Find(*value->As<json::Object>(), name) != nullptr;
}

// [N-2]
TEST(Encode, GoesToTheDevicesDownTopicsWithQosOne) {
  const std::pair<core::Downlink, const char*> kRows[] = {
      {SpringOffer(), "ota/v1/pump/d-1/down/plan"},
      {DeltaDownload(), "ota/v1/pump/d-1/down/download"},
      {core::Cancel{"k7Qm2ZrT", "plan canceled"}, "ota/v1/pump/d-1/down/cancel"},
      {Replies()[0], "ota/v1/pump/d-1/down/reply"},
  };
  for (const auto& [downlink, topic] : kRows) {
    const auto encoded = Encode(downlink);
    ASSERT_TRUE(encoded);
    EXPECT_EQ(encoded->topic, topic);
    EXPECT_EQ(encoded->qos, 1);
    EXPECT_EQ(ClassifyTopic(encoded->topic).direction, Direction::kDown);
  }
}

// [N-15] [N-17]
TEST(EncodeOffer, HasEveryMemberInOrder) {
  EXPECT_EQ(Payload(SpringOffer()),
            R"({"task":"k7Qm2ZrT","mode":"silent","components":[{"name":"mcu","type":"mcu",)"
            R"("package":"delta","from":"2.1","to":"2.2","bytes":40960,"boot":true}],)"
            R"("conditions":{"battery":30,"signal":-95,"freeBytes":1048576},)"
            R"("text":"Fixes the pump.","plan":"spring","tags":{"ring":"1"},)"
            R"("expiresIn":86400,"now":1795219200})");
}

// [N-15]
TEST(EncodeOffer, LeavesOutWhatIsNotThere) {
  EXPECT_EQ(Payload(ConsentedOffer()),
            R"({"task":"0-7Gk2mQ","mode":"manual","consent":true,"components":[{"name":"main",)"
            R"("type":"firmware","package":"full","to":"3.0","bytes":917504}],)"
            R"("expiresIn":3600,"now":1795219200})");
}

TEST(EncodeOffer, GivesOnlyTheConditionsThatAreSet) {
  core::Offer offer = ConsentedOffer();
  offer.conditions.signal = -95;
  EXPECT_NE(Payload(offer).find(R"("conditions":{"signal":-95})"), std::string::npos);
}

TEST(EncodeOffer, KeepsThePlansOrderOfComponents) {
  core::Offer offer = SpringOffer();
  core::Offer::Component second = offer.components[0];
  second.name = "a";
  second.type = core::ComponentType::kConfig;
  offer.components.push_back(second);
  const std::string payload = Payload(offer);
  EXPECT_LT(payload.find(R"("name":"mcu")"), payload.find(R"("name":"a","type":"config")"));
}

// [N-18]
TEST(EncodeOffer, DropsTagsThenPlanThenTextThenConditions) {
  const core::Offer offer = SpringOffer();
  constexpr const char* kOrder[] = {"tags", "plan", "text", "conditions"};
  std::string payload = Payload(offer);
  for (std::size_t dropped = 0; dropped < 4; ++dropped) {
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(Has(payload, kOrder[i]), i >= dropped) << kOrder[i] << " " << dropped;
    }
    EXPECT_EQ(Payload(offer, payload.size()), payload);
    payload = Payload(offer, payload.size() - 1);
  }
  EXPECT_EQ(payload,
            R"({"task":"k7Qm2ZrT","mode":"silent","components":[{"name":"mcu","type":"mcu",)"
            R"("package":"delta","from":"2.1","to":"2.2","bytes":40960,"boot":true}],)"
            R"("expiresIn":86400,"now":1795219200})");
}

// [N-18]
TEST(EncodeOffer, WhatDoesNotFitSaysBothNumbers) {
  const std::string shortest = Payload(ConsentedOffer());
  const auto encoded = Encode(ConsentedOffer(), shortest.size() - 1);
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().needed, shortest.size());
  EXPECT_EQ(encoded.error().limit, shortest.size() - 1);
}

// [N-20] [N-17]
TEST(EncodeDownload, HasEveryMemberInOrder) {
  EXPECT_EQ(
      Payload(DeltaDownload()),
      R"({"task":"k7Qm2ZrT","component":"mcu","package":"delta","from":"2.1","to":"2.2",)"
      R"("attempt":1,"deadlineIn":3600,"blocks":true,"files":[{"name":"mcu-2.2.delta",)"
      R"("bytes":40960,"sha256":"5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",)"
      R"("url":"http://10.0.0.5:8070/d/2f/mcu-2.2.delta"}],"expiresIn":86400,"now":1795219200})");
}

// [N-20] [N-17]
TEST(EncodeDownload, HasNoAddressAndNothingThatExpiresWithoutHttp) {
  const std::string payload = Payload(BlocksDownload());
  EXPECT_EQ(payload.find("url"), std::string::npos);
  EXPECT_FALSE(Has(payload, "expiresIn"));
  EXPECT_LT(payload.find("boot.bin"), payload.find("app.bin"));
  EXPECT_TRUE(Has(payload, "blocks"));
}

// [N-20]
TEST(EncodeDownload, SaysBlocksOnlyWhenTheyCanBeAskedFor) {
  core::Download download = DeltaDownload();
  download.blocks = false;
  EXPECT_FALSE(Has(Payload(download), "blocks"));
}

// [N-18]
TEST(EncodeDownload, IsNeverShortened) {
  const std::string payload = Payload(DeltaDownload());
  EXPECT_EQ(Payload(DeltaDownload(), payload.size()), payload);
  const auto encoded = Encode(DeltaDownload(), payload.size() - 1);
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().needed, payload.size());
}

// [N-31]
TEST(EncodeCancel, NamesTaskAndReason) {
  EXPECT_EQ(Payload(core::Cancel{"k7Qm2ZrT", "plan canceled"}),
            R"({"task":"k7Qm2ZrT","reason":"plan canceled"})");
  EXPECT_EQ(Payload(core::Cancel{"k7Qm2ZrT", ""}), R"({"task":"k7Qm2ZrT"})");
}

// [N-18]
TEST(EncodeCancel, CutsItsReasonToFit) {
  EXPECT_EQ(Payload(core::Cancel{"k7Qm2ZrT", "plan canceled"}, 40),
            R"({"task":"k7Qm2ZrT","reason":"plan canc"})");
}

TEST(EncodeReply, HasEveryMemberInOrder) {
  core::Reply reply = ReplyOf("block", core::ReplyCode::kUnavailable);
  reply.id = "7";
  reply.task = "k7Qm2ZrT";
  reply.message = "m";
  reply.warning = "w";
  reply.retry_after = core::seconds(5);
  reply.again = core::seconds(6);
  EXPECT_EQ(Payload(reply),
            R"({"id":"7","to":"block","task":"k7Qm2ZrT","code":503,"message":"m","warning":"w",)"
            R"("retryAfter":5,"again":6})");
}

// [N-17]
TEST(EncodeReply, HasTheTimeWhenItAnswersAVersion) {
  for (const char* to : {"version", "confirm", "progress", "block"}) {
    const std::string payload = Payload(ReplyOf(to, core::ReplyCode::kOk));
    EXPECT_EQ(Has(payload, "now"), to == std::string("version"));
  }
}

TEST(EncodeReply, HasTheNumberOfEachCode) {
  for (const int code : {200, 400, 403, 404, 409, 410, 413, 416, 429, 503}) {
    EXPECT_EQ(Payload(ReplyOf("block", static_cast<core::ReplyCode>(code))),
              R"({"to":"block","code":)" + std::to_string(code) + "}");
  }
}

// [N-18]
TEST(EncodeReply, CutsWarningThenMessageToFit) {
  core::Reply reply = ReplyOf("confirm", core::ReplyCode::kMalformed);
  reply.id = "7";
  reply.message = std::string(600, 'm');
  reply.warning = std::string(600, 'w');
  EXPECT_TRUE(Has(Payload(reply, 700), "warning"));
  EXPECT_NE(Payload(reply, 700).find(reply.message), std::string::npos);
  for (std::size_t max_bytes = 512; max_bytes <= 1300; ++max_bytes) {
    const auto encoded = Encode(reply, max_bytes);
    ASSERT_TRUE(encoded) << max_bytes;
    EXPECT_LE(encoded->payload.size(), max_bytes);
    EXPECT_GE(encoded->payload.size(), std::min<std::size_t>(max_bytes - 14, 1240));
  }
}

// [N-18]
TEST(EncodeReply, TheLargestFitsTheSmallestDevice) {
  core::Reply reply = ReplyOf("version", core::ReplyCode::kMalformed);
  std::string id;
  for (int i = 0; i < 64; ++i) {
    id += "\xF0\x9F\x98\x80";
  }
  reply.id = id;
  reply.task = std::string(64, '"');
  reply.message = std::string(1000, '\\') + "\xE2\x82\xAC" + std::string(1000, '\xff');
  reply.warning = reply.message;
  reply.retry_after = core::seconds(604800);
  reply.again = core::seconds(604800);
  const auto encoded = Encode(reply, 512);
  ASSERT_TRUE(encoded) << encoded.error().needed;
  EXPECT_LE(encoded->payload.size(), 512U);
  EXPECT_TRUE(json::Parse(encoded->payload, 512));
}

// [N-18]
TEST(Encode, AnyTextBecomesOneJsonObject) {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) {
    every_byte += static_cast<char>(byte);
  }
  core::Offer offer = SpringOffer();
  offer.text = offer.plan = every_byte;
  offer.tags = {{every_byte, every_byte}};
  core::Download download = DeltaDownload();
  download.files[0].name = every_byte;
  core::Reply reply = Replies()[0];
  reply.message = reply.warning = every_byte;
  for (const core::Downlink& downlink :
       {core::Downlink(offer), core::Downlink(download), core::Downlink(reply),
        core::Downlink(core::Cancel{"k7Qm2ZrT", every_byte})}) {
    for (const std::size_t max_bytes : {512U, 700U, 1000U, 65536U}) {
      const auto encoded = Encode(downlink, max_bytes);
      if (encoded) {
        EXPECT_TRUE(json::Parse(encoded->payload, max_bytes));
      } else {
        EXPECT_GT(encoded.error().needed, max_bytes);
      }
    }
  }
}

// [N-28] [N-2]
TEST(EncodeBlock, PutsRefAndOffsetIntoTheTopic) {
  const std::string bytes("\0\xff{}", 4);
  core::BlockGrant grant;
  grant.ref = "b3";
  const int kQos[][2] = {{0, 0}, {1, 1}, {2, 1}};
  for (const auto& [asked, given] : kQos) {
    const Encoded block =
        Dialects().front().encode_block(kDevice, grant, 9007199254740991, bytes, asked);
    EXPECT_EQ(block.topic, "ota/v1/pump/d-1/down/block/b3/9007199254740991");
    EXPECT_EQ(block.payload, bytes);
    EXPECT_EQ(block.qos, given);
  }
}

// The table of names is the wire's. [N-15] [N-24]
TEST(Names, AreThoseOfTheProtocol) {
  using core::ComponentType;
  EXPECT_EQ(core::Name(ComponentType::kFirmware), "firmware");
  EXPECT_EQ(core::Name(ComponentType::kModule), "module");
  EXPECT_EQ(core::Name(ComponentType::kMcu), "mcu");
  EXPECT_EQ(core::Name(ComponentType::kSoftware), "software");
  EXPECT_EQ(core::Name(ComponentType::kDriver), "driver");
  EXPECT_EQ(core::Name(ComponentType::kConfig), "config");
  EXPECT_EQ(core::Name(ComponentType::kOther), "other");
}

}  // namespace
}  // namespace ota::dialect
