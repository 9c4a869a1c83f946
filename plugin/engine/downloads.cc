#include "engine/downloads.h"

#include <algorithm>
#include <chrono>

#include "engine/timeline.h"

namespace ota::engine {
namespace {

constexpr std::size_t kMaxSigns = 20000;
constexpr std::chrono::seconds kSignEvery{10};
constexpr core::seconds kRetryAfter{10};

bool SameFacts(const store::PackageFile& row, const package::FileFacts& facts) {
  return row.bytes == facts.bytes && row.inode == static_cast<std::int64_t>(facts.inode) &&
         row.mtime_ns == facts.mtime_ns && row.ctime_ns == facts.ctime_ns &&
         row.sha256 == facts.sha256 && row.md5 == facts.md5;
}

package::FileFacts FactsOf(const store::PackageFile& row) {
  package::FileFacts facts;
  facts.bytes = row.bytes;
  facts.inode = static_cast<std::uint64_t>(row.inode);
  facts.mtime_ns = row.mtime_ns;
  facts.ctime_ns = row.ctime_ns;
  facts.sha256 = row.sha256;
  facts.md5 = row.md5;
  return facts;
}

}  // namespace

core::Result<std::unique_ptr<Downloads>> Downloads::Start(const Options& options, Inbox& inbox,
                                                          Outbox& outbox) {
  std::unique_ptr<Downloads> downloads(new Downloads(options, inbox, outbox));
  auto store = package::OpenStore(options.packages);
  if (!store) {
    return tl::unexpected(store.error());
  }
  auto served = package::OpenStore(options.packages);
  if (!served) {
    return tl::unexpected(served.error());
  }
  downloads->store_fd_ = std::make_shared<const package::Descriptor>(std::move(*store));
  downloads->files_ = std::make_shared<package::Files>(std::move(*served));
  downloads->directory_ = options.packages;
  downloads->lifetime_ = core::seconds(options.download_lifetime);
  if (options.download_base) {
    auto base = package::CheckBase(*options.download_base);
    if (!base) {
      return tl::unexpected(base.error());
    }
    downloads->base_ = std::move(*base);
  }
  auto workers = package::Workers::Start();
  if (!workers) {
    return tl::unexpected(workers.error());
  }
  downloads->workers_ = std::move(*workers);
  if (!options.download_listen) {
    return downloads;
  }
  auto key = package::AddressKey::Load(options.token_key);
  if (!key) {
    return tl::unexpected(key.error());
  }
  downloads->key_ = std::make_unique<package::AddressKey>(*key);
  package::ServerOptions server;
  server.address = options.download_listen->address;
  server.port = options.download_listen->port;
  server.max_connections = options.download_connections;
  server.bytes_per_second = options.download_bytes_per_second;
  package::ServerCallbacks callbacks;
  Downloads* self = downloads.get();
  callbacks.on_sign = [self](const package::DownloadSign& sign) {
    self->inbox_.TryPost([self, sign] { self->Sign(sign.device, sign.file); });
  };
  callbacks.on_changed = [self](std::int64_t file, const std::string&) {
    self->inbox_.TryPost([self, file] { self->HashAgain(file); });
  };
  callbacks.on_failed = [self](const std::exception& why) {
    self->Failed("a request to the download server", "", why);
  };
  callbacks.unix_seconds = [] {
    return std::chrono::duration_cast<core::seconds>(Clocks().wall.time_since_epoch()).count();
  };
  auto started = package::Server::Start(server, *key, downloads->files_, std::move(callbacks));
  if (!started) {
    return tl::unexpected(started.error());
  }
  downloads->server_ = std::move(*started);
  return downloads;
}

Downloads::~Downloads() {
  Stop();
}

void Downloads::Stop() {
  server_.reset();
  if (workers_) {
    workers_->Stop();
  }
}

Delivery Downloads::delivery() const {
  return {base_, key_.get(), lifetime_};
}

Downloads::Key Downloads::KeyOf(const store::PackageFile& file) {
  return {file.product, file.package, file.source, file.seq};
}

// ---------------------------------------------------------------- hashing

void Downloads::Hash(const store::PackageFile& file) {
  const Key key = KeyOf(file);
  const auto known = hashing_.find(key);
  if (known != hashing_.end() && known->second == file.path) {
    return;
  }
  hashing_[key] = file.path;
  waiting_.emplace_back(key, file.path);
  Submit();
}

void Downloads::HashAgain(std::int64_t file) {
  for (const auto& [key, row] : rows_) {
    if (row.id == file) {
      Hash(row);
    }
  }
}

// A device may make thousands of requests: one sign of it in kSignEvery is enough.
void Downloads::Sign(std::int64_t device, std::int64_t file) {
  const auto now = std::chrono::steady_clock::now();
  if (signed_.size() >= kMaxSigns) {
    std::erase_if(signed_, [&](const auto& one) { return now - one.second >= kSignEvery; });
  }
  const auto [last, first] = signed_.try_emplace({device, file}, now);
  if ((first || now - last->second >= kSignEvery) && signs_.size() < kMaxSigns) {
    last->second = now;
    signs_.emplace_back(device, file);
  }
}

// One file at a time: more would only make the disk seek.
void Downloads::Submit() {
  if (waiting_.empty() || inspecting_) {
    return;
  }
  const auto& [key, path] = waiting_.front();
  package::Workers::Job job = [this, key = key, path = path,
                               fd = store_fd_](const std::stop_token& stop) {
    auto facts = package::Inspect(
        fd->get(), path, [&stop](std::int64_t, std::int64_t) { return !stop.stop_requested(); });
    if (stop.stop_requested()) {
      return;
    }
    inbox_.Post([this, key, path, facts = std::move(facts)] {
      inspecting_ = false;
      findings_.push_back({key, path, facts});
      waiting_.pop_front();
      Submit();
    });
  };
  package::Workers::Failed failed = [this, path = path](const std::exception& why) {
    Failed("the digest of package file", path, why);
    inspecting_ = false;
  };
  inspecting_ = true;
  if (!workers_->Submit(package::Workers::Length::kLong, std::move(job), std::move(failed))) {
    inspecting_ = false;
  }
}

void Downloads::Failed(std::string_view what, std::string_view name,
                       const std::exception& why) noexcept {
  try {
    const std::lock_guard lock(failed_mutex_);
    const auto untold = failed_.Allow(std::chrono::steady_clock::now());
    if (!untold) {
      return;
    }
    std::string line(what);
    line += name.empty() ? "" : " '" + std::string(name) + "'";
    line += std::string(" has failed: ") + why.what();
    line += *untold == 0 ? ""
                         : ", and " + std::to_string(*untold) +
                               " more pieces of work have failed since the last line";
    outbox_.Log(LogLevel::kError, std::move(line));
  } catch (const std::exception&) {
    return;  // no memory for a line
  }
}

store::Status Downloads::Refresh(store::Store& store, core::Now) {
  if (auto status = store.ForgetGoneFiles(); !status) {
    return status;
  }
  auto files = store.PackageFiles();
  if (!files) {
    return tl::unexpected(files.error());
  }
  rows_.clear();
  for (store::PackageFile& file : *files) {
    const Key key = KeyOf(file);
    if (file.id == 0 || file.state == store::FileState::kHashing) {
      file.state = store::FileState::kHashing;
      if (file.id == 0) {
        auto id = store.SavePackageState(file);
        if (!id) {
          return tl::unexpected(id.error());
        }
        file.id = *id;
      }
      Hash(file);
    } else if (file.state == store::FileState::kRefused) {
      Hash(file);  // the rule that refused it may be another now
    }
    rows_.emplace(key, std::move(file));
  }
  table_changed_ = true;
  return {};
}

core::Result<bool> Downloads::SaveFindings(store::Store& store, core::Now now) {
  bool changed = false;
  saved_ = findings_.size();
  for (const Finding& finding : findings_) {
    const auto found = rows_.find(finding.key);
    if (found == rows_.end() || found->second.path != finding.path) {
      continue;
    }
    store::PackageFile row = found->second;
    // What was added once stays what it is: other content is another package.
    const std::string& expected = row.expected.empty() ? row.sha256 : row.expected;
    looked_.erase(finding.key);
    if (!finding.facts) {
      row.state = store::FileState::kRefused;
      row.problem = finding.facts.error().message;
    } else if (!expected.empty() && expected != finding.facts->sha256) {
      row.state = store::FileState::kRefused;
      row.problem = "file '" + row.path + "' has changed: its SHA-256 is " + finding.facts->sha256 +
                    ", not " + expected +
                    "; put the file back, or add the new one as another package";
      looked_[finding.key] = *finding.facts;
    } else if (row.sha256.empty() && finding.facts->bytes > row.limit_bytes) {
      // One that was accepted stays so when the rule is tightened.
      row.state = store::FileState::kRefused;
      row.problem = "file '" + row.path + "': " + std::to_string(finding.facts->bytes) +
                    " bytes; rule max_file_bytes of profile '" + row.profile + "' allows " +
                    std::to_string(row.limit_bytes);
      looked_[finding.key] = *finding.facts;
    } else if (row.state == store::FileState::kReady && SameFacts(row, *finding.facts)) {
      continue;
    } else {
      row.state = store::FileState::kReady;
      row.problem.clear();
    }
    if (row.state == store::FileState::kReady) {
      row.bytes = finding.facts->bytes;
      row.inode = static_cast<std::int64_t>(finding.facts->inode);
      row.mtime_ns = finding.facts->mtime_ns;
      row.ctime_ns = finding.facts->ctime_ns;
      row.sha256 = finding.facts->sha256;
      row.md5 = finding.facts->md5;
    }
    if (row.state == store::FileState::kRefused &&
        found->second.state == store::FileState::kRefused && row.problem == found->second.problem) {
      continue;
    }
    row.checked = now.wall;
    auto id = store.SavePackageState(row);
    if (!id) {
      return tl::unexpected(id.error());
    }
    row.id = *id;
    if (row.state == store::FileState::kRefused) {
      said_.push_back({LogLevel::kWarning, "package '" + row.package + "' of product '" +
                                               row.product + "' is not ready: " + row.problem});
    }
    found->second = std::move(row);
    changed = true;
  }
  table_changed_ = table_changed_ || changed;
  return changed;
}

void Downloads::Committed() {
  for (std::size_t i = 0; i < saved_; ++i) {
    const Finding& finding = findings_[i];
    const auto running = hashing_.find(finding.key);
    if (running != hashing_.end() && running->second == finding.path) {
      hashing_.erase(running);
    }
  }
  for (LogLine& line : said_) {
    outbox_.Log(line.level, std::move(line.text));
  }
  said_.clear();
  findings_.erase(findings_.begin(), findings_.begin() + static_cast<std::ptrdiff_t>(saved_));
  saved_ = 0;
  if (table_changed_) {
    BuildTable();
    table_changed_ = false;
  }
}

void Downloads::Undone() {
  saved_ = 0;
  said_.clear();
}

void Downloads::BuildTable() {
  auto table = std::make_shared<package::ServedFiles>();
  for (const auto& [key, row] : rows_) {
    // One that is away or changed may come back: devices wait for it, rather than give up.
    if (row.id != 0 && !row.sha256.empty()) {
      table->emplace(row.id, package::ServedFile{row.path, FactsOf(row),
                                                 row.state == store::FileState::kReady});
    }
  }
  files_->SetTable(std::move(table));
}

void Downloads::Check() {
  Submit();  // what failed, or found no room
  if (checking_) {
    return;
  }
  struct Known {
    store::PackageFile row;
    std::optional<package::FileFacts> looked;
  };
  std::vector<Known> files;
  for (const auto& [key, row] : rows_) {
    if (row.state == store::FileState::kReady) {
      files.push_back({row, FactsOf(row)});
    } else if (row.state == store::FileState::kRefused) {
      const auto looked = looked_.find(key);
      files.push_back(
          {row, looked == looked_.end() ? std::optional<package::FileFacts>() : looked->second});
    }
  }
  package::Workers::Job job = [this, files = std::move(files), fd = store_fd_,
                               directory = directory_](const std::stop_token& stop) {
    if (!package::IsStore(fd->get(), directory)) {
      inbox_.Post([this] {
        checking_ = false;
        if (OpenAgain()) {
          Check();
        }
      });
      return;
    }
    std::vector<store::PackageFile> differ;
    for (const Known& known : files) {
      if (stop.stop_requested()) {
        return;
      }
      auto file = package::OpenInside(fd->get(), known.row.path);
      const bool same =
          known.looked ? file && package::CheckUnchanged(file->get(), known.row.path, *known.looked)
                       : !file;
      if (!same) {
        differ.push_back(known.row);
      }
    }
    inbox_.Post([this, differ = std::move(differ)] {
      checking_ = false;
      for (const store::PackageFile& row : differ) {
        Hash(row);
      }
    });
  };
  package::Workers::Failed failed = [this](const std::exception& why) {
    Failed("the look at the store directory", "", why);
    checking_ = false;
  };
  checking_ = true;
  if (!workers_->Submit(package::Workers::Length::kLong, std::move(job), std::move(failed))) {
    checking_ = false;
  }
}

// ---------------------------------------------------------------- blocks

void Downloads::Serve(BlockJob job) {
  const auto now = std::chrono::steady_clock::now();
  if (blocks_.Push(job, now) ||
      Refuse(job, core::ReplyCode::kTooMany, "too many requests for blocks wait")) {
    return;
  }
  if (const auto untold = surplus_.Allow(now)) {
    const core::DeviceKey& device = job.envelope.device;
    outbox_.Log(LogLevel::kWarning,
                std::to_string(*untold + 1) +
                    " requests for blocks were dropped of devices that have too many waiting, and "
                    "whose dialect has no answer to that; the last one: device " +
                    device.product + "/" + device.device);
  }
}

void Downloads::ServeDue(const std::function<bool(const BlockJob&)>& wanted) {
  while (std::optional<BlockJob> job = blocks_.Take(std::chrono::steady_clock::now(), wanted)) {
    Read(std::move(*job));
  }
}

bool Downloads::Refuse(const BlockJob& job, core::ReplyCode code, std::string why) {
  core::Reply reply;
  reply.id = job.id;
  reply.to = "block";
  if (!job.task.empty()) {
    reply.task = job.task;
  }
  reply.code = code;
  reply.message = std::move(why);
  if (code == core::ReplyCode::kUnavailable || code == core::ReplyCode::kTooMany) {
    reply.retry_after = kRetryAfter;
  }
  auto encoded = job.dialect->encode(job.envelope.device, reply, {512, Clocks().wall});
  if (!encoded || encoded->topic.empty()) {
    return false;
  }
  Message message = job.envelope;
  message.topic = std::move(encoded->topic);
  message.payload = std::move(encoded->payload);
  message.qos = encoded->qos;
  std::vector<Message> messages;
  messages.push_back(std::move(message));
  outbox_.Push(std::move(messages));
  return true;
}

void Downloads::Read(BlockJob job) {
  auto shared = std::make_shared<BlockJob>(std::move(job));
  const auto refuse = [this, shared](core::ReplyCode code, std::string why) {
    Refuse(*shared, code, std::move(why));
  };
  const bool taken = workers_->Submit(
      package::Workers::Length::kShort,
      [this, shared, refuse](const std::stop_token& stop) {
        auto file = files_->Open(shared->grant.file.id);
        if (!file) {
          if (file.error().code == core::ErrorCode::kCorruption) {
            inbox_.TryPost([this, id = shared->grant.file.id] { HashAgain(id); });
          }
          // It belongs to the open task, so it is only away: a 404 would have the device forget the
          // task.
          refuse(core::ReplyCode::kUnavailable, file.error().message);
          return;
        }
        std::int64_t offset = shared->grant.offset;
        for (int i = 0; i < shared->grant.count && offset < (*file)->bytes(); ++i) {
          if (stop.stop_requested()) {
            return;
          }
          if (!serving_) {
            refuse(core::ReplyCode::kUnavailable, "everything is stopped");
            return;
          }
          auto bytes = (*file)->Read(offset, static_cast<std::size_t>(shared->grant.length));
          if (!bytes) {
            inbox_.TryPost([this, id = shared->grant.file.id] { HashAgain(id); });
            refuse(core::ReplyCode::kUnavailable, bytes.error().message);
            return;
          }
          const auto length = static_cast<std::int64_t>(bytes->size());
          auto encoded =
              shared->dialect->encode_block(shared->envelope.device, shared->grant, offset,
                                            std::move(*bytes), shared->envelope.qos);
          Message message = shared->envelope;
          if (encoded.addressed) {
            message.client = shared->client;
          }
          message.topic = std::move(encoded.topic);
          message.payload = std::move(encoded.payload);
          message.qos = encoded.qos;
          std::vector<Message> messages;
          messages.push_back(std::move(message));
          if (!outbox_.PushWhenRoom(std::move(messages))) {
            return;
          }
          offset += length;
        }
        for (Message& message : shared->after) {
          message.lane = Lane::kBlock;
        }
        if (!shared->after.empty()) {
          outbox_.PushWhenRoom(std::move(shared->after));
        }
      },
      [this, shared, refuse](const std::exception& why) {
        Failed("the reading of blocks for device", shared->envelope.device.device, why);
        try {
          refuse(core::ReplyCode::kUnavailable, "the file could not be read");
        } catch (const std::exception&) {
          return;  // the device asks again
        }
      });
  if (!taken) {
    refuse(core::ReplyCode::kUnavailable, "too many blocks are being read");
  }
}

// ---------------------------------------------------------------- the rest

std::vector<std::pair<std::int64_t, std::int64_t>> Downloads::TakeSigns() {
  return std::exchange(signs_, {});
}

core::Result<void> Downloads::OpenAgain() {
  auto store = package::OpenStore(directory_);
  auto served = package::OpenStore(directory_);
  if (!store || !served) {
    return tl::unexpected((store ? served : store).error());
  }
  store_fd_ = std::make_shared<const package::Descriptor>(std::move(*store));
  files_->SetStore(std::move(*served));
  return {};
}

std::vector<LogLine> Downloads::Reload(const Options& options) {
  std::vector<LogLine> lines;
  directory_ = options.packages;
  if (auto opened = OpenAgain(); !opened) {
    lines.push_back({LogLevel::kError, "reload: " + opened.error().message +
                                           "; the directory opened before stays in use"});
  }
  if (key_) {
    auto key = package::AddressKey::Load(options.token_key);
    if (key) {
      *key_ = *key;
      server_->SetKey(*key);
    } else {
      lines.push_back(
          {LogLevel::kError, "reload: " + key.error().message + "; the old key stays in use"});
    }
  }
  Check();
  return lines;
}

void Downloads::SetReserved(std::int64_t devices) {
  if (server_) {
    server_->SetReserved(devices);
  }
}

void Downloads::SetServing(bool serving) {
  if (serving_.exchange(serving) != serving && server_) {
    server_->SetServing(serving);
  }
}

void Downloads::SetHeld(std::unordered_set<std::int64_t> devices) {
  if (devices != held_ && server_) {
    held_ = devices;
    server_->SetHeld(std::move(devices));
  }
}

void Downloads::SetBytesPerSecond(std::int64_t rate) {
  if (server_) {
    server_->SetBytesPerSecond(rate);
  }
}

}  // namespace ota::engine
