#include "engine/exchange.h"

#include <algorithm>
#include <type_traits>

#include "core/names.h"
#include "crypto/random.h"

namespace ota::engine {
namespace {

constexpr core::seconds kComeAgain{10};
// A request for blocks that comes again so soon is the same one, sent twice.
constexpr core::seconds kSameRequest{5};

const core::Progress* MergeableProgress(const Decoded& decoded) {
  if (!decoded.uplink || decoded.uplink->id || !decoded.uplink->warnings.empty()) {
    return nullptr;
  }
  const auto* progress = std::get_if<core::Progress>(&decoded.uplink->body);
  if (progress == nullptr || progress->state == core::ProgressState::kFailed ||
      progress->state == core::ProgressState::kRolledBack || progress->percent.value_or(0) == 100) {
    return nullptr;
  }
  return progress;
}

bool SameButPercent(const core::Progress& a, const core::Progress& b) {
  return a.task == b.task && a.component == b.component && a.attempt == b.attempt &&
         a.state == b.state && a.message == b.message && a.retry_after == b.retry_after &&
         a.eta == b.eta;
}

}  // namespace

std::string TaskOf(const core::Uplink& uplink) {
  return std::visit(
      [](const auto& body) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(body)>, core::VersionReport>) {
          return body.task.value_or("");
        } else {
          return body.task;
        }
      },
      uplink.body);
}

std::vector<Decoded> Decode(const std::vector<Arrival>& arrivals) {
  std::vector<Decoded> decoded;
  decoded.reserve(arrivals.size());
  std::unordered_map<core::DeviceKey, std::size_t> last;
  for (const Arrival& arrival : arrivals) {
    Decoded next{&arrival, arrival.dialect->decode(arrival.kind, arrival.payload)};
    const auto [found, first] = last.try_emplace(arrival.device, decoded.size());
    if (!first) {
      Decoded& before = decoded[found->second];
      const core::Progress* old_progress = MergeableProgress(before);
      const core::Progress* new_progress = MergeableProgress(next);
      if (old_progress != nullptr && new_progress != nullptr &&
          before.arrival->connection == arrival.connection &&
          SameButPercent(*old_progress, *new_progress)) {
        before.uplink = std::move(next.uplink);
        continue;
      }
      found->second = decoded.size();
    }
    decoded.push_back(std::move(next));
  }
  return decoded;
}

void Exchange::Begin(store::Store& store, std::shared_ptr<const store::Catalogue> catalogue,
                     core::Now now) {
  store_ = &store;
  if (catalogue_ != catalogue) {
    windows_.clear();
  }
  catalogue_ = std::move(catalogue);
  now_ = now;
}

Exchange::Mark Exchange::mark() const {
  return {outcome_.messages.size(), outcome_.log.size(), outcome_.blocks.size(),
          connections_.Mark(), pace_.Mark()};
}

void Exchange::UndoTo(const Mark& mark) {
  outcome_.messages.resize(mark.messages);
  outcome_.log.resize(mark.log);
  outcome_.blocks.erase(outcome_.blocks.begin() + static_cast<std::ptrdiff_t>(mark.blocks),
                        outcome_.blocks.end());
  connections_.UndoTo(mark.undo);
  pace_.UndoTo(mark.pace);
  counts_.clear();
}

void Exchange::Undone() {
  UndoTo({0, 0, 0, 0, 0});
  bursts_.Undo();
  written_seen_.clear();
  repeatable_.clear();
}

store::Status Exchange::Try(const core::DeviceKey& key, const std::function<store::Status()>& event,
                            const std::function<void()>& refused) {
  const Mark before = mark();
  store::Status status;
  {
    auto savepoint = store_->BeginEvent();
    if (!savepoint) {
      return tl::unexpected(savepoint.error());
    }
    status = event();
    if (status) {
      return savepoint->Keep();
    }
  }
  if (store_->spoiled() || (status.error().code != core::ErrorCode::kConflict &&
                            status.error().code != core::ErrorCode::kInternal)) {
    return status;
  }
  UndoTo(before);
  repeatable_.erase(key);
  if (refused) {
    refused();
  }
  outcome_.log.push_back(
      {LogLevel::kError, "device " + key.product + '/' + key.device +
                             ": the database refused an event: " + status.error().message});
  return {};
}

// ---------------------------------------------------------------- Load

