// Who holds locks on the database, for log lines: process id, program and user, from /proc/locks.
// Engine thread.
#pragma once

#include <string>

namespace ota::engine {

// "sqlite3 (pid 4711, user anna)", several separated by commas; "unknown" when nothing can be found
// out. `database` is the path of the main file; its -wal and -shm count too.
std::string LockHolders(const std::string& database);

}  // namespace ota::engine
