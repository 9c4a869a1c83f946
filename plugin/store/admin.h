// An administrator's connection to the database: reads views, and changes the admin tables in one
// transaction that records who did it. Used by otactl; the plugin has its own connection (store.h).
//
// It opens a database that exists and never creates or migrates one: the plugin does that. Foreign
// keys and recursive triggers are on, and a lock of another process is waited for. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/model.h"
#include "core/result.h"

struct sqlite3;

namespace ota::store {

struct WatchState;  // what the hooks of the connection note; inside the store only

using Value = std::variant<std::monostate, std::int64_t, double, std::string>;

struct Rows {
  std::vector<std::string> columns;
  std::vector<std::vector<Value>> rows;
};

// Who makes a change: one row of the table `import`; the journal points to it.
struct Author {
  std::string who;     // login name, see who.h
  std::string host;    // this machine's name
  std::string file;    // path of the imported file, or the command
  std::string sha256;  // of the file's bytes, lower-case hex; empty for a command
};

// What a transaction changed, by table: rows that were inserted, changed to another value, deleted.
struct Counts {
  std::int64_t inserted = 0;
  std::int64_t updated = 0;
  std::int64_t deleted = 0;
};
using Changes = std::map<std::string, Counts, std::less<>>;

// Asked now and then in a long import, with the bytes of the file done so far and in all.
using ImportProgress = std::function<void(std::size_t done, std::size_t total)>;

// Gives a device its secret; called inside the transaction, after the device's own row.
using PutSecret =
    std::function<core::Result<void>(const core::DeviceKey& device, const std::string& secret)>;

// Every call fails with kUnavailable (locked for longer than `wait`, disk full, not readable),
// kCorruption (damaged), or as it says.
class Admin {
 public:
  // Opens `path`. Fails with kUnavailable when there is none, kUnsupported when it belongs to
  // another program, to a newer schema or to an older one that the plugin has not migrated yet.
  static core::Result<Admin> Open(const std::string& path, core::Duration wait);
  // As Open, but also takes a database of an older schema: a backup, which nobody else uses.
  static core::Result<Admin> OpenOlder(const std::string& path);

  // Runs one statement; `parameters` are bound to ?1, ?2 ... in order. Fails with kConflict when
  // the database refuses it, kInternal when it is not SQL.
  core::Result<Rows> Query(std::string_view sql, std::span<const Value> parameters = {});

  // Starts the transaction: takes the write lock.
  core::Result<void> Begin();
  // From here on changes are this author's.
  core::Result<void> SetAuthor(const Author& author, core::Instant at);
  // Ends the transaction and gives what it changed. A transaction that changed nothing leaves no
  // trace.
  core::Result<Changes> Commit();
  // Ends the transaction as if it had never been, and gives what it would have changed.
  Changes Rollback();

  // Runs the SQL script `text`, statement by statement, in the transaction. Refused are transaction
  // control, ATTACH, PRAGMA, changes of the schema and of tables that are not an administrator's,
  // commands of the sqlite3 shell, statements that only read, and a last statement without its
  // semicolon. Fails with kInvalidArgument or kConflict: "file:line: reason", with the row where it
  // is known. After a failure the transaction must be rolled back.
  core::Result<void> ImportSql(const std::string& file, std::string_view text,
                               const ImportProgress& progress);

  // Puts the rows of the CSV `text` (RFC 4180, UTF-8, the first row names columns) into the admin
  // table `table`. `constants` are further columns with one value for all rows. A row whose key
  // exists is changed to what the file says, columns that the file does not name keep their value;
  // nothing is deleted. A field that is empty and not quoted is NULL where the column may be NULL,
  // else empty text. Fails as ImportSql: "file:line: column 'x': reason".
  core::Result<void> ImportCsv(const std::string& file, std::string_view text,
                               const std::string& table,
                               std::span<const std::pair<std::string, std::string>> constants,
                               const ImportProgress& progress);

  // Puts devices, as ImportCsv into `device`, whose secrets stand in a further column `secret`:
  // these go to `put` alone. An empty one leaves the device's secret as it is.
  core::Result<void> ImportDevices(const std::string& file, std::string_view text,
                                   std::span<const std::pair<std::string, std::string>> constants,
                                   const PutSecret& put, const ImportProgress& progress);

 private:
  friend struct AdminState;
  core::Result<void> ImportRows(const std::string& file, std::string_view text,
                                const std::string& table,
                                std::span<const std::pair<std::string, std::string>> constants,
                                const PutSecret& put, const ImportProgress& progress);
  struct Closer {
    void operator()(sqlite3* db) const;
  };
  struct WatchDeleter {
    void operator()(WatchState* watch) const;
  };
  Admin(std::unique_ptr<sqlite3, Closer> db, std::unique_ptr<WatchState, WatchDeleter> watch);
  static core::Result<Admin> OpenAny(const std::string& path, core::Duration wait, bool older);
  core::Result<void> InstallWatch();
  core::Error Failure(int code, const std::string& context) const;

  // The hooks of `db_` point into `watch_`, so the connection is closed first.
  std::unique_ptr<WatchState, WatchDeleter> watch_;
  std::unique_ptr<sqlite3, Closer> db_;
};

// The tables that people write, in an order in which references come after what they refer to.
std::span<const std::string_view> AdminTables();

}  // namespace ota::store
