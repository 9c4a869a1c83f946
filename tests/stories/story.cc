#include "stories/story.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iomanip>
#include <optional>
#include <sstream>
#include <thread>

#include "store/scratch.h"
#include "store/store.h"

namespace ota::stories {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};
constexpr std::string_view kProduct = "acme";

std::string Trim(std::string text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.back())) {
    text.pop_back();
  }
  while (!text.empty() && blank(text.front())) {
    text.erase(text.begin());
  }
  return text;
}

// The rest of `text` after `beginning`; nothing: it begins otherwise.
std::optional<std::string> After(const std::string& text, std::string_view beginning) {
  return text.starts_with(beginning) ? std::optional<std::string>(text.substr(beginning.size()))
                                     : std::nullopt;
}

std::string WithoutStop(std::string text) {
  if (text.ends_with('.') || text.ends_with(':')) {
    text.pop_back();
  }
  return text;
}

std::optional<core::Instant> InstantOf(const std::string& text) {
  std::tm parts{};
  std::istringstream in(text);
  in >> std::get_time(&parts, "%Y-%m-%d %H:%M:%S");
  if (in.fail()) {
    return std::nullopt;
  }
  return core::Instant(std::chrono::seconds(timegm(&parts)));
}

std::optional<milliseconds> DurationOf(const std::string& text) {
  std::istringstream in(text);
  std::int64_t sum = 0;
  std::int64_t number = 0;
  std::string unit;
  while (in >> number >> unit) {
    static const std::map<std::string, std::int64_t> kUnits{
        {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"days", 86400000}};
    const auto found = kUnits.find(unit);
    if (found == kUnits.end()) {
      return std::nullopt;
    }
    sum += number * found->second;
  }
  return sum == 0 ? std::nullopt : std::optional<milliseconds>(sum);
}

core::DeviceKey KeyOf(const std::string& name) {
  const std::size_t slash = name.find('/');
  return slash == std::string::npos
             ? core::DeviceKey{std::string(kProduct), name}
             : core::DeviceKey{name.substr(0, slash), name.substr(slash + 1)};
}

std::string NameOf(const core::DeviceKey& key) {
  return key.product == kProduct ? key.device : key.product + "/" + key.device;
}

// Whether a value is the expected one; `*` at an end stands for anything.
bool ValueMatches(std::string expected, const std::string& actual) {
  const bool open_front = expected.starts_with('*');
  const bool open_back = expected.ends_with('*');
  expected.erase(0, open_front ? 1 : 0);
  if (open_back && !expected.empty()) {
    expected.pop_back();
  }
  if (open_front && open_back) {
    return actual.find(expected) != std::string::npos;
  }
  return open_front  ? actual.ends_with(expected)
         : open_back ? actual.starts_with(expected)
                     : actual == expected;
}

bool RowMatches(const std::string& expected, const std::string& actual) {
  std::istringstream left(expected + "|");
  std::istringstream right(actual + "|");
  std::string want;
  std::string is;
  while (true) {
    const bool more = static_cast<bool>(std::getline(left, want, '|'));
    if (more != static_cast<bool>(std::getline(right, is, '|'))) {
      return false;
    }
    if (!more) {
      return true;
    }
    if (!ValueMatches(Trim(want), Trim(is))) {
      return false;
    }
  }
}

std::string Replaced(std::string text, std::string_view what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
  return text;
}

}  // namespace

engine::ClockReading Clock::Read() const {
  return {wall(), steady_clock::time_point(milliseconds(monotonic_ms_.load()))};
}

void Clock::Set(core::Instant wall) {
  wall_ms_.store(wall.time_since_epoch().count());
}

void Clock::Pass(milliseconds by) {
  wall_ms_ += by.count();
  monotonic_ms_ += by.count();
}

core::Instant Clock::wall() const {
  return core::Instant(milliseconds(wall_ms_.load()));
}

Story::Story(std::filesystem::path file) : file_(std::move(file)) {
  directory_ = store::MakeScratch();
  std::filesystem::create_directory(directory_ / "packages");
  options_.database = (directory_ / "ota.db").string();
  options_.packages = (directory_ / "packages").string();
  options_.token_key = (directory_ / "token.key").string();
  options_.secret_key = (directory_ / "secret.key").string();
  options_.download_lifetime = 86400;
  options_.download_connections = 10;
  options_.download_base = "http://files.example/ota";
  clock_.Set(core::Instant(std::chrono::sys_days(std::chrono::year(2027) / 3 / 1) +
                           std::chrono::hours(8)));
  store::Prepared("", options_.database,
                  [&] { (void)store::Store::Open(options_.database, clock_.wall(), {}); });
}

