#include "fleet/device.h"

#include <algorithm>
#include <array>

#include "crypto/digest.h"

namespace ota::fleet {
namespace {

constexpr std::int64_t kBlockBytes = 4096;
constexpr int kBlockCount = 16;
constexpr unsigned kMaxFlaps = 5;
constexpr unsigned kMaxTries = 20;
constexpr std::int64_t kPostponeSeconds = 60;
constexpr std::int64_t kBusySeconds = 600;

// splitmix64
std::uint64_t Mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ value >> 30u) * 0xBF58476D1CE4E5B9u;
  value = (value ^ value >> 27u) * 0x94D049BB133111EBu;
  return value ^ value >> 31u;
}

std::string Fill(std::string pattern, const Name& name) {
  for (const auto& [hole, text] :
       {std::pair<std::string_view, const std::string&>{"{product}", name.product},
        {"{device}", name.device}}) {
    const auto at = pattern.find(hole);
    if (at != std::string::npos) {
      pattern.replace(at, hole.size(), text);
    }
  }
  return pattern;
}

std::string Hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text.push_back(kDigits[static_cast<unsigned char>(byte) >> 4u]);
    text.push_back(kDigits[static_cast<unsigned char>(byte) & 15u]);
  }
  return text;
}

}  // namespace

std::string_view NameOf(Behaviour behaviour) {
  constexpr std::array<std::string_view, kBehaviours> kNames = {
      "plain",          "slow",         "flapping",    "herd",       "refusing",     "postponing",
      "fails-download", "fails-verify", "fails-write", "recovering", "rolling-back", "mute"};
  return kNames.at(static_cast<std::size_t>(behaviour));
}

Device::Device(Loop& loop, const Site& site, Figures& figures, unsigned number, Behaviour behaviour)
    : site_(site),
      figures_(figures),
      name_{site.product, site.prefix + std::to_string(number)},
      behaviour_(behaviour),
      random_(Mix(site.seed ^ Mix(number))),
      client_(loop, *this),
      fetch_(loop, [this](const Fetched& fetched) { OnFetched(fetched); }),
      connect_timer_(loop, [this] { Connect(); }),
      reply_timer_(loop,
                   [this] {
                     figures_.Count("sent again");
                     SendFirst();
                   }),
      work_timer_(loop,
                  [this] {
                    const auto work = std::exchange(work_, nullptr);
                    work();
                  }),
      flap_timer_(loop,
                  [this] {
                    figures_.Count("connections broken by themselves");
                    client_.Drop();
                    Reconnect(Random(300 * kMs));
                  }),
      report_timer_(loop,
                    [this] {
                      if (client_.connected() && pending_.empty()) {
                        Report();
                      }
                      report_timer_.Set(site_.report_every);
                    }),
      versions_(site.components) {
  persistent_ = Random() % 100 < site.persistent_percent;
  mqtt_ = Random() % 100 < site.mqtt5_percent ? mqtt::Version::k5 : mqtt::Version::k311;
  blocks_ = site.files == Files::kBlocks || (site.files == Files::kMixed && Random() % 2 == 0);
  recovers_from_ = -2 - static_cast<int>(Random() % 3);
  if (site.spread_addresses) {  // 127.1.0.1 and up
    source_ = 0x7F010001u + number / 250 * 256 + number % 250;
  }
}

std::uint64_t Device::Random() {
  return random_ = Mix(random_);
}

std::int64_t Device::Random(std::int64_t below) {
  return below <= 0 ? 0 : static_cast<std::int64_t>(Random() % static_cast<std::uint64_t>(below));
}

std::string& Device::Installed(const std::string& component) {
  for (auto& [name, version] : versions_) {
    if (name == component) {
      return version;
    }
  }
  return versions_.emplace_back(component, "").second;
}

bool Device::settled() const {
  if (phase_ == Phase::kMute) {
    return true;
  }
  return reported_ && pending_.empty() && phase_ == Phase::kIdle && !work_timer_.armed() &&
         !flap_timer_.armed() && (behaviour_ != Behaviour::kHerd || herd_done_);
}

