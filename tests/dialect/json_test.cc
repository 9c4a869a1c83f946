// The JSON reader refuses what is not exactly JSON, and the writer has few escapes.
#include "dialect/json.h"

#include <string>

#include <gtest/gtest.h>

#include "dialect/utf8.h"

namespace ota::dialect::json {
namespace {

tl::expected<Value, std::string> Read(std::string_view text) {
  return Parse(text, 16384);
}

std::string Nested(std::size_t levels) {
  return std::string(levels, '[') + std::string(levels, ']');
}

TEST(Parse, KeepsEveryKindOfValue) {
  const auto value = Read(R"( {"a":null,"b":[true,false],"c":-7,"d":1.5,"e":"x\n\u00e4"} )");
  ASSERT_TRUE(value) << value.error();
  const auto& object = *value->As<Object>();
  EXPECT_NE(Find(object, "a")->As<Null>(), nullptr);
  EXPECT_EQ(Find(object, "b")->As<Array>()->size(), 2U);
  EXPECT_EQ(*Find(object, "b")->As<Array>()->at(0).As<bool>(), true);
  EXPECT_EQ(*Find(object, "c")->As<std::int64_t>(), -7);
  EXPECT_NE(Find(object, "d")->As<OtherNumber>(), nullptr);
  EXPECT_EQ(*Find(object, "e")->As<std::string>(), "x\n\xC3\xA4");
  EXPECT_EQ(Find(object, "f"), nullptr);
}

// [N-5]
TEST(Parse, TakesIntegersByValue) {
  const struct {
    const char* text;
    std::int64_t value;
  } kIntegers[] = {
      {"0", 0},
      {"-0", 0},
      {"-0.0", 0},
      {"30", 30},
      {"30.0", 30},
      {"3e1", 30},
      {"3.0E+1", 30},
      {"300e-1", 30},
      {"9007199254740991", kMaxInteger},
      {"-9007199254740991", -kMaxInteger},
  };
  for (const auto& row : kIntegers) {
    const auto value = Read(row.text);
    ASSERT_TRUE(value) << row.text << value.error();
    ASSERT_NE(value->As<std::int64_t>(), nullptr) << row.text;
    EXPECT_EQ(*value->As<std::int64_t>(), row.value) << row.text;
  }
  for (const char* text : {"30.5", "1e-3", "9007199254740992", "-9007199254740992",
                           "9223372036854775808", "18446744073709551615", "18446744073709551616",
                           "-9223372036854775808", "1e300", "-1e300"}) {
    const auto value = Read(text);
    ASSERT_TRUE(value) << text << value.error();
    EXPECT_NE(value->As<OtherNumber>(), nullptr) << text;
  }
}

// [N-5]
TEST(Parse, RefusesWhatIsNotExactlyJson) {
  using std::string_literals::operator""s;
  for (const std::string& text : {
           ""s,
           " "s,
           "{"s,
           "}"s,
           "[1,]"s,
           "{\"a\":1,}"s,
           "{a:1}"s,
           "{'a':1}"s,
           "{\"a\"}"s,
           "{\"a\":}"s,
           "{\"a\":1 \"b\":2}"s,
           "{}{}"s,
           "{} x"s,
           "{}//"s,
           "/**/{}"s,
           "01"s,
           "1."s,
           ".5"s,
           "+1"s,
           "0x10"s,
           "NaN"s,
           "Infinity"s,
           "-"s,
           "1e"s,
           "1e999"s,
           "tru"s,
           "True"s,
           "\"abc"s,
           "\"\\x\""s,
           "\"\\u12g4\""s,
           "\"\\u12"s,
           "\"a\nb\""s,
           "\"a\tb\""s,
           "\"\x1f\""s,
           "\xEF\xBB\xBF{}"s,
           "{}\0"s,
           "{\"a\":\"\0\"}"s,
           "\"\\u0000\""s,
           "{\"\\u0000\":1}"s,
           "\"\\ud800\""s,
           "\"\\udc00\""s,
           "\"\\ud800\\ud800\""s,
           "\"\\udc00\\ud800\""s,
           "\"\\ud800x\""s,
           "\"\xff\""s,
           "\"\xc0\x80\""s,
           "\"\xed\xa0\x80\""s,
           "\"\xf4\x90\x80\x80\""s,
           "\"\xe2\x82\""s,
           "\"\x80\""s,
           "{\"\xff\":1}"s,
           "\xff"s,
           std::string(400, '9'),
       }) {
    EXPECT_FALSE(Read(text)) << text;
  }
}

TEST(Parse, TakesSurrogatePairs) {
  const auto value = Read(R"("\ud83d\ude00")");
  ASSERT_TRUE(value);
  EXPECT_EQ(*value->As<std::string>(), "\xF0\x9F\x98\x80");
}

// [N-5]
TEST(Parse, AllowsEightLevels) {
  EXPECT_TRUE(Read(Nested(kMaxDepth)));
  const auto deeper = Read(Nested(kMaxDepth + 1));
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error(), "nested deeper than 8 levels");
  EXPECT_FALSE(Read(Nested(8192)));
  EXPECT_FALSE(Read(std::string(16384, '[')));
}

// [N-5]
TEST(Parse, RefusesARepeatedNameAtEveryLevel) {
  const auto value = Read(R"({"b":1,"a":1,"b":2})");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error(), "repeated member 'b'");
  EXPECT_FALSE(Read(R"({"x":{"y":[{"a":1,"\u0061":1}]}})"));
  EXPECT_TRUE(Read(R"({"x":{"a":1},"y":{"a":1},"a":1,"A":1})"));
}

