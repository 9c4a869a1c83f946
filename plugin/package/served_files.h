// The files that devices may fetch, for the download server and for blocks over MQTT: an immutable
// table that the engine swaps in, and the descriptors that downloads share.
//
// A file is served only while it is what it was when it was hashed. That is checked when it is
// opened and after every read: a download of a file that is replaced, removed or written to is cut,
// never mixed. Any thread but the broker's (it reads the disk).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "core/result.h"
#include "package/store_directory.h"

namespace ota::package {

struct ServedFile {
  std::string path;  // inside the store directory
  FileFacts facts;
  // False while it is away, changed, or being hashed again: devices wait (503) rather than give
  // up (404).
  bool ready = true;
};

// By file id. A file that has ever been offered stays in the table as long as its address may be
// valid.
using ServedFiles = std::unordered_map<std::int64_t, ServedFile>;

// A file in use. Holds one descriptor, shared by all who use the file.
class OpenFile {
 public:
  OpenFile(Descriptor fd, ServedFile file) : fd_(std::move(fd)), file_(std::move(file)) {}

  std::int64_t bytes() const { return file_.facts.bytes; }
  const std::string& sha256() const { return file_.facts.sha256; }

  // Reads up to `length` bytes at `offset` into `to`, fewer only at the end of the file; 0 past it.
  // Fails with kCorruption when the file has changed or cannot be read; then nothing in `to`
  // counts.
  core::Result<std::size_t> ReadInto(char* to, std::size_t length, std::int64_t offset) const;

  // One block [N-28]: as ReadInto, as a value.
  core::Result<std::string> Read(std::int64_t offset, std::size_t length) const;

  // Whether this is what the table's entry `file` means, and unchanged.
  bool Matches(const ServedFile& file) const {
    return file.path == file_.path && file.facts == file_.facts && Check().has_value();
  }

  // Fails with kCorruption when the file is not what it was.
  core::Result<void> Check() const;

 private:
  Descriptor fd_;
  ServedFile file_;
};

class Files {
 public:
  explicit Files(Descriptor store) : store_(std::make_shared<Descriptor>(std::move(store))) {}

  // Both may be called at any time; downloads that run go on with what they have while it is
  // unchanged.
  void SetStore(Descriptor store);
  void SetTable(std::shared_ptr<const ServedFiles> table);

  std::shared_ptr<const ServedFiles> table() const;  // null until the first SetTable

  // Opens a file of the table, or shares it with those who use it already. Fails with
  //   kNotFound     the table has no such file;
  //   kUnavailable  no table yet, not ready, or no descriptor left: later it may work;
  //   kCorruption   missing, changed or unreadable; the message names the file and why. The engine
  //   should
  //                 have it hashed again.
  core::Result<std::shared_ptr<const OpenFile>> Open(std::int64_t id);

  std::size_t in_use() const;  // descriptors

 private:
  mutable std::mutex opening_;  // guards open_; held while a file is opened
  mutable std::mutex mutex_;    // guards what follows; never held for long
  std::shared_ptr<const Descriptor> store_;
  std::shared_ptr<const ServedFiles> table_;

  std::unordered_map<std::int64_t, std::weak_ptr<const OpenFile>> open_;
};

}  // namespace ota::package
