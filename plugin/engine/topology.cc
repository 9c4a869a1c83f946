// See topology.h.
#include "engine/topology.h"

#include <utility>

namespace ota::engine {
namespace {

constexpr int kMostDevices = 1000;  // in an answer

}  // namespace

bool Topology::Reserve() {
  if (reserved_.load() >= kMostWaiting) {
    return false;
  }
  ++reserved_;
  return true;
}

core::Result<std::vector<core::DeviceKey>> Topology::Work(store::Store& store) {
  std::vector<core::DeviceKey> changed;
  answers_.clear();
  for (const TopologyRequest& request : waiting_) {
    const std::string gateway = request.gateway.product + "/" + request.gateway.device;
    std::vector<core::DeviceKey> devices = request.devices;
    if (request.act == dialect::SessionAct::kTopoGet) {
      auto found = store.SubDevices(gateway, kMostDevices);
      if (!found) {
        return tl::unexpected(found.error());
      }
      devices = *std::move(found);
    } else {
      for (const core::DeviceKey& device : devices) {
        auto status = request.act == dialect::SessionAct::kTopoAdd ? store.Bind(device, gateway)
                                                                   : store.Unbind(device, gateway);
        if (!status) {
          return tl::unexpected(status.error());
        }
        changed.push_back(device);
      }
    }
    std::vector<dialect::SubResult> results;
    results.reserve(devices.size());
    for (core::DeviceKey& device : devices) {
      results.push_back({std::move(device), dialect::SessionCode::kOk});
    }
    auto reply = dialect::EncodeSession(
        {request.gateway.product, request.gateway.device, request.act, true, request.word},
        request.id, results);
    answers_.push_back({Lane::kAnswer, request.gateway, request.connection,
                        reply.addressed ? request.client : std::string(), std::move(reply.topic),
                        std::move(reply.payload), reply.qos});
  }
  return changed;
}

void Topology::Committed() {
  reserved_ -= answers_.size();
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(answers_.size()));
  if (!answers_.empty()) {
    outbox_.Push(std::exchange(answers_, {}));
  }
}

}  // namespace ota::engine
