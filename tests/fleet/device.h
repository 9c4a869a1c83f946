// One emulated device: connects, reports, and answers offers as its behaviour says. Which kind of
// device it is and how each of its tasks ends follow from the seed and its number alone; when what
// happens, from the broker. Knows no dialect's bytes. The loop's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fleet/client.h"
#include "fleet/dialect.h"
#include "fleet/fetch.h"
#include "fleet/figures.h"

namespace ota::fleet {

enum class Behaviour {
  kPlain,
  kSlow,      // downloads a few bytes a second, thinks before every step
  kFlapping,  // its connection breaks at random moments, up to five in a task
  kHerd,      // all of them lose their connection at one moment and come back at once
  kRefusing,
  kPostponing,     // each task once
  kFailsDownload,  // at every attempt
  kFailsVerify,
  kFailsWrite,
  kRecovering,   // its first attempt of each task fails, at a stage by the seed
  kRollingBack,  // reports the new version on trial, then the old one
  kMute,         // accepts, and is never heard again
};
inline constexpr std::size_t kBehaviours = 12;
std::string_view NameOf(Behaviour behaviour);

enum class Files { kHttp, kBlocks, kPretended, kMixed };

// What all devices share. Durations in nanoseconds.
struct Site {
  sockaddr_in broker{};
  std::string product = "pump";
  std::string prefix = "f";  // of device names; a number follows
  std::string user;          // pattern
  std::string password;      // pattern; empty: none
  std::string client_id;     // pattern
  const Dialect* dialect = nullptr;
  std::vector<std::pair<std::string, std::string>> components;
  std::uint64_t seed = 1;
  unsigned persistent_percent = 50;
  unsigned mqtt5_percent = 50;
  Files files = Files::kMixed;
  std::int64_t slow_bytes = 20'000;  // per second
  std::int64_t pretend = 5 * kMs;    // a pretended download takes up to twice this
  std::int64_t think = 20 * kMs;     // between steps of a slow device, up to ten times this
  std::int64_t reboot = 50 * kMs;    // up to twice this
  std::int64_t reply =
      10 *
      kSecond;  // without a reply for that long: send again, then after 3, 6, 12 times that [N-8]
  std::int64_t report_every = 0;  // 0: only when something happens
  bool stay_connected = false;    // a reboot changes the boot id only
  bool spread_addresses = false;  // each device has an address in 127.0.0.0/8
  bool may_lose = false;          // a lost connection is no problem, the broker restarts
};

class Device : private ClientOwner {
 public:
  Device(Loop& loop, const Site& site, Figures& figures, unsigned number, Behaviour behaviour);

  void Connect();
  void Break();  // loses its connection and comes back at once
  void Leave();  // with DISCONNECT, for good

  // Nothing is outstanding and nothing of its own is to come: it has ended as its behaviour says,
  // or it has no task.
  bool settled() const;
  // Has come to the end of a task.
  bool ended() const { return ends_ > 0; }
  Behaviour behaviour() const { return behaviour_; }
  const Name& name() const { return name_; }
  // DEVICE,BEHAVIOUR,SESSION,MQTT,FILES,END,TASK,VERSIONS: what it has been promised.
  std::string Outcome() const;
  // For people: which device it is, and where it stands.
  std::string Where() const;

 private:
  enum class Phase { kIdle, kOffered, kFetching, kInstalling, kProving, kTrial, kBack, kMute };
  struct Pending {
    Exchange exchange = Exchange::kVersion;
    std::string id;
    Uplink uplink;
    std::int64_t since = 0;  // first sent; 0: not yet
    unsigned tries = 0;
    std::function<void()> then;
  };

  // Behaviour, session, MQTT, files.
  std::string Kind(std::string_view between, std::string_view mqtt) const;

  void OnConnected(bool session_present) override;
  void OnSubscribed(bool granted) override;
  void OnMessage(const mqtt::Packet& message) override;
  void OnAcknowledged(std::uint16_t id, std::uint8_t code) override;
  void OnLost(const std::string& why) override;

  void Reconnect(std::int64_t delay);
  void MayFlap();
  void Report();
  void Confirm(bool accept, std::int64_t retry_after_s, std::function<void()> then);
  void Progress(std::string_view state, int percent, int code, std::function<void()> then);
  // Sends `uplink` when those before it are answered. Without an uplink `then` is next.
  void Ask(Exchange exchange, std::string id, std::optional<Uplink> uplink,
           std::function<void()> then);
  void SendFirst();
  void SetReplyTimer(unsigned tries);
  void Answered();

  void OnPlan(const Downlink& plan);
  void OnDownload(Downlink download);
  void OnReply(const Downlink& reply);
  void OnBlock(const Downlink& block);
  void OnReported();
  void OnProved();
  bool Asks(Exchange exchange) const;
  void Forget(std::string_view end);

  void FetchNext();
  void OnFetched(const Fetched& fetched);
  void AskBlocks();
  void FileDone();
  void FilesDone();
  void Install();
  void Fail(int code);
  void Reboot(const std::string& version, Phase phase);
  void Begin(const std::string& task);
  void End(std::string_view end);
  void After(std::int64_t delay, std::function<void()> what);
  bool FailsAt(int code) const;

  std::uint64_t Random();
  std::int64_t Random(std::int64_t below);
  std::string NextId() { return std::to_string(++ids_); }
  std::string& Installed(const std::string& component);

  const Site& site_;
  Figures& figures_;
  Name name_;
  Behaviour behaviour_;
  std::uint64_t random_;
  std::uint32_t source_ = 0;
  mqtt::Version mqtt_ = mqtt::Version::k311;
  bool persistent_ = false;
  bool blocks_ = false;  // if it may choose
  int recovers_from_ = -2;

  Client client_;
  Fetch fetch_;
  Timer connect_timer_;
  Timer reply_timer_;
  Timer work_timer_;
  Timer flap_timer_;
  Timer report_timer_;
  std::function<void()> work_;

  bool leaving_ = false;
  bool online_ = false;      // the broker has accepted this connection
  bool subscribed_ = false;  // a session that the broker found again has it
  bool reported_ = false;    // the first report of this connection is answered
  bool heard_ = false;       // a plan or a download came since the last report
  bool herd_done_ = false;
  unsigned flaps_ = 0;
  unsigned lost_ = 0;  // in a row
  unsigned boots_ = 1;
  unsigned long ids_ = 0;
  unsigned refs_ = 0;
  unsigned ends_ = 0;
  std::int64_t opened_at_ = 0;
  std::int64_t version_at_ = 0;  // 0: its offer came, or none is awaited
  std::int64_t accept_at_ = 0;
  std::int64_t plan_at_ = 0;
  std::int64_t blocks_at_ = 0;
  std::deque<Pending> pending_;  // the first is sent

  std::vector<std::pair<std::string, std::string>> versions_;
  std::string promised_;  // versions of the last report that was answered
  Phase phase_ = Phase::kIdle;
  std::string task_;         // the last one
  bool holds_task_ = false;  // it is not over for the device
  std::string postponed_;
  std::string end_ = "none";
  Downlink download_;
  bool failed_ = false;         // this attempt
  bool wants_address_ = false;  // that of the file has expired
  std::string old_version_;
  std::size_t file_ = 0;
  std::string content_;
  std::string ref_;
  std::int64_t window_begin_ = 0;
  std::int64_t window_end_ = 0;
  unsigned tries_ = 0;
};

}  // namespace ota::fleet
