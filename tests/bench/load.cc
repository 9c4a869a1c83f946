// ota-load: the load of the benchmarks, one kind per run; prints one JSON object.
// tests/bench/run.py starts it; the loop and the MQTT client are the fleet emulator's.
//
//   ota-load echo      connections that publish to a topic of their own and read it back
//   ota-load reports   version reports of devices, each sent when one before it was answered; with
//                      --devices all over one connection, as a bridge's
//   ota-load pace      one connection that echoes at a steady rate: latency, whatever else happens
//   ota-load storm     all connections at once; each subscribes and reports once, and stays
#include <arpa/inet.h>
#include <getopt.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/client.h"
#include "fleet/figures.h"

namespace ota::bench {
namespace {

using fleet::kMs;
using fleet::kSecond;
using fleet::Now;

struct Options {
  std::string mode;
  std::uint16_t port = 1883;
  unsigned connections = 1;
  std::uint8_t qos = 0;
  double seconds = 2;
  double warm_seconds = 0.5;
  unsigned window = 1;   // messages of one connection that wait for their answer
  unsigned bytes = 64;   // of an echo
  unsigned rate = 500;   // a second, of pace
  unsigned devices = 0;  // reports: of so many devices in turn, all over the first connection
  bool change = false;   // reports: each names a version that was never there before
  unsigned pid = 0;      // the broker: its CPU time is measured
  bool spread = false;   // storm: from addresses of its own in 127.0.0.0/8
  std::string client_id = "load";
  std::string user;
};

struct Count {
  std::uint64_t answers = 0;
  std::uint64_t refused = 0;  // replies other than 200
  std::uint64_t lost = 0;     // connections
  unsigned ready = 0;         // connections
  std::int64_t ready_at = 0;  // the last
  fleet::Histogram latency;
};

// Seconds of CPU of all threads of a process so far.
double Cpu(unsigned pid) {
  std::int64_t total_ns = 0;
  std::error_code none;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", none)) {
    std::int64_t ns = 0;
    std::ifstream(task.path() / "schedstat") >> ns;
    total_ns += ns;
  }
  return static_cast<double>(total_ns) / 1e9;
}

class Load;

class Connection : public fleet::ClientOwner {
 public:
  Connection(Load& load, unsigned number);
  void Open();
  void Send();

 private:
  void OnConnected(bool) override;
  void OnSubscribed(bool granted) override;
  void OnMessage(const fleet::mqtt::Packet& message) override;
  void OnAcknowledged(std::uint16_t, std::uint8_t) override {}
  void OnLost(const std::string& why) override;
  void SendEcho();
  void SendReport();
  void Answered(std::int64_t sent_at);

  Load& load_;
  unsigned number_;
  fleet::Client client_;
  bool subscribed_ = false;
  fleet::Timer pace_;
  std::string device_;  // ota/v1/PRODUCT/DEVICE
  std::string topic_;
  std::string payload_;
  std::string run_ = "1." + std::to_string(getpid()) + ".";  // begin of versions
  std::vector<std::int64_t> sent_at_;                        // a ring: answers come in order
  std::size_t first_ = 0;
  std::uint64_t sent_ = 0;
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options),
        begin_(loop_,
               [this] {
                 counting_since_ = Now();
                 cpu_since_ = Cpu(options_.pid);
                 count_.answers = count_.refused = 0;
                 count_.latency = {};
                 end_.Set(static_cast<std::int64_t>(options_.seconds * 1e9));
               }),
        end_(loop_, [this] { loop_.Stop(); }) {
    broker_.sin_family = AF_INET;
    broker_.sin_port = htons(options.port);
    broker_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned i = 0; i < options.connections; ++i) {
      connections_.push_back(std::make_unique<Connection>(*this, i));
    }
  }

  int Go() {
    started_ = Now();
    for (const auto& connection : connections_) {
      connection->Open();
    }
    if (options_.mode == "storm") {  // counts from the first connection on
      begin_.Set(1);
    }
    loop_.Run();
    const auto took = static_cast<double>(Now() - counting_since_) / 1e9;
    const auto cpu = Cpu(options_.pid) - cpu_since_;
    std::printf(
        "{\"rate\": %.1f, \"answers\": %llu, \"seconds\": %.3f, \"refused\": %llu, \"lost\": %llu, "
        "\"ready\": %u, \"ready_s\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
        "\"max_us\": %.1f, \"cpu_s\": %.6f}\n",
        static_cast<double>(count_.answers) / took, static_cast<unsigned long long>(count_.answers),
        took, static_cast<unsigned long long>(count_.refused),
        static_cast<unsigned long long>(count_.lost), count_.ready,
        static_cast<double>(count_.ready_at - started_) / 1e9, Us(0.5), Us(0.99), Us(0.999),
        static_cast<double>(count_.latency.max()) / 1e3, cpu);
    return count_.answers > 0 ? 0 : 1;
  }

  void Ready() {
    count_.ready_at = Now();
    if (++count_.ready < options_.connections || options_.mode == "storm") {
      return;
    }
    if (options_.devices == 0) {
      begin_.Set(static_cast<std::int64_t>(options_.warm_seconds * 1e9));
    }
    for (const auto& connection : connections_) {
      connection->Send();
    }
  }

  fleet::Loop& loop() { return loop_; }
  const Options& options() const { return options_; }
  const sockaddr_in& broker() const { return broker_; }
  Count& count() { return count_; }
  // The next of --devices, and how often it had its turn before.
  std::pair<unsigned, std::uint64_t> NextDevice() {
    const auto turn = turn_++;
    if (turn == options_.devices) {  // each was there once on this connection: only now it counts
      begin_.Set(1);
    }
    return {static_cast<unsigned>(turn * 7919 % options_.devices), turn / options_.devices};
  }

 private:
  double Us(double share) const {
    return static_cast<double>(count_.latency.Quantile(share)) / 1e3;
  }

  Options options_;
  fleet::Loop loop_;
  sockaddr_in broker_{};
  std::vector<std::unique_ptr<Connection>> connections_;
  Count count_;
  fleet::Timer begin_;
  fleet::Timer end_;
  std::int64_t started_ = 0;
  std::int64_t counting_since_ = 0;
  double cpu_since_ = 0;
  std::uint64_t turn_ = 0;
};

