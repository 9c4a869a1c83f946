// Scripts and CSV files into the admin tables, within the transaction of an Admin. Hostile input is
// refused before it runs; every failure says where in the file it is.
#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

#include <sqlite3.h>

#include "store/admin.h"
#include "store/admin_watch.h"

namespace ota::store {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::size_t kProgressBytes = std::size_t{64} * 1024;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The line of an offset, counted forward from the last one asked for.
class Lines {
 public:
  Lines(const std::string& file, std::string_view text) : file_(file), text_(text) {}

  // "file:line"
  std::string At(std::size_t offset) {
    if (offset < offset_) {
      offset_ = 0;
      line_ = 1;
    }
    const std::string_view passed = text_.substr(offset_, offset - offset_);
    line_ += std::count(passed.begin(), passed.end(), '\n');
    offset_ = offset;
    return file_ + ":" + std::to_string(line_);
  }

 private:
  const std::string& file_;
  std::string_view text_;
  std::size_t offset_ = 0;
  std::ptrdiff_t line_ = 1;
};

// Offset of the first byte that is not part of UTF-8 text, or npos. NUL is not text.
std::size_t FirstBadByte(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    std::size_t length = 0;
    std::uint32_t least = 0;
    std::uint32_t code = 0;
    if (lead > 0 && lead < 0x80) {
      ++i;
      continue;
    }
    if (lead >= 0xC2 && lead < 0xE0) {
      length = 1;
      least = 0x80;
      code = lead & 0x1FU;
    } else if (lead >= 0xE0 && lead < 0xF0) {
      length = 2;
      least = 0x800;
      code = lead & 0x0FU;
    } else if (lead >= 0xF0 && lead < 0xF5) {
      length = 3;
      least = 0x10000;
      code = lead & 0x07U;
    } else {
      return i;
    }
    if (text.size() - i <= length) {
      return i;
    }
    for (std::size_t k = 1; k <= length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0U) != 0x80U) {
        return i;
      }
      code = (code << 6U) | (next & 0x3FU);
    }
    if (code < least || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      return i;
    }
    i += length + 1;
  }
  return std::string_view::npos;
}

core::Result<void> CheckText(Lines& lines, std::string_view text) {
  const std::size_t bad = FirstBadByte(text);
  if (bad != std::string_view::npos) {
    return Fail(ErrorCode::kInvalidArgument,
                lines.At(bad) + (text[bad] == '\0' ? ": a NUL byte" : ": not UTF-8 text"));
  }
  return {};
}

// Past white space, comments and empty statements.
std::size_t SkipBlank(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const std::string_view rest = text.substr(at);
    std::size_t skip = 0;
    if (std::string_view(" \t\r\n\f;").find(rest[0]) != std::string_view::npos) {
      skip = 1;
    } else if (rest.starts_with("--")) {
      skip = rest.find('\n');
    } else if (rest.starts_with("/*")) {
      skip = rest.find("*/", 2);
      skip = skip == std::string_view::npos ? skip : skip + 2;
    } else {
      return at;
    }
    at = skip == std::string_view::npos ? text.size() : at + skip;
  }
  return at;
}

// The message of a statement that failed while it ran, with the row where that is certain.
core::Error RunFailure(Admin& admin, int code, const std::string& where) {
  const WatchState& watch = AdminState::Of(admin);
  std::string message = sqlite3_errmsg(AdminState::Db(admin));
  const std::string said = message;
  switch (code) {
    case SQLITE_CONSTRAINT_DATATYPE:
      // Types are checked before the triggers, so the row noted last is the one before.
      message += " (row " + std::to_string(watch.rows + 1) + " of the statement)";
      break;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
      // References are counted up to the end of the statement.
      if (watch.rows == 1) {
        message += " (" + watch.row + ")";
      }
      break;
    default:
      if (!watch.row.empty()) {
        message += " (" + watch.row + ")";
      }
  }
  if (code == SQLITE_CONSTRAINT_TRIGGER) {
    message += AdminState::BrokenRule(admin, said);
  }
  const int primary = code & 0xff;
  ErrorCode kind = ErrorCode::kUnavailable;
  if (primary == SQLITE_CONSTRAINT || primary == SQLITE_MISMATCH || primary == SQLITE_AUTH) {
    kind = ErrorCode::kConflict;
  } else if (primary == SQLITE_ERROR || primary == SQLITE_TOOBIG || primary == SQLITE_RANGE) {
    kind = ErrorCode::kInvalidArgument;
  } else if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) {
    kind = ErrorCode::kCorruption;
  }
  return core::Error{kind, where + ": " + message};
}

