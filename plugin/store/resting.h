// What was last read or written of devices, kept so that a report that changes nothing costs no
// statement, whatever the size of the fleet. It holds what the tables hold as of the open
// transaction, never more: any other program's commit, and any rollback, empties it. Engine thread.
#pragma once

#include <cstddef>
#include <unordered_map>
#include <utility>

#include "core/model.h"
#include "store/store.h"

namespace ota::store {

class Resting {
 public:
  // About 0.5 KiB each.
  static constexpr std::size_t kDevices = 131072;

  struct Entry {
    KnownDevice known;
    bool tags = false;      // known.device.tags was read
    bool idle = false;      // no task is live; false: not known
    bool unfailed = false;  // no task has failed in a way that LoadFailed gives; false: not known
  };

  // Null: not kept. The pointer holds until the next Keep() or Clear().
  Entry* Find(const core::DeviceKey& key) {
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
  }
  void Keep(const core::DeviceKey& key, Entry entry) {
    if (entries_.size() >= kDevices && !entries_.contains(key)) {
      entries_.erase(entries_.begin());
    }
    entries_.insert_or_assign(key, std::move(entry));
  }
  void Forget(const core::DeviceKey& key) { entries_.erase(key); }
  void Clear() { entries_.clear(); }

 private:
  std::unordered_map<core::DeviceKey, Entry> entries_;
};

}  // namespace ota::store
