// The connection of the store: see connection.h.
#include "store/connection.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>

#include "store/statements.h"

namespace ota::store {
namespace {

// SQLite asks this while another process holds the lock it needs; 0 gives up. `round` counts from
// 0.
int OnBusy(void* context, int round) {
  constexpr std::array<int, 5> kPauses = {1, 2, 5, 10, 20};
  Store::Impl& impl = *static_cast<Store::Impl*>(context);
  if (round == 0) {
    impl.waited = core::Duration(0);
  }
  try {
    if (impl.options.wait && !impl.options.wait(impl.waited)) {
      return 0;
    }
  } catch (const std::exception&) {
    return 0;  // no memory; SQLite, which is C, would be left half way
  }
  const auto index = std::min<std::size_t>(static_cast<std::size_t>(round), kPauses.size() - 1);
  const core::Duration pause(kPauses.at(index));
  ::usleep(static_cast<useconds_t>(pause.count() * 1000));
  impl.waited += pause;
  return 1;
}

// SQLite calls this after each commit of ours, in place of its own automatic checkpoint.
int OnCommit(void* context, sqlite3*, const char*, int pages) {
  static_cast<Store::Impl*>(context)->log_pages = pages;
  return SQLITE_OK;
}

}  // namespace

core::ErrorCode CodeOf(int sqlite_code) {
  switch (sqlite_code & 0xFF) {
    case SQLITE_CONSTRAINT:
      return core::ErrorCode::kConflict;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT:
      return core::ErrorCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return core::ErrorCode::kCorruption;
    default:
      return core::ErrorCode::kInternal;
  }
}

core::Error ErrorOf(const std::filesystem::path& path, const SQLite::Exception& exception) {
  const core::ErrorCode code = CodeOf(exception.getErrorCode());
  std::string message = "database '" + path.string() + "': " + exception.what();
  switch (exception.getErrorCode() & 0xFF) {
    case SQLITE_BUSY:
      message += "; another program holds its lock (an open transaction in a shell?)";
      break;
    case SQLITE_FULL:
      message += "; free some space on its disk";
      break;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      message += "; the broker's user must be able to write the file and its directory";
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      message +=
          "; stop the broker, keep a copy of the file, and put back a backup (otactl restore)";
      break;
    default:
      break;
  }
  return {code, std::move(message)};
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

FileId FileId::Of(const std::filesystem::path& path) {
  struct stat facts = {};
  if (::stat(path.c_str(), &facts) != 0) {
    return {};
  }
  return {std::uint64_t{facts.st_dev}, std::uint64_t{facts.st_ino}};
}

Store::Impl::Impl(const std::filesystem::path& file, Options given, Lock of_file)
    : path(file),
      options(std::move(given)),
      lock(std::move(of_file)),
      database(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX) {
  sqlite3* handle = database.getHandle();
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_handler(handle, OnBusy, this);
  sqlite3_wal_hook(handle, OnCommit, this);
}

Query Store::Impl::Ask(const char* text) {
  auto found = statements.find(text);
  if (found == statements.end()) {
    found = statements.try_emplace(text, database, text).first;
  }
  return Query(found->second);
}

Status Store::Impl::InTransaction() const {
  if (spoiled) {
    return core::Fail(core::ErrorCode::kConflict,
                      "database '" + path.string() +
                          "': a part of the transaction has failed that cannot be undone alone");
  }
  if (!open) {
    return core::Fail(core::ErrorCode::kInternal,
                      "database '" + path.string() + "': written outside a transaction");
  }
  if (sqlite3_get_autocommit(database.getHandle()) != 0) {
    return core::Fail(core::ErrorCode::kUnavailable,
                      "database '" + path.string() +
                          "': SQLite has rolled the transaction back after an earlier error");
  }
  return {};
}

bool Store::Impl::Checkpoint() {
  int pages = -1;
  int moved = -1;
  const int code = sqlite3_wal_checkpoint_v2(database.getHandle(), "main",
                                             SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
  if (code != SQLITE_OK || pages < 0 || moved != pages) {
    return false;  // the log keeps all; a later commit tries again
  }
  log_pages = 0;
  main_no = commit_no;
  WriteMarker();
  return true;
}

void Store::Impl::Write() {
  for (; written_events < events; ++written_events) {
    if (undoable) {
      Ask(sql::kSavepoint).Run();
    }
  }
  wrote = true;
}

}  // namespace ota::store
