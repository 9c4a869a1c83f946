#include "package/served_files.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace ota::package {

using core::ErrorCode;
using core::Fail;

core::Result<std::size_t> OpenFile::ReadInto(char* to, std::size_t length,
                                             std::int64_t offset) const {
  if (offset < 0 || offset >= bytes()) {
    return 0;
  }
  const std::size_t wanted = static_cast<std::size_t>(
      std::min<std::int64_t>(static_cast<std::int64_t>(length), bytes() - offset));
  std::size_t got = 0;
  while (got < wanted) {
    const ssize_t part =
        pread(fd_.get(), to + got, wanted - got, offset + static_cast<std::int64_t>(got));
    if (part < 0 && errno == EINTR) {
      continue;
    }
    if (part < 0) {
      return Fail(ErrorCode::kCorruption, "package file '" + file_.path + "': cannot be read: " +
                                              std::generic_category().message(errno));
    }
    if (part == 0) {
      return Fail(ErrorCode::kCorruption,
                  "package file '" + file_.path + "': has changed since it was hashed");
    }
    got += static_cast<std::size_t>(part);
  }
  if (const core::Result<void> unchanged = Check(); !unchanged) {
    return tl::unexpected(unchanged.error());
  }
  return got;
}

core::Result<std::string> OpenFile::Read(std::int64_t offset, std::size_t length) const {
  std::string block(length, '\0');
  const core::Result<std::size_t> got = ReadInto(block.data(), length, offset);
  if (!got) {
    return tl::unexpected(got.error());
  }
  block.resize(*got);
  return block;
}

core::Result<void> OpenFile::Check() const {
  return CheckUnchanged(fd_.get(), file_.path, file_.facts);
}

void Files::SetStore(Descriptor store) {
  auto opened = std::make_shared<const Descriptor>(std::move(store));
  const std::lock_guard lock(mutex_);
  store_.swap(opened);
}

void Files::SetTable(std::shared_ptr<const ServedFiles> table) {
  const std::lock_guard lock(mutex_);
  table_.swap(table);
}

std::shared_ptr<const ServedFiles> Files::table() const {
  const std::lock_guard lock(mutex_);
  return table_;
}

core::Result<std::shared_ptr<const OpenFile>> Files::Open(std::int64_t id) {
  // One at a time: two that open the same file must end up with one descriptor.
  const std::lock_guard opening(opening_);
  std::shared_ptr<const ServedFiles> table;
  std::shared_ptr<const Descriptor> store;
  {
    const std::lock_guard lock(mutex_);
    table = table_;
    store = store_;
  }
  if (!table) {
    return Fail(ErrorCode::kUnavailable, "the table of files is not loaded yet");
  }
  const auto found = table->find(id);
  if (found == table->end()) {
    return Fail(ErrorCode::kNotFound, "no file has the number " + std::to_string(id));
  }
  const ServedFile& file = found->second;
  if (!file.ready) {
    return Fail(ErrorCode::kUnavailable, "package file '" + file.path + "': is not ready");
  }
  std::erase_if(open_, [](const auto& entry) { return entry.second.expired(); });
  if (const auto shared = open_[id].lock()) {
    if (shared->Matches(file)) {
      return shared;
    }
  }
  core::Result<Descriptor> fd = OpenInside(store->get(), file.path);
  if (!fd) {
    const bool passing = fd.error().code == ErrorCode::kUnavailable;
    return Fail(passing ? ErrorCode::kUnavailable : ErrorCode::kCorruption, fd.error().message);
  }
  if (const core::Result<void> unchanged = CheckUnchanged(fd->get(), file.path, file.facts);
      !unchanged) {
    return tl::unexpected(unchanged.error());
  }
  auto opened = std::make_shared<const OpenFile>(std::move(*fd), file);
  open_[id] = opened;
  return opened;
}

std::size_t Files::in_use() const {
  const std::lock_guard opening(opening_);
  return static_cast<std::size_t>(std::count_if(
      open_.begin(), open_.end(), [](const auto& entry) { return !entry.second.expired(); }));
}

}  // namespace ota::package
