// Memory that is refused: the two boxes stay true, whichever allocation it is.
#include "no_memory.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dialect/dialect.h"
#include "engine/inbox.h"
#include "engine/outbox.h"

namespace {

std::atomic<std::size_t> refused_from{std::numeric_limits<std::size_t>::max()};
thread_local int granted = -1;  // below 0: all

void* Allocate(std::size_t bytes) {
  if (bytes >= refused_from.load(std::memory_order_relaxed) || (granted >= 0 && granted-- == 0)) {
    throw std::bad_alloc();
  }
  void* got = std::malloc(bytes == 0 ? 1 : bytes);  // NOLINT(cppcoreguidelines-no-malloc)
  if (got == nullptr) {
    throw std::bad_alloc();
  }
  return got;
}

}  // namespace

void* operator new(std::size_t bytes) {
  return Allocate(bytes);
}
void* operator new[](std::size_t bytes) {
  return Allocate(bytes);
}
// Without these the address sanitizer takes its own, whose memory must not be freed by what is
// below.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return std::malloc(bytes == 0 ? 1 : bytes);  // NOLINT(cppcoreguidelines-no-malloc)
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return std::malloc(bytes == 0 ? 1 : bytes);  // NOLINT(cppcoreguidelines-no-malloc)
}
void operator delete(void* memory) noexcept {
  std::free(memory);  // NOLINT(cppcoreguidelines-no-malloc)
}
void operator delete[](void* memory) noexcept {
  std::free(memory);  // NOLINT(cppcoreguidelines-no-malloc)
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);  // NOLINT(cppcoreguidelines-no-malloc)
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);  // NOLINT(cppcoreguidelines-no-malloc)
}

namespace ota::engine {

NoLargeMemory::NoLargeMemory(std::size_t bytes) {
  refused_from = bytes;
}
NoLargeMemory::~NoLargeMemory() {
  refused_from = std::numeric_limits<std::size_t>::max();
}
OneRefusal::OneRefusal(int others) {
  granted = others;
}
OneRefusal::~OneRefusal() {
  granted = -1;
}

namespace {

constexpr int kAllocations = 60;
const std::string kLong(100, 'x');  // longer than what a std::string holds itself

Arrival MakeArrival() {
  return {{kLong, kLong},
          &dialect::Dialects()[0],
          dialect::UplinkKind::kVersion,
          kLong,
          1,
          std::chrono::steady_clock::now()};
}

// Gives whether `act` found no memory when its allocation number `n` was refused.
template <typename Act>
bool Refused(int n, Act act) {
  const OneRefusal refusal(n);
  try {
    act();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

TEST(NoMemory, AnInboxCountsWhatItHolds) {
  int refused = 0;
  for (int n = 0; n < kAllocations; ++n) {
    Inbox inbox;
    for (int i = 0; i < 10; ++i) {
      for (int k = 0; k < 10; ++k) {
        Arrival arrival = MakeArrival();
        refused += Refused(n, [&] { inbox.Offer(std::move(arrival)); }) ? 1 : 0;
      }
      Batch batch;
      ASSERT_NO_THROW(batch = inbox.Take(std::chrono::steady_clock::now(), kBatchArrivals));
      EXPECT_EQ(inbox.depth().messages, batch.arrivals.size());
      inbox.Done(batch.arrivals);
      EXPECT_EQ(inbox.depth().messages, 0u);
      EXPECT_EQ(inbox.depth().bytes, 0u);
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(NoMemory, AnInboxKeepsWhatCannotBeTaken) {
  int refused = 0;
  for (int n = 0; n < kAllocations; ++n) {
    Inbox inbox;
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(inbox.Offer(MakeArrival()), Admission::kTaken);
      inbox.SetPresence({{kLong, std::to_string(i)}, 7, kLong}, true);
      inbox.AddUndelivered({kLong, std::to_string(i)}, 7);
    }
    Batch batch;
    const auto take = [&] { batch = inbox.Take(std::chrono::steady_clock::now(), kBatchArrivals); };
    if (Refused(n, take)) {
      ++refused;
      take();
    }
    EXPECT_EQ(batch.arrivals.size(), 3u) << n;
    EXPECT_EQ(batch.presence.size(), 3u) << n;
    EXPECT_EQ(batch.undelivered.size(), 3u) << n;
    EXPECT_EQ(batch.arrivals.back().device.device, kLong) << n;
  }
  EXPECT_GT(refused, 3);
}

TEST(NoMemory, AnOutboxIsEmptyWhenAllIsTakenOut) {
  int refused = 0;
  for (int n = 0; n < kAllocations; ++n) {
    Outbox outbox;
    for (int i = 0; i < 50; ++i) {
      std::vector<Message> messages(3,
                                    Message{Lane::kPush, {kLong, kLong}, 1, {}, kLong, kLong, 1});
      std::string line = kLong;
      refused += Refused(n,
                         [&] {
                           outbox.Push(std::move(messages));
                           outbox.Log(LogLevel::kNotice, std::move(line));
                         })
                     ? 1
                     : 0;
    }
    int logged = 0;
    int published = 0;
    const Outbox::Sink sink{[&](const LogLine&) { ++logged; },
                            [](const core::DeviceKey&) { return std::uint64_t{1}; },
                            [&](const Message&) { ++published; }, [](const Message&) { FAIL(); }};
    for (int i = 0; i < 1000 && !outbox.Empty(); ++i) {
      refused += Refused(n, [&] { outbox.Drain(sink); }) ? 1 : 0;
    }
    for (int i = 0; i < 1000 && !outbox.Empty(); ++i) {
      outbox.Drain(sink);
    }
    EXPECT_TRUE(outbox.Empty()) << n;
    EXPECT_EQ(outbox.Bytes(), 0u) << n;
    EXPECT_FALSE(outbox.Holds({kLong, kLong})) << n;
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace ota::engine
