// Which devices a gateway binds to itself, unbinds, and asks for (EnOS: thing/topo/add, delete,
// get). Who may has been decided before; here it is saved, and answered after the commit. Engine
// thread, but for Reserve() and Release().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/model.h"
#include "dialect/session.h"
#include "engine/outbox.h"
#include "store/store.h"

namespace ota::engine {

struct TopologyRequest {
  core::DeviceKey gateway;
  std::uint64_t connection = 0;
  std::string client;  // of a gateway that is answered without a subscription; else empty
  dialect::SessionAct act = dialect::SessionAct::kTopoGet;
  std::string id;
  std::vector<core::DeviceKey> devices;
  std::string_view word = {};  // SessionTopic::word, which lasts
};

class Topology {
 public:
  // That wait to be stored, at most; an answer has up to 1,000 devices.
  static constexpr std::size_t kMostWaiting = 64;

  explicit Topology(Outbox& outbox) : outbox_(outbox) {}

  // Takes a place for a request that is to be added; false: too many wait. Broker thread.
  bool Reserve();
  // Gives back the place of a request that was not added. Broker thread.
  void Release() { --reserved_; }

  void Add(TopologyRequest request) { waiting_.push_back(std::move(request)); }
  bool busy() const { return !waiting_.empty(); }

  // Does what waits, in the open transaction. Gives the devices that changed.
  core::Result<std::vector<core::DeviceKey>> Work(store::Store& store);
  // The transaction was committed: answers. What was undone waits for the next one.
  void Committed();
  void Undone() { answers_.clear(); }

 private:
  Outbox& outbox_;
  std::atomic<std::size_t> reserved_{0};
  std::vector<TopologyRequest> waiting_;
  std::vector<Message> answers_;  // of the first ones that wait, in the open transaction
};

}  // namespace ota::engine
