// See sessions.h.
#include "guard/sessions.h"

#include <utility>

#include "dialect/session.h"

namespace ota::guard {

void Sessions::LogIn(const core::DeviceKey& device, Connection connection,
                     std::string_view client_id) {
  Session& session = sessions_[device];
  if (session.connection != nullptr && session.connection != connection &&
      session.client_id != client_id) {
    superseded_.push_back(session);
    logged_in_.erase(session.connection);
  }
  session = {connection, std::string(client_id)};
  logged_in_[connection] = device;
}

std::vector<std::string> Sessions::TakeSuperseded() {
  std::vector<std::string> client_ids;
  for (Session& session : std::exchange(superseded_, {})) {
    client_ids.push_back(std::move(session.client_id));
  }
  return client_ids;
}

void Sessions::Gone(Connection connection) {
  sub_devices_.erase(connection);
  std::erase_if(superseded_,
                [connection](const Session& one) { return one.connection == connection; });
  if (const auto found = logged_in_.extract(connection)) {
    const auto session = sessions_.find(found.mapped());
    if (session != sessions_.end() && session->second.connection == connection) {
      sessions_.erase(session);
    }
  }
}

bool Sessions::LogInSubDevice(const core::DeviceKey& device, const core::DeviceKey& gateway,
                              Connection connection, std::string_view client_id) {
  if (SubDevicesOn(connection, client_id, &gateway) == nullptr) {
    sub_devices_[connection] = {gateway, std::string(client_id), {}};
  }
  auto& devices = sub_devices_[connection].devices;
  if (devices.size() >= dialect::kMaxSubDevices && !devices.contains(device)) {
    return false;
  }
  devices.insert(device);
  return true;
}

void Sessions::LogOutSubDevice(const core::DeviceKey& device, Connection connection) {
  const auto found = sub_devices_.find(connection);
  if (found != sub_devices_.end()) {
    found->second.devices.erase(device);
  }
}

const std::set<core::DeviceKey>* Sessions::SubDevicesOn(Connection connection,
                                                        std::string_view client_id,
                                                        const core::DeviceKey* gateway) const {
  const auto found = sub_devices_.find(connection);
  return found == sub_devices_.end() || gateway == nullptr || found->second.gateway != *gateway ||
                 found->second.client_id != client_id
             ? nullptr
             : &found->second.devices;
}

}  // namespace ota::guard
