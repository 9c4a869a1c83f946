// Version reports that wait for those behind them. Devices of some dialects report more than once
// when they connect, their SDK's version first and their own a moment later, and take no message
// before that: such reports of one device are judged together, some time after the last one.
//
// In memory only: when the broker ends, the connections end, and devices report again when they
// come back. What was taken in a transaction comes back when it is undone. Pure but for that; time
// is an argument (steady scale). Engine thread only.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/model.h"
#include "engine/inbox.h"

namespace ota::engine {

struct Burst {
  Arrival origin;  // of the last report, without its payload
  // Component -> what was reported of it, oldest first.
  std::map<std::string, std::vector<std::string>> versions;
  core::Instant due{};
  core::Instant latest{};  // a burst is due by then, whatever comes
};

class Bursts {
 public:
  // A report belongs to the burst of its device; `settle` after the last one it is due, at the
  // latest five times that after the first.
  void Add(const Arrival& origin, const core::VersionReport& report, core::Duration settle,
           core::Instant now);

  // The device's burst, which ends by this; nothing: there is none.
  std::optional<Burst> Take(const core::DeviceKey& device);

  // The device's burst, which goes on; valid until the next call. Null: there is none.
  const Burst* Find(const core::DeviceKey& device) const;

  // The device's burst is due as late as it may be. False: it was that already, or there is none.
  bool PutOff(const core::DeviceKey& device);

  bool Has(const core::DeviceKey& device) const { return bursts_.contains(device); }

  // Devices whose bursts are due, the oldest first.
  std::vector<core::DeviceKey> Due(core::Instant now, std::size_t limit) const;
  std::optional<core::Instant> Next() const;
  bool empty() const { return bursts_.empty(); }

  void Keep() { taken_.clear(); }  // the transaction was committed
  void Undo();                     // it was rolled back

 private:
  std::unordered_map<core::DeviceKey, Burst> bursts_;
  std::set<std::pair<core::Instant, core::DeviceKey>> order_;
  std::vector<std::pair<core::DeviceKey, Burst>> taken_;
};

// What the burst says of each component: a version that the open task waits for, if it is among
// those reported, else the last one.
std::map<std::string, std::string> Settled(const Burst& burst, const core::Snapshot& snapshot);

// Whether a component under way would be at neither end of its step: its open task would fail. On a
// slow link an SDK's version is alone for longer than a report waits for the next one.
bool ShowsForeign(const std::map<std::string, std::string>& settled,
                  const core::Snapshot& snapshot);

// Whether a report shows a target of the open task: it is judged at once.
bool ShowsTarget(const core::VersionReport& report, const core::Snapshot& snapshot);

}  // namespace ota::engine
