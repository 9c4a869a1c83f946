// Any bytes as a gateway's request for its sub-devices, and as its topic: what is accepted holds to
// the rules, and every answer to it is JSON that fits.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/json.h"
#include "dialect/session.h"
#include "fuzz/check.h"

namespace ota::dialect {
namespace {

using fuzz::Check;

void CheckRequest(SessionAct act, std::string_view payload) {
  const auto request = DecodeSession(act, payload);
  const SessionTopic topic{"pkG", "dkG", act, false};
  if (!request) {
    Check(!request.error().message.empty(), "a reason");
    return;
  }
  Check(!request->devices.empty() && request->devices.size() <= kMaxSubDevices, "1 to 200 devices");
  Check(act == SessionAct::kLoginBatch || request->devices.size() == 1, "one but in a batch");
  std::vector<SubResult> results;
  for (const SubDevice& device : request->devices) {
    Check(IsName(device.key.product) && IsName(device.key.device), "valid names");
    Check(act == SessionAct::kLogout || !device.sign.empty(), "a sign");
    results.push_back({device.key, SessionCode::kWrongSign});
  }
  const Encoded reply = EncodeSession(topic, request->id, results);
  const auto again = ParseSession(reply.topic);
  Check(again && again->reply && again->act == act, "the reply's topic");
  const auto parsed = json::Parse(reply.payload, reply.payload.size());
  Check(parsed.has_value(), "the reply is JSON");
  const auto* id = json::Find(*parsed->As<json::Object>(), "id");
  Check(id != nullptr && id->As<std::string>() != nullptr, "the id is text");
}

}  // namespace
}  // namespace ota::dialect

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using ota::dialect::SessionAct;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a payload is.
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const SessionAct act : {SessionAct::kLogin, SessionAct::kLoginBatch, SessionAct::kLogout}) {
    ota::dialect::CheckRequest(act, text);
  }
  if (const auto topic = ota::dialect::ParseSession(text)) {
    ota::fuzz::Check(ota::dialect::IsName(topic->product) && ota::dialect::IsName(topic->device),
                     "valid names");
  }
  return 0;
}
