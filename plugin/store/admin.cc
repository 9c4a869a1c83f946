// The connection of admin.h, by the C interface: an authorizer and temporary triggers watch what a
// script does.
#include "store/admin.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include <sqlite3.h>

#include "schema_steps.h"
#include "store/admin_watch.h"

namespace ota::store {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::array<std::string_view, 21> kAdminTables{
    "profile",       "file_format", "product",      "component",  "device",         "device_tag",
    "device_secret", "package",     "package_file", "plan",       "plan_component", "plan_source",
    "plan_device",   "plan_text",   "plan_tag",     "plan_retry", "plan_match",     "hold",
    "telemetry",     "setting",     "request"};

constexpr int kApplicationId = 0x4F544131;  // "OTA1"; the same as in store.h

ErrorCode CodeOf(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_AUTH:
    case SQLITE_MISMATCH:
      return ErrorCode::kConflict;
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_MISUSE:
      return ErrorCode::kInternal;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kCorruption;
    default:
      return ErrorCode::kUnavailable;
  }
}

void Bind(sqlite3_stmt* statement, int index, const Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    sqlite3_bind_int64(statement, index, *integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    sqlite3_bind_double(statement, index, *real);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_TRANSIENT,
                        SQLITE_UTF8);
  } else {
    sqlite3_bind_null(statement, index);
  }
}

std::string Bytes(sqlite3_stmt* statement, int column) {
  const void* bytes = sqlite3_column_blob(statement, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
}

Value ColumnValue(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
      return std::monostate{};
    case SQLITE_INTEGER:
      return std::int64_t{sqlite3_column_int64(statement, column)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    default:
      return Bytes(statement, column);
  }
}

constexpr char kSchema[] = "the schema cannot be changed by an import";

// Whether a script may do `action`; if not, why.
const char* Refusal(int action, const char* name, const char* detail, const char* trigger) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
      return nullptr;
    case SQLITE_READ:
      // As tables, newer versions of SQLite do not ask for a PRAGMA.
      return std::string_view(name).starts_with("pragma_") ? kSchema : nullptr;
    case SQLITE_FUNCTION:
      return std::string_view(detail) == "load_extension" ? "extensions cannot be loaded" : nullptr;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
      if (std::string_view(name).starts_with("sqlite_")) {
        return kSchema;
      }
      if (trigger == nullptr && action != SQLITE_DELETE &&
          std::string_view(name) == "device_secret") {
        return "holds encrypted secrets: give them with `otactl device add` or `otactl device "
               "secret`, in clear they must not get into the database";
      }
      // A script cannot make triggers, so a trigger is the schema's own.
      return trigger != nullptr || std::ranges::find(kAdminTables, name) != kAdminTables.end()
                 ? nullptr
                 : "is not a table that people write; see the views, or insert a row into "
                   "'request'";
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
      return "an import is one transaction: BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not for "
             "scripts";
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return "other databases cannot be attached";
    case SQLITE_PRAGMA:
      return "PRAGMA is not for scripts";
    default:
      return kSchema;
  }
}

int Authorize(void* user, int action, const char* first, const char* second, const char* /*db*/,
              const char* trigger) {
  auto* watch = static_cast<WatchState*>(user);
  if (!watch->script) {
    return SQLITE_OK;
  }
  const char* why = Refusal(action, first, second, trigger);
  if (why == nullptr) {
    return SQLITE_OK;
  }
  const bool table = why != kSchema && (action == SQLITE_INSERT || action == SQLITE_UPDATE ||
                                        action == SQLITE_DELETE);
  watch->refusal = table ? "'" + std::string(first) + "' " + why : why;
  return SQLITE_DENY;
}

std::string Shown(sqlite3_value* value) {
  const auto* text = sqlite3_value_text(value);
  const auto size = static_cast<std::size_t>(sqlite3_value_bytes(value));
  return text == nullptr ? "" : std::string(reinterpret_cast<const char*>(text), size);
}

