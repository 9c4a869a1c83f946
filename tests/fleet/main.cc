// ota-fleet: thousands of emulated devices in one process, against a broker with the plugin.
// tests/fleet/README.md says what it is for and what its report means.
#include <arpa/inet.h>
#include <getopt.h>
#include <netdb.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/device.h"

namespace ota::fleet {
namespace {

constexpr unsigned kMaxDevices = 20'000;
constexpr int kExitProblems = 1;
constexpr int kExitUsage = 2;
constexpr int kExitLimit = 3;

const char kHelp[] =
    "Usage: ota-fleet [OPTION...]\n"
    "Emulates a fleet of devices of one product against a broker with mosquitto-ota, and reports "
    "how\n"
    "long each kind of exchange took and what went wrong. Ends when every device has come to its "
    "end.\n"
    "\n"
    "Where\n"
    "  --host HOST             the broker, IPv4 (127.0.0.1); TLS is not supported\n"
    "  --port PORT             (1883)\n"
    "  --user PATTERN          user name (the dialect's; native: {product}/{device})\n"
    "  --password PATTERN      (none)\n"
    "  --client-id PATTERN     (the dialect's; native: {product}:{device})\n"
    "\n"
    "Who\n"
    "  --devices N             up to 20000 (100)\n"
    "  --product NAME          (pump)\n"
    "  --prefix TEXT           devices are TEXT0, TEXT1, ... (f)\n"
    "  --first N               number of the first (0)\n"
    "  --component NAME=VER    installed at the start; native: may be repeated (main=1.0,\n"
    "                          of the other dialects default=1.0)\n"
    "  --dialect NAME          native, alibaba or enos (native); the other two have one "
    "component,\n"
    "                          --files http or pretended, and no refusing, postponing and\n"
    "                          rolling-back\n"
    "\n"
    "How they behave; the same seed gives the same devices\n"
    "  --seed N                (1)\n"
    "  --mix NAME=SHARE,...    shares of behaviours: plain slow flapping herd refusing postponing\n"
    "                          fails-download fails-verify fails-write recovering rolling-back "
    "mute\n"
    "                          (plain=100; `all`: some of each that the dialect has)\n"
    "  --persistent PERCENT    have a persistent session (50); it stays at the broker\n"
    "  --mqtt5 PERCENT         speak MQTT 5, the others 3.1.1 (50)\n"
    "  --files HOW             http, blocks (over MQTT), mixed, or pretended: nothing is "
    "fetched\n"
    "                          (mixed; alibaba and enos: http)\n"
    "  --slow-bytes N          bytes a second of a slow device (20000)\n"
    "  --herd-at MS            when the herd loses its connections (1000)\n"
    "  --reboot MS             a reboot takes up to twice that (50)\n"
    "  --stay-connected        a reboot keeps the connection and changes the boot id only\n"
    "  --pretend MS            a pretended download takes up to twice that (5)\n"
    "\n"
    "The run\n"
    "  --rate N                new connections a second; 0: as fast as they can (2000)\n"
    "  --reply-s SECONDS       an uplink without a reply is sent again after that (10)\n"
    "  --report-every SECONDS  idle devices report again (never)\n"
    "  --wait-for-task         a device that had no task yet is not at its end\n"
    "  --settle MS             all are at their end for that long (1000)\n"
    "  --duration SECONDS      goes on for that long whatever happens\n"
    "  --timeout SECONDS       gives up: who is not at its end then is a problem (120);\n"
    "                          after 5 s if nobody could connect\n"
    "  --may-lose              a lost connection is no problem: the broker is restarted on "
    "purpose\n"
    "  --spread-addresses      each device connects from an address of its own in 127.0.0.0/8\n"
    "  --outcomes FILE         one line per device: what it has been promised\n"
    "  --json FILE             the report for programs\n"
    "  --quiet                 no progress on standard error\n"
    "\n"
    "Exit codes: 0 nothing went wrong, 1 something did, 2 wrong usage, 3 a limit of this "
    "machine.\n";

// Null: there is none.
const Dialect* DialectOf(std::string_view name) {
  return name == "native"    ? &NativeDialect()
         : name == "alibaba" ? &AlibabaDialect()
         : name == "enos"    ? &EnosDialect()
                             : nullptr;
}

struct Options {
  Site site;
  std::string host = "127.0.0.1";
  unsigned port = 1883;
  unsigned devices = 100;
  unsigned first = 0;
  std::array<unsigned, kBehaviours> mix = {100};
  bool mix_all = false;
  std::optional<Files> files;  // if it was said
  std::int64_t herd_at = kSecond;
  unsigned rate = 2000;
  bool wait_for_task = false;
  std::int64_t settle = kSecond;
  std::int64_t duration = 0;
  std::int64_t timeout = 120 * kSecond;
  std::string outcomes;
  std::string json;
  bool quiet = false;
};

template <typename T>
bool Number(std::string_view text, T least, T most, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= least &&
         number <= most;
}

bool Duration(std::string_view text, std::int64_t unit, std::int64_t& duration) {
  if (!Number<std::int64_t>(text, 0, 1'000'000, duration)) {
    return false;
  }
  duration *= unit;
  return true;
}

// What needs a dialect whose tasks have names.
constexpr std::array kNeedTasks = {Behaviour::kRefusing, Behaviour::kPostponing,
                                   Behaviour::kRollingBack};

unsigned& Share(std::array<unsigned, kBehaviours>& mix, Behaviour behaviour) {
  return mix.at(static_cast<std::size_t>(behaviour));
}

bool ReadMix(std::string_view text, std::array<unsigned, kBehaviours>& mix) {
  if (text == "all") {
    mix = {30, 5, 10, 10, 5, 5, 5, 5, 5, 5, 10, 5};
    return true;
  }
  mix = {};
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    const auto one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto equals = one.find('=');
    std::size_t at = 0;
    while (at < kBehaviours && NameOf(static_cast<Behaviour>(at)) != one.substr(0, equals)) {
      ++at;
    }
    if (equals == std::string_view::npos || at == kBehaviours ||
        !Number(one.substr(equals + 1), 0u, 1'000'000u, mix.at(at))) {
      return false;
    }
  }
  return std::any_of(mix.begin(), mix.end(), [](unsigned share) { return share > 0; });
}

bool ReadFiles(std::string_view text, std::optional<Files>& files) {
  constexpr std::array<std::pair<std::string_view, Files>, 4> kNames = {
      {{"http", Files::kHttp},
       {"blocks", Files::kBlocks},
       {"pretended", Files::kPretended},
       {"mixed", Files::kMixed}}};
  for (const auto& [name, value] : kNames) {
    if (name == text) {
      files = value;
      return true;
    }
  }
  return false;
}

struct Flag {
  const char* name;
  bool takes_value;
  bool (*read)(Options&, const std::string&);
};

const std::vector<Flag>& Flags() {
  static const std::vector<Flag> flags = {
      {"host", true, [](Options& o, const std::string& v) { return (o.host = v, true); }},
      {"port", true,
       [](Options& o, const std::string& v) { return Number(v, 1u, 65535u, o.port); }},
      {"user", true, [](Options& o, const std::string& v) { return (o.site.user = v, true); }},
      {"password", true,
       [](Options& o, const std::string& v) { return (o.site.password = v, true); }},
      {"client-id", true,
       [](Options& o, const std::string& v) { return (o.site.client_id = v, true); }},
      {"devices", true,
       [](Options& o, const std::string& v) { return Number(v, 1u, kMaxDevices, o.devices); }},
      {"product", true,
       [](Options& o, const std::string& v) { return (o.site.product = v, true); }},
      {"prefix", true, [](Options& o, const std::string& v) { return (o.site.prefix = v, true); }},
      {"first", true,
       [](Options& o, const std::string& v) { return Number(v, 0u, 100'000'000u, o.first); }},
      {"component", true,
       [](Options& o, const std::string& v) {
         const auto equals = v.find('=');
         if (equals == std::string::npos) {
           return false;
         }
         o.site.components.emplace_back(v.substr(0, equals), v.substr(equals + 1));
         return true;
       }},
      {"dialect", true,
       [](Options& o, const std::string& v) { return (o.site.dialect = DialectOf(v)) != nullptr; }},
      {"seed", true,
       [](Options& o, const std::string& v) {
         return Number<std::uint64_t>(v, 0, UINT64_MAX, o.site.seed);
       }},
      {"mix", true,
       [](Options& o, const std::string& v) {
         o.mix_all = v == "all";
         return ReadMix(v, o.mix);
       }},
      {"persistent", true,
       [](Options& o, const std::string& v) {
         return Number(v, 0u, 100u, o.site.persistent_percent);
       }},
      {"mqtt5", true,
       [](Options& o, const std::string& v) { return Number(v, 0u, 100u, o.site.mqtt5_percent); }},
      {"files", true, [](Options& o, const std::string& v) { return ReadFiles(v, o.files); }},
      {"slow-bytes", true,
       [](Options& o, const std::string& v) {
         return Number<std::int64_t>(v, 1, 1'000'000'000, o.site.slow_bytes);
       }},
      {"herd-at", true,
       [](Options& o, const std::string& v) { return Duration(v, kMs, o.herd_at); }},
      {"reboot", true,
       [](Options& o, const std::string& v) { return Duration(v, kMs, o.site.reboot); }},
      {"stay-connected", false,
       [](Options& o, const std::string&) { return o.site.stay_connected = true; }},
      {"pretend", true,
       [](Options& o, const std::string& v) { return Duration(v, kMs, o.site.pretend); }},
      {"rate", true,
       [](Options& o, const std::string& v) { return Number(v, 0u, 1'000'000u, o.rate); }},
      {"reply-s", true,
       [](Options& o, const std::string& v) {
         return Duration(v, kSecond, o.site.reply) && o.site.reply > 0;
       }},
      {"report-every", true,
       [](Options& o, const std::string& v) { return Duration(v, kSecond, o.site.report_every); }},
      {"wait-for-task", false,
       [](Options& o, const std::string&) { return o.wait_for_task = true; }},
      {"settle", true, [](Options& o, const std::string& v) { return Duration(v, kMs, o.settle); }},
      {"duration", true,
       [](Options& o, const std::string& v) { return Duration(v, kSecond, o.duration); }},
      {"timeout", true,
       [](Options& o, const std::string& v) { return Duration(v, kSecond, o.timeout); }},
      {"may-lose", false, [](Options& o, const std::string&) { return o.site.may_lose = true; }},
      {"spread-addresses", false,
       [](Options& o, const std::string&) { return o.site.spread_addresses = true; }},
      {"outcomes", true, [](Options& o, const std::string& v) { return (o.outcomes = v, true); }},
      {"json", true, [](Options& o, const std::string& v) { return (o.json = v, true); }},
      {"quiet", false, [](Options& o, const std::string&) { return o.quiet = true; }},
  };
  return flags;
}

// Of a product, a device, a component.
bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         text.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") ==
             std::string_view::npos;
}

int Usage(const std::string& what) {
  std::fprintf(stderr, "ota-fleet: %s (see ota-fleet --help)\n", what.c_str());
  return kExitUsage;
}

// What is not said follows from the dialect. An exit code, or nothing.
std::optional<int> Complete(Options& options) {
  auto& site = options.site;
  const auto& dialect = *site.dialect;
  site.user = site.user.empty() ? dialect.User() : site.user;
  site.client_id = site.client_id.empty() ? dialect.ClientId() : site.client_id;
  if (site.components.empty()) {
    site.components = {{dialect.NamesTasks() ? "main" : "default", "1.0"}};
  }
  site.files = options.files.value_or(dialect.NamesTasks() ? Files::kMixed : Files::kHttp);
  const auto last = site.prefix + std::to_string(options.first + options.devices - 1);
  for (const auto& [option, name] :
       {std::pair<std::string, std::string>{"--product", site.product}, {"--prefix", last}}) {
    if (!IsName(name)) {
      return Usage(option + ": '" + name +
                   "' cannot be a name: 1 to 64 characters of A-Z a-z 0-9 . _ : -");
    }
  }
  for (const auto& [name, version] : site.components) {
    if (!IsName(name) || version.empty() || version.size() > 64) {
      return Usage("--component: '" + name + "=" + version + "' is not allowed");
    }
  }
  if (dialect.NamesTasks()) {
    return std::nullopt;
  }
  if (site.files == Files::kBlocks || site.files == Files::kMixed) {
    return Usage("--files: devices of this dialect fetch over http or pretended");
  }
  if (site.components.size() > 1) {
    return Usage("--component: devices of this dialect have one here");
  }
  for (const auto behaviour : kNeedTasks) {
    auto& share = Share(options.mix, behaviour);
    if (share > 0 && !options.mix_all) {
      return Usage("--mix: " + std::string(NameOf(behaviour)) + " is of the native dialect only");
    }
    share = 0;
  }
  return std::nullopt;
}

// Said before the run, not after it.
bool CanWrite(const char* option, const std::string& path) {
  if (path.empty() || std::ofstream(path, std::ios::app)) {
    return true;
  }
  std::fprintf(stderr, "ota-fleet: %s: '%s': %s\n", option, path.c_str(), std::strerror(errno));
  return false;
}

// An exit code, or nothing when the run may begin.
std::optional<int> Read(int argc, char** argv, Options& options) {
  const auto& flags = Flags();
  std::vector<option> table;
  for (const auto& flag : flags) {
    table.push_back({flag.name, flag.takes_value ? required_argument : no_argument, nullptr, 0});
  }
  table.push_back({"help", no_argument, nullptr, 'h'});
  table.push_back({});
  options.site.dialect = DialectOf("native");
  int at = 0;
  opterr = 0;
  for (int found = 0; (found = getopt_long(argc, argv, ":h", table.data(), &at)) != -1;) {
    if (found == 'h') {
      std::fputs(kHelp, stdout);
      return 0;
    }
    const auto& flag = flags[static_cast<std::size_t>(at)];
    if (found == ':') {
      return Usage(std::string(argv[optind - 1]) + " needs a value");
    }
    if (found != 0) {
      return Usage(std::string("'") + argv[optind - 1] + "' is no option, or takes no value");
    }
    const std::string value = optarg != nullptr ? optarg : "";
    if (!flag.read(options, value)) {
      return Usage(std::string("--") + flag.name + ": '" + value + "' is not allowed");
    }
  }
  if (optind < argc) {
    return Usage(std::string("'") + argv[optind] + "' is no option");
  }
  if (const auto code = Complete(options)) {
    return code;
  }
  addrinfo hints{};
  hints.ai_family = AF_INET;
  addrinfo* found = nullptr;
  if (getaddrinfo(options.host.c_str(), nullptr, &hints, &found) != 0) {
    return Usage("--host: '" + options.host + "' has no IPv4 address");
  }
  options.site.broker = *reinterpret_cast<const sockaddr_in*>(found->ai_addr);
  options.site.broker.sin_port = htons(static_cast<std::uint16_t>(options.port));
  freeaddrinfo(found);
  if (options.site.spread_addresses && options.host != "127.0.0.1") {
    return Usage("--spread-addresses is for --host 127.0.0.1");
  }
  if (!CanWrite("--outcomes", options.outcomes) || !CanWrite("--json", options.json)) {
    return kExitUsage;
  }
  return std::nullopt;
}

// One descriptor for MQTT and one for a download of each device.
bool RaiseLimits(const Options& options) {
  const rlim_t wanted =
      rlim_t{options.devices} *
          (options.site.files == Files::kHttp || options.site.files == Files::kMixed ? 2 : 1) +
      64;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted) {
    const rlimit more{wanted, std::max(limit.rlim_max, wanted)};
    const rlimit most{limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &more) != 0 &&
        (limit.rlim_max < wanted || setrlimit(RLIMIT_NOFILE, &most) != 0)) {
      std::fprintf(
          stderr,
          "ota-fleet: %u devices need %llu file descriptors, the hard limit is %llu: raise it "
          "(ulimit -Hn, LimitNOFILE=) or take fewer devices\n",
          options.devices, static_cast<unsigned long long>(wanted),
          static_cast<unsigned long long>(limit.rlim_max));
      return false;
    }
  }
  unsigned low = 0;
  unsigned high = 65535;
  std::ifstream range("/proc/sys/net/ipv4/ip_local_port_range");
  range >> low >> high;
  if (!options.site.spread_addresses && high - low + 1 < options.devices) {
    std::fprintf(stderr,
                 "ota-fleet: %u devices need as many ports of one address, "
                 "net.ipv4.ip_local_port_range has %u: widen it, or --spread-addresses\n",
                 options.devices, high - low + 1);
    return false;
  }
  return true;
}

