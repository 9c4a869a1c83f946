// Blocks take turns within the budgets.
#include "engine/block_queue.h"

#include <string>

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using std::chrono::milliseconds;

constexpr BlockQueue::Time kStart{std::chrono::hours(1)};

bool Any(const BlockJob&) {
  return true;
}

BlockJob Job(const std::string& device, int length, int count = 1) {
  BlockJob job;
  job.envelope.device = {"lamp", device};
  job.grant.length = length;
  job.grant.count = count;
  job.grant.file.bytes = 1 << 24;
  return job;
}

bool Push(BlockQueue& queue, BlockJob job, BlockQueue::Time now = kStart) {
  return queue.Push(job, now);
}

// Bytes that one device, asking again at once, gets in ten seconds.
std::int64_t InTenSeconds(BlockQueue& queue, int length) {
  std::int64_t bytes = 0;
  Push(queue, Job("d1", length));
  for (auto now = kStart; now < kStart + std::chrono::seconds(10); now += milliseconds(1)) {
    while (queue.Take(now, Any)) {
      bytes += length;
      Push(queue, Job("d1", length), now);
    }
  }
  return bytes;
}

TEST(BlockQueue, KeepsTheBudgetOfADevice) {
  BlockQueue queue(0, 100'000);
  EXPECT_NEAR(static_cast<double>(InTenSeconds(queue, 10'000)), 1e6, 5e4);
}

TEST(BlockQueue, KeepsTheBudgetOfAll) {
  BlockQueue queue(50'000, 100'000);
  EXPECT_NEAR(static_cast<double>(InTenSeconds(queue, 10'000)), 5e5, 4e4);
}

TEST(BlockQueue, WithoutLimitsNobodyWaits) {
  BlockQueue queue(0, 0);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(Push(queue, Job("d1", 262144)));
    ASSERT_TRUE(queue.Take(kStart, Any));
  }
}

TEST(BlockQueue, ARequestLargerThanTheBudgetIsServedAndPaidFor) {
  BlockQueue queue(0, 1000);
  ASSERT_TRUE(Push(queue, Job("d1", 4096, 64)));
  ASSERT_TRUE(Push(queue, Job("d1", 1)));
  ASSERT_TRUE(queue.Take(kStart, Any));
  EXPECT_FALSE(queue.Take(kStart + std::chrono::seconds(262), Any));
  ASSERT_TRUE(queue.Next());
  EXPECT_TRUE(queue.Take(*queue.Next(), Any));
  EXPECT_FALSE(queue.Next());
}

TEST(BlockQueue, DevicesTakeTurnsAndEachIsServedInOrder) {
  BlockQueue queue(0, 0);
  for (const int length : {1, 2, 3}) {
    Push(queue, Job("a", length));
    Push(queue, Job("b", length));
  }
  std::string order;
  while (const auto job = queue.Take(kStart, Any)) {
    order += job->envelope.device.device + std::to_string(job->grant.length);
  }
  EXPECT_EQ(order, "a1b1a2b2a3b3");
}

TEST(BlockQueue, ASlowDeviceHoldsUpNobody) {
  BlockQueue queue(0, 1000);
  Push(queue, Job("a", 100'000));
  Push(queue, Job("a", 1));
  Push(queue, Job("b", 2));
  ASSERT_TRUE(queue.Take(kStart, Any));
  EXPECT_EQ(queue.Take(kStart, Any)->envelope.device.device, "b");
}

TEST(BlockQueue, WhatIsNotWantedAnyMoreCostsNothing) {
  BlockQueue queue(1000, 1000);
  Push(queue, Job("gone", 1'000'000));
  Push(queue, Job("b", 2));
  const auto job =
      queue.Take(kStart, [](const BlockJob& one) { return one.envelope.device.device != "gone"; });
  ASSERT_TRUE(job);
  EXPECT_EQ(job->envelope.device.device, "b");
  EXPECT_FALSE(queue.Next());
}

TEST(BlockQueue, BoundsWhatADeviceMayAskForAtOnce) {
  BlockQueue queue(0, 0);
  for (std::size_t i = 0; i < kBlockRequestsPerDevice; ++i) {
    EXPECT_TRUE(Push(queue, Job("a", 1)));
  }
  EXPECT_FALSE(Push(queue, Job("a", 1)));
  EXPECT_TRUE(Push(queue, Job("b", 1)));
}

}  // namespace
}  // namespace ota::engine