std::string Device::Kind(std::string_view between, std::string_view mqtt) const {
  std::string text;
  text.append(NameOf(behaviour_)).append(between);
  text.append(persistent_ ? "persistent" : "clean").append(between);
  text.append(mqtt).append(mqtt_ == mqtt::Version::k5 ? "5" : "3.1.1").append(between);
  return text.append(site_.files == Files::kPretended ? "pretended" : blocks_ ? "blocks" : "http");
}

std::string Device::Outcome() const {
  return name_.device + "," + Kind(",", "") + "," + end_ + "," + task_ + "," + promised_;
}

std::string Device::Where() const {
  constexpr std::array<std::string_view, 8> kPhases = {
      "idle", "offered", "fetching", "installing", "proving", "trial", "back", "mute"};
  std::string text = Kind(", ", "MQTT ") + ": ";
  text += ends_ > 0 ? "last end " + end_ : holds_task_ ? "task " + task_ : "no task yet";
  text.append(", ").append(kPhases.at(static_cast<std::size_t>(phase_)));
  text += client_.connected() ? ", connected"
          : client_.closed()  ? ", disconnected"
                              : ", connecting";
  text += reported_ ? ", reported" : "";
  for (const auto& pending : pending_) {
    text.append(", ")
        .append(NameOf(pending.exchange))
        .append(pending.since > 0 ? " sent" : " waits");
  }
  return text + (reply_timer_.armed() ? ", reply awaited" : "");
}

// ---- the connection

void Device::Connect() {
  if (leaving_) {
    return;
  }
  mqtt::Connect connect;
  connect.version = mqtt_;
  connect.client_id = Fill(site_.client_id, name_);
  connect.user = Fill(site_.user, name_);
  connect.password = Fill(site_.password, name_);
  connect.clean = !persistent_;
  opened_at_ = Now();
  reported_ = online_ = false;
  std::string why;
  if (!client_.Open(site_.broker, source_, std::move(connect), why)) {
    figures_.Wrong("no connection could be begun", name_.device, why);
    Reconnect(kSecond);
  }
}

void Device::Reconnect(std::int64_t delay) {
  if (phase_ == Phase::kMute) {
    return;
  }
  reply_timer_.Cancel();
  flap_timer_.Cancel();
  reported_ = false;
  version_at_ = accept_at_ = 0;
  connect_timer_.Set(delay);
}

void Device::Break() {
  herd_done_ = true;
  if (!client_.closed()) {
    figures_.Count("connections broken by the herd");
    client_.Drop();
  }
  Reconnect(0);
}

void Device::Leave() {
  leaving_ = true;
  for (auto* timer : {&connect_timer_, &reply_timer_, &work_timer_, &flap_timer_, &report_timer_}) {
    timer->Cancel();
  }
  fetch_.Stop();
  if (client_.connected()) {
    client_.Disconnect();
  } else {
    client_.Drop();
  }
}

void Device::OnConnected(bool session_present) {
  figures_.Count("connections");
  lost_ = 0;
  online_ = true;
  if (session_present &&
      subscribed_) {  // the broker may know a session that broke before its SUBACK
    figures_.Count("sessions found again");
    OnSubscribed(true);
  } else if (const auto filters = site_.dialect->Filters(name_); !filters.empty()) {
    client_.Subscribe(filters, 1);
  } else {
    OnSubscribed(true);
  }
}

void Device::OnSubscribed(bool granted) {
  if (!granted) {
    figures_.Wrong("subscription refused", name_.device, "see identity of the plugin, and --user");
    client_.Drop();
    Reconnect(5 * kSecond);
    return;
  }
  subscribed_ = true;
  figures_.Took(Exchange::kConnect, Now() - opened_at_);
  if (site_.report_every > 0 && !report_timer_.armed()) {
    report_timer_.Set(Random(site_.report_every));
  }
  // What was not answered on the connection before follows its first report.
  std::erase_if(pending_,
                [](const Pending& pending) { return pending.exchange == Exchange::kVersion; });
  auto rest = std::exchange(pending_, {});
  Report();
  std::move(rest.begin(), rest.end(), std::back_inserter(pending_));
  if (!reply_timer_.armed()) {  // the report needs no reply
    SendFirst();
  }
}

