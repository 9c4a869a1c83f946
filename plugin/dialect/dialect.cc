// The table of dialects, and what is found through it. A topic that begins with no row's prefix is
// left alone after one comparison per prefix.
#include "dialect/dialect.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/rollout.h"
#include "dialect/alibaba.h"
#include "dialect/enos.h"
#include "dialect/native.h"

namespace ota::dialect {
namespace {

constexpr Dialect kTable[] = {
    {
        .name = "native",
        .prefixes = native::kPrefixes,
        .wire = {},
        .classify = native::Classify,
        .decode = native::Decode,
        .encode = native::Encode,
        .encode_block = native::EncodeBlock,
    },
    {
        .name = "alibaba",
        .prefixes = alibaba::kPrefixes,
        .wire = alibaba::kWire,
        .confirms = false,
        .takes_over = true,
        .signature = Signature::kHmac,
        .gateways = "deviceName",
        .settle = core::seconds(2),
        .silence = core::seconds(2),
        .classify = alibaba::Classify,
        .decode = alibaba::Decode,
        .encode = alibaba::Encode,
        .encode_block = alibaba::EncodeBlock,
    },
    {
        .name = "enos",
        .prefixes = enos::kPrefixes,
        .wire = enos::kWire,
        .confirms = false,
        .single = true,
        .takes_over = true,
        .signature = Signature::kDigest,
        .gateways = "deviceKey",
        .silence = core::seconds(10),
        .classify = enos::Classify,
        .decode = enos::Decode,
        .encode = enos::Encode,
        .encode_block = enos::EncodeBlock,
    },
};

constexpr std::array<std::string_view, 5> kUplinkNames{"version", "confirm", "progress", "block",
                                                       "query"};

// What the prefixes begin with: most topics of a site begin with something else.
constexpr auto kFirstBytes = [] {
  std::array<bool, 256> first{};
  for (const Dialect& dialect : kTable) {
    for (const std::string_view prefix : dialect.prefixes) {
      first.at(static_cast<unsigned char>(prefix.front())) = true;
    }
  }
  return first;
}();

bool Begins(const Dialect& dialect, std::string_view text) {
  return std::ranges::any_of(dialect.prefixes,
                             [text](std::string_view prefix) { return text.starts_with(prefix); });
}

struct Found {
  const Dialect* dialect = nullptr;
  TopicClass topic;
};

Found Classify(std::string_view text) {
  Found system;
  for (const Dialect& dialect : kTable) {
    if (!Begins(dialect, text)) {
      continue;
    }
    const TopicClass topic = dialect.classify(text);
    if (topic.ours) {
      return {&dialect, topic};
    }
    if (topic.system) {
      system.topic = topic;
    }
  }
  return system;
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

bool Concerns(std::string_view topic) {
  return !topic.empty() && kFirstBytes.at(static_cast<unsigned char>(topic.front())) &&
         std::ranges::any_of(kTable,
                             [topic](const Dialect& dialect) { return Begins(dialect, topic); });
}

TopicClass ClassifyTopic(std::string_view topic) {
  return Classify(topic).topic;
}

namespace {

// A filter's text before its first wildcard, and whether that ends with a whole level.
struct FilterText {
  std::string_view text;
  bool whole = true;
};

FilterText BeforeWildcard(std::string_view filter) {
  constexpr std::string_view kShare = "$share/";
  if (filter.starts_with(kShare)) {
    const std::size_t group_end = filter.find('/', kShare.size());
    if (group_end == std::string_view::npos) {
      return {};
    }
    filter.remove_prefix(group_end + 1);
  }
  const std::string_view text = filter.substr(0, filter.find_first_of("+#"));
  return {text, text.size() == filter.size() || text.ends_with('/')};
}

}  // namespace

TopicClass ClassifyFilter(std::string_view filter) {
  const auto [text, whole] = BeforeWildcard(filter);
  const TopicClass topic = Classify(text).topic;
  if (whole) {
    return topic;
  }
  // The wildcard is part of a level: no valid filter. Its beginning names nobody.
  TopicClass nobody;
  nobody.ours = topic.ours;
  nobody.system = topic.system;
  return nobody;
}

bool TakesOver(std::string_view filter) {
  const Dialect* dialect = Classify(BeforeWildcard(filter).text).dialect;
  return dialect != nullptr && dialect->takes_over;
}

std::span<const Dialect> Dialects() {
  return kTable;
}

const Dialect* DialectNamed(std::string_view name) {
  const auto* const found = std::ranges::find(kTable, name, &Dialect::name);
  return found == std::end(kTable) ? nullptr : found;
}

const Dialect* FindDialect(std::string_view topic) {
  return Classify(topic).dialect;
}

std::string PushId(std::string_view task, std::string_view component, int attempt) {
  constexpr std::int64_t kLeast = 100'000'000'000'000;
  const std::string what = std::string(component) + '/' + std::to_string(attempt);
  return std::to_string(kLeast + core::StableHash(task, what) % (9 * kLeast));
}

bool IsPushId(std::string_view id) {
  return id.size() == 15 && std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<UplinkTopic> ParseUplink(std::string_view topic) {
  const TopicClass found = ClassifyTopic(topic);
  if (!found.kind) {
    return std::nullopt;
  }
  return UplinkTopic{{std::string(found.product), std::string(found.device)}, *found.kind};
}

}  // namespace ota::dialect
