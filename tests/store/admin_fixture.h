// A database as the plugin would make it, for tests of the administrator's side.
#pragma once

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "store/admin.h"
#include "store/scratch.h"

namespace ota::store {

class AdminTest : public testing::Test {
 protected:
  AdminTest() {
    directory_ = MakeScratch();
    path_ = directory_ + "/ota.db";
    Prepared("", path_, [&] { Make(); });
    sqlite3_open(path_.c_str(), &raw_);
    Raw("PRAGMA synchronous = OFF");
  }

  ~AdminTest() override {
    sqlite3_close_v2(raw_);
    std::filesystem::remove_all(directory_);
  }

  void Make() {
    sqlite3_open(path_.c_str(), &raw_);
    std::vector<std::filesystem::path> steps;
    for (const auto& entry : std::filesystem::directory_iterator(OTA_SOURCE_DIR "/schema")) {
      if (entry.path().extension() == ".sql" && std::isdigit(entry.path().filename().string()[0])) {
        steps.push_back(entry.path());
      }
    }
    std::sort(steps.begin(), steps.end());
    Raw("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; BEGIN");
    for (const auto& step : steps) {
      std::ifstream file(step);
      Raw(std::string(std::istreambuf_iterator<char>(file), {}));
    }
    Raw("COMMIT");
    const std::string number = steps.back().filename().string().substr(0, 4);
    Raw("PRAGMA user_version = " + std::to_string(std::stoi(number)));
    Raw("PRAGMA application_id = 0x4F544131");
    sqlite3_close_v2(raw_);
  }

  // Runs SQL as the engine would, in a transaction that the guards let pass.
  void AsEngine(const std::string& sql) {
    Raw("BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;" + sql +
        "; UPDATE engine_state SET writing = 0; COMMIT");
  }

  void Raw(const std::string& sql) {
    char* message = nullptr;
    const int code = sqlite3_exec(raw_, sql.c_str(), nullptr, nullptr, &message);
    ASSERT_EQ(code, SQLITE_OK) << (message == nullptr ? "" : message) << "\n" << sql.substr(0, 200);
    sqlite3_free(message);
  }

  // The first column of every row, separated by newlines; columns of a row by '|'.
  std::string Ask(const std::string& sql) {
    std::string answer;
    char* message = nullptr;
    const int code = sqlite3_exec(
        raw_, sql.c_str(),
        [](void* out, int count, char** values, char**) {
          auto& text = *static_cast<std::string*>(out);
          text += text.empty() ? "" : "\n";
          for (int i = 0; i < count; ++i) {
            text += (i > 0 ? "|" : "") + std::string(values[i] == nullptr ? "" : values[i]);
          }
          return 0;
        },
        &answer, &message);
    EXPECT_EQ(code, SQLITE_OK) << (message == nullptr ? "" : message) << "\n" << sql;
    sqlite3_free(message);
    return answer;
  }

  Admin Open() {
    auto admin = Admin::Open(path_, std::chrono::milliseconds(50));
    EXPECT_TRUE(admin) << (admin ? "" : admin.error().message);
    return std::move(*admin);
  }

  std::string directory_;
  std::string path_;
  sqlite3* raw_ = nullptr;
};

}  // namespace ota::store