void Device::OnLost(const std::string& why) {
  figures_.Count(online_ ? "connections lost" : "connections that failed");
  if (!site_.may_lose) {
    figures_.Wrong(online_ ? "connection lost" : "no connection", name_.device, why);
  }
  lost_ = std::min(lost_ + 1, 6u);
  Reconnect((100 * kMs << (lost_ - 1)) + Random(100 * kMs));
}

void Device::OnAcknowledged(std::uint16_t, std::uint8_t code) {
  if (code >= 0x80) {
    figures_.Wrong("publish refused", name_.device, "PUBACK " + std::to_string(code));
  }
}

// ---- uplinks

void Device::Ask(Exchange exchange, std::string id, std::optional<Uplink> uplink,
                 std::function<void()> then) {
  if (!uplink) {
    then();
    return;
  }
  pending_.push_back({exchange, std::move(id), std::move(*uplink), 0, 0, std::move(then)});
  if (pending_.size() == 1) {
    SendFirst();
  }
}

void Device::SendFirst() {
  if (pending_.empty() || !client_.connected()) {
    return;
  }
  auto& first = pending_.front();
  if (first.exchange != Exchange::kVersion && !reported_) {
    return;  // the report of this connection comes first [N-9]
  }
  const auto now = Now();
  if (first.since == 0) {
    first.since = now;
  }
  if (first.exchange == Exchange::kVersion) {
    version_at_ = now;
    heard_ = false;
  }
  figures_.Count("uplinks");
  client_.Publish(first.uplink.topic, first.uplink.payload, 1);
  MayFlap();
  if (first.uplink.answered) {
    SetReplyTimer(first.tries++);
  } else {
    Answered();
  }
}

void Device::SetReplyTimer(unsigned tries) {
  constexpr std::array<std::int64_t, 4> kFactors = {1, 3, 6, 12};
  const auto wait = site_.reply * kFactors.at(std::min<std::size_t>(tries, 3));
  reply_timer_.Set(wait + Random(wait / 4));
}

void Device::Answered() {
  reply_timer_.Cancel();
  const Pending first = std::move(pending_.front());
  pending_.pop_front();
  if (first.uplink.answered) {
    figures_.Took(first.exchange, Now() - first.since);
  }
  if (first.exchange == Exchange::kVersion) {
    version_at_ = 0;
  }
  if (first.then) {
    first.then();
  }
  if (!reply_timer_.armed()) {  // `then` may have sent the next one
    SendFirst();
  }
}

void Device::Report() {
  VersionReport report;
  report.id = NextId();
  report.components = versions_;
  report.task = holds_task_ ? task_ : "";
  report.boot_id = "b" + std::to_string(boots_);
  if (phase_ == Phase::kTrial) {
    report.trial = download_.component;
  }
  std::string versions;
  for (const auto& [name, version] : versions_) {
    versions.append(versions.empty() ? "" : " ").append(name).append("=").append(version);
  }
  Ask(Exchange::kVersion, report.id, site_.dialect->Version(name_, report), [this, versions] {
    promised_ = versions;
    OnReported();
  });
}

void Device::Confirm(bool accept, std::int64_t retry_after_s, std::function<void()> then) {
  const auto id = NextId();
  accept_at_ = accept ? Now() : 0;
  Ask(Exchange::kConfirm, id, site_.dialect->Confirm(name_, id, task_, accept, retry_after_s),
      std::move(then));
}

