// See lock.h.
#include "store/lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

namespace ota::store {
namespace {

// Locks of an open file description: unlike flock() they can be asked about without being taken,
// unlike POSIX locks they outlive another descriptor of the process.
struct flock WholeFile() {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return whole;
}

// Of the database itself. SQLite's own locks are at 0x40000000, its longest file ends at 2^48.
struct flock OneByte() {
  struct flock byte = WholeFile();
  byte.l_start = off_t{1} << 62;
  byte.l_len = 1;
  return byte;
}

}  // namespace

Lock::~Lock() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

core::Result<Lock> TakeLock(const std::string& path) {
  std::error_code none;
  if (std::filesystem::is_symlink(path, none)) {
    // SQLite keeps the write-ahead log beside the file itself, where nobody would look for it, and
    // another broker may know the file by its own name, and its lock.
    return core::Fail(
        core::ErrorCode::kInvalidArgument,
        "database '" + path + "': is a symbolic link; give the path of the file itself");
  }
  const std::string name = path + ".lock";
  const int fd = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
  if (fd < 0) {
    return core::Fail(core::ErrorCode::kUnavailable, "lock '" + name + "': cannot be opened: " +
                                                         std::generic_category().message(errno));
  }
  Lock lock(fd);
  struct flock whole = WholeFile();
  if (fcntl(fd, F_OFD_SETLK, &whole) != 0) {
    const int error = errno;
    if (error == EAGAIN || error == EACCES) {
      return core::Fail(
          core::ErrorCode::kConflict,
          "database '" + path + "': is in use by a running broker ('" + name + "' is locked)");
    }
    return core::Fail(core::ErrorCode::kUnavailable, "lock '" + name + "': cannot be taken: " +
                                                         std::generic_category().message(error));
  }
  // What root makes must serve the broker as well.
  const std::string directory = std::filesystem::path(name).parent_path().string();
  struct stat owner {};
  if (geteuid() == 0 && stat(directory.empty() ? "." : directory.c_str(), &owner) == 0 &&
      fchown(fd, owner.st_uid, owner.st_gid) != 0) {
    return core::Fail(core::ErrorCode::kUnavailable,
                      "lock '" + name + "': cannot be given to the owner of its directory: " +
                          std::generic_category().message(errno));
  }
  return lock;
}

core::Result<Lock> TakeFileLock(const std::string& path) {
  const std::string name = "database '" + path + "': ";
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    return core::Fail(core::ErrorCode::kUnavailable,
                      name + "cannot be opened: " + std::generic_category().message(errno));
  }
  Lock lock(fd);
  struct flock byte = OneByte();
  if (fcntl(fd, F_OFD_SETLK, &byte) != 0) {
    const int error = errno;
    if (error == EAGAIN || error == EACCES) {
      return core::Fail(core::ErrorCode::kConflict,
                        name +
                            "is in use by another broker, which knows it by another name, or "
                            "whose '" +
                            path + ".lock' was removed; stop one of them");
    }
    return core::Fail(core::ErrorCode::kUnavailable,
                      name + "cannot be locked: " + std::generic_category().message(error));
  }
  return lock;
}

bool IsLocked(const std::string& path) {
  const int fd = open((path + ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  const Lock closes(fd);
  struct flock whole = WholeFile();
  return fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

}  // namespace ota::store
