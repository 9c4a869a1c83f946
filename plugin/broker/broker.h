// What the plugin asks of Mosquitto: a line of its log, a client's texts, a publish. Broker thread
// only, but for Log(), Quote() and View(); none of them waits.
#pragma once

#include <mosquitto_broker.h>

#include <string>
#include <string_view>

#include "engine/outbox.h"
#include "guard/identity.h"

namespace ota::broker {

// Writes a line of the broker's log, behind "ota: ".
void Log(engine::LogLevel level, const std::string& text);

// Text of a client in quotes, fit for a line of a log: at most 120 bytes of it, no control
// characters.
std::string Quote(std::string_view text);

// What Mosquitto gives as a text or null.
std::string_view View(const char* text);

// The credential by which the client is known; empty if it has none of this kind.
std::string CredentialOf(const struct mosquitto* client, guard::Credential credential);

// Hands a message to the broker, for its client or for who has subscribed. Gives Mosquitto's code;
// what fails is lost: the device asks again.
int Publish(const engine::Message& message);

}  // namespace ota::broker
