// What every decision is made of: transitions, deadlines, attempts, what is owed, whose turn it is.
#include "core/draft.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/eligibility.h"
#include "core/messages.h"
#include "core/names.h"
#include "core/rollout.h"

namespace ota::core {
namespace {

// Who cannot say that it has the message is told anew in each connection, but not for ever.
constexpr int kPushes = 1000;

const TaskComponent* CurrentOf(const Task& task) {
  for (const TaskComponent& component : task.components) {
    if (component.state == ComponentState::kCurrent) {
      return &component;
    }
  }
  return nullptr;
}

// The current component runs its target: on trial, before its reboot, or not judged yet.
bool Runs(const Task& task, const Device& device) {
  const TaskComponent* current = CurrentOf(task);
  const Installed* installed = current == nullptr ? nullptr : FindInstalled(device, current->name);
  return installed != nullptr && installed->version == current->target;
}

// How long a task may stay in `state`; nothing: for ever. What the device asks for (`asked`, and
// twice its sleep) counts up to timeouts.longest [N-26].
std::optional<seconds> Allowed(const Task& task, const Snapshot& s, TaskState state,
                               std::optional<seconds> asked) {
  const Device& device = s.device;
  const Timeouts& timeouts = task.plan->timeouts;
  const seconds sleep = std::min(device.sleep * 2, timeouts.longest);
  const seconds bounded = std::min(asked.value_or(seconds(0)), timeouts.longest);
  const seconds wish = std::max(sleep, bounded);
  switch (state) {
    case TaskState::kOffered:
      return std::max(timeouts.offer, sleep);
    case TaskState::kPostponed:
      return std::min(asked.value_or(timeouts.longest), timeouts.longest);
    case TaskState::kAccepted:
      // Without a confirmation the download is the offer.
      return std::max(s.product.confirms ? timeouts.download : timeouts.offer, wish);
    case TaskState::kDownloading:
      return std::max(timeouts.download, wish);
    case TaskState::kWaiting:
      return asked ? wish : timeouts.longest;
    case TaskState::kInstalling:
      return std::max(timeouts.install, wish);
    case TaskState::kRebooting:
      return std::max({timeouts.reboot, wish, Runs(task, device) ? timeouts.longest : wish});
    case TaskState::kRetrying:
      return task.plan->retry.interval;
    case TaskState::kQueued:
    case TaskState::kSucceeded:
    case TaskState::kFailed:
    case TaskState::kRefused:
    case TaskState::kCanceled:
      return std::nullopt;
  }
  return std::nullopt;
}

bool ComesFirst(const Task& one, const Task& other) {
  return ComesFirst(*one.plan, *other.plan);
}

// Whether a failure for `reason` is followed by another attempt. (004-72, C13)
bool IsRetried(const Retry& retry, Reason reason) {
  const auto in = [&](const auto& list) {
    return std::find(list.begin(), list.end(), reason) != list.end();
  };
  constexpr std::array kTimeouts{Reason::kDownloadTimeout, Reason::kInstallTimeout,
                                 Reason::kRebootTimeout, Reason::kTimeout};
  const bool named =
      std::ranges::any_of(retry.reasons, [](Reason one) { return one != Reason::kDeviceRefused; });
  return named ? in(retry.reasons) : !in(kTimeouts);
}

bool RunsOnSilence(TaskState state) {
  return IsInFlight(state) && state != TaskState::kWaiting;
}

// The task as it was stored; null: it was not.
const Task* Stored(const Snapshot& before, std::string_view name) {
  const auto is_named = [&](const Task& task) { return task.name == name; };
  if (before.open && is_named(*before.open)) {
    return &*before.open;
  }
  if (before.named && is_named(*before.named)) {
    return &*before.named;
  }
  for (const std::vector<Task>* tasks : {&before.queued, &before.cancels, &before.failed}) {
    const auto found = std::find_if(tasks->begin(), tasks->end(), is_named);
    if (found != tasks->end()) {
      return &*found;
    }
  }
  return nullptr;
}

// Whether `device` differs from `old` in something that must be stored at once.
bool DeviceChanged(const Device& old, const Device& device) {
  return old.id == 0 ? device.registered != old.registered
                     : old.boot_id != device.boot_id || old.lang != device.lang ||
                           old.max_bytes != device.max_bytes || old.sleep != device.sleep;
}

}  // namespace

bool Draft::Apply(Task& task, TaskEvent event, Reason reason, std::string detail,
                  std::optional<seconds> asked) {
  const std::optional<TaskState> to = Step(task.state, event);
  if (!to) {
    return false;
  }
  const TaskState from = task.state;
  const bool stays = from == *to;
  task.state = *to;
  if (*to == TaskState::kSucceeded) {
    task.code = 0;
    ClearFailures(task);
  }
  if (*to == TaskState::kQueued || *to == TaskState::kPostponed || *to == TaskState::kWaiting) {
    task.progressed.reset();  // the plan's time-out rests, and starts anew with the next progress
  }
  if (!stays || reason != Reason::kNone || !detail.empty()) {
    task.reason = reason;
    task.detail = std::move(detail);
  }
  std::optional<Instant> deadline;
  if (const auto allowed = Allowed(task, s, *to, asked)) {
    deadline = now.steady + *allowed;
  }
  // A sign of life never shortens what an earlier one asked for.
  const bool extends = stays && event != TaskEvent::kDownload && RunsOnSilence(*to);
  SetDeadline(task, extends ? std::max(task.deadline, deadline) : deadline);
  if (!stays || event == TaskEvent::kDownload || event == TaskEvent::kRetry) {
    Log(task, Name(event), task.detail);
    log.back().old_state = Name(from);
    log.back().new_state = Name(*to);
    log.back().reason = task.reason;
  }
  if (*to == TaskState::kFailed) {
    CountFailure(task);
  }
  return true;
}

// Whatever a device asks for: the plan's time-out and `grace` end where they end.
void Draft::SetDeadline(Task& task, std::optional<Instant> deadline) const {
  task.deadline = deadline;
  if (!deadline || task.state == TaskState::kWaiting) {
    return;
  }
  if (task.progressed && task.plan->timeout) {
    task.deadline = std::min(*task.deadline, *task.progressed + *task.plan->timeout);
  }
  const TaskComponent* current = CurrentOf(task);
  if (IsInFlight(task.state) && current != nullptr && current->returned) {
    task.deadline = std::min(*task.deadline, *current->returned + task.plan->grace);
  }
}

// Without a current component nothing was tried.
void Draft::CountFailure(const Task& task) {
  const TaskComponent* current = CurrentOf(task);
  const Loop& loop = task.plan->loop;
  if (loop.max <= 0 || current == nullptr || !IsFailure(task)) {
    return;
  }
  const auto of_target = [&](const Streak& one) {
    return one.component == current->name && one.target == current->target;
  };
  auto streak = std::find_if(s.streaks.begin(), s.streaks.end(), of_target);
  if (streak == s.streaks.end()) {
    streak = s.streaks.insert(streak, Streak{current->name, current->target, 0, false, {}});
  } else if (streak->aside && streak->until && *streak->until <= now.wall) {
    *streak = {current->name, current->target, 0, false, {}};  // over: it counts anew
  }
  if (++streak->failures < loop.max) {
    return;
  }
  streak->aside = true;
  streak->until.reset();
  if (loop.quarantine > seconds(0)) {
    streak->until = now.wall + loop.quarantine;
  }
  Log(task, "aside",
      current->name + " " + current->target + ": " + std::to_string(streak->failures) +
          " tasks failed in a row");
  log.back().reason = Reason::kQuarantined;
}

void Draft::ClearFailures(const Task& task) {
  std::erase_if(s.streaks, [&](const Streak& streak) {
    return std::any_of(task.components.begin(), task.components.end(),
                       [&](const TaskComponent& one) {
                         return one.name == streak.component && one.target == streak.target;
                       });
  });
}

void Draft::Log(const Task& task, std::string_view event, std::string detail) {
  LogEntry entry;
  entry.task = task.name;
  entry.plan = task.plan->name;
  if (const TaskComponent* current = CurrentOf(task)) {
    entry.component = current->name;
    entry.attempt = current->attempt;
  }
  entry.event = event;
  entry.detail = std::move(detail);
  log.push_back(std::move(entry));
}

void Draft::Enqueue(Task task) {
  const auto place =
      std::upper_bound(s.queued.begin(), s.queued.end(), task,
                       [](const Task& one, const Task& other) { return ComesFirst(one, other); });
  s.queued.insert(place, std::move(task));
}

void Draft::LogJoin(const Task& task) {
  Log(task, "plan", "the device matches");
  log.back().new_state = Name(TaskState::kQueued);
}

void Draft::Join(Task task) {
  if (!task.plan->overrides) {
    Enqueue(std::move(task));
    return;
  }
  const auto is_other = [&](const Task& one) { return one.plan->name != task.plan->name; };
  std::vector<std::string> others;
  if (s.open && is_other(*s.open) && !InUpgrade(*s.open)) {
    others.push_back(s.open->name);
  }
  for (const Task& one : s.queued) {
    if (is_other(one)) {
      others.push_back(one.name);
    }
  }
  for (const std::string& other : others) {
    CancelTask(other, Reason::kOverridden, "plan '" + task.plan->name + "'");
  }
  if (s.open && is_other(*s.open) && task.plan->fails_when_busy) {
    Apply(task, TaskEvent::kFail, Reason::kBusy, "plan '" + s.open->plan->name + "'");
    task.ended = now.wall;
    ended.push_back(std::move(task));
    return;
  }
  Enqueue(std::move(task));
}

bool Draft::CancelTask(std::string_view task, Reason reason, std::string detail) {
  const auto queued = std::find_if(s.queued.begin(), s.queued.end(),
                                   [&](const Task& one) { return one.name == task; });
  if (s.open && s.open->name == task) {
    End(TaskEvent::kCancel, reason, std::move(detail));
  } else if (queued != s.queued.end()) {
    Apply(*queued, TaskEvent::kCancel, reason, std::move(detail));
    queued->ended = now.wall;
    ended.push_back(std::move(*queued));
    s.queued.erase(queued);
  } else {
    return false;
  }
  Task& canceled = ended.back();
  canceled.owes_cancel = canceled.offers > 0;
  if (canceled.owes_cancel && Reachable()) {
    messages.emplace_back(Cancel{canceled.name, CancelText(reason)});
  }
  return true;
}

bool Draft::Brings() const {
  return std::any_of(messages.begin(), messages.end(), [](const Downlink& message) {
    return std::holds_alternative<Offer>(message) || std::holds_alternative<Download>(message);
  });
}

TaskComponent* Draft::Current() {
  for (TaskComponent& component : s.open->components) {
    if (component.state == ComponentState::kCurrent) {
      return &component;
    }
  }
  return nullptr;
}

void Draft::Touch(std::optional<seconds> asked) {
  Task& task = *s.open;
  if (RunsOnSilence(task.state)) {
    if (const auto allowed = Allowed(task, s, task.state, asked)) {
      SetDeadline(task, std::max(task.deadline, std::optional<Instant>(now.steady + *allowed)));
    }
  }
}

void Draft::Renew() {
  if (const auto allowed = Allowed(*s.open, s, s.open->state, std::nullopt)) {
    SetDeadline(*s.open, now.steady + *allowed);
  }
}

void Draft::Rest() {
  Task& task = *s.open;
  if (task.progressed) {
    task.progressed = now.steady;
  }
  if (TaskComponent* current = Current(); current != nullptr && current->returned) {
    current->returned = now.steady;
  }
  SetDeadline(task, now.steady + task.plan->timeouts.download);
}

std::optional<Verdict> Draft::Brake() const {
  return BrakeOn(s, *s.open, now);
}

Instant Draft::BrakedUntil(const Verdict& brake) const {
  return brake.when.value_or(now.steady + kBraked);
}

bool Draft::Reachable() const {
  const Device& device = s.device;
  return device.connection != 0 && (heard || device.reported_connection == device.connection);
}

bool Draft::AnswersOnly() const {
  return !s.product.confirms && s.open->plan->trigger == Trigger::kRequest;
}

void Draft::End(TaskEvent event, Reason reason, std::string detail) {
  if (!Apply(*s.open, event, reason, std::move(detail))) {
    return;
  }
  s.open->ended = now.wall;
  ended.push_back(std::move(*s.open));
  s.open.reset();
  s.download_connection = s.owed_connection = 0;
}

void Draft::Requeue(Reason reason, std::string detail) {
  // A plan that is over lets open tasks go on, but has no queue any more.
  const Plan& plan = *s.open->plan;
  const bool canceled = plan.wanted == Wanted::kCanceled;
  if (canceled || (plan.end && now.trusted && *plan.end <= now.wall)) {
    End(TaskEvent::kCancel, canceled ? Reason::kPlanCanceled : Reason::kPlanEnded,
        std::move(detail));
    return;
  }
  if (!Apply(*s.open, TaskEvent::kWithdraw, reason, std::move(detail))) {
    return;
  }
  if (TaskComponent* current = Current()) {
    current->state = ComponentState::kPending;
  }
  Enqueue(std::move(*s.open));
  s.open.reset();
  s.download_connection = s.owed_connection = 0;
}

void Draft::FailAttempt(Reason reason, int code, std::string detail) {
  Task& task = *s.open;
  task.code = code;
  const Retry& retry = task.plan->retry;
  if (task.retries >= retry.max || !IsRetried(retry, reason)) {
    End(TaskEvent::kFail, reason, std::move(detail));
    return;
  }
  ++task.retries;
  if (IsRetried(retry, Reason::kTimeout)) {
    task.progressed.reset();  // the time-out is of one attempt
  }
  Apply(task, TaskEvent::kRetry, reason, std::move(detail));
  if (retry.interval <= seconds(0) && Reachable()) {
    Proceed();
  }
}

void Draft::Proceed() {
  Task& task = *s.open;
  TaskComponent* next = nullptr;
  const PlanComponent* planned = nullptr;
  for (std::size_t i = 0; i < task.components.size(); ++i) {
    TaskComponent& component = task.components[i];
    const bool there = AtTarget(s.device, component.name, component.target);
    if (!there || component.state == ComponentState::kCurrent) {
      next = &component;
      planned = &task.plan->components[i];
      break;
    }
    if (component.state == ComponentState::kPending) {
      component.state = ComponentState::kSkipped;
    }
  }
  if (next == nullptr) {
    const bool retrying = task.state == TaskState::kRetrying;
    End(TaskEvent::kSucceed, Reason::kAtTarget,
        retrying ? "after " + std::string(Name(task.reason)) : "");
    return;
  }
  const Installed* installed = FindInstalled(s.device, next->name);
  if (installed == nullptr) {
    End(TaskEvent::kFail, Reason::kComponentGone, next->name);
    return;
  }
  TaskComponent* current = Current();
  if (current != nullptr && current != next) {
    current->state = ComponentState::kPending;
  }
  if (installed->version == next->target) {
    // On trial, or before its reboot. A trial that this task did not begin has rebooted already.
    if (current != next) {
      next->state = ComponentState::kCurrent;
      s.download_connection = s.owed_connection = 0;
    }
    AwaitProof();
    return;
  }
  if (next->state == ComponentState::kProved) {
    next->state = ComponentState::kCurrent;
    FailAttempt(Reason::kRolledBack, 0, next->name + " " + installed->version);
    return;
  }
  const Choice choice = Choose(*planned, installed->version);
  if (choice.set == nullptr) {
    End(TaskEvent::kFail, choice.reason, next->name + " " + installed->version);
    return;
  }
  next->state = ComponentState::kCurrent;
  next->source = installed->version;
  next->package = choice.kind;
  ++next->attempt;
  next->percent = -1;
  next->progress.reset();
  next->installing = false;
  next->full = false;
  next->returned.reset();
  next->boot_id = s.device.boot_id;
  s.download_connection = s.device.connection;
  s.owed_connection = 0;
  // After a failure its reason stays in view until the new attempt shows a sign.
  if (task.state == TaskState::kRetrying) {
    Apply(task, TaskEvent::kDownload, task.reason, task.detail);
  } else {
    task.code = 0;
    Apply(task, TaskEvent::kDownload);
  }
  SendOwed();
}

bool Draft::SendOwed() {
  const Device& device = s.device;
  if (!s.open || !Reachable()) {
    return false;
  }
  Task& task = *s.open;
  const bool fetches = IsInFlight(task.state) && !RunsTarget();
  if (const std::optional<Verdict> brake = Brake()) {
    if (fetches || task.state == TaskState::kOffered) {
      s.owed_connection = 0;  // what was asked for, when the brake is off
      NextAt(BrakedUntil(*brake));
    }
    return false;
  }
  if (task.state == TaskState::kOffered && s.product.confirms) {
    if (s.owed_connection != device.connection) {
      Renew();  // its time to answer starts anew
    }
    messages.emplace_back(MakeOffer(task, device, now));
  } else if (fetches) {
    if (AnswersOnly() && !s.asked) {
      return false;
    }
    Touch();
    std::optional<Download> download = MakeDownload(task, s.product, now);
    if (!download) {
      NextAt(now.steady + kHashing);
      return false;
    }
    messages.emplace_back(std::move(*download));
  } else {
    return false;
  }
  s.owed_connection = device.connection;
  return true;
}

void Draft::SendAgain() {
  Task& task = *s.open;
  if (s.product.wire.names_tasks || !IsInFlight(task.state) || RunsTarget() || !Reachable() ||
      Brake()) {
    SendOwed();
  } else if (task.offers % kPushes == 0) {
    ++task.offers;
    FailAttempt(Reason::kDownloadTimeout, 0,
                "told in " + std::to_string(kPushes) + " connections, and no further");
  } else if (SendOwed()) {
    ++task.offers;
  }
}

bool Draft::RunsTarget() {
  return s.open && Runs(*s.open, s.device);
}

void Draft::AwaitProof() {
  Current()->installing = true;
  Current()->returned.reset();
  s.open->code = 0;
  Apply(*s.open, TaskEvent::kReboot);
}

void Draft::Withdraw(std::string_view reason) {
  messages.emplace_back(Cancel{s.open->name, std::string(reason)});
}

void Draft::MissDevice() {
  Task& task = *s.open;
  if (task.reason == Reason::kOffline) {
    End(TaskEvent::kFail, Reason::kDownloadTimeout);
    return;
  }
  task.reason = Reason::kOffline;
  SetDeadline(task, now.steady + task.plan->timeouts.longest);
}

void Draft::Greet() {
  if (!s.open || s.open->reason != Reason::kOffline) {
    return;
  }
  s.open->reason = Reason::kNone;
  if (s.open->state == TaskState::kRetrying) {
    s.open->deadline = now.steady;  // its time had come
  } else {
    Renew();
  }
}

void Draft::KeepInScope() {
  if (!s.open || (s.open->state != TaskState::kOffered && s.open->state != TaskState::kPostponed)) {
    return;
  }
  if (const std::optional<Verdict> verdict = OutOfScope(s, *s.open, now)) {
    if (Reachable()) {
      Withdraw(CancelText(verdict->reason));
    }
    Requeue(verdict->reason, verdict->value);
  }
}

void Draft::Next() {
  std::vector<Task> queued = std::exchange(s.queued, {});
  bool opened = false;
  for (Task& task : queued) {
    if (!task.components.empty() && AtTargets(s.device, task)) {
      Apply(task, TaskEvent::kSucceed, Reason::kAtTargetAlready);
      task.ended = now.wall;
      ended.push_back(std::move(task));
      continue;
    }
    std::optional<Verdict> obstacle = FirstObstacle(s, task, now);
    if (!obstacle) {
      Open(std::move(task));
      opened = true;
      continue;
    }
    if (!IsPace(obstacle->reason)) {  // the plan comes to the device when there is room
      NextAt(obstacle->when);
    }
    task.reason = obstacle->reason;
    task.detail = obstacle->value;
    if (!obstacle->limit.empty()) {
      task.detail += (task.detail.empty() ? "" : " / ") + obstacle->limit;
    }
    s.queued.push_back(std::move(task));
  }
  if (opened) {
    Next();  // those before it in the queue have a predecessor now
  }
}

void Draft::Open(Task task) {
  Apply(task, TaskEvent::kOffer);
  ++task.offers;
  task.offered = now.wall;
  s.open = std::move(task);
  s.download_connection = s.owed_connection = 0;
  SendOwed();
  AutoConfirm();
}

void Draft::AutoConfirm() {
  const Task& task = *s.open;
  const bool unasked = s.product.auto_confirm || !s.product.confirms;
  if (unasked && (task.plan->mode == Mode::kSilent || task.consent)) {
    Apply(*s.open, TaskEvent::kAccept);
    Proceed();
  }
}

void Draft::NextAt(std::optional<Instant> at) {
  if (at && (!again || *at < *again)) {
    again = at;
  }
}

Decision Draft::Finish() {
  Decision decision;
  decision.device_changed = DeviceChanged(before.device, s.device);
  decision.installed_changed = before.device.installed != s.device.installed;
  decision.log = std::move(log);
  decision.messages = std::move(messages);
  decision.blocks = std::move(blocks);
  decision.download_connection = s.download_connection;
  decision.owed_connection = s.owed_connection;
  decision.streaks_changed = before.streaks != s.streaks;
  decision.streaks = std::move(s.streaks);
  const auto keep = [&](const Task& task) {
    const Task* stored = Stored(before, task.name);
    if (stored == nullptr || !(*stored == task)) {
      decision.tasks.push_back(task);
    }
  };
  for (const std::vector<Task>* tasks : {&ended, &s.queued, &s.cancels, &s.failed}) {
    std::for_each(tasks->begin(), tasks->end(), keep);
  }
  if (s.open) {
    keep(*s.open);
  }
  decision.device = std::move(s.device);
  return decision;
}

bool SpelledAlike(std::string_view one, std::string_view other) {
  const auto plain = [](std::string_view text) {
    std::string letters;
    for (const char letter : text) {
      if (letter >= 'A' && letter <= 'Z') {
        letters += static_cast<char>(letter - 'A' + 'a');
      } else if (letter != ' ') {
        letters += letter;
      }
    }
    return letters;
  };
  return plain(one) == plain(other);
}

Reason WentBack(const TaskComponent& component, std::string_view version) {
  return SpelledAlike(version, component.target) ? Reason::kSpelling : Reason::kRolledBack;
}

std::string CancelText(Reason reason) {
  std::string text(Name(reason));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

}  // namespace ota::core
