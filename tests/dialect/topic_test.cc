// Topics and filters: whose they are, which way they go, and that all else is left alone.
#include "dialect/topic.h"

#include <string>

#include <gtest/gtest.h>

#include "dialect/dialect.h"

namespace ota::dialect {
namespace {

// [N-1]
TEST(IsName, AllowsLettersDigitsAndFourSigns) {
  EXPECT_TRUE(IsName("A-z.0_9:x"));
  EXPECT_TRUE(IsName(std::string(64, 'a')));
  EXPECT_FALSE(IsName(""));
  EXPECT_FALSE(IsName(std::string(65, 'a')));
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool allowed = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                         (byte >= '0' && byte <= '9') || c == '.' || c == '_' || c == ':' ||
                         c == '-';
    EXPECT_EQ(IsName(std::string(1, c)), allowed) << byte;
  }
}

TEST(Concerns, OnlyTopicsThatADialectKnowsByTheirBeginning) {
  for (const char* topic :
       {"ota/v1/pump/d-1/up/version", "ota/v1/", "/ota/device/inform/a/b", "/sys/a/b/thing/x",
        "/sys/a/b/thing/sub/register", "/ext/session/a/b/combine/login", "/shadow/get/a/b"}) {
    EXPECT_TRUE(Concerns(topic)) << topic;
  }
  for (const char* topic : {"", "o", "ota", "ota/v2/pump/d-1/up/version", "site/temperature", "/",
                            "/sy", "/site/temperature", "$SYS/broker/uptime"}) {
    EXPECT_FALSE(Concerns(topic)) << topic;
  }
}

TEST(ParseUplink, KnowsTheFourUplinks) {
  const struct {
    const char* topic;
    UplinkKind kind;
  } kRows[] = {
      {"ota/v1/pump/d-1/up/version", UplinkKind::kVersion},
      {"ota/v1/pump/d-1/up/confirm", UplinkKind::kConfirm},
      {"ota/v1/pump/d-1/up/progress", UplinkKind::kProgress},
      {"ota/v1/pump/d-1/up/block", UplinkKind::kBlock},
  };
  for (const auto& row : kRows) {
    const auto uplink = ParseUplink(row.topic);
    ASSERT_TRUE(uplink) << row.topic;
    EXPECT_EQ(uplink->device, (core::DeviceKey{"pump", "d-1"}));
    EXPECT_EQ(uplink->kind, row.kind);
    EXPECT_TRUE(std::string_view(row.topic).ends_with(UplinkName(row.kind)));
    ASSERT_NE(FindDialect(row.topic), nullptr);
    EXPECT_EQ(FindDialect(row.topic)->name, "native");
  }
}

// [N-1]
TEST(ParseUplink, RefusesEverythingElseUnderThePrefix) {
  const std::string long_name(65, 'a');
  for (const std::string& topic : {
           std::string("ota/v1/"),
           std::string("ota/v1"),
           std::string("ota/v1/p"),
           std::string("ota/v1/p/d"),
           std::string("ota/v1/p/d/"),
           std::string("ota/v1/p/d/up"),
           std::string("ota/v1/p/d/up/"),
           std::string("ota/v1/p/d/up/Version"),
           std::string("ota/v1/p/d/up/version/"),
           std::string("ota/v1/p/d/up/version/x"),
           std::string("ota/v1/p/d/up//version"),
           std::string("ota/v1//d/up/version"),
           std::string("ota/v1/p//up/version"),
           std::string("ota/v1/p/d//up/version"),
           std::string("ota/v1/p/d/down/version"),
           std::string("ota/v1/p/d/upx/version"),
           std::string("ota/v1/p/d d/up/version"),
           std::string("ota/v1/p/d\xC3\xA4/up/version"),
           std::string("ota/v1/p/d\0/up/version", 21),
           std::string("ota/v1/$p/d/up/version"),
           "ota/v1/" + long_name + "/d/up/version",
           "ota/v1/p/" + long_name + "/up/version",
           std::string("/ota/v1/p/d/up/version"),
           std::string("Ota/v1/p/d/up/version"),
           std::string("ota/v2/p/d/up/version"),
           std::string("ota/v1p/d/up/version"),
           std::string(),
       }) {
    EXPECT_FALSE(ParseUplink(topic)) << topic;
  }
}

// [N-3]
TEST(ClassifyTopic, TellsUplinksFromDownlinks) {
  const TopicClass up = ClassifyTopic("ota/v1/p/d/up/version");
  EXPECT_TRUE(up.ours);
  EXPECT_EQ(up.product, "p");
  EXPECT_EQ(up.device, "d");
  EXPECT_EQ(up.direction, Direction::kUp);
  EXPECT_EQ(up.kind, UplinkKind::kVersion);

  const TopicClass down = ClassifyTopic("ota/v1/p/d/down/block/b3/4096");
  EXPECT_TRUE(down.ours);
  EXPECT_EQ(down.device, "d");
  EXPECT_EQ(down.direction, Direction::kDown);
  EXPECT_FALSE(down.kind);
}

TEST(ClassifyTopic, AnUplinkOfNoNameHasNoKind) {
  const TopicClass topic = ClassifyTopic("ota/v1/p/d/up/reboot");
  EXPECT_EQ(topic.direction, Direction::kUp);
  EXPECT_EQ(topic.device, "d");
  EXPECT_FALSE(topic.kind);
}

TEST(ClassifyTopic, ALevelThatIsNeitherUpNorDownHasNoDirection) {
  for (const char* topic : {"ota/v1/p/d", "ota/v1/p/d/", "ota/v1/p/d/sideways/version"}) {
    EXPECT_TRUE(ClassifyTopic(topic).ours) << topic;
    EXPECT_EQ(ClassifyTopic(topic).device, "d") << topic;
    EXPECT_EQ(ClassifyTopic(topic).direction, Direction::kNone) << topic;
  }
}

// [N-1]
TEST(ClassifyTopic, AnInvalidNameNamesNobody) {
  for (const char* topic : {"ota/v1/", "ota/v1/p", "ota/v1/p/", "ota/v1/p/d d/up/version",
                            "ota/v1/p p/d/up/version", "ota/v1//d/up/version"}) {
    const TopicClass found = ClassifyTopic(topic);
    EXPECT_TRUE(found.ours) << topic;
    EXPECT_TRUE(found.product.empty()) << topic;
    EXPECT_TRUE(found.device.empty()) << topic;
    EXPECT_FALSE(found.kind) << topic;
  }
}

TEST(ClassifyTopic, LeavesOtherTopicsAlone) {
  for (const char* topic : {"", "o", "ota", "ota/", "ota/v", "ota/v1", "ota/v10/p/d/up/version",
                            "sensors/1", "$SYS/broker", "$share/g/ota/v1/p/d/up/version"}) {
    EXPECT_FALSE(ClassifyTopic(topic).ours) << topic;
    EXPECT_EQ(FindDialect(topic), nullptr) << topic;
  }
}

// [N-4]
TEST(ClassifyFilter, JudgesTheTextBeforeTheFirstWildcard) {
  const struct {
    const char* filter;
    bool ours;
    const char* device;
    Direction direction;
  } kRows[] = {
      {"ota/v1/p/d/down/#", true, "d", Direction::kDown},
      {"ota/v1/p/d/#", true, "d", Direction::kNone},
      {"ota/v1/p/d/+/reply", true, "d", Direction::kNone},
      {"ota/v1/p/d/up/+", true, "d", Direction::kUp},
      {"ota/v1/p/d/down/block/+/0", true, "d", Direction::kDown},
      {"ota/v1/p/d/down/reply", true, "d", Direction::kDown},
      {"ota/v1/p/d", true, "d", Direction::kNone},
      {"$share/g/ota/v1/p/d/down/#", true, "d", Direction::kDown},
      {"ota/v1/#", true, "", Direction::kNone},
      {"ota/v1/+/d/down/#", true, "", Direction::kNone},
      {"ota/v1/p/#", true, "", Direction::kNone},
      {"ota/v1/p/+/down/#", true, "", Direction::kNone},
      {"$share/g/ota/v1/#", true, "", Direction::kNone},
      {"$share/g/ota/v1/p/+/down/reply", true, "", Direction::kNone},
      {"ota/v1/p/d d/down/#", true, "", Direction::kNone},
      {"ota/v1/p/d#", true, "", Direction::kNone},
      {"ota/v1/p/d+/down/#", true, "", Direction::kNone},
      {"#", false, "", Direction::kNone},
      {"+/#", false, "", Direction::kNone},
      {"+/v1/p/d/down/#", false, "", Direction::kNone},
      {"ota/#", false, "", Direction::kNone},
      {"ota/+/p/d/down/#", false, "", Direction::kNone},
      {"ota/v1", false, "", Direction::kNone},
      {"$share/g/#", false, "", Direction::kNone},
      {"$share/g", false, "", Direction::kNone},
      {"$share/", false, "", Direction::kNone},
      {"$share/ota/v1/p/d/#", false, "", Direction::kNone},
      {"", false, "", Direction::kNone},
  };
  for (const auto& row : kRows) {
    const TopicClass found = ClassifyFilter(row.filter);
    EXPECT_EQ(found.ours, row.ours) << row.filter;
    EXPECT_EQ(found.device, row.device) << row.filter;
    EXPECT_EQ(found.product, found.device.empty() ? "" : "p") << row.filter;
    EXPECT_EQ(found.direction, row.direction) << row.filter;
  }
}

TEST(Dialects, HaveNamesAndPrefixesOfTheirOwn) {
  ASSERT_FALSE(Dialects().empty());
  for (const Dialect& dialect : Dialects()) {
    EXPECT_FALSE(dialect.name.empty());
    EXPECT_FALSE(dialect.prefixes.empty());
    for (const Dialect& other : Dialects()) {
      EXPECT_EQ(&dialect == &other, dialect.name == other.name);
    }
  }
}

}  // namespace
}  // namespace ota::dialect
