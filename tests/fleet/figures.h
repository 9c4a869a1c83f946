// What a run is judged by: latencies of each kind of exchange, counters, and what went wrong with
// the first examples of each. Values only. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ota::fleet {

// Durations in nanoseconds, kept to within 3 %.
class Histogram {
 public:
  void Add(std::int64_t ns);
  std::uint64_t count() const { return count_; }
  std::int64_t max() const { return max_; }
  // The value that `share` (0 to 1) of all do not exceed; 0 when there is none.
  std::int64_t Quantile(double share) const;

 private:
  std::vector<std::uint32_t> buckets_;
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
};

enum class Exchange {
  kConnect,   // TCP connect to SUBACK (CONNACK where the session was kept)
  kVersion,   // report to its reply, sendings anew included
  kPlan,      // report to the offer that it caused
  kConfirm,   // to its reply
  kDownload,  // acceptance to the download that it caused
  kProgress,  // to its reply
  kBlocks,    // block request to its last block
  kHttp,      // one file
  kUpgrade,   // offer to the reply to the report that proves it
};
inline constexpr std::size_t kExchanges = 9;
std::string_view NameOf(Exchange exchange);

struct Problem {
  std::uint64_t count = 0;
  std::vector<std::string> examples;  // DEVICE: TEXT
};

struct Figures {
  std::array<Histogram, kExchanges> latencies;
  std::map<std::string, std::uint64_t, std::less<>> counters;
  std::map<std::string, Problem, std::less<>> problems;

  void Took(Exchange exchange, std::int64_t ns) {
    latencies.at(static_cast<std::size_t>(exchange)).Add(ns);
  }
  void Count(std::string_view name, std::uint64_t more = 1);
  // `kind` groups; `detail` may differ from case to case.
  void Wrong(std::string_view kind, const std::string& device, const std::string& detail);
};

// For people: three tables.
std::string ToText(const Figures& figures);
// For programs: {"latencies_us":{...},"counters":{...},"problems":{...}}
std::string ToJson(const Figures& figures);

}  // namespace ota::fleet
