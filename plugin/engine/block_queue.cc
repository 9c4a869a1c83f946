// See block_queue.h.
#include "engine/block_queue.h"

#include <algorithm>
#include <utility>

namespace ota::engine {
namespace {

// What was not used is kept for so long.
constexpr double kBurst = 0.25;  // seconds
constexpr std::chrono::seconds kForget{10};

std::int64_t BytesOf(const BlockJob& job) {
  const core::BlockGrant& grant = job.grant;
  return std::min(std::int64_t{grant.length} * grant.count, grant.file.bytes - grant.offset);
}

}  // namespace

void BlockQueue::Budget::Refill(Time now) {
  const double seconds = std::chrono::duration<double>(now - filled).count();
  filled = now;
  const double most = static_cast<double>(rate) * kBurst;
  bytes = std::min(bytes + std::clamp(seconds, 0.0, 1e6) * static_cast<double>(rate), most);
}

BlockQueue::Time BlockQueue::Budget::Ready() const {
  if (rate == 0 || bytes >= 0) {
    return filled;
  }
  return filled +
         std::chrono::duration_cast<Time::duration>(
             std::chrono::duration<double>(-bytes / static_cast<double>(rate))) +
         std::chrono::milliseconds(1);
}

bool BlockQueue::Push(BlockJob& job, Time now) {
  Forget(now);
  if (jobs_ >= kBlockRequests) {
    return false;
  }
  const auto [found, added] = devices_.try_emplace(job.envelope.device);
  Waiting& waiting = found->second;
  if (added) {
    waiting.budget = {each_, 0, now};
  }
  if (waiting.jobs.size() >= kBlockRequestsPerDevice) {
    return false;
  }
  if (waiting.jobs.empty()) {
    turns_.push_back(job.envelope.device);
  }
  waiting.jobs.push_back(std::move(job));
  ++jobs_;
  return true;
}

std::optional<BlockJob> BlockQueue::Take(Time now,
                                         const std::function<bool(const BlockJob&)>& wanted) {
  all_.Refill(now);
  if (all_.Ready() > now) {
    return std::nullopt;
  }
  for (std::size_t turns = turns_.size(); turns > 0; --turns) {
    const core::DeviceKey device = std::move(turns_.front());
    turns_.pop_front();
    Waiting& waiting = devices_.find(device)->second;
    while (!waiting.jobs.empty() && !wanted(waiting.jobs.front())) {
      waiting.jobs.pop_front();
      --jobs_;
    }
    if (waiting.jobs.empty()) {
      continue;
    }
    waiting.budget.Refill(now);
    if (waiting.budget.Ready() > now) {
      turns_.push_back(device);
      continue;
    }
    BlockJob job = std::move(waiting.jobs.front());
    waiting.jobs.pop_front();
    --jobs_;
    if (!waiting.jobs.empty()) {
      turns_.push_back(device);
    }
    const std::int64_t bytes = BytesOf(job);
    waiting.budget.Spend(bytes);
    all_.Spend(bytes);
    return job;
  }
  return std::nullopt;
}

std::optional<BlockQueue::Time> BlockQueue::Next() const {
  std::optional<Time> next;
  for (const core::DeviceKey& device : turns_) {
    const Time ready = devices_.find(device)->second.budget.Ready();
    next = next ? std::min(*next, ready) : ready;
  }
  return next ? std::optional(std::max(*next, all_.Ready())) : std::nullopt;
}

void BlockQueue::Forget(Time now) {
  if (now - forgot_ < kForget) {
    return;
  }
  forgot_ = now;
  std::erase_if(devices_, [now](const auto& one) {
    return one.second.jobs.empty() && one.second.budget.Ready() <= now;
  });
}

}  // namespace ota::engine
