#include "engine/scan.h"

#include <algorithm>

#include "core/rollout.h"

namespace ota::engine {

std::vector<core::DeviceKey> ClockScan::Take(
    core::Instant wall, core::seconds every, core::seconds jitter, std::size_t limit,
    const std::function<std::vector<core::DeviceKey>()>& waiting) {
  std::vector<core::DeviceKey> taken;
  if (every <= core::seconds(0)) {
    multiple_.reset();
    due_.clear();
    return taken;
  }
  const core::Instant last = core::Instant(wall.time_since_epoch() / every * every);
  // Another period, or a clock that was set back: count from now on.
  if (!multiple_ || every_ != every || *multiple_ > last + every) {
    every_ = every;
    multiple_ = last + every;
    due_.clear();
  }
  if (*multiple_ <= wall) {
    multiple_ = last + every;
    due_.clear();
    const std::int64_t spread = std::max<std::int64_t>(1, core::Duration(jitter).count());
    for (core::DeviceKey& key : waiting()) {
      const core::Duration later(core::StableHash(key.product, key.device) % spread);
      due_.emplace_back(last + later, std::move(key));
    }
    std::ranges::sort(due_, std::greater<>());
  }
  while (!due_.empty() && due_.back().first <= wall && taken.size() < limit) {
    taken.push_back(std::move(due_.back().second));
    due_.pop_back();
  }
  return taken;
}

std::optional<core::Instant> ClockScan::next() const {
  if (due_.empty() || !multiple_) {
    return multiple_;
  }
  return std::min(*multiple_, due_.back().first);
}

}  // namespace ota::engine
