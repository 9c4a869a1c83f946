// The yardstick of the benchmarks: a Mosquitto plugin that answers every native uplink at once, in
// the broker's own thread, and keeps nothing. It answers as a device expects it, so that the same
// fleet can run against it: a version report of 1.0 gets a plan, an acceptance a download,
// everything a reply. No checks, no identity, no database.
//
// The broker's main thread. Never load it outside a benchmark.
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

mosquitto_plugin_id_t* plugin_id = nullptr;

constexpr std::string_view kPlan =
    R"({"task":"k7Qm2ZrT","mode":"silent","components":[{"name":"main","type":"firmware","package":"full","to":"2.0","bytes":9000,"boot":true}],"plan":"spring","expiresIn":86400,"now":1795219200})";
constexpr std::string_view kDownload =
    R"({"task":"k7Qm2ZrT","component":"main","package":"full","to":"2.0","attempt":1,"deadlineIn":3600,"blocks":true,"files":[{"name":"pump-main-2.0-any-0.bin","bytes":9000,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","url":"http://127.0.0.1:8070/0123456789abcdef0123456789abcdef0123456789abcdef"}],"expiresIn":86400,"now":1795219200})";

void Publish(const char* topic, std::string_view text) {
  void* payload = mosquitto_malloc(text.size());  // the broker takes it over
  if (payload != nullptr) {
    std::memcpy(payload, text.data(), text.size());
    mosquitto_broker_publish(nullptr, topic, static_cast<int>(text.size()), payload, 1, false,
                             nullptr);
  }
}

int OnMessage(int, void* event, void*) {
  const auto* message = static_cast<const mosquitto_evt_message*>(event);
  const std::string_view topic = message->topic;
  const auto up = topic.rfind("/up/");
  if (!topic.starts_with("ota/v1/") || up == std::string_view::npos) {
    return MOSQ_ERR_SUCCESS;
  }
  const std::string_view payload(static_cast<const char*>(message->payload), message->payloadlen);
  const auto kind = topic.substr(up + 4);
  char down[256];
  const auto address = [&](const char* leaf) {
    std::snprintf(down, sizeof down, "%.*s/down/%s", static_cast<int>(up), topic.data(), leaf);
    return down;
  };
  if (kind == "version" && payload.find("\"bootId\"") != std::string_view::npos &&
      payload.find("\"main\":\"1.0\"") != std::string_view::npos) {  // of the fleet
    Publish(address("plan"), kPlan);
  } else if (kind == "confirm") {
    Publish(address("download"), kDownload);
  }
  constexpr std::string_view kId = "\"id\":\"";
  const auto id = payload.find(kId);
  if (id != std::string_view::npos) {
    const auto begin = id + kId.size();
    const auto text = payload.substr(begin, payload.find('"', begin) - begin);
    char reply[256];
    const int length = std::snprintf(
        reply, sizeof reply, R"({"id":"%.*s","to":"%.*s","code":200,"now":1795219200})",
        static_cast<int>(text.size()), text.data(), static_cast<int>(kind.size()), kind.data());
    Publish(address("reply"), std::string_view(reply, static_cast<std::size_t>(length)));
  }
  return MOSQ_ERR_SUCCESS;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int mosquitto_plugin_version(int count,
                                                                    const int* versions) {
  for (int i = 0; i < count; ++i) {
    if (versions[i] == 5) {
      return 5;
    }
  }
  return -1;
}

__attribute__((visibility("default"))) int mosquitto_plugin_init(mosquitto_plugin_id_t* identifier,
                                                                 void**, mosquitto_opt*, int) {
  plugin_id = identifier;
  return mosquitto_callback_register(plugin_id, MOSQ_EVT_MESSAGE, OnMessage, nullptr, nullptr);
}

__attribute__((visibility("default"))) int mosquitto_plugin_cleanup(void*, mosquitto_opt*, int) {
  return mosquitto_callback_unregister(plugin_id, MOSQ_EVT_MESSAGE, OnMessage, nullptr);
}
}
