// What a device says in the native dialect: each member, each default, each warning.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dialect/dialect.h"
#include "dialect/uplink_text.h"

namespace ota::dialect {
namespace {

using core::ReplyCode;
using testing::ElementsAre;
using testing::IsEmpty;

tl::expected<core::Uplink, DecodeError> Decode(UplinkKind kind, std::string_view payload) {
  return Dialects().front().decode(kind, payload);
}

template <typename Body>
struct Said {
  core::Uplink uplink;
  Body body;
};

template <typename Body>
Said<Body> Hear(UplinkKind kind, std::string_view payload) {
  auto uplink = Decode(kind, payload);
  if (!uplink) {
    ADD_FAILURE() << payload << ": " << uplink.error().message;
    return {};
  }
  return {*uplink, std::get<Body>(uplink->body)};
}

Said<core::VersionReport> Version(std::string_view more) {
  return Hear<core::VersionReport>(UplinkKind::kVersion,
                                   R"({"components":{"main":"1"})" + std::string(more) + "}");
}
Said<core::Confirm> Confirm(std::string_view more) {
  return Hear<core::Confirm>(UplinkKind::kConfirm,
                             R"({"task":"k7Qm2ZrT","accept":false)" + std::string(more) + "}");
}
Said<core::Progress> Progress(std::string_view state, std::string_view more) {
  return Hear<core::Progress>(UplinkKind::kProgress,
                              R"({"task":"k7Qm2ZrT","component":"mcu","state":")" +
                                  std::string(state) + "\"" + std::string(more) + "}");
}

// ---------------------------------------------------------------- version

TEST(DecodeVersion, ReadsEveryMember) {
  const auto said = Hear<core::VersionReport>(
      UplinkKind::kVersion,
      R"({"id":"7","components":{"main":"1.0.3","mcu":"2.1"},"task":"k7Qm2ZrT","request":true,)"
      R"("bootId":"a91f","trial":["mcu"],"battery":83,"signal":-71,"freeBytes":2097152,)"
      R"("lang":"en","maxBytes":4096,"sleep":3600,"full":false,"vendor":{"x":[1]}})");
  EXPECT_EQ(said.uplink.id, "7");
  EXPECT_THAT(said.uplink.warnings, IsEmpty());
  EXPECT_EQ(said.body.components,
            (std::map<std::string, std::string>{{"main", "1.0.3"}, {"mcu", "2.1"}}));
  EXPECT_EQ(said.body.task, "k7Qm2ZrT");
  EXPECT_TRUE(said.body.request);
  EXPECT_EQ(said.body.boot_id, "a91f");
  EXPECT_THAT(said.body.trial, ElementsAre("mcu"));
  EXPECT_EQ(said.body.battery, 83);
  EXPECT_EQ(said.body.signal, -71);
  EXPECT_EQ(said.body.free_bytes, 2097152);
  EXPECT_EQ(said.body.lang, "en");
  EXPECT_EQ(said.body.max_bytes, 4096);
  EXPECT_EQ(said.body.sleep, core::seconds(3600));
  EXPECT_EQ(said.body.full, false);
}

// [N-6]
TEST(DecodeVersion, NeedsOnlyComponents) {
  const auto said = Version("");
  EXPECT_FALSE(said.uplink.id);
  EXPECT_THAT(said.uplink.warnings, IsEmpty());
  EXPECT_FALSE(said.body.task || said.body.request || said.body.boot_id || said.body.battery ||
               said.body.signal || said.body.free_bytes || said.body.lang || said.body.max_bytes ||
               said.body.sleep || said.body.full);
  EXPECT_THAT(said.body.trial, IsEmpty());
}

// [N-6]
TEST(DecodeVersion, AWrongOptionalMemberIsAbsentAndNamed) {
  const auto right = UplinkText::Of(Version("").uplink);
  const struct {
    const char* member;
    std::vector<const char*> values;
  } kRows[] = {
      {"id", {"7", "\"\"", "null", "\"a\\tb\"", "{}"}},
      {"task", {"7", "\"\"", "null", "\"a\\nb\""}},
      {"request", {"1", "\"true\"", "null"}},
      {"bootId", {"7", "\"\"", "[]"}},
      {"trial", {"\"mcu\"", "true", "{\"mcu\":1}", "[1]", "[\"a b\"]", "[[\"mcu\"]]"}},
      {"battery", {"-1", "101", "\"83\"", "83.5", "1e300", "true", "null"}},
      {"signal", {"1", "-151", "\"-71\"", "-70.5"}},
      {"freeBytes", {"-1", "9007199254740992", "18446744073709551616", "\"1\""}},
      {"lang", {"7", "\"\"", "\"e\\u0001n\""}},
      {"maxBytes", {"511", "65537", "\"2048\"", "2048.5"}},
      {"sleep", {"-1", "2147483648", "\"60\""}},
      {"full", {"0", "\"yes\"", "[true]"}},
  };
  for (const auto& row : kRows) {
    for (const char* value : row.values) {
      const auto said = Version(",\"" + std::string(row.member) + "\":" + value);
      ASSERT_EQ(said.uplink.warnings.size(), 1U) << row.member << value;
      EXPECT_TRUE(said.uplink.warnings[0].starts_with(std::string(row.member) + ": must be "))
          << said.uplink.warnings[0];
      EXPECT_EQ(UplinkText::Of(said.uplink), right) << row.member << value;
    }
  }
}

TEST(DecodeVersion, TakesTheEdgesOfEveryRange) {
  for (const char* more :
       {",\"battery\":0", ",\"battery\":100", ",\"signal\":0", ",\"signal\":-150",
        ",\"freeBytes\":0", ",\"freeBytes\":9007199254740991", ",\"maxBytes\":512",
        ",\"maxBytes\":65536", ",\"sleep\":0", ",\"sleep\":2147483647", ",\"trial\":[]",
        ",\"task\":\"12345678\"", ",\"task\":\"A-z45678901234567890123456789012\"",
        ",\"battery\":83.0", ",\"battery\":8.3e1"}) {
    EXPECT_THAT(Version(more).uplink.warnings, IsEmpty()) << more;
  }
}

// [N-6]
TEST(DecodeVersion, WarningsOfSeveralMembersAddUp) {
  const auto said = Version(R"(,"battery":101,"signal":-71,"lang":7)");
  EXPECT_THAT(said.uplink.warnings,
              ElementsAre("battery: must be an integer from 0 to 100",
                          "lang: must be a string of 1 to 64 characters without control "
                          "characters"));
  EXPECT_EQ(said.body.signal, -71);
}

// [N-14]
TEST(DecodeVersion, ATrialKeepsItsValidNames) {
  const auto said = Version(R"(,"trial":["mcu",7,"main","mcu","a b"])");
  EXPECT_THAT(said.body.trial, ElementsAre("mcu", "main"));
  EXPECT_EQ(said.uplink.warnings.size(), 1U);
}

TEST(DecodeVersion, ATrialHasAtMost32Names) {
  std::string names = "\"n0\"";
  for (int i = 1; i < 40; ++i) {
    names += ",\"n" + std::to_string(i) + "\"";
  }
  const auto said = Version(",\"trial\":[" + names + "]");
  EXPECT_EQ(said.body.trial.size(), 32U);
  EXPECT_EQ(said.uplink.warnings.size(), 1U);
}

// [N-5]
TEST(DecodeVersion, AVersionHas64CharactersNot64Bytes) {
  std::string version;
  for (int i = 0; i < 64; ++i) {
    version += "\xE2\x82\xAC";
  }
  const auto payload = [](const std::string& v) {
    return R"({"components":{"main":")" + v + "\"}}";
  };
  EXPECT_TRUE(Decode(UplinkKind::kVersion, payload(version)));
  EXPECT_FALSE(Decode(UplinkKind::kVersion, payload(version + "x")));
}

