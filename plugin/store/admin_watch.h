// What admin.cc and import.cc share: the connection, and what its hooks note. Inside the store
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include "store/admin.h"

namespace ota::store {

struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalizer>;

struct ColumnInfo {
  std::string name;
  bool integer = false;
  bool blob = false;
  bool required = false;                     // NOT NULL
  int key = 0;                               // place in the primary key, from 1; 0: none
  std::optional<std::string> default_value;  // as SQL
};

struct WatchState {
  bool installed = false;
  bool script = false;  // a statement of a script is prepared: the authorizer refuses
  std::string refusal;  // what it said last
  std::string row;      // the row that was about to change last
  std::string table;    // its table, and its values as they would be
  std::map<std::string, Value, std::less<>> values;
  std::int64_t rows = 0;  // of the statement
  Changes changes;
};

struct AdminState {
  static WatchState& Of(Admin& admin);
  static sqlite3* Db(const Admin& admin);
  static core::Result<std::vector<ColumnInfo>> Columns(Admin& admin, std::string_view table);
  // What `message`, a guard's, leaves unsaid of a profile's rule: "; value, limits", or nothing. Of
  // the row that was noted last, in the transaction that is still open.
  static std::string BrokenRule(Admin& admin, std::string_view message);
};

}  // namespace ota::store