// Each behaviour has its exact share; which device has which follows from the seed.
std::vector<Behaviour> Deal(const Options& options) {
  std::uint64_t sum = 0;
  for (const auto share : options.mix) {
    sum += share;
  }
  std::vector<Behaviour> dealt;
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < kBehaviours; ++i) {
    before += options.mix.at(i);
    dealt.resize(static_cast<std::size_t>(before * options.devices / sum),
                 static_cast<Behaviour>(i));
  }
  std::uint64_t state = options.site.seed * 2 + 1;
  for (std::size_t i = dealt.size(); i > 1; --i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(dealt[i - 1], dealt[static_cast<std::size_t>(state >> 33u) % i]);
  }
  return dealt;
}

class Run {
 public:
  explicit Run(const Options& options)
      : options_(options),
        connect_(loop_, [this] { ConnectSome(); }),
        herd_(loop_, [this] { BreakHerd(); }),
        look_(loop_, [this] { Look(); }) {
    const auto behaviours = Deal(options);
    for (unsigned i = 0; i < options.devices; ++i) {
      devices_.push_back(std::make_unique<Device>(loop_, options_.site, figures_, options.first + i,
                                                  behaviours[i]));
    }
  }

  int Go() {
    started_ = settled_at_ = said_at_ = Now();
    ConnectSome();
    herd_.Set(options_.herd_at);
    look_.Set(100 * kMs);
    loop_.Run();
    const auto took = Now() - started_;
    bool all = true;
    for (const auto& device : devices_) {
      if (!AtEnd(*device)) {
        all = false;
        figures_.Wrong("not at its end", device->name().device, device->Where());
      } else if (!device->ended()) {
        figures_.Count("had no task");
      }
    }
    if (all) {
      figures_.Count("ms until all were at their end",
                     static_cast<std::uint64_t>((settled_at_ - started_) / kMs));
    }
    if (!Write()) {
      figures_.Wrong("a file was not written", "ota-fleet", std::strerror(errno));
    }
    for (const auto& device : devices_) {
      device->Leave();
    }
    std::printf("%u devices of product %s, seed %llu, %.1f s\n\n%s", options_.devices,
                options_.site.product.c_str(), static_cast<unsigned long long>(options_.site.seed),
                static_cast<double>(took) / static_cast<double>(kSecond), ToText(figures_).c_str());
    return figures_.problems.empty() ? 0 : kExitProblems;
  }

