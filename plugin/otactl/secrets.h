// Secrets of devices on their way into the database: read from a file or standard input, never from
// the command line, and encrypted with the plugin's key. A secret is in no message.
#pragma once

#include <string>

#include "core/model.h"
#include "core/result.h"
#include "store/admin.h"

namespace ota::otactl {

// The first line of the file `path`, or of standard input when it is "-"; on a terminal it is asked
// for and not shown. Fails with kInvalidArgument.
core::Result<std::string> ReadSecret(const std::string& path);

class Secrets {
 public:
  // Reads the key, which must belong to the database's owner, and proves it by the secrets that are
  // there. Fails with kUnavailable or kInvalidArgument when there is none or another; never makes
  // one.
  static core::Result<Secrets> Open(store::Admin& admin, const std::string& database,
                                    const std::string& key_path);

  // Gives the device this secret, inside the open transaction of `admin`. The same again changes
  // nothing. Fails with kInvalidArgument (the rule for secrets) or kConflict (no such device).
  core::Result<void> Put(store::Admin& admin, const core::DeviceKey& device,
                         const std::string& secret) const;

 private:
  explicit Secrets(std::string key) : key_(std::move(key)) {}
  std::string key_;
};

}  // namespace ota::otactl