core::Result<Exchange::Loaded> Exchange::Load(const store::ProductEntry& product,
                                              const core::DeviceKey& key) {
  Loaded loaded;
  loaded.product = &product;
  auto known = store_->LoadDevice(key, product.tags);
  if (!known) {
    return tl::unexpected(known.error());
  }
  loaded.known = std::move(*known);
  core::Snapshot& snapshot = loaded.snapshot;
  snapshot.product = product.product;
  snapshot.outbox_full = outbox_full_;
  snapshot.product.http = product.product.http && !delivery_.base.empty();
  snapshot.device = loaded.known.device;
  core::Device& device = snapshot.device;
  device.key = key;
  device.retired = loaded.known.retired;
  EndRepeated(device);
  if (const auto unwritten = seen_.find(device.id); device.id != 0 && unwritten != seen_.end()) {
    device.seen = unwritten->second.seen;
    device.reported = unwritten->second.reported;
    device.battery = unwritten->second.battery;
    device.signal = unwritten->second.signal;
    device.free_bytes = unwritten->second.free_bytes;
  }
  const Connection* connection = connections_.Find(key);
  if (const dialect::Dialect* speaks = Speaks(product, connection)) {
    snapshot.product.wire = speaks->wire;
    snapshot.product.confirms = speaks->confirms;
    snapshot.product.auto_confirm = product.product.auto_confirm || !speaks->confirms;
  }
  if (connection != nullptr) {
    device.connection = connection->generation;
    device.reported_connection = connection->reported;
    snapshot.owed_connection = connection->owed;
    snapshot.download_connection = connection->download;
  }
  if (auto status = LoadBrakes(loaded); !status) {
    return tl::unexpected(status.error());
  }
  if (device.id == 0) {
    return loaded;
  }
  connections_.SetDevice(key, device.id);
  auto tasks = store_->LoadTasks(device, *catalogue_);
  if (!tasks) {
    return tl::unexpected(tasks.error());
  }
  snapshot.open = std::move(tasks->open);
  snapshot.cancels = std::move(tasks->cancels);
  snapshot.queued = std::move(tasks->queued);
  if (auto status = LoadPace(snapshot); !status) {
    return tl::unexpected(status.error());
  }
  return loaded;
}

store::Status Exchange::LoadNamed(Loaded& loaded, const std::string& task) {
  core::Snapshot& snapshot = loaded.snapshot;
  if (task.empty() || snapshot.device.id == 0 || (snapshot.open && snapshot.open->name == task)) {
    return {};
  }
  auto named = store_->LoadTask(task, snapshot.device, *catalogue_);
  if (!named) {
    return tl::unexpected(named.error());
  }
  snapshot.named = std::move(*named);
  return {};
}

// The plans in force that have no task for the device and would match what it reports now, and the
// tasks that failed and whose targets it may show after all [N-27].
store::Status Exchange::LoadProspects(Loaded& loaded, const core::VersionReport& report) {
  core::Snapshot& snapshot = loaded.snapshot;
  core::Device device = snapshot.device;
  bool versions = device.id == 0;
  bool trials = false;
  for (const auto& [component, version] : report.components) {
    const bool trial = std::ranges::find(report.trial, component) != report.trial.end();
    const auto found = std::ranges::find(device.installed, component, &core::Installed::component);
    if (found == device.installed.end()) {
      device.installed.push_back({component, version, trial, now_.wall});
      versions = true;
      continue;
    }
    versions = versions || found->version != version;
    trials = trials || found->trial != trial;
    found->version = version;
    found->trial = trial;
  }
  const bool arrived = device.reported_connection != device.connection ||
                       (report.boot_id && *report.boot_id != device.boot_id);
  if (device.id != 0 && (versions || trials || arrived)) {
    auto failed = store_->LoadFailed(device, *catalogue_);
    if (!failed) {
      return tl::unexpected(failed.error());
    }
    snapshot.failed = std::move(*failed);
  }
  if (!versions && !loaded.product->new_reports) {
    return {};
  }
  std::ranges::sort(device.installed, {}, &core::Installed::component);
  for (const auto& plan : loaded.product->in_force) {
    const auto entry = catalogue_->plans.find(plan->name);
    if (entry == catalogue_->plans.end() || !entry->second.state ||
        plan->scope_kind == core::ScopeKind::kStatic || (!versions && !plan->new_reports) ||
        !core::Matches(*plan, device, true, false)) {
      continue;
    }
    if (device.id != 0) {
      auto has = store_->HasTask(plan->name, device.id);
      if (!has) {
        return tl::unexpected(has.error());
      }
      if (*has) {
        continue;
      }
    }
    auto listed = store_->ListedIn(plan->name, device.key.device);
    if (!listed) {
      return tl::unexpected(listed.error());
    }
    if (!core::Matches(*plan, device, listed->white, listed->black)) {
      continue;
    }
    auto name = crypto::RandomName(kTaskNameLength);
    if (!name) {
      return tl::unexpected(name.error());
    }
    core::Task task = core::MakeTask(plan, std::move(*name), now_.wall);
    task.listed_white = listed->white;
    task.listed_black = listed->black;
    task.position = PositionOf(listed->rank, listed->position, now_.wall);
    snapshot.prospects.push_back(std::move(task));
  }
  return LoadPace(snapshot);
}

