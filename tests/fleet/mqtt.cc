#include "fleet/mqtt.h"

#include <algorithm>

namespace ota::fleet::mqtt {
namespace {

constexpr std::uint8_t kSessionExpiry = 0x11;
constexpr std::uint32_t kSessionSeconds = 3600;

void AppendByte(std::string& to, unsigned value) {
  to.push_back(static_cast<char>(value & 0xFFu));
}

void AppendShort(std::string& to, unsigned value) {
  AppendByte(to, value >> 8u);
  AppendByte(to, value);
}

void AppendText(std::string& to, std::string_view text) {
  AppendShort(to, static_cast<unsigned>(text.size()));
  to.append(text);
}

void AppendHeader(std::string& to, Kind kind, unsigned flags, std::size_t length) {
  AppendByte(to, static_cast<unsigned>(kind) << 4u | flags);
  do {
    const auto rest = length / 128;
    AppendByte(to, static_cast<unsigned>(length % 128) | (rest > 0 ? 0x80u : 0u));
    length = rest;
  } while (length > 0);
}

std::uint8_t ByteAt(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::uint16_t ShortAt(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(ByteAt(bytes, at) << 8 | ByteAt(bytes, at + 1));
}

// A variable byte integer at `at`, which moves behind it.
Parsed Length(std::string_view bytes, std::size_t& at, std::size_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 28; shift += 7) {
    if (at >= bytes.size()) {
      return Parsed::kIncomplete;
    }
    const auto byte = ByteAt(bytes, at++);
    value |= static_cast<std::size_t>(byte & 0x7Fu) << shift;
    if ((byte & 0x80u) == 0) {
      return Parsed::kPacket;
    }
  }
  return Parsed::kMalformed;
}

bool SkipProperties(std::string_view body, std::size_t& at) {
  std::size_t length = 0;
  if (Length(body, at, length) != Parsed::kPacket || at + length > body.size()) {
    return false;
  }
  at += length;
  return true;
}

bool ReadPublish(Version version, std::string_view body, unsigned flags, Packet& packet) {
  packet.dup = (flags & 8u) != 0;
  packet.qos = static_cast<std::uint8_t>(flags >> 1u & 3u);
  packet.retain = (flags & 1u) != 0;
  if (body.size() < 2 || packet.qos > 1) {
    return false;
  }
  const std::size_t topic_bytes = ShortAt(body, 0);
  std::size_t at = 2 + topic_bytes;
  if (body.size() < at + (packet.qos > 0 ? 2u : 0u)) {
    return false;
  }
  packet.topic = body.substr(2, topic_bytes);
  if (packet.qos > 0) {
    packet.id = ShortAt(body, at);
    at += 2;
  }
  if (version == Version::k5 && !SkipProperties(body, at)) {
    return false;
  }
  packet.payload = body.substr(at);
  return true;
}

bool ReadSuback(Version version, std::string_view body, Packet& packet) {
  std::size_t at = 2;
  if (body.size() < 3 || (version == Version::k5 && !SkipProperties(body, at)) ||
      at >= body.size()) {
    return false;
  }
  packet.id = ShortAt(body, 0);
  for (; at < body.size(); ++at) {  // the worst: codes from 128 on are refusals
    packet.code = std::max(packet.code, ByteAt(body, at));
  }
  return true;
}

bool ReadBody(Version version, std::string_view body, unsigned flags, Packet& packet) {
  switch (packet.kind) {
    case Kind::kConnack:
      if (body.size() < 2) {
        return false;
      }
      packet.session_present = (ByteAt(body, 0) & 1u) != 0;
      packet.code = ByteAt(body, 1);
      return true;
    case Kind::kPublish:
      return ReadPublish(version, body, flags, packet);
    case Kind::kPuback:
      if (body.size() < 2) {
        return false;
      }
      packet.id = ShortAt(body, 0);
      packet.code = body.size() > 2 ? ByteAt(body, 2) : std::uint8_t{0};
      return true;
    case Kind::kSuback:
      return ReadSuback(version, body, packet);
    case Kind::kPingresp:
      return true;
    case Kind::kDisconnect:
      packet.code = body.empty() ? std::uint8_t{0} : ByteAt(body, 0);
      return true;
    case Kind::kConnect:
    case Kind::kSubscribe:
    case Kind::kPingreq:
      break;
  }
  return false;
}

}  // namespace

void Append(std::string& to, const Connect& connect) {
  std::string body;
  AppendText(body, "MQTT");
  AppendByte(body, static_cast<unsigned>(connect.version));
  AppendByte(body, (connect.clean ? 0x02u : 0u) | (connect.user.empty() ? 0u : 0x80u) |
                       (connect.password.empty() ? 0u : 0x40u));
  AppendShort(body, connect.keepalive_s);
  if (connect.version == Version::k5) {
    if (connect.clean) {
      AppendByte(body, 0);
    } else {
      AppendByte(body, 5);
      AppendByte(body, kSessionExpiry);
      AppendShort(body, kSessionSeconds >> 16u);
      AppendShort(body, kSessionSeconds & 0xFFFFu);
    }
  }
  AppendText(body, connect.client_id);
  if (!connect.user.empty()) {
    AppendText(body, connect.user);
  }
  if (!connect.password.empty()) {
    AppendText(body, connect.password);
  }
  AppendHeader(to, Kind::kConnect, 0, body.size());
  to.append(body);
}

void AppendSubscribe(std::string& to, Version version, std::uint16_t id,
                     const std::vector<std::string>& filters, std::uint8_t qos) {
  std::string body;
  AppendShort(body, id);
  if (version == Version::k5) {
    AppendByte(body, 0);
  }
  for (const auto& filter : filters) {
    AppendText(body, filter);
    AppendByte(body, qos);
  }
  AppendHeader(to, Kind::kSubscribe, 2, body.size());
  to.append(body);
}

void AppendPublish(std::string& to, Version version, std::string_view topic,
                   std::string_view payload, std::uint8_t qos, std::uint16_t id) {
  const std::size_t length =
      2 + topic.size() + (qos > 0 ? 2u : 0u) + (version == Version::k5 ? 1u : 0u) + payload.size();
  AppendHeader(to, Kind::kPublish, static_cast<unsigned>(qos) << 1u, length);
  AppendText(to, topic);
  if (qos > 0) {
    AppendShort(to, id);
  }
  if (version == Version::k5) {
    AppendByte(to, 0);
  }
  to.append(payload);
}

void AppendPuback(std::string& to, std::uint16_t id) {
  AppendHeader(to, Kind::kPuback, 0, 2);
  AppendShort(to, id);
}

void AppendPing(std::string& to) {
  AppendHeader(to, Kind::kPingreq, 0, 0);
}

void AppendDisconnect(std::string& to) {
  AppendHeader(to, Kind::kDisconnect, 0, 0);
}

Parsed Take(Version version, std::string_view& bytes, Packet& packet) {
  if (bytes.empty()) {
    return Parsed::kIncomplete;
  }
  const unsigned first = ByteAt(bytes, 0);
  std::size_t at = 1;
  std::size_t length = 0;
  const auto parsed = Length(bytes, at, length);
  if (parsed != Parsed::kPacket) {
    return parsed;
  }
  if (bytes.size() < at + length) {
    return Parsed::kIncomplete;
  }
  packet = Packet{};
  packet.kind = static_cast<Kind>(first >> 4u);
  if (!ReadBody(version, bytes.substr(at, length), first & 0x0Fu, packet)) {
    return Parsed::kMalformed;
  }
  bytes.remove_prefix(at + length);
  return Parsed::kPacket;
}

}  // namespace ota::fleet::mqtt
