// The pool: what is submitted runs, long work never blocks short work, and stopping is quick.
#include "package/workers.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <new>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "crypto/digest.h"
#include "scratch.h"

namespace ota::package {
namespace {

using namespace std::chrono_literals;
using Length = Workers::Length;

constexpr auto kSoon = 60s;

TEST(Workers, RunEveryJobOnce) {
  const auto workers = Workers::Start().value();
  std::atomic<int> runs{0};
  std::promise<void> all;
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(
        workers->Submit(i % 2 == 0 ? Length::kShort : Length::kLong, [&](const std::stop_token&) {
          if (++runs == 500) {
            all.set_value();
          }
        }));
  }
  EXPECT_EQ(all.get_future().wait_for(kSoon), std::future_status::ready);
}

TEST(Workers, OutliveJobsThatThrow) {
  const auto workers = Workers::Start().value();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(
        workers->Submit(Length::kLong, [](const std::stop_token&) { throw std::bad_alloc(); }));
  }
  std::promise<std::string> failed;
  ASSERT_TRUE(workers->Submit(
      Length::kLong, [](const std::stop_token&) { throw std::runtime_error("no room"); },
      [&](const std::exception& why) { failed.set_value(why.what()); }));
  EXPECT_EQ(failed.get_future().get(), "no room");
  std::promise<void> ran;
  ASSERT_TRUE(workers->Submit(Length::kShort, [&](const std::stop_token&) { ran.set_value(); }));
  EXPECT_EQ(ran.get_future().wait_for(kSoon), std::future_status::ready);
}

TEST(Workers, BlockAllSignals) {
  const auto workers = Workers::Start().value();
  std::promise<bool> blocked;
  ASSERT_TRUE(workers->Submit(Length::kShort, [&](const std::stop_token&) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked.set_value(sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGURG) == 1 &&
                      sigismember(&mask, SIGHUP) == 1);
  }));
  EXPECT_TRUE(blocked.get_future().get());
  sigset_t mine;
  pthread_sigmask(SIG_SETMASK, nullptr, &mine);
  EXPECT_EQ(sigismember(&mine, SIGTERM), 0);
}

TEST(Workers, RunAShortJobWhileLongOnesAreRunningAndWaiting) {
  const auto workers = Workers::Start(2).value();
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(
        workers->Submit(Length::kLong, [released](const std::stop_token&) { released.wait(); }));
  }
  std::promise<void> ran;
  ASSERT_TRUE(workers->Submit(Length::kShort, [&](const std::stop_token&) { ran.set_value(); }));
  EXPECT_EQ(ran.get_future().wait_for(kSoon), std::future_status::ready);
  release.set_value();
}

TEST(Workers, RefuseJobsBeyondTheBound) {
  const auto workers = Workers::Start(2, 2).value();
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::promise<void> started;
  ASSERT_TRUE(workers->Submit(Length::kLong, [&, released](const std::stop_token&) {
    started.set_value();
    released.wait();
  }));
  started.get_future().wait();
  const auto job = [](const std::stop_token&) {};
  EXPECT_TRUE(workers->Submit(Length::kLong, job));
  EXPECT_TRUE(workers->Submit(Length::kLong, job));
  EXPECT_FALSE(workers->Submit(Length::kLong, job));
  EXPECT_TRUE(workers->Submit(Length::kShort, job));
  release.set_value();
}

TEST(Workers, StopInTheMiddleOfALongHashWithinASecond) {
  const Scratch scratch;
  scratch.Write("sparse", "x");
  std::filesystem::resize_file(scratch.Path("sparse"), std::uintmax_t{8} << 30);
  const auto workers = Workers::Start().value();
  std::promise<void> started;
  std::atomic<bool> announced{false};
  std::atomic<bool> stopped{false};
  ASSERT_TRUE(workers->Submit(Length::kLong, [&](const std::stop_token& stop) {
    const auto facts = Inspect(scratch.store(), "sparse", [&](std::int64_t, std::int64_t) {
      if (!announced.exchange(true)) {
        started.set_value();
      }
      return !stop.stop_requested();
    });
    stopped = !facts;
  }));
  bool dropped_ran = false;
  ASSERT_TRUE(workers->Submit(Length::kLong, [&](const std::stop_token&) { dropped_ran = true; }));
  started.get_future().wait();
  const auto before = std::chrono::steady_clock::now();
  workers->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);  // to hash the rest takes longer
  EXPECT_TRUE(stopped);
  EXPECT_FALSE(dropped_ran);
  EXPECT_FALSE(workers->Submit(Length::kShort, [](const std::stop_token&) {}));
  workers->Stop();
}

}  // namespace
}  // namespace ota::package
