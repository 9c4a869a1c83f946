// The one file of a backup: an uncompressed tar (POSIX ustar), so that `tar` can list and read it.
// Written and read entry by entry; nothing but regular files with plain names. Reads and writes the
// disk.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "package/add.h"

namespace ota::otactl {

// Appends the file behind `fd` (`bytes` long, from its beginning) under `name`. Fails with
// kUnavailable (disk) or kConflict when the file shrinks meanwhile.
core::Result<void> AppendFile(package::NewFile& archive, const std::string& name, int fd,
                              std::int64_t bytes);
core::Result<void> AppendText(package::NewFile& archive, const std::string& name,
                              std::string_view text);
core::Result<void> AppendEnd(package::NewFile& archive);

// A file inside the archive: `bytes` bytes of the archive from `offset`.
struct Entry {
  std::string name;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
};

// Calls `each` for every file of the archive behind `fd`, in order; stops at its first error. Fails
// with kCorruption when it is cut off or is not such an archive; the message names `path`.
core::Result<void> ReadArchive(int fd, const std::string& path,
                               const std::function<core::Result<void>(const Entry&)>& each);

// Reads the whole entry, at most `limit` bytes.
core::Result<std::string> ReadEntry(int fd, const Entry& entry, std::int64_t limit);
// Copies the entry to the end of `to`.
core::Result<void> CopyEntry(int fd, const Entry& entry, int to);

}  // namespace ota::otactl
