// Brings a database to the schema of this program: numbered steps, each in a transaction of its own
// (schema/README.md). Used by Store::Open() and by the tests; the engine thread.
#pragma once

#include <filesystem>
#include <span>

#include "core/result.h"

namespace SQLite {  // NOLINT(readability-identifier-naming): the library's
class Database;
}

namespace ota::store {

struct Step {
  int number;  // 1, 2, 3 ...: the user_version after it
  const char* name;
  const char* sql;
};

// The steps of schema/, in order.
std::span<const Step> SchemaSteps();

struct Migration {
  int from = 0;                  // user_version before
  std::filesystem::path backup;  // empty: none was made
};

// Runs the missing ones of `steps`. A database that has a version already is copied to PATH.vN.bak
// (0640) before the first. When a step fails, the database keeps the version before it.
core::Result<Migration> Migrate(SQLite::Database& database, const std::filesystem::path& path,
                                std::span<const Step> steps);

}  // namespace ota::store
