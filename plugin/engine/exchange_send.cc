// What a decision says becomes rows and messages: the part of Exchange that saves and sends.
#include <algorithm>
#include <iterator>
#include <utility>

#include "core/names.h"
#include "engine/exchange.h"

namespace ota::engine {
namespace {

constexpr std::size_t kLongestUrl = 254;
// Addresses expire at whole multiples of this, so that one that is sent again is the same [N-19].
constexpr std::int64_t kExpiryStep = 60;
constexpr core::seconds kDropLine{60};
// Blocks to a client itself, in one connection. It may read none of them, and what the broker drops
// of them it leaks: above its max_queued_messages (1000 unless it is told otherwise), of which
// other messages to it need 300 in an hour.
constexpr int kBlocksToClient = 600;
// A message that does not fit puts its task back and lets the next one try: at most this often per
// event.
constexpr int kMaxUnsendable = 8;

bool IsEnded(const core::Task& task) {
  return task.ended != core::Instant{};
}

// Whether this is the line of the task's end.
bool Ends(const core::LogEntry& entry, const core::Task& task) {
  return IsEnded(task) && entry.task == task.name && entry.new_state == core::Name(task.state);
}

}  // namespace

store::Status Exchange::Apply(Loaded& loaded, core::Decision decision, Lane lane,
                              const core::Uplink* uplink, int depth) {
  const core::DeviceKey key = loaded.snapshot.device.key;
  if (uplink != nullptr) {
    LimitLog(decision);
  }
  const bool stored = decision.device_changed || loaded.snapshot.device.id == 0;
  if (auto status = store_->Save(decision, now_.wall); !status) {
    return status;
  }
  const std::int64_t device = decision.device.id;
  if (stored) {
    seen_.erase(device);
  } else if (uplink != nullptr && device != 0) {
    seen_[device] = decision.device;
  }
  connections_.SetDevice(key, device);
  pace_.Apply(loaded.snapshot, decision, now_.steady);
  Audit(key, decision);

  const Connection* connection = connections_.Find(key);
  if (connection != nullptr && connection->generation != loaded.snapshot.device.connection) {
    connection = nullptr;
  }
  std::vector<Message> messages;
  std::optional<dialect::TooLarge> too_large;
  std::string unsendable;
  bool replies = false;
  if (connection != nullptr) {
    const dialect::Dialect* speaks = Speaks(*loaded.product, connection);
    for (core::Downlink& downlink : decision.messages) {
      if (speaks == nullptr) {
        break;
      }
      const dialect::Limits limits{static_cast<std::size_t>(decision.device.max_bytes), now_.wall};
      auto* reply = std::get_if<core::Reply>(&downlink);
      core::Download* download = reply != nullptr && reply->download
                                     ? &*reply->download
                                     : std::get_if<core::Download>(&downlink);
      auto encoded = download != nullptr && !AddUrls(*download, device) && !download->blocks
                         ? tl::unexpected(dialect::TooLarge{kLongestUrl + 1, kLongestUrl})
                         : speaks->encode(key, downlink, limits);
      if (!encoded) {
        too_large = encoded.error();
        unsendable = download != nullptr ? download->task : std::get<core::Offer>(downlink).task;
        if (reply == nullptr) {
          continue;
        }
        reply->download.reset();  // there is nothing for it then
        encoded = speaks->encode(key, downlink, limits);
      }
      if (!encoded) {
        continue;
      }
      PushLimit& limit = reply != nullptr ? answer_limit_ : push_limit_;
      if (auto message = Address(std::move(*encoded), key, *connection, lane, limit)) {
        messages.push_back(std::move(*message));
        replies = reply != nullptr;
      } else if (reply != nullptr && reply->code != core::ReplyCode::kOk && uplink != nullptr) {
        Drop({key, speaks, {}, {}, {}, {}, {}}, *reply);
      }
    }
  }
  Remember(loaded.snapshot, decision);
  if (decision.blocks && connection != nullptr) {
    BlockJob job;
    job.grant = std::move(*decision.blocks);
    job.envelope.lane = Lane::kBlock;
    job.envelope.device = key;
    job.envelope.connection = connection->generation;
    job.dialect = connection->dialect;
    if (connection->blocks + job.grant.count <= kBlocksToClient) {
      job.client = connection->client;
      connections_.Edit(key)->blocks += job.grant.count;
    }
    job.after = std::move(messages);
    if (uplink != nullptr) {
      job.id = uplink->id;
      job.task = TaskOf(*uplink);
    }
    outcome_.blocks.push_back(std::move(job));
    return {};
  }
  if (!too_large || depth >= kMaxUnsendable) {
    std::ranges::move(messages, std::back_inserter(outcome_.messages));
    return {};
  }
  // What was saved above stands; the task that cannot be told of goes back, and another one may
  // take its turn. The reply still comes last [N-13].
  std::optional<Message> reply;
  if (replies) {
    reply = std::move(messages.back());
    messages.pop_back();
  }
  std::ranges::move(messages, std::back_inserter(outcome_.messages));
  auto again = Load(*loaded.product, key);
  if (!again) {
    return tl::unexpected(again.error());
  }
  auto status = Apply(*again,
                      core::DecideUnsendable(again->snapshot, unsendable,
                                             static_cast<std::int64_t>(too_large->needed),
                                             static_cast<std::int64_t>(too_large->limit), now_),
                      lane, nullptr, depth + 1);
  if (reply) {
    outcome_.messages.push_back(std::move(*reply));
  }
  return status;
}

// False: there is no address that fits.
bool Exchange::AddUrls(core::Download& download, std::int64_t device) {
  download.http = download.http && !delivery_.base.empty();
  if (!download.http) {
    return true;
  }
  const std::int64_t now =
      std::chrono::duration_cast<core::seconds>(now_.wall.time_since_epoch()).count();
  const std::int64_t expires = ((now + delivery_.lifetime.count()) / kExpiryStep + 1) * kExpiryStep;
  download.expires_in = core::seconds(expires - now);
  for (const core::File& file : download.files) {
    auto url = delivery_.key != nullptr
                   ? package::SignUrl(delivery_.base, *delivery_.key,
                                      {device, file.id, file.sha256, expires, file.name})
                   : package::PlainUrl(delivery_.base, file.path);
    if (!url) {
      outcome_.log.push_back({LogLevel::kError, "download address: " + url.error().message});
      download.urls.clear();
      download.http = false;
      return false;
    }
    download.urls.push_back(std::move(*url));
  }
  return true;
}

// The message for the device; nothing: its dialect has no such message, or it had too many.
std::optional<Message> Exchange::Address(dialect::Encoded encoded, const core::DeviceKey& key,
                                         const Connection& connection, Lane lane,
                                         PushLimit& limit) {
  if (encoded.topic.empty()) {
    return std::nullopt;
  }
  const bool answers = &limit == &answer_limit_;
  if (encoded.addressed) {
    const PushLimit::Answer answer = limit.Count(key, now_.steady);
    if (answer == PushLimit::Answer::kFirstRefused) {
      outcome_.log.push_back(
          {LogLevel::kWarning, "device " + key.product + '/' + key.device + " has been sent " +
                                   std::to_string(limit.per_hour()) +
                                   (answers ? " answers" : " messages") +
                                   " within an hour; until that is over it gets " +
                                   (answers ? "more only where it has subscribed" : "no more")});
    }
    if (answer != PushLimit::Answer::kSend) {
      if (!answers) {
        return std::nullopt;
      }
      encoded.addressed = false;
    }
  }
  Message message;
  message.lane = lane;
  message.device = key;
  message.connection = connection.generation;
  if (encoded.addressed) {
    message.client = connection.client;
  }
  message.topic = std::move(encoded.topic);
  message.payload = std::move(encoded.payload);
  message.qos = encoded.qos;
  return message;
}

// What was wrong and cannot be answered is counted, and said once a minute.
void Exchange::Drop(const Arrival& arrival, const core::Reply& reply) {
  ++dropped_;
  if (dropped_said_ && now_.steady - *dropped_said_ < kDropLine) {
    return;
  }
  dropped_said_ = now_.steady;
  outcome_.log.push_back(
      {LogLevel::kWarning,
       std::to_string(std::exchange(dropped_, 0)) +
           " messages were dropped of devices whose dialect has no answer to them; the last one: "
           "device " +
           arrival.device.product + '/' + arrival.device.device + ", " +
           std::string(arrival.dialect->name) + " " + reply.to + ": " +
           std::to_string(static_cast<int>(reply.code)) + " " + reply.message});
}

void Exchange::ReplyTo(const Arrival& arrival, core::Reply reply) {
  const Connection* connection = connections_.Find(arrival.device);
  if (connection == nullptr || connection->generation != arrival.connection) {
    return;
  }
  if (!reply.id && reply.code == core::ReplyCode::kOk &&
      arrival.kind != dialect::UplinkKind::kQuery) {
    return;
  }
  reply.to = std::string(dialect::UplinkName(arrival.kind));
  auto encoded = arrival.dialect->encode(
      arrival.device, reply, {static_cast<std::size_t>(connection->max_bytes), now_.wall});
  if (!encoded) {
    return;
  }
  if (auto message =
          Address(std::move(*encoded), arrival.device, *connection, Lane::kAnswer, answer_limit_)) {
    outcome_.messages.push_back(std::move(*message));
  } else {
    Drop(arrival, reply);
  }
}

// What was said in this connection, so that what is owed is said once, and whether something waits
// for its turn.
void Exchange::Remember(const core::Snapshot& before, const core::Decision& decision) {
  const core::DeviceKey& key = before.device.key;
  const Connection* now = connections_.Find(key);
  if (now == nullptr) {
    return;
  }
  auto queued = before.queued.size();
  for (const core::Task& task : decision.tasks) {
    const bool was = std::ranges::any_of(
        before.queued, [&](const core::Task& one) { return one.name == task.name; });
    queued += task.state == core::TaskState::kQueued ? 1 : 0;
    queued -= was ? 1 : 0;
  }
  const bool waits = queued > 0;
  if (now->reported == decision.device.reported_connection &&
      now->max_bytes == decision.device.max_bytes && now->owed == decision.owed_connection &&
      now->download == decision.download_connection && now->waits == waits) {
    return;
  }
  Connection* next = connections_.Edit(key);
  next->reported = decision.device.reported_connection;
  next->max_bytes = decision.device.max_bytes;
  next->owed = decision.owed_connection;
  next->download = decision.download_connection;
  next->waits = waits;
}

// The end of every task is a line in the broker's log, so that a remote syslog keeps what a
// database can lose.
void Exchange::Audit(const core::DeviceKey& key, const core::Decision& decision) {
  for (const core::Task& task : decision.tasks) {
    const bool now = std::ranges::any_of(
        decision.log, [&](const core::LogEntry& entry) { return Ends(entry, task); });
    if (now) {
      outcome_.log.push_back(
          {LogLevel::kNotice, "audit task " + task.name + " of plan '" + task.plan->name +
                                  "', device " + key.product + '/' + key.device + ": " +
                                  std::string(core::Name(task.state)) + " (" +
                                  std::string(core::Name(task.reason)) + ")" +
                                  (task.detail.empty() ? "" : ": " + task.detail)});
    }
  }
}

// The log is pruned by age alone, and many devices may fill the disk together. What a device says
// beyond its limit is stored all the same, but the log keeps only how its tasks end.
void Exchange::LimitLog(core::Decision& decision) {
  if (disk_low_) {  // Engine::Judge has said so
    std::erase_if(decision.log,
                  [](const core::LogEntry& entry) { return entry.new_state == entry.old_state; });
  }
  const core::Device& device = decision.device;
  if (device.id == 0) {
    return;
  }
  using Answer = decltype(log_limit_)::Answer;
  std::erase_if(decision.log, [&](core::LogEntry& entry) {
    if (std::ranges::any_of(decision.tasks,
                            [&](const core::Task& task) { return Ends(entry, task); })) {
      return false;
    }
    const Answer answer = log_limit_.Count(device.id, now_.steady);
    if (answer == Answer::kFirstRefused) {
      const std::string why = "more than " + std::to_string(log_limit_.per_hour()) +
                              " lines of the log in an hour: further ones are left out, but for "
                              "the ends of tasks";
      entry.detail = why;
      outcome_.log.push_back({LogLevel::kWarning, "device " + device.key.product + '/' +
                                                      device.key.device + ": " + why});
    }
    return answer == Answer::kRefused;
  });
}

void Exchange::AddRepeated(const std::vector<Unchanged::Seen>& answered) {
  for (const Unchanged::Seen& one : answered) {
    Repeated& last = repeated_[one.device];
    last.seen = std::max(last.seen, one.at);
    if (one.measured) {
      last.reported = std::max(last.reported, one.at);
    }
  }
}

void Exchange::TakeRepeated() {
  AddRepeated(unchanged_.TakeSeen());
}

void Exchange::EndRepeated() {
  AddRepeated(unchanged_.Clear());
}

void Exchange::EndRepeated(const core::Device& device) {
  if (const auto last = unchanged_.Forget(device.key)) {
    AddRepeated({*last});
  }
  repeatable_.erase(device.key);
  if (const auto last = repeated_.extract(device.key); last && device.id != 0) {
    NoteSeen(device, last.mapped());
  }
}

void Exchange::NoteSeen(const core::Device& device, const Repeated& last) {
  core::Device& noted = seen_.try_emplace(device.id, device).first->second;
  noted.seen = std::max(noted.seen, last.seen);
  noted.reported = std::max(noted.reported, last.reported);
}

store::Status Exchange::FlushSeen(std::size_t limit) {
  for (std::size_t taken = 0; taken < limit && !repeated_.empty(); ++taken) {
    auto known = store_->LoadDevice(repeated_.begin()->first);
    if (!known) {
      return tl::unexpected(known.error());
    }
    const auto last = repeated_.extract(repeated_.begin());
    if (known->device.id != 0) {
      NoteSeen(known->device, last.mapped());
    }
  }
  std::vector<core::Device> devices;
  for (const auto& [id, device] : seen_) {
    if (devices.size() == limit) {
      break;
    }
    devices.push_back(device);
  }
  if (devices.empty()) {
    return {};
  }
  if (auto status = store_->SaveSeen(devices); !status) {
    return status;
  }
  written_seen_ = std::move(devices);
  return {};
}

void Exchange::Reopened() {
  outcome_ = {};
  seen_.clear();
  written_seen_.clear();
  repeatable_.clear();
  EndRepeated();
  counts_.clear();
  pace_.Reopened();
  windows_.clear();
}

void Exchange::Committed() {
  for (const core::Device& device : written_seen_) {
    const auto found = seen_.find(device.id);
    if (found != seen_.end() && found->second.seen == device.seen) {
      seen_.erase(found);
    }
  }
  written_seen_.clear();
  for (auto& [device, report] : repeatable_) {
    unchanged_.Keep(device, std::move(report));
  }
  repeatable_.clear();
  bursts_.Keep();
  connections_.Keep();
  pace_.Keep();
  outcome_ = {};
}

}  // namespace ota::engine
