// Opening the database: what the file is, whether it may be used, whether it is the one that this
// engine wrote last. See store.h and schema/README.md. Engine thread.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <system_error>

#include "store/connection.h"
#include "store/migrate.h"
#include "store/statements.h"

namespace ota::store {
namespace {

constexpr std::size_t kHeaderBytes = 100;  // https://www.sqlite.org/fileformat.html section 1.3
constexpr std::size_t kPageSizeAt = 16;
constexpr std::size_t kPagesAt = 28;
constexpr std::size_t kUserVersionAt = 60;
constexpr std::size_t kApplicationIdAt = 68;
constexpr std::int64_t kCheckedBytes = 8 << 20;  // a file up to this size is checked as a whole
constexpr std::int64_t kLogBytes = 16 << 20;     // what is kept of the write-ahead log on disk
constexpr std::size_t kMarkerBytes = 128;
constexpr std::size_t kWriteVersionAt = 18;  // in the header; 2: write-ahead log

std::string Named(const std::filesystem::path& path) {
  return "database '" + path.string() + "'";
}

std::filesystem::path Beside(const std::filesystem::path& path, const char* suffix) {
  std::filesystem::path beside = path;
  beside += suffix;
  return beside;
}

tl::unexpected<core::Error> SystemError(const std::filesystem::path& path, const char* what,
                                        const char* remedy) {
  const int code = errno;
  return core::Fail(
      core::ErrorCode::kUnavailable,
      Named(path) + ": " + what + ": " + std::generic_category().message(code) + "; " + remedy);
}

std::string TruncatedText(const std::filesystem::path& path) {
  return Named(path) +
         ": was truncated while the broker ran; stop the broker, keep a copy of it and of what "
         "lies "
         "beside it, and put back a backup (otactl restore)";
}

constexpr const char* kPermissions =
    "the broker's user must be able to write the file and its directory";

// Makes an empty file when there is none, so that its mode is ours. Gives true when it was made.
core::Result<bool> MakeFile(const std::filesystem::path& path, bool may_create) {
  const std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : ".";
  struct stat facts = {};
  if (::stat(directory.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode)) {
    return core::Fail(core::ErrorCode::kNotFound, Named(path) + ": there is no directory '" +
                                                      directory.string() +
                                                      "'; make it, owned by the broker's user");
  }
  const bool exists = ::stat(path.c_str(), &facts) == 0;
  if (!exists || facts.st_size == 0) {
    const std::filesystem::path marker = Beside(path, ".commit");
    struct stat marked = {};
    if (::stat(marker.c_str(), &marked) == 0) {
      return core::Fail(core::ErrorCode::kNotFound,
                        Named(path) + ": is missing or empty, and '" + marker.filename().string() +
                            "' says that there was one; put it back (otactl restore), or remove "
                            "that file" +
                            (may_create ? "" : " and restart the broker") +
                            " to begin with an empty database");
    }
    if (!may_create) {
      return core::Fail(core::ErrorCode::kNotFound,
                        Named(path) +
                            ": is missing or empty, and there was one; put it back (otactl "
                            "restore), or restart the broker to begin with an empty database");
    }
  }
  if (exists) {
    if (!S_ISREG(facts.st_mode)) {
      return core::Fail(core::ErrorCode::kUnsupported, Named(path) + ": is not a regular file");
    }
    if (::access(path.c_str(), R_OK | W_OK) != 0) {
      return SystemError(path, "cannot be used", kPermissions);
    }
    return false;
  }
  const Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (file.get() < 0 || ::fchmod(file.get(), 0640) != 0) {
    return SystemError(path, "cannot be made", kPermissions);
  }
  return true;
}

using Header = std::array<unsigned char, kHeaderBytes>;

std::int64_t BigEndian(const Header& bytes, std::size_t at) {
  return (std::int64_t{bytes.at(at)} << 24) | (std::int64_t{bytes.at(at + 1)} << 16) |
         (std::int64_t{bytes.at(at + 2)} << 8) | std::int64_t{bytes.at(at + 3)};
}

// What of the pages that the header tells of is not there, in bytes.
std::int64_t Missing(const Header& bytes, std::int64_t size) {
  const std::int64_t told = (std::int64_t{bytes.at(kPageSizeAt)} << 8) | bytes.at(kPageSizeAt + 1);
  const std::int64_t page = told == 1 ? 65536 : told;
  const auto least = static_cast<std::int64_t>(kHeaderBytes);
  return std::max(std::max(BigEndian(bytes, kPagesAt) * page, least) - size, std::int64_t{0});
}

Status CheckNumbers(const std::filesystem::path& path, std::int64_t application,
                    std::int64_t version, bool empty) {
  if (application != kApplicationId && !(application == 0 && empty)) {
    return core::Fail(core::ErrorCode::kUnsupported,
                      Named(path) + ": belongs to another program (application_id " +
                          std::to_string(application) + ", ours is " +
                          std::to_string(kApplicationId) + "); give another path");
  }
  if (version > SchemaVersion()) {
    return core::Fail(
        core::ErrorCode::kUnsupported,
        Named(path) + ": has schema " + std::to_string(version) + ", this program knows " +
            std::to_string(SchemaVersion()) +
            "; install the newer program, or restore the copy made before the change");
  }
  return {};
}

// Reads the header without SQLite, which would write into the file's directory: what is not ours
// stays untouched. An empty file passes. `truncated`: so it was when it was last open.
Status CheckHeader(const std::filesystem::path& path, bool truncated) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    return SystemError(path, "cannot be read", kPermissions);
  }
  Header bytes{};
  const ssize_t got = ::pread(file.get(), bytes.data(), bytes.size(), 0);
  if (got == 0) {
    return {};
  }
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  if (got != static_cast<ssize_t>(bytes.size()) ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return core::Fail(core::ErrorCode::kCorruption,
                      Named(path) +
                          ": is not a SQLite database; put back a backup (otactl "
                          "restore) or give another path");
  }
  struct stat facts = {};
  if (truncated && ::fstat(file.get(), &facts) == 0 && Missing(bytes, facts.st_size) > 0) {
    return core::Fail(core::ErrorCode::kCorruption, TruncatedText(path));
  }
  const std::int64_t application = BigEndian(bytes, kApplicationIdAt);
  // 0: not written yet, or still in the write-ahead log only; SQLite tells.
  return CheckNumbers(path, application == 0 ? kApplicationId : application,
                      BigEndian(bytes, kUserVersionAt), false);
}

