// Which devices a gateway binds to itself, unbinds, and asks for (EnOS: thing/topo/add, delete,
// get). Who may has been decided before; here it is saved, and answered after the commit. Engine
// thread only.
#pragma once

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
  dialect::SessionAct act = dialect::SessionAct::kTopoGet;
  std::string id;
  std::vector<core::DeviceKey> devices;
};

class Topology {
 public:
  explicit Topology(Outbox& outbox) : outbox_(outbox) {}

  void Add(TopologyRequest request) { waiting_.push_back(std::move(request)); }
  bool busy() const { return !waiting_.empty(); }

  // Does what waits, in the open transaction. Gives the devices that changed.
  core::Result<std::vector<core::DeviceKey>> Work(store::Store& store);
  // The transaction was committed: answers. What was undone waits for the next one.
  void Committed();
  void Undone() { answers_.clear(); }

 private:
  Outbox& outbox_;
  std::vector<TopologyRequest> waiting_;
  std::vector<Message> answers_;  // of the first ones that wait, in the open transaction
};

}  // namespace ota::engine
