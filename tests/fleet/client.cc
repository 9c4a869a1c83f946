#include "fleet/client.h"

namespace ota::fleet {

bool Client::Open(const sockaddr_in& to, std::uint32_t source, mqtt::Connect connect,
                  std::string& why) {
  connect_ = std::move(connect);
  connected_ = false;
  ++generation_;
  packet_.clear();
  return stream_.Open(to, source, why);
}

void Client::OnOpen() {
  mqtt::Append(packet_, connect_);
  Send();
}

std::uint16_t Client::NextId() {
  id_ = id_ == 0xFFFF ? std::uint16_t{1} : static_cast<std::uint16_t>(id_ + 1);
  return id_;
}

// What is built while packets are read goes out in one write afterwards.
void Client::Send() {
  if (!reading_ && !packet_.empty()) {
    stream_.Write(packet_);
    packet_.clear();
  }
}

void Client::Subscribe(const std::vector<std::string>& filters, std::uint8_t qos) {
  mqtt::AppendSubscribe(packet_, connect_.version, NextId(), filters, qos);
  Send();
}

std::uint16_t Client::Publish(std::string_view topic, std::string_view payload, std::uint8_t qos) {
  const std::uint16_t id = qos > 0 ? NextId() : std::uint16_t{0};
  mqtt::AppendPublish(packet_, connect_.version, topic, payload, qos, id);
  Send();
  return id;
}

void Client::Ping() {
  mqtt::AppendPing(packet_);
  Send();
}

void Client::Disconnect() {
  mqtt::AppendDisconnect(packet_);
  stream_.Write(packet_);
  packet_.clear();
  connected_ = false;
  ++generation_;
  stream_.Close();
}

void Client::Drop() {
  packet_.clear();
  connected_ = false;
  ++generation_;
  stream_.Reset();
}

std::size_t Client::OnBytes(std::string_view bytes) {
  const std::size_t all = bytes.size();
  const auto generation = generation_;
  mqtt::Packet packet;
  auto parsed = mqtt::Parsed::kPacket;
  reading_ = true;
  while (generation == generation_ &&
         (parsed = mqtt::Take(connect_.version, bytes, packet)) == mqtt::Parsed::kPacket) {
    OnPacket(packet);
  }
  reading_ = false;
  if (generation != generation_) {
    return all;
  }
  Send();
  if (parsed == mqtt::Parsed::kMalformed) {
    Lose("malformed packet from the broker");
    return all;
  }
  return all - bytes.size();
}

void Client::OnPacket(const mqtt::Packet& packet) {
  switch (packet.kind) {
    case mqtt::Kind::kConnack:
      if (packet.code != 0) {
        Lose("refused by the broker, code " + std::to_string(packet.code) +
             (packet.code == 4 || packet.code == 0x86   ? " (user name or password)"
              : packet.code == 5 || packet.code == 0x87 ? " (not authorized)"
                                                        : ""));
        return;
      }
      connected_ = true;
      owner_.OnConnected(packet.session_present);
      return;
    case mqtt::Kind::kPublish:
      if (packet.qos > 0) {
        mqtt::AppendPuback(packet_, packet.id);
      }
      owner_.OnMessage(packet);
      return;
    case mqtt::Kind::kPuback:
      owner_.OnAcknowledged(packet.id, packet.code);
      return;
    case mqtt::Kind::kSuback:
      owner_.OnSubscribed(packet.code < 0x80);
      return;
    case mqtt::Kind::kDisconnect:
      Lose("DISCONNECT from the broker, code " + std::to_string(packet.code));
      return;
    case mqtt::Kind::kPingresp:
    case mqtt::Kind::kConnect:
    case mqtt::Kind::kSubscribe:
    case mqtt::Kind::kPingreq:
      return;
  }
}

void Client::Lose(const std::string& why) {
  Drop();
  owner_.OnLost(why);
}

void Client::OnEnd(const std::string& why) {
  connected_ = false;
  ++generation_;
  owner_.OnLost(why);
}

}  // namespace ota::fleet