Status SetUp(Store::Impl& impl) {
  SQLite::Database& database = impl.database;
  sqlite3* handle = database.getHandle();
  // Until it is known that the file is ours and whole, nothing may move from the write-ahead log
  // into it.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  const int version = database.execAndGet("PRAGMA user_version").getInt();
  const int application = database.execAndGet("PRAGMA application_id").getInt();
  const bool empty = database.execAndGet("SELECT count(*) = 0 FROM sqlite_schema").getInt() == 1;
  if (Status known = CheckNumbers(impl.path, application, version, empty); !known) {
    return known;
  }
  impl.opening.created = empty;

  if (database.execAndGet("PRAGMA journal_mode = WAL").getString() != "wal") {
    return core::Fail(core::ErrorCode::kUnavailable,
                      Named(impl.path) +
                          ": its file system cannot share memory (write-ahead log); "
                          "put it on a local disk");
  }
  database.exec(impl.options.durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
  database.exec("PRAGMA foreign_keys = ON");
  database.exec("PRAGMA temp_store = MEMORY");
  database.exec("PRAGMA trusted_schema = OFF");
  database.exec("PRAGMA journal_size_limit = " + std::to_string(kLogBytes));
  database.exec("PRAGMA cache_size = -" + std::to_string(impl.options.cache_bytes / 1024));

  const std::int64_t bytes =
      database.execAndGet("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
          .getInt64();
  if (!empty && bytes <= kCheckedBytes) {
    const std::string verdict = database.execAndGet("PRAGMA quick_check(1)").getString();
    if (verdict != "ok") {
      return core::Fail(core::ErrorCode::kCorruption,
                        Named(impl.path) + ": is damaged (" + verdict +
                            "); stop the broker, keep a copy, and put back a backup (otactl "
                            "restore)");
    }
  }
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  return {};
}

// "ID COMMIT_NO MAIN_NO". A marker without the third says nothing about the main file.
struct Marker {
  std::string database_id;
  std::int64_t commit_no = 0;
  std::int64_t main_no = -1;  // commit_no in the main file after the last whole checkpoint
};

std::optional<Marker> ReadMarker(const Descriptor& file) {
  std::array<char, kMarkerBytes> bytes{};
  const ssize_t got = ::pread(file.get(), bytes.data(), bytes.size() - 1, 0);
  if (got <= 0) {
    return std::nullopt;
  }
  std::istringstream text(bytes.data());
  Marker marker;
  if (!(text >> marker.database_id >> marker.commit_no)) {
    return std::nullopt;
  }
  if (std::int64_t main_no = 0; text >> main_no) {
    marker.main_no = main_no;
  }
  return marker;
}

// SQLite's name for `path` without what lies beside it.
std::string Alone(const std::filesystem::path& path) {
  std::string uri = "file://";
  for (const char c : std::filesystem::absolute(path).string()) {
    std::array<char, 4> code{};
    std::snprintf(code.data(), code.size(), "%%%02X",
                  static_cast<unsigned>(static_cast<unsigned char>(c)));
    uri += c == '/' ? "/" : code.data();
  }
  return uri + "?immutable=1";
}

// Whether the main file is not the one that the write-ahead log beside it was written for. SQLite
// would apply the log all the same, and as every commit of the engine is in it, the mixture would
// even end at the marker's number.
//
// The main file never goes back by itself, and the marker's third number is written only after the
// checkpoint was synced. So a crash between the two leaves a main file that is newer than the
// marker says, which is no restore; and one that is older is one. Not recognized: a plain copy
// (cp) of a main file that is as new as the last whole checkpoint that the marker knows. Since it
// has the same pages as the file it replaces, but for those in the log, the log then gives the last
// state again, unless another program's checkpoint went unnoticed between that copy and the crash.
bool LogIsAnothers(const std::filesystem::path& path, const std::optional<Marker>& marker) {
  {
    // The running database is always in write-ahead mode, a backup (VACUUM INTO) never.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    Header bytes{};
    if (::pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
      return false;
    }
    if (bytes.at(kWriteVersionAt) == 1) {
      return true;
    }
  }
  if (!marker || marker->main_no < 0) {
    return false;
  }
  try {
    SQLite::Database alone(Alone(path), SQLite::OPEN_READONLY | SQLite::OPEN_URI);
    SQLite::Statement engine(alone, "SELECT database_id, commit_no FROM engine_state");
    if (!engine.executeStep() || (engine.getColumn(0).getString() == marker->database_id &&
                                  engine.getColumn(1).getInt64() >= marker->main_no)) {
      return false;
    }
    // Halfway through a checkpoint the file alone makes no sense, and needs its log.
    return alone.execAndGet("PRAGMA quick_check(1)").getString() == "ok";
  } catch (const SQLite::Exception&) {
    return false;
  }
}

// Over an older one. What is not there is not moved.
bool SetAside(const std::filesystem::path& file) {
  std::filesystem::path stale = file;
  stale += ".stale";
  return ::rename(file.c_str(), stale.c_str()) == 0 || errno == ENOENT;
}

// Before SQLite sees the files. Gives whether there was something to set aside.
core::Result<bool> SetAsideAnothersLog(const std::filesystem::path& path) {
  const std::filesystem::path log = Beside(path, "-wal");
  struct stat facts = {};
  if (::stat(log.c_str(), &facts) != 0 || facts.st_size == 0) {
    return false;
  }
  const Descriptor marker(::open(Beside(path, ".commit").c_str(), O_RDONLY | O_CLOEXEC));
  if (!LogIsAnothers(path, ReadMarker(marker))) {
    return false;
  }
  if (!SetAside(Beside(path, "-shm")) || !SetAside(log)) {
    return SystemError(path, "the write-ahead log beside it is another file's, and cannot be moved",
                       kPermissions);
  }
  return true;
}

// Why the file cannot be taken for the one that this engine wrote last; empty: it is.
std::string WhyRestored(const Store::Impl& impl, const std::optional<Marker>& marker) {
  if (impl.log_set_aside) {
    return "the database was replaced: the write-ahead log beside it belongs to another one";
  }
  if (impl.opening.created || (!marker && impl.commit_no == 0)) {
    return {};
  }
  const std::string file = "'" + Beside(impl.path, ".commit").filename().string() + "'";
  if (!marker) {
    return "the database was restored: " + file + " beside it is missing";
  }
  if (marker->database_id != impl.database_id) {
    return "the database was replaced: " + file + " belongs to another one";
  }
  if (impl.commit_no < marker->commit_no) {
    return "the database was restored: it ends at commit " + std::to_string(impl.commit_no) + ", " +
           file + " at " + std::to_string(marker->commit_no);
  }
  return {};
}

}  // namespace

void Store::Impl::WriteMarker() {
  std::array<char, kMarkerBytes> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "%s %020" PRId64 " %020" PRId64 "\n",
                    database_id.c_str(), options.durable ? commit_no : main_no, main_no);
  // A marker that falls behind recognizes less, but is never wrong: the commit stands all the same.
  [[maybe_unused]] const ssize_t wrote_bytes =
      ::pwrite(marker.get(), text.data(), static_cast<std::size_t>(length), 0);
}

