#include "package/range.h"

#include <algorithm>
#include <limits>

namespace ota::package {
namespace {

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return text;
}

// Digits as a number that stops at the largest; nothing for anything else.
std::optional<std::int64_t> Saturated(std::string_view digits) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (digits.empty()) {
    return std::nullopt;
  }
  std::int64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') {
      return std::nullopt;
    }
    value = value > (kMax - 9) / 10 ? kMax : value * 10 + (c - '0');
  }
  return value;
}

bool HasBytesUnit(std::string_view unit) {
  constexpr std::string_view kUnit = "bytes";
  return std::equal(unit.begin(), unit.end(), kUnit.begin(), kUnit.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

}  // namespace

Range ParseRange(std::string_view value, std::int64_t size) {
  const Range whole{Range::Kind::kWhole, 0, size - 1};
  const std::size_t equals = value.find('=');
  if (equals == std::string_view::npos || !HasBytesUnit(value.substr(0, equals))) {
    return whole;
  }
  const std::string_view spec = Trimmed(value.substr(equals + 1));
  const std::size_t dash = spec.find('-');
  if (dash == std::string_view::npos) {
    return whole;
  }
  const std::string_view before = spec.substr(0, dash);
  const std::string_view behind = spec.substr(dash + 1);
  const std::optional<std::int64_t> first = Saturated(before);
  const std::optional<std::int64_t> last = Saturated(behind);
  if ((!first && !before.empty()) || (!last && !behind.empty()) || (!first && !last) ||
      (first && last && *last < *first)) {
    return whole;
  }
  if (first ? *first >= size : *last == 0) {
    return {Range::Kind::kUnsatisfiable, 0, 0};
  }
  if (!first) {
    return {Range::Kind::kPart, size - std::min(*last, size), size - 1};
  }
  return {Range::Kind::kPart, *first, std::min(last.value_or(size - 1), size - 1)};
}

bool MatchesEtag(std::string_view value, std::string_view etag, bool weak) {
  if (Trimmed(value) == "*") {
    return true;
  }
  // Our tags hold no comma, so that a comma inside another's tag cannot make it look like ours: a
  // part must begin and end with its quotes.
  for (std::size_t start = 0; start <= value.size();) {
    const std::size_t end = std::min(value.find(',', start), value.size());
    std::string_view tag = Trimmed(value.substr(start, end - start));
    if (weak && tag.substr(0, 2) == "W/") {
      tag.remove_prefix(2);
    }
    if (tag == etag) {
      return true;
    }
    start = end + 1;
  }
  return false;
}

}  // namespace ota::package