TEST(Parse, ARepeatedNameIsShownShortAndOnOneLine) {
  const std::string name(1000, 'n');
  const auto value = Read("{\"\\n" + name + "\":1,\"\\n" + name + "\":1}");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error(), "repeated member ' " + std::string(63, 'n') + "'");
}

// [N-5]
TEST(Parse, RefusesALongerText) {
  EXPECT_TRUE(Parse("\"123456\"", 8));
  EXPECT_EQ(Parse("\"1234567\"", 8).error(), "longer than 8 bytes");
}

TEST(Parse, SaysWhere) {
  EXPECT_EQ(Read("{\"a\":1,}").error().substr(0, 24), "malformed JSON at byte 7");
}

// [N-18]
TEST(Writer, IsCompact) {
  Writer out;
  out.BeginObject().Name("a").Integer(-1).Name("b").BeginArray().Text("x").Boolean(true);
  out.BeginObject().EndObject().BeginArray().EndArray().EndArray().Name("c").Boolean(false);
  out.EndObject();
  EXPECT_EQ(out.text(), R"({"a":-1,"b":["x",true,{},[]],"c":false})");
}

// [N-18]
TEST(Writer, HasThreeEscapesAndNoOther) {
  using std::string_literals::operator""s;
  Writer out;
  out.Text("q\" b\\ n\n t\t r\r nul\0 esc\x1b del\x7f / \xC3\xA4 \xF0\x9F\x98\x80 bad\xff\xc3"s);
  EXPECT_EQ(out.text(),
            "\"q\\\" b\\\\ n\\n t  r  nul  esc  del  / \xC3\xA4 \xF0\x9F\x98\x80 "
            "bad\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(Writer, WritesWhatTheReaderReads) {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) {
    every_byte += static_cast<char>(byte);
  }
  Writer out;
  out.BeginObject().Name(every_byte).Text(every_byte).EndObject();
  const auto value = Read(out.text());
  ASSERT_TRUE(value) << value.error();
  EXPECT_EQ(value->As<Object>()->at(0).name, *value->As<Object>()->at(0).value.As<std::string>());
}

TEST(Utf8, CutsBetweenCharacters) {
  const std::string text = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z";
  EXPECT_EQ(CountCharacters(text), 5U);
  EXPECT_EQ(CutCharacters(text, 3), "a\xC3\xA4\xE2\x82\xAC");
  EXPECT_EQ(CutCharacters(text, 9), text);
  EXPECT_EQ(CutCharacters(text, 0), "");
  EXPECT_EQ(CutBytes(text, 2), "a");
  EXPECT_EQ(CutBytes(text, 9), "a\xC3\xA4\xE2\x82\xAC");
  EXPECT_EQ(CutBytes(text, 10), "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(CutBytes(text, 99), text);
}

TEST(Utf8, KnowsTheEdgesOfEveryRange) {
  for (const char* good :
       {"", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xbf", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf", "\xe1\x80",
        "\xed\xa0\x80", "\xef\xbf\xc0", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

TEST(Utf8, OneLineHasNoControlCharacters) {
  EXPECT_EQ(OneLine("a\nb\x1b[31m\x7f\xC3\xA4"), "a b [31m \xC3\xA4");
  EXPECT_EQ(OneLine("\xC2\x9B"
                    "31m\xC2\x80\xC2\xA0\xC2"),
            " 31m \xC2\xA0\xC2");
  EXPECT_TRUE(HasControl("1.0\xC2\x9B"));
  EXPECT_FALSE(HasControl("\xC3\x9B\xC2\xA0"));
}

}  // namespace
}  // namespace ota::dialect::json
