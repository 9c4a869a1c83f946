// One event of one device, from the bytes that came in to the bytes that go out: Decode, Load,
// Decide, Save, Send. Every event goes the same way (Exchange::Apply); what is decided is core's
// alone. Engine thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/decide.h"
#include "core/model.h"
#include "dialect/dialect.h"
#include "engine/bursts.h"
#include "engine/connections.h"
#include "engine/inbox.h"
#include "engine/outbox.h"
#include "engine/pace.h"
#include "engine/push_limit.h"
#include "engine/registrations.h"
#include "engine/unchanged.h"
#include "package/address.h"
#include "store/store.h"

namespace ota::engine {

// Blocks that were granted: a worker reads and sends them once the grant is committed, and `after`
// behind them.
struct BlockJob {
  core::BlockGrant grant;
  Message envelope;    // addressee; topic and payload are made for each block
  std::string client;  // where the dialect addresses blocks to it, and there were not too many
  const dialect::Dialect* dialect = nullptr;
  std::vector<Message> after;
  std::optional<std::string> id;  // of the request, for the reply when reading fails
  std::string task;
};

// What one transaction leaves to be done once it is committed. NOTHING IN HERE LEAVES THE ENGINE
// BEFORE THE COMMIT.
struct Outcome {
  std::vector<Message> messages;
  std::vector<LogLine> log;
  std::vector<BlockJob> blocks;
};

// Where devices fetch files.
struct Delivery {
  std::string base;  // of download addresses; empty: files come over MQTT alone
  const package::AddressKey* key =
      nullptr;  // null: another web server serves `base`, addresses are unsigned
  core::seconds lifetime{86400};
};

// An arrival after Decode.
struct Decoded {
  const Arrival* arrival = nullptr;
  tl::expected<core::Uplink, dialect::DecodeError> uplink;
};

// The task that the uplink names; empty: none.
std::string TaskOf(const core::Uplink& uplink);

// Decodes the arrivals of a batch and merges neighbouring progress reports of one device that
// differ in nothing but the percentage: the newer percent and the older place in the order stay.
// Pure.
std::vector<Decoded> Decode(const std::vector<Arrival>& arrivals);

class Exchange {
 public:
  Exchange(Connections& connections, Delivery delivery, Unchanged& unchanged)
      : connections_(connections), delivery_(std::move(delivery)), unchanged_(unchanged) {}

  // What the next calls work on: an open transaction and its time.
  void Begin(store::Store& store, std::shared_ptr<const store::Catalogue> catalogue, core::Now now);
  const store::Catalogue& catalogue() const { return *catalogue_; }
  void SetOutboxFull(bool full) { outbox_full_ = full; }
  // Little room is left for the database: of what devices say only changes of state are logged.
  void SetDiskLow(bool low) { disk_low_ = low; }
  void SetKey(const package::AddressKey* key) { delivery_.key = key; }

  // Runs `event` under a savepoint: rows that the database refuses (kConflict) are rolled back
  // alone and logged, and that is no failure; anything else is the transaction's failure, and so is
  // that in a transaction that cannot undo one event. `refused`, if given, is called then.
  store::Status Try(const core::DeviceKey& key, const std::function<store::Status()>& event,
                    const std::function<void()>& refused = {});

