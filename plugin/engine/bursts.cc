// See bursts.h.
#include "engine/bursts.h"

#include <algorithm>

#include "core/step.h"

namespace ota::engine {
namespace {

constexpr int kLongest = 5;  // times the settle time
constexpr std::size_t kComponents = 32;
constexpr std::size_t kVersions = 8;  // of one component

const std::string* TargetOf(const core::Snapshot& snapshot, const std::string& component) {
  if (!snapshot.open) {
    return nullptr;
  }
  const auto found =
      std::ranges::find(snapshot.open->components, component, &core::TaskComponent::name);
  return found == snapshot.open->components.end() ? nullptr : &found->target;
}

}  // namespace

void Bursts::Add(const Arrival& origin, const core::VersionReport& report, core::Duration settle,
                 core::Instant now) {
  const auto [found, added] = bursts_.try_emplace(origin.device);
  Burst& burst = found->second;
  if (added) {
    burst.latest = now + settle * kLongest;
  } else {
    order_.erase({burst.due, origin.device});
  }
  burst.origin = {origin.device,     origin.dialect, origin.kind, {},
                  origin.connection, origin.at,      origin.qos};
  burst.due = std::min(now + settle, burst.latest);
  order_.emplace(burst.due, origin.device);
  for (const auto& [component, version] : report.components) {
    if (!burst.versions.contains(component) && burst.versions.size() == kComponents) {
      continue;
    }
    std::vector<std::string>& versions = burst.versions[component];
    std::erase(versions, version);
    if (versions.size() == kVersions) {
      versions.erase(versions.begin());
    }
    versions.push_back(version);
  }
}

std::optional<Burst> Bursts::Take(const core::DeviceKey& device) {
  const auto found = bursts_.find(device);
  if (found == bursts_.end()) {
    return std::nullopt;
  }
  Burst burst = std::move(found->second);
  order_.erase({burst.due, device});
  bursts_.erase(found);
  taken_.emplace_back(device, burst);
  return burst;
}

const Burst* Bursts::Find(const core::DeviceKey& device) const {
  const auto found = bursts_.find(device);
  return found == bursts_.end() ? nullptr : &found->second;
}

bool Bursts::PutOff(const core::DeviceKey& device) {
  const auto found = bursts_.find(device);
  if (found == bursts_.end() || found->second.due == found->second.latest) {
    return false;
  }
  order_.erase({found->second.due, device});
  found->second.due = found->second.latest;
  order_.emplace(found->second.due, device);
  return true;
}

std::vector<core::DeviceKey> Bursts::Due(core::Instant now, std::size_t limit) const {
  std::vector<core::DeviceKey> devices;
  for (const auto& [due, device] : order_) {
    if (due > now || devices.size() == limit) {
      break;
    }
    devices.push_back(device);
  }
  return devices;
}

std::optional<core::Instant> Bursts::Next() const {
  return order_.empty() ? std::nullopt : std::optional(order_.begin()->first);
}

void Bursts::Undo() {
  // The uplinks of the transaction come again, so what they added since counts once more.
  for (auto& [device, burst] : taken_) {
    if (const auto found = bursts_.find(device); found != bursts_.end()) {
      order_.erase({found->second.due, device});
    }
    order_.emplace(burst.due, device);
    bursts_[device] = std::move(burst);
  }
  taken_.clear();
}

std::map<std::string, std::string> Settled(const Burst& burst, const core::Snapshot& snapshot) {
  std::map<std::string, std::string> settled;
  for (const auto& [component, versions] : burst.versions) {
    const std::string* target = TargetOf(snapshot, component);
    const bool reached =
        target != nullptr && std::ranges::find(versions, *target) != versions.end();
    settled[component] = reached ? *target : versions.back();
  }
  return settled;
}

bool ShowsForeign(const std::map<std::string, std::string>& settled,
                  const core::Snapshot& snapshot) {
  if (!snapshot.open || !core::IsInFlight(snapshot.open->state)) {
    return false;
  }
  return std::ranges::any_of(snapshot.open->components, [&](const core::TaskComponent& component) {
    const auto found = settled.find(component.name);
    return found != settled.end() && !component.source.empty() &&
           found->second != component.source && found->second != component.target;
  });
}

bool ShowsTarget(const core::VersionReport& report, const core::Snapshot& snapshot) {
  return std::ranges::any_of(report.components, [&](const auto& one) {
    const std::string* target = TargetOf(snapshot, one.first);
    return target != nullptr && *target == one.second;
  });
}

}  // namespace ota::engine
