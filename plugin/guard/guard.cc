// See guard.h.
#include "guard/guard.h"

#include <string>

namespace ota::guard {
namespace {

Verdict Decide(bool allowed) {
  return allowed ? Verdict::kAllow : Verdict::kDeny;
}

}  // namespace

bool IsOwn(const Client& client, const dialect::TopicClass& topic) {
  if (!client.device || topic.device.empty()) {
    return false;
  }
  return (client.device->product == topic.product && client.device->device == topic.device) ||
         (client.registry != nullptr &&
          client.registry->IsBehind(topic.product, topic.device, *client.device)) ||
         (client.logged_in != nullptr &&
          client.logged_in->contains({std::string(topic.product), std::string(topic.device)}));
}

Verdict CheckSystem(const Client& client, const dialect::TopicClass& topic) {
  if (!topic.system || !client.device || client.administrator || client.bridge) {
    return Verdict::kOther;
  }
  return Decide(IsOwn(client, topic));
}

Verdict CheckWrite(const Client& client, const dialect::TopicClass& topic) {
  if (!topic.ours) {
    return CheckSystem(client, topic);
  }
  return Decide(topic.direction == dialect::Direction::kUp && topic.kind && !topic.device.empty() &&
                (client.bridge || IsOwn(client, topic)));
}

Verdict CheckRead(const Client& client, const dialect::TopicClass& topic) {
  if (!topic.ours) {
    return CheckSystem(client, topic);
  }
  return Decide(client.administrator || client.bridge || IsOwn(client, topic));
}

Verdict CheckSubscribe(const Client& client, const dialect::TopicClass& filter) {
  return CheckRead(client, filter);
}

}  // namespace ota::guard
