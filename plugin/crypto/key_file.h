// A key in a file of its own: 32 random bytes that only one user can read. Reads and writes the
// disk: at start, on the engine's thread, and in otactl.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/result.h"

namespace ota::crypto {

// Reads the key file `path`: exactly 32 bytes in a regular file of user `owner`, mode 0600 or
// narrower. Fails with kNotFound when there is none, else with kInvalidArgument, naming file and
// rule; `remedy` says what to do with one of another size.
core::Result<std::string> ReadKeyFile(const std::string& path, uid_t owner,
                                      const std::string& remedy);

// Makes the key file, 0600, on the disk when this returns. One that exists already stays as it is.
// Fails with kInvalidArgument, naming the file.
core::Result<void> MakeKeyFile(const std::string& path);

}  // namespace ota::crypto
