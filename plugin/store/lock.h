// The locks that say "the broker uses this database": advisory locks, of a file beside it and of
// the file itself. The engine holds the first one while it runs; `otactl restore` takes it so that
// the two never meet. The second one is for who has no part in the first: a broker that knows the
// file by another name (a hard link), or that comes after somebody has removed the file beside it.
// Released by the kernel when their holder dies. Any thread; reads and writes one directory.
#pragma once

#include <string>
#include <utility>

#include "core/result.h"

namespace ota::store {

// Holds the lock until it is destroyed.
class Lock {
 public:
  explicit Lock(int fd) : fd_(fd) {}
  Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Lock& operator=(Lock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Lock();

 private:
  int fd_;
};

// Takes the lock of the database at `path` (the file `path`.lock, made if there is none, owned as
// its directory is). Does not wait. Fails with kConflict when another process holds it,
// kInvalidArgument when the database is a symbolic link, kUnavailable when the file cannot be
// opened.
core::Result<Lock> TakeLock(const std::string& path);

// Takes the lock of the file at `path`, which exists, itself. To close any descriptor of a file
// drops SQLite's locks of it in this process: taken before SQLite opens it, kept until after SQLite
// has closed it. Does not wait. Fails with kConflict when somebody holds it, kUnavailable when the
// file cannot be opened.
core::Result<Lock> TakeFileLock(const std::string& path);

// Whether somebody holds the lock beside the database now. Makes no file. False also when it cannot
// be read.
bool IsLocked(const std::string& path);

}  // namespace ota::store
