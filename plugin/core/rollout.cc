// Shares, the stable hash, halting, ending.
#include "core/rollout.h"

#include <algorithm>

#include "core/step.h"

namespace ota::core {

std::int64_t Picked(std::int64_t members, int percent) {
  if (members <= 0) {
    return 0;
  }
  // Without overflow for any number of members.
  const std::int64_t floor = members / 100 * percent + members % 100 * percent / 100;
  return std::clamp<std::int64_t>(floor, 1, members);
}

// FNV-1a, 64 bits, over the plan, a zero byte and the device; then the finalizer of MurmurHash3,
// since FNV-1a hardly carries the last characters of a name into the high bits.
std::int64_t StableHash(std::string_view plan, std::string_view device) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3ULL; };
  for (const char letter : plan) {
    add(static_cast<unsigned char>(letter));
  }
  add(0);
  for (const char letter : device) {
    add(static_cast<unsigned char>(letter));
  }
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdULL;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  hash ^= hash >> 33;
  return static_cast<std::int64_t>(hash >> 1);
}

std::optional<std::string> Halts(const Plan& plan, std::int64_t failed, std::int64_t ended) {
  const Halt& halt = plan.halt;
  if (halt.failures > 0 && failed >= halt.failures) {
    return std::to_string(failed) + " tasks have failed; the limit is " +
           std::to_string(halt.failures);
  }
  if (halt.percent > 0 && failed > 0 && ended >= halt.sample &&
      failed * 100 >= ended * halt.percent) {
    return std::to_string(failed) + " of " + std::to_string(ended) +
           " tasks have failed; the limit is " + std::to_string(halt.percent) + " %";
  }
  return std::nullopt;
}

bool IsFailure(const Task& task) {
  return task.state == TaskState::kFailed && task.reason != Reason::kBusy;
}

bool EndsWithPlan(const Task& task) {
  if (IsEnded(task.state)) {
    return false;
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