// ota_row(table, keys, name, value, ...): remembers the row that is about to change; the first
// `keys` pairs say which one it is.
void NoteRow(sqlite3_context* context, int count, sqlite3_value** values) {
  auto* watch = static_cast<WatchState*>(sqlite3_user_data(context));
  ++watch->rows;
  watch->table = Shown(values[0]);
  watch->row = watch->table + ":";
  watch->values.clear();
  const int keys = 2 * sqlite3_value_int(values[1]);
  for (int i = 2; i + 1 < count; i += 2) {
    if (i - 2 < keys) {
      watch->row += (i > 2 ? ", " : " ") + Shown(values[i]) + "='" + Shown(values[i + 1]) + "'";
    }
    if (sqlite3_value_type(values[i + 1]) != SQLITE_NULL) {
      watch->values.emplace(Shown(values[i]), Shown(values[i + 1]));
    } else {
      watch->values.emplace(Shown(values[i]), std::monostate{});
    }
  }
}

// ota_count(table, act): counts a row that has changed.
void NoteChange(sqlite3_context* context, int /*count*/, sqlite3_value** values) {
  auto* watch = static_cast<WatchState*>(sqlite3_user_data(context));
  Counts& counts = watch->changes[Shown(values[0])];
  const std::string act = Shown(values[1]);
  (act == "insert" ? counts.inserted : act == "update" ? counts.updated : counts.deleted) += 1;
}

// What follows the table in a call of ota_row. `key`, `row`: OLD or NEW.
std::string RowArguments(const std::vector<ColumnInfo>& columns, const std::string& key,
                         const std::string& row) {
  std::string arguments;
  int keys = 0;
  for (const bool of_key : {true, false}) {
    for (const ColumnInfo& column : columns) {
      // A number that the database has yet to give (request.id) says nothing.
      const bool given = column.integer && column.key == 1 && column.name == "id";
      if ((column.key > 0) == of_key && !given && !column.blob) {
        keys += of_key ? 1 : 0;
        arguments +=
            ", '" + column.name + "', " + (of_key ? key : row) + ".\"" + column.name + "\"";
      }
    }
  }
  return ", " + std::to_string(keys) + arguments;
}

}  // namespace

WatchState& AdminState::Of(Admin& admin) {
  return *admin.watch_;
}
sqlite3* AdminState::Db(const Admin& admin) {
  return admin.db_.get();
}

void Admin::Closer::operator()(sqlite3* db) const {
  sqlite3_close_v2(db);
}
void Admin::WatchDeleter::operator()(WatchState* watch) const {
  delete watch;
}

std::span<const std::string_view> AdminTables() {
  return kAdminTables;
}

Admin::Admin(std::unique_ptr<sqlite3, Closer> db, std::unique_ptr<WatchState, WatchDeleter> watch)
    : watch_(std::move(watch)), db_(std::move(db)) {}

