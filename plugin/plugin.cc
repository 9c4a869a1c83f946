// The shell that Mosquitto loads: the three C entry points, the callbacks, the composition. The
// only code that knows Mosquitto. Everything here but the wake thread's look at the outbox runs on
// the broker's thread and never waits: no disk, no database, no network, no lock that another
// thread holds for long. What the return codes do to a client, broker version by broker version,
// broker.md says.
//
// Compiles against the headers of 2.0 and of 2.1; what differs at run time is found out at run
// time.
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/model.h"
#include "core/result.h"
#include "crypto/certificate.h"
#include "crypto/random.h"
#include "dialect/dialect.h"
#include "dialect/session.h"
#include "dialect/topic.h"
#include "engine/engine.h"
#include "engine/fault_point.h"
#include "engine/inbox.h"
#include "engine/options.h"
#include "engine/outbox.h"
#include "engine/presence.h"
#include "engine/push_limit.h"
#include "engine/wake.h"
#include "guard/guard.h"
#include "guard/identity.h"
#include "guard/login.h"
#include "guard/rate.h"
#include "guard/refusals.h"
#include "guard/registry.h"
#include "guard/sessions.h"

namespace ota {
namespace {

using Clock = std::chrono::steady_clock;

// The version of the plugin interface, the same in 2.0 and 2.1.
constexpr int kInterface = 5;
// 2.1's end of a connection whose session stays, with the same data as MOSQ_EVT_DISCONNECT. 2.0's
// headers do not know it, 2.0 refuses it.
constexpr int kClientOffline = 28;

constexpr auto kTicksExpected = std::chrono::seconds(2);
constexpr auto kDroppedLine = std::chrono::seconds(60);
constexpr core::seconds kRetryTooMany{10};
constexpr core::seconds kRetryUnavailable{30};
// Requests of a gateway for its sub-devices, each up to 1 ms of work.
constexpr int kSessionBurst = 250;
constexpr auto kSessionEvery = std::chrono::milliseconds(50);
// Any code but that of a refusal closes the connection without an answer.
constexpr int kCloseConnection = MOSQ_ERR_UNKNOWN;
// Every device takes a message of this length [N-18].
constexpr std::size_t kSmallestMaxBytes = 512;

void Log(engine::LogLevel level, const std::string& text) {
  constexpr int kLevels[] = {MOSQ_LOG_DEBUG, MOSQ_LOG_INFO, MOSQ_LOG_NOTICE, MOSQ_LOG_WARNING,
                             MOSQ_LOG_ERR};
  mosquitto_log_printf(kLevels[static_cast<std::size_t>(level)], "ota: %s", text.c_str());
}

// Text of a client, fit for a line of a log.
std::string Quote(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  std::string quoted(text.substr(0, kLongest));
  std::ranges::replace_if(
      quoted, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return "'" + quoted + (text.size() > kLongest ? "...'" : "'");
}

std::string_view View(const char* text) {
  return text == nullptr ? "" : text;
}

std::string CredentialOf(const struct mosquitto* client, guard::Credential credential) {
  switch (credential) {
    case guard::Credential::kUserName:
      return std::string(View(mosquitto_client_username(client)));
    case guard::Credential::kClientId:
      return std::string(View(mosquitto_client_id(client)));
    case guard::Credential::kCommonName:
      return crypto::TakeCommonName(mosquitto_client_certificate(client)).value_or("");
  }
  return {};
}

// Publishes on the broker's thread. The copying variant of this call corrupts the accounting
// of 2.0.
void Publish(const engine::Message& message) {
  void* payload = nullptr;
  if (!message.payload.empty()) {
    payload = mosquitto_malloc(message.payload.size());
    if (payload == nullptr) {
      return;  // the device asks again
    }
    std::memcpy(payload, message.payload.data(), message.payload.size());
  }
  const int rc = mosquitto_broker_publish(
      message.client.empty() ? nullptr : message.client.c_str(), message.topic.c_str(),
      static_cast<int>(message.payload.size()), payload, message.qos, false, nullptr);
  if (rc != MOSQ_ERR_SUCCESS) {
    mosquitto_free(payload);
    Log(engine::LogLevel::kError,
        "publishing to " + Quote(message.topic) + " failed with code " + std::to_string(rc));
  }
  OTA_FAULT_POINT("published");
}

// The running plugin: one per process, however many listeners load it.
class Service {
 public:
  explicit Service(engine::Options options)
      : options_(std::move(options)),
        outbox_([this] { wake_.Notify(); }),
        wake_(options_.wake, [this] { return !outbox_.Empty(); }),
        presence_(inbox_),
        sink_{[](const engine::LogLine& line) { Log(line.level, line.text); },
              [this](const core::DeviceKey& device) { return presence_.Live(device); },
              [](const engine::Message& message) { Publish(message); },
              [this](const engine::Message& message) {
                inbox_.AddUndelivered(message.device, message.connection);
              }} {}
  ~Service() { Stop(); }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  core::Result<void> Start() {
    auto engine = engine::Engine::Start(
        options_, inbox_, outbox_, [this] { return wake_.ticks(); }, engine::Clocks,
        engine::Descriptors::kOwn);
    if (!engine) {
      return tl::unexpected(std::move(engine.error()));
    }
    engine_ = *std::move(engine);
    return {};
  }

  const engine::Options& options() const { return options_; }
  bool OnMainThread() const { return pthread_equal(pthread_self(), main_) != 0; }

  // Without ticks nothing can be answered, so nothing is taken. Asked in every callback.
  bool Ticks() {
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

  void Tick() {
    wake_.Tick();
    replaying_ = false;
    if (deferred_) {
      HintAtDeferred();
    }
    ThrowOut();
    outbox_.Drain(sink_);
  }

  // A device is on the connection of `client`. `alone`: it is the device itself, and its dialect
  // allows it one connection. A client that is being thrown out is asked about its subscriptions:
  // then nothing is known.
  std::uint64_t Seen(const core::DeviceKey& device, const struct mosquitto* client, bool alone) {
    if (throwing_out_) {
      return presence_.LiveOn(device, client);
    }
    return presence_.Seen(device, client, View(mosquitto_client_id(client)), alone);
  }
  void Gone(const struct mosquitto* client) {
    presence_.Gone(client);
    sessions_.Gone(client);
  }
  std::uint64_t LiveOn(const core::DeviceKey& device, const struct mosquitto* client) const {
    return presence_.LiveOn(device, client);
  }
  void Reload() {
    inbox_.Reload();
    replaying_ = true;
  }
  // Something else than the broker's asking again about every session has happened.
  void ReloadIsOver() { replaying_ = false; }

  // Null: not loaded yet.
  std::shared_ptr<const guard::Registry> registry() const { return engine_->registry(); }

  // Answers a CONNECT. 2.0 asks about every session again at SIGHUP: then the answer is all that
  // comes of it.
  int Login(const guard::LoginVerdict& verdict, const core::DeviceKey& device,
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

  std::string_view decoy() const { return decoy_; }

  // Null: none.
  const std::set<core::DeviceKey>* SubDevicesOn(
      const struct mosquitto* client, const std::optional<core::DeviceKey>& gateway) const {
    return sessions_.SubDevicesOn(client, View(mosquitto_client_id(client)),
                                  gateway ? &*gateway : nullptr);
  }

  // Answers a gateway that logs sub-devices in or out.
  void TakeSession(const dialect::SessionTopic& topic, std::string_view payload,
                   const struct mosquitto* client) {
    using enum dialect::SessionCode;
    const core::DeviceKey gateway{std::string(topic.product), std::string(topic.device)};
    std::string addressee;
    const auto answer = [&](const dialect::Encoded& reply) {
      Publish({engine::Lane::kAnswer, gateway, 0, reply.addressed ? addressee : std::string(),
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

  // A message that is not OTA's goes by.
  void Overhear(std::string_view topic, std::string_view payload) {
    inbox_.OfferTelemetry(topic, payload);
  }

  // Takes an authorised uplink; what cannot be taken is answered here, without decoding.
  void Take(const dialect::Dialect& dialect, const dialect::TopicClass& topic,
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
        reply.message =
            "payload: longer than " + std::to_string(dialect::kMaxUplinkBytes) + " bytes";
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

  // Answers a report that is the last one again, unless something of the device is on its way.
  bool AnswerAgain(const dialect::Dialect& dialect, const core::DeviceKey& device,
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
      Publish({engine::Lane::kAnswer,
               device,
               connection,
               {},
               std::move(encoded->topic),
               std::move(encoded->payload),
               encoded->qos});
    }
    return encoded.has_value();
  }

  // Answers an uplink that did not reach the engine; at most once a second per client. Where the
  // dialect has no such answer, the log counts them.
  void Reply(const dialect::Dialect& dialect, const core::DeviceKey& device,
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

  // An uplink was dropped, and its device cannot be told.
  void Dropped(const core::DeviceKey& device, core::ReplyCode code) {
    ++dropped_;
    const Clock::time_point now = Clock::now();
    if (dropped_said_ && now - *dropped_said_ < kDroppedLine) {
      return;
    }
    dropped_said_ = now;
    Log(engine::LogLevel::kWarning,
        std::to_string(std::exchange(dropped_, 0)) +
            " messages were dropped of devices whose dialect has no answer to them (at most one a "
            "second of a device is counted); the last one: device " +
            device.product + "/" + device.device + ", code " +
            std::to_string(static_cast<int>(code)));
  }

  // Tells of a denial; at most once a second per client. `act` continues "client 'x' ".
  void TellDenied(const struct mosquitto* client, std::string_view act, std::string_view topic) {
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

  // The hint for an open broker: a publish that was left to others and of which nothing came.
  void Deferred(std::string_view topic) {
    if (!proved_allowed_ && !deferred_) {
      deferred_ = std::string(topic);
    }
  }
  void Allowed() {
    proved_allowed_ = true;
    deferred_.reset();
  }

  // Ends every thread; what the engine has taken it commits. Within 5 s.
  void Stop() {
    inbox_.Stop();
    outbox_.Stop();
    if (engine_) {
      engine_->Stop();
    }
    wake_.Stop();
    while (!outbox_.Empty()) {  // the last lines of the log; nobody is there for the messages
      auto sink = sink_;
      sink.live = [](const core::DeviceKey&) { return std::uint64_t{0}; };
      sink.undelivered = [](const engine::Message&) {};
      outbox_.Drain(sink);
    }
    engine_.reset();
  }

 private:
  // A second login of a device ends the first, where its dialect says so. Not in the callback of
  // another client's CONNECT: the broker is in the middle of its own list.
  void ThrowOut() {
    throwing_out_ = true;
    for (const std::string& client_id : sessions_.TakeSuperseded()) {
      mosquitto_kick_client_by_clientid(client_id.c_str(), false);
    }
    for (const engine::Presence::Displaced& displaced : presence_.TakeDisplaced()) {
      if (mosquitto_kick_client_by_clientid(displaced.client_id.c_str(), false) ==
          MOSQ_ERR_SUCCESS) {
        Log(engine::LogLevel::kNotice,
            "device " + displaced.device.product + "/" + displaced.device.device +
                " has connected again: its connection " + Quote(displaced.client_id) + " is ended");
      }
    }
    throwing_out_ = false;
  }

  // What a gateway's request does to one of its sub-devices on the broker's thread.
  dialect::SessionCode Do(dialect::SessionAct act, const guard::Registry& devices,
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

  dialect::SessionCode LogIn(const core::DeviceKey& gateway, const core::DeviceKey& device,
                             const struct mosquitto* client) {
    if (!sessions_.LogInSubDevice(device, gateway, client, View(mosquitto_client_id(client)))) {
      return dialect::SessionCode::kTooMany;
    }
    Seen(device, client, false);
    return dialect::SessionCode::kOk;
  }

  // Whether the sub-device's own signature is right, and it may be behind this gateway. `binds`: it
  // is to be bound to it.
  dialect::SessionCode Prove(const guard::Registry& devices, const core::DeviceKey& gateway,
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

  dialect::SessionCode LogOut(const core::DeviceKey& device, const struct mosquitto* client) {
    sessions_.LogOutSubDevice(device, client);
    presence_.Left(device, client);
    return dialect::SessionCode::kOk;
  }

  // One line names the device and why; `verdict.device` is a client's text.
  void TellRefused(const guard::LoginVerdict& verdict, std::string_view reason,
                   const struct mosquitto* client, Clock::time_point now) {
    const auto untold = refusals_.Tell(now);
    if (!untold) {
      return;
    }
    std::string line =
        "login of " +
        (verdict.device.empty() ? std::string("a device") : "device " + Quote(verdict.device)) +
        " refused: " + std::string(reason) + " (client " +
        Quote(View(mosquitto_client_id(client))) + ", user " +
        Quote(View(mosquitto_client_username(client))) + ", address " +
        Quote(View(mosquitto_client_address(client))) + ")";
    if (*untold > 0) {
      line += ", and " + std::to_string(*untold) + " more logins were refused since the last line";
    }
    Log(engine::LogLevel::kWarning, line);
  }

  void HintAtDeferred() {
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

  const engine::Options options_;
  const pthread_t main_ = pthread_self();
  engine::Inbox inbox_;
  engine::Outbox outbox_;
  engine::Wake wake_;
  engine::Presence presence_;
  const engine::Outbox::Sink sink_;
  std::unique_ptr<engine::Engine> engine_;
  guard::OncePerSecond replies_;
  guard::OncePerSecond denials_;
  const std::string decoy_ = crypto::RandomName(32).value_or("");  // the secret of nobody
  const std::string seed_ = crypto::RandomName(16).value_or("");
  guard::Refusals refusals_{seed_};
  engine::PushLimit gateway_answers_{engine::kAnswersPerHour};  // above it those that subscribed
  guard::Buckets session_requests_{kSessionBurst, kSessionEvery, seed_};
  guard::Sessions sessions_;
  bool replaying_ = false;     // at SIGHUP
  bool throwing_out_ = false;  // a client, just now
  int dropped_ = 0;
  std::optional<Clock::time_point> dropped_said_;
  std::optional<Clock::time_point> first_callback_;
  bool told_ticks_ = false;
  std::optional<std::string> deferred_;  // topic of a deferred publish, until the next tick
  bool proved_allowed_ = false;          // or hinted already
};

// What one `plugin` line made: its own guard before the one service.
struct Instance {
  mosquitto_plugin_id_t* id = nullptr;
  engine::Options options;
  std::vector<guard::IdentityRule> rules;
  guard::LoginRules login;
  std::shared_ptr<Service> service;
  bool is_2_1 = false;
  std::size_t registered = 0;  // of kCallbacks, from the front
};

// The process's service, while an instance holds it.
std::weak_ptr<Service>& TheService() {
  static std::weak_ptr<Service> service;
  return service;
}

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

// A gateway's requests for its sub-devices, and the replies: its own, and nobody else's.
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

int CheckSession(Instance& instance, const dialect::SessionTopic& topic,
                 const mosquitto_evt_acl_check& event) {
  if (event.access == MOSQ_ACL_UNSUBSCRIBE || (IsOwnSession(instance, topic, event.client) &&
                                               topic.reply == (event.access != MOSQ_ACL_WRITE))) {
    return MOSQ_ERR_SUCCESS;
  }
  const bool report = instance.options.guard == engine::GuardMode::kReport;
  if (event.access != MOSQ_ACL_READ) {  // a reader of '#' is no offender
    instance.service->TellDenied(event.client, report ? "would be denied: uses" : "is denied: uses",
                                 event.topic);
  }
  return report ? Other(instance) : MOSQ_ERR_ACL_DENIED;
}

int CheckAccess(Instance& instance, const mosquitto_evt_acl_check& event) {
  Service& service = *instance.service;
  if (!service.OnMainThread() || event.client == nullptr || event.topic == nullptr) {
    return MOSQ_ERR_PLUGIN_DEFER;
  }
  service.Ticks();
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

int TakeMessage(Instance& instance, mosquitto_evt_message& event) {
  Service& service = *instance.service;
  const bool ticks = service.Ticks();
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

int CheckBasicAuth(Instance& instance, const mosquitto_evt_basic_auth& event) {
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

// Runs the body of a callback. No exception may reach the broker: it would end it.
template <typename Body>
int Guarded(int on_exception, Body body) noexcept {
  try {
    return body();
  } catch (...) {
    return on_exception;
  }
}

int OnAclCheck(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_ACL_DENIED, [=] {
    return CheckAccess(*static_cast<Instance*>(user),
                       *static_cast<mosquitto_evt_acl_check*>(event));
  });
}

int OnMessage(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_ACL_DENIED, [=] {
    return TakeMessage(*static_cast<Instance*>(user), *static_cast<mosquitto_evt_message*>(event));
  });
}

int OnBasicAuth(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_AUTH, [=] {
    return CheckBasicAuth(*static_cast<Instance*>(user),
                          *static_cast<mosquitto_evt_basic_auth*>(event));
  });
}

// 2.1 adds `next_s` to the wall clock's seconds and does not call again before that time: a clock
// that is set back would end the ticks until it has caught up. So the time asked for is 1970's.
int OnTick(int, void* event, void* user) noexcept {
  auto& tick = *static_cast<mosquitto_evt_tick*>(event);
  tick.next_s = -tick.now_s;
  return Guarded(MOSQ_ERR_SUCCESS, [=] {
    static_cast<Instance*>(user)->service->Tick();
    return MOSQ_ERR_SUCCESS;
  });
}

int OnDisconnect(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_SUCCESS, [=] {
    static_cast<Instance*>(user)->service->Gone(
        static_cast<mosquitto_evt_disconnect*>(event)->client);
    return MOSQ_ERR_SUCCESS;
  });
}

// 2.1 ends at any code but 0; 2.0 lets the next plugin reload only after DEFER.
int OnReload(int, void*, void* user) noexcept {
  const Instance& instance = *static_cast<Instance*>(user);
  const int done = instance.is_2_1 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
  return Guarded(done, [&] {
    instance.service->Reload();
    return done;
  });
}

struct Callback {
  int event;
  MOSQ_FUNC_generic_callback function;
};

// All of them; the last one exists since 2.1 only, and tells the two apart. BASIC_AUTH, even
// deferred, changes who may connect: it is left out unless devices log in.
constexpr Callback kCallbacks[] = {
    {MOSQ_EVT_RELOAD, OnReload},         {MOSQ_EVT_ACL_CHECK, OnAclCheck},
    {MOSQ_EVT_MESSAGE, OnMessage},       {MOSQ_EVT_TICK, OnTick},
    {MOSQ_EVT_DISCONNECT, OnDisconnect}, {MOSQ_EVT_BASIC_AUTH, OnBasicAuth},
    {kClientOffline, OnDisconnect},
};

void Unregister(Instance& instance) {
  while (instance.registered > 0) {
    const Callback& callback = kCallbacks[--instance.registered];
    if (callback.event != MOSQ_EVT_BASIC_AUTH ||
        instance.options.login != engine::LoginMode::kOff) {
      mosquitto_callback_unregister(instance.id, callback.event, callback.function, nullptr);
    }
  }
}

core::Result<void> Register(Instance& instance) {
  for (const Callback& callback : kCallbacks) {
    if (callback.event == MOSQ_EVT_BASIC_AUTH &&
        instance.options.login == engine::LoginMode::kOff) {
      ++instance.registered;
      continue;
    }
    const int rc = mosquitto_callback_register(instance.id, callback.event, callback.function,
                                               nullptr, &instance);
    if (rc == MOSQ_ERR_NOT_SUPPORTED && callback.event == kClientOffline) {
      return {};
    }
    if (rc != MOSQ_ERR_SUCCESS) {
      return core::Fail(core::ErrorCode::kUnsupported, "the broker refuses event " +
                                                           std::to_string(callback.event) +
                                                           " with code " + std::to_string(rc));
    }
    ++instance.registered;
  }
  instance.is_2_1 = true;
  return {};
}

// What the administrator should know of this configuration.
void Tell(const Instance& instance) {
  using enum engine::LogLevel;
  const engine::Options& options = instance.options;
  std::string identity;
  for (const std::string& rule : options.identity) {
    identity += (identity.empty() ? "'" : ", '") + rule + "'";
  }
  Log(kNotice, "devices are known by " + identity +
                   "; where the broker does not check credentials this is only their claim");
  if (options.login != engine::LoginMode::kOff) {
    Log(kNotice, options.login == engine::LoginMode::kAllow
                     ? "devices log in by their secrets; whoever is no such device and gives a "
                       "user name may connect (plugin_opt_login allow): a password_file or access "
                       "plugin after this one is not asked"
                     : "devices log in by their secrets; all others are left to password_file and "
                       "other plugins (plugin_opt_login defer); where there is none, clients with "
                       "a user name are refused");
    const bool clouds = std::ranges::any_of(instance.rules, [](const guard::IdentityRule& rule) {
      return rule.credential == guard::Credential::kUserName && guard::Match(rule, "d&p");
    });
    if (!clouds) {
      Log(kNotice,
          "no identity rule for devices of the clouds: theirs is plugin_opt_identity username "
          "{device}&{product}");
    }
  }
  if (options.login == engine::LoginMode::kOff && !options.login_password.empty()) {
    Log(kWarning, "plugin_opt_login_password has no effect: plugin_opt_login is off");
  }
  if (options.guard == engine::GuardMode::kReport) {
    Log(kWarning, "the topic guard only reports (plugin_opt_guard report): denies nothing");
  }
  Log(kNotice, options.acl_other == engine::AclOther::kAllow
                   ? "topics that are not OTA's are allowed to everybody (plugin_opt_acl_other "
                     "allow): an acl_file or access plugin after this one is not asked"
                   : "topics that are not OTA's are left to acl_file and other plugins "
                     "(plugin_opt_acl_other defer); where there is none they are denied");
  if (!options.download_base) {
    Log(kNotice, "no plugin_opt_download_base: files are delivered over MQTT only");
  } else if (options.download_listen) {
    Log(kNotice, "download server on " + options.download_listen->address + " port " +
                     std::to_string(options.download_listen->port) + ", known to devices as " +
                     *options.download_base);
  } else {
    Log(kNotice, "no plugin_opt_download_listen: another web server must serve the files under " +
                     *options.download_base);
  }
}

core::Result<std::unique_ptr<Instance>> MakeInstance(mosquitto_plugin_id_t* id,
                                                     const struct mosquitto_opt* options,
                                                     int count) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  pairs.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    pairs.emplace_back(View(options[i].key), View(options[i].value));
  }
  auto parsed = engine::ParseOptions(pairs);
  if (!parsed) {
    return tl::unexpected(std::move(parsed.error()));
  }
  auto instance = std::make_unique<Instance>();
  instance->id = id;
  instance->options = *std::move(parsed);
  for (const std::string& text : instance->options.identity) {
    auto rule = guard::ParseIdentityRule(text);
    if (!rule) {
      rule.error().message.insert(0, "plugin_opt_");
      return tl::unexpected(std::move(rule.error()));
    }
    instance->rules.push_back(*std::move(rule));
  }
  instance->login = {instance->options.login_password,
                     instance->options.login == engine::LoginMode::kAllow};

  instance->service = TheService().lock();
  if (instance->service) {
    if (!engine::SameService(instance->options, instance->service->options())) {
      return core::Fail(core::ErrorCode::kInvalidArgument,
                        "another listener runs the plugin with other options: only identity, "
                        "administrators, bridges, login, login_password, guard and acl_other may "
                        "differ");
    }
  } else {
    instance->service = std::make_shared<Service>(instance->options);
    if (auto started = instance->service->Start(); !started) {
      return tl::unexpected(std::move(started.error()));
    }
    TheService() = instance->service;
  }
  if (auto registered = Register(*instance); !registered) {
    Unregister(*instance);
    return tl::unexpected(std::move(registered.error()));
  }
  Tell(*instance);
  return instance;
}

}  // namespace
}  // namespace ota

#define OTA_EXPORT extern "C" __attribute__((visibility("default")))

OTA_EXPORT int mosquitto_plugin_version(int count, const int* versions) {
  return std::find(versions, versions + count, ota::kInterface) == versions + count
             ? -1
             : ota::kInterface;
}

OTA_EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t* id, void** user,
                                     struct mosquitto_opt* options, int count) {
  return ota::Guarded(MOSQ_ERR_UNKNOWN, [=] {
    ota::core::Result<std::unique_ptr<ota::Instance>> instance;
    try {
      instance = ota::MakeInstance(id, options, count);
    } catch (const std::exception& error) {  // no thread, no memory
      instance = ota::core::Fail(ota::core::ErrorCode::kUnavailable,
                                 std::string("the plugin cannot be started: ") + error.what());
    }
    if (!instance) {
      ota::Log(ota::engine::LogLevel::kError, instance.error().message);
      return static_cast<int>(MOSQ_ERR_INVAL);
    }
    *user = instance->release();
    return static_cast<int>(MOSQ_ERR_SUCCESS);
  });
}

OTA_EXPORT int mosquitto_plugin_cleanup(void* user, struct mosquitto_opt*, int) {
  return ota::Guarded(MOSQ_ERR_SUCCESS, [=] {
    const std::unique_ptr<ota::Instance> instance(static_cast<ota::Instance*>(user));
    if (instance) {
      ota::Unregister(*instance);
    }
    return static_cast<int>(MOSQ_ERR_SUCCESS);
  });
}