void StartStatement(WatchState& watch) {
  watch.row.clear();
  watch.rows = 0;
}

struct Field {
  std::string text;
  bool quoted = false;
};

struct Record {
  std::size_t offset = 0;
  std::vector<Field> fields;
};

// The rule that a text breaks.
tl::unexpected<const char*> Broken(const char* rule) {
  return tl::unexpected<const char*>(rule);
}

// RFC 4180, with LF or CRLF at line ends.
class CsvReader {
 public:
  CsvReader(std::string_view text, std::size_t at) : text_(text), at_(at) {}

  std::size_t offset() const { return at_; }

  // Gives no record at the end of the text. Fails with the rule; offset() is then where it broke.
  tl::expected<std::optional<Record>, const char*> Next() {
    while (at_ < text_.size() && (text_[at_] == '\n' || text_.substr(at_, 2) == "\r\n")) {
      at_ += text_[at_] == '\n' ? 1U : 2U;
    }
    if (at_ >= text_.size()) {
      return std::nullopt;
    }
    Record record;
    record.offset = at_;
    while (true) {
      auto field = NextField();
      if (!field) {
        return tl::unexpected(field.error());
      }
      record.fields.push_back(std::move(*field));
      if (at_ < text_.size() && text_[at_] == ',') {
        ++at_;
        continue;
      }
      at_ += text_.substr(at_, 2) == "\r\n" ? 2U : at_ < text_.size() ? 1U : 0U;
      return record;
    }
  }

 private:
  bool AtEnd() const {
    return at_ >= text_.size() || text_[at_] == ',' || text_[at_] == '\n' ||
           text_.substr(at_, 2) == "\r\n";
  }

  tl::expected<Field, const char*> NextField() {
    Field field;
    if (at_ < text_.size() && text_[at_] == '"') {
      field.quoted = true;
      const std::size_t start = at_++;
      while (true) {
        const std::size_t quote = text_.find('"', at_);
        if (quote == std::string_view::npos) {
          at_ = start;
          return Broken("a quoted field has no end");
        }
        field.text.append(text_.substr(at_, quote - at_));
        at_ = quote + 1;
        if (at_ >= text_.size() || text_[at_] != '"') {
          break;
        }
        field.text += '"';
        ++at_;
      }
      if (!AtEnd()) {
        return Broken("text after the end of a quoted field");
      }
      return field;
    }
    while (!AtEnd()) {
      if (text_[at_] == '"') {
        return Broken("a quote inside a field that does not begin with one");
      }
      field.text += text_[at_++];
    }
    return field;
  }

  std::string_view text_;
  std::size_t at_;
};

// One table's statements. Columns are numbered as the file names them; constants come after.
struct CsvTarget {
  std::vector<ColumnInfo> columns;
  Statement exists;  // null: the key is given by the database, every row is new
  Statement update;  // null: the file names the key alone
  Statement insert;
};

std::string Quoted(const std::string& name) {
  return "\"" + name + "\"";
}

std::string Parameter(std::size_t index) {
  return "?" + std::to_string(index + 1);
}

core::Result<Statement> Prepare(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v3(db, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr) !=
      SQLITE_OK) {
    return Fail(ErrorCode::kInternal, std::string("database: ") + sqlite3_errmsg(db));
  }
  return Statement(raw);
}

