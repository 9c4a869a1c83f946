// Which connection each device is on. A connection is a generation: a number that is never given to
// two connections while the plugin runs and is not stored.
//
// Broker thread only. Proof that a device is there is a SUBSCRIBE check of its own topics or a
// MESSAGE on them, and in the dialects in which a second login of a device ends the first also a
// login that it has signed; nothing else (broker/ sees to that): a WRITE check may be a will, a
// READ check may be for a session that is away, any other login may be the device's other program.
// The connection that did so last is the one addressed; an earlier one that still stands and does
// so again is the same connection as before, so that nobody who only listens in makes a device's
// next report its first. A stale disconnect may come after the new connection (mosquitto#2400) and
// is ignored. Every change goes to the inbox. Must not know Mosquitto: a client is an address that
// is compared and never followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/model.h"
#include "engine/inbox.h"

namespace ota::engine {

class Presence {
 public:
  explicit Presence(Inbox& inbox) : inbox_(inbox) {}

  // `device` has just shown that it is on the connection of `client`. Gives the generation: a new
  // one the first time. `alone`: the client is the device itself, and its dialect allows it one
  // connection; an earlier one of that kind is to be ended. `clean`: see IsClean().
  std::uint64_t Seen(const core::DeviceKey& device, const void* client, std::string_view client_id,
                     bool alone = false, bool clean = true);

  // A connection that a later one of the same device has displaced.
  struct Displaced {
    core::DeviceKey device;
    std::string client_id;
  };
  // Those that are to be ended now.
  std::vector<Displaced> TakeDisplaced() { return std::exchange(displaced_, {}); }

  // The connection of `client` has ended: every device that is on it is away.
  void Gone(const void* client);

  // The device is not on the connection of `client` any more, which goes on; nothing if it was not.
  void Left(const core::DeviceKey& device, const void* client);

  // The generation of the device's connection; 0 when it is away.
  std::uint64_t Live(const core::DeviceKey& device) const;

  // Whether the device is there, in a session that began empty with its connection.
  bool IsClean(const core::DeviceKey& device) const;

  // As Live, but 0 also when the device is on another connection than that of `client`.
  std::uint64_t LiveOn(const core::DeviceKey& device, const void* client) const;

  std::size_t size() const { return devices_.size(); }

 private:
  struct Connection {
    const void* client = nullptr;
    std::string client_id;
    std::uint64_t generation = 0;
    bool alone = false;
    bool clean = true;
  };

  void Forget(const void* client, const core::DeviceKey& device);
  // Ends what is known of an earlier connection of the device. Gives its generation; 0: there was
  // none.
  std::uint64_t TakeEarlier(const core::DeviceKey& device, const void* client,
                            std::string_view client_id);

  Inbox& inbox_;
  std::vector<Displaced> displaced_;
  std::uint64_t last_ = 0;
  std::unordered_map<core::DeviceKey, Connection> devices_;
  // Of devices with several connections: those that stand beside the one addressed.
  std::unordered_map<core::DeviceKey, std::vector<Connection>> earlier_;
  // On which devices have been seen. Gateways and bridges carry several.
  std::unordered_map<const void*, std::unordered_set<core::DeviceKey>> carried_;
};

}  // namespace ota::engine
