// A decision in the making: the snapshot as it changes, and what has been decided so far. Internal
// to Decide; callers see core/decide.h. Pure. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/eligibility.h"
#include "core/model.h"
#include "core/step.h"

namespace ota::core {

// When to ask again [N-13]: for files that are being hashed, and for what people have braked.
inline constexpr seconds kHashing{10};
inline constexpr seconds kBraked{3600};

struct Draft {
  // `heard`: the device itself is the cause, so it is there and listens.
  Draft(const Snapshot& snapshot, const Now& time, bool heard_of)
      : before(snapshot), now(time), heard(heard_of), s(snapshot) {}

  const Snapshot& before;
  const Now now;
  const bool heard;
  Snapshot s;               // before, with everything that has been decided
  std::vector<Task> ended;  // that ended in this decision
  std::vector<LogEntry> log;
  std::vector<Downlink> messages;
  std::optional<BlockGrant> blocks;
  std::optional<Instant> again;  // when something can happen next, if that is known

  // Steps `task`, sets its deadline and logs the transition. `asked` is the device's own eta or
  // retryAfter. False, and no change, when the event makes no sense.
  bool Apply(Task& task, TaskEvent event, Reason reason = Reason::kNone, std::string detail = {},
             std::optional<seconds> asked = {});

  void Log(const Task& task, std::string_view event, std::string detail);

  void Enqueue(Task task);  // where its plan's priority and order say
  void LogJoin(const Task& task);
  void Join(Task task);  // a task that is new: in place of others if its plan overrides
  // Ends the open task or a queued one; the device is told if it may know of it. False: no such.
  bool CancelTask(std::string_view task, Reason reason, std::string detail);
  bool Brings() const;  // an offer or a download goes out

  // The rest is about s.open, which must be there, except in Next.
  TaskComponent* Current();
  void Touch(std::optional<seconds> asked = {});    // restarts its deadline [N-26]
  void Renew();                                     // a full deadline from now
  void Rest();                                      // ... and a full time-out and grace
  std::optional<Verdict> Brake() const;             // why nothing of it is sent now
  Instant BrakedUntil(const Verdict& brake) const;  // when to ask again
  bool Reachable() const;                           // the device is there and listens
  // Where there is no confirmation the push begins the upgrade: a plan on request is told by the
  // answer to a question alone.
  bool AnswersOnly() const;
  void End(TaskEvent event, Reason reason, std::string detail = {});
  void Requeue(Reason reason, std::string detail = {});
  void FailAttempt(Reason reason, int code, std::string detail);
  void Proceed();      // downloads the first component that is not at its target, or succeeds
  bool SendOwed();     // its current message, if the device can be reached
  void SendAgain();    // the same in another connection: not for ever
  bool RunsTarget();   // the current component does, on trial or before its reboot: nothing is owed
  void AwaitProof();   // it does: until it is proved or gone
  void AutoConfirm();  // accepts the offer, if the product and the plan need no confirmation
  void Withdraw(std::string_view reason);  // tells the device that it is over
  void MissDevice();                       // its deadline has passed while the device is away
  void Greet();                            // the device is heard of again after that
  void KeepInScope();  // takes back an offer that the device may not have any more
  void Next();         // offers the first eligible queued task; ends and explains the others

  Decision Finish();

 private:
  void Open(Task task);  // offers a queued task
  void NextAt(std::optional<Instant> at);
  void SetDeadline(Task& task, std::optional<Instant> deadline) const;
  void CountFailure(const Task& task);  // one more of its current target
  void ClearFailures(const Task& task);
};

// Whether two versions differ at most by letter case and blanks.
bool SpelledAlike(std::string_view one, std::string_view other);

// Why an attempt failed whose device is back on `version`: a roll-back, or, when `version` is the
// target in another spelling, most likely that.
Reason WentBack(const TaskComponent& component, std::string_view version);

// The text on the wire of a cancel: the reason's name with blanks [N-31].
std::string CancelText(Reason reason);

}  // namespace ota::core
