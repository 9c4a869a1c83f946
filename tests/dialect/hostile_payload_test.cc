// Payloads that no device should send. Each is answered with its code and a message that names the
// member (or the payload), and none does anything else. [N-5] [N-6]
#include <string>

#include <gtest/gtest.h>

#include "dialect/dialect.h"
#include "dialect/json.h"

namespace ota::dialect {
namespace {

using core::ReplyCode;
using std::string_literals::operator""s;

constexpr UplinkKind kVersion = UplinkKind::kVersion;
constexpr UplinkKind kConfirm = UplinkKind::kConfirm;
constexpr UplinkKind kProgress = UplinkKind::kProgress;
constexpr UplinkKind kBlock = UplinkKind::kBlock;

struct Row {
  UplinkKind kind;
  std::string payload;
  std::string named;  // what the message begins with
  ReplyCode code = ReplyCode::kMalformed;
};

std::string Repeat(const std::string& text, int count) {
  std::string repeated;
  for (int i = 0; i < count; ++i) {
    repeated += text;
  }
  return repeated;
}

// A progress report and a block request with `member` in place of the right one.
std::string ProgressWith(const std::string& task, const std::string& component,
                         const std::string& state) {
  return "{\"task\":" + task + ",\"component\":" + component + ",\"state\":" + state + "}";
}
std::string BlockWith(const std::string& file, const std::string& ref, const std::string& offset,
                      const std::string& length, const std::string& count) {
  return R"({"task":"k7Qm2ZrT","component":"mcu","file":)" + file + ",\"ref\":" + ref +
         ",\"offset\":" + offset + ",\"length\":" + length + ",\"count\":" + count + "}";
}

std::vector<Row> Rows() {
  const std::string task = "\"k7Qm2ZrT\"";
  const std::string mcu = "\"mcu\"";
  std::vector<Row> rows = {
      // no JSON object
      {kVersion, "", "payload"},
      {kVersion, " \n\t", "payload"},
      {kVersion, "null", "payload"},
      {kVersion, "true", "payload"},
      {kVersion, "7", "payload"},
      {kVersion, "\"components\"", "payload"},
      {kVersion, "[]", "payload"},
      {kVersion, R"([{"components":{"main":"1"}}])", "payload"},
      {kVersion, "hello", "payload"},
      {kVersion, "components=main:1", "payload"},
      {kVersion, "<components/>", "payload"},
      {kVersion, "\x16\x03\x01\x02"s, "payload"},
      {kVersion, std::string(16384, '\xff'), "payload"},
      {kVersion, std::string(16384, '\0'), "payload"},
      // broken JSON
      {kVersion, R"({"components":{"main":"1"})", "payload"},
      {kVersion, R"({"components":{"main":"1"}},)", "payload"},
      {kVersion, R"({"components":{"main":"1"}}})", "payload"},
      {kVersion, R"({"components":{"main":"1"},})", "payload"},
      {kVersion, R"({"components":{"main":"1",}})", "payload"},
      {kVersion, R"({"components":{"main":"1"}}{"components":{"main":"1"}})", "payload"},
      {kVersion, R"({"components":{"main":"1"}} // done)", "payload"},
      {kVersion, R"({'components':{'main':'1'}})", "payload"},
      {kVersion, R"({components:{main:"1"}})", "payload"},
      {kVersion, R"({"components":{"main":"1})", "payload"},
      {kVersion, R"({"components":{"main":"\q"}})", "payload"},
      {kVersion, R"({"components":{"main":"1"},"battery":083})", "payload"},
      {kVersion, R"({"components":{"main":"1"},"battery":NaN})", "payload"},
      {kVersion, R"({"components":{"main":"1"},"battery":1e999})", "payload"},
      {kVersion, R"({"components":{"main":"1"},"battery":)" + std::string(400, '9') + "}",
       "payload"},
      {kVersion, "\xEF\xBB\xBF{\"components\":{\"main\":\"1\"}}", "payload"},
      // bytes that are not allowed
      {kVersion, "{\"components\":{\"main\":\"1\"}}\0"s, "payload: NUL"},
      {kVersion, "\0{\"components\":{\"main\":\"1\"}}"s, "payload: NUL"},
      {kVersion, "{\"components\":{\"main\":\"1\0\"}}"s, "payload: NUL"},
      {kVersion, R"({"components":{"main":"1\u0000"}})", "payload: NUL"},
      {kVersion, R"({"components":{"ma\u0000in":"1"}})", "payload: NUL"},
      {kVersion, R"({"components":{"main":"1"},"x":["\u0000"]})", "payload: NUL"},
      {kVersion, "{\"components\":{\"main\":\"\xff\"}}", "payload: a string is not valid UTF-8"},
      {kVersion, "{\"components\":{\"main\":\"\xc0\xaf\"}}", "payload: a string is not valid"},
      {kVersion, "{\"components\":{\"main\":\"\xed\xa0\x80\"}}", "payload: a string is not valid"},
      {kVersion, "{\"components\":{\"main\":\"\xe2\x82\"}}", "payload: a string is not valid"},
      {kVersion, "{\"\xfe\":0,\"components\":{\"main\":\"1\"}}", "payload: a string is not valid"},
      {kVersion, R"({"components":{"main":"\ud800"}})", "payload"},
      {kVersion, R"({"components":{"main":"\udc00"}})", "payload: a string is not valid"},
      {kVersion, "{\"components\":{\"main\":\"1\n\"}}", "payload"},
      // depth and size
      {kVersion, Repeat("[", 16384), "payload: nested deeper"},
      {kVersion, Repeat("{\"a\":", 3276), "payload: nested deeper"},
      {kVersion, R"({"components":{"main":"1"},"x":)" + Repeat("[", 8) + Repeat("]", 8) + "}",
       "payload: nested deeper"},
      {kVersion, std::string(16385, ' '), "payload", ReplyCode::kTooLarge},
      {kVersion, "{\"a\":\"" + std::string(1 << 20, 'x') + "\"}", "payload", ReplyCode::kTooLarge},
      // repeated names
      {kVersion, R"({"components":{"main":"1"},"components":{"main":"2"}})",
       "payload: repeated member 'components'"},
      {kVersion, R"({"components":{"main":"1","main":"2"}})", "payload: repeated member 'main'"},
      {kVersion, R"({"components":{"main":"1","m\u0061in":"2"}})",
       "payload: repeated member 'main'"},
      {kVersion, R"({"components":{"main":"1"},"x":[{"y":1,"y":1}]})",
       "payload: repeated member 'y'"},
      {kVersion, "{" + Repeat("\"a\":1,", 2700) + "\"b\":1}", "payload: repeated member 'a'"},
      // components
      {kVersion, "{}", "components: is missing"},
      {kVersion, R"({"Components":{"main":"1"}})", "components: is missing"},
      {kVersion, R"({"components":null})", "components: must be an object"},
      {kVersion, R"({"components":[]})", "components: must be an object"},
      {kVersion, R"({"components":"main"})", "components: must be an object"},
      {kVersion, R"({"components":1})", "components: must be an object"},
      {kVersion, R"({"components":true})", "components: must be an object"},
      {kVersion, R"({"components":{}})", "components: must have 1 to 32 members"},
      {kVersion, R"({"components":{"":"1"}})", "components."},
      {kVersion, R"({"components":{"a/b":"1"}})", "components.a/b"},
      {kVersion, R"({"components":{"a b":"1"}})", "components.a b"},
      {kVersion, R"({"components":{"a\nb":"1"}})", "components.a b"},
      {kVersion, R"({"components":{"mäin":"1"}})", "components.mäin"},
      {kVersion, R"({"components":{")" + std::string(65, 'a') + R"(":"1"}})", "components.a"},
      {kVersion, R"({"components":{"main":""}})", "components.main"},
      {kVersion, R"({"components":{"main":1}})", "components.main"},
      {kVersion, R"({"components":{"main":1.0}})", "components.main"},
      {kVersion, R"({"components":{"main":null}})", "components.main"},
      {kVersion, R"({"components":{"main":["1"]}})", "components.main"},
      {kVersion, R"({"components":{"main":{"version":"1"}}})", "components.main"},
      {kVersion, R"({"components":{"main":"1\t"}})", "components.main"},
      {kVersion, R"({"components":{"main":"1\u007f"}})", "components.main"},
      {kVersion, R"({"components":{"main":")" + std::string(65, '1') + "\"}}", "components.main"},
      {kVersion, R"({"components":{"main":"1","mcu":false}})", "components.mcu"},
      // confirm
      {kConfirm, "{}", "task: is missing"},
      {kConfirm, R"({"accept":true})", "task: is missing"},
      {kConfirm, R"({"task":"k7Qm2ZrT"})", "accept: is missing"},
      {kConfirm, R"({"task":"k7Qm2ZrT","accept":1})", "accept: must be true or false"},
      {kConfirm, R"({"task":"k7Qm2ZrT","accept":"true"})", "accept: must be true or false"},
      {kConfirm, R"({"task":"k7Qm2ZrT","accept":null})", "accept: must be true or false"},
      {kConfirm, R"({"task":"k7Qm2ZrT","accept":{}})", "accept: must be true or false"},
      {kConfirm, R"({"task":7,"accept":true})", "task: must be a string"},
      {kConfirm, R"({"task":null,"accept":true})", "task: must be a string"},
      {kConfirm, R"({"task":["k7Qm2ZrT"],"accept":true})", "task: must be a string"},
      {kConfirm, R"({"task":"","accept":true})", "task: there is no", ReplyCode::kNotFound},
      {kConfirm, R"({"task":"' OR 1=1 --","accept":true})", "task: there is no",
       ReplyCode::kNotFound},
      {kConfirm, R"({"task":")" + std::string(16000, 'k') + R"(","accept":true})",
       "task: there is no", ReplyCode::kNotFound},
      // progress
      {kProgress, "{}", "task: is missing"},
      {kProgress, R"({"task":"k7Qm2ZrT","state":"failed"})", "component: is missing"},
      {kProgress, R"({"task":"k7Qm2ZrT","component":"mcu"})", "state: is missing"},
      {kProgress, ProgressWith("7", mcu, "\"failed\""), "task: must be a string"},
      {kProgress, ProgressWith(task, "7", "\"failed\""), "component: must be a string"},
      {kProgress, ProgressWith(task, "null", "\"failed\""), "component: must be a string"},
      {kProgress, ProgressWith(task, "\"a/b\"", "\"failed\""), "component: there is no",
       ReplyCode::kNotFound},
      {kProgress, ProgressWith(task, mcu, "7"), "state: must be one of"},
      {kProgress, ProgressWith(task, mcu, "null"), "state: must be one of"},
      {kProgress, ProgressWith(task, mcu, "\"\""), "state: must be one of"},
      {kProgress, ProgressWith(task, mcu, "\"Failed\""), "state: must be one of"},
      {kProgress, ProgressWith(task, mcu, "\"rolled_back\""), "state: must be one of"},
      {kProgress, ProgressWith(task, mcu, "[\"failed\"]"), "state: must be one of"},
      // block
      {kBlock, "{}", "task: is missing"},
      {kBlock, R"({"task":"k7Qm2ZrT"})", "component: is missing"},
      {kBlock, R"({"task":"k7Qm2ZrT","component":"mcu"})", "ref: is missing"},
      {kBlock, R"({"task":"k7Qm2ZrT","component":"mcu","ref":"b"})", "offset: is missing"},
      {kBlock, R"({"task":"k7Qm2ZrT","component":"mcu","ref":"b","offset":0})",
       "length: is missing"},
      {kBlock, BlockWith("\"0\"", "\"b\"", "0", "128", "1"), "file: must be an integer"},
      {kBlock, BlockWith("0.5", "\"b\"", "0", "128", "1"), "file: must be an integer"},
      {kBlock, BlockWith("null", "\"b\"", "0", "128", "1"), "file: must be an integer"},
      {kBlock, BlockWith("5", "\"b\"", "0", "128", "1"), "file: there is no", ReplyCode::kNotFound},
      {kBlock, BlockWith("-2147483649", "\"b\"", "0", "128", "1"), "file: there is no",
       ReplyCode::kNotFound},
      {kBlock, BlockWith("0", "7", "0", "128", "1"), "ref: must be a string"},
      {kBlock, BlockWith("0", "\"\"", "0", "128", "1"), "ref: must be a string"},
      {kBlock, BlockWith("0", "\"123456789\"", "0", "128", "1"), "ref: must be a string"},
      {kBlock, BlockWith("0", "\"a/b\"", "0", "128", "1"), "ref: must be a string"},
      {kBlock, BlockWith("0", "\"+\"", "0", "128", "1"), "ref: must be a string"},
      {kBlock, BlockWith("0", "\"..\"", "0", "128", "1"), "ref: must be a string"},
      {kBlock, BlockWith("0", "\"b\"", "-1", "128", "1"), "offset: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "\"0\"", "128", "1"), "offset: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "18446744073709551616", "128", "1"), "offset: must be"},
      {kBlock, BlockWith("0", "\"b\"", "-9223372036854775808", "128", "1"), "offset: must be"},
      {kBlock, BlockWith("0", "\"b\"", "0", "0", "1"), "length: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "0", "4294967424", "1"), "length: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "0", "[128]", "1"), "length: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "0", "128", "0"), "count: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "0", "128", "65"), "count: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "0", "128", "\"1\""), "count: must be an integer"},
      {kBlock, BlockWith("0", "\"b\"", "0", "65536", "64"), "count: count x length"},
  };
  return rows;
}

