// What people want of plans, and what becomes of it: brings plan_state in line with `plan.wanted`,
// and carries what follows from that to the devices, in slices, so that a plan for 100,000 devices
// holds up nobody. Also acts on the journal of the admin tables and on requests. Engine thread
// only, inside an open transaction.
#pragma once

#include <cstdint>
#include <deque>
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
  // how many were answered: with kRequestSlice there may be more.
  static constexpr int kRequestSlice = 100;
  core::Result<int> AnswerRequests(store::Store& store, core::Now now, Timeline& timeline);

  // Offers what is possible now to the connected devices of `product` (all products when empty).
  void Wake(const std::string& product);

  // Looks again at single devices, such as those that have gone. Outside a transaction.
  void Look(const std::vector<core::DeviceKey>& devices);

  // Works on one slice of what is to be done for the devices.
  store::Status Work(store::Store& store);
  bool busy() const { return !jobs_.empty() || !look_.empty(); }

  // When the next plan ends by its date.
  std::optional<core::Instant> NextEnd(core::Now now) const;

  // The transaction was committed, or was not: then what was done is done again.
  void Committed();
  void Undone();
  // Another database may be behind the store now: nothing of the old one counts.
  void Reopened();

 private:
  enum class JobKind {
    kScan,    // matches the registered devices with a plan; the cursor is stored
    kCancel,  // ends the live tasks of a plan
    kEnd,     // ends the queued tasks of a plan
    kWake,    // looks at the connected devices of a product
    kLook,    // looks at single devices
  };
  struct Job {
    JobKind kind = JobKind::kWake;
    std::string plan;  // of kWake: the product, empty for all
    std::int64_t cursor = 0;
    std::shared_ptr<const std::vector<core::DeviceKey>>
        devices;  // of kWake, from its first slice on
    std::size_t at = 0;
    bool done = false;
  };

  void Add(Job job);
  store::Status Scan(store::Store& store, Job& job);
  store::Status CancelSlice(store::Store& store, Job& job);
  store::Status Devices(Job& job);
  core::Result<bool> Follow(store::Store& store, const store::PlanEntry& entry, core::Now now);
  void Audit(const std::string& plan, const std::string& what);
  core::Result<std::pair<store::RequestState, std::string>> Act(store::Store& store,
                                                                const store::Request& request,
                                                                core::Now now, Timeline& timeline);

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
};

}  // namespace ota::engine