Story::~Story() {
  Stop();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::vector<Story::Sentence> Story::Read() const {
  std::vector<Sentence> sentences;
  std::ifstream in(file_);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const bool indented = line.starts_with("  ");
    const std::string text = Trim(line);
    if (text.empty() || text.starts_with('#')) {
      continue;
    }
    if (indented && !sentences.empty()) {
      sentences.back().block.push_back(text);
    } else {
      sentences.push_back({number, text, {}});
    }
  }
  return sentences;
}

std::string Story::Run() {
  const std::vector<Sentence> sentences = Read();
  if (sentences.empty() || !sentences.front().text.starts_with("Story: ")) {
    return file_.string() + ": must begin with 'Story: '";
  }
  Start();
  for (std::size_t i = 1; i < sentences.size(); ++i) {
    if (const std::string wrong = Tell(sentences[i]); !wrong.empty()) {
      std::string log;
      Drain();
      for (const std::string& one : log_) {
        log += "\n    " + one;
      }
      return file_.filename().string() + ":" + std::to_string(sentences[i].line) + ": " +
             sentences[i].text + "\n  " + wrong + "\n  the broker's log:" + log;
    }
  }
  return "";
}

std::string Story::Tell(const Sentence& sentence) {
  const std::string& text = sentence.text;
  if (text.starts_with("Items: ")) {
    return "";
  }
  if (const auto rest = After(text, "A package ")) {
    return Package(WithoutStop(*rest));
  }
  if (text == "The broker restarts.") {
    Stop();
    Start();
    return "";
  }
  if (text == "The administrator runs:") {
    return Administrator(sentence, "");
  }
  if (const auto rest = After(text, "The administrator is refused, with \"")) {
    return Administrator(sentence, rest->substr(0, rest->rfind('"')));
  }
  if (const auto rest = After(text, "The table ")) {
    return Table(sentence, "SELECT " + WithoutStop(Replaced(*rest, " shows:", ":")));
  }
  if (const auto rest = After(text, "The log says \"")) {
    const std::string part = rest->substr(0, rest->rfind('"'));
    const bool said = Until([&] {
      return std::any_of(log_.begin(), log_.end(), [&](const std::string& line) {
        return line.find(part) != std::string::npos;
      });
    });
    return said ? "" : "it does not";
  }
  if (text.starts_with("The clock ") || text.ends_with(" pass.") || text.ends_with(" passes.")) {
    return Time(text);
  }
  const std::size_t blank = text.find(' ');
  return blank == std::string::npos
             ? "no such sentence"
             : Device(sentence, text.substr(0, blank), text.substr(blank + 1));
}

std::string Story::Administrator(const Sentence& sentence, const std::string& refusal) {
  std::string script;
  for (const std::string& line : sentence.block) {
    script += line + "\n";
  }
  const auto now = std::to_string(clock_.wall().time_since_epoch().count());
  script = Replaced(script, "$now", now);
  try {
    Shell().exec(script);
  } catch (const std::exception& error) {
    const std::string what = error.what();
    shell_.reset();  // with what it had begun
    if (refusal.empty() || what.find(refusal) == std::string::npos) {
      return "the database says: " + what;
    }
    return "";
  }
  Settle();
  return refusal.empty() ? "" : "it was not refused";
}

// One for the whole story: to open one takes longer than most of what is asked.
SQLite::Database& Story::Shell() {
  if (!shell_) {
    shell_ = std::make_unique<SQLite::Database>(options_.database, SQLite::OPEN_READWRITE, 10000);
  }
  return *shell_;
}

std::string Story::Rows(const std::string& query) {
  SQLite::Statement statement(Shell(), query);
  std::string rows;
  while (statement.executeStep()) {
    for (int i = 0; i < statement.getColumnCount(); ++i) {
      rows += (i == 0 ? "" : " | ") + statement.getColumn(i).getString();
    }
    rows += "\n";
  }
  return rows;
}

