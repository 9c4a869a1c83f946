// See session.h.
#include "dialect/session.h"

#include <algorithm>
#include <utility>

#include "dialect/envelope.h"
#include "dialect/json.h"

namespace ota::dialect {
namespace {

constexpr std::string_view kSession = "/ext/session/";
constexpr std::string_view kSys = "/sys/";
constexpr std::string_view kReply = "_reply";

struct Row {
  std::string_view prefix;
  std::string_view end;
};
constexpr Row kActs[] = {
    // by SessionAct
    {kSession, "combine/login"},        {kSession, "combine/login/batch"},
    {kSession, "combine/batch_login"},  {kSession, "combine/logout"},
    {kSession, "combine/batch_logout"}, {kSys, "thing/topo/add"},
    {kSys, "thing/topo/delete"},        {kSys, "thing/topo/get"},
};

const char* MessageOf(SessionCode code) {
  switch (code) {
    case SessionCode::kOk:
      return "";
    case SessionCode::kDisabled:
      return "Device is disable";
    case SessionCode::kOtherGateway:
      return "Sub device not belong the gateway";
    case SessionCode::kWrongSign:
      return "Sign check failed";
    case SessionCode::kTooMany:
      return "Too many sub-devices, or too many logins at a time";
    case SessionCode::kFixed:
      return "People have said that the sub device belongs the gateway";
    case SessionCode::kMalformed:
      return "payload format error";
    case SessionCode::kUnavailable:
      return "not now";
  }
  return "";
}

// Text, or a number as it stands; empty for anything else.
std::string Member(const json::Object& object, std::string_view name) {
  return TextOf(json::Find(object, name)).value_or("");
}

void WritePair(json::Writer& out, std::string_view word, const core::DeviceKey& device) {
  out.Name("productKey").Text(device.product).Name(word).Text(device.device);
}

bool LogsOut(SessionAct act) {
  return act == SessionAct::kLogout || act == SessionAct::kLogoutList ||
         act == SessionAct::kTopoDelete;
}

}  // namespace

bool IsTopology(SessionAct act) {
  return act >= SessionAct::kTopoAdd;
}

std::optional<SessionTopic> ParseSession(std::string_view topic) {
  const std::string_view prefix = topic.starts_with(kSession) ? kSession : kSys;
  if (!topic.starts_with(prefix)) {
    return std::nullopt;
  }
  topic.remove_prefix(prefix.size());
  SessionTopic session;
  for (std::string_view* name : {&session.product, &session.device}) {
    const std::size_t slash = topic.find('/');
    if (slash == std::string_view::npos || !IsName(topic.substr(0, slash))) {
      return std::nullopt;
    }
    *name = topic.substr(0, slash);
    topic.remove_prefix(slash + 1);
  }
  session.reply = topic.ends_with(kReply);
  topic.remove_suffix(session.reply ? kReply.size() : 0);
  const Row* const found = std::ranges::find_if(
      kActs, [&](const Row& row) { return row.prefix == prefix && row.end == topic; });
  if (found == std::end(kActs)) {
    return std::nullopt;
  }
  session.act = static_cast<SessionAct>(found - std::begin(kActs));
  return session;
}

tl::expected<SessionRequest, SessionError> DecodeSession(SessionAct act, std::string_view payload) {
  SessionRequest request;
  const auto fail = [&](std::string message) {
    return tl::unexpected(SessionError{request.id, std::move(message)});
  };
  // Numbers keep their text: a time may have a fraction, and is signed as it stands.
  const auto parsed = json::Parse(payload, kMaxUplinkBytes, json::Form::kTolerant);
  if (!parsed) {
    return fail(parsed.error());
  }
  const auto* root = parsed->As<json::Object>();
  if (root == nullptr) {
    return fail("must be an object");
  }
  request.id = Member(*root, "id");
  if (act == SessionAct::kTopoGet) {
    return request;
  }
  const json::Value* value = json::Find(*root, "params");
  const auto* params = value == nullptr ? nullptr : value->As<json::Object>();
  const bool alone = act == SessionAct::kLogin || act == SessionAct::kLogout;
  const char* list_name = "params";
  if (!IsTopology(act) && act != SessionAct::kLogoutList) {
    if (params == nullptr) {
      return fail("params: must be an object");
    }
    const bool batch = act == SessionAct::kLoginBatch;
    value = alone ? nullptr : json::Find(*params, batch ? "subDevices" : "deviceList");
    list_name = batch ? "params.subDevices" : "params.deviceList";
  }
  // In a batch clientId, timestamp and signMethod are said once.
  const auto add = [&](const json::Object& one, const json::Object& common) {
    const std::string_view word = json::Find(one, "deviceName") ? "deviceName" : "deviceKey";
    SubDevice device{{Member(one, "productKey"), Member(one, word)},
                     Member(one, "sign"),
                     Member(common, "clientId"),
                     Member(common, "timestamp"),
                     Member(common, "signMethod")};
    if (device.sign_method.empty()) {
      device.sign_method = Member(common, "signmethod");  // as the SDK for C spells it here
    }
    if (device.sign_method.empty() && params != nullptr) {
      device.sign_method = Member(*params, "signMethod");  // and says it once for a list of logins
    }
    request.devices.push_back(std::move(device));
    const SubDevice& added = request.devices.back();
    return IsName(added.key.product) && IsName(added.key.device) &&
           (LogsOut(act) ||
            (!added.sign.empty() && !added.timestamp.empty() && !added.sign_method.empty()));
  };
  constexpr const char* kRule =
      "productKey, deviceKey, sign, timestamp and signMethod: must be texts";
  if (alone) {
    return add(*params, *params) ? tl::expected<SessionRequest, SessionError>(request)
                                 : fail(kRule);
  }
  const auto* list = value == nullptr ? nullptr : value->As<json::Array>();
  if (list == nullptr || list->empty() || list->size() > kMaxSubDevices) {
    return fail(std::string(list_name) + ": must be an array of 1 to 200 devices");
  }
  for (const json::Value& one : *list) {
    const auto* object = one.As<json::Object>();
    if (object == nullptr || !add(*object, act == SessionAct::kLoginBatch ? *params : *object)) {
      return fail(kRule);
    }
  }
  return request;
}

Encoded EncodeSession(const SessionTopic& topic, std::string_view id,
                      std::span<const SubResult> results, SessionCode code,
                      std::string_view message) {
  Encoded encoded;
  const Row& row = kActs[static_cast<std::size_t>(topic.act)];
  encoded.topic = std::string(row.prefix) + std::string(topic.product) + "/" +
                  std::string(topic.device) + "/" + std::string(row.end) + std::string(kReply);
  const bool is_alibaba = topic.word == "deviceName";
  encoded.addressed = true;
  const auto tell = [is_alibaba](SessionCode said) {
    return is_alibaba && said == SessionCode::kOk ? "success" : MessageOf(said);
  };
  std::string text(message.empty() ? tell(code) : message);
  json::Writer out;
  out.BeginObject().Name("id").Text(id);
  if (topic.act == SessionAct::kLoginBatch) {
    const auto part = [&](const char* name, bool good) {
      out.Name(name).BeginArray();
      for (const SubResult& one : results) {
        if ((one.code == SessionCode::kOk) == good) {
          out.BeginObject();
          WritePair(out, topic.word, one.device);
          out.EndObject();
        }
      }
      out.EndArray();
    };
    for (const SubResult& one : results) {
      if (one.code != SessionCode::kOk) {
        code = SessionCode::kDisabled;
        text += one.device.product + "&" + one.device.device +
                " has error: " + MessageOf(one.code) + ";";
      }
    }
    out.Name("code").Integer(static_cast<int>(code)).Name("data").BeginObject();
    part("loginedSubDevices", true);
    part("failedSubDevices", false);
  } else if (topic.act == SessionAct::kTopoGet || topic.act == SessionAct::kLoginList ||
             topic.act == SessionAct::kLogoutList) {
    const auto bad = std::ranges::find_if(results, [&](const SubResult& one) {
      return topic.act != SessionAct::kTopoGet && one.code != SessionCode::kOk;
    });
    if (bad != results.end()) {
      code = bad->code;
      text = MessageOf(code);
    }
    out.Name("code").Integer(static_cast<int>(code)).Name("data").BeginArray();
    for (const SubResult& one : results) {
      if (bad == results.end() || one.code != SessionCode::kOk) {
        out.BeginObject();
        WritePair(out, topic.word, one.device);
        out.EndObject();
      }
    }
    out.EndArray().Name("message").Text(text).EndObject();
    encoded.payload = std::move(out).text();
    return encoded;
  } else if (IsTopology(topic.act)) {
    // All or none.
    for (const SubResult& one : results) {
      if (one.code != SessionCode::kOk) {
        code = one.code;
        text = one.device.product + "&" + one.device.device + ": " + MessageOf(one.code);
        break;
      }
    }
    out.Name("code").Integer(static_cast<int>(code)).Name("data").BeginObject();
  } else {
    if (!results.empty()) {
      code = results.front().code;
      text = tell(code);
    }
    out.Name("code").Integer(static_cast<int>(code)).Name("data").BeginObject();
    if (!results.empty()) {
      WritePair(out, topic.word, results.front().device);
    }
  }
  out.EndObject().Name("message").Text(text).EndObject();
  encoded.payload = std::move(out).text();
  return encoded;
}

}  // namespace ota::dialect