core::Result<CsvTarget> PrepareCsv(Admin& admin, const std::string& where, const std::string& table,
                                   const std::vector<std::string>& names) {
  const auto tables = AdminTables();
  if (std::ranges::find(tables, table) == tables.end()) {
    std::string known;
    for (const std::string_view name : tables) {
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
    return Fail(ErrorCode::kInvalidArgument,
                where + ": '" + table + "' is not a table that people write; those are " + known);
  }
  if (table == "device_secret") {
    return Fail(ErrorCode::kConflict,
                where +
                    ": 'device_secret' holds encrypted secrets; give secrets with `otactl "
                    "device add --csv`");
  }
  auto all = AdminState::Columns(admin, table);
  if (!all) {
    return tl::unexpected(all.error());
  }
  CsvTarget target;
  std::string into;
  std::string values;
  std::string set;
  std::string differs;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto column = std::ranges::find(*all, names[i], &ColumnInfo::name);
    if (column == all->end()) {
      if (table == "device" && names[i] == "secret") {
        return Fail(ErrorCode::kConflict,
                    where +
                        ": column 'secret': secrets do not get into a table in clear; use "
                        "`otactl device add --csv`");
      }
      std::string known;
      for (const ColumnInfo& each : *all) {
        known += (known.empty() ? "" : ", ") + each.name;
      }
      return Fail(ErrorCode::kInvalidArgument, where + ": column '" + names[i] + "': table '" +
                                                   table + "' has no such column; it has " + known);
    }
    if (std::ranges::find(target.columns, names[i], &ColumnInfo::name) != target.columns.end()) {
      return Fail(ErrorCode::kInvalidArgument,
                  where + ": column '" + names[i] + "': is given twice");
    }
    target.columns.push_back(*column);
    into += (i > 0 ? ", " : "") + Quoted(names[i]);
    values += (i > 0 ? ", " : "") + Parameter(i);
    if (column->key == 0) {
      set += (set.empty() ? "" : ", ") + Quoted(names[i]) + " = " + Parameter(i);
      differs += (differs.empty() ? "" : " OR ") + Quoted(names[i]) + " IS NOT " + Parameter(i);
    }
  }
  std::string key;
  bool generated = false;
  for (const ColumnInfo& column : *all) {
    if (column.key == 0) {
      continue;
    }
    const auto named = std::ranges::find(names, column.name);
    std::string value;
    if (named != names.end()) {
      value = Parameter(static_cast<std::size_t>(named - names.begin()));
    } else if (column.default_value) {
      value = "(" + *column.default_value + ")";
    } else if (column.integer) {
      generated = true;
    } else {
      return Fail(ErrorCode::kInvalidArgument, where + ": column '" + column.name +
                                                   "': is missing; it is part of the key of '" +
                                                   table + "'");
    }
    key += (key.empty() ? "" : " AND ") + Quoted(column.name) + " = " + value;
  }
  sqlite3* db = AdminState::Db(admin);
  auto insert =
      Prepare(db, "INSERT INTO main." + Quoted(table) + " (" + into + ") VALUES (" + values + ")");
  if (!insert) {
    return tl::unexpected(insert.error());
  }
  target.insert = std::move(*insert);
  if (generated) {
    return target;
  }
  auto exists = Prepare(db, "SELECT 1 FROM main." + Quoted(table) + " WHERE " + key);
  if (!exists) {
    return tl::unexpected(exists.error());
  }
  target.exists = std::move(*exists);
  if (!set.empty()) {
    auto update = Prepare(db, "UPDATE main." + Quoted(table) + " SET " + set + " WHERE " + key +
                                  " AND (" + differs + ")");
    if (!update) {
      return tl::unexpected(update.error());
    }
    target.update = std::move(*update);
  }
  return target;
}

// Gives the rule that the field breaks, or null.
const char* BindField(sqlite3_stmt* statement, int index, const ColumnInfo& column,
                      const Field& field) {
  if (index > sqlite3_bind_parameter_count(statement)) {
    return nullptr;  // a statement need not use the last columns
  }
  if (field.text.empty() && !field.quoted && (!column.required || column.integer)) {
    if (column.required) {
      return "is empty, and must be an integer";
    }
    sqlite3_bind_null(statement, index);
  } else if (column.integer) {
    std::int64_t value = 0;
    const char* end = field.text.data() + field.text.size();
    const auto [stop, error] = std::from_chars(field.text.data(), end, value);
    if (error != std::errc{} || stop != end) {
      return "is not an integer";
    }
    sqlite3_bind_int64(statement, index, value);
  } else if (column.blob) {
    return "cannot be imported from CSV; use SQL";
  } else {
    sqlite3_bind_text64(statement, index, field.text.data(), field.text.size(), SQLITE_TRANSIENT,
                        SQLITE_UTF8);
  }
  return nullptr;
}

