#include "package/store_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <linux/openat2.h>

#include "crypto/digest.h"

namespace ota::package {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::size_t kMaxPath = 255;

// The kernel stamps files with a clock of this coarseness at worst. What was changed less than that
// ago can be changed again without a trace.
constexpr std::int64_t kStampNs = 20'000'000;

std::string Reason(int error) {
  return std::generic_category().message(error);
}

std::string Named(std::string_view path, const std::string& why) {
  return "package file '" + std::string(path) + "': " + why;
}

std::int64_t Nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

bool IsPlainRelative(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || path.find('\0') != std::string_view::npos) {
    return false;
  }
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string_view component = path.substr(start, end - start);
    if (component.empty() || component == "." || component == "..") {
      return false;
    }
    start = end + 1;
  }
  return true;
}

// For kernels before 5.6 and sandboxes that forbid openat2.
int OpenStepwise(int store, const std::string& path, std::uint64_t flags) {
  Descriptor parent;
  for (std::size_t start = 0;;) {
    const int at = parent ? parent.get() : store;
    const std::size_t end = path.find('/', start);
    if (end == std::string::npos) {
      return openat(at, path.c_str() + start, static_cast<int>(flags) | O_NOFOLLOW);
    }
    const std::string component = path.substr(start, end - start);
    Descriptor next(openat(at, component.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) {
      return -1;
    }
    parent = std::move(next);
    start = end + 1;
  }
}

int OpenBeneath(int store, const std::string& path) {
  open_how how{};
  // O_NONBLOCK: a FIFO in the store must not hold a worker.
  how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = syscall(SYS_openat2, store, path.c_str(), &how, sizeof how);
  if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EAGAIN)) {
    return OpenStepwise(store, path, how.flags);
  }
  return static_cast<int>(fd);
}

core::Result<struct stat> Stat(int fd, std::string_view path) {
  struct stat found {};
  if (fstat(fd, &found) != 0) {
    return Fail(ErrorCode::kCorruption, Named(path, "cannot be examined: " + Reason(errno)));
  }
  return found;
}

FileFacts FactsOf(const struct stat& found) {
  FileFacts facts;
  facts.bytes = found.st_size;
  facts.inode = found.st_ino;
  facts.mtime_ns = Nanoseconds(found.st_mtim);
  facts.ctime_ns = Nanoseconds(found.st_ctim);
  return facts;
}

bool SameFile(const FileFacts& a, const FileFacts& b) {
  return a.bytes == b.bytes && a.inode == b.inode && a.mtime_ns == b.mtime_ns &&
         a.ctime_ns == b.ctime_ns;
}

void WaitForStamp(const FileFacts& facts) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (facts.ctime_ns > Nanoseconds(now) - kStampNs) {
    const timespec pause{0, kStampNs};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace

core::Result<Descriptor> OpenStore(const std::string& path) {
  Descriptor store(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!store) {
    return Fail(ErrorCode::kInvalidArgument,
                "store directory '" + path + "': cannot be opened: " + Reason(errno));
  }
  return store;
}

bool IsStore(int store, const std::string& path) {
  struct stat open {};
  struct stat named {};
  return ::stat(path.c_str(), &named) != 0 || ::fstat(store, &open) != 0 ||
         (open.st_dev == named.st_dev && open.st_ino == named.st_ino);
}

core::Result<Descriptor> OpenInside(int store, std::string_view path) {
  if (!IsPlainRelative(path)) {
    return Fail(ErrorCode::kInvalidArgument,
                Named(path,
                      "must be a relative path of at most 255 bytes inside the store directory, "
                      "without '.' and '..'"));
  }
  Descriptor fd(OpenBeneath(store, std::string(path)));
  if (!fd) {
    const int error = errno;
    if (error == ENOENT) {
      return Fail(ErrorCode::kNotFound, Named(path, "is not in the store directory"));
    }
    if (error == ELOOP || error == EXDEV) {
      return Fail(ErrorCode::kCorruption,
                  Named(path, "is or lies behind a symbolic link; links are not followed"));
    }
    const bool passing = error == EMFILE || error == ENFILE || error == ENOMEM;
    return Fail(passing ? ErrorCode::kUnavailable : ErrorCode::kCorruption,
                Named(path, "cannot be opened: " + Reason(error)));
  }
  const core::Result<struct stat> found = Stat(fd.get(), path);
  if (!found) {
    return tl::unexpected(found.error());
  }
  if (!S_ISREG(found->st_mode)) {
    return Fail(ErrorCode::kCorruption, Named(path, "is not a regular file"));
  }
  if (found->st_size == 0) {
    return Fail(ErrorCode::kCorruption, Named(path, "is empty"));
  }
  return fd;
}

core::Result<FileFacts> Inspect(int store, std::string_view path, const Progress& progress) {
  const core::Result<Descriptor> fd = OpenInside(store, path);
  if (!fd) {
    return tl::unexpected(fd.error());
  }
  core::Result<struct stat> found = Stat(fd->get(), path);
  if (!found) {
    return tl::unexpected(found.error());
  }
  FileFacts facts = FactsOf(*found);
  WaitForStamp(facts);
  const core::Result<crypto::Digests> digests = crypto::DigestFile(
      fd->get(), [&](std::int64_t done) { return !progress || progress(done, facts.bytes); });
  if (!digests) {
    return Fail(digests.error().code, Named(path, digests.error().message));
  }
  found = Stat(fd->get(), path);
  if (!found) {
    return tl::unexpected(found.error());
  }
  if (!SameFile(facts, FactsOf(*found)) || digests->bytes != facts.bytes) {
    return Fail(ErrorCode::kUnavailable, Named(path, "changed while it was read"));
  }
  facts.sha256 = digests->sha256;
  facts.md5 = digests->md5;
  return facts;
}

core::Result<void> CheckUnchanged(int fd, std::string_view path, const FileFacts& facts) {
  const core::Result<struct stat> found = Stat(fd, path);
  if (!found) {
    return tl::unexpected(found.error());
  }
  if (!SameFile(facts, FactsOf(*found))) {
    return Fail(ErrorCode::kCorruption, Named(path, "has changed since it was hashed"));
  }
  return {};
}

}  // namespace ota::package
