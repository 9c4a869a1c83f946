#include "crypto/key_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <system_error>

#include "crypto/random.h"

namespace ota::crypto {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::size_t kKeyBytes = 32;

tl::unexpected<core::Error> Fault(const std::string& path, const std::string& why) {
  return Fail(ErrorCode::kInvalidArgument, "key file '" + path + "': " + why);
}

std::string Reason(int error) {
  return std::generic_category().message(error);
}

class Closer {
 public:
  explicit Closer(int fd) : fd_(fd) {}
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;
  ~Closer() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

core::Result<std::string> ReadKeyFile(const std::string& path, uid_t owner,
                                      const std::string& remedy) {
  const Closer file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) {
    return Fail(ErrorCode::kNotFound, "key file '" + path + "': does not exist");
  }
  if (file.get() < 0) {
    return Fault(path,
                 errno == ELOOP ? "is a symbolic link" : "cannot be opened: " + Reason(errno));
  }
  struct stat found {};
  if (::fstat(file.get(), &found) != 0) {
    return Fault(path, "cannot be examined: " + Reason(errno));
  }
  if (!S_ISREG(found.st_mode)) {
    return Fault(path, "is not a regular file");
  }
  if (found.st_uid != owner) {
    return Fault(path, "belongs to user " + std::to_string(found.st_uid) +
                           ", must belong to the broker's user " + std::to_string(owner));
  }
  if ((found.st_mode & 077) != 0) {
    return Fault(path, "can be read or written by others: its mode must be 0600");
  }
  std::array<char, kKeyBytes + 1> buffer{};
  if (::read(file.get(), buffer.data(), buffer.size()) != static_cast<ssize_t>(kKeyBytes)) {
    return Fault(path, "must hold exactly 32 bytes; " + remedy);
  }
  return std::string(buffer.data(), kKeyBytes);
}

// Written under another name first: nobody ever sees half a key.
core::Result<void> MakeKeyFile(const std::string& path) {
  const core::Result<std::string> bytes = RandomBytes(kKeyBytes);
  if (!bytes) {
    return Fault(path, bytes.error().message);
  }
  const std::size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Closer directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) {
    return Fault(path, "its directory cannot be opened: " + Reason(errno));
  }
  std::string part = path + ".XXXXXX";
  const Closer file(::mkostemp(part.data(), O_CLOEXEC));  // 0600
  if (file.get() < 0) {
    return Fault(path, "cannot be made: " + Reason(errno));
  }
  int error = 0;
  if (::write(file.get(), bytes->data(), bytes->size()) != static_cast<ssize_t>(bytes->size()) ||
      ::fsync(file.get()) != 0) {
    error = errno == 0 ? EIO : errno;
  } else if (::link(part.c_str(), path.c_str()) != 0) {
    error = errno == EEXIST ? 0 : errno;  // another process was faster: its key is the one
  }
  ::unlink(part.c_str());
  if (error != 0 || ::fsync(directory.get()) != 0) {
    return Fault(path, "cannot be written: " + Reason(error != 0 ? error : errno));
  }
  return {};
}

}  // namespace ota::crypto
