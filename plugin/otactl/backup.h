// `otactl backup` and `otactl restore`: the database, the keys beside it and their digests in one
// file. Package files are not in it. Blocks on the disk.
#pragma once

#include <string>
#include <vector>

#include "core/model.h"
#include "core/result.h"

namespace ota::otactl {

// Writes the new file `file` (0600): SHA256SUMS, ota.db (a consistent copy; the broker may write
// meanwhile) and every `*.key` beside the database. Gives the names inside. Fails with kConflict
// when `file` exists, else as store::CopyDatabase.
core::Result<std::vector<std::string>> Backup(const std::string& database, const std::string& file);

// Puts the backup in place of the database and its keys. Before anything is touched, digests and
// the database are checked. What was there is renamed to `NAME.before-TIME`. The number of the last
// commit, which lies beside the database, stays: the plugin knows by it that the database is an
// older one. Gives lines for people about what was done. Fails with kConflict while a broker runs,
// kCorruption or kUnsupported when the backup is not whole, kUnavailable when the disk refuses.
core::Result<std::vector<std::string>> Restore(const std::string& database, const std::string& file,
                                               core::Instant now);

}  // namespace ota::otactl
