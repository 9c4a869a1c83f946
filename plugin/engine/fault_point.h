// Places at which a test may end the broker by SIGKILL: OTA_FAULT_POINT("committed") is nothing in
// what ships. Only the target mosquitto_ota_faults defines OTA_FAULT_POINTS, and nobody installs
// it; tests/broker/test_crash.py proves that the shipped plugin holds none of this. The environment
// variable OTA_FAULT_POINT=NAME:COUNT chooses the place and at which pass it ends. Any thread.
#pragma once

#ifdef OTA_FAULT_POINTS

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>

namespace ota::engine {

inline void FaultPoint(std::string_view name) {
  static const std::string chosen = [] {
    const char* text = std::getenv("OTA_FAULT_POINT");
    return std::string(text == nullptr ? "" : text);
  }();
  static std::atomic<long> passes{0};
  const std::size_t colon = chosen.find(':');
  if (colon != std::string::npos && std::string_view(chosen).substr(0, colon) == name &&
      ++passes == std::strtol(chosen.c_str() + colon + 1, nullptr, 10)) {
    ::raise(SIGKILL);
  }
}

}  // namespace ota::engine

#define OTA_FAULT_POINT(name) ::ota::engine::FaultPoint(name)
#else
#define OTA_FAULT_POINT(name) static_cast<void>(0)
#endif
