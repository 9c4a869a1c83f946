// Any bytes as a gateway's request for its sub-devices, and as its topic: what is accepted holds to
// the rules, written out it is read as the same, and every answer to it is JSON that fits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "dialect/json.h"
#include "dialect/session.h"
#include "fuzz/check.h"

namespace ota::dialect {
namespace {

using fuzz::Check;

bool LogsOut(SessionAct act) {
  return act == SessionAct::kLogout || act == SessionAct::kLogoutList ||
         act == SessionAct::kTopoDelete;
}

// As a gateway would send it. Texts in which nothing had to be escaped or replaced.
std::string Written(SessionAct act, const SessionRequest& request) {
  json::Writer out;
  const auto members = [&out, act](const SubDevice& device, bool key, bool common) {
    if (key) {
      out.Name("productKey").Text(device.key.product).Name("deviceKey").Text(device.key.device);
      out.Name("sign").Text(device.sign);
    }
    if (common && !LogsOut(act)) {
      out.Name("clientId").Text(device.client_id).Name("timestamp").Text(device.timestamp);
      out.Name("signMethod").Text(device.sign_method);
    }
  };
  out.BeginObject().Name("id").Text(request.id).Name("params");
  const bool batch = act == SessionAct::kLoginBatch;
  const bool list = act == SessionAct::kLoginList;
  const bool array = IsTopology(act) || act == SessionAct::kLogoutList;
  if (!array) {
    out.BeginObject();
  }
  if (!array && !list) {
    members(request.devices.front(), !batch, true);
  }
  if (batch || list || array) {
    if (batch || list) {
      out.Name(batch ? "subDevices" : "deviceList");
    }
    out.BeginArray();
    for (const SubDevice& device : request.devices) {
      out.BeginObject();
      members(device, true, !batch);
      out.EndObject();
    }
    out.EndArray();
  }
  if (!array) {
    out.EndObject();
  }
  out.EndObject();
  return std::move(out).text();
}

bool Same(const SessionRequest& one, const SessionRequest& other) {
  return one.id == other.id &&
         std::ranges::equal(one.devices, other.devices, [](const SubDevice& a, const SubDevice& b) {
           return std::tie(a.key, a.sign, a.client_id, a.timestamp, a.sign_method) ==
                  std::tie(b.key, b.sign, b.client_id, b.timestamp, b.sign_method);
         });
}

void CheckRequest(SessionAct act, std::string_view payload) {
  const auto request = DecodeSession(act, payload);
  const SessionTopic topic{"pkG", "dkG", act, false};
  if (!request) {
    Check(!request.error().message.empty(), "a reason");
    return;
  }
  Check(request->devices.empty() == (act == SessionAct::kTopoGet) &&
            request->devices.size() <= kMaxSubDevices,
        "1 to 200 devices");
  Check((act != SessionAct::kLogin && act != SessionAct::kLogout) || request->devices.size() == 1,
        "one but in a batch");
  // The writer replaces control characters, once; a longer text than may be sent is none.
  const auto written = DecodeSession(act, Written(act, *request));
  if (written) {
    const auto twice = DecodeSession(act, Written(act, *written));
    Check(twice && Same(*twice, *written), "written out it is read as the same");
  } else {
    Check(Written(act, *request).size() > kMaxUplinkBytes, "written out it is accepted");
  }
  std::vector<SubResult> results;
  for (const SubDevice& device : request->devices) {
    Check(IsName(device.key.product) && IsName(device.key.device), "valid names");
    Check(LogsOut(act) || !device.sign.empty(), "a sign");
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
  for (const SessionAct act : {SessionAct::kLogin, SessionAct::kLoginBatch, SessionAct::kLoginList,
                               SessionAct::kLogout, SessionAct::kLogoutList, SessionAct::kTopoAdd,
                               SessionAct::kTopoDelete, SessionAct::kTopoGet}) {
    ota::dialect::CheckRequest(act, text);
  }
  if (const auto topic = ota::dialect::ParseSession(text)) {
    ota::fuzz::Check(ota::dialect::IsName(topic->product) && ota::dialect::IsName(topic->device),
                     "valid names");
  }
  return 0;
}
