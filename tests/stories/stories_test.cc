// Every story in this directory, one test each.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "stories/story.h"

namespace ota::stories {
namespace {

std::vector<std::filesystem::path> Files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(OTA_SOURCE_DIR) / "tests/stories")) {
    if (entry.path().extension() == ".txt") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

class Stories : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Stories, Happens) {
  Story told(GetParam());
  EXPECT_EQ(told.Run(), "");
}

INSTANTIATE_TEST_SUITE_P(All, Stories, testing::ValuesIn(Files()), [](const auto& story) {
  std::string name = story.param.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace ota::stories
