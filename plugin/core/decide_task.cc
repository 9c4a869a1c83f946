// What confirmations, progress and block requests mean. [N-16] [N-19] [N-24] to [N-26] [N-28] to
// [N-30] [N-33]
#include <algorithm>
#include <utility>

#include "core/messages.h"
#include "core/names.h"
#include "core/step.h"
#include "core/uplink.h"

namespace ota::core {
namespace {

// After a refusal, as after a device's own `retryAfter` [N-19].
constexpr seconds kShortestAgain{60};
constexpr std::int64_t kMaxWindow = 262144;  // bytes of one block request [N-28]

Answer Conflict(const Task& task) {
  return {
      ReplyCode::kConflict,
      "task '" + task.name + "' is " + std::string(Name(task.state)) + ": this makes no sense now",
      {}};
}

// Which of the task's components an uplink means: the current one, or an answer.
struct Meant {
  TaskComponent* current = nullptr;
  Answer answer;
};

Meant FindComponent(Draft& draft, std::string_view name, bool proved_is_fine) {
  std::vector<TaskComponent>& components = draft.s.open->components;
  const auto found = std::find_if(components.begin(), components.end(),
                                  [&](const TaskComponent& one) { return one.name == name; });
  if (found == components.end()) {
    return {nullptr,
            {ReplyCode::kNotFound, "component '" + std::string(name) + "' is not in the plan", {}}};
  }
  if (found->state == ComponentState::kCurrent) {
    return {&*found, {}};
  }
  if (proved_is_fine && found->state != ComponentState::kPending) {
    return {};
  }
  return {nullptr,
          {ReplyCode::kConflict, "component '" + found->name + "' is not the current one", {}}};
}

struct Failure {
  int code;
  Reason reason;
};

constexpr Failure kFailures[] = {
    {-2, Reason::kDownloadFailed},
    {-3, Reason::kVerifyFailed},
    {-4, Reason::kWriteFailed},
};

Reason ReasonOf(int code) {
  for (const Failure& failure : kFailures) {
    if (failure.code == code) {
      return failure.reason;
    }
  }
  return Reason::kDeviceFailed;
}

// A device that has rolled back runs no trial any more, also when it says so before its versions.
void ReturnToSource(Draft& draft) {
  const TaskComponent& current = *draft.Current();
  for (Installed& one : draft.s.device.installed) {
    if (one.component == current.name && one.version == current.target && !current.source.empty()) {
      one = {one.component, current.source, false, draft.now.wall};
    }
  }
}

// The device does not want it: later, if it says when, or if the plan asks those again that refuse.
void Refuse(Draft& draft, std::optional<seconds> later, int code, const std::string& why) {
  Task& task = *draft.s.open;
  const Reason reason = later ? Reason::kNotYet : Reason::kDeviceRefused;
  const Retry& retry = task.plan->retry;
  if (!later && std::ranges::find(retry.reasons, Reason::kDeviceRefused) != retry.reasons.end()) {
    later = std::max(retry.interval, kShortestAgain);
  }
  if (!later || !Step(task.state, TaskEvent::kPostpone)) {
    task.code = code;
    draft.End(TaskEvent::kRefuse, Reason::kDeviceRefused, why);
    return;
  }
  if (TaskComponent* current = draft.Current()) {
    current->state = ComponentState::kPending;
  }
  draft.Apply(task, TaskEvent::kPostpone, reason, why, later);
}

void OnFailure(Draft& draft, const Progress& progress) {
  const bool rolled_back = progress.state == ProgressState::kRolledBack;
  const int code = progress.code.value_or(rolled_back ? 0 : -1);
  if (code == kRefusedCode && !rolled_back) {
    Refuse(draft, std::nullopt, code, progress.message);
    return;
  }
  const Reason reason = rolled_back ? Reason::kRolledBack : ReasonOf(code);
  const Task& task = *draft.s.open;
  // A retry without an interval has begun already when the same report comes twice, or when the
  // version has told the roll-back before. One without `attempt` could be either; before any sign
  // of the new attempt it counts as the old one's [N-7].
  const bool same = rolled_back || (task.code == code && task.detail == progress.message);
  const bool repeated = !progress.attempt && task.state == TaskState::kAccepted &&
                        task.retries > 0 && task.reason == reason && same;
  if (repeated) {
    return;
  }
  if (rolled_back) {
    ReturnToSource(draft);
  }
  draft.FailAttempt(reason, code, progress.message);
}

TaskEvent EventOf(ProgressState state) {
  switch (state) {
    case ProgressState::kDownloading:
    case ProgressState::kDownloaded:
    case ProgressState::kVerifying:
      return TaskEvent::kFetch;
    case ProgressState::kWaiting:
      return TaskEvent::kWait;
    case ProgressState::kInstalling:
      return TaskEvent::kInstall;
    case ProgressState::kRebooting:
      return TaskEvent::kReboot;
    case ProgressState::kRolledBack:
    case ProgressState::kFailed:
      return TaskEvent::kFail;
  }
  return TaskEvent::kFail;
}

// Where no confirmation exists the answer to a push is no gate: who said "not now", or that nobody
// listens, has begun all the same.
void Begin(Draft& draft) {
  Task& task = *draft.s.open;
  const auto told = std::ranges::find_if(task.components, [](const TaskComponent& one) {
    return one.state == ComponentState::kPending && one.attempt > 0;
  });
  if (told != task.components.end()) {
    draft.Apply(task, TaskEvent::kAccept);
    told->state = ComponentState::kCurrent;
  }
}

// A flood of one and the same report is a sign of life now and then, not a row for each.
bool IsRepeated(const Task& task, const TaskComponent& current, const Progress& progress) {
  return Step(task.state, EventOf(progress.state)) == task.state &&
         current.progress == progress.state && progress.percent == current.percent &&
         progress.message == task.detail && !progress.retry_after && !progress.eta;
}

void TouchRarely(Draft& draft) {
  const std::optional<Instant> before = draft.s.open->deadline;
  draft.Touch();
  const std::optional<Instant>& after = draft.s.open->deadline;
  if (before && after &&
      *after - *before < std::min<Duration>(seconds(10), (*after - draft.now.steady) / 10)) {
    draft.s.open->deadline = before;
  }
}

// The device follows the open task: it knows that the ones before it are over [N-31].
void ClearDebts(Draft& draft) {
  for (Task& task : draft.s.cancels) {
    task.owes_cancel = false;
  }
}

// The file that a request means; null: there is none.
const File* FileOf(const FileSet& set, const BlockRequest& request) {
  if (!request.file_id) {
    const bool exists = request.file >= 0 && std::cmp_less(request.file, set.files.size());
    return exists ? &set.files[static_cast<std::size_t>(request.file)] : nullptr;
  }
  const auto found = std::find_if(set.files.begin(), set.files.end(),
                                  [&](const File& one) { return one.id == *request.file_id; });
  return found == set.files.end() ? nullptr : &*found;
}

}  // namespace

std::optional<Answer> Unless(Draft& draft, std::string_view task) {
  const auto is_named = [&](const Task& one) { return one.name == task; };
  const Snapshot& s = draft.s;
  if (!s.open && std::any_of(s.queued.begin(), s.queued.end(), is_named)) {
    draft.s.asked = true;  // it wants this one
    draft.Next();
    draft.s.asked = false;
  }
  if (s.open && is_named(*s.open)) {
    ClearDebts(draft);
    return std::nullopt;
  }
  // An offer that went back to the queue, and does not come again now, is over for the device.
  const auto queued = std::find_if(s.queued.begin(), s.queued.end(), is_named);
  if (queued != s.queued.end() && queued->offers == 0) {
    return Conflict(*queued);
  }
  const bool over = queued != s.queued.end() || (s.named && is_named(*s.named)) ||
                    std::any_of(s.cancels.begin(), s.cancels.end(), is_named) ||
                    std::any_of(draft.ended.begin(), draft.ended.end(), is_named);
  if (over) {
    return Answer{ReplyCode::kOver, "task '" + std::string(task) + "' is over", {}};
  }
  if (task.empty()) {
    return Answer{ReplyCode::kNotFound, "no task is open", {}};
  }
  return Answer{ReplyCode::kNotFound, "there is no task '" + std::string(task) + "'", {}};
}

Answer OnConfirm(Draft& draft, const Confirm& confirm) {
  const bool was_open = draft.s.open.has_value();
  if (const std::optional<Answer> error = Unless(draft, confirm.task)) {
    return *error;
  }
  if (!was_open) {
    draft.messages.clear();  // this is the answer to the offer that would go out now
  }
  Task& task = *draft.s.open;
  const bool asked = task.state == TaskState::kOffered || task.state == TaskState::kPostponed;
  if (!confirm.accept) {
    if (!asked && !(task.state == TaskState::kAccepted && draft.s.product.auto_confirm)) {
      return Conflict(task);
    }
    Refuse(draft, confirm.retry_after, 0, confirm.reason);
  } else if (asked) {
    draft.Apply(task, TaskEvent::kAccept);
    draft.Proceed();
  } else if (IsInFlight(task.state) && draft.s.product.wire.names_tasks) {
    draft.SendOwed();
  }
  return {};
}

Answer OnProgress(Draft& draft, const Progress& progress) {
  const bool was_open = draft.s.open.has_value();
  if (const std::optional<Answer> error = Unless(draft, progress.task)) {
    return *error;
  }
  if (!was_open && !draft.s.product.confirms) {
    draft.messages.clear();  // it has begun by itself
  }
  Task& task = *draft.s.open;
  if (task.state == TaskState::kPostponed && !draft.s.product.confirms) {
    if (progress.code == kRefusedCode && task.reason == Reason::kDeviceRefused) {
      return {};  // it has said so
    }
    Begin(draft);
  }
  if (!IsInFlight(task.state) && task.state != TaskState::kRetrying) {
    return Conflict(task);
  }
  const Meant meant = FindComponent(draft, progress.component, true);
  if (meant.current == nullptr) {
    return meant.answer;
  }
  TaskComponent& current = *meant.current;
  if (progress.attempt && *progress.attempt > current.attempt) {
    return {ReplyCode::kConflict,
            "attempt " + std::to_string(*progress.attempt) + " was not asked for",
            {}};
  }
  if (progress.attempt && *progress.attempt < current.attempt) {
    draft.Log(task, "progress",
              "of attempt " + std::to_string(*progress.attempt) + ": " +
                  std::string(Name(progress.state)));
    return {};
  }
  if (task.state == TaskState::kRetrying) {
    return {};  // the attempt is over: this is late, or was heard before
  }
  if (progress.state == ProgressState::kFailed || progress.state == ProgressState::kRolledBack) {
    OnFailure(draft, progress);
    return {};
  }
  const bool waits = progress.state == ProgressState::kWaiting;
  current.returned.reset();  // it goes on
  current.full = current.full || progress.percent == 100;
  if (!task.progressed) {
    task.progressed = draft.now.steady;
  }
  const std::optional<seconds> asked = waits ? progress.retry_after : progress.eta;
  if (draft.RunsTarget() && progress.state != ProgressState::kRebooting) {
    draft.Touch(asked);  // late: the installation is over
    return {};
  }
  // Also what a download server makes of a request: a sign of life that says no more.
  const bool bare = progress.state == ProgressState::kDownloading && !progress.percent &&
                    !progress.attempt && progress.message.empty();
  if (bare && task.state == TaskState::kDownloading) {
    draft.Touch(asked);
    return {};
  }
  if (!draft.s.product.wire.names_tasks) {
    // It is at work on what it was told, perhaps on an earlier connection: to tell it again would
    // begin a second download beside the first.
    draft.s.owed_connection = draft.s.device.connection;
    if (IsRepeated(task, current, progress)) {
      TouchRarely(draft);
      return {};
    }
  }
  const std::size_t logged = draft.log.size();
  const bool news = current.progress != progress.state;
  current.progress = progress.state;
  if (progress.percent || news) {
    current.percent = progress.percent.value_or(-1);
  }
  // Who cannot tell that it installs does so when it has all of the file.
  const bool installs =
      progress.state == ProgressState::kInstalling || progress.state == ProgressState::kRebooting ||
      (progress.state == ProgressState::kDownloaded && !draft.s.product.wire.tells_boots);
  if (installs && !current.installing) {
    current.installing = true;
    current.boot_id = draft.s.device.boot_id;
    draft.s.download_connection = draft.s.device.connection;
  }
  draft.Apply(task, EventOf(progress.state), waits ? Reason::kNotYet : Reason::kNone,
              progress.message, asked);
  if (news && draft.log.size() == logged) {
    draft.Log(task, "progress", std::string(Name(progress.state)));
  }
  return {};
}

Answer OnBlockRequest(Draft& draft, const BlockRequest& request) {
  if (const std::optional<Answer> error = Unless(draft, request.task)) {
    return *error;
  }
  Task& task = *draft.s.open;
  if (!IsInFlight(task.state)) {
    return Conflict(task);
  }
  const Meant meant = request.component.empty() ? Meant{draft.Current(), Conflict(task)}
                                                : FindComponent(draft, request.component, false);
  if (meant.current == nullptr) {
    return meant.answer;
  }
  if (!draft.s.product.blocks) {
    return {ReplyCode::kConflict, "the product delivers no blocks", {}};
  }
  meant.current->returned.reset();
  draft.Touch();  // that it asks is a sign, whatever the answer is [N-26]
  if (!draft.s.product.wire.names_tasks) {
    draft.s.owed_connection = draft.s.device.connection;  // as in OnProgress
  }
  if (const std::optional<Verdict> brake = draft.Brake()) {
    if (draft.s.product.wire.names_tasks) {
      draft.s.owed_connection = 0;  // the download, when the brake is off: go on
    }
    const auto rest = std::chrono::ceil<seconds>(draft.BrakedUntil(*brake) - draft.now.steady);
    return {ReplyCode::kUnavailable, CancelText(brake->reason),
            std::clamp(rest, seconds(1), seconds(86400))};
  }
  const FileSet* set = CurrentFiles(task);
  const File* wanted = set == nullptr ? nullptr : FileOf(*set, request);
  if (wanted == nullptr) {
    return {ReplyCode::kNotFound,
            "there is no file " + std::to_string(request.file_id.value_or(request.file)),
            {}};
  }
  if (!set->ready) {
    return {ReplyCode::kUnavailable, "the file is not ready", kHashing};
  }
  if (request.length < 1 || request.count < 1 || request.offset < 0 ||
      static_cast<std::int64_t>(request.length) * request.count > kMaxWindow) {
    return {ReplyCode::kMalformed, "count x length: must be 1 to 262144", {}};
  }
  const File& file = *wanted;
  if (file.bytes > draft.s.product.wire.block_bytes) {
    return {ReplyCode::kTooLarge,
            "the file has " + std::to_string(file.bytes) + " bytes, over MQTT at most " +
                std::to_string(draft.s.product.wire.block_bytes) + " can be fetched",
            {}};
  }
  if (request.offset >= file.bytes) {
    return {
        ReplyCode::kOffset, "offset: the file has " + std::to_string(file.bytes) + " bytes", {}};
  }
  const std::int64_t left = file.bytes - request.offset;
  BlockGrant grant;
  grant.file = file;
  grant.ref = request.ref;
  grant.offset = request.offset;
  grant.length = static_cast<int>(std::min<std::int64_t>(request.length, left));
  grant.count = static_cast<int>(
      std::min<std::int64_t>(request.count, (left + request.length - 1) / request.length));
  draft.blocks = std::move(grant);
  if (!task.progressed) {
    task.progressed = draft.now.steady;
    draft.Touch();
  }
  if (task.state == TaskState::kAccepted || task.state == TaskState::kWaiting) {
    draft.Apply(task, TaskEvent::kFetch);
  }
  return {};
}

}  // namespace ota::core
