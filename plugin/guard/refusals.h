// Failed logins: which are not looked at any more, and which of them have a line of the log. Time
// is an argument; bounded in memory, whatever clients do. Broker thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "guard/rate.h"

namespace ota::guard {

class Refusals {
 public:
  using Time = Buckets::Time;

  // `seed` keeps others from choosing names that share a bucket.
  explicit Refusals(const std::string& seed)
      : addresses_(kAddressBurst, kAddressEvery, seed),
        names_(kDeviceBurst, kDeviceEvery, seed),
        lines_(kLineBurst, kLineEvery, seed) {}

  // Whether a login as `device`, any text, from `address` is looked at: so many have failed of one
  // address, or of one device from one address, that its secret does not matter.
  bool Looks(const std::string& address, const std::string& device, Time now) const {
    return addresses_.Has(address, now) && names_.Has(Both(address, device), now);
  }
  void Failed(const std::string& address, const std::string& device, Time now) {
    addresses_.Take(address, now);
    names_.Take(Both(address, device), now);
  }

  // Whether a refusal is to be told of: how many were not since the last one that was; nothing when
  // it is not.
  std::optional<std::uint64_t> Tell(Time now) {
    if (!lines_.Has("", now)) {
      ++untold_;
      return std::nullopt;
    }
    lines_.Take("", now);
    return std::exchange(untold_, 0);
  }

 private:
  static constexpr int kAddressBurst = 200;
  static constexpr auto kAddressEvery = std::chrono::milliseconds(20);
  static constexpr int kDeviceBurst = 10;
  static constexpr auto kDeviceEvery = std::chrono::seconds(2);
  static constexpr int kLineBurst = 50;
  static constexpr auto kLineEvery = std::chrono::milliseconds(200);

  static std::string Both(const std::string& address, const std::string& device) {
    return address + "\n" + device;
  }

  Buckets addresses_;
  Buckets names_;
  Buckets lines_;  // of all together
  std::uint64_t untold_ = 0;
};

}  // namespace ota::guard
