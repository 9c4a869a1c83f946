// See outbox.h.
#include "engine/outbox.h"

#include <algorithm>
#include <utility>

namespace ota::engine {
namespace {

// What a message costs besides its text: the value itself, the containers, the broker's copy.
constexpr std::size_t kOverhead = 256;
// Between two looks at the clock, and between two critical sections.
constexpr std::size_t kSlice = 8;
constexpr std::size_t kLogLinesPerTick = 16;
constexpr std::size_t kNearlyFull = kOutboxBytes / 4 * 3;
constexpr auto kBlockLane = static_cast<std::size_t>(Lane::kBlock);

std::size_t Cost(const Message& message) {
  return kOverhead + message.device.product.size() + message.device.device.size() +
         message.client.size() + message.topic.size() + message.payload.size();
}

}  // namespace

void Outbox::PushLocked(std::vector<Message> messages) {
  std::size_t bytes = 0;
  std::size_t block_bytes = 0;
  std::size_t taken = 0;
  const auto add = [&] {
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    block_bytes_.fetch_add(block_bytes, std::memory_order_relaxed);
    entries_.fetch_add(taken, std::memory_order_release);
  };
  try {
    for (Message& message : messages) {
      Pending& count = pending_[message.device];
      auto lane = static_cast<std::size_t>(message.lane);
      for (std::size_t lower = kLanes - 1; lower > lane; --lower) {
        if (count[lower] > 0) {
          lane = lower;
        }
      }
      const std::size_t cost = Cost(message);
      lanes_[lane].push_back(std::move(message));
      ++count[lane];
      (lane == kBlockLane ? block_bytes : bytes) += cost;
      ++taken;
    }
  } catch (...) {  // no memory: what is inside counts
    add();
    throw;
  }
  add();
}

bool Outbox::Holds(const core::DeviceKey& device) {
  if (Empty()) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  return pending_.contains(device);
}

void Outbox::Push(std::vector<Message> messages) {
  if (messages.empty()) {
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    PushLocked(std::move(messages));
  }
  if (pushed_) {
    pushed_();
  }
}

bool Outbox::PushWhenRoom(std::vector<Message> messages) {
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return stopped_ || !BlocksFull(); });
    if (stopped_) {
      return false;
    }
    PushLocked(std::move(messages));
  }
  if (pushed_) {
    pushed_();
  }
  return true;
}

bool Outbox::WaitForRoom(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  room_.wait_until(lock, deadline, [this] { return stopped_ || !Full(); });
  return !Full();
}

void Outbox::Log(LogLevel level, std::string text) {
  {
    const std::lock_guard lock(mutex_);
    if (log_.size() >= kOutboxLogLines) {
      ++log_dropped_;
      return;
    }
    log_.push_back({level, std::move(text)});
    entries_.fetch_add(1, std::memory_order_release);
  }
  if (pushed_) {
    pushed_();
  }
}

void Outbox::Drain(const Sink& sink, const DrainLimits& limits) {
  if (Empty()) {
    return;
  }
  const auto end = std::chrono::steady_clock::now() + limits.time;

  std::vector<LogLine> lines;
  {
    const std::lock_guard lock(mutex_);
    lines.reserve(std::min(log_.size(), kLogLinesPerTick));
    while (!log_.empty() && lines.size() < kLogLinesPerTick) {
      lines.push_back(std::move(log_.front()));
      log_.pop_front();
    }
    entries_.fetch_sub(lines.size(), std::memory_order_release);
    if (log_.empty() && log_dropped_ > 0) {
      lines.push_back({LogLevel::kWarning, std::to_string(std::exchange(log_dropped_, 0)) +
                                               " log lines were dropped: too many at once"});
    }
  }
  for (const LogLine& line : lines) {
    sink.log(line);
  }

  const std::size_t most = Bytes() < kNearlyFull
                               ? limits.messages
                               : std::max(limits.messages, limits.messages_nearly_full);
  std::size_t messages = 0;
  std::size_t bytes = 0;
  bool room = false;
  std::vector<Message> slice;
  slice.reserve(kSlice);
  do {
    slice.clear();
    {
      const std::lock_guard lock(mutex_);
      const bool was_full = Full() || BlocksFull();
      std::size_t cost = 0;
      std::size_t block_cost = 0;
      for (std::size_t lane = 0; lane < kLanes;) {
        if (slice.size() >= kSlice || messages >= most || bytes >= limits.bytes) {
          break;
        }
        if (lanes_[lane].empty()) {
          ++lane;
          continue;
        }
        Message& message = lanes_[lane].front();
        const auto pending = pending_.find(message.device);
        --pending->second[lane];
        if (pending->second == Pending{}) {
          pending_.erase(pending);
        }
        ++messages;
        bytes += message.payload.size();
        (lane == kBlockLane ? block_cost : cost) += Cost(message);
        slice.push_back(std::move(message));
        lanes_[lane].pop_front();
      }
      bytes_.fetch_sub(cost, std::memory_order_relaxed);
      block_bytes_.fetch_sub(block_cost, std::memory_order_relaxed);
      entries_.fetch_sub(slice.size(), std::memory_order_release);
      room = room || (was_full && (!Full() || !BlocksFull()));
    }
    for (Message& message : slice) {
      if (message.connection != 0 && sink.live(message.device) == message.connection) {
        sink.publish(std::move(message));
      } else {
        sink.undelivered(message);
      }
    }
  } while (!slice.empty() && std::chrono::steady_clock::now() < end);
  if (room) {
    room_.notify_all();
  }
}

void Outbox::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  room_.notify_all();
}

}  // namespace ota::engine