void Device::Progress(std::string_view state, int percent, int code, std::function<void()> then) {
  const auto id = NextId();
  Ask(Exchange::kProgress, id, site_.dialect->Progress(name_, id, download_, state, percent, code),
      std::move(then));
}

// ---- downlinks

void Device::OnMessage(const mqtt::Packet& message) {
  figures_.Count("downlinks");
  figures_.Count("bytes of downlinks", message.payload.size());
  auto downlink = site_.dialect->Decode(name_, message.topic, message.payload);
  if (message.retain) {
    figures_.Wrong("retained downlink", name_.device, std::string(message.topic));
  }
  if (!downlink.problem.empty() && downlink.kind != Downlink::Kind::kReply) {
    figures_.Wrong("downlink that breaks the protocol", name_.device, downlink.problem);
    return;
  }
  if (phase_ == Phase::kMute) {
    return;
  }
  switch (downlink.kind) {
    case Downlink::Kind::kPlan:
      OnPlan(downlink);
      break;
    case Downlink::Kind::kDownload:
      OnDownload(downlink);
      break;
    case Downlink::Kind::kReply:
      OnReply(downlink);
      break;
    case Downlink::Kind::kBlock:
      OnBlock(downlink);
      break;
    case Downlink::Kind::kCancel:
      figures_.Count("cancels");
      if (downlink.task == task_ && (phase_ == Phase::kOffered || phase_ == Phase::kFetching)) {
        Forget("canceled");
      } else if (downlink.task == task_ && phase_ == Phase::kIdle) {
        holds_task_ = false;
      }
      break;
    case Downlink::Kind::kNone:
      break;
  }
  MayFlap();
}

// After a message, in or out.
void Device::MayFlap() {
  if (behaviour_ == Behaviour::kFlapping && flaps_ < kMaxFlaps && client_.connected() &&
      !flap_timer_.armed() && Random() % 4 == 0) {
    ++flaps_;
    flap_timer_.Set(Random(20 * kMs));
  }
}

void Device::OnReply(const Downlink& reply) {
  if (reply.code != 200) {
    figures_.Count("replies " + std::to_string(reply.code));
  }
  const bool mine = !pending_.empty() && pending_.front().since != 0 &&
                    (reply.id == pending_.front().id || (reply.id.empty() && reply.code != 200));
  if (reply.code == 429 || reply.code == 503) {
    if (mine) {
      reply_timer_.Set(std::max<std::int64_t>(reply.again_s, 1) * kSecond + Random(kSecond));
    }
    return;
  }
  if (reply.code == 404 || reply.code == 410) {  // without a task it was a product that is unknown
    const bool to_progress = mine && pending_.front().exchange == Exchange::kProgress;
    if (mine) {
      pending_.pop_front();
      reply_timer_.Cancel();
    }
    if (to_progress && !site_.dialect->NamesTasks()) {
      Forget("over");
    } else if (!reply.task.empty() && reply.task == task_) {
      if (phase_ == Phase::kIdle) {  // the answer to what was sent twice
        holds_task_ = false;
      } else {
        Forget("over");
      }
    } else if (reply.task.empty()) {
      figures_.Wrong("reply " + std::to_string(reply.code), name_.device, reply.problem);
    }
    SendFirst();
    return;
  }
  if (!reply.problem.empty()) {
    figures_.Wrong("reply " + std::to_string(reply.code), name_.device, reply.problem);
  }
  if (mine) {
    if (reply.again_s > 0 && pending_.front().exchange == Exchange::kVersion) {
      report_timer_.Set(reply.again_s * kSecond);
    }
    Answered();
  }
}

