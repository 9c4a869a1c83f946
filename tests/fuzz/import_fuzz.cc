// Any bytes as an administrator's file: the first line says what it is ("sql", or the table of a
// CSV; "secrets" is the CSV of devices), the rest is the file. Whatever it holds: only the tables
// of people change, a refusal names file and line, the transaction is still the importer's to end,
// and rolled back, nothing is left of it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/check.h"
#include "store/admin.h"
#include "store/store.h"

namespace ota::store {
namespace {

using fuzz::Check;

constexpr std::string_view kPeople =
    "INSERT INTO product(name) VALUES ('pump');\n"
    "INSERT INTO component(product, name) VALUES ('pump', 'main');\n"
    "INSERT INTO device(product, name) VALUES ('pump', 'd1');\n"
    "INSERT INTO package(product, name, component, version) VALUES ('pump', 'p2', 'main', '2');\n"
    "INSERT INTO package_file(product, package, path) VALUES ('pump', 'p2', 'p2.bin');\n"
    "INSERT INTO plan(name, product) VALUES ('spring', 'pump');\n"
    "INSERT INTO plan_component(plan, seq, component, full) VALUES ('spring', 1, 'main', 'p2');\n";
constexpr const char* kStateRows =
    "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM log), (SELECT count(*) FROM "
    "device_state), (SELECT count(*) FROM plan_state), (SELECT count(*) FROM package_state), "
    "(SELECT count(*) FROM device_secret), (SELECT writing FROM engine_state), (SELECT count(*) "
    "FROM sqlite_schema)";
constexpr const char* kPeoplesRows =
    "SELECT (SELECT count(*) FROM product), (SELECT count(*) FROM device), (SELECT count(*) FROM "
    "package), (SELECT count(*) FROM plan), (SELECT count(*) FROM plan_component), (SELECT "
    "count(*) FROM setting), (SELECT max(id) FROM journal), (SELECT count(*) FROM import)";

// In a directory that goes away with the program.
class Database {
 public:
  Database() {
    const bool memory = std::filesystem::is_directory("/dev/shm");
    directory_ =
        (memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
        "import_fuzz-XXXXXX";
    Check(::mkdtemp(directory_.data()) != nullptr, "a directory for the database");
    Check(Store::Open(directory_ + "/ota.db", core::Instant{}, {}).has_value(), "a database");
    Begin();
    Check(admin().ImportSql("people.sql", kPeople, {}).has_value(), "some rows");
    Check(admin().Commit().has_value(), "which are kept");
    state_ = Read(kStateRows);
    people_ = Read(kPeoplesRows);
  }
  ~Database() {
    admin_.reset();
    std::filesystem::remove_all(directory_);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Admin& admin() {
    if (!admin_) {
      auto opened = Admin::Open(directory_ + "/ota.db", core::Duration{1000});
      Check(opened.has_value(), "an administrator's connection");
      admin_.emplace(std::move(*opened));
    }
    return *admin_;
  }
  void Begin() {
    Check(admin().Begin().has_value(), "a transaction");
    Check(admin().SetAuthor({"alice", "box", "file", "0"}, core::Instant{}).has_value(),
          "an author");
  }
  std::vector<std::vector<Value>> Read(const char* sql) {
    auto rows = admin().Query(sql);
    Check(rows.has_value(), "readable");
    return rows->rows;
  }
  void CheckState() { Check(Read(kStateRows) == state_, "only the tables of people change"); }
  void CheckRolledBack() {
    CheckState();
    Check(Read(kPeoplesRows) == people_, "nothing is left");
  }

 private:
  std::string directory_;
  std::optional<Admin> admin_;
  std::vector<std::vector<Value>> state_;
  std::vector<std::vector<Value>> people_;
};

core::Result<void> Import(Admin& admin, const std::string& kind, std::string_view text) {
  if (kind == "sql") {
    return admin.ImportSql("file", text, {});
  }
  if (kind == "secrets") {
    return admin.ImportDevices(
        "file", text, {},
        [](const core::DeviceKey&, const std::string&) { return core::Result<void>(); }, {});
  }
  return admin.ImportCsv("file", text, kind, {}, {});
}

void CheckFile(std::string_view text) {
  static Database database;
  const std::string kind(text.substr(0, text.find('\n')));
  text.remove_prefix(std::min(kind.size() + 1, text.size()));
  database.Begin();
  const auto done = Import(database.admin(), kind, text);
  if (done) {
    database.CheckState();
  } else {
    Check(done.error().message.starts_with("file:") ||
              done.error().message.find('\'') != std::string::npos,
          "a reason that names the place");
  }
  Check(!database.admin().Begin().has_value(), "the transaction is still open");
  database.admin().Rollback();
  database.CheckRolledBack();
}

}  // namespace
}  // namespace ota::store

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a text is.
  ota::store::CheckFile({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