TEST(DecodeVersion, TakesOneTo32Components) {
  std::string members;
  for (int i = 0; i < 32; ++i) {
    members += (i == 0 ? "\"c" : ",\"c") + std::to_string(i) + "\":\"1\"";
  }
  EXPECT_TRUE(Decode(UplinkKind::kVersion, "{\"components\":{" + members + "}}"));
  const auto more = Decode(UplinkKind::kVersion, "{\"components\":{" + members + ",\"x\":\"1\"}}");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().message, "components: must have 1 to 32 members");
}

// [N-6]
TEST(DecodeVersion, NamesTheComponentThatIsWrong) {
  const auto uplink =
      Decode(UplinkKind::kVersion, R"({"id":"7","task":"k7Qm2ZrT","components":{"mcu":2.1}})");
  ASSERT_FALSE(uplink);
  EXPECT_EQ(uplink.error().code, ReplyCode::kMalformed);
  EXPECT_EQ(uplink.error().message,
            "components.mcu: must be a string of 1 to 64 characters without control characters");
  EXPECT_EQ(uplink.error().id, "7");
  EXPECT_EQ(uplink.error().task, "k7Qm2ZrT");
}

// ---------------------------------------------------------------- confirm

// [N-19]
TEST(DecodeConfirm, AcceptsRefusesAndPostpones) {
  const auto accept =
      Hear<core::Confirm>(UplinkKind::kConfirm, R"({"id":"8","task":"k7Qm2ZrT","accept":true})");
  EXPECT_EQ(accept.uplink.id, "8");
  EXPECT_EQ(accept.body.task, "k7Qm2ZrT");
  EXPECT_TRUE(accept.body.accept);
  EXPECT_EQ(accept.body.reason, "");

  const auto refuse = Confirm(R"(,"reason":"not wanted")");
  EXPECT_FALSE(refuse.body.accept);
  EXPECT_EQ(refuse.body.reason, "not wanted");
  EXPECT_FALSE(refuse.body.retry_after);

  EXPECT_EQ(Confirm(R"(,"retryAfter":60)").body.retry_after, core::seconds(60));
  EXPECT_EQ(Confirm(R"(,"retryAfter":604800)").body.retry_after, core::seconds(604800));
}

