// Migrations: see migrate.h and schema/README.md.
#include "store/migrate.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "schema_steps.h"
#include "store/connection.h"

namespace ota::store {
namespace {

tl::unexpected<core::Error> SystemError(const std::filesystem::path& path, const char* what) {
  const int code = errno;
  return core::Fail(core::ErrorCode::kUnavailable, "'" + path.string() + "': " + what + ": " +
                                                       std::generic_category().message(code));
}

// The copy becomes visible under its name only when it is whole and on the disk.
Status Backup(SQLite::Database& database, const std::filesystem::path& to) {
  std::filesystem::path part = to;
  part += ".part";
  ::unlink(part.c_str());
  const Descriptor file(::open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (file.get() < 0 || ::fchmod(file.get(), 0640) != 0) {
    return SystemError(part, "the copy before the migration cannot be made");
  }
  SQLite::Statement vacuum(database, "VACUUM INTO ?1");
  vacuum.bind(1, part.string());
  vacuum.exec();
  if (::fsync(file.get()) != 0 || ::rename(part.c_str(), to.c_str()) != 0) {
    return SystemError(to, "the copy before the migration cannot be finished");
  }
  return {};
}

// One step, with its bookkeeping, in one transaction: it is done or it has not begun.
Status RunStep(SQLite::Database& database, const std::filesystem::path& path, const Step& step) {
  const auto failed = [&](core::ErrorCode code, const std::string& why) {
    return core::Fail(code, "database '" + path.string() + "': step " +
                                std::to_string(step.number) + " (" + step.name +
                                ") of the schema failed and was undone: " + why);
  };
  try {
    database.exec("BEGIN IMMEDIATE");
    database.exec(step.sql);
    SQLite::Statement check(database, "PRAGMA foreign_key_check");
    if (check.executeStep()) {
      const std::string table = check.getColumn(0).getString();
      check.reset();
      database.exec("ROLLBACK");
      return failed(core::ErrorCode::kConflict, "rows of table '" + table + "' refer to nothing");
    }
    check.reset();
    database.exec("PRAGMA application_id = " + std::to_string(kApplicationId));
    database.exec("PRAGMA user_version = " + std::to_string(step.number));
    database.exec("COMMIT");
  } catch (const SQLite::Exception& exception) {
    const int code = exception.getErrorCode();
    database.tryExec("ROLLBACK");
    return failed(CodeOf(code), exception.what());
  }
  return {};
}

}  // namespace

std::span<const Step> SchemaSteps() {
  static const std::vector<Step> steps = [] {
    std::vector<Step> all;
    for (const SchemaStep& step : kSchemaSteps) {
      all.push_back({step.number, step.name, step.sql});
    }
    return all;
  }();
  return steps;
}

int SchemaVersion() {
  return SchemaSteps().back().number;
}

core::Result<Migration> Migrate(SQLite::Database& database, const std::filesystem::path& path,
                                std::span<const Step> steps) {
  Migration migration;
  migration.from = database.execAndGet("PRAGMA user_version").getInt();
  if (steps.empty() || migration.from >= steps.back().number) {
    return migration;
  }
  if (migration.from > 0) {
    migration.backup = path;
    migration.backup += ".v" + std::to_string(migration.from) + ".bak";
    if (Status backup = Backup(database, migration.backup); !backup) {
      return tl::unexpected(backup.error());
    }
  }
  database.exec("PRAGMA foreign_keys = OFF");
  for (const Step& step : steps) {
    if (step.number <= migration.from) {
      continue;
    }
    if (Status done = RunStep(database, path, step); !done) {
      return tl::unexpected(done.error());
    }
  }
  database.exec("PRAGMA foreign_keys = ON");
  return migration;
}

}  // namespace ota::store