// ---------------------------------------------------------------- events

core::Result<bool> Exchange::MayRegister(const store::ProductEntry& product) {
  auto count = counts_.find(product.product.name);
  if (count == counts_.end()) {
    auto counted = store_->CountDevices(product.product.name);
    if (!counted) {
      return tl::unexpected(counted.error());
    }
    count = counts_.emplace(product.product.name, *counted).first;
  }
  return count->second < product.max_devices;
}

// Why the device has nothing to say here, whatever it says; nothing when it has.
std::optional<core::Reply> Exchange::Refuse(const store::ProductEntry* product,
                                            const Loaded& loaded, const core::Uplink& uplink) {
  core::Reply reply;
  if (product == nullptr) {
    reply.code = core::ReplyCode::kNotFound;
    reply.message = "no such product";
  } else if (loaded.known.device.disabled) {
    reply.code = core::ReplyCode::kForbidden;
    reply.message = "the device is disabled";
  } else if (loaded.known.device.id != 0) {
    return std::nullopt;
  } else if (const auto* report = std::get_if<core::VersionReport>(&uplink.body);
             report != nullptr && report->components.empty()) {
    // A query, and there is nothing for a device that has not said what it runs.
  } else if (!std::holds_alternative<core::VersionReport>(uplink.body)) {
    reply.code = core::ReplyCode::kNotFound;
    reply.message = "unknown device: report its version first";
  } else if (!product->product.registers && !loaded.known.configured) {
    reply.code = core::ReplyCode::kForbidden;
    reply.message = "unknown device: devices of this product do not register themselves";
  } else {
    return std::nullopt;
  }
  return reply;
}

store::Status Exchange::Uplink(const Decoded& decoded) {
  const Arrival& arrival = *decoded.arrival;
  if (const Connection* connection = connections_.Find(arrival.device);
      connection != nullptr && connection->dialect != arrival.dialect) {
    connections_.Edit(arrival.device)->dialect = arrival.dialect;
  }
  if (!decoded.uplink) {
    core::Reply reply;
    reply.id = decoded.uplink.error().id;
    reply.task = decoded.uplink.error().task;
    reply.code = decoded.uplink.error().code;
    reply.message = decoded.uplink.error().message;
    ReplyTo(arrival, std::move(reply));
    return {};
  }
  if (IsRepeated(arrival)) {
    return {};
  }
  const store::ProductEntry* product = catalogue_->FindProduct(arrival.device.product);
  Loaded loaded;
  if (product != nullptr) {
    if (product->scanning) {
      if (auto status = LookBefore(*product, arrival.device); !status) {
        return status;
      }
    }
    auto result = Load(*product, arrival.device);
    if (!result) {
      return tl::unexpected(result.error());
    }
    loaded = std::move(*result);
  }
  const dialect::Dialect& dialect = *arrival.dialect;
  const auto* report = std::get_if<core::VersionReport>(&decoded.uplink->body);
  const bool settles = report != nullptr && dialect.settle > core::seconds(0) && product != nullptr;
  if (!settles && dialect.wire.names_tasks) {
    return Judge(std::move(loaded), arrival, *decoded.uplink, Lane::kAnswer);
  }
  core::Uplink uplink = *decoded.uplink;
  if (settles) {
    bursts_.Add(arrival, *report, dialect.settle, now_.steady);
    if (!report->query && !ShowsTarget(*report, loaded.snapshot)) {
      return {};
    }
    const std::optional<Burst> burst = bursts_.Take(arrival.device);
    std::get<core::VersionReport>(uplink.body).components = Settled(*burst, loaded.snapshot);
  }
  if (product != nullptr) {
    Resolve(uplink, loaded, arrival);
  }
  return Judge(std::move(loaded), arrival, uplink, Lane::kAnswer);
}

