// Who is connected, and what was already said to whom in that connection: the part of a device's
// state that is not stored. A connection is a generation; after a restart nobody is connected, and
// everything owed is sent again. Engine thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/model.h"
#include "dialect/dialect.h"

namespace ota::engine {

struct Connection {
  std::uint64_t generation = 0;
  std::string client;                         // client id
  const dialect::Dialect* dialect = nullptr;  // of the last uplink; null: none yet
  std::int64_t device = 0;                    // row of a registered device; 0: not known yet
  int max_bytes = 2048;                       // longest payload that the device takes
  std::uint64_t reported = 0;                 // generation of the last version report
  // Of the open task: the generation in which the owed message was last sent, and the one in which
  // the current attempt's download was first sent.
  std::uint64_t owed = 0;
  std::uint64_t download = 0;
  bool waits = false;  // a queued task of the device waits for its turn, as far as is known
  int blocks = 0;      // how many were granted that may be sent to the client itself
  // The last request for a block that may come twice (QoS 1), and when.
  std::string block = {};
  std::chrono::steady_clock::time_point block_at = {};
};

// Changes made while a transaction is open can be undone with it.
class Connections {
 public:
  // The device is connected in a new generation, or away (0). Not undone.
  void Apply(const core::DeviceKey& device, std::uint64_t generation, std::string client);

  // Null: away. The pointer holds until the next Apply().
  const Connection* Find(const core::DeviceKey& device) const;

  // The connection, to be changed; its present value is kept for UndoTo(). Null: away.
  Connection* Edit(const core::DeviceKey& device);

  // The registered device of this row, if it is connected; else null.
  const core::DeviceKey* FindDevice(std::int64_t device) const;
  void SetDevice(const core::DeviceKey& key, std::int64_t device);

  // Another database may be behind the store now: rows, and what is owed, count anew.
  void Reopened();

  std::size_t Mark() const { return undo_.size(); }
  void UndoTo(std::size_t mark);
  void Keep() { undo_.clear(); }

  std::size_t size() const { return live_.size(); }
  // The connected devices of `product`, or of all products when it is empty.
  std::vector<core::DeviceKey> Of(const std::string& product) const;
  // Those with a task that waits for its turn.
  std::vector<core::DeviceKey> Waiting() const;

 private:
  std::unordered_map<core::DeviceKey, Connection> live_;
  std::unordered_map<std::int64_t, core::DeviceKey> devices_;
  std::vector<std::pair<core::DeviceKey, Connection>> undo_;
};

}  // namespace ota::engine
