// Any bytes as a topic and as a filter: what is found in them lies inside them, is a valid name,
// and is all that the text says.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "dialect/dialect.h"
#include "dialect/session.h"
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
  Check(found.ours || found.system || found.device.empty(), "only devices' topics have names");
  Check(!(found.ours && found.system), "one or the other");
  Check(!found.device.empty() || found.direction == Direction::kNone, "no name, no direction");
  Check(!found.kind || found.direction == Direction::kUp, "only uplinks have a kind");
}

void CheckTopic(std::string_view topic) {
  const TopicClass found = ClassifyTopic(topic);
  CheckClass(found, topic);
  Check(Concerns(topic) || (!found.ours && !found.system && !ParseSession(topic)),
        "what does not concern anybody is nobody's");
  if (topic.starts_with("ota/v1/") || topic.starts_with("/ota/device/")) {
    Check(found.ours, "ours by prefix");
  } else if (found.ours) {
    Check(topic.starts_with("/sys/"), "nothing else is ours");
  }
  Check(found.ours == (FindDialect(topic) != nullptr), "a dialect for ours");
  const auto uplink = ParseUplink(topic);
  Check(uplink.has_value() == found.kind.has_value(), "an uplink has a kind");
  if (uplink) {
    const std::string names = uplink->device.product + "/" + uplink->device.device;
    const std::string name(UplinkName(uplink->kind));
    bool said = topic == "ota/v1/" + names + "/up/" + name;
    for (const char* before :
         {"/ota/device/inform/", "/ota/device/request/", "/ota/device/progress/"}) {
      said = said || topic == before + names;
    }
    for (const char* after :
         {"/thing/ota/firmware/get", "/thing/file/download", "/ota/device/inform",
          "/ota/device/progress", "/ota/device/getversion", "/ota/device/upgrade_reply"}) {
      said = said || topic == "/sys/" + names + after;
    }
    Check(said, "the whole topic is said");
  }
}

void CheckFilter(std::string_view filter) {
  const TopicClass found = ClassifyFilter(filter);
  CheckClass(found, filter);
  if (!found.device.empty()) {
    const auto at = [filter](const char* place) {
      return static_cast<std::size_t>(place - filter.data());
    };
    Check(filter.find_first_of("+#", at(found.product.data())) >=
              at(found.device.data() + found.device.size()),
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
