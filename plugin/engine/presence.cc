// See presence.h.
#include "engine/presence.h"

#include <utility>

namespace ota::engine {

std::uint64_t Presence::Seen(const core::DeviceKey& device, const void* client,
                             std::string_view client_id, bool alone, bool clean) {
  const auto [found, added] = devices_.try_emplace(device);
  Connection& connection = found->second;
  if (!added) {
    // The broker may give the address of a client that is gone to a new one.
    if (connection.client == client && connection.client_id == client_id) {
      connection.alone = alone;
      return connection.generation;
    }
    // A client of the same id has been ended by the broker.
    if (alone && connection.alone && connection.client_id != client_id) {
      displaced_.push_back({device, connection.client_id});
    }
    earlier_[device].push_back(std::move(connection));
  }
  std::uint64_t generation = TakeEarlier(device, client, client_id);
  if (generation == 0) {
    generation = ++last_;
  }
  connection = {client, std::string(client_id), generation, alone, clean};
  carried_[client].insert(device);
  inbox_.SetPresence({device, connection.generation, connection.client_id}, !added);
  return connection.generation;
}

std::uint64_t Presence::TakeEarlier(const core::DeviceKey& device, const void* client,
                                    std::string_view client_id) {
  const auto found = earlier_.find(device);
  if (found == earlier_.end()) {
    return 0;
  }
  std::uint64_t generation = 0;
  std::erase_if(found->second, [&](const Connection& one) {
    if (one.client == client && one.client_id == client_id) {
      generation = one.generation;
    }
    return one.client == client;
  });
  if (found->second.empty()) {
    earlier_.erase(found);
  }
  return generation;
}

void Presence::Forget(const void* client, const core::DeviceKey& device) {
  TakeEarlier(device, client, {});
  const auto carried = carried_.find(client);
  if (carried == carried_.end()) {
    return;
  }
  carried->second.erase(device);
  if (carried->second.empty()) {
    carried_.erase(carried);
  }
}

void Presence::Gone(const void* client) {
  const auto carried = carried_.extract(client);
  if (carried.empty()) {
    return;
  }
  for (const core::DeviceKey& device : carried.mapped()) {
    TakeEarlier(device, client, {});
    if (LiveOn(device, client) != 0) {
      devices_.erase(device);
      inbox_.SetPresence({device, 0, {}}, true);
    }
  }
}

void Presence::Left(const core::DeviceKey& device, const void* client) {
  Forget(client, device);
  if (LiveOn(device, client) != 0) {
    devices_.erase(device);
    inbox_.SetPresence({device, 0, {}}, true);
  }
}

std::uint64_t Presence::Live(const core::DeviceKey& device) const {
  const auto found = devices_.find(device);
  return found == devices_.end() ? 0 : found->second.generation;
}

bool Presence::IsClean(const core::DeviceKey& device) const {
  const auto found = devices_.find(device);
  return found != devices_.end() && found->second.clean;
}

std::uint64_t Presence::LiveOn(const core::DeviceKey& device, const void* client) const {
  const auto found = devices_.find(device);
  return found == devices_.end() || found->second.client != client ? 0 : found->second.generation;
}

}  // namespace ota::engine