std::string Story::Table(const Sentence& sentence, const std::string& query) {
  std::string actual;
  const auto matches = [&] {
    actual = Rows(query);
    std::istringstream lines(actual);
    std::string line;
    std::size_t row = 0;
    while (std::getline(lines, line)) {
      if (row >= sentence.block.size() || !RowMatches(sentence.block[row], line)) {
        return false;
      }
      ++row;
    }
    return row == sentence.block.size();
  };
  try {
    return Until(matches) ? "" : "it shows:\n" + actual;
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::string Story::Device(const Sentence& sentence, const std::string& name,
                          const std::string& rest) {
  const core::DeviceKey key = KeyOf(name);
  if (rest == "connects.") {
    Connect(key);
    return "";
  }
  if (rest == "disconnects.") {
    Disconnect(key);
    return "";
  }
  if (const auto said = After(rest, "says ")) {
    std::string payload = *said;
    for (const std::string& line : sentence.block) {
      payload += line;
    }
    return Says(key, payload);
  }
  if (const auto heard = After(rest, "hears ")) {
    return Hears(key, *heard);
  }
  return "no such sentence";
}

std::string Story::Says(const core::DeviceKey& key, const std::string& rest) {
  const std::size_t blank = rest.find(' ');
  const std::string kind = rest.substr(0, blank);
  static const std::map<std::string, dialect::UplinkKind> kKinds{
      {"version", dialect::UplinkKind::kVersion},
      {"confirm", dialect::UplinkKind::kConfirm},
      {"progress", dialect::UplinkKind::kProgress},
      {"block", dialect::UplinkKind::kBlock}};
  const auto found = kKinds.find(kind);
  if (found == kKinds.end() || blank == std::string::npos) {
    return "a device says version, confirm, progress or block, and an object";
  }
  const std::string payload = Replaced(rest.substr(blank + 1), "$task", task_[key]);
  const engine::Admission admission = inbox_->Offer(
      {key, &dialect::Dialects()[0], found->second, payload, live_[key], steady_clock::now(), 1});
  if (admission != engine::Admission::kTaken) {
    return "the inbox did not take it";
  }
  Settle();
  return "";
}

std::string Story::Hears(const core::DeviceKey& key, const std::string& rest) {
  const auto is_for = [&](const engine::Message& one) { return one.device == key; };
  if (rest == "nothing.") {
    Settle();
    const auto other = std::find_if(heard_.begin(), heard_.end(), is_for);
    return other == heard_.end() ? "" : "it hears " + other->topic + " " + other->payload;
  }
  const std::size_t end = rest.find_first_of(" .");
  const std::string kind = rest.substr(0, end);
  std::vector<std::string> parts;
  if (const std::size_t with = rest.find(" with "); with != std::string::npos) {
    std::string left = rest.substr(with + 6);
    for (std::size_t at; (at = left.find(" and ")) != std::string::npos;) {
      parts.push_back(Trim(left.substr(0, at)));
      left = left.substr(at + 5);
    }
    parts.push_back(Trim(WithoutStop(left)));
  }
  const auto is_meant = [&](const engine::Message& one) {
    return is_for(one) && one.topic.ends_with("/down/" + kind) &&
           std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
             return one.payload.find(part) != std::string::npos;
           });
  };
  std::string task;
  const bool came = Until([&] {
    const auto found = std::find_if(heard_.begin(), heard_.end(), is_meant);
    if (found == heard_.end()) {
      return false;
    }
    const std::size_t at = found->payload.find("\"task\":\"");
    if (at != std::string::npos && kind != "cancel") {
      const std::size_t begin = at + 8;
      task_[key] = found->payload.substr(begin, found->payload.find('"', begin) - begin);
    }
    heard_.erase(found);
    return true;
  });
  if (came) {
    return "";
  }
  std::string all;
  for (const engine::Message& one : heard_) {
    all += "\n    " + NameOf(one.device) + " hears " + one.topic + " " + one.payload;
  }
  return "it does not. What was sent and not told of:" + all;
}

// NAME of component C, version V[, from VERSION][, of N bytes]
std::string Story::Package(const std::string& rest) {
  std::istringstream in(rest);
  std::string name;
  std::string word;
  std::string component = "main";
  std::string version;
  std::string source;
  std::string bytes = "5000";
  in >> name;
  while (in >> word) {
    std::string* into = word == "component" ? &component
                        : word == "version" ? &version
                        : word == "from"    ? &source
                                            : nullptr;
    std::string value;
    if (into != nullptr && in >> value) {
      *into = value.ends_with(',') ? value.substr(0, value.size() - 1) : value;
    } else if (word.find_first_not_of("0123456789") == std::string::npos) {
      bytes = word;
    }
  }
  const std::string product = KeyOf(name).product;
  const std::string package = KeyOf(name).device;
  const std::string path = package + (source.empty() ? "" : "-from-" + source) + ".bin";
  std::ofstream(directory_ / "packages" / path) << std::string(std::stoul(bytes), 'x');
  const auto quoted = [](const std::string& text) { return "'" + text + "'"; };
  const std::string kind = source.empty() ? "full" : "delta";
  Sentence sql;
  sql.block = {"INSERT OR IGNORE INTO product(name) VALUES (" + quoted(product) + ");",
               "INSERT OR IGNORE INTO component(product, name) VALUES (" + quoted(product) + ", " +
                   quoted(component) + ");",
               "INSERT OR IGNORE INTO package(product, name, component, kind, version) VALUES (" +
                   quoted(product) + ", " + quoted(package) + ", " + quoted(component) + ", " +
                   quoted(kind) + ", " + quoted(version) + ");",
               "INSERT INTO package_file(product, package, source, path) VALUES (" +
                   quoted(product) + ", " + quoted(package) + ", " + quoted(source) + ", " +
                   quoted(path) + ");"};
  if (std::string wrong = Administrator(sql, ""); !wrong.empty()) {
    return wrong;
  }
  const bool ready = Until([&] {
    return Rows("SELECT state FROM package_state WHERE path = " + quoted(path)) == "ready\n";
  });
  return ready ? "" : "its file was not hashed";
}

