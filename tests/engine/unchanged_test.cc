// Which reports the broker thread may answer by itself.
#include "engine/unchanged.h"

#include <string>

#include <gtest/gtest.h>

#include "dialect/dialect.h"
#include "engine/exchange.h"

namespace ota::engine {
namespace {

const core::DeviceKey kDevice{"acme", "d1"};
const dialect::Dialect* const kNative = dialect::Dialects().data();
const std::string kFirst = R"({"id":"1","components":{"main":"1.0"},"battery":70})";

core::Instant At(int ms) {
  return core::Instant(core::Duration(ms));
}

std::string Same(const std::string& id) {
  return R"({"id":")" + id + R"(","components":{"main":"1.0"},"battery":70})";
}

class UnchangedTest : public testing::Test {
 protected:
  void Keep(std::uint64_t connection = 5) {
    auto report = Unchanged::Split(kFirst, "1");
    ASSERT_TRUE(report);
    report->connection = connection;
    report->dialect = kNative;
    report->measured = true;
    unchanged_.Keep(kDevice, *report);
  }
  std::optional<std::string> Ask(const std::string& payload, int ms = 1) {
    return unchanged_.Repeats(kDevice, 5, kNative, payload, At(ms));
  }

  Unchanged unchanged_;
};

TEST_F(UnchangedTest, TheSameReportWithAnotherIdIsKnown) {
  EXPECT_EQ(Ask(kFirst), std::nullopt);
  Keep();
  EXPECT_EQ(Ask(kFirst), "1");
  EXPECT_EQ(Ask(Same("2")), "2");
  EXPECT_EQ(Ask(Same("Az09-_.:" + std::string(56, 'x'))), "Az09-_.:" + std::string(56, 'x'));
}

TEST_F(UnchangedTest, AnythingElseIsNot) {
  Keep();
  for (const std::string& other : {
           std::string(),
           std::string("{}"),
           std::string(R"({"id":"2","components":{"main":"1.1"},"battery":70})"),
           std::string(R"({"id":"2","components":{"main":"1.0"},"battery":71})"),
           std::string(R"({"id":"2","components":{"main":"1.0"},"battery":70} )"),
           std::string(R"({"components":{"main":"1.0"},"battery":70,"id":"2"})"),
           Same(""),
           Same("a b"),
           Same("\\u0041"),
           Same(R"(2","task":"t)"),
           Same(std::string(65, 'x')),
           Same(std::string("\0", 1)),
           Same("\xC3\xA4"),
           kFirst.substr(0, kFirst.size() - 1),
       }) {
    EXPECT_EQ(Ask(other), std::nullopt) << other;
  }
  EXPECT_EQ(unchanged_.Repeats({"acme", "d2"}, 5, kNative, kFirst, At(1)), std::nullopt);
  EXPECT_EQ(unchanged_.Repeats(kDevice, 6, kNative, kFirst, At(1)), std::nullopt);
  EXPECT_EQ(unchanged_.Repeats(kDevice, 5, nullptr, kFirst, At(1)), std::nullopt);
  EXPECT_FALSE(unchanged_.has_seen());
}

TEST_F(UnchangedTest, WhatWasForgottenIsNot) {
  Keep();
  unchanged_.Forget({"acme", "d2"});
  EXPECT_TRUE(Ask(kFirst));
  unchanged_.Forget(kDevice);
  EXPECT_FALSE(Ask(kFirst));
  Keep();
  EXPECT_TRUE(Ask(kFirst));
  unchanged_.Clear();
  EXPECT_FALSE(Ask(kFirst));
}

TEST_F(UnchangedTest, TheLastAnswerOfEachDeviceIsTold) {
  Keep();
  EXPECT_TRUE(unchanged_.TakeSeen().empty());
  Ask(kFirst, 10);
  Ask(kFirst, 20);
  EXPECT_TRUE(unchanged_.has_seen());
  const auto seen = unchanged_.TakeSeen();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].device, kDevice);
  EXPECT_EQ(seen[0].at, At(20));
  EXPECT_TRUE(seen[0].measured);
  EXPECT_FALSE(unchanged_.has_seen());
  Ask(kFirst, 30);
  unchanged_.Forget(kDevice);
  ASSERT_EQ(unchanged_.TakeSeen().size(), 1U);
}

