#include "fleet/figures.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

#include "dialect/json.h"

namespace ota::fleet {
namespace {

// Buckets: 32 for each power of two.
constexpr unsigned kBits = 5;
constexpr std::size_t kExamples = 3;

std::size_t BucketOf(std::uint64_t value) {
  const auto width = static_cast<unsigned>(std::bit_width(value));
  if (width <= kBits + 1) {
    return static_cast<std::size_t>(value);
  }
  const unsigned shift = width - kBits - 1;
  return (std::size_t{shift} << kBits) + static_cast<std::size_t>(value >> shift);
}

// The largest value of a bucket.
std::uint64_t TopOf(std::size_t bucket) {
  if (bucket < (std::size_t{2} << kBits)) {
    return bucket;
  }
  const auto shift = (bucket >> kBits) - 1;
  const auto high = bucket - (shift << kBits);
  return ((std::uint64_t{high} + 1) << shift) - 1;
}

std::string Duration(std::int64_t ns) {
  char text[32];
  const auto us = static_cast<double>(ns) / 1e3;
  if (us < 10'000) {
    std::snprintf(text, sizeof text, "%.0f us", us);
  } else if (us < 10'000'000) {
    std::snprintf(text, sizeof text, "%.1f ms", us / 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.1f s", us / 1e6);
  }
  return text;
}

}  // namespace

void Histogram::Add(std::int64_t ns) {
  const auto bucket = BucketOf(static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0)));
  if (bucket >= buckets_.size()) {
    buckets_.resize(bucket + 1);
  }
  ++buckets_[bucket];
  ++count_;
  max_ = std::max(max_, ns);
}

std::int64_t Histogram::Quantile(double share) const {
  const auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank && seen > 0) {
      return std::min(max_, static_cast<std::int64_t>(TopOf(i)));
    }
  }
  return max_;
}

std::string_view NameOf(Exchange exchange) {
  constexpr std::array<std::string_view, kExchanges> kNames = {"connect", "version",   "plan",
                                                               "confirm", "download",  "progress",
                                                               "blocks",  "http file", "upgrade"};
  return kNames.at(static_cast<std::size_t>(exchange));
}

void Figures::Count(std::string_view name, std::uint64_t more) {
  const auto place = counters.find(name);
  if (place != counters.end()) {
    place->second += more;
  } else {
    counters.emplace(name, more);
  }
}

void Figures::Wrong(std::string_view kind, const std::string& device, const std::string& detail) {
  auto& problem = problems[std::string(kind)];
  ++problem.count;
  if (problem.examples.size() < kExamples) {
    problem.examples.push_back(device + ": " + detail);
  }
}

std::string ToText(const Figures& figures) {
  std::string text;
  char line[256];
  std::snprintf(line, sizeof line, "%-12s %10s %12s %12s %12s %12s\n", "exchange", "count", "p50",
                "p99", "p99.9", "max");
  text += line;
  for (std::size_t i = 0; i < kExchanges; ++i) {
    const auto& latency = figures.latencies.at(i);
    if (latency.count() > 0) {
      std::snprintf(line, sizeof line, "%-12s %10llu %12s %12s %12s %12s\n",
                    std::string(NameOf(static_cast<Exchange>(i))).c_str(),
                    static_cast<unsigned long long>(latency.count()),
                    Duration(latency.Quantile(0.5)).c_str(),
                    Duration(latency.Quantile(0.99)).c_str(),
                    Duration(latency.Quantile(0.999)).c_str(), Duration(latency.max()).c_str());
      text += line;
    }
  }
  text += "\n";
  for (const auto& [name, count] : figures.counters) {
    std::snprintf(line, sizeof line, "%-36s %12llu\n", name.c_str(),
                  static_cast<unsigned long long>(count));
    text += line;
  }
  text += figures.problems.empty() ? "\nNothing went wrong.\n" : "\nWhat went wrong\n";
  for (const auto& [kind, problem] : figures.problems) {
    text += "  " + std::to_string(problem.count) + " x " + kind + "\n";
    for (const auto& example : problem.examples) {
      text += "      " + example + "\n";
    }
  }
  return text;
}

std::string ToJson(const Figures& figures) {
  dialect::json::Writer writer;
  writer.BeginObject().Name("latencies_us").BeginObject();
  for (std::size_t i = 0; i < kExchanges; ++i) {
    const auto& latency = figures.latencies.at(i);
    if (latency.count() == 0) {
      continue;
    }
    writer.Name(NameOf(static_cast<Exchange>(i))).BeginObject();
    writer.Name("count").Integer(static_cast<std::int64_t>(latency.count()));
    writer.Name("p50").Integer(latency.Quantile(0.5) / 1000);
    writer.Name("p99").Integer(latency.Quantile(0.99) / 1000);
    writer.Name("p999").Integer(latency.Quantile(0.999) / 1000);
    writer.Name("max").Integer(latency.max() / 1000).EndObject();
  }
  writer.EndObject().Name("counters").BeginObject();
  for (const auto& [name, count] : figures.counters) {
    writer.Name(name).Integer(static_cast<std::int64_t>(count));
  }
  writer.EndObject().Name("problems").BeginObject();
  for (const auto& [kind, problem] : figures.problems) {
    writer.Name(kind).Integer(static_cast<std::int64_t>(problem.count));
  }
  writer.EndObject().EndObject();
  return std::move(writer).text() + "\n";
}

}  // namespace ota::fleet
