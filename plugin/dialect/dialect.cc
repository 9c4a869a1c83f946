// The table of dialects, and what is found through it. A topic that begins with no row's prefix is
// left alone after one comparison per prefix.
#include "dialect/dialect.h"

#include <algorithm>
#include <array>
#include <string>

#include "dialect/native.h"

namespace ota::dialect {
namespace {

constexpr Dialect kTable[] = {
    {"native", native::kPrefixes, native::Classify, native::Decode, native::Encode,
     native::EncodeBlock},
};

constexpr std::array<std::string_view, 4> kUplinkNames{"version", "confirm", "progress", "block"};

struct Found {
  const Dialect* dialect = nullptr;
  TopicClass topic;
};

Found Classify(std::string_view text) {
  for (const Dialect& dialect : kTable) {
    const auto begins = [text](std::string_view prefix) { return text.starts_with(prefix); };
    if (!std::ranges::any_of(dialect.prefixes, begins)) {
      continue;
    }
    const TopicClass topic = dialect.classify(text);
    if (topic.ours) {
      return {&dialect, topic};
    }
  }
  return {};
}

}  // namespace

std::string_view UplinkName(UplinkKind kind) {
  return kUplinkNames[static_cast<std::size_t>(kind)];
}

bool IsName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, allowed);
}

TopicClass ClassifyTopic(std::string_view topic) {
  return Classify(topic).topic;
}

TopicClass ClassifyFilter(std::string_view filter) {
  constexpr std::string_view kShare = "$share/";
  if (filter.starts_with(kShare)) {
    const std::size_t group_end = filter.find('/', kShare.size());
    if (group_end == std::string_view::npos) {
      return {};
    }
    filter.remove_prefix(group_end + 1);
  }
  const std::string_view text = filter.substr(0, filter.find_first_of("+#"));
  const TopicClass topic = Classify(text).topic;
  if (text.size() == filter.size() || text.ends_with('/')) {
    return topic;
  }
  // The wildcard is part of a level: no valid filter. Its beginning names nobody.
  TopicClass nobody;
  nobody.ours = topic.ours;
  return nobody;
}

std::span<const Dialect> Dialects() {
  return kTable;
}

const Dialect* FindDialect(std::string_view topic) {
  return Classify(topic).dialect;
}

std::optional<UplinkTopic> ParseUplink(std::string_view topic) {
  const TopicClass found = ClassifyTopic(topic);
  if (!found.kind) {
    return std::nullopt;
  }
  return UplinkTopic{{std::string(found.product), std::string(found.device)}, *found.kind};
}

}  // namespace ota::dialect
