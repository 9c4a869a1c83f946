#include "engine/windows.h"

#include <algorithm>
#include <exception>

#include <date/tz.h>

namespace ota::engine {
namespace {

using std::chrono::minutes;

constexpr minutes kDay{24 * 60};

// Null: there is no database of zones.
const date::time_zone* ZoneNamed(const std::string& name) {
  try {
    if (!name.empty()) {
      return date::locate_zone(name);
    }
  } catch (const std::exception&) {
  }
  try {
    return date::current_zone();
  } catch (const std::exception&) {
    return nullptr;
  }
}

// What the zone says of one moment: its offset, and until when that holds.
struct Offset {
  core::Duration offset{0};
  core::Instant until = core::Instant::max();
};

Offset OffsetAt(const date::time_zone* zone, core::Instant at) {
  if (zone == nullptr) {
    return {};
  }
  const date::sys_info info = zone->get_info(at);
  // The last one ends beyond what milliseconds can hold.
  const bool ends = info.end < std::chrono::floor<core::seconds>(core::Instant::max());
  return {info.offset, ends ? core::Instant(info.end) : core::Instant::max()};
}

core::Duration TimeOfDay(core::Instant local) {
  return local - std::chrono::floor<date::days>(local);
}

bool Contains(const core::Window& window, core::Duration time) {
  const minutes from = window.from % kDay;
  const minutes to = window.to % kDay;
  return from < to ? time >= from && time < to : from == to || time >= from || time < to;
}

}  // namespace

bool IsOpen(const core::Window& window, core::Instant wall) {
  const Offset offset = OffsetAt(ZoneNamed(window.zone), wall);
  return Contains(window, TimeOfDay(wall + offset.offset));
}

std::optional<core::Instant> NextFlip(const core::Window& window, core::Instant wall) {
  if (window.from % kDay == window.to % kDay) {
    return std::nullopt;
  }
  // Each step goes to the next bound of the window or to the next change of the clock. A day has at
  // most two of the one, and the state changes within two days.
  constexpr int kSteps = 16;
  const date::time_zone* zone = ZoneNamed(window.zone);
  const bool open = Contains(window, TimeOfDay(wall + OffsetAt(zone, wall).offset));
  core::Instant at = wall;
  for (int step = 0; step < kSteps; ++step) {
    const Offset offset = OffsetAt(zone, at);
    const core::Duration time = TimeOfDay(at + offset.offset);
    const auto until = [&](minutes bound) {
      const core::Duration left = bound % kDay - time;
      return left > core::Duration(0) ? left : left + kDay;
    };
    at = std::min(at + std::min(until(window.from), until(window.to)), offset.until);
    if (Contains(window, TimeOfDay(at + OffsetAt(zone, at).offset)) != open) {
      return at;
    }
  }
  return std::nullopt;
}

std::vector<std::string> ZoneNames() {
  std::vector<std::string> names;
  try {
    for (const date::time_zone& zone : date::get_tzdb().zones) {
      names.push_back(zone.name());
    }
  } catch (const std::exception&) {
    names.clear();
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace ota::engine
