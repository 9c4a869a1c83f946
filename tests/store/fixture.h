// A directory that goes away, a store in it, and a bare `sqlite3` shell as people use it: another
// process, with its defaults.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "store/scratch.h"
#include "store/store.h"

namespace ota::store {

inline core::Instant At(std::int64_t ms) {
  return core::Instant(core::Duration(ms));
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override { directory_ = MakeScratch(); }
  void TearDown() override {
    store_.reset();
    std::error_code ignored;
    std::filesystem::permissions(directory_, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(directory_, ignored);
  }

  std::filesystem::path path() const { return directory_ / "ota.db"; }
  std::filesystem::path marker() const { return directory_ / "ota.db.commit"; }

  core::Result<std::unique_ptr<Store>> TryOpen(Options options = {}) {
    return Store::Open(path(), At(1'000'000), std::move(options));
  }
  Store& Reopen() {
    store_.reset();
    core::Result<std::unique_ptr<Store>> opened = TryOpen();
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    store_ = std::move(*opened);
    return *store_;
  }
  void Close() { store_.reset(); }
  // A copy of a fresh database in which `sql` was run: made once for all tests that ask for it.
  void Place(const std::string& sql) {
    Prepared(sql, path(), [&] {
      Reopen();
      Close();
      ASSERT_EQ(Shell(sql), "");
    });
  }

  // What a bare shell says, output and errors together.
  std::string Shell(const std::string& sql, const std::string& file = "ota.db") const {
    const std::filesystem::path script = directory_ / "script.sql";
    std::ofstream(script) << sql;
    const std::string command = "stdbuf -oL sqlite3 -batch -init /dev/null '" +
                                (directory_ / file).string() + "' <'" + script.string() + "' 2>&1";
    FILE* pipe = ::popen(command.c_str(), "r");
    std::string text;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
      text.push_back(static_cast<char>(c));
    }
    ::pclose(pipe);
    said_ += text;
    return text;
  }
  // What one shell says to each of several scripts: it goes on after an error.
  std::vector<std::string> Shell(const std::vector<std::string>& scripts) const {
    const std::string mark = "=== the next ===\n";
    std::string all;
    for (const std::string& script : scripts) {
      all += script + "\n.print " + mark;
    }
    const std::string text = Shell(all);
    std::vector<std::string> said;
    for (std::size_t at = 0, end; (end = text.find(mark, at)) != std::string::npos;
         at = end + mark.size()) {
      said.push_back(text.substr(at, end - at));
    }
    EXPECT_EQ(said.size(), scripts.size()) << text;
    said.resize(scripts.size());
    return said;
  }

 public:
  static std::string Read(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  static void WriteAt(const std::filesystem::path& file, std::streamoff at,
                      const std::string& bytes) {
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(at);
    out << bytes;
  }

  // A product with a component of each kind of package, a draft and an active plan.
  static constexpr const char* kPeople = R"(
INSERT INTO product(name) VALUES ('thermo'), ('pump');
INSERT INTO component(product, name) VALUES ('thermo', 'main'), ('thermo', 'radio'), ('pump', 'main');
INSERT INTO device(product, name) VALUES ('thermo', 'd1');
INSERT INTO package(product, name, component, kind, version) VALUES
  ('thermo', 'main-2', 'main', 'full', '2.0'), ('thermo', 'main-2d', 'main', 'delta', '2.0'),
  ('thermo', 'main-3', 'main', 'full', '3.0'), ('thermo', 'radio-2', 'radio', 'full', '2.0'),
  ('thermo', 'bare', 'main', 'full', '9.0'), ('pump', 'pump-2', 'main', 'full', '2.0');
INSERT INTO package_file(product, package, source, seq, path) VALUES
  ('thermo', 'main-2', '', 0, 'thermo/main-2.bin'), ('thermo', 'main-2d', '1.0', 0, 'thermo/1-2.bin'),
  ('thermo', 'main-2d', '1.1', 0, 'thermo/11-2.bin'), ('thermo', 'main-3', '', 0, 'thermo/main-3.bin'),
  ('thermo', 'radio-2', '', 0, 'thermo/radio.bin');
INSERT INTO plan(name, product, remarks, end_ms) VALUES ('spring', 'thermo', 'r', 9000000);
INSERT INTO plan_component(plan, seq, component, full, delta) VALUES
  ('spring', 1, 'main', 'main-2', 'main-2d'), ('spring', 2, 'radio', 'radio-2', NULL);
INSERT INTO plan_source(plan, component, version) VALUES ('spring', 'main', '1.0'), ('spring', 'main', '1.1');
INSERT INTO plan_device(plan, list, device, rank) VALUES ('spring', 'white', 'd1', 1), ('spring', 'black', 'd9', NULL);
INSERT INTO plan_text(plan, lang, text) VALUES ('spring', 'en', 'Spring');
INSERT INTO plan_tag(plan, key, value) VALUES ('spring', 'k', 'v');
UPDATE plan SET wanted = 'active' WHERE name = 'spring';
INSERT INTO plan(name, product) VALUES ('draft', 'thermo');
INSERT INTO plan_component(plan, seq, component, full) VALUES ('draft', 1, 'main', 'main-3');
)";

  std::filesystem::path directory_;
  std::unique_ptr<Store> store_;

 public:
  inline static std::string said_ = {};  // by all shells of this process
};

}  // namespace ota::store
