// The store directory: the one place from which files are served. Files are named by relative paths
// inside it; nothing in here ever opens anything outside it, and nothing but regular files.
//
// A file is known by its facts. Its digests hold as long as inode, size, mtime and ctime are what
// they were when it was hashed; when one differs, it is hashed again before a byte is served.
// Called on worker threads and in otactl, never on the broker's thread: all of it reads the disk.
// Source: design, section 7.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "package/descriptor.h"

namespace ota::package {

struct FileFacts {
  std::int64_t bytes = 0;
  std::uint64_t inode = 0;
  std::int64_t mtime_ns = 0;  // since the epoch
  std::int64_t ctime_ns = 0;
  std::string sha256;  // lower-case hex
  std::string md5;
  bool operator==(const FileFacts&) const = default;
};

// Asked often while a file is read, with the bytes done so far and in all; false ends the work.
using Progress = std::function<bool(std::int64_t done, std::int64_t total)>;

// Opens the directory itself. Fails with kInvalidArgument when `path` is no directory or cannot be
// opened: a mistake of the configuration.
core::Result<Descriptor> OpenStore(const std::string& path);

// Whether the open directory `store` is the one that `path` names now. One that cannot be looked at
// is no other one.
bool IsStore(int store, const std::string& path);

// Opens the regular, non-empty file `path` (relative, at most 255 bytes, no `.`, `..` or empty
// component) inside `store` for reading. No symbolic link is followed, also not one that stays
// inside. Fails with kInvalidArgument (the path), kNotFound (no such file), kCorruption (not a
// regular file, empty, a link, not readable) or kUnavailable (no descriptor or memory left); the
// message names the file.
core::Result<Descriptor> OpenInside(int store, std::string_view path);

// Hashes a file. `progress` may be empty. Fails as OpenInside; kUnavailable also when `progress`
// said false, when the file changed while it was read, or could not be read.
core::Result<FileFacts> Inspect(int store, std::string_view path, const Progress& progress);

// Whether the open file `fd`, named `path` in the message, is still what `facts` says. Fails with
// kCorruption.
core::Result<void> CheckUnchanged(int fd, std::string_view path, const FileFacts& facts);

}  // namespace ota::package
