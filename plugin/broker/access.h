// Who may connect, publish, receive and subscribe, and what is done with a message that came
// through. Broker thread only, and never waits. Codes are Mosquitto's; what they do to a client,
// broker version by broker version, README.md says.
#pragma once

#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#include <memory>
#include <vector>

#include "broker/service.h"
#include "engine/options.h"
#include "guard/identity.h"
#include "guard/login.h"

namespace ota::broker {

// What one `plugin` line made: its own guard before the one service.
struct Instance {
  engine::Options options;
  std::vector<guard::IdentityRule> rules;
  guard::LoginRules login;
  std::shared_ptr<Service> service;
};

// MOSQ_EVT_ACL_CHECK.
int CheckAccess(const Instance& instance, const mosquitto_evt_acl_check& event);

// MOSQ_EVT_MESSAGE; clears `retain` of what is OTA's.
int TakeMessage(const Instance& instance, mosquitto_evt_message& event);

// MOSQ_EVT_BASIC_AUTH.
int CheckBasicAuth(const Instance& instance, const mosquitto_evt_basic_auth& event);

}  // namespace ota::broker
