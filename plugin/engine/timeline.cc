#include "engine/timeline.h"

namespace ota::engine {

ClockReading Clocks() {
  return {std::chrono::time_point_cast<core::Duration>(std::chrono::system_clock::now()),
          std::chrono::steady_clock::now()};
}

Timeline::Reading Timeline::Read(const ClockReading& clocks) {
  Reading reading;
  const auto elapsed =
      std::chrono::duration_cast<core::Duration>(clocks.monotonic - base_monotonic_);
  reading.now.wall = clocks.wall;
  reading.now.steady = base_ + elapsed;
  reading.now.trusted = clocks.wall >= floor_;
  const core::Duration ahead = clocks.wall - reading.now.steady;
  if (reading.now.trusted && (ahead > kJump || ahead < -kJump)) {
    reading.shift = ahead;
    base_ = clocks.wall;
    base_monotonic_ = clocks.monotonic;
    reading.now.steady = clocks.wall;
  }
  return reading;
}

}  // namespace ota::engine
