// The running plugin, as the callbacks see it: who is there, what is taken in, what is answered on
// the broker's thread, what is given out. One per process, however many listeners load it.
//
// Broker thread only, and never waits, but for the wake thread's look at the outbox. `client` is
// Mosquitto's, of the event that is being handled, and never null.
#pragma once

#include <mosquitto_broker.h>
#include <pthread.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "core/model.h"
#include "core/result.h"
#include "crypto/random.h"
#include "dialect/dialect.h"
#include "dialect/session.h"
#include "dialect/topic.h"
#include "engine/engine.h"
#include "engine/inbox.h"
#include "engine/options.h"
#include "engine/outbox.h"
#include "engine/presence.h"
#include "engine/push_limit.h"
#include "engine/wake.h"
#include "guard/login.h"
#include "guard/rate.h"
#include "guard/refusals.h"
#include "guard/registry.h"
#include "guard/sessions.h"

namespace ota::broker {

class Service {
 public:
  explicit Service(engine::Options options);
  // Ends every thread; what the engine has taken it commits. Within 5 s.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Starts the engine. Fails with a mistake of the configuration, or what the system refuses.
  core::Result<void> Start();

  const engine::Options& options() const { return options_; }
  bool OnMainThread() const { return pthread_equal(pthread_self(), main_) != 0; }

  // Without ticks nothing can be answered, so nothing is taken. Asked in every callback.
  bool Ticks();

  // Gives out what waits.
  void Tick();
  // A client has sent something: a tick comes before the broker waits. (It asks about what it
  // delivers also between the two.)
  void Works() { wake_.Work(); }

  // A device is on the connection of `client`. `alone`: it is the device itself, and its dialect
  // allows it one connection. Gives the connection's generation. A client that is being thrown out
  // is asked about its subscriptions: then nothing is known.
  std::uint64_t Seen(const core::DeviceKey& device, const struct mosquitto* client, bool alone);
  // The connection of `client` has ended.
  void Gone(const struct mosquitto* client);
  // The generation of the device's connection, if it is that of `client`; else 0.
  std::uint64_t LiveOn(const core::DeviceKey& device, const struct mosquitto* client) const;

  // SIGHUP.
  void Reload();
  // Something else than the broker's asking again about every session has happened.
  void ReloadIsOver() { replaying_ = false; }

  // Null: not loaded yet.
  std::shared_ptr<const guard::Registry> registry() const { return engine_->registry(); }
  // The secret that a login of nobody is compared with.
  std::string_view decoy() const { return decoy_; }

  // Answers a CONNECT with a code of Mosquitto. 2.0 asks about every session again at SIGHUP: then
  // the answer is all that comes of it.
  int Login(const guard::LoginVerdict& verdict, const core::DeviceKey& device,
            const struct mosquitto* client);

  // The sub-devices that are logged in on the connection. Null: none.
  const std::set<core::DeviceKey>* SubDevicesOn(
      const struct mosquitto* client, const std::optional<core::DeviceKey>& gateway) const;

  // Answers a gateway that logs sub-devices in or out.
  void TakeSession(const dialect::SessionTopic& topic, std::string_view payload,
                   const struct mosquitto* client);

  // A message that is not OTA's goes by.
  void Overhear(std::string_view topic, std::string_view payload);

  // Takes an authorised uplink; what cannot be taken is answered here, without decoding.
  void Take(const dialect::Dialect& dialect, const dialect::TopicClass& topic,
            std::string_view payload, int qos, const struct mosquitto* client, bool own);

  // Answers an uplink that did not reach the engine; at most once a second per client. Where the
  // dialect has no such answer, the log counts them.
  void Reply(const dialect::Dialect& dialect, const core::DeviceKey& device,
             std::uint64_t connection, const struct mosquitto* client, core::Reply reply);

  // Tells of a denial; at most once a second per client. `act` continues "client 'x' ".
  void TellDenied(const struct mosquitto* client, std::string_view act, std::string_view topic);

  // The hint for an open broker: a publish was left to others, and nothing came of it ...
  void Deferred(std::string_view topic);
  // ... or something did.
  void Allowed();

 private:
  using Clock = std::chrono::steady_clock;

  // Hands to the broker what is for the live connection of its device.
  void Send(engine::Message message);
  // As broker::Publish. A failure is a line of the log, at most one a minute.
  void Give(const engine::Message& message);
  // Answers a report that is the last one again, unless something of the device is on its way.
  bool AnswerAgain(const dialect::Dialect& dialect, const core::DeviceKey& device,
                   std::uint64_t connection, std::string_view payload);
  // An uplink was dropped, and its device cannot be told.
  void Dropped(const core::DeviceKey& device, core::ReplyCode code);
  // A second login of a device ends the first, where its dialect says so. Not in the callback of
  // another client's CONNECT: the broker is in the middle of its own list.
  void ThrowOut();
  void HintAtDeferred();

  // What a gateway's request does to one of its sub-devices on the broker's thread.
  dialect::SessionCode Do(dialect::SessionAct act, const guard::Registry& devices,
                          const core::DeviceKey& gateway, const dialect::SubDevice& sub,
                          const struct mosquitto* client);
  dialect::SessionCode LogIn(const core::DeviceKey& gateway, const core::DeviceKey& device,
                             const struct mosquitto* client);
  dialect::SessionCode LogOut(const core::DeviceKey& device, const struct mosquitto* client);
  // Whether the sub-device's own signature is right, and it may be behind this gateway. `binds`: it
  // is to be bound to it.
  dialect::SessionCode Prove(const guard::Registry& devices, const core::DeviceKey& gateway,
                             const dialect::SubDevice& sub, bool binds,
                             const struct mosquitto* client);
  // One line names the device and why; `verdict.device` is a client's text.
  void TellRefused(const guard::LoginVerdict& verdict, std::string_view reason,
                   const struct mosquitto* client, Clock::time_point now);

  // Requests of a gateway for its sub-devices, each up to 1 ms of work.
  static constexpr int kSessionBurst = 250;
  static constexpr auto kSessionEvery = std::chrono::milliseconds(50);

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
  const std::string decoy_ = crypto::RandomName(32).value_or("");
  const std::string seed_ = crypto::RandomName(16).value_or("");
  guard::Refusals refusals_{seed_};
  engine::PushLimit gateway_answers_{engine::kAnswersPerHour};  // above it those that subscribed
  guard::Buckets session_requests_{kSessionBurst, kSessionEvery, seed_};
  guard::Sessions sessions_;
  bool replaying_ = false;     // at SIGHUP
  bool throwing_out_ = false;  // a client, just now
  guard::OncePerMinute dropped_;
  guard::OncePerMinute unpublished_;
  std::optional<Clock::time_point> first_callback_;
  bool told_ticks_ = false;
  std::optional<std::string> deferred_;  // topic of a deferred publish, until the next tick
  bool proved_allowed_ = false;          // or hinted already
};

}  // namespace ota::broker