// [N-19] [N-6]
TEST(DecodeConfirm, ARetryAfterOutOfRangeIsAbsentAndNamed) {
  for (const char* value : {"59", "604801", "-1", "\"3600\"", "3600.5", "null", "1e300"}) {
    const auto said = Confirm(std::string(",\"retryAfter\":") + value);
    EXPECT_FALSE(said.body.retry_after) << value;
    EXPECT_THAT(said.uplink.warnings,
                ElementsAre("retryAfter: must be an integer from 60 to 604800"))
        << value;
  }
}

// [N-24]
TEST(DecodeConfirm, CutsAReasonAfter256Characters) {
  std::string reason;
  for (int i = 0; i < 300; ++i) {
    reason += "\xC3\xA4";
  }
  const auto said = Confirm(",\"reason\":\"" + reason + "\"");
  EXPECT_EQ(said.body.reason, reason.substr(0, 512));
  EXPECT_THAT(said.uplink.warnings, IsEmpty());
}

// ---------------------------------------------------------------- progress

// [N-24] [N-33]
TEST(DecodeProgress, ReadsEveryMember) {
  const auto said = Progress(
      "waiting", R"(,"id":"9","attempt":2,"percent":40,"reason":"busy","retryAfter":900,"eta":30)");
  EXPECT_THAT(said.uplink.warnings, IsEmpty());
  EXPECT_EQ(said.uplink.id, "9");
  EXPECT_EQ(said.body.task, "k7Qm2ZrT");
  EXPECT_EQ(said.body.component, "mcu");
  EXPECT_EQ(said.body.state, core::ProgressState::kWaiting);
  EXPECT_EQ(said.body.attempt, 2);
  EXPECT_EQ(said.body.percent, 40);
  EXPECT_EQ(said.body.message, "busy");
  EXPECT_EQ(said.body.retry_after, core::seconds(900));
  EXPECT_EQ(said.body.eta, core::seconds(30));
}

