// The Alibaba dialect, byte for byte: what real devices send is understood, what they get is what
// they can read.
#include "dialect/alibaba.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "dialect/cloud_text.h"
#include "dialect/downlinks.h"
#include "dialect/uplink_text.h"

namespace ota::dialect::alibaba {
namespace {

const core::DeviceKey kDevice{"a1TestPK01", "dev001"};
constexpr Limits kLimits{.max_bytes = 2048, .now = core::Instant(core::Duration(1777439217705))};
constexpr char kMd5[] = "6d82707846ef42ae4db73bc71f7ca9e4";

core::Download Full() {
  core::Download download;
  download.task = "k7Qm2ZrT";
  download.component = "default";
  download.from = "1.0.0";
  download.to = "2.0.0";
  download.files = {FileOf("a.bin", 30000, "ab")};
  download.files[0].id = 1397345;
  download.files[0].md5 = kMd5;
  download.urls = {"http://127.0.0.1:18080/a.bin"};
  return download;
}

std::string Payload(const core::Downlink& downlink) {
  const auto encoded = Encode(kDevice, downlink, kLimits);
  return encoded ? encoded->payload : "too large";
}

core::Reply Answer(UplinkKind to, core::ReplyCode code = core::ReplyCode::kOk) {
  core::Reply reply;
  reply.to = UplinkName(to);
  reply.id = "19";
  reply.code = code;
  return reply;
}

// What an uplink is, as its native text; or why it is refused.
std::string Read(UplinkKind kind, std::string_view payload) {
  const auto uplink = Decode(kind, payload);
  return uplink
             ? UplinkText::Of(*uplink)
             : std::to_string(static_cast<int>(uplink.error().code)) + " " + uplink.error().message;
}

// ---------------------------------------------------------------- what devices get

TEST(AlibabaPush, IsWhatTheRealPlatformSends) {
  const auto encoded = Encode(kDevice, Full(), kLimits);
  ASSERT_TRUE(encoded);
  EXPECT_EQ(encoded->topic, "/ota/device/upgrade/a1TestPK01/dev001");
  EXPECT_TRUE(encoded->addressed);
  EXPECT_EQ(encoded->qos, 1);
  EXPECT_EQ(encoded->payload,
            R"({"code":"1000","data":{"size":30000,"sign":"6d82707846ef42ae4db73bc71f7ca9e4",)"
            R"("version":"2.0.0","signMethod":"Md5","url":"http://127.0.0.1:18080/a.bin",)"
            R"("md5":"6d82707846ef42ae4db73bc71f7ca9e4"},"id":1777439217705,"message":"success"})");
}

TEST(AlibabaPush, OverMqttNamesTheStreamInstead) {
  core::Download download = Full();
  download.urls.clear();
  EXPECT_EQ(Payload(download),
            R"({"code":"1000","data":{"size":30000,"streamId":1397345,)"
            R"("sign":"6d82707846ef42ae4db73bc71f7ca9e4","dProtocol":"mqtt","version":"2.0.0",)"
            R"("signMethod":"Md5","streamFileId":1,"md5":"6d82707846ef42ae4db73bc71f7ca9e4"},)"
            R"("id":1777439217705,"message":"success"})");
}

TEST(AlibabaPush, WithEverythingKeepsTheOrder) {
  core::Download download = Full();
  download.component = "MCU";
  download.package = core::PackageKind::kDelta;
  download.tags = {{"ring", "1"}, {"size", "x"}, {"version", "EVIL"}};
  EXPECT_EQ(Payload(download),
            R"({"code":"1000","data":{"size":30000,"extData":{"ring":"1"},"module":"MCU",)"
            R"("sign":"6d82707846ef42ae4db73bc71f7ca9e4","version":"2.0.0","signMethod":"Md5",)"
            R"("url":"http://127.0.0.1:18080/a.bin","isDiff":1,)"
            R"("md5":"6d82707846ef42ae4db73bc71f7ca9e4"},"id":1777439217705,"message":"success"})");
}

TEST(AlibabaPush, CarriesTheSignatureOfASignedPackage) {
  core::Download download = Full();
  EXPECT_EQ(Payload(download).find("digestsign"), std::string::npos);
  download.signature = "\x01\x02\x03";
  EXPECT_NE(Payload(download).find(R"("data":{"size":30000,"digestsign":"AQID","sign":)"),
            std::string::npos);
}

TEST(AlibabaPush, HasFilesOnlyForMoreThanOne) {
  core::Download download = Full();
  EXPECT_EQ(Payload(download).find("files"), std::string::npos);
  download.files.push_back(FileOf("b.bin", 50001, "cd"));
  download.files[1].md5 = "a45b9df4661f37cf965b3efa393c8a96";
  download.urls.emplace_back("http://h/b.bin");
  download.to = "3.0.0";
  EXPECT_EQ(
      Payload(download),
      R"({"code":"1000","data":{"files":[{"fileSize":30000,"fileName":"a.bin",)"
      R"("fileUrl":"http://127.0.0.1:18080/a.bin","fileMd5":"6d82707846ef42ae4db73bc71f7ca9e4",)"
      R"("fileSign":"6d82707846ef42ae4db73bc71f7ca9e4"},{"fileSize":50001,"fileName":"b.bin",)"
      R"("fileUrl":"http://h/b.bin","fileMd5":"a45b9df4661f37cf965b3efa393c8a96",)"
      R"("fileSign":"a45b9df4661f37cf965b3efa393c8a96"}],"version":"3.0.0","signMethod":"Md5"},)"
      R"("id":1777439217705,"message":"success"})");
}

TEST(AlibabaPush, IsCompactAndEscapesNoSlash) {
  core::Download download = Full();
  download.tags = {{"note", "a \"quoted\"\nline \\ /"}};
  const std::string payload = Payload(download);
  EXPECT_EQ(payload.find("\": "), std::string::npos);
  EXPECT_EQ(payload.find("\\/"), std::string::npos);
  EXPECT_NE(payload.find(R"("extData":{"note":"a \"quoted\"\nline \\ /"})"), std::string::npos);
}

TEST(AlibabaPush, LeavesTagsOutBeforeItIsTooLong) {
  core::Download download = Full();
  download.tags = {{"long", std::string(1900, 'x')}};
  EXPECT_EQ(Payload(download), Payload(Full()));
  download.urls[0] = "http://h/" + std::string(2000, 'x');
  const auto encoded = Encode(kDevice, download, kLimits);
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().limit, 2048U);
  EXPECT_GT(encoded.error().needed, 2048U);
}

TEST(AlibabaReply, CarriesTheTaskOrNothing) {
  core::Reply reply = Answer(UplinkKind::kQuery);
  auto encoded = Encode(kDevice, reply, kLimits);
  ASSERT_TRUE(encoded);
  EXPECT_EQ(encoded->topic, "/sys/a1TestPK01/dev001/thing/ota/firmware/get_reply");
  EXPECT_TRUE(encoded->addressed);
  EXPECT_EQ(encoded->payload, R"({"id":"19","code":200,"data":{}})");
  reply.download = Full();
  EXPECT_EQ(Payload(reply),
            R"({"id":"19","code":200,"data":{"size":30000,)"
            R"("sign":"6d82707846ef42ae4db73bc71f7ca9e4","version":"2.0.0","signMethod":"Md5",)"
            R"("url":"http://127.0.0.1:18080/a.bin","md5":"6d82707846ef42ae4db73bc71f7ca9e4"}})");
}

TEST(AlibabaReply, IsMadeForQuestionsAlone) {
  for (const UplinkKind to : {UplinkKind::kVersion, UplinkKind::kProgress}) {
    for (const auto code : {core::ReplyCode::kOk, core::ReplyCode::kMalformed}) {
      EXPECT_EQ(Encode(kDevice, Answer(to, code), kLimits)->topic, "");
    }
  }
  EXPECT_EQ(Encode(kDevice, Answer(UplinkKind::kBlock), kLimits)->topic, "");
  EXPECT_EQ(Encode(kDevice, SpringOffer(), kLimits)->topic, "");
  EXPECT_EQ(Encode(kDevice, core::Cancel{"k7Qm2ZrT", "plan canceled"}, kLimits)->topic, "");
  core::Reply blind = Answer(UplinkKind::kQuery, core::ReplyCode::kTooMany);
  blind.id.reset();
  EXPECT_EQ(Encode(kDevice, blind, kLimits)->topic, "");
}

// The vector of alibaba.md.
TEST(AlibabaBlock, IsHeaderBytesAndCrcLowByteFirst) {
  core::BlockGrant grant;
  grant.file.bytes = 4;
  grant.ref = "default";
  grant.id = "7";
  const Encoded block = EncodeBlock(kDevice, grant, 0, "\xDE\xAD\xBE\xEF", 0);
  EXPECT_EQ(block.topic, "/sys/a1TestPK01/dev001/thing/file/download_reply");
  EXPECT_TRUE(block.addressed);
  EXPECT_EQ(block.qos, 0);
  const std::string header =
      R"({"id":"7","code":200,"data":{"fileToken":"default","fileLength":4,"bSize":4,"bOffset":0}})";
  EXPECT_EQ(block.payload, std::string("\0\x59", 2) + header + "\xDE\xAD\xBE\xEF" + "\x9B\xE5");
}

TEST(AlibabaBlock, ChecksumIsCrc16Arc) {
  core::BlockGrant grant;
  grant.file.bytes = 9;
  EXPECT_TRUE(
      EncodeBlock(kDevice, grant, 0, "123456789", 0).payload.ends_with("123456789\x3D\xBB"));
}

TEST(AlibabaBlock, ErrorSaysWhyAndHasNoBytes) {
  core::Reply reply = Answer(UplinkKind::kBlock, core::ReplyCode::kOffset);
  reply.message = "offset: the file has 4 bytes";
  const std::string header = R"({"id":"19","code":416,"msg":"offset: the file has 4 bytes"})";
  const auto encoded = Encode(kDevice, reply, kLimits);
  EXPECT_EQ(encoded->topic, "/sys/a1TestPK01/dev001/thing/file/download_reply");
  const std::string length(1, static_cast<char>(header.size()));
  EXPECT_EQ(encoded->payload, std::string(1, '\0') + length + header + std::string(2, '\0'));
}

TEST(AlibabaBlock, WhatCanBeHadLaterIsNotRefused) {
  for (const auto code : {core::ReplyCode::kUnavailable, core::ReplyCode::kTooMany}) {
    EXPECT_EQ(Encode(kDevice, Answer(UplinkKind::kBlock, code), kLimits)->topic, "");
  }
}

// ---------------------------------------------------------------- what devices send

TEST(AlibabaDecode, UnderstandsWhatRealDevicesSend) {
  const struct {
    UplinkKind kind;
    const char* payload;
    const char* meaning;
  } kRows[] = {
      {UplinkKind::kVersion, R"({"id":1, "params":{"version":"1.0.0"}})",
       R"({"components":{"default":"1.0.0"},"request":false,"trial":[],"full":false})"},
      {UplinkKind::kVersion, R"({"id":"2","params":{"version":"app-1.0.0-20180101.1000"}})",
       R"({"components":{"default":"app-1.0.0-20180101.1000"},"request":false,"trial":[],"full":false})"},
      {UplinkKind::kVersion, R"({"id":"17","params":{"version":"1.0.0","module":"MCU"}})",
       R"({"components":{"MCU":"1.0.0"},"request":false,"trial":[],"full":false})"},
      {UplinkKind::kVersion,
       R"({"params" : { "version":"1.0.0" , "module" : "default" , },"method":"x",})",
       R"({"components":{"default":"1.0.0"},"request":false,"trial":[],"full":false})"},
      {UplinkKind::kProgress, R"({"id":2, "params":{"step":"0","desc":""}})",
       R"({"task":"","component":"","state":"downloading","percent":0,"message":""})"},
      {UplinkKind::kProgress,
       R"({"id":0,"params":{"step":"27","desc":"Enter in downloading state"}})",
       R"({"task":"","component":"","state":"downloading","percent":27,"message":"Enter in downloading state"})"},
      {UplinkKind::kProgress, R"({"params":{"step":55,"module":"MCU"}})",
       R"({"task":"","component":"MCU","state":"downloading","percent":55,"message":""})"},
      {UplinkKind::kProgress, R"({"id":6, "params":{"step":"100","desc":""}})",
       R"({"task":"","component":"","state":"downloaded","percent":100,"message":""})"},
      {UplinkKind::kProgress, R"({"id":39, "params":{"step":"-4","desc":"flash"}})",
       R"({"task":"","component":"","state":"failed","code":-4,"message":"flash"})"},
      {UplinkKind::kQuery, R"({"id":2, "params":{}})",
       R"({"id":"2","components":{},"request":true,"trial":[],"full":false,"query":"default"})"},
      {UplinkKind::kQuery,
       R"({"id":"19","version":"1.0","params":{"module":"MCU"},"method":"thing.ota.firmware.get"})",
       R"({"id":"19","components":{},"request":true,"trial":[],"full":false,"query":"MCU"})"},
      {UplinkKind::kBlock,
       R"({"id":"1","version":"1.0","params":{"fileToken":"default","fileInfo":{"streamId":1397345,"fileId":1,},"fileBlock":{"size":10240,"offset":0}}})",
       R"({"id":"1","task":"","component":"","file":0,"ref":"default","offset":0,"length":10240,"count":1,"fileId":1397345})"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Read(row.kind, row.payload), row.meaning) << row.payload;
  }
}

TEST(AlibabaDecode, RefusesWhatItCannotMean) {
  const struct {
    UplinkKind kind;
    const char* payload;
    const char* why;
  } kRows[] = {
      {UplinkKind::kVersion, "", "400 payload: malformed JSON at byte 0: The document is empty."},
      {UplinkKind::kVersion, "[]", "400 payload: must be a JSON object"},
      {UplinkKind::kVersion, R"({"params":{"version":""}})",
       "400 params.version: must be a string of 1 to 64 characters without control characters"},
      {UplinkKind::kVersion, R"({"params":{"version":"1","module":"a b"}})",
       "400 params.module: must be 1 to 64 of A-Z a-z 0-9 . _ : -"},
      {UplinkKind::kProgress, R"({"params":{"step":"101"}})",
       "400 params.step: must be an integer up to 100, or a failure code from -4"},
      {UplinkKind::kProgress, R"({"params":{"step":-5}})",
       "400 params.step: must be an integer up to 100, or a failure code from -4"},
      {UplinkKind::kProgress, R"({"params":{"step":"4294967295"}})",
       "400 params.step: must be an integer up to 100, or a failure code from -4"},
      {UplinkKind::kProgress, R"({"params":{"step":"99999999999999999999999"}})",
       "400 params.step: must be an integer up to 100, or a failure code from -4"},
      {UplinkKind::kProgress, R"({"params":{}})",
       "400 params.step: must be an integer up to 100, or a failure code from -4"},
      {UplinkKind::kBlock,
       R"({"params":{"fileInfo":{"fileId":1},"fileBlock":{"size":1,"offset":0}}})",
       "400 params.fileInfo: streamId and fileId must be integers"},
      {UplinkKind::kBlock,
       R"({"params":{"fileInfo":{"streamId":1,"fileId":1},"fileBlock":{"size":131073,"offset":0}}})",
       "400 params.fileBlock.size: must be an integer from 1 to 131072"},
      {UplinkKind::kBlock,
       R"({"params":{"fileInfo":{"streamId":1,"fileId":1},"fileBlock":{"size":1,"offset":16777217}}})",
       "416 params.fileBlock.offset: a file over MQTT has at most 16777216 bytes"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Read(row.kind, row.payload), row.why) << row.payload;
  }
}

// What devices build by hand in C: a buffer that is longer than its text, lines of files, texts of
// another encoding.
TEST(AlibabaDecode, ForgivesWhatIsAlmostJson) {
  using std::string_literals::operator""s;
  const std::string meant = Read(UplinkKind::kVersion, R"({"id":1,"params":{"version":"1.0.0"}})");
  for (const std::string& payload :
       {"{\"id\":1,\"params\":{\"version\":\"1.0.0\"}}\0"s,
        "{\"id\":1,\"params\":{\"version\":\"1.0.0\"}}\0\0\xff garbage"s,
        "{\"id\":1,\"params\":{\"version\":\"1.0.0\"}}\r\n"s,
        "{\"id\":1,\"params\":{\"version\":\"1.0.0\"}}}"s,
        "\xEF\xBB\xBF{\"id\":1,\"params\":{\"version\":\"1.0.0\"}}"s,
        "{\"id\":1,\"params\":{\"version\":\"1.0.0\",},}"s,
        "{\"id\":1,\"params\":{\"version\":\"1.0.0\",\"x\":\"\xc4\xe3\t\"}}"s}) {
    EXPECT_EQ(Read(UplinkKind::kVersion, payload), meant) << payload;
  }
  EXPECT_EQ(Read(UplinkKind::kProgress,
                 "{\"id\":2,\"params\":{\"step\":\"-1\",\"desc\":\"\xc4\xe3 a\tb\"}}"),
            "{\"task\":\"\",\"component\":\"\",\"state\":\"failed\",\"code\":-1,"
            "\"message\":\"\xEF\xBF\xBD\xEF\xBF\xBD a b\"}");
  for (const char* payload :
       {R"({"params":{"version":"1\u0000"}})", R"({"params":{"version":"1"},"params":{}})",
        R"({'params':{'version':'1'}})", R"({"params":{"version":"1.0.0")"}) {
    EXPECT_TRUE(Read(UplinkKind::kVersion, payload).starts_with("400 payload")) << payload;
  }
}

TEST(AlibabaDecode, UnderstandsWhatItWouldWriteItself) {
  const std::pair<UplinkKind, const char*> kRows[] = {
      {UplinkKind::kVersion, R"({"params":{"version":"1.0 \"x\"","module":"MCU"}})"},
      {UplinkKind::kProgress, R"({"params":{"step":"-2","desc":"a\nb"}})"},
      {UplinkKind::kQuery, R"({"id":"7","params":{"module":"a b"}})"},
      {UplinkKind::kBlock,
       R"({"id":7,"params":{"fileInfo":{"streamId":1,"fileId":1},"fileBlock":{"size":256,"offset":5}}})"},
  };
  for (const auto& [kind, payload] : kRows) {
    const auto uplink = Decode(kind, payload);
    ASSERT_TRUE(uplink) << payload;
    EXPECT_EQ(Read(kind, AlibabaText(*uplink)), UplinkText::Of(*uplink));
  }
}