TEST_F(UnchangedTest, WhatIsForgottenTellsItsLastAnswer) {
  Keep();
  EXPECT_FALSE(unchanged_.Forget(kDevice));
  Keep();
  Ask(kFirst, 10);
  Ask(kFirst, 20);
  const auto last = unchanged_.Forget(kDevice);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->at, At(20));
  EXPECT_TRUE(last->measured);
  EXPECT_EQ(unchanged_.TakeSeen().size(), 1U);
  Keep();
  EXPECT_FALSE(unchanged_.Forget(kDevice));
  Keep();
  Ask(kFirst, 30);
  ASSERT_EQ(unchanged_.Clear().size(), 1U);
  EXPECT_TRUE(unchanged_.TakeSeen().empty());
}

TEST_F(UnchangedTest, WhoIsAnsweredAgainAndAgainIsOneDevice) {
  Connections connections;
  Exchange exchange(connections, {}, unchanged_);
  Keep();
  for (int ms = 1; ms < 5; ++ms) {
    Ask(kFirst, ms);
    exchange.TakeRepeated();
  }
  EXPECT_EQ(exchange.unwritten_seen(), 1U);
}

TEST_F(UnchangedTest, KeepsABoundedNumberOfDevices) {
  Keep();
  auto report = *Unchanged::Split(kFirst, "1");
  report.connection = 5;
  report.dialect = kNative;
  std::size_t known = 0;
  const auto count = [&](const core::DeviceKey& device) {
    known += unchanged_.Repeats(device, 5, kNative, kFirst, At(1)) ? 1U : 0U;
  };
  for (std::size_t i = 0; i < 2 * Unchanged::kDevices; ++i) {
    unchanged_.Keep({"acme", std::to_string(i)}, report);
  }
  for (std::size_t i = 0; i < 2 * Unchanged::kDevices; ++i) {
    count({"acme", std::to_string(i)});
  }
  count(kDevice);
  EXPECT_EQ(known, Unchanged::kDevices);
}

struct SplitCase {
  const char* payload;
  const char* id;
  const char* before;  // null: it cannot be told
  const char* behind;
};

class Split : public testing::TestWithParam<SplitCase> {};

TEST_P(Split, TakesTheTextOfTheIdAlone) {
  const auto report = Unchanged::Split(GetParam().payload, GetParam().id);
  ASSERT_EQ(report.has_value(), GetParam().before != nullptr) << GetParam().payload;
  if (report) {
    EXPECT_EQ(report->text.substr(0, report->id), GetParam().before);
    EXPECT_EQ(report->text.substr(report->id), GetParam().behind);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Split,
    testing::Values(SplitCase{R"({"id":"7"})", "7", R"({"id":")", R"("})"},
                    SplitCase{"{\"a\":1,\"id\"\t : \n\"x-7\" }", "x-7", "{\"a\":1,\"id\"\t : \n\"",
                              "\" }"},
                    SplitCase{R"({"id":"7","components":{"main":"7"}})", "7", R"({"id":")",
                              R"(","components":{"main":"7"}})"},
                    SplitCase{R"({"id":"7"})", "8", nullptr, nullptr},
                    SplitCase{R"({"id":7})", "7", nullptr, nullptr},
                    SplitCase{R"({"ID":"7"})", "7", nullptr, nullptr},
                    SplitCase{R"({"id":"7","id":"7"})", "7", nullptr, nullptr},
                    SplitCase{R"({"id":"7","components":{"id":"1"}})", "7", nullptr, nullptr},
                    SplitCase{R"({"\u0069d":"7","components":{"id":"7"}})", "7", nullptr, nullptr},
                    SplitCase{R"({"id":"7","lang":"\n"})", "7", nullptr, nullptr},
                    SplitCase{R"({"id":"a b"})", "a b", nullptr, nullptr},
                    SplitCase{R"({"id":""})", "", nullptr, nullptr},
                    SplitCase{R"({"id")", "7", nullptr, nullptr},
                    SplitCase{R"({"id":)", "7", nullptr, nullptr}));

TEST(SplitLength, ALongReportIsNotKept) {
  const std::string start = R"({"id":"7","lang":")";
  const std::string longest = start + std::string(Unchanged::kLongest - start.size(), 'x');
  EXPECT_TRUE(Unchanged::Split(longest, "7"));
  EXPECT_FALSE(Unchanged::Split(longest + "x", "7"));
}

}  // namespace
}  // namespace ota::engine
