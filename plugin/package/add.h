// Files come into the store directory whole or not at all: written without a name, or under a
// temporary one, synced, then given their name, which must be free. Called by otactl (and, for its
// key, by the plugin's start); blocks on the disk.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "package/descriptor.h"

namespace ota::package {

// Of files in the store: the group's, the broker's, to read.
inline constexpr unsigned kStoreMode = 0640;

// A file that has no name yet, in the directory `dir`, which must stay open. Removed unless
// published. Mode `mode` whatever the umask; the group is the directory's when `for_group`, so that
// what root adds is readable by the broker.
class NewFile {
 public:
  static core::Result<NewFile> Create(int dir, unsigned mode, bool for_group);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  int fd() const { return fd_.get(); }
  core::Result<void> Write(std::string_view bytes);

  // Syncs the file and gives it `name`, durably. Fails with kConflict when the name is taken.
  core::Result<void> Publish(const std::string& name);

 private:
  NewFile(int dir, std::string temporary, Descriptor fd);
  int dir_;
  std::string temporary_;  // empty: it has none, is published or moved from
  Descriptor fd_;
};

// Gives the new file `name`, or finds that the store has the same content under that name already.
// Fails with kConflict when the file of that name differs: a file in the store is never
// overwritten.
core::Result<void> PublishInStore(int store, NewFile& file, const std::string& name);

// Whether `name` can name a file of the store: 1 to 200 bytes of UTF-8 without `/`, control
// characters or a leading dot. Fails with kInvalidArgument.
core::Result<void> CheckName(std::string_view name);

// Copies the file `source` into the store directory as `name` (empty: the last component of
// `source`). Gives the path inside the store. Adding the same content again is not an error. Fails
// with kInvalidArgument (name, empty or unreadable source), kConflict (another file has that name),
// or kUnavailable (disk).
core::Result<std::string> AddFile(int store, const std::string& source, std::string name);

}  // namespace ota::package