// ---------------------------------------------------------------- topics

TEST(AlibabaTopics, AreWhoseAndWhichWay) {
  const struct {
    const char* topic;
    bool ours, system;
    const char* device;
    Direction direction;
    std::optional<UplinkKind> kind;
  } kRows[] = {
      {"/ota/device/inform/P/D", true, false, "D", Direction::kUp, UplinkKind::kVersion},
      {"/ota/device/progress/P/D", true, false, "D", Direction::kUp, UplinkKind::kProgress},
      {"/ota/device/request/P/D", true, false, "D", Direction::kUp, UplinkKind::kVersion},
      {"/ota/device/upgrade/P/D", true, false, "D", Direction::kDown, {}},
      {"/ota/device/other/P/D", true, false, "D", Direction::kNone, {}},
      {"/ota/device/inform/P/D/x", true, false, "", Direction::kNone, {}},
      {"/ota/device/inform/P", true, false, "", Direction::kNone, {}},
      {"/sys/P/D/thing/ota/firmware/get", true, false, "D", Direction::kUp, UplinkKind::kQuery},
      {"/sys/P/D/thing/ota/firmware/get_reply", true, false, "D", Direction::kDown, {}},
      {"/sys/P/D/thing/file/download", true, false, "D", Direction::kUp, UplinkKind::kBlock},
      {"/sys/P/D/thing/file/download_reply", true, false, "D", Direction::kDown, {}},
      {"/sys/P/D/thing/event/property/post", false, true, "D", Direction::kNone, {}},
      {"/sys/P", false, true, "", Direction::kNone, {}},
      {"/shadow/get/P/D", false, true, "D", Direction::kNone, {}},
      {"/ext/session/P/D/combine/login_reply", false, true, "D", Direction::kNone, {}},
      {"/ext/ntp/P/D/response", false, true, "D", Direction::kNone, {}},
      {"/ext/error/P/D", false, true, "D", Direction::kNone, {}},
      {"/ext/register", false, false, "", Direction::kNone, {}},
      {"/ota/devices", false, false, "", Direction::kNone, {}},
  };
  for (const auto& row : kRows) {
    const TopicClass topic = ClassifyTopic(row.topic);
    EXPECT_EQ(topic.ours, row.ours) << row.topic;
    EXPECT_EQ(topic.system, row.system) << row.topic;
    EXPECT_EQ(topic.device, row.device) << row.topic;
    EXPECT_EQ(topic.direction, row.direction) << row.topic;
    EXPECT_EQ(topic.kind, row.kind) << row.topic;
  }
  EXPECT_TRUE(TakesOver("/ota/device/upgrade/P/D"));
  EXPECT_FALSE(TakesOver("ota/v1/P/D/down/#"));
}

}  // namespace
}  // namespace ota::dialect::alibaba
