// Who is logged in over which connection: devices by their signature, and the sub-devices that a
// gateway has logged in over its own. A connection is an address, compared only; the broker may
// give that of one that is gone to a new one. Pure. Broker thread only.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/model.h"

namespace ota::guard {

class Sessions {
 public:
  using Connection = const void*;

  // The device has logged in by its signature. In the dialects of clouds that ends an earlier login
  // of it, which the broker does not see: their devices come with another client id each time.
  void LogIn(const core::DeviceKey& device, Connection connection, std::string_view client_id);
  // The client ids of connections that such a login ends, each once.
  std::vector<std::string> TakeSuperseded();
  void Gone(Connection connection);

  // A gateway has logged a sub-device in. False: dialect::kMaxSubDevices others are logged in over
  // its connection.
  bool LogInSubDevice(const core::DeviceKey& device, const core::DeviceKey& gateway,
                      Connection connection, std::string_view client_id);
  void LogOutSubDevice(const core::DeviceKey& device, Connection connection);
  // Those that `gateway` has logged in; null: none, or `gateway` is.
  const std::set<core::DeviceKey>* SubDevicesOn(Connection connection, std::string_view client_id,
                                                const core::DeviceKey* gateway) const;

 private:
  struct Session {
    Connection connection = nullptr;
    std::string client_id;
  };
  struct SubDevices {
    core::DeviceKey gateway;
    std::string client_id;
    std::set<core::DeviceKey> devices;
  };

  std::unordered_map<core::DeviceKey, Session> sessions_;
  std::unordered_map<Connection, core::DeviceKey> logged_in_;
  std::vector<Session> superseded_;
  std::unordered_map<Connection, SubDevices> sub_devices_;
};

}  // namespace ota::guard