  // Each handles one event inside the open transaction and adds to outcome(). On failure the caller
  // rolls the event's savepoint and its part of the outcome back; see store.h for the codes.
  store::Status Uplink(const Decoded& decoded);
  // The device has said all that it says at once: its version reports are judged.
  store::Status Settle(const core::DeviceKey& key);
  const Bursts& bursts() const { return bursts_; }
  // Tells the device to send its uplink again, later: it is not stored.
  void Unavailable(const Decoded& decoded);
  // Offers what the device may get now; writes why its queued tasks wait, when that is another
  // reason than before.
  store::Status Next(const core::DeviceKey& key);
  // After how long without a report the connected device counts as having reported what it had; 0:
  // never.
  core::seconds SilenceOf(const core::DeviceKey& key) const;
  // That time is over in its connection `generation`: whether it still has reported nothing; and
  // if so, as Next.
  bool IsSilent(const core::DeviceKey& key, std::uint64_t generation) const;
  store::Status Silent(const core::DeviceKey& key, std::uint64_t generation);
  store::Status Deadline(const core::DeviceKey& key);
  // Ends the device's live tasks of `plan` (of any plan when it is empty); with kPlanEnded only
  // those that the plan's end ends. Gives how many.
  core::Result<int> Cancel(const core::DeviceKey& key, const std::string& plan, core::Reason reason,
                           const std::string& detail);
  // Starts the device's ended task of `plan` anew, or says why not (empty: done).
  core::Result<std::string> Retry(const core::DeviceKey& key, const std::string& plan,
                                  const std::string& detail);
  // Notes that people consent to the device's task of `plan`, or says why not (empty: done).
  core::Result<std::string> Consent(const core::DeviceKey& key, const std::string& plan,
                                    const std::string& detail);
  // Makes the device's task of `plan` and offers it, if it has none; `if_matches`: and if it
  // matches now.
  store::Status Join(const core::DeviceKey& key, const std::shared_ptr<const core::Plan>& plan,
                     bool if_matches = true);
  // The queued task of `plan` for a device that is away: saved as it is, without a look at the
  // device's other tasks. Nothing: only Join() can tell.
  core::Result<std::optional<core::Task>> MakeAway(const std::shared_ptr<const core::Plan>& plan,
                                                   const store::Candidate& candidate);
  // Before anything about the device changes: the static plans that are being activated and have
  // not come to it yet take it, or leave it, as it was at their activation.
  store::Status LookBefore(const store::ProductEntry& product, const core::DeviceKey& key);
  // Fills in the answer to a request 'explain': every rule, for the device and `plan`, or each plan
  // in force of its product. Gives how many plans.
  core::Result<int> Explain(std::int64_t request, const core::DeviceKey& key,
                            const std::string& plan);
  // Lets go what the device was put aside for, or says why not (empty: done).
  core::Result<std::string> Release(const core::DeviceKey& key);
  // A value of the device from its telemetry.
  store::Status Measured(const core::DeviceKey& key, store::Measure value, std::int64_t number);
  // The device's download server traffic shows that it is at work.
  store::Status Sign(const core::DeviceKey& key, std::int64_t file);

  // Counts of a plan of the catalogue, from the database the first time.
  core::Result<const Pace::State*> PaceOf(const std::string& plan);
  const Pace& pace() const { return pace_; }
  // When the plan's push period opens; nothing: it is open.
  std::optional<core::Instant> OpensAt(const core::Plan& plan);

  Outcome& outcome() { return outcome_; }
  // The transaction was rolled back: nothing of it is sent.
  void Undone();

  // Seen times, batteries and the like of devices, which change with every report: written with the
  // next change of the device, at the latest by FlushSeen(), at most `limit` devices a call.
  store::Status FlushSeen(std::size_t limit);
  std::size_t unwritten_seen() const { return seen_.size() + repeated_.size(); }
  // Adds the devices that were answered by the broker thread to those above.
  void TakeRepeated();
  // From now on every report comes in, until it changes nothing again.
  void EndRepeated();

  // The transaction was committed and outcome() handed on.
  void Committed();
  // Another database may be behind the store now.
  void Reopened();

 private:
  static constexpr std::size_t kTaskNameLength = 12;  // [N-15]

  // Sizes of outcome() and of the connections' undo list, to go back to when an event fails.
  struct Mark {
    std::size_t messages, log, blocks, undo, pace;
  };
  Mark mark() const;
  void UndoTo(const Mark& mark);

  struct Loaded {
    const store::ProductEntry* product = nullptr;
    store::KnownDevice known;
    core::Snapshot snapshot;
  };

