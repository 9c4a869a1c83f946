#include "core/rollout.h"

#include <algorithm>

namespace ota::core {
namespace {

// FNV-1a of 64 bits, then the finalizer of splitmix64, since names that differ in their last digit
// must not stay neighbours. Stored orders depend on it: never change it.
std::uint64_t Feed(std::uint64_t hash, std::string_view text) {
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash;
}

}  // namespace

std::int64_t StableHash(std::string_view plan, std::string_view device) {
  std::uint64_t hash = Feed(0xcbf29ce484222325ULL, plan);
  hash = Feed(hash, std::string_view("\0", 1));
  hash = Feed(hash, device);
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  hash ^= hash >> 31;
  return static_cast<std::int64_t>(hash >> 1);
}

std::int64_t Picked(std::int64_t members, int percent) {
  return members <= 0 ? 0 : std::max<std::int64_t>(1, members * percent / 100);
}

std::optional<std::string> Halts(const Plan& plan, int failed, int ended) {
  const Halt& halt = plan.halt;
  if (halt.failures > 0 && failed >= halt.failures) {
    return std::to_string(failed) + " tasks failed: the plan halts at " +
           std::to_string(halt.failures);
  }
  if (halt.percent > 0 && ended >= halt.sample && ended > 0 &&
      std::int64_t{failed} * 100 >= std::int64_t{halt.percent} * ended) {
    return std::to_string(failed) + " of " + std::to_string(ended) +
           " tasks failed: the plan halts at " + std::to_string(halt.percent) + " %";
  }
  return std::nullopt;
}

}  // namespace ota::core
