// See rate.h.
#include "guard/rate.h"

#include <algorithm>
#include <functional>

namespace ota::guard {
namespace {

constexpr auto kInterval = std::chrono::seconds(1);

}  // namespace

std::optional<std::uint64_t> OncePerSecond::Allow(const void* client, Time now) {
  if (now - pruned_ >= kInterval) {
    // What was refused since is kept for one more interval, so that a steady flood is counted.
    std::erase_if(clients_, [now](const auto& item) {
      return now - item.second.at >= (item.second.refused > 0 ? 2 : 1) * kInterval;
    });
    pruned_ = now;
  }
  const auto [found, added] = clients_.try_emplace(client, Entry{now, 0});
  if (added) {
    return 0;
  }
  Entry& entry = found->second;
  if (now - entry.at < kInterval) {
    ++entry.refused;
    return std::nullopt;
  }
  const std::uint64_t refused = entry.refused;
  entry = {now, 0};
  return refused;
}

std::optional<std::uint64_t> OncePerMinute::Allow(Time now) {
  if (at_ && now - *at_ < std::chrono::minutes(1)) {
    ++refused_;
    return std::nullopt;
  }
  at_ = now;
  return std::exchange(refused_, 0);
}

std::size_t Buckets::SlotOf(std::string_view name) const {
  std::string text = seed_;
  text.append(name);
  return std::hash<std::string>()(text) % full_.size();
}

bool Buckets::Has(std::string_view name, Time now) const {
  return full_[SlotOf(name)] <= now + depth_;
}

void Buckets::Take(std::string_view name, Time now) {
  Time& full = full_[SlotOf(name)];
  full = std::min(std::max(full, now) + interval_, now + depth_ + interval_);
}

}  // namespace ota::guard
