// The entry points of core/decide.h. What uplinks mean is in decide_report.cc and decide_task.cc,
// what decisions are made of in draft.cc.
#include "core/decide.h"

#include <algorithm>
#include <utility>

#include "core/draft.h"
#include "core/messages.h"
#include "core/names.h"
#include "core/step.h"
#include "core/uplink.h"

namespace ota::core {
namespace {

// How often an offer is sent before it goes back to the queue: at its deadline to a device that is
// there [N-16].
constexpr int kOffers = 3;

// When the device should call again; nothing when it already has what there is [N-13].
std::optional<seconds> Again(const Draft& draft) {
  if (draft.Brings()) {
    return std::nullopt;
  }
  std::optional<Instant> at = draft.again;
  const std::optional<Task>& open = draft.s.open;
  if (open && (open->state == TaskState::kPostponed || open->state == TaskState::kRetrying) &&
      open->deadline && (!at || *open->deadline < *at)) {
    at = open->deadline;
  }
  if (!at) {
    return std::nullopt;
  }
  return std::clamp(std::chrono::ceil<seconds>(*at - draft.now.steady), seconds(1), seconds(86400));
}

// The answer to a query carries the download of the component that it means, and nobody is told of
// that twice.
std::optional<Download> TakeDownload(std::vector<Downlink>& messages, std::string_view component) {
  const auto is_meant = [&](const Downlink& message) {
    const auto* download = std::get_if<Download>(&message);
    return download != nullptr && (component.empty() || download->component == component);
  };
  const auto found = std::find_if(messages.begin(), messages.end(), is_meant);
  if (found == messages.end()) {
    return std::nullopt;
  }
  Download download = std::move(std::get<Download>(*found));
  messages.erase(found);
  return download;
}

std::string Joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    text.append(text.empty() ? "" : "; ").append(part);
  }
  return text;
}

// The uplink's own name on the wire and the task that it names.
struct Origin {
  std::string to;
  std::optional<std::string> task;
};

Origin OriginOf(const UplinkBody& body) {
  struct {
    Origin operator()(const VersionReport& one) const { return {"version", one.task}; }
    Origin operator()(const Confirm& one) const { return {"confirm", one.task}; }
    Origin operator()(const Progress& one) const { return {"progress", one.task}; }
    Origin operator()(const BlockRequest& one) const { return {"block", one.task}; }
  } origin;
  return std::visit(origin, body);
}

Answer Dispatch(Draft& draft, const UplinkBody& body) {
  struct {
    Draft& draft;
    Answer operator()(const VersionReport& one) const { return OnReport(draft, one); }
    Answer operator()(const Confirm& one) const { return OnConfirm(draft, one); }
    Answer operator()(const Progress& one) const { return OnProgress(draft, one); }
    Answer operator()(const BlockRequest& one) const { return OnBlockRequest(draft, one); }
  } handler{draft};
  return std::visit(handler, body);
}

bool HasPassed(const std::optional<Instant>& deadline, const Now& now) {
  return deadline && *deadline <= now.steady;
}