  void Interrupt() { interrupted_ = true; }

 private:
  bool AtEnd(const Device& device) const {
    return device.settled() && (!options_.wait_for_task || device.ended());
  }

  void ConnectSome() {
    const auto due = options_.rate == 0 ? std::int64_t{options_.devices}
                                        : 1 + (Now() - started_) * options_.rate / kSecond;
    while (begun_ < devices_.size() && static_cast<std::int64_t>(begun_) < due) {
      devices_[begun_++]->Connect();
    }
    if (begun_ < devices_.size()) {
      connect_.Set(std::max(10 * kMs, kSecond / options_.rate));
    }
  }

  void BreakHerd() {
    if (begun_ < devices_.size()) {  // not before all were there
      herd_.Set(100 * kMs);
      return;
    }
    for (const auto& device : devices_) {
      if (device->behaviour() == Behaviour::kHerd) {
        device->Break();
      }
    }
  }

  void Look() {
    const auto now = Now();
    const auto ended = static_cast<unsigned>(std::count_if(
        devices_.begin(), devices_.end(), [this](const auto& device) { return AtEnd(*device); }));
    if (ended < devices_.size()) {
      settled_at_ = now;
    }
    if (!options_.quiet && now - said_at_ > 5 * kSecond) {
      said_at_ = now;
      std::fprintf(stderr, "ota-fleet: %.0f s: %u of %u at their end%s\n",
                   static_cast<double>(now - started_) / static_cast<double>(kSecond), ended,
                   options_.devices, Trouble().c_str());
    }
    if (now - started_ > 5 * kSecond && !options_.site.may_lose &&
        figures_.counters.count("connections") == 0) {
      loop_.Stop();  // it is the wrong address, or the wrong user
      return;
    }
    const bool settled = now - settled_at_ >= options_.settle;
    const bool late = now - started_ >= std::max(options_.timeout, options_.duration);
    if (interrupted_ || late || (settled && now - started_ >= options_.duration)) {
      loop_.Stop();
      return;
    }
    look_.Set(std::min(100 * kMs, std::max(options_.settle / 4, 5 * kMs)));
  }

