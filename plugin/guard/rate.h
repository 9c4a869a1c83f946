// How often somebody may do something. One thread only; time is an argument; bounded in memory,
// whatever clients do.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace ota::guard {

// At most once a second per client: error replies, and lines about denials. Bounded by the number
// of clients that were let through in the last two seconds.
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

// At most once a minute: lines about one matter that may repeat by itself.
class OncePerMinute {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Whether a line may be logged now: then gives how many were not since the last one that was;
  // nothing when it must not.
  std::optional<std::uint64_t> Allow(Time now);

 private:
  std::optional<Time> at_;
  std::uint64_t refused_ = 0;
};

// Token buckets by name, `burst` tokens each, a new one every `interval`. A fixed number of them:
// names that share one by their hash share their tokens; `seed` keeps others from choosing such
// names.
class Buckets {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  Buckets(int burst, Duration interval, std::string seed)
      : interval_(interval), depth_(interval * (burst - 1)), seed_(std::move(seed)) {}

  // Whether a token is left.
  bool Has(std::string_view name, Time now) const;
  // Takes one; there may be none.
  void Take(std::string_view name, Time now);

 private:
  std::size_t SlotOf(std::string_view name) const;

  const Duration interval_;
  const Duration depth_;
  const std::string seed_;
  std::array<Time, 4096> full_{};  // when the bucket will be full again
};

}  // namespace ota::guard
