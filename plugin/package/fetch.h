// Fetches a package from a web server into the store directory, for otactl. The only user of
// libcurl. Blocks on the network and the disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "core/result.h"
#include "package/store_directory.h"

namespace ota::package {

struct FetchLimits {
  std::int64_t max_bytes = std::int64_t{1000} * 1024 * 1024;
  int redirects = 5;  // an https address is never redirected to http
  std::chrono::seconds connect{30};
  std::chrono::seconds stalled{60};  // without a byte
};

// Fetches `url` (http or https, certificates verified) and gives it `name` in the store (empty: the
// last component of the address's path). `progress` (may be empty) gets a total of 0 while that is
// unknown; false ends the fetch. Gives the path inside the store. Fails with kInvalidArgument
// (address, name, empty file, too large), kConflict (another file has that name) or kUnavailable
// (network, server, disk, stopped). User name, password and query of the address never appear in a
// message.
core::Result<std::string> Fetch(const std::string& url, int store, std::string name,
                                const FetchLimits& limits, const Progress& progress);

}  // namespace ota::package
