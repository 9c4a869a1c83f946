#include "engine/connections.h"

namespace ota::engine {

void Connections::Apply(const core::DeviceKey& device, std::uint64_t generation,
                        std::string client) {
  const auto found = live_.find(device);
  if (found != live_.end() && found->second.device != 0 && generation == 0) {
    devices_.erase(found->second.device);
  }
  if (generation == 0) {
    if (found != live_.end()) {
      live_.erase(found);
    }
    return;
  }
  Connection& connection = live_[device];
  connection.generation = generation;
  connection.client = std::move(client);
}

const Connection* Connections::Find(const core::DeviceKey& device) const {
  const auto found = live_.find(device);
  return found == live_.end() ? nullptr : &found->second;
}

Connection* Connections::Edit(const core::DeviceKey& device) {
  const auto found = live_.find(device);
  if (found == live_.end()) {
    return nullptr;
  }
  undo_.emplace_back(device, found->second);
  return &found->second;
}

const core::DeviceKey* Connections::FindDevice(std::int64_t device) const {
  const auto found = devices_.find(device);
  return found == devices_.end() ? nullptr : &found->second;
}

void Connections::SetDevice(const core::DeviceKey& key, std::int64_t device) {
  const auto found = live_.find(key);
  if (found != live_.end() && found->second.device != device) {
    found->second.device = device;
    devices_[device] = key;
  }
}

void Connections::Reopened() {
  devices_.clear();
  undo_.clear();
  for (auto& [key, connection] : live_) {
    connection.device = 0;
    connection.owed = 0;
    connection.download = 0;
  }
}

void Connections::UndoTo(std::size_t mark) {
  while (undo_.size() > mark) {
    const auto& [key, value] = undo_.back();
    const auto found = live_.find(key);
    if (found != live_.end()) {
      found->second = value;
    }
    undo_.pop_back();
  }
}

std::vector<core::DeviceKey> Connections::Of(const std::string& product) const {
  std::vector<core::DeviceKey> keys;
  for (const auto& [key, connection] : live_) {
    if (product.empty() || key.product == product) {
      keys.push_back(key);
    }
  }
  return keys;
}

std::vector<core::DeviceKey> Connections::Waiting() const {
  std::vector<core::DeviceKey> keys;
  for (const auto& [key, connection] : live_) {
    if (connection.waits) {
      keys.push_back(key);
    }
  }
  return keys;
}

}  // namespace ota::engine
