// See backup.h.
#include "otactl/backup.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "crypto/digest.h"
#include "otactl/archive.h"
#include "package/add.h"
#include "package/descriptor.h"
#include "store/backup.h"
#include "store/lock.h"

namespace ota::otactl {
namespace {

namespace fs = std::filesystem;
using core::ErrorCode;
using core::Fail;
using package::Descriptor;

constexpr char kDatabase[] = "ota.db";
constexpr char kSums[] = "SHA256SUMS";
constexpr std::int64_t kMaxSums = 64 * 1024;

tl::unexpected<core::Error> DiskError(const std::string& what) {
  return Fail(ErrorCode::kUnavailable, what + ": " + std::generic_category().message(errno));
}

fs::path DirectoryOf(const std::string& file) {
  const fs::path parent = fs::path(file).parent_path();
  return parent.empty() ? "." : parent;
}

bool IsKey(const std::string& name) {
  return name.size() > 4 && name.ends_with(".key") && name.front() != '.' &&
         name.find('/') == std::string::npos;
}

constexpr char kWorkshop[] = ".otactl-";

// Directories of processes that were killed; the others hold the lock of theirs.
void RemoveAbandoned(const fs::path& beside) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(beside, ignored)) {
    if (!entry.path().filename().string().starts_with(kWorkshop)) {
      continue;
    }
    const Descriptor directory(
        open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat facts {};
    if (directory && fstat(directory.get(), &facts) == 0 && facts.st_uid == geteuid() &&
        flock(directory.get(), LOCK_EX | LOCK_NB) == 0) {
      fs::remove_all(entry.path(), ignored);
    }
  }
}

// A directory for what is not finished; goes with everything in it, at the latest when the next one
// is made in its place.
class Workshop {
 public:
  static core::Result<Workshop> Make(const fs::path& beside) {
    RemoveAbandoned(beside);
    for (;;) {
      std::string name = (beside / (std::string(kWorkshop) + "XXXXXX")).string();
      if (mkdtemp(name.data()) == nullptr) {
        return DiskError("directory '" + beside.string() + "'");
      }
      Workshop made(name);
      made.lock_ = Descriptor(open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!made.lock_ && errno != ENOENT) {
        return DiskError("directory '" + name + "'");
      }
      // Where a directory cannot be locked (NFS) nobody finds one abandoned.
      static_cast<void>(flock(made.lock_.get(), LOCK_EX));
      std::error_code ignored;
      if (made.lock_ && fs::exists(name, ignored)) {
        return made;
      }
      // Another process took it for abandoned before it was locked.
    }
  }
  Workshop(Workshop&& other) noexcept
      : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  Workshop& operator=(Workshop&&) = delete;
  ~Workshop() {
    std::error_code ignored;
    if (!path_.empty()) {
      fs::remove_all(path_, ignored);
    }
  }
  std::string At(const std::string& name) const { return (path_ / name).string(); }

 private:
  explicit Workshop(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
  Descriptor lock_;
};

struct Part {
  std::string name;
  Descriptor file;
  crypto::Digests digests;
};

core::Result<Part> OpenPart(const std::string& name, const std::string& path) {
  Part part{name, Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)), {}};
  if (!part.file) {
    return DiskError("'" + path + "'");
  }
  auto digests = crypto::DigestFile(part.file.get(), {});
  if (!digests) {
    return tl::unexpected(digests.error());
  }
  part.digests = *digests;
  return part;
}

core::Result<void> WriteArchive(package::NewFile& archive, const std::vector<Part>& parts) {
  std::string sums;
  for (const Part& part : parts) {
    sums += part.digests.sha256 + "  " + part.name + "\n";
  }
  auto done = AppendText(archive, kSums, sums);
  for (const Part& part : parts) {
    if (done) {
      done = AppendFile(archive, part.name, part.file.get(), part.digests.bytes);
    }
  }
  return done ? AppendEnd(archive) : done;
}