// Runs one of the target's statements for one record. Gives whether it found a row.
core::Result<bool> RunRow(Admin& admin, sqlite3_stmt* statement, const CsvTarget& target,
                          const Record& record, const std::string& where) {
  StartStatement(AdminState::Of(admin));
  for (std::size_t i = 0; i < target.columns.size(); ++i) {
    const char* rule =
        BindField(statement, static_cast<int>(i) + 1, target.columns[i], record.fields[i]);
    if (rule != nullptr) {
      return Fail(ErrorCode::kInvalidArgument, where + ": column '" + target.columns[i].name +
                                                   "': '" + record.fields[i].text + "' " + rule);
    }
  }
  const int code = sqlite3_step(statement);
  if (code != SQLITE_ROW && code != SQLITE_DONE) {
    core::Error failure = RunFailure(admin, code, where);
    sqlite3_reset(statement);
    return tl::unexpected(failure);
  }
  sqlite3_reset(statement);
  return code == SQLITE_ROW;
}

// Where a file of devices has what is needed to give secrets; past the end: it has not.
struct SecretColumns {
  std::size_t product = 0;
  std::size_t name = 0;
  std::size_t secret = 0;
};

SecretColumns FindSecretColumns(const std::vector<std::string>& names) {
  const auto find = [&names](const char* name) {
    return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
  };
  return {find("product"), find("name"), find("secret")};
}

}  // namespace

core::Result<void> Admin::ImportSql(const std::string& file, std::string_view text,
                                    const ImportProgress& progress) {
  // SQLite copies a text that does not end in NUL, once for each statement.
  const std::string whole(text);
  text = whole;
  Lines lines(file, text);
  if (auto checked = CheckText(lines, text); !checked) {
    return checked;
  }
  std::size_t reported = 0;
  std::size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  while ((at = SkipBlank(text, at)) < text.size()) {
    if (text[at] == '.') {
      const std::string command(text.substr(at, text.find_first_of(" \t\r\n", at) - at));
      return Fail(ErrorCode::kInvalidArgument,
                  lines.At(at) + ": '" + command +
                      "' is a command of the sqlite3 program; an import takes SQL statements");
    }
    sqlite3_stmt* raw = nullptr;
    const char* tail = nullptr;
    watch_->refusal.clear();
    watch_->script = true;
    int code = sqlite3_prepare_v2(db_.get(), whole.c_str() + at,
                                  static_cast<int>(whole.size() - at + 1), &raw, &tail);
    watch_->script = false;
    const Statement statement(raw);
    if (code != SQLITE_OK) {
      const int inside = sqlite3_error_offset(db_.get());
      const bool refused = !watch_->refusal.empty();
      if ((code & 0xff) != SQLITE_ERROR && !refused) {
        return tl::unexpected(RunFailure(*this, code, lines.At(at)));
      }
      return Fail(refused ? ErrorCode::kConflict : ErrorCode::kInvalidArgument,
                  lines.At(at + (inside > 0 ? static_cast<std::size_t>(inside) : 0)) + ": " +
                      (refused ? watch_->refusal : sqlite3_errmsg(db_.get())));
    }
    const auto next = static_cast<std::size_t>(tail - whole.c_str());
    if (raw == nullptr) {
      break;
    }
    if (next >= whole.size() && sqlite3_complete(whole.c_str() + at) == 0) {
      return Fail(
          ErrorCode::kInvalidArgument,
          lines.At(at) + ": the last statement does not end with ';': is the file cut off?");
    }
    if (sqlite3_stmt_readonly(raw) != 0 || sqlite3_stmt_isexplain(raw) != 0) {
      return Fail(ErrorCode::kInvalidArgument,
                  lines.At(at) +
                      ": this statement changes nothing, and an import shows nothing; "
                      "use otactl sql to look");
    }
    StartStatement(*watch_);
    while ((code = sqlite3_step(raw)) == SQLITE_ROW) {
    }
    if (code != SQLITE_DONE) {
      return tl::unexpected(RunFailure(*this, code, lines.At(at)));
    }
    at = next;
    if (progress && at - reported >= kProgressBytes) {
      reported = at;
      progress(at, text.size());
    }
  }
  return {};
}