store::Status Exchange::Settle(const core::DeviceKey& key) {
  const store::ProductEntry* product = catalogue_->FindProduct(key.product);
  const Burst* waiting = bursts_.Find(key);
  if (waiting == nullptr || product == nullptr) {
    bursts_.Take(key);
    return {};
  }
  auto loaded = Load(*product, key);
  if (!loaded) {
    return tl::unexpected(loaded.error());
  }
  core::VersionReport report;
  report.components = Settled(*waiting, loaded->snapshot);
  if (ShowsForeign(report.components, loaded->snapshot) && bursts_.PutOff(key)) {
    return {};
  }
  const std::optional<Burst> burst = bursts_.Take(key);
  report.full = false;
  core::Uplink uplink;
  uplink.body = std::move(report);
  return Judge(std::move(*loaded), burst->origin, uplink, Lane::kPush);
}

// Nobody answers a request twice: the device would take the second answer for the next one's.
bool Exchange::IsRepeated(const Arrival& arrival) {
  if (arrival.kind != dialect::UplinkKind::kBlock || arrival.qos == 0 ||
      arrival.dialect->wire.names_tasks) {
    return false;
  }
  const Connection* connection = connections_.Find(arrival.device);
  if (connection == nullptr) {
    return false;
  }
  if (connection->block == arrival.payload && arrival.at - connection->block_at < kSameRequest) {
    return true;
  }
  Connection* next = connections_.Edit(arrival.device);
  next->block = arrival.payload;
  next->block_at = arrival.at;
  return false;
}

// What the broker thread may answer by itself when it comes again: a report that has changed
// nothing and been told nothing, of a device for which nothing is under way and nothing can begin
// by a report that differs in nothing.
std::optional<Unchanged::Report> Exchange::Repeatable(const Loaded& loaded, const Arrival& arrival,
                                                      const core::Uplink& uplink,
                                                      const core::Decision& decision) const {
  const core::Snapshot& before = loaded.snapshot;
  const auto* report = std::get_if<core::VersionReport>(&uplink.body);
  if (report == nullptr || !uplink.id || !uplink.warnings.empty() || report->request ||
      report->query || report->task || !report->trial.empty() ||
      !arrival.dialect->wire.names_tasks || loaded.product->new_reports ||
      loaded.product->scanning) {
    return std::nullopt;
  }
  if (before.open || !before.queued.empty() || !before.cancels.empty() || !before.streaks.empty()) {
    return std::nullopt;
  }
  if (decision.device_changed || decision.installed_changed || decision.streaks_changed ||
      decision.blocks || !decision.tasks.empty() || !decision.log.empty() ||
      decision.messages.size() != 1) {
    return std::nullopt;
  }
  const auto* reply = std::get_if<core::Reply>(decision.messages.data());
  if (reply == nullptr || reply->code != core::ReplyCode::kOk || reply->task ||
      !reply->message.empty() || !reply->warning.empty() || reply->retry_after || reply->again ||
      reply->download) {
    return std::nullopt;
  }
  auto split = Unchanged::Split(arrival.payload, *uplink.id);
  if (split) {
    split->connection = arrival.connection;
    split->dialect = arrival.dialect;
    split->measured = report->battery || report->signal || report->free_bytes;
  }
  return split;
}

// The dialect of the device: what it spoke last in this connection, else its product's.
const dialect::Dialect* Exchange::Speaks(const store::ProductEntry& product,
                                         const Connection* connection) const {
  return connection != nullptr && connection->dialect != nullptr
             ? connection->dialect
             : dialect::DialectNamed(product.dialect);
}

