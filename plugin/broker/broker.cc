#include "broker/broker.h"

#include <mosquitto.h>

#include <cstddef>
#include <cstring>

#include "crypto/certificate.h"
#include "dialect/utf8.h"
#include "engine/fault_point.h"

namespace ota::broker {

void Log(engine::LogLevel level, const std::string& text) {
  constexpr int kLevels[] = {MOSQ_LOG_DEBUG, MOSQ_LOG_INFO, MOSQ_LOG_NOTICE, MOSQ_LOG_WARNING,
                             MOSQ_LOG_ERR};
  mosquitto_log_printf(kLevels[static_cast<std::size_t>(level)], "ota: %s", text.c_str());
}

std::string Quote(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  const std::string_view shown = dialect::CutBytes(text, kLongest);
  return "'" + dialect::OneLine(shown) + (shown.size() < text.size() ? "...'" : "'");
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

// The copying variant of this call corrupts the accounting of 2.0.
int Publish(const engine::Message& message) {
  void* payload = nullptr;
  if (!message.payload.empty()) {
    payload = mosquitto_malloc(message.payload.size());
    if (payload == nullptr) {
      return MOSQ_ERR_NOMEM;
    }
    std::memcpy(payload, message.payload.data(), message.payload.size());
  }
  const int rc = mosquitto_broker_publish(
      message.client.empty() ? nullptr : message.client.c_str(), message.topic.c_str(),
      static_cast<int>(message.payload.size()), payload, message.qos, false, nullptr);
  if (rc != MOSQ_ERR_SUCCESS) {
    mosquitto_free(payload);
  }
  OTA_FAULT_POINT("published");
  return rc;
}

}  // namespace ota::broker
