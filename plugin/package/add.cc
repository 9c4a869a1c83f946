#include "package/add.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "crypto/digest.h"
#include "crypto/random.h"
#include "package/store_directory.h"

namespace ota::package {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::size_t kMaxName = 200;

std::string Reason(int error) {
  return std::generic_category().message(error);
}

// A file without a name is gone when its process is killed. Where there is no such thing (NFS,
// vfat, no /proc to name it by), nothing.
Descriptor OpenNameless(int dir) {
  return Descriptor(access("/proc/self/fd", X_OK) == 0
                        ? openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)
                        : -1);
}

int LinkNameless(int fd, int dir, const std::string& to) {
  const std::string from = "/proc/self/fd/" + std::to_string(fd);
  return linkat(AT_FDCWD, from.c_str(), dir, to.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

// Gives `from` the name `to` unless that is taken; 0 or the error.
int RenameToFree(int dir, const std::string& from, const std::string& to) {
  if (renameat2(dir, from.c_str(), dir, to.c_str(), RENAME_NOREPLACE) == 0) {
    return 0;
  }
  if (errno != EINVAL && errno != ENOSYS) {
    return errno;
  }
  // A file system without RENAME_NOREPLACE (NFS) has hard links.
  if (linkat(dir, from.c_str(), dir, to.c_str(), 0) != 0) {
    return errno;
  }
  unlinkat(dir, from.c_str(), 0);
  return 0;
}

}  // namespace

NewFile::NewFile(int dir, std::string temporary, Descriptor fd)
    : dir_(dir), temporary_(std::move(temporary)), fd_(std::move(fd)) {}

NewFile::NewFile(NewFile&& other) noexcept
    : dir_(other.dir_),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::move(other.fd_)) {}

NewFile::~NewFile() {
  if (!temporary_.empty()) {
    unlinkat(dir_, temporary_.c_str(), 0);
  }
}

core::Result<NewFile> NewFile::Create(int dir, unsigned mode, bool for_group) {
  NewFile file(dir, {}, OpenNameless(dir));
  if (!file.fd_) {
    const core::Result<std::string> random = crypto::RandomName(16);
    if (!random) {
      return tl::unexpected(random.error());
    }
    const std::string temporary = ".new-" + *random;
    file.fd_ = Descriptor(
        openat(dir, temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.fd_) {
      return Fail(ErrorCode::kUnavailable, "a file cannot be made: " + Reason(errno));
    }
    file.temporary_ = temporary;
  }
  if (for_group) {
    struct stat parent {};
    struct stat self {};
    if (fstat(dir, &parent) != 0 || fstat(file.fd(), &self) != 0 ||
        (self.st_gid != parent.st_gid &&
         fchown(file.fd(), static_cast<uid_t>(-1), parent.st_gid) != 0)) {
      return Fail(ErrorCode::kUnavailable,
                  "a file cannot be given to the directory's group: " + Reason(errno));
    }
  }
  if (fchmod(file.fd(), mode) != 0) {
    return Fail(ErrorCode::kUnavailable, "a file's mode cannot be set: " + Reason(errno));
  }
  return file;
}

core::Result<void> NewFile::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      return Fail(ErrorCode::kUnavailable, "cannot be written: " + Reason(errno));
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

core::Result<void> NewFile::Publish(const std::string& name) {
  if (fsync(fd_.get()) != 0) {
    return Fail(ErrorCode::kUnavailable, "'" + name + "': cannot be synced: " + Reason(errno));
  }
  const int error = temporary_.empty() ? LinkNameless(fd_.get(), dir_, name)
                                       : RenameToFree(dir_, temporary_, name);
  if (error == EEXIST) {
    return Fail(ErrorCode::kConflict, "'" + name + "': exists already");
  }
  if (error != 0) {
    return Fail(ErrorCode::kUnavailable, "'" + name + "': cannot be named so: " + Reason(error));
  }
  temporary_.clear();
  if (fsync(dir_) != 0) {
    return Fail(ErrorCode::kUnavailable,
                "'" + name + "': its directory cannot be synced: " + Reason(errno));
  }
  return {};
}

core::Result<void> PublishInStore(int store, NewFile& file, const std::string& name) {
  core::Result<void> published = file.Publish(name);
  if (published || published.error().code != ErrorCode::kConflict) {
    return published;
  }
  const core::Result<FileFacts> there = Inspect(store, name, {});
  const core::Result<crypto::Digests> ours = crypto::DigestFile(file.fd(), {});
  if (!ours) {
    return tl::unexpected(ours.error());
  }
  if (!there || there->sha256 != ours->sha256) {
    return Fail(ErrorCode::kConflict,
                "package file '" + name +
                    "': the store has another file of that name; files are never overwritten, add "
                    "it under another name");
  }
  return {};
}

core::Result<void> CheckName(std::string_view name) {
  bool good = !name.empty() && name.size() <= kMaxName && name.front() != '.';
  for (const char c : name) {
    const unsigned char byte = static_cast<unsigned char>(c);
    good = good && byte >= 0x20 && byte != 0x7f && c != '/';
  }
  if (!good) {
    return Fail(ErrorCode::kInvalidArgument,
                "file name '" + std::string(name) +
                    "': must be 1 to 200 bytes without '/' and control characters, and not begin "
                    "with a dot");
  }
  return {};
}

core::Result<std::string> AddFile(int store, const std::string& source, std::string name) {
  if (name.empty()) {
    name = source.substr(source.rfind('/') + 1);
  }
  if (const core::Result<void> checked = CheckName(name); !checked) {
    return tl::unexpected(checked.error());
  }
  // O_NONBLOCK: a FIFO would wait for its writer.
  const Descriptor from(open(source.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!from) {
    return Fail(ErrorCode::kInvalidArgument,
                "'" + source + "': cannot be opened: " + Reason(errno));
  }
  struct stat found {};
  if (fstat(from.get(), &found) != 0 || !S_ISREG(found.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, "'" + source + "': is not a regular file");
  }
  core::Result<NewFile> file = NewFile::Create(store, kStoreMode, true);
  if (!file) {
    return tl::unexpected(file.error());
  }
  std::int64_t copied = 0;
  std::vector<char> buffer(std::size_t{256} * 1024);
  for (;;) {
    const ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return Fail(ErrorCode::kInvalidArgument,
                  "'" + source + "': cannot be read: " + Reason(errno));
    }
    if (got == 0) {
      break;
    }
    if (const core::Result<void> written =
            file->Write({buffer.data(), static_cast<std::size_t>(got)});
        !written) {
      return tl::unexpected(written.error());
    }
    copied += got;
  }
  if (copied == 0) {
    return Fail(ErrorCode::kInvalidArgument, "'" + source + "': is empty");
  }
  if (const core::Result<void> published = PublishInStore(store, *file, name); !published) {
    return tl::unexpected(published.error());
  }
  return name;
}

}  // namespace ota::package
