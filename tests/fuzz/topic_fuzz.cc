// Any bytes as a topic and as a filter: what is found in them lies inside them, is a valid name,
// and is all that the text says.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "dialect/dialect.h"
#include "fuzz/check.h"

namespace ota::dialect {
namespace {

using fuzz::Check;

bool Inside(std::string_view part, std::string_view text) {
  const std::less_equal<const char*> before;
  return part.empty() || (before(text.data(), part.data()) &&
                          before(part.data() + part.size(), text.data() + text.size()));
}

void CheckClass(const TopicClass& found, std::string_view text) {
  Check(Inside(found.product, text) && Inside(found.device, text), "views into the text");
  Check(found.product.empty() == found.device.empty(), "both names or none");
  Check(found.device.empty() || (IsName(found.product) && IsName(found.device)), "valid names");
  Check(found.ours || found.device.empty(), "only ours have names");
  Check(!found.device.empty() || found.direction == Direction::kNone, "no name, no direction");
  Check(!found.kind || found.direction == Direction::kUp, "only uplinks have a kind");
}

void CheckTopic(std::string_view topic) {
  const TopicClass found = ClassifyTopic(topic);
  CheckClass(found, topic);
  Check(found.ours == topic.starts_with("ota/v1/"), "ours by prefix");
  Check(found.ours == (FindDialect(topic) != nullptr), "a dialect for ours");
  const auto uplink = ParseUplink(topic);
  Check(uplink.has_value() == found.kind.has_value(), "an uplink has a kind");
  if (uplink) {
    Check("ota/v1/" + uplink->device.product + "/" + uplink->device.device + "/up/" +
                  std::string(UplinkName(uplink->kind)) ==
              topic,
          "the whole topic is said");
  }
}

void CheckFilter(std::string_view filter) {
  const TopicClass found = ClassifyFilter(filter);
  CheckClass(found, filter);
  if (!found.device.empty()) {
    const std::string own =
        "ota/v1/" + std::string(found.product) + "/" + std::string(found.device);
    const std::size_t start = filter.find(own);
    Check(
        start != std::string_view::npos && filter.find_first_of("+#", start) >= start + own.size(),
        "no wildcard in the names");
  }
  if (!filter.starts_with("$share/") && filter.find_first_of("+#") == std::string_view::npos) {
    const TopicClass topic = ClassifyTopic(filter);
    Check(topic.ours == found.ours && topic.device == found.device && topic.kind == found.kind,
          "a filter without wildcards is a topic");
  }
}

}  // namespace
}  // namespace ota::dialect

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a topic is.
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  ota::dialect::CheckTopic(text);
  ota::dialect::CheckFilter(text);
  return 0;
}
