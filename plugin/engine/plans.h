// What people want of plans, and what becomes of it: brings plan_state in line with `plan.wanted`,
// and carries what follows from that to the devices, in slices, so that a plan for 100,000 devices
// holds up nobody. Also acts on the journal of the admin tables and on requests. Engine thread
// only, inside an open transaction.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/model.h"
#include "engine/connections.h"
#include "engine/exchange.h"
#include "engine/timeline.h"
#include "store/store.h"

namespace ota::engine {

class Plans {
 public:
  Plans(Exchange& exchange, Connections& connections)
      : exchange_(exchange), connections_(connections) {}

  // Changes of the admin tables. `again` says that there are more: call in the next transaction.
  struct Changed {
    bool catalogue = false;  // load it again
    bool files = false;      // package files may be others
    bool again = false;
    std::vector<core::DeviceKey> devices;  // whose row or secret may be another
  };
  core::Result<Changed> ReadJournal(store::Store& store);

  // Matches the devices that the journal named with the plans of their products. After ReadJournal,
  // with the catalogue that was loaded since, in the same transaction.
  store::Status Match(store::Store& store);

  // Compares every plan of the catalogue with its state and does what is missing: activates,
  // pauses, resumes, cancels, ends. The catalogue is out of date afterwards if this gives true.
  core::Result<bool> Reconcile(store::Store& store, core::Now now);

  // Answers what people have asked for. `timeline` is told when an operator trusts the clock. Gives
  // how many were worked on: with kRequestSlice, or while `more_requests`, there is more to do.
  static constexpr int kRequestSlice = 100;
  core::Result<int> AnswerRequests(store::Store& store, core::Now now, Timeline& timeline);
  bool more_requests() const { return more_requests_; }

  // Offers what is possible now to the connected devices of `product` (all products when empty).
  void Wake(const std::string& product);

  // Looks again at single devices, such as those that have gone. Outside a transaction.
  void Look(const std::vector<core::DeviceKey>& devices);

  // Works on what is to be done for the devices, slice by slice, for about 25 ms.
  store::Status Work(store::Store& store, core::Now now);
  bool busy() const { return !jobs_.empty() || !look_.empty(); }

  // When something changes by the wall clock: a plan starts, ends, a push period opens or closes, a
  // hold or a time aside ends. NoteTime() acts on what has come since the last call.
  core::Result<std::optional<core::Instant>> NextChange(store::Store& store, core::Now now);
  store::Status NoteTime(store::Store& store, core::Now now);

  // Offers what the pace of plans allows now to the tasks that wait for it, in their order.
  store::Status Proceed(store::Store& store, core::Now now);
  // When the pace allows the next one, on the steady scale.
  std::optional<core::Instant> next_slot() const { return next_slot_; }

  // Halts plans of which too many tasks have failed.
  store::Status CheckHalts(store::Store& store, core::Now now);

  // Looks again at the queued tasks of a plan; of all plans in force of a product (all products
  // when it is empty).
  void WakeQueued(const std::string& plan);
  void WakePlans(const std::string& product);

  // The catalogue is out of date: load it again in the next transaction. Asked once per
  // transaction.
  bool TakeStale() { return std::exchange(stale_, false); }
  bool stale() const { return stale_; }

  // The transaction was committed, or was not: then what was done is done again.
  void Committed();
  void Undone();
  // Another database may be behind the store now: nothing of the old one counts.
  void Reopened();

 private:
  enum class JobKind {
    kScan,    // matches the registered devices with a plan; the cursor is stored
    kPick,    // makes tasks for the first members of a static plan with a percentage
    kCancel,  // ends the live tasks of a plan
    kEnd,     // ends the tasks of a plan whose end has come, as far as the plan says
    kQueued,  // looks at the queued tasks of a plan
    kWake,    // looks at the connected devices of a product
    kLook,    // looks at single devices
  };
  struct Job {
    JobKind kind = JobKind::kWake;
    std::string plan;  // of kWake: the product, empty for all
    std::int64_t cursor = 0;
    std::int64_t hash = -1;  // of kPick: the cursor's first half
    std::shared_ptr<const std::vector<core::DeviceKey>>
        devices;  // of kWake, from its first slice on
    std::size_t at = 0;
    bool gathered = false;             // of kScan of a whitelist: `listed` is complete ...
    std::vector<std::int64_t> listed;  // ... the ids that are left, the next one last
    bool done = false;
  };

  // Devices in a slice: few enough that it holds the database for a few milliseconds.
  static constexpr int kSlice = 50;

  void Add(Job job);
  store::Status Slice(store::Store& store, Job& job, core::Now now);
  store::Status Gather(store::Store& store, const core::Plan& plan, Job& job);
  core::Result<std::vector<store::Candidate>> Candidates(store::Store& store,
                                                         const core::Plan& plan, Job& job);
  store::Status Scan(store::Store& store, Job& job, core::Now now);
  store::Status EndScan(store::Store& store, const core::Plan& plan, store::PlanState state,
                        core::Now now);
  store::Status Pick(store::Store& store, Job& job, core::Now now);
  store::Status AddTasks(store::Store& store, const std::shared_ptr<const core::Plan>& plan,
                         const std::vector<store::Candidate>& candidates, bool if_matches,
                         core::Now now);
  store::Status QueuedSlice(store::Store& store, Job& job);
  store::Status CancelSlice(store::Store& store, Job& job);
  store::Status Devices(Job& job);
  store::Status Note(store::Store& store, const core::Plan& plan, const std::string& what,
                     core::Now now);
  store::Status LetGo(store::Store& store, const std::string& plan, store::PlanState state);
  core::Result<bool> HasTasks(store::Store& store, const std::string& plan);
  core::Result<bool> Follow(store::Store& store, const store::PlanEntry& entry, core::Now now);
  void Audit(const std::string& plan, const std::string& what);
  // What is answered to a request; nothing: there is more to do for it.
  using Answer = std::optional<std::pair<store::RequestState, std::string>>;
  core::Result<Answer> Act(store::Store& store, const store::Request& request, core::Now now,
                           Timeline& timeline);
  core::Result<Answer> Release(store::Store& store, const store::Request& request, core::Now now,
                               Timeline& timeline);
  core::Result<Answer> RetryAll(store::Store& store, const store::Request& request);

  Exchange& exchange_;
  Connections& connections_;
  std::deque<Job> jobs_;
  std::optional<Job> worked_;  // the front job as it is when the transaction is committed
  std::vector<Job> added_;     // jobs of the open transaction
  // Jobs that are done with since the database was opened: the catalogue does not say so before it
  // is loaded again.
  std::set<std::pair<JobKind, std::string>> finished_;
  std::unordered_set<core::DeviceKey> look_;  // of Look(), not in a job yet
  std::vector<core::DeviceKey> changed_;      // devices whose rows people changed, for Match()
  std::int64_t journal_ = -1;                 // last row acted on; -1: not known yet
  // Whether plans had started and their push period was open when they were last looked at.
  std::map<std::string, std::pair<bool, bool>> times_;
  std::optional<core::Instant> noted_;  // wall time up to which holds and times aside were ended
  std::optional<core::Instant> next_slot_;
  bool more_requests_ = false;
  bool stale_ = false;
};

}  // namespace ota::engine