Connection::Connection(Load& load, unsigned number)
    : load_(load),
      number_(number),
      client_(load.loop(), *this),
      pace_(load.loop(), [this] { Send(); }) {
  const auto& options = load.options();
  device_ = "ota/v1/pump/" + options.client_id + std::to_string(number);
  topic_ = options.mode == "echo" || options.mode == "pace"
               ? "plant/" + options.client_id + std::to_string(number)
               : device_ + "/up/version";
  payload_.assign(options.bytes, 'x');
  sent_at_.resize(options.window);
}

void Connection::Open() {
  const auto& options = load_.options();
  fleet::mqtt::Connect connect;
  connect.client_id = options.client_id + (options.devices > 0 ? "" : std::to_string(number_));
  connect.user = !options.user.empty() ? options.user : "pump/" + connect.client_id;
  std::string why;
  const std::uint32_t source =
      options.spread ? 0x7F010001u + number_ / 250 * 256 + number_ % 250 : 0;
  if (!client_.Open(load_.broker(), source, connect, why)) {
    std::fprintf(stderr, "ota-load: %s\n", why.c_str());
    std::exit(3);
  }
}

void Connection::OnConnected(bool) {
  const auto& options = load_.options();
  if (options.devices > 0) {
    client_.Subscribe({"ota/v1/#"}, options.qos);
  } else if (options.mode == "echo" || options.mode == "pace") {
    client_.Subscribe({topic_}, options.qos);
  } else {
    client_.Subscribe({device_ + "/down/#"}, options.qos);
  }
}

void Connection::OnSubscribed(bool granted) {
  if (!granted) {
    std::fputs("ota-load: subscription refused\n", stderr);
    std::exit(1);
  }
  subscribed_ = true;
  load_.Ready();
  if (load_.options().mode == "storm") {
    SendReport();
  }
}

void Connection::OnLost(const std::string& why) {
  const unsigned most = 10 * load_.options().connections;
  if (++load_.count().lost == 1 || load_.count().lost > most) {
    std::fprintf(stderr, "ota-load: connection lost: %s\n", why.c_str());
  }
  if (load_.count().lost > most) {
    std::exit(3);
  }
  // Of many that come at once the kernel turns some away: the broker's backlog is 100.
  if (load_.options().mode == "storm" || !subscribed_) {
    Open();
  }
}

// All that the window lets.
void Connection::Send() {
  const auto& options = load_.options();
  if (options.mode == "pace") {
    SendEcho();
    pace_.Set(kSecond / options.rate);
    return;
  }
  while (sent_ - first_ < options.window) {
    options.mode == "echo" ? SendEcho() : SendReport();
  }
}

void Connection::SendEcho() {
  const auto now = Now();
  if (load_.options().mode == "pace") {  // more may be on their way than a window holds
    std::memcpy(payload_.data(), &now, sizeof now);
  } else {
    sent_at_[sent_++ % sent_at_.size()] = now;
  }
  client_.Publish(topic_, payload_, load_.options().qos);
}

