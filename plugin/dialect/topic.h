// What a topic is to the dialects: whether it is one of the OTA topics, whose, and which way it
// goes. Values and string views only, so that the topic guard can use it without the rest of the
// dialects.
//
// Runs on the broker thread for every message and every access check: a topic that is not ours
// costs one comparison per prefix, and nothing here allocates. Governed by [N-1], [N-3] and [N-4].
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace ota::dialect {

// The longest uplink that is decoded; a longer one is answered 413 unseen. [N-5]
inline constexpr std::size_t kMaxUplinkBytes = 16384;

// The longest product, device or component name. [N-1]
inline constexpr std::size_t kMaxNameBytes = 64;

enum class UplinkKind { kVersion, kConfirm, kProgress, kBlock, kQuery };

// The uplink's name as a reply's `to` gives it: version, confirm, progress, block, query.
std::string_view UplinkName(UplinkKind kind);

enum class Direction {
  kNone,  // a filter that ends before it is said (ota/v1/P/D/#), or a topic of neither
  kUp,    // device to broker
  kDown,  // broker to device; only the plugin publishes there
};

// The views point into the text that was classified.
struct TopicClass {
  bool ours = false;  // inside the OTA topics of a dialect
  // Not ours, but a topic of the device's own that its cloud has for other things (properties,
  // shadow, sessions): no other device has business there.
  bool system = false;
  // Whose topic it is. Both empty: it names no device, or not as [N-1] demands; nobody but an
  // administrator has business there.
  std::string_view product;
  std::string_view device;
  Direction direction = Direction::kNone;
  // Of kUp with a device: which uplink. Absent: there is none of that name, nobody publishes it.
  std::optional<UplinkKind> kind;
};

// Whether a topic name may be of any of the kinds that a dialect knows: of all others
// ClassifyTopic() and ParseSession() say nothing. For most of a site's topics it looks at one byte.
// Any thread.
bool Concerns(std::string_view topic);

// Classifies a topic name (of a publish, a will, a delivery). Any bytes are allowed.
TopicClass ClassifyTopic(std::string_view topic);

// Classifies a subscription's filter by its text before the first wildcard, after `$share/GROUP/`.
// `ours` without a device: a wildcard, or an invalid name, stands where the device's name must.
// Source: [N-4].
TopicClass ClassifyFilter(std::string_view filter);

// Whether `name` is 1 to 64 characters of `A-Z a-z 0-9 . _ : -`. [N-1]
bool IsName(std::string_view name);

}  // namespace ota::dialect
