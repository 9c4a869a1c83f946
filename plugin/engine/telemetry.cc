#include "engine/telemetry.h"

#include <algorithm>
#include <cmath>

#include "dialect/json.h"
#include "dialect/topic.h"

namespace ota::engine {
namespace {

constexpr std::string_view kProduct = "{product}";
constexpr std::string_view kDevice = "{device}";

// Takes the text up to the next '/' off `rest`.
std::string_view TakeLevel(std::string_view& rest, bool& more) {
  const std::size_t slash = rest.find('/');
  const std::string_view level = rest.substr(0, slash);
  more = slash != std::string_view::npos;
  rest = more ? rest.substr(slash + 1) : std::string_view();
  return level;
}

std::optional<std::int64_t> Bounded(store::Measure value, double number) {
  const auto within = [&](double low, double high) {
    return number >= low && number <= high ? std::optional(std::int64_t{std::llround(number)})
                                           : std::nullopt;
  };
  switch (value) {
    case store::Measure::kBattery:
      return within(0, 100);
    case store::Measure::kSignal:
      return within(-200, 0);
    case store::Measure::kFreeBytes:
      return within(0, static_cast<double>(dialect::json::kMaxInteger));
  }
  return std::nullopt;
}

}  // namespace

TelemetryTable::TelemetryTable(const std::vector<store::Telemetry>& rows) {
  for (const store::Telemetry& row : rows) {
    if (auto rule = Compile(row)) {
      rules_.push_back(std::move(*rule));
    }
  }
}

std::optional<TelemetryTable::Rule> TelemetryTable::Compile(const store::Telemetry& row) {
  Rule rule;
  rule.row = row;
  rule.start = row.topic.substr(0, row.topic.find('{'));
  bool more = true;
  int devices = 0;
  for (std::string_view rest = row.topic; more;) {
    const std::string_view text = TakeLevel(rest, more);
    Level level;
    const std::size_t device = text.find(kDevice);
    const std::size_t product = text.find(kProduct);
    const std::size_t at = std::min(device, product);
    if (at == std::string_view::npos) {
      level.before = text;
    } else {
      level.of = at == device ? Level::kDevice : Level::kProduct;
      const std::size_t length = at == device ? kDevice.size() : kProduct.size();
      level.before = text.substr(0, at);
      level.after = text.substr(at + length);
      devices += at == device ? 1 : 0;
    }
    const std::string_view literal = level.after.empty() ? level.before : level.after;
    if (literal.find_first_of("{}+#") != std::string_view::npos) {
      return std::nullopt;
    }
    rule.levels.push_back(std::move(level));
  }
  return devices == 1 ? std::optional(std::move(rule)) : std::nullopt;
}

std::optional<std::string_view> TelemetryTable::DeviceOf(const Rule& rule, std::string_view topic) {
  if (!topic.starts_with(rule.start)) {
    return std::nullopt;
  }
  std::optional<std::string_view> device;
  bool more = true;
  for (const Level& level : rule.levels) {
    if (!more) {
      return std::nullopt;
    }
    const std::string_view text = TakeLevel(topic, more);
    if (level.of == Level::kText) {
      if (text != level.before) {
        return std::nullopt;
      }
      continue;
    }
    if (text.size() < level.before.size() + level.after.size() || !text.starts_with(level.before) ||
        !text.ends_with(level.after)) {
      return std::nullopt;
    }
    const std::string_view name =
        text.substr(level.before.size(), text.size() - level.before.size() - level.after.size());
    if (!dialect::IsName(name) || (level.of == Level::kProduct && name != rule.row.product)) {
      return std::nullopt;
    }
    if (level.of == Level::kDevice) {
      device = name;
    }
  }
  return more ? std::nullopt : device;
}

bool TelemetryTable::Matches(std::string_view topic) const {
  return std::ranges::any_of(rules_,
                             [&](const Rule& rule) { return DeviceOf(rule, topic).has_value(); });
}

std::vector<TelemetryTable::Reading> TelemetryTable::Read(std::string_view topic,
                                                          std::string_view payload) const {
  std::vector<Reading> readings;
  for (const Rule& rule : rules_) {
    const std::optional<std::string_view> device = DeviceOf(rule, topic);
    if (!device) {
      continue;
    }
    const std::optional<double> number =
        dialect::json::NumberAt(payload, rule.row.path, kMaxTelemetryBytes);
    const std::optional<std::int64_t> value =
        number ? Bounded(rule.row.value, *number) : std::nullopt;
    if (value) {
      readings.push_back({{rule.row.product, std::string(*device)}, rule.row.value, *value});
    }
  }
  return readings;
}

}  // namespace ota::engine
