// Wakes the broker's main loop out of its wait, so that what is in the outbox goes out in a
// fraction of a millisecond instead of at the next tick, up to 100 ms later.
//
// The only public way is a signal to the main thread: epoll_wait returns EINTR, the loop goes
// round. SIGURG, because it coalesces, is ignored by default, and neither Mosquitto nor its
// libraries use it. Whoever puts something in sends the first one, and one small thread the others:
// after 100 us, then doubling up to the tick's 100 ms, until three ticks have begun since the last
// message entered: Mosquitto 2.1 ticks before its wait and flushes what a tick published one round
// later. Again while the outbox is not empty. The stop flag ends it: at shutdown no tick ever
// comes.
//
// A loop that is at work is looked at ten times more seldom, and gets no signal for the first
// milliseconds: a tick comes before it waits. Must not know Mosquitto.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "engine/options.h"

namespace ota::engine {

class Wake {
 public:
  // Starts on the main thread, which is the one that will be signaled. `pending` says whether the
  // outbox holds something; called on the wake thread. With WakeMode::kTick there is no thread, no
  // signal and no handler.
  Wake(WakeMode mode, std::function<bool()> pending);
  ~Wake();  // as Stop()
  Wake(const Wake&) = delete;
  Wake& operator=(const Wake&) = delete;

  // Something entered the outbox. Any thread, never waits long.
  void Notify();

  // The loop is at work, and will tick before it waits. Main thread.
  void Work() { waits_.store(false, std::memory_order_relaxed); }
  // A tick has begun; the loop may wait behind it. Main thread.
  void Tick() {
    waits_.store(true, std::memory_order_relaxed);
    ticks_.fetch_add(1, std::memory_order_release);
  }
  std::uint64_t ticks() const { return ticks_.load(std::memory_order_acquire); }

  // Ends the thread and puts the signal's old disposition back. Main thread. Idempotent.
  void Stop();

 private:
  void Run();
  std::chrono::microseconds First() const;

  const WakeMode mode_;
  const std::function<bool()> pending_;
  const pthread_t main_;
  std::atomic<std::uint64_t> ticks_{0};
  // A message that enters while this changes may find it false, and its tick over: then the thread
  // finds it.
  std::atomic<bool> waits_{true};

  std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_:
  bool notified_ = false;
  std::uint64_t until_ = 0;  // ticks that must have begun
  std::chrono::steady_clock::time_point sleeps_until_ =
      std::chrono::steady_clock::time_point::max();
  bool stop_ = false;

  struct sigaction old_action_ {};
  std::thread thread_;
};

}  // namespace ota::engine