// The open task's deadline has passed.
void Expire(Draft& draft) {
  Task& task = *draft.s.open;
  const FileSet* files = CurrentFiles(task);
  const bool fetches = task.state == TaskState::kAccepted || task.state == TaskState::kDownloading;
  if (draft.Brake() || (fetches && (files == nullptr || !files->ready))) {
    draft.Rest();  // the device has nothing to act on, so its silence means nothing
    return;
  }
  if (task.progressed && task.plan->timeout && task.state != TaskState::kWaiting &&
      *task.progressed + *task.plan->timeout <= draft.now.steady) {
    draft.FailAttempt(Reason::kTimeout, 0, "");
    return;
  }
  const TaskComponent* current = draft.Current();
  if (current != nullptr && current->returned && IsInFlight(task.state) &&
      *current->returned + task.plan->grace <= draft.now.steady) {
    draft.FailAttempt(WentBack(*current, current->source), 0,
                      current->name + " " + current->source);
    return;
  }
  switch (task.state) {
    case TaskState::kOffered:
      if (draft.Reachable() && task.offers % kOffers != 0) {
        ++task.offers;
        draft.Renew();
        draft.SendOwed();
        return;
      }
      draft.Requeue(Reason::kOfferUnanswered);
      return;
    case TaskState::kPostponed:
      draft.s.asked = !draft.AnswersOnly();  // for this time
      draft.Requeue(Reason::kNone);
      return;
    case TaskState::kWaiting:
      draft.Apply(task, TaskEvent::kResume);
      if (!draft.SendOwed() && !draft.Reachable()) {
        draft.MissDevice();
      }
      return;
    case TaskState::kAccepted:
      if (draft.AnswersOnly()) {
        draft.Requeue(Reason::kOfferUnanswered);
        return;
      }
      if (draft.Reachable() && task.reason != Reason::kDownloadTimeout) {
        task.reason = Reason::kDownloadTimeout;  // once more, then it is one
        task.detail.clear();
        draft.Renew();
        draft.SendOwed();
        return;
      }
      [[fallthrough]];
    case TaskState::kDownloading:
      if (draft.Reachable()) {
        draft.FailAttempt(Reason::kDownloadTimeout, 0, "");
      } else {
        draft.MissDevice();
      }
      return;
    case TaskState::kInstalling:
      draft.FailAttempt(Reason::kInstallTimeout, 0, "");
      return;
    case TaskState::kRebooting:
      if (draft.RunsTarget()) {
        draft.End(TaskEvent::kFail, Reason::kNotKept);  // another attempt would change nothing
      } else {
        draft.FailAttempt(Reason::kRebootTimeout, 0, "");
      }
      return;
    case TaskState::kRetrying:
      if (draft.Reachable()) {
        draft.Proceed();
      } else {
        draft.MissDevice();
      }
      return;
    case TaskState::kQueued:
    case TaskState::kSucceeded:
    case TaskState::kFailed:
    case TaskState::kRefused:
    case TaskState::kCanceled:
      return;
  }
}

}  // namespace

Task MakeTask(std::shared_ptr<const Plan> plan, std::string name, Instant now) {
  Task task;
  task.name = std::move(name);
  task.created = now;
  for (const PlanComponent& component : plan->components) {
    TaskComponent one;
    one.name = component.name;
    one.target = component.target;
    task.components.push_back(std::move(one));
  }
  task.plan = std::move(plan);
  return task;
}

Decision DecideUplink(const Snapshot& snapshot, const Uplink& uplink, const Now& now) {
  const bool is_report = std::holds_alternative<VersionReport>(uplink.body);
  Draft draft(snapshot, now, true);
  Answer answer;
  if (snapshot.device.disabled) {
    answer = {ReplyCode::kForbidden, "the device is disabled", {}};
  } else {
    draft.s.device.seen = now.wall;
    for (Task& task : draft.s.queued) {
      if (task.reason == Reason::kOfferUnanswered) {
        task.reason = Reason::kNone;
        task.detail.clear();
      }
    }
    draft.Greet();
    answer = Dispatch(draft, uplink.body);
    if (!draft.s.open && !is_report) {
      draft.Next();
    }
  }
  const bool ok = answer.code == ReplyCode::kOk;
  const bool is_block = std::holds_alternative<BlockRequest>(uplink.body);
  const std::optional<seconds> again = ok && !is_block ? Again(draft) : std::nullopt;
  Decision decision = draft.Finish();
  if (decision.blocks) {
    decision.blocks->id = uplink.id;
  }
  const auto* report = std::get_if<VersionReport>(&uplink.body);
  const bool asks = report != nullptr && report->query;
  if (uplink.id || asks || !ok) {
    Origin origin = OriginOf(uplink.body);
    Reply reply;
    reply.id = uplink.id;
    reply.to = std::move(origin.to);
    reply.task = std::move(origin.task);
    reply.code = answer.code;
    reply.message = std::move(answer.message);
    reply.warning = Joined(uplink.warnings);
    reply.retry_after = answer.retry_after;
    reply.again = again;
    if (asks) {
      reply.download = TakeDownload(decision.messages, *report->query);
    }
    decision.messages.emplace_back(std::move(reply));
  }
  return decision;
}

