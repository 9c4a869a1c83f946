// The safety scan on the clock: at every multiple of its period by the wall clock, connected
// devices with a task that waits are looked at again, each a little later by a number of its own,
// so that they do not come all at once. Pure: the time and the devices go in. Engine thread only.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "core/model.h"

namespace ota::engine {

class ClockScan {
 public:
  // The devices whose time has come, at most `limit`. `waiting` is asked at each multiple.
  //   every   0: never
  std::vector<core::DeviceKey> Take(core::Instant wall, core::seconds every, core::seconds jitter,
                                    std::size_t limit,
                                    const std::function<std::vector<core::DeviceKey>()>& waiting);

  // When Take() has something to do; nothing: never.
  std::optional<core::Instant> next() const;

 private:
  std::optional<core::Instant> multiple_;  // the next one
  core::seconds every_{0};
  std::vector<std::pair<core::Instant, core::DeviceKey>> due_;  // the last one first
};

}  // namespace ota::engine