// [N-24]
TEST(DecodeProgress, KnowsEveryState) {
  using core::ProgressState;
  const std::pair<const char*, ProgressState> kStates[] = {
      {"downloading", ProgressState::kDownloading}, {"downloaded", ProgressState::kDownloaded},
      {"verifying", ProgressState::kVerifying},     {"waiting", ProgressState::kWaiting},
      {"installing", ProgressState::kInstalling},   {"rebooting", ProgressState::kRebooting},
      {"rolledBack", ProgressState::kRolledBack},   {"failed", ProgressState::kFailed},
  };
  for (const auto& [name, state] : kStates) {
    EXPECT_EQ(Progress(name, "").body.state, state);
  }
}

// [N-24]
TEST(DecodeProgress, AFailureWithoutACodeIsUnspecified) {
  EXPECT_EQ(Progress("failed", "").body.code, -1);
  EXPECT_EQ(Progress("failed", R"(,"code":-3)").body.code, -3);
  EXPECT_EQ(Progress("failed", R"(,"code":-70000)").body.code, -70000);
  EXPECT_FALSE(Progress("installing", R"(,"code":-3)").body.code);
  for (const char* value : {"0", "3", "\"x\"", "-3.5", "-2147483649", "null"}) {
    const auto said = Progress("failed", std::string(",\"code\":") + value);
    EXPECT_EQ(said.body.code, -1) << value;
    EXPECT_EQ(said.uplink.warnings.size(), 1U) << value;
  }
}

// [N-6]
TEST(DecodeProgress, AWrongOptionalMemberIsAbsentAndNamed) {
  const auto right = UplinkText::Of(Progress("downloading", "").uplink);
  const struct {
    const char* member;
    std::vector<const char*> values;
  } kRows[] = {
      {"id", {"9", "\"\""}},
      {"attempt", {"0", "-1", "\"1\"", "2147483648"}},
      {"percent", {"-1", "101", "\"40\"", "40.5"}},
      {"message", {"7", "null", "{}"}},
      {"reason", {"7", "[]"}},
      {"retryAfter", {"-1", "\"900\"", "2147483648"}},
      {"eta", {"-1", "\"30\"", "1e300"}},
  };
  for (const auto& row : kRows) {
    for (const char* value : row.values) {
      const auto said = Progress("downloading", ",\"" + std::string(row.member) + "\":" + value);
      ASSERT_EQ(said.uplink.warnings.size(), 1U) << row.member << value;
      EXPECT_TRUE(said.uplink.warnings[0].starts_with(std::string(row.member) + ": must be "));
      EXPECT_EQ(UplinkText::Of(said.uplink), right) << row.member << value;
    }
  }
}

