// Range and conditional requests, as tables. Source: RFC 9110.
#include "package/range.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace ota::package {
namespace {

constexpr Range kWhole{Range::Kind::kWhole, 0, 99};
constexpr Range kUnsatisfiable{Range::Kind::kUnsatisfiable, 0, 0};
constexpr Range Part(std::int64_t first, std::int64_t last) {
  return {Range::Kind::kPart, first, last};
}

TEST(ParseRange, OfAHundredBytes) {
  const std::vector<std::pair<std::string, Range>> table = {
      {"bytes=0-0", Part(0, 0)},
      {"bytes=0-99", Part(0, 99)},
      {"bytes=10-19", Part(10, 19)},
      {"bytes=99-99", Part(99, 99)},
      {"bytes=0-", Part(0, 99)},
      {"bytes=99-", Part(99, 99)},
      {"bytes=50-1000", Part(50, 99)},
      {"bytes=50-99999999999999999999999999", Part(50, 99)},
      {"bytes=-1", Part(99, 99)},
      {"bytes=-100", Part(0, 99)},
      {"bytes=-101", Part(0, 99)},
      {"bytes=-99999999999999999999999999", Part(0, 99)},
      {"Bytes=5-6", Part(5, 6)},
      {"bytes= 5-6\t", Part(5, 6)},
      {"bytes=007-008", Part(7, 8)},
      {"bytes=100-", kUnsatisfiable},
      {"bytes=100-200", kUnsatisfiable},
      {"bytes=99999999999999999999999999-", kUnsatisfiable},
      {"bytes=-0", kUnsatisfiable},
      {"", kWhole},
      {"bytes", kWhole},
      {"bytes=", kWhole},
      {"bytes=-", kWhole},
      {"bytes=20-10", kWhole},
      {"bytes=a-b", kWhole},
      {"bytes=1-b", kWhole},
      {"bytes=+1-2", kWhole},
      {"bytes=1--2", kWhole},
      {"bytes=--2", kWhole},
      {"bytes=1 - 2", kWhole},
      {"bytes=0x1-0x2", kWhole},
      {"bytes=0-1,5-6", kWhole},
      {"bytes=0-1,", kWhole},
      {"bytes=,0-1", kWhole},
      {"bytes 0-1", kWhole},
      {"lines=0-1", kWhole},
      {"byte=0-1", kWhole},
  };
  for (const auto& [value, expected] : table) {
    const Range got = ParseRange(value, 100);
    EXPECT_EQ(got, expected) << value << ": " << got.first << "-" << got.last;
  }
}

TEST(ParseRange, OfOneByte) {
  EXPECT_EQ(ParseRange("bytes=0-0", 1), Part(0, 0));
  EXPECT_EQ(ParseRange("bytes=-5", 1), Part(0, 0));
  EXPECT_EQ(ParseRange("bytes=1-", 1), kUnsatisfiable);
}

TEST(MatchesEtag, ComparesTagsOfAList) {
  struct Row {
    std::string value;
    bool strong;
    bool weak;
  };
  const std::vector<Row> table = {
      {"\"ab\"", true, true},
      {" \"ab\" ", true, true},
      {"*", true, true},
      {"\"x\", \"ab\"", true, true},
      {"\"x\",\"ab\",\"y\"", true, true},
      {"W/\"ab\"", false, true},
      {"\"x\", W/\"ab\"", false, true},
      {"", false, false},
      {"ab", false, false},
      {"\"abc\"", false, false},
      {"\"AB\"", false, false},
      {"w/\"ab\"", false, false},
  };
  for (const Row& row : table) {
    EXPECT_EQ(MatchesEtag(row.value, "\"ab\"", false), row.strong) << row.value;
    EXPECT_EQ(MatchesEtag(row.value, "\"ab\"", true), row.weak) << row.value;
  }
}

}  // namespace
}  // namespace ota::package
