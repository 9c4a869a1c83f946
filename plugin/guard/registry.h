// What the broker thread knows of devices: their secrets, whether they are disabled, behind which
// gateway they are. A value: the engine copies it, changes the copy and swaps it in; nobody changes
// one that is shared. Copies share what did not change, so that one changed device among 100,000
// costs some hundred entries.
//
// Secrets are in clear here, and only here. Must not know where they come from.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.h"

namespace ota::guard {

class Registry {
 public:
  // The views hold as long as the registry.
  struct Device {
    std::string_view secret;   // empty: none, or it cannot be decrypted
    std::string_view gateway;  // product/name; empty: none
    bool disabled = false;
    bool bound = false;  // the gateway has said that it is its, not people
  };
  using Dialects = std::map<std::string, std::string, std::less<>>;  // by product

  // Nothing: people have made no such device.
  std::optional<Device> Find(std::string_view product, std::string_view name) const;

  // Whether the device is a sub-device of `gateway`.
  bool IsBehind(std::string_view product, std::string_view name,
                const core::DeviceKey& gateway) const;

  // Empty: there is no such product.
  std::string_view DialectOf(std::string_view product) const;

  // Before it is shared. Fastest in ascending order of product and name; names as dialect::IsName.
  void Put(std::string_view product, std::string_view name, const Device& device);
  void Remove(std::string_view product, std::string_view name);
  void SetDialects(Dialects dialects);

  std::size_t size() const;

 private:
  // One text for all names and the secret: a device takes about 100 bytes.
  struct Entry {
    std::string text;
    std::uint8_t product = 0;  // lengths, in the order in which they stand in `text`
    std::uint8_t name = 0;
    std::uint8_t gateway = 0;
    bool disabled = false;
    bool bound = false;

    std::string_view Product() const;
    std::string_view Name() const;
  };
  using Shard = std::vector<Entry>;  // by product and name
  static constexpr std::size_t kShards = 512;

  Shard& Own(std::string_view product, std::string_view name);

  std::array<std::shared_ptr<Shard>, kShards> shards_;
  std::shared_ptr<const Dialects> dialects_;
};

}  // namespace ota::guard
