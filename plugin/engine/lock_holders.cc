#include "engine/lock_holders.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

namespace ota::engine {
namespace {

std::string UserName(uid_t uid) {
  std::vector<char> buffer(4096);
  struct passwd entry {};
  struct passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return std::to_string(uid);
}

std::string Describe(long pid) {
  const std::string directory = "/proc/" + std::to_string(pid);
  std::string program = "?";
  std::ifstream(directory + "/comm") >> program;
  struct stat facts {};
  const std::string user = ::stat(directory.c_str(), &facts) == 0 ? UserName(facts.st_uid) : "?";
  return program + " (pid " + std::to_string(pid) + ", user " + user + ")";
}

}  // namespace

std::string LockHolders(const std::string& database) {
  std::set<std::string> inodes;
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat facts {};
    if (::stat((database + suffix).c_str(), &facts) == 0) {
      inodes.insert(std::to_string(facts.st_ino));
    }
  }
  std::set<long> pids;
  std::ifstream locks("/proc/locks");
  std::string line;
  while (std::getline(locks, line)) {
    // 1: POSIX  ADVISORY  WRITE 4711 fe:01:123456 120 120; a waiter's line has "->" after the
    // number.
    std::istringstream words(line);
    std::string number, kind, mode, access, pid, place;
    words >> number >> kind >> mode >> access >> pid >> place;
    const std::size_t colon = place.rfind(':');
    if (colon == std::string::npos || !inodes.contains(place.substr(colon + 1))) {
      continue;
    }
    const long holder = std::strtol(pid.c_str(), nullptr, 10);
    if (holder > 0 && holder != static_cast<long>(::getpid())) {
      pids.insert(holder);
    }
  }
  std::string holders;
  for (const long pid : pids) {
    holders += (holders.empty() ? "" : ", ") + Describe(pid);
  }
  return holders.empty() ? "unknown" : holders;
}

}  // namespace ota::engine
