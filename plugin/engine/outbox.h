// What is on its way to the broker: messages that the engine and its workers have decided on, and
// their log lines. Any thread puts in; the broker thread alone takes out, in its tick, and
// publishes.
//
// Three lanes, answers before pushes before blocks, each in order. What goes to one device stays in
// order: while something for it waits in a lower lane, later messages join that lane. Bounded:
// above kOutboxBytes the engine makes no new offers and takes no new uplinks, and workers wait;
// what one batch had already been promised is still taken.
//
// Nothing may be pushed that is not committed yet (design: "nothing is sent before it is saved").
// Critical sections are short: nothing is published, logged or freed under the lock. Must not know
// Mosquitto.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/model.h"

namespace ota::engine {

inline constexpr std::size_t kOutboxBytes = std::size_t{4} * 1024 * 1024;
inline constexpr std::size_t kOutboxBlockBytes = std::size_t{1} * 1024 * 1024;
inline constexpr std::size_t kOutboxLogLines = 1000;

// Higher first.
enum class Lane { kAnswer, kPush, kBlock };

struct Message {
  Lane lane = Lane::kAnswer;
  core::DeviceKey device;        // whose connection is meant
  std::uint64_t connection = 0;  // generation for which this was made; not sent to another one
  std::string client;            // client id, only for devices that never subscribe; else empty
  std::string topic;
  std::string payload;
  int qos = 1;  // 0 or 1
};

enum class LogLevel { kDebug, kInfo, kNotice, kWarning, kError };

struct LogLine {
  LogLevel level = LogLevel::kNotice;
  std::string text;  // without the leading "ota: "
};

// What one tick may do at most.
struct DrainLimits {
  std::chrono::steady_clock::duration time = std::chrono::milliseconds(1);
  // Publishing only queues inside the broker; the sending costs about 10 us a message afterwards.
  // Few, because a round of the broker's loop takes one packet from each connection: whose packets
  // have queued up while very many connected waits for as many rounds, and ours can wait.
  std::size_t messages = 25;
  std::size_t bytes = std::size_t{256} * 1024;
  // Instead, once the outbox is three quarters full: uplinks are refused when it is full.
  std::size_t messages_nearly_full = 200;
};

class Outbox {
 public:
  // `pushed` is called after everything that was put in, on the thread that did it, without the
  // lock: it wakes the broker (engine/wake.h). May be empty.
  explicit Outbox(std::function<void()> pushed = {}) : pushed_(std::move(pushed)) {}
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // Takes `messages` in their order. Never waits and never refuses: whoever calls asks Full() first
  // and bounds what one batch can cause. Engine thread.
  void Push(std::vector<Message> messages);

  // As Push, but waits until there is room for blocks. Gives false, and takes nothing, when Stop()
  // was called. Workers (blocks).
  bool PushWhenRoom(std::vector<Message> messages);

  // Waits until the outbox is not full, `deadline` has passed, or Stop(). Gives !Full(). Any thread
  // but the broker's.
  bool WaitForRoom(std::chrono::steady_clock::time_point deadline);

  // One line for the broker's log. Above kOutboxLogLines lines are dropped and counted; the count
  // is logged. Any thread.
  void Log(LogLevel level, std::string text);

  // Above the bound: no new offers. Any thread, no lock.
  bool Full() const { return Bytes() >= kOutboxBytes; }
  std::size_t Bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // The lane of blocks has a bound of its own, so that downloads do not hold up answers.
  bool BlocksFull() const {
    return block_bytes_.load(std::memory_order_relaxed) >= kOutboxBlockBytes;
  }
  bool Empty() const { return entries_.load(std::memory_order_acquire) == 0; }
  // Whether a message for the device is inside.
  bool Holds(const core::DeviceKey& device);

  // Broker thread: emits every log line, then publishes until a limit is met or nothing is left.
  // `live(device)` gives the generation of the device's connection, 0 when it is away; a message of
  // another generation is not published but handed to `undelivered`. When it is empty this costs
  // one atomic load. None of the callbacks may call into the outbox.
  struct Sink {
    std::function<void(const LogLine&)> log;
    std::function<std::uint64_t(const core::DeviceKey&)> live;
    std::function<void(Message)> publish;
    std::function<void(const Message&)> undelivered;
  };
  void Drain(const Sink& sink, const DrainLimits& limits = {});

  // Ends every wait, now and later. What is inside stays and can still be drained.
  void Stop();

 private:
  static constexpr std::size_t kLanes = 3;
  // How many messages for one device are in each lane.
  using Pending = std::array<std::uint32_t, kLanes>;

  void PushLocked(std::vector<Message> messages);

  const std::function<void()> pushed_;
  std::atomic<std::size_t> bytes_{0};        // of answers and pushes
  std::atomic<std::size_t> block_bytes_{0};  // of the lane of blocks
  std::atomic<std::size_t> entries_{0};      // messages and log lines

  std::mutex mutex_;
  std::condition_variable room_;
  // Protected by mutex_:
  std::array<std::deque<Message>, kLanes> lanes_;
  std::unordered_map<core::DeviceKey, Pending> pending_;
  std::deque<LogLine> log_;
  std::size_t log_dropped_ = 0;
  bool stopped_ = false;
};

}  // namespace ota::engine
