// What each device reported last, where it changed nothing. When the same report comes again in the
// same connection the broker thread answers it, and the engine never sees it: such a report makes
// up most of what a quiet fleet sends.
//
// Only a report for which everything that the engine would look at is as it was: no task that
// lives, no plan that any report joins (Exchange::Repeatable says what else). The engine forgets a
// device before it decides anything about it, so that an answer never comes before a message that
// was decided earlier [N-13]; it learns then when the device was answered last, as if the reports
// had come in. It forgets all of them when anybody else has written the database.
//
// Critical sections are short: the broker thread takes this lock. Must not know Mosquitto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/model.h"

namespace ota::dialect {
struct Dialect;
}

namespace ota::engine {

class Unchanged {
 public:
  static constexpr std::size_t kDevices = 131072;  // about 0.3 KiB each
  static constexpr std::size_t kLongest = 1024;    // bytes of a payload

  struct Report {
    std::uint64_t connection = 0;  // generation
    const dialect::Dialect* dialect = nullptr;
    std::string text;       // the payload but for the text of its `id`
    std::size_t id = 0;     // where that stood
    bool measured = false;  // it tells battery, signal or free space
  };

  // The JSON text of a version report that was read without complaint and has this `id`; nothing:
  // it cannot be told from another report with the same text around its `id`. Pure.
  static std::optional<Report> Split(std::string_view payload, std::string_view id);

  // A device that was answered here.
  struct Seen {
    core::DeviceKey device;
    core::Instant at;  // last
    bool measured = false;
  };

  // ---- engine thread

  void Keep(const core::DeviceKey& device, Report report);
  // Gives how the device was answered last, if TakeSeen() has not yet; it will all the same.
  std::optional<Seen> Forget(const core::DeviceKey& device);
  // Forgets all devices; gives what TakeSeen() gives.
  std::vector<Seen> Clear();
  // Those that were answered since the last call; each may be there more than once.
  std::vector<Seen> TakeSeen();

  // ---- any thread

  bool has_seen();

  // ---- broker thread

  // The `id` of `payload`, if it is the device's last report again; it counts as answered then.
  std::optional<std::string> Repeats(const core::DeviceKey& device, std::uint64_t connection,
                                     const dialect::Dialect* dialect, std::string_view payload,
                                     core::Instant wall);

 private:
  struct Entry {
    Report report;
    std::uint64_t round = 0;  // of TakeSeen() in which it was answered last
    std::size_t seen = 0;     // its place in seen_ in that round
  };

  std::mutex mutex_;
  // Protected by mutex_:
  std::unordered_map<core::DeviceKey, Entry> entries_;
  std::vector<Seen> seen_;
  std::uint64_t round_ = 1;
};

}  // namespace ota::engine