void Device::OnPlan(const Downlink& plan) {
  if (version_at_ > 0) {
    figures_.Took(Exchange::kPlan, Now() - version_at_);
    version_at_ = 0;
  }
  figures_.Count("offers");
  heard_ = true;
  if (plan.task != task_ && (phase_ == Phase::kProving || phase_ == Phase::kBack)) {
    OnProved();  // the next one comes at once
  }
  if (phase_ >= Phase::kInstalling) {
    if (plan.task != task_) {  // [N-16]
      const auto id = NextId();
      Ask(Exchange::kConfirm, id, site_.dialect->Confirm(name_, id, plan.task, false, kBusySeconds),
          nullptr);
    }
    return;
  }
  if (Installed(plan.component) == plan.to) {
    Report();
    return;
  }
  if (plan.task == task_ && phase_ == Phase::kOffered &&
      (Asks(Exchange::kConfirm) || work_timer_.armed())) {
    return;
  }
  fetch_.Stop();
  work_timer_.Cancel();
  content_.clear();
  Begin(plan.task);
  plan_at_ = Now();
  phase_ = Phase::kOffered;
  if (behaviour_ == Behaviour::kRefusing) {
    Confirm(false, 0, [this] { End("refused"); });
  } else if (behaviour_ == Behaviour::kPostponing && postponed_ != task_) {
    postponed_ = task_;
    Confirm(false, kPostponeSeconds, [this] { End("postponed"); });
  } else {
    After(behaviour_ == Behaviour::kSlow ? Random(10 * site_.think) : 0,
          [this] { Confirm(true, 0, nullptr); });
  }
}

void Device::OnDownload(Downlink download) {
  if (download.attempt == 0) {
    const bool known = download.to == download_.to && download.task == task_;
    // What comes after a failure is the next one, before the reply to it, too.
    download.attempt = !known ? 1 : download_.attempt + (phase_ == Phase::kIdle || failed_ ? 1 : 0);
  }
  if (accept_at_ > 0) {
    figures_.Took(Exchange::kDownload, Now() - accept_at_);
    accept_at_ = 0;
  }
  heard_ = true;
  const bool same_component = download.task == task_ && download.component == download_.component;
  const bool same =
      same_component && download.task == download_.task && download.attempt == download_.attempt;
  if (phase_ == Phase::kInstalling || phase_ == Phase::kTrial ||
      (same_component && phase_ == Phase::kFetching && download.attempt < download_.attempt)) {
    return;
  }
  if (Installed(download.component) == download.to) {
    Report();
    return;
  }
  if (same && failed_) {  // that was not heard, or the broker begins anew
    if (!Asks(Exchange::kProgress)) {
      Fail(0);
    }
    return;
  }
  if (same && phase_ == Phase::kFetching) {  // only the address is new [N-21]
    download_.files = download.files;
    if (std::exchange(wants_address_, false)) {
      FetchNext();
    }
    return;
  }
  if (behaviour_ == Behaviour::kMute) {
    phase_ = Phase::kMute;
    pending_.clear();
    reply_timer_.Cancel();
    End("mute");
    phase_ = Phase::kMute;
    return;
  }
  if (plan_at_ == 0) {
    plan_at_ = Now();
  }
  fetch_.Stop();
  Begin(download.task);
  download_ = download;
  phase_ = Phase::kFetching;
  failed_ = false;
  wants_address_ = false;
  file_ = 0;
  tries_ = 0;
  window_end_ = 0;
  content_.clear();
  After(behaviour_ == Behaviour::kSlow ? Random(10 * site_.think) : 0, [this] { FetchNext(); });
}

// The report was answered, and all that it caused came before [N-13].
void Device::OnReported() {
  reported_ = true;
  if (phase_ == Phase::kTrial) {
    Reboot(old_version_, Phase::kBack);
  } else if ((phase_ == Phase::kProving || phase_ == Phase::kBack) && !heard_) {
    OnProved();
  } else if (phase_ == Phase::kFetching &&
             window_end_ > static_cast<std::int64_t>(content_.size())) {
    AskBlocks();  // a new connection: what was on its way is gone
  } else if (phase_ == Phase::kOffered && pending_.empty() && !heard_ && !work_timer_.armed()) {
    Forget("over");
  }
}