namespace {

// The columns that the first line names, and those that the command gives.
std::vector<std::string> Names(std::span<const Field> fields,
                               std::span<const std::pair<std::string, std::string>> constants) {
  std::vector<std::string> names;
  names.reserve(fields.size() + constants.size());
  for (const Field& field : fields) {
    names.push_back(field.text);
  }
  for (const auto& constant : constants) {
    names.push_back(constant.first);
  }
  return names;
}

}  // namespace

core::Result<void> Admin::ImportCsv(const std::string& file, std::string_view text,
                                    const std::string& table,
                                    std::span<const std::pair<std::string, std::string>> constants,
                                    const ImportProgress& progress) {
  return ImportRows(file, text, table, constants, {}, progress);
}

core::Result<void> Admin::ImportDevices(
    const std::string& file, std::string_view text,
    std::span<const std::pair<std::string, std::string>> constants, const PutSecret& put,
    const ImportProgress& progress) {
  return ImportRows(file, text, "device", constants, put, progress);
}

core::Result<void> Admin::ImportRows(const std::string& file, std::string_view text,
                                     const std::string& table,
                                     std::span<const std::pair<std::string, std::string>> constants,
                                     const PutSecret& put, const ImportProgress& progress) {
  Lines lines(file, text);
  if (auto checked = CheckText(lines, text); !checked) {
    return checked;
  }
  CsvReader reader(text, text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0);
  std::optional<CsvTarget> target;
  std::size_t width = 0;
  std::size_t reported = 0;
  SecretColumns at;
  while (true) {
    auto record = reader.Next();
    if (!record) {
      return Fail(ErrorCode::kInvalidArgument, lines.At(reader.offset()) + ": " + record.error());
    }
    if (!*record) {
      break;
    }
    std::vector<Field>& fields = (*record)->fields;
    const std::string where = lines.At((*record)->offset);
    if (!target) {
      width = fields.size();
      std::vector<std::string> names = Names(fields, constants);
      if (put) {
        at = FindSecretColumns(names);
        if (std::max(at.product, at.name) >= names.size()) {
          // Without the text: if it is no list of names, a secret is in it.
          return Fail(ErrorCode::kInvalidArgument,
                      where +
                          ": the first line must name the columns, `product` (or --product) "
                          "and `name` among them");
        }
        if (at.secret < width) {
          names.erase(names.begin() + static_cast<std::ptrdiff_t>(at.secret));
        }
      }
      auto prepared = PrepareCsv(*this, where, table, names);
      if (!prepared) {
        return tl::unexpected(prepared.error());
      }
      target = std::move(*prepared);
      continue;
    }
    if (fields.size() != width) {
      return Fail(ErrorCode::kInvalidArgument, where + ": has " + std::to_string(fields.size()) +
                                                   " fields, the first line names " +
                                                   std::to_string(width));
    }
    for (const auto& constant : constants) {
      fields.push_back(Field{constant.second, false});
    }
    core::DeviceKey device;
    std::string secret;
    if (put) {
      device = {fields[at.product].text, fields[at.name].text};
      if (at.secret < width) {
        secret = std::move(fields[at.secret].text);
        fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(at.secret));
      }
    }
    bool known = false;
    if (target->exists) {
      auto found = RunRow(*this, target->exists.get(), *target, **record, where);
      if (!found) {
        return tl::unexpected(found.error());
      }
      known = *found;
    }
    sqlite3_stmt* change = known ? target->update.get() : target->insert.get();
    if (change != nullptr) {
      auto done = RunRow(*this, change, *target, **record, where);
      if (!done) {
        return tl::unexpected(done.error());
      }
    }
    if (!secret.empty()) {
      if (auto done = put(device, secret); !done) {
        return tl::unexpected(core::Error{done.error().code, where + ": device '" + device.product +
                                                                 "/" + device.device +
                                                                 "': " + done.error().message});
      }
    }
    if (progress && reader.offset() - reported >= kProgressBytes) {
      reported = reader.offset();
      progress(reported, text.size());
    }
  }
  if (!target) {
    return Fail(ErrorCode::kInvalidArgument,
                file + ":1: is empty; the first line must name the columns");
  }
  return {};
}

}  // namespace ota::store
