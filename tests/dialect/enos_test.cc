// The EnOS dialect, byte for byte.
#include "dialect/enos.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "dialect/cloud_text.h"
#include "dialect/downlinks.h"
#include "dialect/uplink_text.h"

namespace ota::dialect::enos {
namespace {

const core::DeviceKey kDevice{"pkA1", "dkB2"};
constexpr Limits kLimits{.max_bytes = 2048, .now = core::Instant(core::Duration(1777439217705))};

core::Download Full() {
  core::Download download;
  download.task = "t1";
  download.component = "default";
  download.attempt = 2;
  download.to = "1.1.0";
  download.files = {FileOf("1.1.0.bin", 183204, "5f70bf18")};
  download.urls = {"http://127.0.0.1:8081/fw/1.1.0.bin"};
  return download;
}

core::Reply Answer(UplinkKind to) {
  core::Reply reply;
  reply.to = UplinkName(to);
  reply.id = "3";
  return reply;
}

std::string Read(UplinkKind kind, std::string_view payload) {
  const auto uplink = Decode(kind, payload);
  return uplink
             ? UplinkText::Of(*uplink)
             : std::to_string(static_cast<int>(uplink.error().code)) + " " + uplink.error().message;
}

TEST(EnosPush, HasTheTypesThatBothSdksSurvive) {
  const auto encoded = Encode(kDevice, Full(), kLimits);
  ASSERT_TRUE(encoded);
  EXPECT_EQ(encoded->topic, "/sys/pkA1/dkB2/ota/device/upgrade");
  EXPECT_TRUE(encoded->addressed);
  EXPECT_EQ(encoded->payload,
            R"({"id":")" + PushId("t1", "default", 2) +
                R"(","version":"1.0","method":"ota.device.upgrade","params":)"
                R"({"version":"1.1.0","sign":"5f70bf18","signMethod":"sha256",)"
                R"("fileUrl":"http://127.0.0.1:8081/fw/1.1.0.bin","fileSize":183204}})");
}

TEST(EnosPush, IsCalledTheSameInEachSendingOfAnAttempt) {
  EXPECT_EQ(PushId("t1", "default", 1), "639024742115055");  // stored nowhere, so it must stay
  EXPECT_TRUE(IsPushId(PushId("t1", "default", 1)));
  EXPECT_NE(PushId("t1", "default", 1), PushId("t1", "default", 2));
  EXPECT_NE(PushId("t1", "default", 1), PushId("t2", "default", 1));
  EXPECT_NE(PushId("t1", "default", 1), PushId("t1", "main", 1));
  for (const char* other : {"", "7", "1777439217705", "12345678901234a", "1234567890123456"}) {
    EXPECT_FALSE(IsPushId(other)) << other;
  }
}

TEST(EnosPush, CannotCarryMoreThan31BitsNorSeveralFilesNorBlocks) {
  core::Download download = Full();
  download.files[0].bytes = 2147483647;
  EXPECT_TRUE(Encode(kDevice, download, kLimits));
  download.files[0].bytes = 2147483648;
  EXPECT_FALSE(Encode(kDevice, download, kLimits));
  download = Full();
  download.urls.clear();
  EXPECT_FALSE(Encode(kDevice, download, kLimits));
  download = Full();
  download.files.push_back(download.files[0]);
  download.urls.push_back(download.urls[0]);
  EXPECT_FALSE(Encode(kDevice, download, kLimits));
}

TEST(EnosReply, EchoesTheIdAndKeepsTheShapeOfData) {
  const struct {
    UplinkKind to;
    const char* topic;
    const char* payload;
  } kRows[] = {
      {UplinkKind::kVersion, "/sys/pkA1/dkB2/ota/device/inform_reply",
       R"({"id":"3","code":200,"data":{}})"},
      {UplinkKind::kProgress, "/sys/pkA1/dkB2/ota/device/progress_reply",
       R"({"id":"3","code":200,"data":{}})"},
      {UplinkKind::kQuery, "/sys/pkA1/dkB2/ota/device/getversion_reply",
       R"({"id":"3","code":200,"data":[]})"},
      {UplinkKind::kConfirm, "", ""},
      {UplinkKind::kBlock, "", ""},
  };
  for (const auto& row : kRows) {
    const auto encoded = Encode(kDevice, Answer(row.to), kLimits);
    ASSERT_TRUE(encoded);
    EXPECT_EQ(encoded->topic, row.topic);
    EXPECT_EQ(encoded->payload, row.payload);
    EXPECT_EQ(encoded->addressed, !encoded->topic.empty());
  }
  core::Reply reply = Answer(UplinkKind::kQuery);
  reply.download = Full();
  EXPECT_EQ(Encode(kDevice, reply, kLimits)->payload,
            R"({"id":"3","code":200,"data":[{"version":"1.1.0","sign":"5f70bf18",)"
            R"("signMethod":"sha256","fileUrl":"http://127.0.0.1:8081/fw/1.1.0.bin",)"
            R"("fileSize":183204}]})");
  reply = Answer(UplinkKind::kVersion);
  reply.code = core::ReplyCode::kMalformed;
  reply.message = "params.version: x";
  EXPECT_EQ(Encode(kDevice, reply, kLimits)->payload,
            R"({"id":"3","code":400,"data":{},"message":"params.version: x"})");
  reply.id.reset();
  EXPECT_EQ(Encode(kDevice, reply, kLimits)->topic, "");
}

TEST(EnosDecode, UnderstandsBothSdks) {
  const struct {
    UplinkKind kind;
    const char* payload;
    const char* meaning;
  } kRows[] = {
      {UplinkKind::kVersion,
       R"({"id": "1", "version": "1.0", "method": "ota.inform", "params": {"version": "1.0"}})",
       R"({"id":"1","components":{"":"1.0"},"request":false,"trial":[],"full":false})"},
      {UplinkKind::kVersion,
       R"({"method":"ota.device.inform","id":"1","params":{"version":"1.0"},"version":"1.1"})",
       R"({"id":"1","components":{"":"1.0"},"request":false,"trial":[],"full":false})"},
      {UplinkKind::kVersion, R"({"id":9007199254740993,"params":{"version":1.10}})",
       R"({"id":"9007199254740993","components":{"":"1.10"},"request":false,"trial":[],"full":false})"},
      {UplinkKind::kProgress,
       R"({"method":"ota.device.progress","id":"3","params":{"step":"20","desc":"d20"},"version":"1.1"})",
       R"({"id":"3","task":"","component":"","state":"downloading","percent":20,"message":"d20"})"},
      {UplinkKind::kProgress, R"({"id":"3","params":{"step":-5}})",
       R"({"id":"3","task":"","component":"","state":"failed","code":-5,"message":""})"},
      {UplinkKind::kProgress, R"({"id":"3","params":{"step":"-1000"}})",
       R"({"id":"3","task":"","component":"","state":"failed","code":-1000,"message":""})"},
      {UplinkKind::kQuery, R"({"id": "2", "method": "Ota.device.getversion", "params": {}})",
       R"({"id":"2","components":{},"request":true,"trial":[],"full":false,"query":""})"},
      {UplinkKind::kConfirm, R"({"code":200,"data":"","id":"7","message":""})",
       R"({"id":"7","task":"","accept":true,"reason":""})"},
      {UplinkKind::kConfirm, R"({"id":"7","code":"1101","message":"not registered"})",
       R"({"id":"7","task":"","accept":false,"reason":"upgrade_reply 1101: not registered","retryAfter":300})"},
      {UplinkKind::kConfirm, R"({"id":"7","code":2001})",
       R"({"id":"7","task":"","component":"","state":"failed","code":-5,"message":"upgrade_reply 2001"})"},
      {UplinkKind::kConfirm, R"({"id":"7"})", "400 code: must be an integer"},
      {UplinkKind::kProgress, R"({"params":{"step":"101"}})",
       "400 params.step: must be an integer up to 100, or a failure code from -2147483648"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Read(row.kind, row.payload), row.meaning) << row.payload;
  }
}

TEST(EnosDecode, UnderstandsWhatItWouldWriteItself) {
  const std::pair<UplinkKind, const char*> kRows[] = {
      {UplinkKind::kVersion, R"({"id":1,"params":{"version":1e3}})"},
      {UplinkKind::kProgress, R"({"params":{"step":" 12.5 ","desc":7}})"},
      {UplinkKind::kQuery, R"({"id":"7"})"},
      {UplinkKind::kConfirm, R"({"id":"7","code":"0500","message":": : x"})"},
      {UplinkKind::kConfirm, R"({"id":"7","code":99999,"message":""})"},
  };
  for (const auto& [kind, payload] : kRows) {
    const auto uplink = Decode(kind, payload);
    ASSERT_TRUE(uplink) << payload;
    EXPECT_EQ(Read(kind, EnosText(*uplink)), UplinkText::Of(*uplink));
  }
}

TEST(EnosTopics, AreWhoseAndWhichWay) {
  const struct {
    const char* name;
    Direction direction;
    std::optional<UplinkKind> kind;
  } kRows[] = {
      {"inform", Direction::kUp, UplinkKind::kVersion},
      {"progress", Direction::kUp, UplinkKind::kProgress},
      {"getversion", Direction::kUp, UplinkKind::kQuery},
      {"upgrade_reply", Direction::kUp, UplinkKind::kConfirm},
      {"upgrade", Direction::kDown, {}},
      {"inform_reply", Direction::kDown, {}},
      {"progress_reply", Direction::kDown, {}},
      {"getversion_reply", Direction::kDown, {}},
      {"request", Direction::kNone, {}},
      {"inform/x", Direction::kNone, {}},
  };
  for (const auto& row : kRows) {
    const std::string text = std::string("/sys/pkA1/dkB2/ota/device/") + row.name;
    const TopicClass topic = ClassifyTopic(text);
    EXPECT_TRUE(topic.ours && !topic.system) << text;
    EXPECT_EQ(topic.product, "pkA1");
    EXPECT_EQ(topic.device, "dkB2");
    EXPECT_EQ(topic.direction, row.direction) << text;
    EXPECT_EQ(topic.kind, row.kind) << text;
    EXPECT_EQ(FindDialect(text)->name, "enos");
  }
  EXPECT_FALSE(ClassifyTopic("/sys/pkA1/dkB2/ota/other").ours);
}

}  // namespace
}  // namespace ota::dialect::enos
