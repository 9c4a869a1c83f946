// The examples of the protocol document, and the files in testdata, are what the code takes and
// gives.
//   testdata/KIND/*.json     uplinks that are understood without a warning
//   testdata/refused/*.json  KIND-FAULT.json: uplinks that are not
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dialect/dialect.h"
#include "dialect/downlinks.h"
#include "dialect/json.h"
#include "dialect/uplink_text.h"

namespace ota::dialect {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;

constexpr UplinkKind kKinds[] = {UplinkKind::kVersion, UplinkKind::kConfirm, UplinkKind::kProgress,
                                 UplinkKind::kBlock};

std::string Slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::optional<UplinkKind> KindOf(std::string_view name) {
  const auto* found = std::ranges::find(kKinds, name, UplinkName);
  return found == std::end(kKinds) ? std::nullopt : std::optional(*found);
}

// The lines of the document's JSON blocks, by what stands behind "```json ".
std::map<std::string, std::vector<std::string>> Examples() {
  constexpr std::string_view kFence = "```json ";
  std::map<std::string, std::vector<std::string>> examples;
  std::ifstream in(OTA_SOURCE_DIR "/plugin/dialect/README.md");
  std::string block;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(kFence)) {
      block = line.substr(kFence.size());
    } else if (line == "```") {
      block.clear();
    } else if (!block.empty()) {
      examples[block].push_back(line);
    }
  }
  return examples;
}

// What is decoded, written again and decoded again stays the same.
void ExpectRoundTrip(UplinkKind kind, const std::string& payload) {
  const Dialect& native = Dialects().front();
  const auto uplink = native.decode(kind, payload);
  ASSERT_TRUE(uplink) << payload << ": " << uplink.error().message;
  EXPECT_THAT(uplink->warnings, IsEmpty()) << payload;
  const std::string text = UplinkText::Of(*uplink);
  const auto again = native.decode(kind, text);
  ASSERT_TRUE(again) << text << ": " << again.error().message;
  EXPECT_THAT(again->warnings, IsEmpty()) << text;
  EXPECT_EQ(UplinkText::Of(*again), text);
}

TEST(Document, ItsUplinksAreUnderstood) {
  const auto examples = Examples();
  for (const UplinkKind kind : kKinds) {
    const auto found = examples.find("up/" + std::string(UplinkName(kind)));
    ASSERT_NE(found, examples.end()) << UplinkName(kind);
    for (const std::string& line : found->second) {
      ExpectRoundTrip(kind, line);
    }
  }
}

// [N-17] [N-18]
TEST(Document, ItsDownlinksAreWhatIsSent) {
  std::map<std::string, std::vector<core::Downlink>> sent{
      {"down/plan", {SpringOffer(), ConsentedOffer()}},
      {"down/download", {DeltaDownload(), BlocksDownload()}},
      {"down/cancel", {core::Cancel{"k7Qm2ZrT", "plan canceled"}}},
  };
  for (const core::Reply& reply : Replies()) {
    sent["down/reply"].emplace_back(reply);
  }
  const auto examples = Examples();
  EXPECT_EQ(examples.size(), sent.size() + std::size(kKinds));
  for (const auto& [block, downlinks] : sent) {
    std::vector<std::string> lines;
    for (const core::Downlink& downlink : downlinks) {
      const auto encoded =
          Dialects().front().encode({"p", "d"}, downlink, {.max_bytes = 2048, .now = kNow});
      ASSERT_TRUE(encoded);
      EXPECT_EQ(encoded->topic, "ota/v1/p/d/" + block);
      lines.push_back(encoded->payload);
    }
    const auto found = examples.find(block);
    ASSERT_NE(found, examples.end()) << block;
    EXPECT_EQ(found->second, lines) << block;
  }
}

TEST(Document, HasEveryClause) {
  const std::string text = Slurp(OTA_SOURCE_DIR "/plugin/dialect/README.md");
  for (int clause = 1; clause <= 33; ++clause) {
    const std::string id = "[N-" + std::to_string(clause) + "]";
    EXPECT_NE(text.find(id), std::string::npos) << id;
  }
}

TEST(Testdata, UplinksAreUnderstood) {
  int files = 0;
  for (const UplinkKind kind : kKinds) {
    for (const auto& entry : fs::directory_iterator(
             fs::path(OTA_SOURCE_DIR "/tests/dialect/testdata") / UplinkName(kind))) {
      ExpectRoundTrip(kind, Slurp(entry.path()));
      ++files;
    }
  }
  EXPECT_GT(files, 10);
}

TEST(Testdata, RefusedUplinksAreRefused) {
  int files = 0;
  for (const auto& entry :
       fs::directory_iterator(OTA_SOURCE_DIR "/tests/dialect/testdata/refused")) {
    const std::string name = entry.path().filename();
    const auto kind = KindOf(name.substr(0, name.find('-')));
    ASSERT_TRUE(kind) << name;
    EXPECT_FALSE(Dialects().front().decode(*kind, Slurp(entry.path()))) << name;
    ++files;
  }
  EXPECT_GT(files, 5);
}

}  // namespace
}  // namespace ota::dialect
