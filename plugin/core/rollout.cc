// Shares, the stable hash, halting, ending.
#include "core/rollout.h"

#include <algorithm>

#include "core/step.h"

namespace ota::core {
namespace {

// FNV-1a of 64 bits. With the finalizer of splitmix64 after it, since names that differ in their
// last digit must not stay neighbours. Stored orders depend on both: never change them.
std::uint64_t Feed(std::uint64_t hash, std::string_view text) {
  for (const char letter : text) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
  }
  return hash;
}

}  // namespace

std::int64_t Picked(std::int64_t members, int percent) {
  return members <= 0 ? 0 : std::max<std::int64_t>(1, members * percent / 100);
}

std::int64_t StableHash(std::string_view plan, std::string_view device) {
  std::uint64_t hash = Feed(0xcbf29ce484222325ULL, plan);
  hash = Feed(hash, std::string_view("\0", 1));
  hash = Feed(hash, device);
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  hash ^= hash >> 31;
  return static_cast<std::int64_t>(hash >> 1);
}

std::optional<std::string> Halts(const Plan& plan, std::int64_t failed, std::int64_t ended) {
  const Halt& halt = plan.halt;
  if (halt.failures > 0 && failed >= halt.failures) {
    return std::to_string(failed) + " tasks failed: the plan halts at " +
           std::to_string(halt.failures);
  }
  if (halt.percent > 0 && ended > 0 && ended >= halt.sample &&
      failed * 100 >= ended * halt.percent) {
    return std::to_string(failed) + " of " + std::to_string(ended) +
           " tasks failed: the plan halts at " + std::to_string(halt.percent) + " %";
  }
  return std::nullopt;
}

bool IsFailure(const Task& task) {
  return task.state == TaskState::kFailed && task.reason != Reason::kBusy;
}

bool EndsWithPlan(const Task& task, Reason reason) {
  if (IsEnded(task.state)) {
    return false;
  }
  if (reason == Reason::kPlanCanceled) {
    return task.plan->cancels_open || task.state == TaskState::kQueued;
  }
  switch (task.plan->at_end) {
    case AtEnd::kStop:
      return task.state == TaskState::kQueued;
    case AtEnd::kCancel:
      return !InUpgrade(task);
    case AtEnd::kForce:
      return true;
  }
  return false;
}

}  // namespace ota::core
