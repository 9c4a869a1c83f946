// When devices that nobody has heard of before may register: so many in each second. Who comes
// beyond is told a second of its own, so that a fleet that is switched on at once is registered as
// fast as one that arrives evenly. Pure; time is an argument. Engine thread only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/model.h"

namespace ota::engine {

inline constexpr int kRegistrationsPerSecond = 2000;
// Nobody is put off for longer, whatever names others have made up.
inline constexpr core::seconds kLongestComeAgain{60};

class Registrations {
 public:
  // One more asks at `steady`. Zero: it may register. Else the
  // seconds after which it is to ask again.
  core::seconds Ask(core::Instant steady) {
    const auto second = std::chrono::floor<core::seconds>(steady);
    if (second != second_) {
      const std::int64_t passed = (second - second_).count() * kRegistrationsPerSecond;
      // Set back: the seconds that were given out come no sooner than others.
      later_ = passed < 0 ? 0 : std::max<std::int64_t>(later_ - passed, 0);
      second_ = second;
      now_ = 0;
    }
    if (now_ < kRegistrationsPerSecond) {
      ++now_;
      return core::seconds(0);
    }
    const core::seconds later(1 + later_ / kRegistrationsPerSecond);
    if (later >= kLongestComeAgain) {
      return kLongestComeAgain;
    }
    ++later_;
    return later;
  }

 private:
  std::chrono::sys_seconds second_{};
  int now_ = 0;             // registered in this second
  std::int64_t later_ = 0;  // were told a later one, which has not come
};

}  // namespace ota::engine