void Device::OnProved() {
  if (phase_ == Phase::kProving) {
    figures_.Took(Exchange::kUpgrade, Now() - plan_at_);
    End("succeeded");
  } else {
    End("rolled-back");
  }
}

// Whether such an uplink waits or is not answered yet.
bool Device::Asks(Exchange exchange) const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [exchange](const Pending& pending) { return pending.exchange == exchange; });
}

void Device::Forget(std::string_view end) {
  fetch_.Stop();
  work_timer_.Cancel();
  work_ = nullptr;
  std::erase_if(pending_, [](const Pending& pending) {
    return pending.exchange != Exchange::kVersion && pending.since == 0;
  });
  for (auto& pending : pending_) {
    if (pending.exchange != Exchange::kVersion) {
      pending.then = nullptr;
    }
  }
  End(end);
}

void Device::Begin(const std::string& task) {
  flaps_ = task == task_ ? flaps_ : 0;
  task_ = task;
  holds_task_ = true;
}

void Device::End(std::string_view end) {
  ++ends_;
  end_ = end;
  phase_ = Phase::kIdle;
  holds_task_ = end == "failed" || end == "postponed" || end == "mute";
  plan_at_ = 0;
  figures_.Count("ended: " + end_);
}

void Device::After(std::int64_t delay, std::function<void()> what) {
  if (delay == 0) {
    what();
    return;
  }
  work_ = std::move(what);
  work_timer_.Set(delay);
}

// ---- files

bool Device::FailsAt(int code) const {
  switch (behaviour_) {
    case Behaviour::kFailsDownload:
      return code == -2;
    case Behaviour::kFailsVerify:
      return code == -3;
    case Behaviour::kFailsWrite:
      return code == -4;
    case Behaviour::kRecovering:
      return code == recovers_from_ && download_.attempt == 1;
    case Behaviour::kPlain:
    case Behaviour::kSlow:
    case Behaviour::kFlapping:
    case Behaviour::kHerd:
    case Behaviour::kRefusing:
    case Behaviour::kPostponing:
    case Behaviour::kRollingBack:
    case Behaviour::kMute:
      break;
  }
  return false;
}

void Device::FetchNext() {
  if (FailsAt(-2)) {
    Fail(-2);
    return;
  }
  if (site_.files == Files::kPretended) {
    After(site_.pretend > 0 ? 1 + Random(2 * site_.pretend) : 0, [this] { FilesDone(); });
    return;
  }
  const auto& file = download_.files.at(file_);
  if (file.url.empty() || (blocks_ && download_.blocks)) {
    ref_ = "r" + std::to_string(++refs_ % 10'000'000);
    AskBlocks();
    return;
  }
  accept_at_ = 0;
  blocks_at_ = Now();
  fetch_.Begin(file.url, content_, file.bytes,
               behaviour_ == Behaviour::kSlow ? site_.slow_bytes : 0, source_);
}

void Device::OnFetched(const Fetched& fetched) {
  const auto& file = download_.files.at(file_);
  if (fetched.problem.empty()) {
    figures_.Took(Exchange::kHttp, Now() - blocks_at_);
    FileDone();
    return;
  }
  figures_.Count(fetched.status > 0 ? "http status " + std::to_string(fetched.status)
                                    : "downloads broken off");
  if (++tries_ > kMaxTries) {
    figures_.Wrong("download given up", name_.device, fetched.problem + " " + file.url);
    Fail(-2);
  } else if (fetched.status == 403) {
    wants_address_ = true;
    Confirm(true, 0, nullptr);  // a fresh address [N-22]
  } else if (fetched.status == 429 || fetched.status == 503 || fetched.status == 0) {
    After(std::max<std::int64_t>(fetched.retry_after_s, 1) * kSecond + Random(kSecond),
          [this] { FetchNext(); });
  } else {
    figures_.Wrong("download refused", name_.device, fetched.problem + " " + file.url);
    Fail(-2);
  }
}

