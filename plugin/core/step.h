// The state machine of a task: the only place that says which state follows which. Pure. Any
// thread. Printed as a table in plugin/core/README.md, which a test compares with this code.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/model.h"

namespace ota::core {

enum class TaskEvent {
  kOffer,     // the plan is offered to the device
  kWithdraw,  // the offer is taken back, or was not answered: the task queues again
  kPostpone,  // the device wants the offer later
  kRefuse,    // the device does not want it
  kAccept,    // the device accepts, or no confirmation is needed
  kDownload,  // a download is issued: of the next component or as the next attempt
  kFetch,     // a sign of the download
  kWait,      // the device has accepted, but not now
  kResume,    // the time that the device asked for is over
  kInstall,   // the device installs
  kReboot,    // the device reboots, or runs the target on trial
  kRetry,     // the attempt failed, another one is allowed
  kFail,      // the attempt failed for good
  kSucceed,   // every component was reported at its target
  kCancel,    // people do not want it any more
};

std::string_view Name(TaskEvent event);

// The state after `event` in `state`; nothing when the event makes no sense in that state. The same
// state is an answer too: the event is taken, the state stays.
std::optional<TaskState> Step(TaskState state, TaskEvent event);

bool IsEnded(TaskState state);     // final; only kFailed and kRefused may still succeed [N-27]
bool IsOpen(TaskState state);      // takes the device's one place [N-16]
bool IsInFlight(TaskState state);  // a download was issued and its attempt is not over [N-30]

// Whether the device has shown progress, so that no other plan takes the task's place: "in upgrade"
// of the clouds. An accepted task is when this is not its first attempt at its first component, or
// progress was seen. (004-58, 004-67)
bool InUpgrade(const Task& task);

// The whole function as a Markdown table, one row for each state.
std::string StepTable();

}  // namespace ota::core