std::string Story::Time(const std::string& text) {
  if (const auto shown = After(text, "The clock is set to ")) {
    const auto instant = InstantOf(*shown);
    if (!instant) {
      return "a time is written 2027-03-01 08:00:00";
    }
    clock_.Set(*instant);
    Settle();
    return "";
  }
  const auto until = After(text, "The clock comes to ");
  const std::string span = text.substr(0, text.rfind(" pass"));
  std::optional<milliseconds> by = DurationOf(span);
  if (until) {
    const auto instant = InstantOf(*until);
    if (!instant || *instant < clock_.wall()) {
      return "a later time is written 2027-03-01 08:00:00";
    }
    by = *instant - clock_.wall();
  }
  if (!by) {
    return "a span is written '1 h 30 min pass.'";
  }
  // In steps, so that what follows from one deadline happens before the next.
  const milliseconds step = std::max<milliseconds>(std::chrono::seconds(1), *by / 60);
  for (milliseconds left = *by; left > milliseconds(0);) {
    const milliseconds now = std::min(step, left);
    clock_.Pass(now);
    left -= now;
    Settle();
  }
  return "";
}

void Story::Start() {
  inbox_ = std::make_unique<engine::Inbox>();
  outbox_ = std::make_unique<engine::Outbox>();
  auto started = engine::Engine::Start(
      options_, *inbox_, *outbox_, [] { return std::uint64_t{7}; },
      [this] { return clock_.Read(); });
  if (!started) {
    log_.push_back(started.error().message);
    return;
  }
  engine_ = std::move(*started);
  const std::string mine = std::to_string(getpid()) + "\n";
  Until([&] {
    try {
      return Rows("SELECT pid FROM engine_health") == mine;
    } catch (const std::exception&) {
      return false;
    }
  });
  Settle();
}

void Story::Stop() {
  shell_.reset();
  if (engine_) {
    engine_->Stop();
    Drain();
    engine_.reset();
  }
  live_.clear();
  heard_.clear();
}

// The engine looks at its events once before each turn. What one turn leaves to the next is done in
// a few of them.
void Story::Settle() {
  for (int turn = 0; turn < 6; ++turn) {
    auto done = std::make_shared<std::atomic<bool>>(false);
    if (!inbox_->Post([done] { done->store(true); })) {
      return;
    }
    Until([&] { return done->load(); });
  }
}

void Story::Drain() {
  engine::Outbox::Sink sink;
  sink.log = [this](const engine::LogLine& line) { log_.push_back(line.text); };
  sink.live = [this](const core::DeviceKey& key) {
    const auto found = live_.find(key);
    return found == live_.end() ? 0 : found->second;
  };
  sink.publish = [this](engine::Message message) { heard_.push_back(std::move(message)); };
  sink.undelivered = [this](const engine::Message& message) {
    inbox_->AddUndelivered(message.device, message.connection);
  };
  outbox_->Drain(sink);
}

bool Story::Until(const std::function<bool()>& done) {
  const auto end = steady_clock::now() + kPatience;
  while (steady_clock::now() < end) {
    Drain();
    if (done()) {
      Drain();
      return true;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return false;
}

void Story::Connect(const core::DeviceKey& key) {
  live_[key] = ++connections_;
  inbox_->SetPresence({key, connections_, "client-" + NameOf(key)}, true);
  Settle();
}

void Story::Disconnect(const core::DeviceKey& key) {
  live_.erase(key);
  inbox_->SetPresence({key, 0, ""}, true);
  Settle();
}

}  // namespace ota::stories
