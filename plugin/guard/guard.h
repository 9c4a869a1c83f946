// The topic guard: who may publish, receive and subscribe to what among the OTA topics. Pure: a
// client and a topic in, a verdict out. What is not an OTA topic is not the guard's to decide.
//
// A device publishes and receives only under its own name, and a gateway under those of its
// sub-devices, registered or logged in; downlink topics belong to the plugin alone; administrators
// read everything; a bridge that the configuration names acts for all devices behind it. Runs on
// the broker thread for every access check and message. Governed by [N-1], [N-3], [N-4]; what a
// topic is, dialect/topic.h says.
#pragma once

#include <optional>
#include <set>
#include <string_view>

#include "core/model.h"
#include "dialect/topic.h"
#include "guard/registry.h"

namespace ota::guard {

// What is known of the client that acts.
struct Client {
  std::optional<core::DeviceKey> device;  // by the identity rules
  bool administrator = false;
  bool bridge = false;
  const Registry* registry = nullptr;  // who is behind which gateway; null: not known yet
  // Sub-devices that have logged in over this connection; null: none.
  const std::set<core::DeviceKey>* logged_in = nullptr;
};

enum class Verdict { kOther, kAllow, kDeny };

// Whether the topic's device is the client's own, or a sub-device of it.
bool IsOwn(const Client& client, const dialect::TopicClass& topic);

// A topic that is not ours (kOther), unless it belongs to a device's cloud: then a device has to do
// with its own alone. Who is no device is not judged.
Verdict CheckSystem(const Client& client, const dialect::TopicClass& topic);

// A client's publish, or its will. Allowed: an uplink of its own; of any device for a bridge.
Verdict CheckWrite(const Client& client, const dialect::TopicClass& topic);

// A delivery to the client. Allowed: its own; anything for administrators and bridges.
Verdict CheckRead(const Client& client, const dialect::TopicClass& topic);

// A subscription, by dialect::ClassifyFilter: as CheckRead, for all that the filter can match
// inside the OTA topics.
Verdict CheckSubscribe(const Client& client, const dialect::TopicClass& filter);

}  // namespace ota::guard