namespace {

// Compares with the marker, and holds every plan in force when the file is not the last one.
Status Recognize(Store& store, Store::Impl& impl, core::Instant wall) {
  {
    Query engine = impl.Ask(sql::kLoadEngine);
    if (!engine.Next()) {
      return core::Fail(core::ErrorCode::kCorruption,
                        Named(impl.path) + ": engine_state has no row; put back a backup");
    }
    impl.database_id = engine.Text(0);
    impl.commit_no = engine.Int(1);
    if (impl.commit_no > 0) {
      impl.opening.last_commit = engine.Time(2);
    }
  }
  const std::filesystem::path file = Beside(impl.path, ".commit");
  impl.marker = Descriptor(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  std::optional<Marker> marker;
  if (impl.marker.get() >= 0) {
    marker = ReadMarker(impl.marker);
  } else if (errno != ENOENT) {
    return SystemError(file, "cannot be used", kPermissions);
  }
  impl.main_no = marker ? marker->main_no : -1;
  const std::string reason = WhyRestored(impl, marker);
  if (!reason.empty()) {
    impl.main_no = -1;  // another id: what the main file contains is of the old one
    impl.opening.restored = true;
    impl.opening.restored_reason = reason;
    if (Status begun = store.Begin(); !begun) {
      return begun;
    }
    impl.Write();
    for (Query plans = impl.Ask(sql::kHeldPlans); plans.Next();) {
      impl.opening.held.push_back(plans.Text(0));
    }
    for (const std::string& plan : impl.opening.held) {
      impl.Ask(sql::kHoldPlan).Bind(plan, reason, wall).Run();
    }
    // Another id, so that no other copy of the same origin passes for this one later.
    Query id = impl.Ask(sql::kSetDatabaseId);
    if (id.Next()) {
      impl.database_id = id.Text(0);
    }
  }
  if (impl.marker.get() < 0) {
    impl.marker = Descriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
    if (impl.marker.get() < 0 || ::fchmod(impl.marker.get(), 0640) != 0) {
      return SystemError(file, "cannot be made", kPermissions);
    }
  }
  if (!reason.empty()) {
    // A box that boots in 1970 must not forget when it last ran.
    if (Status held = store.Commit(std::max(wall, impl.opening.last_commit.value_or(wall)));
        !held) {
      return held;
    }
  }
  // The checkpoint also syncs what was recovered: the marker must never be ahead of the disk.
  if (!impl.Checkpoint() && !marker && impl.options.durable) {
    impl.WriteMarker();
  }
  if (!marker) {
    ::fsync(impl.marker.get());  // once: a marker lost in a power cut would hold every plan
  }
  return {};
}

}  // namespace

core::Result<std::unique_ptr<Store>> Store::Open(const std::filesystem::path& path,
                                                 core::Instant wall, Options options) {
  core::Result<bool> made = MakeFile(path, options.may_create);
  if (!made) {
    return tl::unexpected(made.error());
  }
  if (Status header = CheckHeader(path, options.truncated); !header) {
    return tl::unexpected(header.error());
  }
  std::unique_ptr<Store> store;
  try {
    core::Result<Lock> lock = TakeFileLock(path.string());
    if (!lock) {
      return tl::unexpected(lock.error());
    }
    const core::Result<bool> set_aside = SetAsideAnothersLog(path);
    if (!set_aside) {
      return tl::unexpected(set_aside.error());
    }
    store.reset(new Store(std::make_unique<Impl>(path, std::move(options), std::move(*lock))));
    Impl& impl = *store->impl_;
    impl.log_set_aside = *set_aside;
    if (Status ready = SetUp(impl); !ready) {
      return tl::unexpected(ready.error());
    }
    core::Result<Migration> migration = Migrate(impl.database, path, SchemaSteps());
    if (!migration) {
      return tl::unexpected(migration.error());
    }
    if (migration->from > 0 && migration->from < SchemaVersion()) {
      impl.opening.migrated_from = migration->from;
      impl.opening.backup = migration->backup;
    }
    // They guard the engine's tables against everybody else, and would cost it a copy of each page.
    sqlite3_db_config(impl.database.getHandle(), SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    impl.main = FileId::Of(path);
    impl.log_file = FileId::Of(Beside(path, "-wal"));
    impl.index_file = FileId::Of(Beside(path, "-shm"));
    if (impl.main == FileId{}) {
      return SystemError(path, "was taken away", "put it back");
    }
    if (Status recognized = Recognize(*store, impl, wall); !recognized) {
      store->Rollback();
      return tl::unexpected(recognized.error());
    }
    impl.opened = true;
  } catch (const SQLite::Exception& exception) {
    return tl::unexpected(ErrorOf(path, exception));
  } catch (const std::exception& exception) {
    return core::Fail(core::ErrorCode::kInternal, Named(path) + ": " + exception.what());
  }
  return store;
}

namespace {

bool Differs(const std::filesystem::path& path, const FileId& ours) {
  errno = 0;
  const FileId now = FileId::Of(path);
  return now == FileId{} ? errno == ENOENT || errno == ENOTDIR : now != ours;
}

}  // namespace

bool Store::Replaced() const {
  return Differs(impl_->path, impl_->main);
}

bool Store::LogReplaced() const {
  return Differs(Beside(impl_->path, "-wal"), impl_->log_file) ||
         Differs(Beside(impl_->path, "-shm"), impl_->index_file);
}

bool Store::IsShort() const {
  sqlite3* handle = impl_->database.getHandle();
  sqlite3_file* file = nullptr;
  sqlite3_int64 size = 0;
  // Through SQLite's own descriptor: to close another one would drop its locks.
  if (sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr || file->pMethods->xFileSize(file, &size) != SQLITE_OK) {
    return false;
  }
  Header bytes{};
  const int read = file->pMethods->xRead(file, bytes.data(), static_cast<int>(bytes.size()), 0);
  return (read == SQLITE_OK || read == SQLITE_IOERR_SHORT_READ) && Missing(bytes, size) > 0;
}

Status Store::Truncated() const {
  return core::Fail(core::ErrorCode::kCorruption, TruncatedText(impl_->path));
}

Store::~Store() {
  Rollback();
  if (!impl_->opened) {
    return;
  }
  if (IsShort()) {
    // What is in the log stays there.
    sqlite3_db_config(impl_->database.getHandle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    return;
  }
  // Into the file that is open, wherever it lies now: who puts it back loses nothing.
  impl_->Checkpoint();
  if (!Replaced()) {
    return;  // SQLite removes the log and its index when nobody else has them open
  }
  // SQLite leaves them to a file that was moved, and would take them for those of the file that
  // stands there now. What came with that one is another file, and stays. A program that opens the
  // new file before we are here still finds the old log.
  for (const auto& [suffix, ours] :
       {std::pair{"-wal", impl_->log_file}, std::pair{"-shm", impl_->index_file}}) {
    const std::filesystem::path file = Beside(impl_->path, suffix);
    if (ours != FileId{} && FileId::Of(file) == ours) {
      SetAside(file);
    }
  }
}

std::int64_t Store::WalBytes() const {
  struct stat facts = {};
  return ::stat(Beside(impl_->path, "-wal").c_str(), &facts) == 0 ? std::int64_t{facts.st_size} : 0;
}

}  // namespace ota::store
