// Battery, signal and free space out of topics that devices publish to anyway (table `telemetry`).
// Which topics: an immutable table that the engine makes and the broker thread asks for every
// message. What is found: the engine, from the payload. Pure; any thread.
//
// Whoever the broker lets publish to such a topic is believed, as everywhere on topics that are not
// OTA's: the site's access control decides. The worst that a false value can do is to let an
// upgrade start, or wait, that would not have.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.h"
#include "store/store.h"

namespace ota::engine {

inline constexpr std::size_t kMaxTelemetryBytes = std::size_t{64} * 1024;

class TelemetryTable {
 public:
  // Rows whose topic is no topic, or lacks {device}, match nothing.
  explicit TelemetryTable(const std::vector<store::Telemetry>& rows);

  bool empty() const { return rules_.empty(); }

  // Whether a value may be in a message on `topic`. Allocates nothing.
  bool Matches(std::string_view topic) const;

  struct Reading {
    core::DeviceKey device;
    store::Measure value = store::Measure::kBattery;
    std::int64_t number = 0;
  };
  // The values in a message. One that is not a number, or out of bounds, is no reading.
  std::vector<Reading> Read(std::string_view topic, std::string_view payload) const;

 private:
  // One level of a topic: text, or text around a placeholder.
  struct Level {
    std::string before;
    std::string after;
    enum { kText, kProduct, kDevice } of = kText;
  };
  struct Rule {
    store::Telemetry row;
    std::string start;  // the text before the first placeholder
    std::vector<Level> levels;
  };
  static std::optional<Rule> Compile(const store::Telemetry& row);
  static std::optional<std::string_view> DeviceOf(const Rule& rule, std::string_view topic);

  std::vector<Rule> rules_;
};

}  // namespace ota::engine