core::Error Admin::Failure(int code, const std::string& context) const {
  std::string message = sqlite3_errmsg(db_.get());
  if ((code & 0xff) == SQLITE_BUSY) {
    message = "is locked by another program (an open transaction?)";
  } else if ((code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY ||
             (code & 0xff) == SQLITE_PERM) {
    message += "; run this as root, or as the user that owns the database";
  }
  return core::Error{CodeOf(code), context + ": " + message};
}

core::Result<std::vector<ColumnInfo>> AdminState::Columns(Admin& admin, std::string_view table) {
  const std::array<Value, 1> parameters{std::string(table)};
  auto rows = admin.Query(
      "SELECT name, type, \"notnull\", pk, dflt_value FROM pragma_table_info(?1) ORDER BY cid",
      parameters);
  if (!rows) {
    return tl::unexpected(rows.error());
  }
  std::vector<ColumnInfo> columns;
  for (const auto& row : rows->rows) {
    ColumnInfo column;
    column.name = std::get<std::string>(row[0]);
    column.integer = std::get<std::string>(row[1]) == "INTEGER";
    column.blob = std::get<std::string>(row[1]) == "BLOB";
    column.required = std::get<std::int64_t>(row[2]) != 0;
    column.key = static_cast<int>(std::get<std::int64_t>(row[3]));
    if (const auto* text = std::get_if<std::string>(&row[4])) {
      column.default_value = *text;
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

core::Result<Admin> Admin::Open(const std::string& path, core::Duration wait) {
  return OpenAny(path, wait, false);
}

core::Result<Admin> Admin::OpenOlder(const std::string& path) {
  return OpenAny(path, core::Duration{0}, true);
}

core::Result<Admin> Admin::OpenAny(const std::string& path, core::Duration wait, bool older) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Fail(ErrorCode::kUnavailable,
                "database '" + path + "': " +
                    (error ? error.message()
                           : "does not exist; the plugin creates it: start the broker first"));
  }
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  Admin admin(std::unique_ptr<sqlite3, Closer>(raw),
              std::unique_ptr<WatchState, WatchDeleter>(new WatchState));
  const std::string name = "database '" + path + "'";
  if (code != SQLITE_OK) {
    return tl::unexpected(admin.Failure(code, name));
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, static_cast<int>(wait.count()));
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  for (const char* sql : {"SELECT (SELECT application_id FROM pragma_application_id), "
                          "(SELECT user_version FROM pragma_user_version)",
                          "PRAGMA recursive_triggers = ON", "PRAGMA temp_store = MEMORY"}) {
    auto rows = admin.Query(sql);
    if (!rows) {
      return tl::unexpected(core::Error{rows.error().code, name + ": " + rows.error().message});
    }
    if (rows->rows.empty()) {
      continue;
    }
    const auto id = std::get<std::int64_t>(rows->rows[0][0]);
    const auto version = std::get<std::int64_t>(rows->rows[0][1]);
    const int known = kSchemaSteps[std::size(kSchemaSteps) - 1].number;
    if (id != kApplicationId) {
      return Fail(ErrorCode::kUnsupported, name + ": belongs to another program");
    }
    if (version > known) {
      return Fail(ErrorCode::kUnsupported, name + ": has schema " + std::to_string(version) +
                                               ", newer than schema " + std::to_string(known) +
                                               " of this otactl: install the newer otactl");
    }
    if (version < known && !older) {
      return Fail(ErrorCode::kUnsupported,
                  name + ": has schema " + std::to_string(version) + ", older than schema " +
                      std::to_string(known) +
                      " of this otactl: the plugin migrates it when the broker starts; wait if "
                      "it has just started, else restart it");
    }
  }
  return admin;
}

core::Result<Rows> Admin::Query(std::string_view sql, std::span<const Value> parameters) {
  sqlite3_stmt* raw = nullptr;
  int code = sqlite3_prepare_v2(db_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
  const Statement statement(raw);
  if (code != SQLITE_OK) {
    return tl::unexpected(Failure(code, "database"));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Bind(raw, static_cast<int>(i) + 1, parameters[i]);
  }
  Rows rows;
  const int width = sqlite3_column_count(raw);
  for (int i = 0; i < width; ++i) {
    rows.columns.emplace_back(sqlite3_column_name(raw, i));
  }
  while ((code = sqlite3_step(raw)) == SQLITE_ROW) {
    auto& row = rows.rows.emplace_back();
    for (int i = 0; i < width; ++i) {
      row.push_back(ColumnValue(raw, i));
    }
  }
  if (code != SQLITE_DONE) {
    core::Error failure = Failure(code, "database");
    if (failure.code == ErrorCode::kConflict) {
      failure.message = sqlite3_errmsg(db_.get());
    }
    if (code == SQLITE_CONSTRAINT_TRIGGER) {
      failure.message += AdminState::BrokenRule(*this, failure.message);
    }
    return tl::unexpected(failure);
  }
  return rows;
}

// Temporary triggers of this connection fire before the schema's own, so they know the row at which
// a statement failed, and they count what really changed.
core::Result<void> Admin::InstallWatch() {
  if (watch_->installed) {
    return {};
  }
  sqlite3_create_function(db_.get(), "ota_row", -1, SQLITE_UTF8 | SQLITE_INNOCUOUS, watch_.get(),
                          NoteRow, nullptr, nullptr);
  sqlite3_create_function(db_.get(), "ota_count", 2, SQLITE_UTF8 | SQLITE_INNOCUOUS, watch_.get(),
                          NoteChange, nullptr, nullptr);
  for (const std::string_view table : kAdminTables) {
    auto columns = AdminState::Columns(*this, table);
    if (!columns) {
      return tl::unexpected(columns.error());
    }
    const std::string name(table);
    std::string differs;
    for (const ColumnInfo& column : *columns) {
      if (table == "plan_device" && column.name == "position") {
        continue;  // given by a trigger, not by people
      }
      differs += (differs.empty() ? "" : " OR ") + ("OLD.\"" + column.name + "\" IS NOT NEW.\"") +
                 column.name + "\"";
    }
    const auto before = [&](const std::string& act, const std::string& key,
                            const std::string& row) {
      return "CREATE TEMP TRIGGER ota_before_" + act + "_" + name + " BEFORE " + act +
             " ON main.\"" + name + "\" BEGIN SELECT ota_row('" + name + "'" +
             RowArguments(*columns, key, row) + "); END";
    };
    const auto after = [&](const std::string& act, const std::string& when) {
      return "CREATE TEMP TRIGGER ota_after_" + act + "_" + name + " AFTER " + act + " ON main.\"" +
             name + "\" " + when + " BEGIN SELECT ota_count('" + name + "', '" + act + "'); END";
    };
    for (const std::string& sql : {before("insert", "NEW", "NEW"), before("update", "OLD", "NEW"),
                                   before("delete", "OLD", "OLD"), after("insert", ""),
                                   after("update", "WHEN " + differs), after("delete", "")}) {
      if (auto done = Query(sql); !done) {
        return tl::unexpected(done.error());
      }
    }
  }
  // The first use of a table-valued function asks for a write to sqlite_master, which is none.
  if (auto made = Query("SELECT 1 FROM json_each('[]'), json_tree('[]')"); !made) {
    return tl::unexpected(made.error());
  }
  sqlite3_set_authorizer(db_.get(), Authorize, watch_.get());
  watch_->installed = true;
  return {};
}

core::Result<void> Admin::Begin() {
  if (auto installed = InstallWatch(); !installed) {
    return installed;
  }
  watch_->changes.clear();
  if (auto begun = Query("BEGIN IMMEDIATE"); !begun) {
    return tl::unexpected(begun.error());
  }
  return {};
}

core::Result<void> Admin::SetAuthor(const Author& author, core::Instant at) {
  if (auto closed = Query("UPDATE import SET open = 0 WHERE open = 1"); !closed) {
    return tl::unexpected(closed.error());
  }
  const std::array<Value, 5> parameters{std::int64_t{at.time_since_epoch().count()}, author.who,
                                        author.host, author.file, author.sha256};
  auto added = Query(
      "INSERT INTO import (at_ms, who, host, file, sha256, open) VALUES (?1, ?2, ?3, ?4, ?5, 1)",
      parameters);
  if (!added) {
    return tl::unexpected(added.error());
  }
  return {};
}

core::Result<Changes> Admin::Commit() {
  if (watch_->changes.empty()) {
    return Rollback();
  }
  if (auto closed = Query("UPDATE import SET open = 0 WHERE open = 1"); !closed) {
    return tl::unexpected(closed.error());
  }
  if (auto done = Query("COMMIT"); !done) {
    return tl::unexpected(done.error());
  }
  return std::exchange(watch_->changes, {});
}

Changes Admin::Rollback() {
  // A statement with OR ROLLBACK may have ended the transaction already.
  if (sqlite3_get_autocommit(db_.get()) == 0) {
    sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  return std::exchange(watch_->changes, {});
}

}  // namespace ota::store
