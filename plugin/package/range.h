// Range and conditional requests, as pure functions. Source: RFC 9110, sections 8.8.3, 13.1 and 14.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ota::package {

struct Range {
  enum class Kind { kWhole, kPart, kUnsatisfiable };
  Kind kind = Kind::kWhole;
  std::int64_t first = 0;
  std::int64_t last = 0;  // inclusive
  bool operator==(const Range&) const = default;
};

// What the value of a `Range` header asks of a representation of `size` (at least 1) bytes.
// Anything that is not one valid byte range is the whole.
Range ParseRange(std::string_view value, std::int64_t size);

// Whether the list of entity tags `value` (If-Match, If-None-Match) has `etag` (with its quotes) or
// is
// `*`. Weak tags count when `weak`.
bool MatchesEtag(std::string_view value, std::string_view etag, bool weak);

}  // namespace ota::package
