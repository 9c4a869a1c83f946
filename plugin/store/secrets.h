// How a device's secret stands in the table device_secret; what writes it (otactl) and what reads
// it (the engine) must agree. Values only.
#pragma once

#include <cstddef>
#include <string>

#include "core/model.h"

namespace ota::store {

// Printable ASCII, so that it can be typed and sent as an MQTT password.
inline constexpr std::size_t kMinSecret = 8;
inline constexpr std::size_t kMaxSecret = 128;

// The context that the secret is sealed for (crypto/seal.h): a row is good for its device alone.
inline std::string SecretContext(const core::DeviceKey& device) {
  return device.product + "\n" + device.device;
}

}  // namespace ota::store