// "digest  name" lines, as sha256sum writes them.
core::Result<std::map<std::string, std::string>> ParseSums(const std::string& text) {
  std::map<std::string, std::string> sums;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    if (end == std::string::npos || line.size() < 67 || line.substr(64, 2) != "  ") {
      return Fail(ErrorCode::kCorruption, "backup: its list of digests is damaged");
    }
    const std::string name = line.substr(66);
    if ((name != kDatabase && !IsKey(name)) || !sums.emplace(name, line.substr(0, 64)).second) {
      return Fail(ErrorCode::kCorruption, "backup: its list of digests names '" + name + "'");
    }
    at = end + 1;
  }
  return sums;
}

// Unpacks the backup into `workshop` and checks every digest. Gives the names.
core::Result<std::vector<std::string>> Unpack(const std::string& file, const Workshop& workshop) {
  const Descriptor archive(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!archive) {
    return DiskError("backup '" + file + "'");
  }
  std::map<std::string, std::string> sums;
  std::vector<std::string> names;
  auto read = ReadArchive(archive.get(), file, [&](const Entry& entry) -> core::Result<void> {
    if (entry.name == kSums && sums.empty()) {
      auto text = ReadEntry(archive.get(), entry, kMaxSums);
      auto parsed = text ? ParseSums(*text) : tl::unexpected(text.error());
      if (!parsed) {
        return tl::unexpected(parsed.error());
      }
      sums = std::move(*parsed);
      return {};
    }
    const auto sum = sums.find(entry.name);
    if (sum == sums.end() || std::ranges::find(names, entry.name) != names.end()) {
      return Fail(ErrorCode::kCorruption,
                  "backup '" + file + "': '" + entry.name + "' does not belong to it");
    }
    const std::string path = workshop.At(entry.name);
    const Descriptor part(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!part) {
      return DiskError("'" + path + "'");
    }
    if (auto copied = CopyEntry(archive.get(), entry, part.get()); !copied) {
      return copied;
    }
    auto digests = crypto::DigestFile(part.get(), {});
    if (!digests) {
      return tl::unexpected(digests.error());
    }
    if (digests->sha256 != sum->second) {
      return Fail(ErrorCode::kCorruption, "backup '" + file + "': '" + entry.name +
                                              "' is damaged: its SHA-256 is not the recorded one");
    }
    if (fsync(part.get()) != 0) {
      return DiskError("'" + path + "'");
    }
    names.push_back(entry.name);
    return {};
  });
  if (!read) {
    return tl::unexpected(read.error());
  }
  for (const auto& [name, digest] : sums) {
    if (std::ranges::find(names, name) == names.end()) {
      return Fail(ErrorCode::kCorruption, "backup '" + file + "': '" + name + "' is missing");
    }
  }
  if (!sums.contains(kDatabase)) {
    return Fail(ErrorCode::kCorruption, "backup '" + file + "': has no database");
  }
  return names;
}

// Gives the file's present bytes a second name, or, where there are no hard links, another one.
// Gives false when there is no such file.
core::Result<bool> SetAside(const std::string& path, const std::string& aside) {
  if (link(path.c_str(), aside.c_str()) == 0) {
    return true;
  }
  if (errno == ENOENT) {
    return false;
  }
  if (rename(path.c_str(), aside.c_str()) != 0) {
    return DiskError("'" + path + "' cannot be set aside");
  }
  return true;
}

core::Result<void> PutInPlace(const std::string& from, const std::string& to, mode_t mode,
                              const struct stat& directory) {
  if (chmod(from.c_str(), mode) != 0 ||
      (geteuid() == 0 && chown(from.c_str(), directory.st_uid, directory.st_gid) != 0) ||
      rename(from.c_str(), to.c_str()) != 0) {
    return DiskError("'" + to + "' cannot be put in place");
  }
  return {};
}

}  // namespace

