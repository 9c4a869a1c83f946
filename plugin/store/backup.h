// Copies of the whole database, for backup and restore. otactl calls it; the broker may be running.
#pragma once

#include <string>

#include "core/result.h"

namespace ota::store {

// Writes a consistent copy of the open-for-everybody database `path` to the new file `to`, with one
// read transaction: writers go on meanwhile. Fails with kUnavailable (no such database, disk full,
// `to` exists), kCorruption or kUnsupported.
core::Result<void> CopyDatabase(const std::string& path, const std::string& to);

// Whether the file `path`, which nobody else uses, is a whole database of this program, of this
// schema or an older one: integrity_check over every page. Fails with kCorruption or kUnsupported.
core::Result<void> CheckDatabase(const std::string& path);

}  // namespace ota::store