TEST(HostilePayload, IsRefusedWithItsReason) {
  for (const Row& row : Rows()) {
    const auto uplink = Dialects().front().decode(row.kind, row.payload);
    const std::string shown = row.payload.substr(0, 80);
    ASSERT_FALSE(uplink) << shown;
    EXPECT_EQ(uplink.error().code, row.code) << shown;
    EXPECT_TRUE(uplink.error().message.starts_with(row.named))
        << shown << ": " << uplink.error().message;
  }
}

// The reply to it fits the smallest device and is JSON, whatever the payload had in it.
TEST(HostilePayload, CanBeAnswered) {
  for (const Row& row : Rows()) {
    const auto uplink = Dialects().front().decode(row.kind, row.payload);
    ASSERT_FALSE(uplink);
    core::Reply reply;
    reply.to = UplinkName(row.kind);
    reply.id = uplink.error().id;
    reply.task = uplink.error().task;
    reply.code = uplink.error().code;
    reply.message = uplink.error().message;
    const auto encoded =
        Dialects().front().encode({"p", "d"}, reply, {.max_bytes = 512, .now = {}});
    ASSERT_TRUE(encoded);
    EXPECT_LE(encoded->payload.size(), 512U);
    EXPECT_TRUE(json::Parse(encoded->payload, 512));
  }
}

// Every beginning of a right payload is a wrong one.
TEST(HostilePayload, EveryTruncationIsRefused) {
  const std::string payload =
      R"({"id":"7","components":{"main":"1.0.3","mcu":"2.1"},"trial":["mcu"],"signal":-71})";
  for (std::size_t length = 0; length < payload.size(); ++length) {
    EXPECT_FALSE(Dialects().front().decode(kVersion, payload.substr(0, length))) << length;
  }
  EXPECT_TRUE(Dialects().front().decode(kVersion, payload));
}

}  // namespace
}  // namespace ota::dialect
