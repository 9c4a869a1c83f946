// The lock that says "the broker uses this database": an advisory lock on a file beside it. The
// engine holds it while it has the database open; `otactl restore` takes it so that the two never
// meet. Released by the kernel when its holder dies. Any thread; reads and writes one directory.
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

// Whether somebody holds the lock now. Makes no file. False also when it cannot be read.
bool IsLocked(const std::string& path);

}  // namespace ota::store
