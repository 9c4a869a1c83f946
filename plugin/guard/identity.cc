// See identity.h.
#include "guard/identity.h"

#include <algorithm>
#include <utility>

#include "dialect/topic.h"

namespace ota::guard {
namespace {

constexpr std::string_view kProduct = "{product}";
constexpr std::string_view kDevice = "{device}";
constexpr std::string_view kFixed = "product=";

// Cuts the next word, up to blanks, from the front of `text`.
std::string_view NextWord(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  const std::string_view word = text.substr(0, std::min(text.find_first_of(" \t"), text.size()));
  text.remove_prefix(word.size());
  return word;
}

bool HasBrace(std::string_view text) {
  return text.find_first_of("{}") != std::string_view::npos;
}

}  // namespace

core::Result<IdentityRule> ParseIdentityRule(std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    return core::Fail(core::ErrorCode::kInvalidArgument,
                      "identity '" + std::string(text) + "': " + std::string(reason));
  };
  std::string_view rest = text;
  const std::string_view credential = NextWord(rest);
  const std::string_view pattern = NextWord(rest);
  const std::string_view fixed = NextWord(rest);
  if (!NextWord(rest).empty()) {
    return fail("must be CREDENTIAL PATTERN [product=NAME]");
  }

  IdentityRule rule;
  if (credential == "username") {
    rule.credential = Credential::kUserName;
  } else if (credential == "clientid") {
    rule.credential = Credential::kClientId;
  } else if (credential == "cn") {
    rule.credential = Credential::kCommonName;
  } else {
    return fail("must begin with username, clientid or cn");
  }

  const std::size_t device = pattern.find(kDevice);
  if (device == std::string_view::npos) {
    return fail("the pattern must contain {device}");
  }
  const std::size_t device_end = device + kDevice.size();
  const std::size_t product = pattern.find(kProduct);
  if (product == std::string_view::npos) {
    if (!fixed.starts_with(kFixed)) {
      return fail("the pattern must contain {product}, or product=NAME must follow it");
    }
    rule.product = std::string(fixed.substr(kFixed.size()));
    if (!dialect::IsName(*rule.product)) {
      return fail("the product must be 1 to 64 characters of A-Z a-z 0-9 . _ : -");
    }
    rule.before = pattern.substr(0, device);
    rule.after = pattern.substr(device_end);
  } else {
    if (!fixed.empty()) {
      return fail("{product} and product=NAME exclude each other");
    }
    const std::size_t product_end = product + kProduct.size();
    rule.product_first = product < device;
    rule.before = pattern.substr(0, std::min(product, device));
    rule.between = rule.product_first ? pattern.substr(product_end, device - product_end)
                                      : pattern.substr(device_end, product - device_end);
    rule.after = pattern.substr(std::max(product_end, device_end));
    if (rule.between.empty()) {
      return fail("there must be text between {product} and {device}");
    }
  }
  if (HasBrace(rule.before) || HasBrace(rule.between) || HasBrace(rule.after)) {
    return fail("{product} and {device} may stand once, and no other braces");
  }
  return rule;
}

std::optional<core::DeviceKey> Match(const IdentityRule& rule, std::string_view text) {
  if (text.size() < rule.before.size() + rule.after.size() || !text.starts_with(rule.before) ||
      !text.ends_with(rule.after)) {
    return std::nullopt;
  }
  text.remove_prefix(rule.before.size());
  text.remove_suffix(rule.after.size());
  std::string_view product;
  std::string_view device;
  if (rule.product) {
    product = *rule.product;
    device = text;
  } else {
    const std::size_t at = text.find(rule.between);
    if (at == std::string_view::npos) {
      return std::nullopt;
    }
    product = text.substr(0, at);
    device = text.substr(at + rule.between.size());
    if (!rule.product_first) {
      std::swap(product, device);
    }
  }
  if (!dialect::IsName(product) || !dialect::IsName(device)) {
    return std::nullopt;
  }
  return core::DeviceKey{std::string(product), std::string(device)};
}

std::optional<core::DeviceKey> Identify(const std::vector<IdentityRule>& rules,
                                        const CredentialOf& credential) {
  for (const IdentityRule& rule : rules) {
    const std::string text = credential(rule.credential);
    if (auto device = Match(rule, text)) {
      return device;
    }
  }
  return std::nullopt;
}

}  // namespace ota::guard
