// See unchanged.h.
#include "engine/unchanged.h"

#include <algorithm>
#include <utility>

namespace ota::engine {
namespace {

constexpr std::string_view kName = "\"id\"";
constexpr std::string_view kBlank = " \t\r\n";
constexpr std::size_t kLongestId = 64;
// Answers that are counted between two calls of TakeSeen(), a device perhaps twice.
constexpr std::size_t kMostSeen = 2 * Unchanged::kDevices;

// Text that is the same in JSON as it is read.
bool IsPlain(std::string_view id) {
  return !id.empty() && id.size() <= kLongestId && std::ranges::all_of(id, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == ':';
  });
}

}  // namespace

std::optional<Unchanged::Report> Unchanged::Split(std::string_view payload, std::string_view id) {
  const std::size_t name = payload.find(kName);
  // Without escapes the one place that reads "id" is the member's name.
  if (payload.size() > kLongest || !IsPlain(id) || name == std::string_view::npos ||
      payload.find(kName, name + 1) != std::string_view::npos ||
      payload.find('\\') != std::string_view::npos) {
    return std::nullopt;
  }
  std::size_t at = payload.find_first_not_of(kBlank, name + kName.size());
  if (at == std::string_view::npos || payload[at] != ':') {
    return std::nullopt;
  }
  at = payload.find_first_not_of(kBlank, at + 1);
  if (at == std::string_view::npos || payload[at] != '"' ||
      !payload.substr(at + 1).starts_with(std::string(id) + '"')) {
    return std::nullopt;
  }
  Report report;
  report.id = at + 1;
  report.text = payload;
  report.text.erase(report.id, id.size());
  return report;
}

void Unchanged::Keep(const core::DeviceKey& device, Report report) {
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kDevices && !entries_.contains(device)) {
    entries_.erase(entries_.begin());
  }
  entries_.insert_or_assign(device, Entry{std::move(report)});
}

std::optional<Unchanged::Seen> Unchanged::Forget(const core::DeviceKey& device) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(device);
  if (found == entries_.end()) {
    return std::nullopt;
  }
  const Entry& entry = found->second;
  std::optional<Seen> seen;
  if (entry.round == round_) {
    seen = seen_[entry.seen];
  }
  entries_.erase(found);
  return seen;
}

std::vector<Unchanged::Seen> Unchanged::Clear() {
  std::unordered_map<core::DeviceKey, Entry> entries;
  const std::lock_guard lock(mutex_);
  entries_.swap(entries);
  ++round_;
  return std::exchange(seen_, {});
}

std::vector<Unchanged::Seen> Unchanged::TakeSeen() {
  const std::lock_guard lock(mutex_);
  ++round_;
  return std::exchange(seen_, {});
}

bool Unchanged::has_seen() {
  const std::lock_guard lock(mutex_);
  return !seen_.empty();
}

std::optional<std::string> Unchanged::Repeats(const core::DeviceKey& device,
                                              std::uint64_t connection,
                                              const dialect::Dialect* dialect,
                                              std::string_view payload, core::Instant wall) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(device);
  if (found == entries_.end()) {
    return std::nullopt;
  }
  auto& [report, round, place] = found->second;
  const std::string_view text = report.text;
  if (report.connection != connection || report.dialect != dialect ||
      payload.size() <= text.size() || !payload.starts_with(text.substr(0, report.id)) ||
      !payload.ends_with(text.substr(report.id))) {
    return std::nullopt;
  }
  const std::string_view id = payload.substr(report.id, payload.size() - text.size());
  if (!IsPlain(id)) {
    return std::nullopt;
  }
  if (round == round_) {
    seen_[place].at = wall;
  } else if (seen_.size() < kMostSeen) {
    round = round_;
    place = seen_.size();
    seen_.push_back({device, wall, report.measured});
  }
  return std::string(id);
}

}  // namespace ota::engine
