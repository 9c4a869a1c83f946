// The transitions. No `default:` anywhere: a new state or event does not compile until it is
// decided here (-Wswitch-enum).
#include "core/step.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "core/names.h"

namespace ota::core {
namespace {

using S = TaskState;
using E = TaskEvent;

constexpr std::array kEventNames{
    std::string_view{"offer"},   std::string_view{"withdraw"}, std::string_view{"postpone"},
    std::string_view{"refuse"},  std::string_view{"accept"},   std::string_view{"download"},
    std::string_view{"fetch"},   std::string_view{"wait"},     std::string_view{"resume"},
    std::string_view{"install"}, std::string_view{"reboot"},   std::string_view{"retry"},
    std::string_view{"fail"},    std::string_view{"succeed"},  std::string_view{"cancel"},
};

std::optional<S> When(bool possible, S next) {
  return possible ? std::optional<S>(next) : std::nullopt;
}

}  // namespace

std::string_view Name(TaskEvent event) {
  return kEventNames.at(static_cast<std::size_t>(event));
}

bool IsEnded(TaskState state) {
  switch (state) {
    case S::kSucceeded:
    case S::kFailed:
    case S::kRefused:
    case S::kCanceled:
      return true;
    case S::kQueued:
    case S::kOffered:
    case S::kPostponed:
    case S::kAccepted:
    case S::kDownloading:
    case S::kWaiting:
    case S::kInstalling:
    case S::kRebooting:
    case S::kRetrying:
      return false;
  }
  return false;
}

bool IsOpen(TaskState state) {
  return state != S::kQueued && !IsEnded(state);
}

bool IsInFlight(TaskState state) {
  switch (state) {
    case S::kAccepted:
    case S::kDownloading:
    case S::kWaiting:
    case S::kInstalling:
    case S::kRebooting:
      return true;
    case S::kQueued:
    case S::kOffered:
    case S::kPostponed:
    case S::kRetrying:
    case S::kSucceeded:
    case S::kFailed:
    case S::kRefused:
    case S::kCanceled:
      return false;
  }
  return false;
}

bool InUpgrade(const Task& task) {
  if (task.state != S::kAccepted) {
    return IsInFlight(task.state) || task.state == S::kRetrying;
  }
  return std::any_of(task.components.begin(), task.components.end(), [](const TaskComponent& one) {
    return one.state == ComponentState::kProved ||
           (one.state == ComponentState::kCurrent && (one.attempt > 1 || one.progress));
  });
}

std::optional<TaskState> Step(TaskState state, TaskEvent event) {
  const bool asked = state == S::kOffered || state == S::kPostponed;
  const bool early = state == S::kAccepted || state == S::kDownloading || state == S::kWaiting;
  const bool in_flight = IsInFlight(state);
  switch (event) {
    case E::kOffer:
      return When(state == S::kQueued, S::kOffered);
    case E::kWithdraw:
      return When(asked || early, S::kQueued);
    case E::kPostpone:
      return When(asked || state == S::kAccepted, S::kPostponed);
    case E::kRefuse:
      return When(asked || in_flight, S::kRefused);
    case E::kAccept:
      return When(asked, S::kAccepted);
    case E::kDownload:
      return When(in_flight || state == S::kRetrying, S::kAccepted);
    case E::kFetch:
      return When(in_flight, S::kDownloading);
    case E::kWait:
      return When(in_flight, S::kWaiting);
    case E::kResume:
      return When(state == S::kWaiting, S::kAccepted);
    case E::kInstall:
      return When(in_flight, S::kInstalling);
    case E::kReboot:
      return When(in_flight || state == S::kRetrying, S::kRebooting);
    case E::kRetry:
      return When(in_flight, S::kRetrying);
    case E::kFail:
      return When(state == S::kQueued || in_flight || state == S::kRetrying, S::kFailed);
    case E::kSucceed:
      return When(!IsEnded(state) || state == S::kFailed || state == S::kRefused, S::kSucceeded);
    case E::kCancel:
      return When(!IsEnded(state), S::kCanceled);
  }
  return std::nullopt;
}

std::string StepTable() {
  std::string table = "| state |";
  std::string rule = "|---|";
  for (const std::string_view name : kEventNames) {
    table.append(" ").append(name).append(" |");
    rule += "---|";
  }
  table.append("\n").append(rule).append("\n");
  for (int state = 0; state <= static_cast<int>(S::kCanceled); ++state) {
    const S from = static_cast<S>(state);
    table.append("| ").append(Name(from)).append(" |");
    for (std::size_t event = 0; event < kEventNames.size(); ++event) {
      const std::optional<S> to = Step(from, static_cast<E>(event));
      table.append(to ? " " + std::string(Name(*to)) + " |" : " |");
    }
    table += "\n";
  }
  return table;
}

}  // namespace ota::core