  // What went wrong so far, for the line of progress.
  std::string Trouble() const {
    std::string text;
    for (const auto& [kind, problem] : figures_.problems) {
      text += ", " + std::to_string(problem.count) + " x " + kind;
    }
    return text;
  }

  bool Write() {
    bool written = true;
    if (!options_.outcomes.empty()) {
      std::ofstream file(options_.outcomes);
      for (const auto& device : devices_) {
        file << device->Outcome() << "\n";
      }
      written = !file.flush().fail();
    }
    if (!options_.json.empty()) {
      std::ofstream file(options_.json);
      file << ToJson(figures_);
      written = !file.flush().fail() && written;
    }
    return written;
  }

  Options options_;
  Loop loop_;
  Figures figures_;
  std::vector<std::unique_ptr<Device>> devices_;
  Timer connect_;
  Timer herd_;
  Timer look_;
  std::size_t begun_ = 0;
  std::int64_t started_ = 0;
  std::int64_t settled_at_ = 0;
  std::int64_t said_at_ = 0;
  volatile std::sig_atomic_t interrupted_ = 0;
};

Run* running = nullptr;

}  // namespace
}  // namespace ota::fleet

int main(int argc, char** argv) {
  using ota::fleet::Options;
  Options options;
  if (const auto code = ota::fleet::Read(argc, argv, options)) {
    return *code;
  }
  if (!ota::fleet::RaiseLimits(options)) {
    return ota::fleet::kExitLimit;
  }
  ota::fleet::Run run(options);
  ota::fleet::running = &run;
  for (const int number : {SIGINT, SIGTERM}) {
    std::signal(number, [](int) { ota::fleet::running->Interrupt(); });
  }
  return run.Go();
}
