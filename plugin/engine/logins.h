// The registry of devices that the broker thread asks at every login (guard/registry.h): reads it
// from the database slice by slice, decrypts the secrets, and swaps a new one in when people change
// something. Secrets are in clear in the registry only, and are decrypted here, once, so that a
// login costs the broker thread no more than the comparison.
//
// Engine thread only, but for registry(). A missing or wrong key is no fault of the database: one
// line in the log, logins by secret are refused, everything else goes on.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/model.h"
#include "core/result.h"
#include "engine/outbox.h"
#include "guard/registry.h"
#include "store/store.h"

namespace ota::engine {

class Logins {
 public:
  // `key_path`: of the key that secrets are encrypted with; made by the first Work() when the
  // database has no secrets yet.
  Logins(std::string key_path, Outbox& outbox) : key_path_(std::move(key_path)), outbox_(outbox) {}

  // Null until it was loaded once. Any thread.
  std::shared_ptr<const guard::Registry> registry() const;

  // Reads key and devices anew: at start, at SIGHUP, with another database.
  void Reload();
  // People changed these devices, or their secrets.
  void Changed(const std::vector<core::DeviceKey>& devices);
  // Products and their dialects, whenever they were loaded.
  void SetProducts(const store::Catalogue& catalogue);

  bool busy() const { return loading_ || !changed_.empty() || new_products_; }
  // Reads one slice; swaps the registry in when it is complete. Inside or outside a transaction.
  store::Status Work(store::Store& store);

 private:
  store::Status ReadKey(store::Store& store);
  void Put(guard::Registry& registry, const store::LoginRow& row);
  void Tell();
  void Swap(guard::Registry registry);

  const std::string key_path_;
  Outbox& outbox_;
  std::string key_;  // empty: there is none
  bool read_key_ = true;
  bool loading_ = false;
  core::DeviceKey cursor_;  // last device that was read
  guard::Registry next_;    // while it is loaded
  std::set<core::DeviceKey> changed_;
  guard::Registry::Dialects dialects_;
  bool new_products_ = false;
  std::size_t unreadable_ = 0;  // secrets, since the last line about them
  std::string first_unreadable_;

  mutable std::mutex mutex_;  // held for the copy of a pointer
  std::shared_ptr<const guard::Registry> registry_;
  // Goes with the next swap, not in the broker thread's hands.
  std::shared_ptr<const guard::Registry> former_;
};

}  // namespace ota::engine
