// One MQTT client on a stream: connects, subscribes, publishes, acknowledges, and tells its owner
// what came. Knows no dialect. The loop's thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/loop.h"
#include "fleet/mqtt.h"

namespace ota::fleet {

class ClientOwner {
 public:
  virtual ~ClientOwner() = default;
  // CONNACK with code 0; any other code ends the connection.
  virtual void OnConnected(bool session_present) = 0;
  virtual void OnSubscribed(bool granted) = 0;
  virtual void OnMessage(const mqtt::Packet& message) = 0;
  virtual void OnAcknowledged(std::uint16_t id, std::uint8_t code) = 0;
  // Not after Disconnect() or Drop().
  virtual void OnLost(const std::string& why) = 0;
};

class Client : private StreamOwner {
 public:
  Client(Loop& loop, ClientOwner& owner) : stream_(loop, *this), owner_(owner) {}

  // OnConnected or OnLost follows. False: no descriptor, no address (see Stream::Open).
  bool Open(const sockaddr_in& to, std::uint32_t source, mqtt::Connect connect, std::string& why);
  void Subscribe(const std::vector<std::string>& filters, std::uint8_t qos);
  // Gives the packet id, 0 at QoS 0.
  std::uint16_t Publish(std::string_view topic, std::string_view payload, std::uint8_t qos);
  void Ping();
  void Disconnect();  // with a DISCONNECT packet
  void Drop();        // a broken line
  // Withholds reading, so that the broker meets a full window.
  void Pause(bool paused) { stream_.Pause(paused); }

  bool connected() const { return connected_; }
  bool closed() const { return stream_.closed(); }

 private:
  void OnOpen() override;
  std::size_t OnBytes(std::string_view bytes) override;
  void OnEnd(const std::string& why) override;
  void Lose(const std::string& why);
  void OnPacket(const mqtt::Packet& packet);
  void Send();
  std::uint16_t NextId();

  Stream stream_;
  ClientOwner& owner_;
  mqtt::Connect connect_;
  std::string packet_;  // that is built at the moment
  std::uint16_t id_ = 0;
  bool connected_ = false;
  bool reading_ = false;  // in OnBytes: acknowledgements wait until all that came is read
  std::uint32_t generation_ = 0;
};

}  // namespace ota::fleet