void Connection::SendReport() {
  const auto& options = load_.options();
  std::uint64_t turn = sent_;
  if (options.devices > 0) {
    const auto [device, before] = load_.NextDevice();
    topic_ = "ota/v1/pump/d" + std::to_string(device) + "/up/version";
    turn = before;
  }
  sent_at_[sent_ % sent_at_.size()] = Now();
  payload_ = "{\"id\":\"" + std::to_string(++sent_) + "\",\"components\":{\"main\":\"" +
             (options.change && turn > 0 ? run_ + std::to_string(turn) : "1.0") + "\"}}";
  client_.Publish(topic_, payload_, options.qos);
}

void Connection::OnMessage(const fleet::mqtt::Packet& message) {
  auto& count = load_.count();
  const auto& options = load_.options();
  if (options.mode == "pace") {
    std::int64_t sent_at = 0;
    std::memcpy(&sent_at, message.payload.data(), sizeof sent_at);
    count.latency.Add(Now() - sent_at);
    ++count.answers;
    return;
  }
  if (options.mode != "echo") {
    if (!message.topic.ends_with("/down/reply")) {
      return;
    }
    count.refused += message.payload.find("\"code\":200") == std::string_view::npos ? 1u : 0u;
  }
  count.latency.Add(Now() - sent_at_[first_++ % sent_at_.size()]);
  ++count.answers;
  if (options.mode != "storm") {
    Send();
  }
}

const char kHelp[] =
    "Usage: ota-load echo|reports|pace|storm [--port N] [--connections N] [--qos 0|1] [--seconds "
    "S]\n"
    "         [--warm S] [--window N] [--bytes N] [--rate N] [--devices N] [--change] [--spread]\n"
    "         [--client-id TEXT] [--user NAME] [--pid BROKER]\n"
    "The load of tests/bench/run.py, which see.\n";

bool Read(int argc, char** argv, Options& o) {
  static const option kLong[] = {{"port", required_argument, nullptr, 'p'},
                                 {"connections", required_argument, nullptr, 'c'},
                                 {"qos", required_argument, nullptr, 'q'},
                                 {"seconds", required_argument, nullptr, 's'},
                                 {"warm", required_argument, nullptr, 'a'},
                                 {"window", required_argument, nullptr, 'w'},
                                 {"bytes", required_argument, nullptr, 'b'},
                                 {"rate", required_argument, nullptr, 'r'},
                                 {"devices", required_argument, nullptr, 'd'},
                                 {"change", no_argument, nullptr, 'x'},
                                 {"spread", no_argument, nullptr, 'y'},
                                 {"client-id", required_argument, nullptr, 'i'},
                                 {"user", required_argument, nullptr, 'u'},
                                 {"pid", required_argument, nullptr, 'z'},
                                 {}};
  for (int found = 0; (found = getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    const auto number = [] { return static_cast<unsigned>(std::strtoul(optarg, nullptr, 10)); };
    switch (found) {
      case 'p':
        o.port = static_cast<std::uint16_t>(number());
        break;
      case 'c':
        o.connections = number();
        break;
      case 'q':
        o.qos = number() > 0 ? std::uint8_t{1} : std::uint8_t{0};
        break;
      case 's':
        o.seconds = std::strtod(optarg, nullptr);
        break;
      case 'a':
        o.warm_seconds = std::strtod(optarg, nullptr);
        break;
      case 'w':
        o.window = number();
        break;
      case 'b':
        o.bytes = number();
        break;
      case 'r':
        o.rate = number();
        break;
      case 'd':
        o.devices = number();
        break;
      case 'x':
        o.change = true;
        break;
      case 'y':
        o.spread = true;
        break;
      case 'i':
        o.client_id = optarg;
        break;
      case 'u':
        o.user = optarg;
        break;
      case 'z':
        o.pid = number();
        break;
      default:
        return false;
    }
  }
  if (optind + 1 != argc) {
    return false;
  }
  o.mode = argv[optind];
  return (o.mode == "echo" || o.mode == "reports" || o.mode == "pace" || o.mode == "storm") &&
         o.connections > 0 && o.window > 0 && o.rate > 0 && o.bytes >= 8 && o.seconds > 0;
}

}  // namespace
}  // namespace ota::bench

int main(int argc, char** argv) {
  ota::bench::Options options;
  if (!ota::bench::Read(argc, argv, options)) {
    std::fputs(ota::bench::kHelp, stderr);
    return 2;
  }
  const rlimit limit{options.connections + 64, options.connections + 64};
  rlimit now{};
  getrlimit(RLIMIT_NOFILE, &now);
  if (now.rlim_cur < limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    std::fprintf(stderr, "ota-load: needs %llu file descriptors (ulimit -n)\n",
                 static_cast<unsigned long long>(limit.rlim_cur));
    return 3;
  }
  return ota::bench::Load(options).Go();
}