core::Result<std::vector<std::string>> Backup(const std::string& database,
                                              const std::string& file) {
  std::error_code error;
  if (fs::exists(file, error)) {
    return Fail(ErrorCode::kConflict, "backup '" + file + "': exists already; name a new file");
  }
  const fs::path directory = DirectoryOf(file);
  auto workshop = Workshop::Make(directory);
  if (!workshop) {
    return tl::unexpected(workshop.error());
  }
  if (auto copied = store::CopyDatabase(database, workshop->At(kDatabase)); !copied) {
    return tl::unexpected(copied.error());
  }
  std::vector<std::pair<std::string, std::string>> sources{{kDatabase, workshop->At(kDatabase)}};
  for (const auto& entry : fs::directory_iterator(DirectoryOf(database), error)) {
    if (IsKey(entry.path().filename().string()) && entry.is_regular_file(error)) {
      sources.emplace_back(entry.path().filename().string(), entry.path().string());
    }
  }
  std::sort(sources.begin() + 1, sources.end());
  std::vector<Part> parts;
  std::vector<std::string> names;
  for (const auto& [name, path] : sources) {
    auto part = OpenPart(name, path);
    if (!part) {
      return tl::unexpected(part.error());
    }
    names.push_back(name);
    parts.push_back(std::move(*part));
  }
  const Descriptor dir(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto archive = package::NewFile::Create(dir.get(), 0600, false);
  if (!archive) {
    return tl::unexpected(archive.error());
  }
  if (auto written = WriteArchive(*archive, parts); !written) {
    return tl::unexpected(written.error());
  }
  if (auto published = archive->Publish(fs::path(file).filename().string()); !published) {
    return tl::unexpected(published.error());
  }
  return names;
}

core::Result<std::vector<std::string>> Restore(const std::string& database, const std::string& file,
                                               core::Instant now) {
  const fs::path directory = DirectoryOf(database);
  struct stat owner {};
  if (stat(directory.c_str(), &owner) != 0) {
    return DiskError("directory '" + directory.string() + "'");
  }
  auto lock = store::TakeLock(database);
  if (!lock) {
    lock.error().message += lock.error().code == ErrorCode::kConflict ? ": stop it first" : "";
    return tl::unexpected(lock.error());
  }
  auto workshop = Workshop::Make(directory);
  if (!workshop) {
    return tl::unexpected(workshop.error());
  }
  auto names = Unpack(file, *workshop);
  if (!names) {
    return tl::unexpected(names.error());
  }
  if (auto checked = store::CheckDatabase(workshop->At(kDatabase)); !checked) {
    return tl::unexpected(checked.error());
  }

  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, ".before-%Y%m%dT%H%M%SZ", &parts);
  std::vector<std::string> lines;
  // Keys first and the database last: until then a crash leaves the old database in use. Its
  // write-ahead log goes before it does, so that the new one never meets it.
  std::sort(names->begin(), names->end(), [](const std::string& a, const std::string& b) {
    return std::pair(a == kDatabase, a) < std::pair(b == kDatabase, b);
  });
  for (const std::string& name : *names) {
    const bool main = name == kDatabase;
    const std::string path = main ? database : (directory / name).string();
    auto aside = SetAside(path, path + stamp);
    if (!aside) {
      return tl::unexpected(aside.error());
    }
    if (*aside) {
      lines.push_back("kept the former '" + path + "' as '" + path + stamp + "'");
    }
    if (main && rename((path + "-wal").c_str(), (path + stamp + "-wal").c_str()) != 0 &&
        errno != ENOENT) {
      return DiskError("'" + path + "-wal' cannot be set aside");
    }
    if (main && unlink((path + "-shm").c_str()) != 0 && errno != ENOENT) {
      return DiskError("'" + path + "-shm' cannot be removed");
    }
    if (auto put = PutInPlace(workshop->At(name), path, main ? 0640 : 0600, owner); !put) {
      return tl::unexpected(put.error());
    }
    lines.push_back("restored '" + path + "'");
  }
  const Descriptor dir(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || fsync(dir.get()) != 0) {
    return DiskError("directory '" + directory.string() + "' cannot be synced");
  }
  return lines;
}

}  // namespace ota::otactl
