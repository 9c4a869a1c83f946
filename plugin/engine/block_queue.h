// Blocks of files that were granted and wait for their turn: a budget of bytes for each device and
// one for all together, so that files over MQTT leave room for other traffic. Devices take turns,
// one request at a time; a device's requests stay in order. Pure; time is an argument. Engine
// thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>

#include "core/model.h"
#include "engine/exchange.h"
#include "engine/inbox.h"

namespace ota::engine {

// As many as the inbox takes of a device at once.
inline constexpr std::size_t kBlockRequestsPerDevice = kShareMessages;
inline constexpr std::size_t kBlockRequests = 65536;

class BlockQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Bytes per second, of all devices and of each; 0: no limit.
  BlockQueue(std::int64_t all, std::int64_t each) : all_{all}, each_(each) {}

  // False, and `job` stays as it was: too many wait, of this device or in all.
  bool Push(BlockJob& job, Time now);

  // The next request whose time has come; nothing: none has. What `wanted` does not want (its
  // device has gone) is dropped and costs nothing.
  std::optional<BlockJob> Take(Time now, const std::function<bool(const BlockJob&)>& wanted);

  // When Take will have something; nothing when nothing waits.
  std::optional<Time> Next() const;

 private:
  // A budget may be overdrawn by one request, which the next one waits for.
  struct Budget {
    std::int64_t rate = 0;
    double bytes = 0;
    Time filled{};

    void Refill(Time now);
    void Spend(std::int64_t count) { bytes -= rate == 0 ? 0 : static_cast<double>(count); }
    Time Ready() const;  // when it is not overdrawn
  };
  struct Waiting {
    Budget budget;
    std::deque<BlockJob> jobs;
  };

  void Forget(Time now);

  Budget all_;
  const std::int64_t each_;
  std::unordered_map<core::DeviceKey, Waiting> devices_;
  std::deque<core::DeviceKey> turns_;  // of devices with jobs
  std::size_t jobs_ = 0;
  Time forgot_{};
};

}  // namespace ota::engine
