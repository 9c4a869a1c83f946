// Who a client is: product and device, from the text of its credential alone, by an ordered list of
// rules in the configuration. The first rule that matches wins.
//
//   username {product}/{device}
//   clientid {device} product=meter
//   cn {device}.example product=pump
//
// Pure; nothing here knows Mosquitto or asks whether the credential is true: on an open broker an
// identity is a claim. Governed by [N-1] for what a name is.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.h"
#include "core/result.h"

namespace ota::guard {

enum class Credential { kUserName, kClientId, kCommonName };

// A pattern is literal text and up to two placeholders. A placeholder takes 1 to 64 characters of
// `A-Z a-z 0-9 . _ : -`; the first of two ends at the first occurrence of the text between them.
struct IdentityRule {
  Credential credential = Credential::kUserName;
  std::string before;                  // text before the first placeholder
  std::string between;                 // text between two; empty when there is one
  std::string after;                   // text after the last
  bool product_first = false;          // with two placeholders: {product} comes first
  std::optional<std::string> product;  // fixed; then the only placeholder is {device}
};

// Reads one rule. Fails with kInvalidArgument: the message names the rule and what is wrong.
core::Result<IdentityRule> ParseIdentityRule(std::string_view text);

// The device that `text`, the whole credential, names by this rule; nothing when it does not match.
std::optional<core::DeviceKey> Match(const IdentityRule& rule, std::string_view text);

// Gives a client's credential of a kind; empty when it has none. Called only for the kinds that the
// rules need.
using CredentialOf = std::function<std::string(Credential)>;

// The client's device by the first rule that matches.
std::optional<core::DeviceKey> Identify(const std::vector<IdentityRule>& rules,
                                        const CredentialOf& credential);

}  // namespace ota::guard
