// Decide: what an event means for one device. Pure functions from a snapshot, an event and the time
// to a Decision. No clock, no SQL, no JSON, no broker, no logger, no randomness. Any thread.
// Governed by the native protocol ([N-..] in the code) and by plugin/core/README.md, which has the
// rules that the protocol leaves open, and the transition table.
//
// What a caller must know of every function here:
//   * The decision is to be SAVED BEFORE ANY OF ITS MESSAGES IS SENT. Messages go out in the order
//     given; an uplink's reply is the last [N-13].
//   * `Decision::tasks` has every task that differs from the snapshot, whole; a task with id 0 is
//     a prospect that has become real: insert it. `Decision::device` is always set: when
//     `device_changed` is false, only values differ that may be written later (seen, reported,
//     battery, signal, free bytes), and the generations.
//   * `Decision::download_connection` and `owed_connection` replace what was in the snapshot.
//   * Addresses are not decided here: in a Download with `http`, the engine fills `urls` and
//     `expires_in`.
//   * Never fails. An event that makes no sense gives a reply with an error code, or an empty
//     decision. Asking twice gives the same answer; the second time after applying the first
//     changes nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/eligibility.h"
#include "core/model.h"

namespace ota::core {

// A new queued task for one device.
//   plan   its components, in order, become the task's, pending, with their targets
//   name   8 to 32 characters of [A-Za-z0-9-], random, never used before [N-15]
//   now    wall time, becomes `created`
// The caller sets `listed_white` and `listed_black`.
Task MakeTask(std::shared_ptr<const Plan> plan, std::string name, Instant now);

// An uplink has arrived. device.id 0 is an unknown device whose registration the caller has allowed
// (only a VersionReport registers it). `snapshot.named` is the task that the uplink names, if that
// is this device's, is not the open one, and exists. device.connection is that of the uplink, not
// 0. A reply 200 is given only if the uplink has an id, an error always. [N-7] [N-9] to [N-14]
// [N-16] [N-19] to [N-21] [N-24] to [N-33]
Decision DecideUplink(const Snapshot& snapshot, const Uplink& uplink, const Now& now);

// A deadline has passed: the open task's or the not-before of a queued one. Does nothing if none
// has [N-26].
Decision DecideDeadline(const Snapshot& snapshot, const Now& now);

// Something else than the device may have changed what is possible: a plan was activated, paused or
// released, a package became ready, the outbox has room. Sends what an open task still owes on this
// connection, or offers the first eligible queued task; ends queued tasks whose device is at all
// targets; otherwise changes `reason` and `detail` of queued tasks where they differ.
Decision DecideNext(const Snapshot& snapshot, const Now& now);

// A plan takes up the device: `task`, as MakeTask gives it, becomes real. The caller has seen that
// the device Matches and, of a static plan, is a member in the phase. A plan that overrides cancels
// the tasks of other plans that show no progress; of one that does, the new task waits for its end,
// or fails at once (004-56 to 004-58, 004-69). Then, as DecideNext.
Decision DecideJoin(const Snapshot& snapshot, Task task, const Now& now);

// The task is canceled: a fact at once, it does not wait for the device. If the device may know of
// the task, it owes a cancel until an uplink shows that the device knows [N-31]. Then, as
// DecideNext, the device's next plan. Does nothing if the task is neither open nor queued.
//   reason   kPlanCanceled, kPlanEnded or kTaskCanceled; none of them is ever retried by itself
//   detail   for people; may be empty
Decision DecideCancel(const Snapshot& snapshot, std::string_view task, Reason reason,
                      std::string detail, const Now& now);

// People have consented on the platform to the queued or open task of a plan in manual mode: the
// offer says so from now on, and one that the device has not answered is sent again [N-15], with
// the download if the product needs no confirmation [N-19]. A queued one may go at once. Does
// nothing for any other task. (002-26, C18)
Decision DecideConsent(const Snapshot& snapshot, std::string_view task, const std::string& detail,
                       const Now& now);

// People want an ended, unsuccessful task of an active plan again. It starts anew under `name`,
// which was never used before, in the row of the old one; what the old one did stays in the log.
// Does nothing for a task that is not ended or has succeeded.
Decision DecideRetry(const Snapshot& snapshot, const Task& ended, std::string name,
                     std::string detail, const Now& now);

// An offer or a download of the open task does not fit into what the device takes [N-18]. Ask with
// the snapshot as it is after the decision that made the message. The task waits in the queue with
// kTooLarge until the device takes more; the others get their turn. A task whose device is already
// installing stays.
//   needed, limit   bytes
Decision DecideUnsendable(const Snapshot& snapshot, std::string_view task, std::int64_t needed,
                          std::int64_t limit, const Now& now);

}  // namespace ota::core
