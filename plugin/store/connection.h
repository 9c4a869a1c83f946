// Inside of the store: the connection, its prepared statements, and how SQLite's errors become
// ours. Included by the store's own sources only. Exceptions of SQLiteCpp end here.
#pragma once

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include "core/result.h"
#include "store/lock.h"
#include "store/resting.h"
#include "store/store.h"

namespace ota::store {

// SQLite's result codes by what the caller can do about them (store.h lists that).
core::ErrorCode CodeOf(int sqlite_code);
core::Error ErrorOf(const std::filesystem::path& path, const SQLite::Exception& exception);

// A file descriptor, closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  int get() const { return fd_; }

 private:
  int fd_;
};

// Which file stood at a path; the same is another file when it was replaced.
struct FileId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;  // 0: none

  static FileId Of(const std::filesystem::path& path);
  bool operator==(const FileId&) const = default;
};

// One run of a prepared statement. It is reset at the end: a statement left open would keep its
// read transaction open, and the write-ahead log growing.
class Query {
 public:
  explicit Query(SQLite::Statement& statement) : statement_(statement) {}
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query() { statement_.tryReset(); }

  // Binds to ?1, ?2 ... in order.
  template <typename... Values>
  Query& Bind(const Values&... values) {
    int index = 0;
    (BindOne(++index, values), ...);
    return *this;
  }
  bool Next() { return statement_.executeStep(); }
  // Binds, without a copy of strings, and runs to the end; gives the rows changed.
  template <typename... Values>
  int Run(const Values&... values) {
    BindLine(0, values...);
    return statement_.exec();
  }
  // Binds the values of the `line`th of several equal rows, from 0, without a copy of strings.
  template <typename... Values>
  void BindLine(int line, const Values&... values) {
    int index = line * static_cast<int>(sizeof...(values));
    (BindKept(++index, values), ...);
  }

  bool Null(int column) const { return statement_.isColumnNull(column); }
  std::int64_t Int(int column) const { return statement_.getColumn(column).getInt64(); }
  int Small(int column) const { return statement_.getColumn(column).getInt(); }
  bool Flag(int column) const { return Int(column) != 0; }
  std::string Text(int column) const { return statement_.getColumn(column).getString(); }
  core::Instant Time(int column) const { return core::Instant(core::Duration(Int(column))); }
  std::chrono::seconds Seconds(int column) const { return std::chrono::seconds(Int(column)); }
  std::optional<std::int64_t> MaybeInt(int column) const {
    return Null(column) ? std::nullopt : std::optional<std::int64_t>(Int(column));
  }
  std::optional<int> MaybeSmall(int column) const {
    return Null(column) ? std::nullopt : std::optional<int>(Small(column));
  }
  std::optional<core::Instant> MaybeTime(int column) const {
    return Null(column) ? std::nullopt : std::optional<core::Instant>(Time(column));
  }

 private:
  template <typename T>
  void BindKept(int index, const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      statement_.bindNoCopy(index, value);
    } else {
      BindOne(index, value);
    }
  }
  void BindOne(int index, std::int64_t value) { statement_.bind(index, value); }
  void BindOne(int index, int value) { statement_.bind(index, value); }
  void BindOne(int index, bool value) { statement_.bind(index, value ? 1 : 0); }
  void BindOne(int index, std::string_view value) { statement_.bind(index, std::string(value)); }
  // A char pointer would become a bool.
  void BindOne(int index, const char* value) = delete;
  void BindOne(int index, core::Instant value) {
    BindOne(index, std::int64_t{value.time_since_epoch().count()});
  }
  void BindOne(int index, std::chrono::seconds value) {
    BindOne(index, std::int64_t{value.count()});
  }
  void BindOne(int index, core::Duration value) { BindOne(index, std::int64_t{value.count()}); }
  template <typename T>
  void BindOne(int index, const std::optional<T>& value) {
    if (value) {
      BindOne(index, *value);
    } else {
      statement_.bind(index);
    }
  }

  SQLite::Statement& statement_;
};

// Names of the store's own enumerations, as stored. Never rename one.
std::string_view Name(PlanPhase value);
std::string_view Name(FileState value);
std::optional<PlanPhase> PlanPhaseFrom(std::string_view name);
std::optional<FileState> FileStateFrom(std::string_view name);

struct LogLine {
  core::Instant at;
  core::DeviceKey device;  // empty names: of none
  core::LogEntry entry;
};

struct Store::Impl {
  Impl(const std::filesystem::path& file, Options given, Lock of_file);

  std::filesystem::path path;
  Options options;
  Opening opening;
  Lock lock;  // before `database`, so that SQLite closes the file first
  SQLite::Database database;
  std::unordered_map<const char*, SQLite::Statement> statements;  // by the address in statements.h
  Descriptor marker;
  FileId main;                 // of the database and of what lies beside it, at the opening
  FileId log_file;             // PATH-wal; it and the next stay as long as we have them open
  FileId index_file;           // PATH-shm
  bool log_set_aside = false;  // at the opening: it was another file's
  bool opened = false;         // Open() has succeeded
  std::string database_id;
  std::int64_t commit_no = 0;
  std::int64_t main_no = -1;       // commit_no in the main file alone; -1: not known
  int log_pages = 0;               // in the write-ahead log, since the last whole checkpoint
  bool open = false;               // a transaction of Begin()
  bool wrote = false;              // ... that has written
  bool undoable = false;           // ... whose events have savepoints
  bool spoiled = false;            // ... that has no savepoints, and lost an event that had written
  int events = 0;                  // open ones of BeginEvent()
  int written_events = 0;          // ... of which so many have written
  std::int64_t data_version = -1;  // as of the last Begin()
  Resting resting;                 // as of the open transaction
  std::vector<LogLine> lines;      // of it, not written yet; fewer than sql::kLogLines
  core::Duration waited{0};

  // The prepared statement of one of statements.h.
  Query Ask(const char* text);
  // Before each write: notes it, and makes the savepoints of the events that have not written yet.
  void Write();
  // Writes `lines`.
  void WriteLines();
  // Runs `body`, which gives a Result, and turns what SQLite throws into an Error.
  template <typename Body>
  auto Run(Body&& body) -> decltype(body()) {
    try {
      return body();
    } catch (const SQLite::Exception& exception) {
      return tl::unexpected(ErrorOf(path, exception));
    } catch (const std::exception& exception) {
      return core::Fail(core::ErrorCode::kInternal,
                        "database '" + path.string() + "': " + exception.what());
    }
  }
  // The same for what writes: only inside a transaction that SQLite has not ended by itself.
  template <typename Body>
  auto RunWrite(Body&& body) -> decltype(body()) {
    if (Status ready = InTransaction(); !ready) {
      return tl::unexpected(ready.error());
    }
    return Run(std::forward<Body>(body));
  }
  Status InTransaction() const;
  // The marker says what a power cut leaves at least: without `durable` that is the main file.
  void WriteMarker();
  // Moves the write-ahead log into the main file as far as no reader is in the way, without
  // waiting; false: not all of it. After a whole one the marker knows what the main file contains.
  bool Checkpoint();
};

// What is stored of the device's components; by component.
std::vector<core::Installed> LoadInstalled(Store::Impl& impl, std::int64_t device_id);

}  // namespace ota::store
