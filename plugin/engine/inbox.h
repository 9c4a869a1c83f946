// What waits for the engine: uplinks, who is connected, what workers have finished. The broker
// thread and the workers put in, the engine thread takes out in batches.
//
// Bounded in every part. A device has a share (64 messages, 64 KiB) that is free again when the
// engine has dealt with the batch, so that one flooding device does not delay the others; the whole
// is bounded to 64 MiB. Uplinks are first in, first out across all devices. Presence is coalesced:
// the latest state of each device, taken together with the uplinks.
//
// Critical sections are short and allocate little: the broker thread takes this lock. Must not know
// Mosquitto, nor what a payload means.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/model.h"
#include "dialect/topic.h"
#include "engine/telemetry.h"
#include "engine/unchanged.h"

namespace ota::dialect {
struct Dialect;
}

namespace ota::engine {

inline constexpr std::size_t kInboxBytes = std::size_t{64} * 1024 * 1024;
inline constexpr std::size_t kShareMessages = 64;
inline constexpr std::size_t kShareBytes = std::size_t{64} * 1024;
inline constexpr std::size_t kInboxEvents = 4096;
inline constexpr std::size_t kInboxUndelivered = 65536;
inline constexpr std::size_t kTelemetryBytes = std::size_t{16} * 1024 * 1024;
inline constexpr std::size_t kBatchArrivals = 4096;
// A batch of fewer arrivals and changes of presence than this waits so long for more, when the one
// before had several. With a larger number everything that some hundred devices send is one batch,
// and the broker and the engine wait for each other instead of working at the same time.
inline constexpr std::size_t kGather = 8;
inline constexpr std::chrono::microseconds kGatherTime{200};

// One uplink, authorised but not decoded.
struct Arrival {
  core::DeviceKey device;
  const dialect::Dialect* dialect = nullptr;
  dialect::UplinkKind kind = dialect::UplinkKind::kVersion;
  std::string payload;
  std::uint64_t connection = 0;  // generation of the connection that it came over
  std::chrono::steady_clock::time_point at;
  int qos = 0;  // of the publish
};

// What became of an uplink.
enum class Admission {
  kTaken,
  kTooLarge,     // 413: payload above dialect::kMaxUplinkBytes
  kTooMany,      // 429: the device's share is used up
  kUnavailable,  // 503: the inbox is full or stopped
};

// Latest state of one device's connection.
struct PresenceChange {
  core::DeviceKey device;
  std::uint64_t connection = 0;  // generation; 0: away
  std::string client;            // client id of the connection; empty when away
};

// A message of the outbox found its addressee gone.
struct Undelivered {
  core::DeviceKey device;
  std::uint64_t connection = 0;  // for which it was made
};

struct Batch {
  std::vector<PresenceChange> presence;       // apply first
  std::vector<Arrival> arrivals;              // in order of arrival
  std::vector<Undelivered> undelivered;       // one per device
  std::vector<std::function<void()>> events;  // of workers: call on the engine thread
  bool reload = false;                        // SIGHUP: reopen keys, certificates, store
  bool stop = false;                          // Stop() was called, and no arrival is left

  bool empty() const {
    return presence.empty() && arrivals.empty() && undelivered.empty() && events.empty() &&
           !reload && !stop;
  }
};

class Inbox {
 public:
  Inbox() = default;
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // ---- broker thread

  // Takes an uplink, or says why not. Never waits for room.
  Admission Offer(Arrival arrival);

  // The device is connected now (change.connection != 0) or away (0). `known` says that the engine
  // may have been told of an earlier connection that is still the live one; a connection that came
  // and went before the engine looked leaves nothing behind.
  void SetPresence(PresenceChange change, bool known);

  // A message on a topic that is not OTA's, as it goes by: a copy is kept if a value of a device
  // may be in it, one for each topic, the latest. One atomic load while no such topic is
  // configured. Never refuses: what does not fit is counted.
  void OfferTelemetry(std::string_view topic, std::string_view payload);

  void AddUndelivered(const core::DeviceKey& device, std::uint64_t connection);
  void Reload();

  // Whether an uplink of the device waits, or is being dealt with.
  bool Holds(const core::DeviceKey& device);

  // ---- workers

  // Puts in something to be called on the engine thread. Waits for room; gives false, and takes
  // nothing, when Stop() was called.
  bool Post(std::function<void()> event);
  // As Post, but gives false at once when there is no room: for threads that serve somebody.
  bool TryPost(std::function<void()> event);

  // ---- engine thread

  // Waits until something is there, `deadline` has passed, or Stop(). Gives everything but arrivals
  // above `max_arrivals`, which stay. With max_arrivals = 0 arrivals alone do not end the wait.
  Batch Take(std::chrono::steady_clock::time_point deadline,
             std::size_t max_arrivals = kBatchArrivals);

  // Which topics OfferTelemetry() takes.
  void SetTelemetry(std::shared_ptr<const TelemetryTable> table);
  struct Telemetry {
    std::unordered_map<std::string, std::string> messages;  // topic -> payload
    std::size_t dropped = 0;                                // since the last call
  };
  // Telemetry does not end the wait of Take(): the engine asks now and then.
  Telemetry TakeTelemetry();

  // Gives the shares of these arrivals free. Call once per batch, when it is committed or dropped.
  void Done(const std::vector<Arrival>& arrivals);

  // ---- any thread

  // Reports that need not come in at all.
  Unchanged& unchanged() { return unchanged_; }

  struct Depth {
    std::size_t messages = 0;  // arrivals not yet Done
    std::size_t bytes = 0;
    std::chrono::steady_clock::time_point oldest;  // of those not yet taken; max() when none
  };
  Depth depth();

  // Ends every wait; nothing is taken in any more. What is inside can still be taken.
  void Stop();

 private:
  struct Share {
    std::size_t messages = 0;
    std::size_t bytes = 0;
  };
  struct Presence {
    PresenceChange change;
    bool known = false;  // the engine believes in an earlier connection
  };

  std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable room_;
  // Protected by mutex_:
  std::deque<Arrival> arrivals_;
  std::unordered_map<core::DeviceKey, Share> shares_;
  std::size_t messages_ = 0;
  std::size_t bytes_ = 0;
  std::unordered_map<core::DeviceKey, Presence> presence_;
  std::unordered_map<core::DeviceKey, std::uint64_t> undelivered_;
  std::vector<std::function<void()>> events_;
  bool reload_ = false;
  bool gathers_ = false;  // the last batch had several arrivals
  bool stopped_ = false;

  std::atomic<bool> takes_telemetry_{false};
  std::mutex telemetry_mutex_;
  // Protected by telemetry_mutex_:
  std::shared_ptr<const TelemetryTable> telemetry_table_;
  Telemetry telemetry_;
  std::size_t telemetry_bytes_ = 0;

  Unchanged unchanged_;
};

}  // namespace ota::engine
