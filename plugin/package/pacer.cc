#include "package/pacer.h"

#include <algorithm>

namespace ota::package {
namespace {
// A turn is a tenth of a second's worth, so that many downloads take turns often, but not so little
// that the system calls cost more than the bytes.
constexpr std::int64_t kMinQuantum = 1024;
constexpr std::int64_t kMaxQuantum = std::int64_t{64} * 1024;
}  // namespace

std::int64_t Pacer::quantum() const {
  return rate_ == 0 ? kMaxQuantum : std::clamp(rate_ / 10, kMinQuantum, kMaxQuantum);
}

void Pacer::SetRate(std::int64_t bytes_per_second, Time now) {
  Refill(now);
  rate_ = std::max<std::int64_t>(bytes_per_second, 0);
  filled_ = now;
  tokens_ = std::min(tokens_, static_cast<double>(quantum()));
}

void Pacer::Refill(Time now) {
  const double seconds = std::chrono::duration<double>(now - filled_).count();
  filled_ = now;
  // The bucket holds two turns: what was not used while nobody downloaded is no debt to be
  // collected.
  tokens_ = std::min(tokens_ + std::max(seconds, 0.0) * static_cast<double>(rate_),
                     2.0 * static_cast<double>(quantum()));
}

std::int64_t Pacer::Take(std::int64_t wanted, Time now) {
  if (rate_ == 0) {
    return wanted;
  }
  Refill(now);
  const std::int64_t turn = std::min(wanted, quantum());
  if (!queue_.empty() || tokens_ < static_cast<double>(turn)) {
    return 0;
  }
  tokens_ -= static_cast<double>(turn);
  return turn;
}

void Pacer::Wait(Waiter waiter) {
  queue_.push_back(waiter);
}

void Pacer::Forget(Waiter waiter) {
  std::erase(queue_, waiter);
}

std::optional<Pacer::Waiter> Pacer::Next(Time now) {
  if (queue_.empty()) {
    return std::nullopt;
  }
  if (rate_ != 0) {
    Refill(now);
    if (tokens_ < static_cast<double>(quantum())) {
      return std::nullopt;
    }
    tokens_ -= static_cast<double>(quantum());
  }
  Waiter waiter = queue_.front();
  queue_.pop_front();
  return waiter;
}

std::optional<Pacer::Time> Pacer::When(Time now) const {
  if (queue_.empty()) {
    return std::nullopt;
  }
  const double missing = static_cast<double>(quantum()) - tokens_;
  if (rate_ == 0 || missing <= 0) {
    return now;
  }
  return filled_ +
         std::chrono::duration_cast<Time::duration>(
             std::chrono::duration<double>(missing / static_cast<double>(rate_))) +
         std::chrono::milliseconds(1);
}

}  // namespace ota::package
