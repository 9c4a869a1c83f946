// How the clouds' gateways log their sub-devices in and out over their own connection, and say
// which devices are behind them:
//   /ext/session/PRODUCT/DEVICE/combine/login, .../combine/logout
//   .../combine/login/batch (EnOS), .../combine/batch_login, .../combine/batch_logout (Alibaba)
//   /sys/PRODUCT/DEVICE/thing/topo/add, .../thing/topo/delete, .../thing/topo/get
// each answered on the same topic with `_reply`. PRODUCT and DEVICE are the gateway's. These say
// who is there, not what is upgraded, so they are no uplinks and never reach the engine: decoded,
// checked (guard/login.h) and answered on the broker's thread. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "core/model.h"
#include "dialect/dialect.h"

namespace ota::dialect {

// In one message, and on one connection.
inline constexpr std::size_t kMaxSubDevices = 200;

enum class SessionAct {
  kLogin,
  kLoginBatch,
  kLoginList,
  kLogout,
  kLogoutList,
  kTopoAdd,
  kTopoDelete,
  kTopoGet
};

// Whether it is about the topology, which is kept, and not about this connection.
bool IsTopology(SessionAct act);

struct SessionTopic {
  std::string_view product;  // the gateway's
  std::string_view device;
  SessionAct act = SessionAct::kLogin;
  bool reply = false;
  std::string_view word = "deviceKey";  // Dialect::gateways
};

// Nothing for any other topic. Any bytes are allowed; the views point into `topic`.
std::optional<SessionTopic> ParseSession(std::string_view topic);

struct SubDevice {
  core::DeviceKey key;
  std::string sign;
  std::string client_id;
  std::string timestamp;
  std::string sign_method;
};

struct SessionRequest {
  std::string id;                  // echoed as it came
  std::vector<SubDevice> devices;  // one, but in a batch or of a topology; none: it is asked for
};

struct SessionError {
  std::string id;
  std::string message;
};

tl::expected<SessionRequest, SessionError> DecodeSession(SessionAct act, std::string_view payload);

// As EnOS numbers them.
enum class SessionCode {
  kOk = 200,
  kDisabled = 723,  // in a batch: some failed
  kOtherGateway = 740,
  kWrongSign = 742,
  kTooMany = 743,
  kFixed = 744,
  kMalformed = 1220,
  kUnavailable = 1221,
};

struct SubResult {
  core::DeviceKey device;
  SessionCode code = SessionCode::kOk;
};

// The answer to `topic`, in a topology's with the devices if it was asked for; `code` is for a
// request that named no device that was looked at.
Encoded EncodeSession(const SessionTopic& topic, std::string_view id,
                      std::span<const SubResult> results, SessionCode code = SessionCode::kOk,
                      std::string_view message = {});

}  // namespace ota::dialect