  core::Result<Loaded> Load(const store::ProductEntry& product, const core::DeviceKey& key);
  core::Result<core::Task> NewTask(const std::shared_ptr<const core::Plan>& plan,
                                   const store::Listed& listed, core::Instant seen) const;
  store::Status Take(const std::shared_ptr<const core::Plan>& plan, const core::Device& device,
                     const store::Listed& listed);
  // When the broker thread has answered a device last.
  struct Repeated {
    core::Instant seen{};
    core::Instant reported{};  // with what it had measured
  };

  void AddRepeated(const std::vector<Unchanged::Seen>& answered);
  // Before anything is decided about the device: the broker thread answers for it no more, and what
  // it has answered counts as said.
  void EndRepeated(const core::Device& device);
  void NoteSeen(const core::Device& device, const Repeated& last);
  store::Status LoadBrakes(Loaded& loaded);
  store::Status LoadPace(core::Snapshot& snapshot);
  store::Status LoadNamed(Loaded& loaded, const std::string& task);
  store::Status LoadProspects(Loaded& loaded, const core::VersionReport& report);
  std::optional<core::Reply> Refuse(const store::ProductEntry* product, const Loaded& loaded,
                                    const core::Uplink& uplink);
  core::Result<bool> MayRegister(const store::ProductEntry& product);
  const dialect::Dialect* Speaks(const store::ProductEntry& product,
                                 const Connection* connection) const;
  void Resolve(core::Uplink& uplink, const Loaded& loaded, const Arrival& arrival) const;
  store::Status Judge(Loaded loaded, const Arrival& arrival, const core::Uplink& uplink, Lane lane);
  bool IsRepeated(const Arrival& arrival);
  std::optional<Unchanged::Report> Repeatable(const Loaded& loaded, const Arrival& arrival,
                                              const core::Uplink& uplink,
                                              const core::Decision& decision) const;
  std::optional<Message> Address(dialect::Encoded encoded, const core::DeviceKey& key,
                                 const Connection& connection, Lane lane, PushLimit& limit);
  void Drop(const Arrival& arrival, const core::Reply& reply);
  store::Status Apply(Loaded& loaded, core::Decision decision, Lane lane,
                      const core::Uplink* uplink, int depth = 0);
  bool AddUrls(core::Download& download, std::int64_t device);
  void ReplyTo(const Arrival& arrival, core::Reply reply);
  void Remember(const core::Snapshot& before, const core::Decision& decision);
  void Audit(const core::DeviceKey& key, const core::Decision& decision);
  void LimitLog(core::Decision& decision);

  Connections& connections_;
  Delivery delivery_;
  store::Store* store_ = nullptr;
  std::shared_ptr<const store::Catalogue> catalogue_;
  core::Now now_{};
  bool outbox_full_ = false;
  bool disk_low_ = false;
  Pace pace_;
  struct WindowNow {
    core::Instant from;   // as of
    core::Instant until;  // good before
    std::optional<core::Instant> opens;
  };
  std::map<std::string, WindowNow> windows_;  // by plan
  Outcome outcome_;
  Bursts bursts_;
  PushLimit push_limit_{kPushesPerHour};
  PushLimit answer_limit_{kAnswersPerHour};
  HourLimit<std::int64_t> log_limit_{kLogLinesPerHour};
  int dropped_ =
      0;  // uplinks that were wrong and whose devices get no replies, since the last line
  std::optional<core::Instant> dropped_said_;
  std::unordered_map<std::int64_t, core::Device> seen_;
  std::vector<core::Device> written_seen_;  // by the open transaction
  Unchanged& unchanged_;
  std::unordered_map<core::DeviceKey, Unchanged::Report> repeatable_;  // of the open transaction
  std::unordered_map<core::DeviceKey, Repeated> repeated_;             // not in seen_ yet
  std::unordered_map<std::string, std::int64_t> counts_;  // registered devices by product
  Registrations registrations_;
};

}  // namespace ota::engine
