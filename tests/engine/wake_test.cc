// Waking the main thread. Here the test's own thread plays the broker's loop: it waits in a system
// call and "ticks" when it is interrupted.
#include "engine/wake.h"

#include <poll.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include <gtest/gtest.h>

#include "package/threads.h"

namespace ota::engine {
namespace {

// Waits as the broker does; whether a signal ended it.
bool Interrupted(int milliseconds) {
  return poll(nullptr, 0, milliseconds) == -1 && errno == EINTR;
}

constexpr int kForever = 20'000;

TEST(Wake, InterruptsTheMainThreadUntilThreeTicksHaveBegun) {
  Wake wake(WakeMode::kSignal, [] { return false; });
  std::thread engine([&] { wake.Notify(); });
  for (int tick = 0; tick < 3; ++tick) {
    ASSERT_TRUE(Interrupted(kForever)) << tick;
    wake.Tick();
  }
  engine.join();
  while (Interrupted(150)) {  // what was on its way already
    wake.Tick();
  }
  EXPECT_LT(wake.ticks(), 10u);
}

TEST(Wake, GoesOnWhileSomethingIsPending) {
  std::atomic<bool> pending{true};
  Wake wake(WakeMode::kSignal, [&] { return pending.load(); });
  std::thread engine([&] { wake.Notify(); });
  for (int tick = 0; tick < 20; ++tick) {
    ASSERT_TRUE(Interrupted(kForever)) << tick;
    wake.Tick();
  }
  engine.join();
  pending = false;
  while (Interrupted(150)) {
    wake.Tick();
  }
}

TEST(Wake, ManyNotificationsDoNotPutTheSignalOff) {
  Wake wake(WakeMode::kSignal, [] { return false; });
  std::atomic<bool> done{false};
  std::thread engine([&] {
    while (!done) {
      wake.Notify();
    }
  });
  EXPECT_TRUE(Interrupted(kForever));
  done = true;
  engine.join();
}

TEST(Wake, ALoopThatOnlySeemsToBeAtWorkIsInterruptedAllTheSame) {
  Wake wake(WakeMode::kSignal, [] { return false; });
  wake.Work();
  std::thread engine([&] { wake.Notify(); });
  EXPECT_TRUE(Interrupted(kForever));
  engine.join();
}

TEST(Wake, WithoutNotificationNothingIsInterrupted) {
  Wake wake(WakeMode::kSignal, [] { return true; });
  EXPECT_FALSE(Interrupted(50));
}

TEST(Wake, ByTickAloneSendsNoSignal) {
  Wake wake(WakeMode::kTick, [] { return true; });
  wake.Notify();
  EXPECT_FALSE(Interrupted(50));
}

TEST(Wake, StopEndsItWithoutATick) {
  Wake wake(WakeMode::kSignal, [] { return true; });
  wake.Notify();
  wake.Stop();
  wake.Stop();
  wake.Notify();
  EXPECT_FALSE(Interrupted(20));
}

TEST(Wake, PutsTheDispositionOfTheSignalBack) {
  struct sigaction before {};
  struct sigaction during {};
  struct sigaction after {};
  sigaction(SIGURG, nullptr, &before);
  {
    const Wake wake(WakeMode::kSignal, [] { return false; });
    sigaction(SIGURG, nullptr, &during);
  }
  sigaction(SIGURG, nullptr, &after);
  EXPECT_NE(during.sa_handler, before.sa_handler);
  EXPECT_NE(during.sa_flags & SA_RESTART, 0);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
}

TEST(SignalsBlocked, ThreadsStartWithAllSignalsBlocked) {
  sigset_t inside;
  {
    const package::AllSignalsBlocked blocked;
    std::thread([&] { pthread_sigmask(SIG_BLOCK, nullptr, &inside); }).join();
  }
  for (const int signal : {SIGURG, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) {
    EXPECT_EQ(sigismember(&inside, signal), 1) << signal;
  }
  sigset_t outside;
  pthread_sigmask(SIG_BLOCK, nullptr, &outside);
  EXPECT_EQ(sigismember(&outside, SIGTERM), 0);
}

}  // namespace
}  // namespace ota::engine
