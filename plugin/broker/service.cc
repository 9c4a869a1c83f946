#include "broker/service.h"

#include <mosquitto.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "engine/fault_point.h"

namespace ota::broker {
namespace {

constexpr auto kTicksExpected = std::chrono::seconds(2);
constexpr core::seconds kRetryTooMany{10};
constexpr core::seconds kRetryUnavailable{30};
// Any code but that of a refusal closes the connection without an answer.
constexpr int kCloseConnection = MOSQ_ERR_UNKNOWN;
// Without a wake thread the next tick may be 100 ms away.
constexpr engine::DrainLimits kSeldom{.messages = 200};
// Every device takes a message of this length [N-18].
constexpr std::size_t kSmallestMaxBytes = 512;

}  // namespace

Service::Service(engine::Options options)
    : options_(std::move(options)),
      outbox_([this] { wake_.Notify(); }),
      wake_(options_.wake, [this] { return !outbox_.Empty(); }),
      presence_(inbox_),
      sink_{[](const engine::LogLine& line) { Log(line.level, line.text); },
            [this](const core::DeviceKey& device) { return presence_.Live(device); },
            [this](engine::Message message) { Send(std::move(message)); },
            [this](const engine::Message& message) {
              inbox_.AddUndelivered(message.device, message.connection);
            }} {}

Service::~Service() {
  inbox_.Stop();
  outbox_.Stop();
  if (engine_) {
    engine_->Stop();
  }
  wake_.Stop();
  try {
    while (!outbox_.Empty()) {  // the last lines of the log; nobody is there for the messages
      auto sink = sink_;
      sink.live = [](const core::DeviceKey&) { return std::uint64_t{0}; };
      sink.undelivered = [](const engine::Message&) {};
      outbox_.Drain(sink);
    }
  } catch (const std::exception&) {
    Log(engine::LogLevel::kError, "the last lines of the log are lost: no memory");
  }
  engine_.reset();
}

core::Result<void> Service::Start() {
  auto engine = engine::Engine::Start(
      options_, inbox_, outbox_, [this] { return wake_.ticks(); }, engine::Clocks,
      engine::Descriptors::kOwn);
  if (!engine) {
    return tl::unexpected(std::move(engine.error()));
  }
  engine_ = *std::move(engine);
  return {};
}

bool Service::Ticks() {
  if (wake_.ticks() > 0) {
    return true;
  }
  const Clock::time_point now = Clock::now();
  if (!first_callback_) {
    first_callback_ = now;
  }
  if (!told_ticks_ && now - *first_callback_ >= kTicksExpected) {
    told_ticks_ = true;
    Log(engine::LogLevel::kError,
        "the broker does not call its plugins regularly (Mosquitto up to 2.0.14 with "
        "per_listener_settings true): no OTA message is answered; set per_listener_settings "
        "false");
  }
  return false;
}

void Service::Tick() {
  wake_.Tick();
  replaying_ = false;
  if (deferred_) {
    HintAtDeferred();
  }
  ThrowOut();
  outbox_.Drain(sink_, options_.wake == engine::WakeMode::kTick ? kSeldom : engine::DrainLimits{});
}

// The queue of a session that stays may be full of blocks from before, and what the broker drops of
// a message to a client it leaks. Such a session keeps its subscriptions, too.
void Service::Send(engine::Message message) {
  if (message.lane == engine::Lane::kBlock && !presence_.IsClean(message.device)) {
    message.client.clear();
  }
  Give(message);
}

void Service::Give(const engine::Message& message) {
  const int rc = Publish(message);
  if (rc == MOSQ_ERR_SUCCESS) {
    return;
  }
  if (const auto untold = unpublished_.Allow(Clock::now())) {
    Log(engine::LogLevel::kError,
        "publishing to " + Quote(message.topic) + " failed with code " + std::to_string(rc) +
            (*untold > 0 ? ", and " + std::to_string(*untold) +
                               " more messages could not be published since the last line"
                         : ""));
  }
}

std::uint64_t Service::Seen(const core::DeviceKey& device, const struct mosquitto* client,
                            bool alone) {
  if (throwing_out_) {
    return presence_.LiveOn(device, client);
  }
  return presence_.Seen(device, client, View(mosquitto_client_id(client)), alone,
                        mosquitto_client_clean_session(client));
}

void Service::Gone(const struct mosquitto* client) {
  sessions_.Gone(client);  // takes no memory: at least this is done in any case
  presence_.Gone(client);
}

std::uint64_t Service::LiveOn(const core::DeviceKey& device, const struct mosquitto* client) const {
  return presence_.LiveOn(device, client);
}

void Service::Reload() {
  inbox_.Reload();
  replaying_ = true;
}

int Service::Login(const guard::LoginVerdict& verdict, const core::DeviceKey& device,
                   const struct mosquitto* client) {
  using guard::Login;
  const Clock::time_point now = Clock::now();
  const std::string address(View(mosquitto_client_address(client)));
  if (!replaying_ && verdict.login != Login::kRetry &&
      !refusals_.Looks(address, verdict.device, now)) {
    TellRefused(verdict, "too many logins failed; this one was not looked at", client, now);
    return kCloseConnection;
  }
  switch (verdict.login) {
    case Login::kAccept:
      if (!replaying_ && verdict.by_signature) {
        sessions_.LogIn(device, client, View(mosquitto_client_id(client)));
        Seen(device, client, true);
      }
      return MOSQ_ERR_SUCCESS;
    case Login::kRetry:
      if (!replaying_) {
        TellRefused(verdict, "the registry of devices is not loaded yet", client, now);
      }
      return kCloseConnection;
    case Login::kRefuse:
      if (!replaying_) {
        refusals_.Failed(address, verdict.device, now);
        TellRefused(verdict, verdict.reason, client, now);
      }
      break;
    case Login::kOther:
      break;
  }
  return MOSQ_ERR_AUTH;
}

const std::set<core::DeviceKey>* Service::SubDevicesOn(
    const struct mosquitto* client, const std::optional<core::DeviceKey>& gateway) const {
  return sessions_.SubDevicesOn(client, View(mosquitto_client_id(client)),
                                gateway ? &*gateway : nullptr);
}

void Service::TakeSession(const dialect::SessionTopic& topic, std::string_view payload,
                          const struct mosquitto* client) {
  using enum dialect::SessionCode;
  const core::DeviceKey gateway{std::string(topic.product), std::string(topic.device)};
  std::string addressee;
  const auto answer = [&](const dialect::Encoded& reply) {
    Give({engine::Lane::kAnswer, gateway, 0, reply.addressed ? addressee : std::string(),
          reply.topic, reply.payload, reply.qos});
  };
  if (!session_requests_.Has(gateway.product + "/" + gateway.device, Clock::now())) {
    return;  // a flood is not worth an answer
  }
  session_requests_.Take(gateway.product + "/" + gateway.device, Clock::now());
  const core::Instant now{
      std::chrono::duration_cast<core::Duration>(Clock::now().time_since_epoch())};
  if (gateway_answers_.Count(gateway, now) == engine::PushLimit::Answer::kSend) {
    addressee = View(mosquitto_client_id(client));
  }
  const auto request = dialect::DecodeSession(topic.act, payload);
  if (!request) {
    return answer(
        EncodeSession(topic, request.error().id, {}, kMalformed, request.error().message));
  }
  const auto devices = registry();
  if (!devices) {
    return answer(EncodeSession(topic, request->id, {}, kUnavailable));
  }
  std::vector<dialect::SubResult> results;
  for (const dialect::SubDevice& sub : request->devices) {
    results.push_back({sub.key, Do(topic.act, *devices, gateway, sub, client)});
  }
  if (IsTopology(topic.act) &&
      std::ranges::all_of(results, [](const auto& one) { return one.code == kOk; })) {
    engine::TopologyRequest binding{
        gateway, Seen(gateway, client, true), addressee, topic.act, request->id, {}, topic.word};
    for (dialect::SubResult& one : results) {
      binding.devices.push_back(std::move(one.device));
    }
    if (!engine_->Bind(std::move(binding))) {
      answer(EncodeSession(topic, request->id, {}, kUnavailable));
    }
    return;  // answered when it is stored
  }
  answer(EncodeSession(topic, request->id, results));
}

void Service::Overhear(std::string_view topic, std::string_view payload) {
  inbox_.OfferTelemetry(topic, payload);
}

void Service::Take(const dialect::Dialect& dialect, const dialect::TopicClass& topic,
                   std::string_view payload, int qos, const struct mosquitto* client, bool own) {
  core::DeviceKey device{std::string(topic.product), std::string(topic.device)};
  const std::uint64_t connection = Seen(device, client, own && dialect.takes_over);
  if (topic.kind == dialect::UplinkKind::kVersion &&
      AnswerAgain(dialect, device, connection, payload)) {
    return;
  }
  const Clock::time_point now = Clock::now();
  auto admission = engine::Admission::kUnavailable;
  if (payload.size() > dialect::kMaxUplinkBytes) {
    admission = engine::Admission::kTooLarge;  // not copied
  } else if (!engine_->passive()) {
    admission =
        inbox_.Offer({device, &dialect, *topic.kind, std::string(payload), connection, now, qos});
  }
  core::Reply reply;
  reply.to = dialect::UplinkName(*topic.kind);
  switch (admission) {
    case engine::Admission::kTaken:
      OTA_FAULT_POINT("taken");
      return;
    case engine::Admission::kTooLarge:
      reply.code = core::ReplyCode::kTooLarge;
      reply.message = "payload: longer than " + std::to_string(dialect::kMaxUplinkBytes) + " bytes";
      break;
    case engine::Admission::kTooMany:
      reply.code = core::ReplyCode::kTooMany;
      reply.retry_after = kRetryTooMany;
      break;
    case engine::Admission::kUnavailable:
      reply.code = core::ReplyCode::kUnavailable;
      reply.retry_after = kRetryUnavailable;
      break;
  }
  Reply(dialect, device, connection, client, std::move(reply));
}

bool Service::AnswerAgain(const dialect::Dialect& dialect, const core::DeviceKey& device,
                          std::uint64_t connection, std::string_view payload) {
  // In this order: what has left the inbox by now is in the outbox, or was taken out of it.
  if (engine_->passive() || inbox_.Holds(device) || outbox_.Holds(device)) {
    return false;
  }
  const auto now = std::chrono::floor<core::Duration>(std::chrono::system_clock::now());
  core::Reply reply;
  reply.id = inbox_.unchanged().Repeats(device, connection, &dialect, payload, now);
  if (!reply.id) {
    return false;
  }
  reply.to = dialect::UplinkName(dialect::UplinkKind::kVersion);
  auto encoded = dialect.encode(device, std::move(reply), {kSmallestMaxBytes, now});
  if (encoded) {
    Give({engine::Lane::kAnswer,
          device,
          connection,
          {},
          std::move(encoded->topic),
          std::move(encoded->payload),
          encoded->qos});
  }
  return encoded.has_value();
}

void Service::Reply(const dialect::Dialect& dialect, const core::DeviceKey& device,
                    std::uint64_t connection, const struct mosquitto* client, core::Reply reply) {
  if (connection == 0 || outbox_.Full() || !replies_.Allow(client, Clock::now())) {
    return;
  }
  const core::ReplyCode code = reply.code;
  const auto now = std::chrono::floor<core::Duration>(std::chrono::system_clock::now());
  auto encoded = dialect.encode(device, std::move(reply), {kSmallestMaxBytes, now});
  if (encoded && !encoded->topic.empty() && !encoded->addressed) {
    outbox_.Push({{engine::Lane::kAnswer,
                   device,
                   connection,
                   {},
                   std::move(encoded->topic),
                   std::move(encoded->payload),
                   encoded->qos}});
  } else {
    Dropped(device, code);
  }
}

void Service::Dropped(const core::DeviceKey& device, core::ReplyCode code) {
  const auto untold = dropped_.Allow(Clock::now());
  if (!untold) {
    return;
  }
  Log(engine::LogLevel::kWarning,
      std::to_string(*untold + 1) +
          " messages were dropped of devices whose dialect has no answer to them (at most one a "
          "second of a device is counted); the last one: device " +
          device.product + "/" + device.device + ", code " +
          std::to_string(static_cast<int>(code)));
}

void Service::TellDenied(const struct mosquitto* client, std::string_view act,
                         std::string_view topic) {
  const auto untold = denials_.Allow(client, Clock::now());
  if (!untold) {
    return;
  }
  std::string line = "client " + Quote(View(mosquitto_client_id(client))) + " (user " +
                     Quote(View(mosquitto_client_username(client))) + ") " + std::string(act) +
                     " " + Quote(topic);
  if (*untold > 0) {
    line += ", and " + std::to_string(*untold) + " times more in between";
  }
  Log(engine::LogLevel::kWarning, line);
}

void Service::Deferred(std::string_view topic) {
  if (!proved_allowed_ && !deferred_) {
    deferred_ = std::string(topic);
  }
}

void Service::Allowed() {
  proved_allowed_ = true;
  deferred_.reset();
}

void Service::ThrowOut() {
  const struct Flag {
    bool& flag;
    ~Flag() { flag = false; }
  } over{throwing_out_};
  throwing_out_ = true;
  for (const std::string& client_id : sessions_.TakeSuperseded()) {
    mosquitto_kick_client_by_clientid(client_id.c_str(), false);
  }
  for (const engine::Presence::Displaced& displaced : presence_.TakeDisplaced()) {
    if (mosquitto_kick_client_by_clientid(displaced.client_id.c_str(), false) == MOSQ_ERR_SUCCESS) {
      Log(engine::LogLevel::kNotice,
          "device " + displaced.device.product + "/" + displaced.device.device +
              " has connected again: its connection " + Quote(displaced.client_id) + " is ended");
    }
  }
}

dialect::SessionCode Service::Do(dialect::SessionAct act, const guard::Registry& devices,
                                 const core::DeviceKey& gateway, const dialect::SubDevice& sub,
                                 const struct mosquitto* client) {
  using enum dialect::SessionCode;
  switch (act) {
    case dialect::SessionAct::kLogin:
    case dialect::SessionAct::kLoginBatch:
    case dialect::SessionAct::kLoginList: {
      const dialect::SessionCode code = Prove(devices, gateway, sub, false, client);
      return code == kOk ? LogIn(gateway, sub.key, client) : code;
    }
    case dialect::SessionAct::kTopoAdd:
      return sub.key == gateway ? kOtherGateway : Prove(devices, gateway, sub, true, client);
    case dialect::SessionAct::kTopoDelete: {
      const auto device = devices.Find(sub.key.product, sub.key.device);
      if (device && !device->gateway.empty() && !device->bound &&
          devices.IsBehind(sub.key.product, sub.key.device, gateway)) {
        return kFixed;
      }
      return LogOut(sub.key, client);
    }
    case dialect::SessionAct::kLogout:
    case dialect::SessionAct::kLogoutList:
    case dialect::SessionAct::kTopoGet:
      break;
  }
  return LogOut(sub.key, client);
}

dialect::SessionCode Service::LogIn(const core::DeviceKey& gateway, const core::DeviceKey& device,
                                    const struct mosquitto* client) {
  if (!sessions_.LogInSubDevice(device, gateway, client, View(mosquitto_client_id(client)))) {
    return dialect::SessionCode::kTooMany;
  }
  Seen(device, client, false);
  return dialect::SessionCode::kOk;
}

dialect::SessionCode Service::Prove(const guard::Registry& devices, const core::DeviceKey& gateway,
                                    const dialect::SubDevice& sub, bool binds,
                                    const struct mosquitto* client) {
  using enum dialect::SessionCode;
  const Clock::time_point now = Clock::now();
  const std::string address(View(mosquitto_client_address(client)));
  guard::LoginVerdict verdict;
  verdict.device = sub.key.product + "/" + sub.key.device;
  if (!refusals_.Looks(address, verdict.device, now)) {
    TellRefused(verdict, "too many logins failed; this one was not looked at", client, now);
    return kTooMany;
  }
  const guard::SignedLogin login{sub.key.product, sub.key.device, sub.client_id, sub.timestamp,
                                 guard::ParseSignMethod(sub.sign_method)};
  dialect::SessionCode code = kWrongSign;
  switch (guard::CheckSubDevice(devices, decoy_, gateway, login, sub.sign, binds)) {
    case guard::SubLogin::kAccept:
      return kOk;
    case guard::SubLogin::kWrong:
      verdict.reason = "as a sub-device: there is no such device, or its sign is wrong";
      break;
    case guard::SubLogin::kOtherGateway:
      verdict.reason = "as a sub-device: it is behind another gateway";
      code = kOtherGateway;
      break;
    case guard::SubLogin::kDisabled:
      verdict.reason = "as a sub-device: it is disabled";
      code = kDisabled;
      break;
  }
  refusals_.Failed(address, verdict.device, now);
  TellRefused(verdict, verdict.reason, client, now);
  return code;
}

dialect::SessionCode Service::LogOut(const core::DeviceKey& device,
                                     const struct mosquitto* client) {
  sessions_.LogOutSubDevice(device, client);
  presence_.Left(device, client);
  return dialect::SessionCode::kOk;
}

void Service::TellRefused(const guard::LoginVerdict& verdict, std::string_view reason,
                          const struct mosquitto* client, Clock::time_point now) {
  const auto untold = refusals_.Tell(now);
  if (!untold) {
    return;
  }
  std::string line =
      "login of " +
      (verdict.device.empty() ? std::string("a device") : "device " + Quote(verdict.device)) +
      " refused: " + std::string(reason) + " (client " + Quote(View(mosquitto_client_id(client))) +
      ", user " + Quote(View(mosquitto_client_username(client))) + ", address " +
      Quote(View(mosquitto_client_address(client))) + ")";
  if (*untold > 0) {
    line += ", and " + std::to_string(*untold) + " more logins were refused since the last line";
  }
  Log(engine::LogLevel::kWarning, line);
}

void Service::HintAtDeferred() {
  if (!std::exchange(proved_allowed_, true)) {
    Log(engine::LogLevel::kWarning,
        "a publish to " + Quote(*deferred_) +
            " was denied, and none was allowed before: topics that are not OTA's are left to "
            "others (plugin_opt_acl_other defer), and where nobody else decides, Mosquitto "
            "denies. "
            "On a broker without acl_file and without another access plugin set "
            "plugin_opt_acl_other allow");
  }
  deferred_.reset();
}

}  // namespace ota::broker