Decision DecideDeadline(const Snapshot& snapshot, const Now& now) {
  Draft draft(snapshot, now, false);
  bool passed = false;
  for (Task& task : draft.s.queued) {
    if (HasPassed(task.deadline, now)) {
      task.deadline.reset();
      passed = true;
    }
  }
  if (draft.s.open && HasPassed(draft.s.open->deadline, now)) {
    Expire(draft);
    passed = true;
  }
  if (passed) {
    draft.Next();
  }
  return draft.Finish();
}

Decision DecideNext(const Snapshot& snapshot, const Now& now) {
  Draft draft(snapshot, now, false);
  draft.KeepInScope();
  if (draft.s.open && snapshot.owed_connection != snapshot.device.connection) {
    draft.SendAgain();
  }
  draft.Next();
  return draft.Finish();
}

Decision DecideJoin(const Snapshot& snapshot, Task task, const Now& now) {
  Draft draft(snapshot, now, false);
  draft.LogJoin(task);
  draft.Join(std::move(task));
  draft.Next();
  return draft.Finish();
}

Decision DecideCancel(const Snapshot& snapshot, std::string_view task, Reason reason,
                      std::string detail, const Now& now) {
  Draft draft(snapshot, now, false);
  if (draft.CancelTask(task, reason, std::move(detail))) {
    draft.Next();
  }
  return draft.Finish();
}

Decision DecideConsent(const Snapshot& snapshot, std::string_view task, const std::string& detail,
                       const Now& now) {
  Draft draft(snapshot, now, false);
  Snapshot& s = draft.s;
  const auto consent = [&](Task& one) {
    if (one.name != task || one.consent || one.plan->mode != Mode::kManual) {
      return false;
    }
    one.consent = true;
    draft.Log(one, "consent", detail);
    return true;
  };
  if (s.open && consent(*s.open) && s.open->state == TaskState::kOffered) {
    draft.SendOwed();
    draft.AutoConfirm();
  }
  if (std::count_if(s.queued.begin(), s.queued.end(), consent) > 0) {
    draft.Next();
  }
  return draft.Finish();
}

Decision DecideRetry(const Snapshot& snapshot, const Task& ended, std::string name,
                     std::string detail, const Now& now) {
  Draft draft(snapshot, now, false);
  if (!IsEnded(ended.state) || ended.state == TaskState::kSucceeded ||
      ended.plan->wanted != Wanted::kActive || ended.plan->closed) {
    return draft.Finish();
  }
  draft.Log(ended, "retry", std::move(detail));
  draft.log.back().old_state = Name(ended.state);
  draft.log.back().new_state = Name(TaskState::kQueued);
  Task anew = MakeTask(ended.plan, std::move(name), now.wall);
  anew.id = ended.id;
  anew.listed_white = ended.listed_white;
  anew.listed_black = ended.listed_black;
  anew.position = ended.position;
  draft.Join(std::move(anew));
  draft.Next();
  return draft.Finish();
}

Decision DecideUnsendable(const Snapshot& snapshot, std::string_view task, std::int64_t needed,
                          std::int64_t limit, const Now& now) {
  Draft draft(snapshot, now, false);
  const std::optional<Task>& open = draft.s.open;
  if (!open || open->name != task || !Step(open->state, TaskEvent::kWithdraw)) {
    return draft.Finish();
  }
  if (IsInFlight(open->state) && draft.s.device.connection != 0) {
    draft.messages.emplace_back(Cancel{open->name, CancelText(Reason::kTooLarge)});
  }
  draft.Requeue(Reason::kTooLarge,
                std::to_string(needed) + " bytes / " + std::to_string(limit) + " bytes");
  draft.Next();
  return draft.Finish();
}

}  // namespace ota::core