void Device::AskBlocks() {
  const auto& file = download_.files.at(file_);
  const auto offset = static_cast<std::int64_t>(content_.size());
  if (offset >= file.bytes) {
    return;
  }
  window_begin_ = offset;
  window_end_ = std::min(file.bytes, offset + kBlockBytes * kBlockCount);
  blocks_at_ = Now();
  const auto uplink =
      site_.dialect->Blocks(name_, {task_, download_.component, static_cast<int>(file_), ref_,
                                    offset, kBlockBytes, kBlockCount});
  if (!uplink) {
    Fail(-2);
    return;
  }
  if (client_.connected()) {
    figures_.Count("uplinks");
    client_.Publish(uplink->topic, uplink->payload, 0);
  }
  After(site_.reply, [this] {  // [N-29]
    figures_.Count("blocks asked for again");
    AskBlocks();
  });
}

void Device::OnBlock(const Downlink& block) {
  if (phase_ != Phase::kFetching || block.ref != ref_) {
    return;  // of an earlier download
  }
  if (block.offset != static_cast<std::int64_t>(content_.size())) {
    return;  // came already, or one before it was lost
  }
  content_.append(block.content);
  if (static_cast<std::int64_t>(content_.size()) < window_end_) {
    return;
  }
  figures_.Took(Exchange::kBlocks, Now() - blocks_at_);
  work_timer_.Cancel();
  After(behaviour_ == Behaviour::kSlow ? (window_end_ - window_begin_) * kSecond / site_.slow_bytes
                                       : 0,
        [this] {
          if (window_end_ < download_.files.at(file_).bytes) {
            AskBlocks();
          } else {
            FileDone();
          }
        });
}

void Device::FileDone() {
  const auto& file = download_.files.at(file_);
  const auto digest = crypto::Sha256(content_);
  if (static_cast<std::int64_t>(content_.size()) != file.bytes ||
      (!file.sha256.empty() && (!digest || Hex(*digest) != file.sha256))) {
    figures_.Wrong("file with other content than announced", name_.device, file.sha256);
    Fail(-3);
    return;
  }
  figures_.Count("bytes of files", content_.size());
  content_ = {};
  window_end_ = 0;
  ref_.clear();  // blocks that come twice are late now
  if (++file_ < download_.files.size()) {
    FetchNext();
  } else {
    FilesDone();
  }
}

void Device::FilesDone() {
  Progress("downloading", 100, 0, [this] {
    if (FailsAt(-3)) {
      Fail(-3);
      return;
    }
    phase_ = Phase::kInstalling;
    Progress("installing", -1, 0, [this] {
      After(behaviour_ == Behaviour::kSlow ? Random(10 * site_.think) : 0, [this] { Install(); });
    });
  });
}

void Device::Install() {
  if (FailsAt(-4)) {
    Fail(-4);
    return;
  }
  Progress("rebooting", -1, 0, [this] {
    old_version_ = Installed(download_.component);
    Reboot(download_.to, behaviour_ == Behaviour::kRollingBack ? Phase::kTrial : Phase::kProving);
  });
}

void Device::Fail(int code) {
  if (code == 0) {  // again
    code = behaviour_ == Behaviour::kFailsVerify  ? -3
           : behaviour_ == Behaviour::kFailsWrite ? -4
           : behaviour_ == Behaviour::kRecovering ? recovers_from_
                                                  : -2;
  }
  failed_ = true;
  phase_ = Phase::kFetching;
  Progress("failed", -1, code, [this, attempt = download_.attempt] {
    if (failed_ && download_.attempt == attempt) {  // else the next one has come already
      End("failed");
    }
  });
}

void Device::Reboot(const std::string& version, Phase phase) {
  Installed(download_.component) = version;
  phase_ = phase;
  ++boots_;
  if (site_.stay_connected) {
    Report();
    return;
  }
  if (Random() % 2 == 0) {
    client_.Disconnect();
  } else {
    client_.Drop();
  }
  Reconnect(1 + Random(2 * site_.reboot));
}

}  // namespace ota::fleet