// [N-24]
TEST(DecodeProgress, AMessageIsOneLineOfAtMost256Characters) {
  EXPECT_EQ(Progress("failed", R"(,"message":"a\nb\u001b[31m\t")").body.message, "a b [31m ");
  EXPECT_EQ(Progress("failed", R"(,"message":"m","reason":"r")").body.message, "m");
  EXPECT_EQ(Progress("failed", R"(,"message":7,"reason":"r")").body.message, "r");
  const std::string text = std::string(255, 'x') + "\xF0\x9F\x98\x80";
  EXPECT_EQ(Progress("failed", ",\"message\":\"" + text + "yz\"").body.message, text);
}

// ---------------------------------------------------------------- block

// [N-28]
TEST(DecodeBlock, ReadsEveryMember) {
  const auto said = Hear<core::BlockRequest>(
      UplinkKind::kBlock, R"({"id":"1","task":"k7Qm2ZrT","component":"mcu","file":4,"ref":"b3",)"
                          R"("offset":9007199254740991,"length":4096,"count":64})");
  EXPECT_EQ(said.uplink.id, "1");
  EXPECT_EQ(said.body.task, "k7Qm2ZrT");
  EXPECT_EQ(said.body.component, "mcu");
  EXPECT_EQ(said.body.file, 4);
  EXPECT_EQ(said.body.ref, "b3");
  EXPECT_EQ(said.body.offset, 9007199254740991);
  EXPECT_EQ(said.body.length, 4096);
  EXPECT_EQ(said.body.count, 64);
}

// [N-28]
TEST(DecodeBlock, FileAndCountHaveDefaults) {
  const auto said = Hear<core::BlockRequest>(
      UplinkKind::kBlock,
      R"({"task":"k7Qm2ZrT","component":"mcu","ref":"B","offset":0,"length":65536})");
  EXPECT_EQ(said.body.file, 0);
  EXPECT_EQ(said.body.count, 1);
}

// [N-28]
TEST(DecodeBlock, BoundsWhatOneRequestGets) {
  const auto ask = [](int length, int count) {
    return Decode(UplinkKind::kBlock,
                  R"({"task":"k7Qm2ZrT","component":"m","ref":"b","offset":0,"length":)" +
                      std::to_string(length) + ",\"count\":" + std::to_string(count) + "}");
  };
  EXPECT_TRUE(ask(65536, 4));
  EXPECT_TRUE(ask(4096, 64));
  EXPECT_TRUE(ask(128, 1));
  constexpr int kRefused[][2] = {{65536, 5}, {52429, 5}, {4097, 64}, {127, 1},  {65537, 1},
                                 {128, 65},  {128, 0},   {128, -1},  {-128, -1}};
  for (const auto& [length, count] : kRefused) {
    const auto refused = ask(length, count);
    ASSERT_FALSE(refused) << length << " " << count;
    EXPECT_EQ(refused.error().code, ReplyCode::kMalformed);
  }
}

// ---------------------------------------------------------------- errors

// [N-19]
TEST(DecodeError, ANameThatCannotExistIsNotFound) {
  const struct {
    UplinkKind kind;
    const char* payload;
    const char* message;
  } kRows[] = {
      {UplinkKind::kConfirm, R"({"id":"8","task":"old","accept":true})",
       "task: there is no such task"},
      {UplinkKind::kProgress, R"({"id":"8","task":"old","component":"m","state":"failed"})",
       "task: there is no such task"},
      {UplinkKind::kProgress, R"({"id":"8","task":"k7Qm2ZrT","component":"","state":"failed"})",
       "component: there is no such component"},
      {UplinkKind::kBlock, R"({"id":"8","task":"","component":"m"})",
       "task: there is no such task"},
      {UplinkKind::kBlock,
       R"({"id":"8","task":"k7Qm2ZrT","component":"m","file":5,"ref":"b","offset":0,"length":128})",
       "file: there is no such file"},
      {UplinkKind::kBlock,
       R"({"id":"8","task":"k7Qm2ZrT","component":"m","file":-1,"ref":"b","offset":0,"length":128})",
       "file: there is no such file"},
  };
  for (const auto& row : kRows) {
    const auto uplink = Decode(row.kind, row.payload);
    ASSERT_FALSE(uplink) << row.payload;
    EXPECT_EQ(uplink.error().code, ReplyCode::kNotFound) << row.payload;
    EXPECT_EQ(uplink.error().message, row.message);
    EXPECT_EQ(uplink.error().id, "8");
    EXPECT_TRUE(uplink.error().task) << row.payload;
  }
}

TEST(DecodeError, RepeatsOnlyATaskThatFitsAReply) {
  const auto task_of = [](const std::string& task) {
    return Decode(UplinkKind::kConfirm, "{\"task\":" + task + "}").error().task;
  };
  EXPECT_EQ(task_of("\"k7Qm2ZrT\""), "k7Qm2ZrT");
  EXPECT_EQ(task_of("\"" + std::string(64, 'x') + "\""), std::string(64, 'x'));
  EXPECT_FALSE(task_of("\"" + std::string(65, 'x') + "\""));
  EXPECT_FALSE(task_of("\"a\\nb\""));
  EXPECT_FALSE(task_of("7"));
}

// [N-5]
TEST(DecodeError, APayloadOver16KiBIsTooLarge) {
  std::string payload = R"({"components":{"main":"1"},"pad":")";
  payload += std::string(kMaxUplinkBytes - payload.size() - 2, 'x') + "\"}";
  ASSERT_EQ(payload.size(), kMaxUplinkBytes);
  EXPECT_TRUE(Decode(UplinkKind::kVersion, payload));
  const auto larger = Decode(UplinkKind::kVersion, payload + " ");
  ASSERT_FALSE(larger);
  EXPECT_EQ(larger.error().code, ReplyCode::kTooLarge);
}

}  // namespace
}  // namespace ota::dialect
