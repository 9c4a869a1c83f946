// See wake.h.
#include "engine/wake.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "package/threads.h"

namespace ota::engine {
namespace {

constexpr auto kFirst = std::chrono::microseconds(100);
constexpr auto kFirstAtWork = std::chrono::microseconds(1000);
// From this delay on a loop gets its signal whatever it does: it may not be at work any more.
constexpr auto kInAnyCase = 4 * kFirstAtWork;
constexpr auto kLongest = std::chrono::microseconds(100'000);
constexpr std::uint64_t kTicks = 3;

extern "C" void OtaWakeHandler(int /*signal*/) {}  // being interrupted is all that is wanted

}  // namespace

Wake::Wake(WakeMode mode, std::function<bool()> pending)
    : mode_(mode), pending_(std::move(pending)), main_(pthread_self()) {
  if (mode == WakeMode::kTick) {
    return;
  }
  struct sigaction action {};
  action.sa_handler = OtaWakeHandler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGURG, &action, &old_action_);
  sigset_t urgent;
  sigemptyset(&urgent);
  sigaddset(&urgent, SIGURG);
  pthread_sigmask(SIG_UNBLOCK, &urgent, nullptr);
  const package::AllSignalsBlocked blocked;
  thread_ = std::thread([this] { Run(); });
}

Wake::~Wake() {
  Stop();
}

void Wake::Notify() {
  if (mode_ == WakeMode::kTick) {
    return;
  }
  bool looks_soon = false;
  {
    const std::lock_guard lock(mutex_);
    notified_ = true;
    until_ = ticks() + kTicks;
    looks_soon = sleeps_until_ <= std::chrono::steady_clock::now() + First();
  }
  if (waits_.load(std::memory_order_relaxed)) {
    pthread_kill(main_, SIGURG);
  }
  if (!looks_soon) {
    changed_.notify_one();
  }
}

std::chrono::microseconds Wake::First() const {
  return waits_.load(std::memory_order_relaxed) ? kFirst : kFirstAtWork;
}

// Takes no memory, and so throws nothing.
void Wake::Run() {
  // The kernel would add 50 us to each wait.
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  package::OwnDescriptors();
  std::unique_lock lock(mutex_);
  while (!stop_) {
    sleeps_until_ = std::chrono::steady_clock::time_point::max();
    changed_.wait(lock, [this] { return stop_ || notified_; });
    auto delay = First();
    sleeps_until_ = std::chrono::steady_clock::now() + delay;
    while (!stop_) {
      changed_.wait_until(lock, sleeps_until_);
      const auto now = std::chrono::steady_clock::now();
      if (std::exchange(notified_, false)) {
        // A new message starts again with the shortest delay, but never defers a signal.
        delay = First();
        sleeps_until_ = std::min(sleeps_until_, now + delay);
      }
      if (now < sleeps_until_) {
        continue;
      }
      if (ticks() >= until_) {
        if (!pending_()) {
          break;
        }
        until_ = ticks() + kTicks;
        delay = First();
      }
      if (waits_.load(std::memory_order_relaxed) || delay >= kInAnyCase) {
        pthread_kill(main_, SIGURG);
      }
      delay = std::min(delay * 2, kLongest);
      sleeps_until_ = now + delay;
    }
  }
}

void Wake::Stop() {
  if (!thread_.joinable()) {
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
  sigaction(SIGURG, &old_action_, nullptr);
}

}  // namespace ota::engine
