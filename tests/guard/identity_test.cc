// Identity rules: what a rule may be, and which device a credential names by it.
#include "guard/identity.h"

#include <gtest/gtest.h>

namespace ota::guard {
namespace {

using core::DeviceKey;

IdentityRule Rule(std::string_view text) {
  auto rule = ParseIdentityRule(text);
  EXPECT_TRUE(rule.has_value()) << rule.error().message;
  return rule.value_or(IdentityRule{});
}

std::optional<DeviceKey> By(std::string_view rule, std::string_view text) {
  return Match(Rule(rule), text);
}

const std::string kLongest(64, 'a');

TEST(IdentityRule, UserNameOfProductAndDevice) {
  EXPECT_EQ(By("username {product}/{device}", "pump/p-7"), (DeviceKey{"pump", "p-7"}));
}

TEST(IdentityRule, DeviceMayStandBeforeProduct) {
  EXPECT_EQ(By("username {device}@{product}", "p-7@pump"), (DeviceKey{"pump", "p-7"}));
}

TEST(IdentityRule, TextAroundMustBeThere) {
  EXPECT_EQ(By("cn {device}.example product=pump", "p-7.example"), (DeviceKey{"pump", "p-7"}));
  EXPECT_EQ(By("cn {device}.example product=pump", "p-7"), std::nullopt);
  EXPECT_EQ(By("cn {device}.example product=pump", "p-7.example2"), std::nullopt);
  EXPECT_EQ(By("clientid m-{device} product=meter", "m-1"), (DeviceKey{"meter", "1"}));
  EXPECT_EQ(By("clientid m-{device} product=meter", "x-1"), std::nullopt);
}

TEST(IdentityRule, TextAroundMayNotOverlap) {
  EXPECT_EQ(By("username ab{device}ba product=p", "aba"), std::nullopt);
  EXPECT_EQ(By("username ab{device}ba product=p", "abba"), std::nullopt);
  EXPECT_EQ(By("username ab{device}ba product=p", "ab1ba"), (DeviceKey{"p", "1"}));
}

TEST(IdentityRule, FirstOccurrenceOfTheTextBetweenEndsTheFirstName) {
  EXPECT_EQ(By("username {product}-{device}", "a-b-c"), (DeviceKey{"a", "b-c"}));
}

// [N-1]
TEST(IdentityRule, NamesOutsideTheCharacterSetMatchNothing) {
  constexpr std::string_view kRule = "username {product}/{device}";
  for (const std::string& text :
       {std::string("pump/"), std::string("/p"), std::string("/"), std::string(),
        std::string("pump"), std::string("pump/a/b"), std::string("pump/a b"),
        std::string("pump/+"), std::string("pump/#"), std::string("pump/a\n"),
        std::string("pump/\xc3\xa4"), std::string("pump/a\0b", 8), "pump/" + kLongest + "a",
        kLongest + "a/p"}) {
    EXPECT_EQ(By(kRule, text), std::nullopt) << text;
  }
  EXPECT_EQ(By(kRule, kLongest + "/" + kLongest), (DeviceKey{kLongest, kLongest}));
  EXPECT_EQ(By(kRule, "A.z_0:9-/B"), (DeviceKey{"A.z_0:9-", "B"}));
}

TEST(IdentityRule, WhatIsNoRuleIsRefusedWithTheReason) {
  const struct {
    std::string_view text;
    std::string_view reason;
  } kCases[] = {
      {"", "must begin with"},
      {"username", "{device}"},
      {"user {product}/{device}", "must begin with"},
      {"username {product}", "{device}"},
      {"username {device}", "product=NAME must follow"},
      {"username {device} pump", "product=NAME must follow"},
      {"username {device} product=", "1 to 64"},
      {"username {device} product=a/b", "1 to 64"},
      {"username {product}/{device} product=a", "exclude each other"},
      {"username {product}{device}", "text between"},
      {"username {product}/{device}/{device}", "may stand once"},
      {"username {product}/{product}/{device}", "may stand once"},
      {"username {vendor}/{device} product=a", "may stand once"},
      {"username {product}/{device} product=a b", "must be CREDENTIAL"},
  };
  for (const auto& [text, reason] : kCases) {
    const auto rule = ParseIdentityRule(text);
    ASSERT_FALSE(rule.has_value()) << text;
    EXPECT_NE(rule.error().message.find(reason), std::string::npos) << rule.error().message;
    EXPECT_NE(rule.error().message.find(text), std::string::npos) << rule.error().message;
  }
}

TEST(Identify, FirstRuleThatMatchesWins) {
  const std::vector<IdentityRule> rules{Rule("username {product}/{device}"),
                                        Rule("clientid {device} product=meter"),
                                        Rule("cn {device} product=pump")};
  const auto with = [&](std::string user, std::string id, std::string cn) {
    return Identify(rules, [&](Credential credential) {
      return credential == Credential::kUserName   ? user
             : credential == Credential::kClientId ? id
                                                   : cn;
    });
  };
  EXPECT_EQ(with("a/b", "c", "d"), (DeviceKey{"a", "b"}));
  EXPECT_EQ(with("nobody", "c", "d"), (DeviceKey{"meter", "c"}));
  EXPECT_EQ(with("", "", "d"), (DeviceKey{"pump", "d"}));
  EXPECT_EQ(with("", "", ""), std::nullopt);
}

TEST(Identify, CredentialsAfterTheMatchAreNotRead) {
  int reads = 0;
  const std::vector<IdentityRule> rules{Rule("username {product}/{device}"),
                                        Rule("cn {device} product=pump")};
  Identify(rules, [&](Credential) {
    ++reads;
    return std::string("a/b");
  });
  EXPECT_EQ(reads, 1);
}

TEST(Identity, UserNamesOfTheCloudsAreExpressible) {
  const auto rule = ParseIdentityRule("username {device}&{product}");
  ASSERT_TRUE(rule) << rule.error().message;
  EXPECT_EQ(Match(*rule, "dev001&a1TestPK01"), (core::DeviceKey{"a1TestPK01", "dev001"}));
  EXPECT_EQ(Match(*rule, "a&b&c"), std::nullopt);  // no name has an '&'
  EXPECT_EQ(Match(*rule, "pump/p1"), std::nullopt);
}

}  // namespace
}  // namespace ota::guard
