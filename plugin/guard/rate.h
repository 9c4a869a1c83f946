// At most once a second per client: error replies, and lines about denials. Bounded by the number
// of clients that were let through in the last two seconds. Broker thread only; time is an
// argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <unordered_map>

namespace ota::guard {

class OncePerSecond {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Whether `client` may now: then gives how many times it was refused since the last time that it
  // was let through; nothing when it must not. `client` is compared only.
  std::optional<std::uint64_t> Allow(const void* client, Time now);

 private:
  struct Entry {
    Time at;
    std::uint64_t refused = 0;
  };
  std::unordered_map<const void*, Entry> clients_;
  Time pruned_;
};

}  // namespace ota::guard
