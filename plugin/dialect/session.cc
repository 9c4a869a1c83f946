// See session.h.
#include "dialect/session.h"

#include <algorithm>
#include <utility>

#include "dialect/json.h"

namespace ota::dialect {
namespace {

constexpr std::string_view kPrefix = "/ext/session/";
constexpr std::string_view kReply = "_reply";

struct Row {
  std::string_view end;
  SessionAct act;
};
constexpr Row kActs[] = {
    {"combine/login", SessionAct::kLogin},
    {"combine/login/batch", SessionAct::kLoginBatch},
    {"combine/logout", SessionAct::kLogout},
};

const char* TextOf(SessionCode code) {
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
    case SessionCode::kMalformed:
      return "payload format error";
    case SessionCode::kUnavailable:
      return "not now";
  }
  return "";
}

// Text, or a whole number as its digits; empty for anything else.
std::string Literal(const json::Value* value) {
  if (value == nullptr) {
    return {};
  }
  if (const auto* text = value->As<std::string>()) {
    return *text;
  }
  const auto* number = value->As<std::int64_t>();
  return number == nullptr ? std::string() : std::to_string(*number);
}

std::string Member(const json::Object& object, std::string_view name) {
  return Literal(json::Find(object, name));
}

void WritePair(json::Writer& out, const core::DeviceKey& device) {
  out.Name("productKey").Text(device.product).Name("deviceKey").Text(device.device);
}

}  // namespace

std::optional<SessionTopic> ParseSession(std::string_view topic) {
  if (!topic.starts_with(kPrefix)) {
    return std::nullopt;
  }
  topic.remove_prefix(kPrefix.size());
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
  const Row* const found = std::ranges::find(kActs, topic, &Row::end);
  if (found == std::end(kActs)) {
    return std::nullopt;
  }
  session.act = found->act;
  return session;
}

tl::expected<SessionRequest, SessionError> DecodeSession(SessionAct act, std::string_view payload) {
  SessionRequest request;
  const auto fail = [&](std::string message) {
    return tl::unexpected(SessionError{request.id, std::move(message)});
  };
  const auto parsed = json::Parse(payload, kMaxUplinkBytes);
  if (!parsed) {
    return fail(parsed.error());
  }
  const auto* root = parsed->As<json::Object>();
  if (root == nullptr) {
    return fail("must be an object");
  }
  request.id = Member(*root, "id");
  const json::Value* value = json::Find(*root, "params");
  const auto* params = value == nullptr ? nullptr : value->As<json::Object>();
  if (params == nullptr) {
    return fail("params: must be an object");
  }
  const auto add = [&](const json::Object& one) {
    request.devices.push_back(
        {{Member(one, "productKey"), Member(one, "deviceKey")}, Member(one, "sign")});
    const SubDevice& device = request.devices.back();
    return IsName(device.key.product) && IsName(device.key.device) &&
           (act == SessionAct::kLogout || !device.sign.empty());
  };
  constexpr const char* kRule = "productKey, deviceKey and sign: must be texts";
  if (act == SessionAct::kLoginBatch) {
    value = json::Find(*params, "subDevices");
    const auto* list = value == nullptr ? nullptr : value->As<json::Array>();
    if (list == nullptr || list->empty() || list->size() > kMaxSubDevices) {
      return fail("params.subDevices: must be an array of 1 to 200 devices");
    }
    for (const json::Value& one : *list) {
      const auto* object = one.As<json::Object>();
      if (object == nullptr || !add(*object)) {
        return fail(kRule);
      }
    }
  } else if (!add(*params)) {
    return fail(kRule);
  }
  if (act == SessionAct::kLogout) {
    return request;
  }
  request.client_id = Member(*params, "clientId");
  request.timestamp = Member(*params, "timestamp");
  request.sign_method = Member(*params, "signMethod");
  if (request.timestamp.empty() || request.sign_method.empty()) {
    return fail("timestamp and signMethod: must be texts");
  }
  return request;
}

Encoded EncodeSession(const SessionTopic& topic, std::string_view id,
                      std::span<const SubResult> results, SessionCode code,
                      std::string_view message) {
  Encoded encoded;
  encoded.topic = std::string(kPrefix) + std::string(topic.product) + "/" +
                  std::string(topic.device) + "/" +
                  std::string(kActs[static_cast<std::size_t>(topic.act)].end) + std::string(kReply);
  std::string text(message.empty() ? TextOf(code) : message);
  json::Writer out;
  out.BeginObject().Name("id").Text(id);
  if (topic.act == SessionAct::kLoginBatch) {
    const auto part = [&](const char* name, bool good) {
      out.Name(name).BeginArray();
      for (const SubResult& one : results) {
        if ((one.code == SessionCode::kOk) == good) {
          out.BeginObject();
          WritePair(out, one.device);
          out.EndObject();
        }
      }
      out.EndArray();
    };
    for (const SubResult& one : results) {
      if (one.code != SessionCode::kOk) {
        code = SessionCode::kDisabled;
        text +=
            one.device.product + "&" + one.device.device + " has error: " + TextOf(one.code) + ";";
      }
    }
    out.Name("code").Integer(static_cast<int>(code)).Name("data").BeginObject();
    part("loginedSubDevices", true);
    part("failedSubDevices", false);
  } else {
    if (!results.empty()) {
      code = results.front().code;
      text = TextOf(code);
    }
    out.Name("code").Integer(static_cast<int>(code)).Name("data").BeginObject();
    if (!results.empty()) {
      WritePair(out, results.front().device);
    }
  }
  out.EndObject().Name("message").Text(text).EndObject();
  encoded.payload = std::move(out).text();
  return encoded;
}

}  // namespace ota::dialect
