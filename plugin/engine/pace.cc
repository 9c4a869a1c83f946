#include "engine/pace.h"

#include <algorithm>

#include "core/rollout.h"
#include "core/step.h"

namespace ota::engine {
namespace {

// Three classes that do not meet: ranked, listed, all others.
constexpr std::int64_t kSpan = std::int64_t{1} << 60;
constexpr std::int64_t kRanked = -4 * kSpan;
constexpr std::int64_t kOthers = 2 * kSpan;

// Of a task before a decision: as the snapshot has it.
const core::Task* Before(const core::Snapshot& snapshot, std::int64_t id) {
  if (id == 0) {
    return nullptr;
  }
  const auto is = [&](const core::Task& task) { return task.id == id; };
  if (snapshot.open && is(*snapshot.open)) {
    return &*snapshot.open;
  }
  if (snapshot.named && is(*snapshot.named)) {
    return &*snapshot.named;
  }
  for (const auto* tasks : {&snapshot.queued, &snapshot.failed, &snapshot.cancels}) {
    const auto found = std::find_if(tasks->begin(), tasks->end(), is);
    if (found != tasks->end()) {
      return &*found;
    }
  }
  return nullptr;
}

int Failed(const core::Task* task) {
  return task != nullptr && core::IsFailure(*task) ? 1 : 0;
}

int Ended(const core::Task* task) {
  return task != nullptr && (core::IsFailure(*task) || task->state == core::TaskState::kSucceeded)
             ? 1
             : 0;
}

// The time that `bytes` take.
core::Duration Takes(std::int64_t bytes, std::int64_t bytes_per_second) {
  const std::int64_t whole = bytes / bytes_per_second;
  const std::int64_t rest = bytes % bytes_per_second;
  return core::Duration(whole * 1000 + rest * 1000 / bytes_per_second);
}

}  // namespace

std::int64_t PositionOf(std::optional<std::int64_t> rank, std::optional<std::int64_t> listed,
                        core::Instant seen) {
  if (rank) {
    return kRanked + std::clamp(*rank, -kSpan, kSpan);
  }
  if (listed) {
    return std::clamp(*listed, std::int64_t{0}, kSpan);
  }
  return kOthers - std::clamp(std::int64_t{seen.time_since_epoch().count()}, -kSpan / 2, kSpan / 2);
}

bool IsPaced(const core::Plan& plan) {
  return plan.rate || plan.max_open || plan.bytes_per_second;
}

const Pace::State* Pace::Find(const std::string& plan) const {
  const auto found = states_.find(plan);
  return found == states_.end() ? nullptr : &found->second;
}

void Pace::Count(const std::string& plan, const Counts& counts) {
  undo_.emplace_back(plan, std::nullopt);
  states_[plan].counts = counts;
}

Pace::State* Pace::Edit(const std::string& plan) {
  const auto found = states_.find(plan);
  if (found == states_.end()) {
    return nullptr;
  }
  undo_.emplace_back(plan, found->second);
  return &found->second;
}

void Pace::Apply(const core::Snapshot& before, const core::Decision& decision,
                 core::Instant steady) {
  for (const core::Task& task : decision.tasks) {
    const core::Task* old = Before(before, task.id);
    const core::TaskState was = old == nullptr ? core::TaskState::kQueued : old->state;
    if (core::IsEnded(task.state) != core::IsEnded(was) || Ended(&task) != Ended(old) ||
        Failed(&task) != Failed(old)) {
      ended_.insert(task.plan->name);
    }
    if (task.state == was) {
      continue;
    }
    State* state = Edit(task.plan->name);
    if (state == nullptr) {
      continue;
    }
    state->counts.open +=
        static_cast<int>(core::IsOpen(task.state)) - static_cast<int>(core::IsOpen(was));
    state->counts.failed += Failed(&task) - Failed(old);
    state->counts.ended += Ended(&task) - Ended(old);
  }
  // By the log, since a task may be offered and end again in one decision.
  for (const core::LogEntry& entry : decision.log) {
    if (entry.old_state != "queued" || entry.event != "offer") {
      continue;
    }
    const auto task = std::find_if(decision.tasks.begin(), decision.tasks.end(),
                                   [&](const core::Task& one) { return one.name == entry.task; });
    if (task == decision.tasks.end() || !task->plan->rate) {
      continue;
    }
    if (State* state = Edit(entry.plan)) {
      state->next_offer =
          std::max(steady, state->next_offer) + core::Duration(60'000 / *task->plan->rate);
    }
  }
  for (const core::Downlink& message : decision.messages) {
    std::string name;
    std::int64_t bytes = 0;
    if (const auto* offer = std::get_if<core::Offer>(&message)) {
      name = offer->task;
      for (const auto& component : offer->components) {
        bytes += component.bytes;
      }
      // One that is sent again was paid for.
      const bool again = before.open && before.open->name == name;
      bytes = again ? 0 : bytes;
    } else if (const auto* download = std::get_if<core::Download>(&message)) {
      name = download->task;
      const auto attempt_of = [&](const core::Task& task) {
        const auto component =
            std::find_if(task.components.begin(), task.components.end(),
                         [&](const auto& one) { return one.name == download->component; });
        return component == task.components.end() ? 0 : component->attempt;
      };
      const bool anew = download->attempt > 1 && before.open && before.open->name == name &&
                        attempt_of(*before.open) < download->attempt;
      for (const core::File& file : download->files) {
        bytes += anew ? file.bytes : 0;
      }
    }
    const auto task = std::find_if(decision.tasks.begin(), decision.tasks.end(),
                                   [&](const core::Task& one) { return one.name == name; });
    if (bytes == 0 || task == decision.tasks.end() || !task->plan->bytes_per_second) {
      continue;
    }
    if (State* state = Edit(task->plan->name)) {
      state->next_download =
          std::max(steady, state->next_download) + Takes(bytes, *task->plan->bytes_per_second);
    }
  }
}

void Pace::UndoTo(std::size_t mark) {
  while (undo_.size() > mark) {
    auto& [plan, state] = undo_.back();
    if (state) {
      states_[plan] = *state;
    } else {
      states_.erase(plan);
    }
    undo_.pop_back();
  }
  if (mark == 0) {
    ended_.clear();
  }
}

void Pace::Keep() {
  undo_.clear();
  ended_.clear();
}

void Pace::Reopened() {
  states_.clear();
  Keep();
}

}  // namespace ota::engine