// Says what the wire does not: which task is meant, and which component.
void Exchange::Resolve(core::Uplink& uplink, const Loaded& loaded, const Arrival& arrival) const {
  const core::Snapshot& snapshot = loaded.snapshot;
  if (auto* report = std::get_if<core::VersionReport>(&uplink.body)) {
    if (auto unnamed = report->components.extract("");
        arrival.dialect->single && !unnamed.empty()) {
      const auto& components = loaded.product->components;
      unnamed.key() =
          components.size() == 1 ? components.begin()->first : std::string(dialect::kMainComponent);
      report->components.insert(std::move(unnamed));
    }
    return;
  }
  const auto told =
      std::ranges::find_if(snapshot.queued, [](const core::Task& task) { return task.offers > 0; });
  const core::Task* task = snapshot.open                   ? &*snapshot.open
                           : told != snapshot.queued.end() ? &*told
                                                           : nullptr;
  if (task == nullptr) {
    return;
  }
  // An answer may come when its attempt is long over, and another one was told.
  const auto is_meant = [&](const core::TaskComponent& one) {
    return (one.state == core::ComponentState::kCurrent ||
            one.state == core::ComponentState::kPending) &&
           dialect::PushId(task->name, one.name, one.attempt) == *uplink.id;
  };
  if (arrival.kind == dialect::UplinkKind::kConfirm && uplink.id && dialect::IsPushId(*uplink.id) &&
      std::ranges::none_of(task->components, is_meant)) {
    return;
  }
  std::visit(
      [task](auto& body) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(body)>, core::VersionReport>) {
          body.task = task->name;
        }
      },
      uplink.body);
  auto* progress = std::get_if<core::Progress>(&uplink.body);
  if (progress == nullptr || !progress->component.empty()) {
    return;
  }
  const auto named =
      std::ranges::find(task->components, dialect::kMainComponent, &core::TaskComponent::name);
  const auto current = std::ranges::find(task->components, core::ComponentState::kCurrent,
                                         &core::TaskComponent::state);
  if (named != task->components.end()) {
    progress->component = named->name;
  } else if (current != task->components.end()) {
    progress->component = current->name;
  }
}

store::Status Exchange::Judge(Loaded loaded, const Arrival& arrival, const core::Uplink& uplink,
                              Lane lane) {
  const std::string task = TaskOf(uplink);
  const store::ProductEntry* product = loaded.product;
  // What was said in an earlier connection is judged as of that one; nothing of it is told to the
  // present one.
  loaded.snapshot.device.connection = arrival.connection;
  std::optional<core::Reply> refusal = Refuse(product, loaded, uplink);
  if (!refusal && loaded.known.device.id == 0) {
    auto may = MayRegister(*product);
    if (!may) {
      return tl::unexpected(may.error());
    }
    if (!*may) {
      refusal.emplace();
      refusal->code = core::ReplyCode::kForbidden;
      refusal->message = "the product has reached its number of devices";
    } else if (const core::seconds later = registrations_.Ask(now_.steady);
               later > core::seconds(0)) {
      refusal.emplace();
      refusal->code = core::ReplyCode::kUnavailable;
      refusal->retry_after = later;
    } else {
      ++counts_[product->product.name];
    }
  }
  if (refusal) {
    refusal->id = uplink.id;
    if (!task.empty()) {
      refusal->task = task;
    }
    ReplyTo(arrival, std::move(*refusal));
    return {};
  }
  if (auto status = LoadNamed(loaded, task); !status) {
    return status;
  }
  if (const auto* report = std::get_if<core::VersionReport>(&uplink.body)) {
    if (auto status = LoadProspects(loaded, *report); !status) {
      return status;
    }
  }
  core::Decision decision = core::DecideUplink(loaded.snapshot, uplink, now_);
  decision.device.seen = now_.wall;
  for (core::Downlink& downlink : decision.messages) {
    if (auto* reply = std::get_if<core::Reply>(&downlink)) {
      reply->to = std::string(dialect::UplinkName(arrival.kind));
    }
  }
  auto repeatable = Repeatable(loaded, arrival, uplink, decision);
  const std::size_t block = outcome_.blocks.size();
  if (auto status = Apply(loaded, std::move(decision), lane, &uplink); !status) {
    return status;
  }
  if (repeatable) {
    repeatable_.insert_or_assign(arrival.device, *std::move(repeatable));
  }
  if (outcome_.blocks.size() > block) {
    outcome_.blocks.back().envelope.qos = std::min(arrival.qos, 1);
  }
  return {};
}

void Exchange::Unavailable(const Decoded& decoded) {
  core::Reply reply;
  reply.code = core::ReplyCode::kUnavailable;
  reply.retry_after = kComeAgain;
  if (decoded.uplink) {
    reply.id = decoded.uplink->id;
    if (std::string task = TaskOf(*decoded.uplink); !task.empty()) {
      reply.task = std::move(task);
    }
  } else {
    reply.id = decoded.uplink.error().id;
  }
  ReplyTo(*decoded.arrival, std::move(reply));
}

}  // namespace ota::engine
