// What a device can cause in an hour, whatever it does: how many messages one that subscribes to
// nothing is sent (what the broker drops of a message to a client, because the client acknowledges
// nothing, it leaks for ever), and how many lines of the log its messages make. Pure; time is an
// argument. One thread only.
#pragma once

#include <cstddef>
#include <unordered_map>

#include "core/model.h"

namespace ota::engine {

inline constexpr int kPushesPerHour = 60;
inline constexpr int kAnswersPerHour = 240;  // a device may ask every 15 s
// Of the log, 2 MB or so: who says something else with every message does not fill the disk.
inline constexpr int kLogLinesPerHour = 20'000;

template <typename Device>
class HourLimit {
 public:
  enum class Answer { kSend, kFirstRefused, kRefused };

  explicit HourLimit(int per_hour) : per_hour_(per_hour) {}

  int per_hour() const { return per_hour_; }

  Answer Count(const Device& device, core::Instant now) {
    if (now - pruned_ >= kHour || now < pruned_) {
      std::erase_if(hours_, [now](const auto& one) {
        return now - one.second.begin >= kHour || now < one.second.begin;
      });
      pruned_ = now;
    }
    Hour& hour = hours_[device];
    if (hour.sent == 0 || now - hour.begin >= kHour || now < hour.begin) {
      hour = {now, 0};
    }
    ++hour.sent;
    return hour.sent <= per_hour_       ? Answer::kSend
           : hour.sent == per_hour_ + 1 ? Answer::kFirstRefused
                                        : Answer::kRefused;
  }

 private:
  static constexpr core::seconds kHour{3600};

  struct Hour {
    core::Instant begin{};
    int sent = 0;
  };
  const int per_hour_;
  std::unordered_map<Device, Hour> hours_;
  core::Instant pruned_{};
};

using PushLimit = HourLimit<core::DeviceKey>;

}  // namespace ota::engine
