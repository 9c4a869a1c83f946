// MQTT 3.1.1 and 5 as far as an emulated device needs it: packets out as bytes, bytes in as
// packets. QoS 0 and 1 in both directions; a subscription is never above QoS 1, so QoS 2 does not
// come in. Knows no sockets and no dialect. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ota::fleet::mqtt {

enum class Version : std::uint8_t { k311 = 4, k5 = 5 };

enum class Kind : std::uint8_t {
  kConnect = 1,
  kConnack = 2,
  kPublish = 3,
  kPuback = 4,
  kSubscribe = 8,
  kSuback = 9,
  kPingreq = 12,
  kPingresp = 13,
  kDisconnect = 14,
};

struct Connect {
  Version version = Version::k311;
  std::string client_id;
  std::string user;      // empty: none
  std::string password;  // empty: none
  bool clean = true;     // else MQTT 5 asks for a session of an hour
  std::uint16_t keepalive_s = 0;
};

// One packet that came. Views point into the bytes that were parsed.
struct Packet {
  Kind kind = Kind::kPingresp;
  bool dup = false;
  bool retain = false;
  bool session_present = false;  // CONNACK
  std::uint8_t qos = 0;          // PUBLISH
  std::uint8_t code = 0;         // CONNACK, PUBACK, DISCONNECT, and the first of SUBACK
  std::uint16_t id = 0;
  std::string_view topic;
  std::string_view payload;
};

// Each appends one packet to `to`.
void Append(std::string& to, const Connect& connect);
void AppendSubscribe(std::string& to, Version version, std::uint16_t id,
                     const std::vector<std::string>& filters, std::uint8_t qos);
void AppendPublish(std::string& to, Version version, std::string_view topic,
                   std::string_view payload, std::uint8_t qos, std::uint16_t id);
void AppendPuback(std::string& to, std::uint16_t id);
void AppendPing(std::string& to);
void AppendDisconnect(std::string& to);

enum class Parsed { kPacket, kIncomplete, kMalformed };

// Reads one packet from the beginning of `bytes` and takes it away from there.
Parsed Take(Version version, std::string_view& bytes, Packet& packet);

}  // namespace ota::fleet::mqtt
