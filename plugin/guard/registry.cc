// See registry.h.
#include "guard/registry.h"

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>

namespace ota::guard {
namespace {

std::size_t HashOf(std::string_view product, std::string_view name) {
  const std::hash<std::string_view> hash;
  return hash(product) * 31 + hash(name);
}

}  // namespace

std::string_view Registry::Entry::Product() const {
  return std::string_view(text).substr(0, product);
}

std::string_view Registry::Entry::Name() const {
  return std::string_view(text).substr(product, name);
}

std::optional<Registry::Device> Registry::Find(std::string_view product,
                                               std::string_view name) const {
  const auto& shard = shards_[HashOf(product, name) % kShards];
  if (!shard) {
    return std::nullopt;
  }
  const std::pair key(product, name);
  const auto found = std::ranges::lower_bound(*shard, key, std::less<>(), [](const Entry& entry) {
    return std::pair(entry.Product(), entry.Name());
  });
  if (found == shard->end() || found->Product() != product || found->Name() != name) {
    return std::nullopt;
  }
  const std::string_view text = found->text;
  const std::size_t gateway = std::size_t{found->product} + found->name;
  return Device{text.substr(gateway + found->gateway), text.substr(gateway, found->gateway),
                found->disabled, found->bound};
}

bool Registry::IsBehind(std::string_view product, std::string_view name,
                        const core::DeviceKey& gateway) const {
  const auto device = Find(product, name);
  if (!device || device->gateway.size() != gateway.product.size() + 1 + gateway.device.size()) {
    return false;
  }
  return device->gateway.starts_with(gateway.product) &&
         device->gateway[gateway.product.size()] == '/' &&
         device->gateway.ends_with(gateway.device);
}

std::string_view Registry::DialectOf(std::string_view product) const {
  if (!dialects_) {
    return {};
  }
  const auto found = dialects_->find(product);
  return found == dialects_->end() ? std::string_view() : found->second;
}

// The shard, not shared with any copy.
Registry::Shard& Registry::Own(std::string_view product, std::string_view name) {
  std::shared_ptr<Shard>& shard = shards_[HashOf(product, name) % kShards];
  if (!shard) {
    shard = std::make_shared<Shard>();
  } else if (shard.use_count() > 1) {
    shard = std::make_shared<Shard>(*shard);
  }
  return *shard;
}

void Registry::Put(std::string_view product, std::string_view name, const Device& device) {
  Entry entry;
  entry.text.reserve(product.size() + name.size() + device.gateway.size() + device.secret.size());
  entry.text.append(product).append(name).append(device.gateway).append(device.secret);
  entry.product = static_cast<std::uint8_t>(product.size());
  entry.name = static_cast<std::uint8_t>(name.size());
  entry.gateway = static_cast<std::uint8_t>(device.gateway.size());
  entry.disabled = device.disabled;
  entry.bound = device.bound;
  Shard& shard = Own(product, name);
  const std::pair key(product, name);
  const auto at = std::ranges::lower_bound(shard, key, std::less<>(), [](const Entry& other) {
    return std::pair(other.Product(), other.Name());
  });
  if (at != shard.end() && at->Product() == product && at->Name() == name) {
    *at = std::move(entry);
  } else {
    shard.insert(at, std::move(entry));
  }
}

void Registry::Remove(std::string_view product, std::string_view name) {
  if (Find(product, name)) {
    std::erase_if(Own(product, name), [&](const Entry& entry) {
      return entry.Product() == product && entry.Name() == name;
    });
  }
}

void Registry::SetDialects(Dialects dialects) {
  dialects_ = std::make_shared<const Dialects>(std::move(dialects));
}

std::size_t Registry::size() const {
  std::size_t count = 0;
  for (const auto& shard : shards_) {
    count += shard ? shard->size() : 0;
  }
  return count;
}

}  // namespace ota::guard
