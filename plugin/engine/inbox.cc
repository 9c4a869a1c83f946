// See inbox.h.
#include "engine/inbox.h"

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

namespace ota::engine {
namespace {

// What an arrival costs of the whole inbox.
std::size_t Cost(const Arrival& arrival) {
  return sizeof(Arrival) + arrival.device.product.size() + arrival.device.device.size() +
         arrival.payload.size();
}

}  // namespace

Admission Inbox::Offer(Arrival arrival) {
  const std::size_t bytes = arrival.payload.size();
  if (bytes > dialect::kMaxUplinkBytes) {
    return Admission::kTooLarge;
  }
  {
    const std::lock_guard lock(mutex_);
    if (stopped_ || bytes_ + Cost(arrival) > kInboxBytes) {
      return Admission::kUnavailable;
    }
    Share& share = shares_[arrival.device];
    if (share.messages >= kShareMessages || share.bytes + bytes > kShareBytes) {
      return Admission::kTooMany;
    }
    const std::size_t cost = Cost(arrival);
    arrivals_.push_back(std::move(arrival));  // before it counts: there may be no memory
    ++share.messages;
    share.bytes += bytes;
    ++messages_;
    bytes_ += cost;
  }
  filled_.notify_one();
  return Admission::kTaken;
}

void Inbox::SetPresence(PresenceChange change, bool known) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = presence_.find(change.device);
    const bool believed = found == presence_.end() ? known : found->second.known;
    if (change.connection == 0 && !believed) {
      if (found != presence_.end()) {
        presence_.erase(found);
      }
      return;
    }
    core::DeviceKey device = change.device;
    presence_.insert_or_assign(std::move(device), Presence{std::move(change), believed});
  }
  filled_.notify_one();
}

void Inbox::AddUndelivered(const core::DeviceKey& device, std::uint64_t connection) {
  {
    const std::lock_guard lock(mutex_);
    if (undelivered_.size() >= kInboxUndelivered && !undelivered_.contains(device)) {
      return;  // the device's presence says the same
    }
    undelivered_.insert_or_assign(device, connection);
  }
  filled_.notify_one();
}

bool Inbox::Holds(const core::DeviceKey& device) {
  const std::lock_guard lock(mutex_);
  return shares_.contains(device);
}

void Inbox::Reload() {
  {
    const std::lock_guard lock(mutex_);
    reload_ = true;
  }
  filled_.notify_one();
}

bool Inbox::Post(std::function<void()> event) {
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return stopped_ || events_.size() < kInboxEvents; });
    if (stopped_) {
      return false;
    }
    events_.push_back(std::move(event));
  }
  filled_.notify_one();
  return true;
}

bool Inbox::TryPost(std::function<void()> event) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_ || events_.size() >= kInboxEvents) {
      return false;
    }
    events_.push_back(std::move(event));
  }
  filled_.notify_one();
  return true;
}

Batch Inbox::Take(std::chrono::steady_clock::time_point deadline, std::size_t max_arrivals) {
  Batch batch;
  {
    std::unique_lock lock(mutex_);
    filled_.wait_until(lock, deadline, [this, max_arrivals] {
      return stopped_ || reload_ || !presence_.empty() || !undelivered_.empty() ||
             !events_.empty() || (max_arrivals > 0 && !arrivals_.empty());
    });
    // Where there were several, more are on their way: one turn for all of them costs less.
    const std::size_t waiting = presence_.size() + (max_arrivals > 0 ? arrivals_.size() : 0);
    if (gathers_ && !stopped_ && waiting > 0 && waiting < kGather) {
      lock.unlock();
      std::this_thread::sleep_for(kGatherTime);
      lock.lock();
    }
    // First what takes memory: where there is none, nothing is taken out.
    batch.undelivered.reserve(undelivered_.size());
    for (const auto& [device, connection] : undelivered_) {
      batch.undelivered.push_back({device, connection});
    }
    batch.presence.reserve(presence_.size());
    const auto end =
        arrivals_.begin() + static_cast<std::ptrdiff_t>(std::min(max_arrivals, arrivals_.size()));
    batch.arrivals.assign(std::make_move_iterator(arrivals_.begin()), std::make_move_iterator(end));
    arrivals_.erase(arrivals_.begin(), end);
    gathers_ = batch.arrivals.size() + presence_.size() > 1;
    for (auto& [device, presence] : presence_) {
      batch.presence.push_back(std::move(presence.change));
    }
    presence_.clear();
    undelivered_.clear();
    batch.events.swap(events_);
    batch.reload = std::exchange(reload_, false);
    batch.stop = stopped_ && arrivals_.empty();
  }
  room_.notify_all();
  return batch;
}

void Inbox::OfferTelemetry(std::string_view topic, std::string_view payload) {
  if (!takes_telemetry_.load(std::memory_order_relaxed)) {
    return;
  }
  const std::lock_guard lock(telemetry_mutex_);
  if (telemetry_table_ == nullptr || !telemetry_table_->Matches(topic)) {
    return;
  }
  const auto found = telemetry_.messages.find(std::string(topic));
  const bool known = found != telemetry_.messages.end();
  const std::size_t before = known ? topic.size() + found->second.size() : 0;
  const std::size_t cost = topic.size() + payload.size();
  if (payload.size() > kMaxTelemetryBytes || telemetry_bytes_ - before + cost > kTelemetryBytes) {
    ++telemetry_.dropped;
    return;
  }
  telemetry_bytes_ += cost - before;
  if (known) {
    found->second = payload;
  } else {
    telemetry_.messages.emplace(topic, payload);
  }
}

void Inbox::SetTelemetry(std::shared_ptr<const TelemetryTable> table) {
  takes_telemetry_.store(table != nullptr && !table->empty());
  const std::lock_guard lock(telemetry_mutex_);
  telemetry_table_.swap(table);
}

Inbox::Telemetry Inbox::TakeTelemetry() {
  const std::lock_guard lock(telemetry_mutex_);
  telemetry_bytes_ = 0;
  return std::exchange(telemetry_, {});
}

void Inbox::Done(const std::vector<Arrival>& arrivals) {
  const std::lock_guard lock(mutex_);
  for (const Arrival& arrival : arrivals) {
    const std::size_t bytes = arrival.payload.size();
    --messages_;
    bytes_ -= Cost(arrival);
    const auto share = shares_.find(arrival.device);
    share->second.bytes -= bytes;
    if (--share->second.messages == 0) {
      shares_.erase(share);
    }
  }
}

Inbox::Depth Inbox::depth() {
  const std::lock_guard lock(mutex_);
  return {messages_, bytes_,
          arrivals_.empty() ? std::chrono::steady_clock::time_point::max() : arrivals_.front().at};
}

void Inbox::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  filled_.notify_all();
  room_.notify_all();
}

}  // namespace ota::engine
