// Who may send how much, and when: a token bucket with a queue. Pure: time is an argument, the
// caller locks. Each waiter gets one quantum at a time, first come, first served: that is fair
// among downloads.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

namespace ota::package {

class Pacer {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Waiter = void*;

  // 0: unlimited. Waiters stay in the queue.
  void SetRate(std::int64_t bytes_per_second, Time now);

  // How many of `wanted` bytes may be sent now. 0: the caller waits (Wait).
  std::int64_t Take(std::int64_t wanted, Time now);

  void Wait(Waiter waiter);
  void Forget(Waiter waiter);

  // The next waiter who may go on now, taken from the queue together with its `quantum`.
  std::optional<Waiter> Next(Time now);

  // When Next will have something; nothing when nobody waits.
  std::optional<Time> When(Time now) const;

  // Bytes that one turn grants.
  std::int64_t quantum() const;

 private:
  void Refill(Time now);

  std::int64_t rate_ = 0;
  double tokens_ = 0;
  Time filled_{};
  std::deque<Waiter> queue_;
};

}  // namespace ota::package
