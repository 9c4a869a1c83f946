#include "broker/access.h"

#include <mosquitto.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "broker/broker.h"
#include "core/model.h"
#include "dialect/dialect.h"
#include "dialect/session.h"
#include "dialect/topic.h"
#include "guard/guard.h"
#include "guard/registry.h"

namespace ota::broker {
namespace {

std::optional<core::DeviceKey> DeviceOf(const Instance& instance, const struct mosquitto* client) {
  return guard::Identify(instance.rules, [client](guard::Credential credential) {
    return CredentialOf(client, credential);
  });
}

// `registry` must stay while the result is used.
guard::Client Identify(const Instance& instance, const struct mosquitto* client,
                       const guard::Registry* registry) {
  const auto among = [](const std::vector<std::string>& names, const char* name) {
    return name != nullptr && std::ranges::find(names, std::string_view(name)) != names.end();
  };
  auto device = DeviceOf(instance, client);
  const auto* const logged_in = instance.service->SubDevicesOn(client, device);
  return {std::move(device),
          among(instance.options.administrators, mosquitto_client_username(client)),
          among(instance.options.bridges, mosquitto_client_id(client)), registry, logged_in};
}

int Other(const Instance& instance) {
  return instance.options.acl_other == engine::AclOther::kAllow ? MOSQ_ERR_SUCCESS
                                                                : MOSQ_ERR_PLUGIN_DEFER;
}

// [N-1]: the client learns which topic it used and which name it has.
void ReplyForbidden(Service& service, const guard::Client& client, const dialect::TopicClass& topic,
                    std::string_view text, const struct mosquitto* sender) {
  const dialect::Dialect* dialect = dialect::FindDialect(text);
  if (!client.device || dialect == nullptr) {
    return;
  }
  core::Reply reply;
  reply.to = topic.kind ? std::string(dialect::UplinkName(*topic.kind)) : std::string();
  reply.code = core::ReplyCode::kForbidden;
  reply.message =
      "topic " + Quote(text) +
      (guard::IsOwn(client, topic) ? " is not for devices to publish"
                                   : " is not yours: you are '" + client.device->product + "/" +
                                         client.device->device + "'");
  service.Reply(*dialect, *client.device, service.LiveOn(*client.device, sender), sender,
                std::move(reply));
}

// Whether the topic is the client's own, and not that of a sub-device.
bool IsItself(const guard::Client& client, const dialect::TopicClass& topic) {
  return client.device && client.device->product == topic.product &&
         client.device->device == topic.device;
}

// The device uses one of its cloud's other topics: it is there. Which dialect it speaks only its
// product says.
void NoteSystem(Service& service, const guard::Registry* registry, const guard::Client& client,
                const dialect::TopicClass& topic, const struct mosquitto* sender) {
  if (registry == nullptr || !guard::IsOwn(client, topic)) {
    return;
  }
  const dialect::Dialect* dialect = dialect::DialectNamed(registry->DialectOf(topic.product));
  if (dialect != nullptr && dialect->takes_over) {
    service.Seen({std::string(topic.product), std::string(topic.device)}, sender,
                 IsItself(client, topic));
  }
}

// A gateway's requests for its sub-devices: its own, and nobody else's.
bool IsOwnSession(const Instance& instance, const dialect::SessionTopic& topic,
                  const struct mosquitto* client) {
  return DeviceOf(instance, client) ==
         core::DeviceKey{std::string(topic.product), std::string(topic.device)};
}

std::optional<dialect::SessionTopic> SessionOf(const Instance& instance, std::string_view topic) {
  if (instance.options.login == engine::LoginMode::kOff) {
    return std::nullopt;
  }
  auto session = dialect::ParseSession(topic);
  if (session) {
    const auto registry = instance.service->registry();
    const dialect::Dialect* dialect =
        registry ? dialect::DialectNamed(registry->DialectOf(session->product)) : nullptr;
    if (dialect != nullptr && !dialect->gateways.empty()) {
      session->word = dialect->gateways;
    } else if (IsTopology(session->act)) {
      return std::nullopt;  // other gateways have topics of the same name, with other words in them
    }
  }
  return session;
}

// SDKs subscribe to the same topics for each sub-device that has logged in, replies to gateways
// among them.
bool MayReceiveReplies(const Instance& instance, const dialect::SessionTopic& topic,
                       const struct mosquitto* client) {
  dialect::TopicClass whose;
  whose.product = topic.product;
  whose.device = topic.device;
  const auto registry = instance.service->registry();
  return guard::IsOwn(Identify(instance, client, registry.get()), whose);
}

int CheckSession(const Instance& instance, const dialect::SessionTopic& topic,
                 const mosquitto_evt_acl_check& event) {
  const bool may = event.access == MOSQ_ACL_UNSUBSCRIBE ||
                   (event.access == MOSQ_ACL_WRITE
                        ? !topic.reply && IsOwnSession(instance, topic, event.client)
                        : topic.reply && MayReceiveReplies(instance, topic, event.client));
  if (may) {
    return MOSQ_ERR_SUCCESS;
  }
  const bool report = instance.options.guard == engine::GuardMode::kReport;
  if (event.access != MOSQ_ACL_READ) {  // a reader of '#' is no offender
    instance.service->TellDenied(event.client, report ? "would be denied: uses" : "is denied: uses",
                                 event.topic);
  }
  return report ? Other(instance) : MOSQ_ERR_ACL_DENIED;
}

}  // namespace

int CheckAccess(const Instance& instance, const mosquitto_evt_acl_check& event) {
  Service& service = *instance.service;
  if (!service.OnMainThread() || event.client == nullptr || event.topic == nullptr) {
    return MOSQ_ERR_PLUGIN_DEFER;
  }
  service.Ticks();
  if (event.access != MOSQ_ACL_READ) {
    service.Works();
  }
  service.ReloadIsOver();
  const bool subscribes = event.access == MOSQ_ACL_SUBSCRIBE;
  const bool filter = subscribes || event.access == MOSQ_ACL_UNSUBSCRIBE;
  const std::string_view text = event.topic;
  const auto other = [&] {
    if (event.access == MOSQ_ACL_WRITE && instance.options.acl_other == engine::AclOther::kDefer) {
      service.Deferred(text);
    }
    return Other(instance);
  };
  if (!filter && !dialect::Concerns(text)) {
    return other();
  }
  if (const auto session = SessionOf(instance, text)) {
    return CheckSession(instance, *session, event);
  }
  const dialect::TopicClass topic =
      filter ? dialect::ClassifyFilter(text) : dialect::ClassifyTopic(text);
  if (!topic.ours && !topic.system) {
    return other();
  }
  const auto registry = service.registry();
  const guard::Client client = Identify(instance, event.client, registry.get());
  if (!topic.ours && guard::CheckSystem(client, topic) == guard::Verdict::kOther) {
    return other();
  }

  guard::Verdict verdict = guard::Verdict::kAllow;  // to unsubscribe harms nobody
  std::string_view act;
  switch (event.access) {
    case MOSQ_ACL_WRITE:
      verdict = guard::CheckWrite(client, topic);
      act = "publishes to";
      break;
    case MOSQ_ACL_READ:
      // Retained: of a will, or from before the plugin was loaded. No OTA message is.
      verdict =
          event.retain && topic.ours ? guard::Verdict::kDeny : guard::CheckRead(client, topic);
      act = "receives";
      break;
    case MOSQ_ACL_SUBSCRIBE:
      verdict = guard::CheckSubscribe(client, topic);
      act = "subscribes to";
      break;
    default:
      break;
  }
  if (verdict == guard::Verdict::kAllow) {
    if (subscribes && topic.system) {
      NoteSystem(service, registry.get(), client, topic, event.client);
    } else if (subscribes && topic.direction != dialect::Direction::kUp &&
               guard::IsOwn(client, topic)) {
      service.Seen({std::string(topic.product), std::string(topic.device)}, event.client,
                   IsItself(client, topic) && dialect::TakesOver(text));
    }
    return MOSQ_ERR_SUCCESS;
  }
  if (instance.options.guard == engine::GuardMode::kReport) {
    service.TellDenied(event.client, "would be denied: " + std::string(act), text);
    return Other(instance);
  }
  if (event.access != MOSQ_ACL_READ) {  // a reader of '#' is no offender
    service.TellDenied(event.client, "is denied: " + std::string(act), text);
  }
  if (event.access == MOSQ_ACL_WRITE) {
    ReplyForbidden(service, client, topic, text, event.client);
  }
  return MOSQ_ERR_ACL_DENIED;
}

int TakeMessage(const Instance& instance, mosquitto_evt_message& event) {
  Service& service = *instance.service;
  const bool ticks = service.Ticks();
  service.Works();
  service.ReloadIsOver();
  if (event.client == nullptr || event.topic == nullptr) {
    return MOSQ_ERR_SUCCESS;
  }
  const std::string_view text = event.topic;
  const auto leave = [&] {
    service.Allowed();
    service.Overhear(text, {static_cast<const char*>(event.payload), event.payloadlen});
    return MOSQ_ERR_SUCCESS;
  };
  if (!dialect::Concerns(text)) {
    return leave();
  }
  if (const auto session = SessionOf(instance, text)) {
    event.retain = false;
    if (session->reply || !IsOwnSession(instance, *session, event.client)) {
      return instance.options.guard == engine::GuardMode::kReport ? MOSQ_ERR_SUCCESS
                                                                  : MOSQ_ERR_ACL_DENIED;
    }
    service.TakeSession(*session, {static_cast<const char*>(event.payload), event.payloadlen},
                        event.client);
    return MOSQ_ERR_SUCCESS;
  }
  const dialect::TopicClass topic = dialect::ClassifyTopic(text);
  if (!topic.ours) {
    if (topic.system) {
      const auto registry = service.registry();
      NoteSystem(service, registry.get(), Identify(instance, event.client, registry.get()), topic,
                 event.client);
    }
    return leave();
  }
  // Again: nobody asks for access on behalf of a bridge.
  const auto registry = service.registry();
  const guard::Client client = Identify(instance, event.client, registry.get());
  if (guard::CheckWrite(client, topic) != guard::Verdict::kAllow) {
    if (instance.options.guard == engine::GuardMode::kReport) {
      event.retain = false;
      return MOSQ_ERR_SUCCESS;
    }
    service.TellDenied(event.client, "is denied: publishes to", text);
    return MOSQ_ERR_ACL_DENIED;
  }
  event.retain = false;
  if (ticks) {
    service.Take(*dialect::FindDialect(text), topic,
                 {static_cast<const char*>(event.payload), event.payloadlen}, event.qos,
                 event.client, IsItself(client, topic));
  }
  return MOSQ_ERR_SUCCESS;  // on to the administrators that have subscribed
}

int CheckBasicAuth(const Instance& instance, const mosquitto_evt_basic_auth& event) {
  Service& service = *instance.service;
  if (!service.OnMainThread() || event.client == nullptr) {
    return MOSQ_ERR_PLUGIN_DEFER;
  }
  service.Ticks();
  const auto registry = service.registry();
  const guard::Credentials credentials{View(event.username),
                                       View(mosquitto_client_id(event.client)),
                                       View(event.password), DeviceOf(instance, event.client)};
  const guard::LoginVerdict verdict =
      guard::CheckLogin(registry.get(), instance.login, service.decoy(), credentials);
  if (verdict.login == guard::Login::kOther) {
    // Who gives no name is left to allow_anonymous in any case.
    return instance.login.allow_other && event.username != nullptr ? MOSQ_ERR_SUCCESS
                                                                   : MOSQ_ERR_PLUGIN_DEFER;
  }
  return service.Login(verdict, credentials.device.value_or(core::DeviceKey{}), event.client);
}

}  // namespace ota::broker
