// The engine with a real database and real files, and the test in the place of the broker: it puts
// uplinks into the inbox and takes messages out of the outbox.
#include "engine/engine.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/push_limit.h"
#include "engine/registrations.h"
#include "no_memory.h"
#include "store/scratch.h"

namespace ota::engine {
namespace {

using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::Not;

constexpr std::chrono::seconds kPatience{60};

class Site : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = store::MakeScratch();
    ASSERT_FALSE(directory_.empty());
    std::filesystem::create_directory(directory_ / "packages");
    options_.database = (directory_ / "ota.db").string();
    options_.packages = (directory_ / "packages").string();
    options_.token_key = (directory_ / "token.key").string();
    options_.secret_key = (directory_ / "secret.key").string();
    options_.download_lifetime = 3600;
    options_.download_connections = 10;
    options_.download_base = "http://files.example/ota";
  }

  void TearDown() override {
    Stop();
    std::filesystem::remove_all(directory_);
  }

  void Start() {
    inbox_ = std::make_unique<Inbox>();
    outbox_ = std::make_unique<Outbox>();
    auto started = Engine::Start(
        options_, *inbox_, *outbox_, [] { return std::uint64_t{7}; },
        [this] {
          ClockReading clocks = still_ ? *still_ : Clocks();
          const std::chrono::milliseconds passed(passed_ms_.load());
          clocks.wall += passed;
          clocks.monotonic += passed;
          if (armed_.load()) {
            at_clock_();
          }
          return clocks;
        });
    ASSERT_TRUE(started) << started.error().message;
    engine_ = std::move(*started);
  }

  void StartAndOpen() {
    Start();
    ASSERT_TRUE(Until([&] { return IsOpen(); })) << Log();
  }

  void Stop() {
    if (engine_) {
      engine_->Stop();
      Drain();
      engine_.reset();
    }
  }

  // Stops it without what a clean stop does beyond closing files.
  void Restart() {
    Stop();
    live_.clear();
    messages_.clear();
    StartAndOpen();
  }

  // Whether the engine has made the schema and committed.
  bool IsOpen() {
    try {
      return Ask("SELECT pid FROM engine_health") == std::to_string(getpid());
    } catch (const std::exception&) {
      return false;
    }
  }

  void Sql(const std::string& text) {
    SQLite::Database database(options_.database, SQLite::OPEN_READWRITE, 10000);
    database.exec(text);
  }

  std::string Ask(const std::string& query) {
    SQLite::Database database(options_.database, SQLite::OPEN_READONLY, 10000);
    SQLite::Statement statement(database, query);
    return statement.executeStep() ? statement.getColumn(0).getString() : "";
  }

  // A product, two components, a package of one file for `main`.
  void MakeCatalogue() {
    std::ofstream(directory_ / "packages" / "main-2.bin") << std::string(5000, 'x');
    Sql("INSERT INTO product(name) VALUES ('acme');"
        "INSERT INTO component(product, name) VALUES ('acme', 'main');"
        "INSERT INTO package(product, name, component, version) VALUES ('acme', 'main-2', 'main', "
        "'2.0');"
        "INSERT INTO package_file(product, package, path) VALUES ('acme', 'main-2', 'main-2.bin');"
        "INSERT INTO plan(name, product) VALUES ('spring', 'acme');"
        "INSERT INTO plan_component(plan, seq, component, full) VALUES ('spring', 1, 'main', "
        "'main-2');");
  }

  void Connect(const std::string& device, std::uint64_t connection) {
    live_[{"acme", device}] = connection;
    inbox_->SetPresence({{"acme", device}, connection, "client-" + device}, true);
  }

  void Disconnect(const std::string& device) {
    live_.erase({"acme", device});
    inbox_->SetPresence({{"acme", device}, 0, ""}, true);
  }

  void Say(const std::string& device, dialect::UplinkKind kind, const std::string& payload) {
    const Admission admission = inbox_->Offer({{"acme", device},
                                               &dialect::Dialects()[0],
                                               kind,
                                               payload,
                                               live_[{"acme", device}],
                                               steady_clock::now()});
    EXPECT_EQ(admission, Admission::kTaken);
  }

  void Report(const std::string& device, const std::string& version, const std::string& more = "") {
    Say(device, dialect::UplinkKind::kVersion,
        R"({"id":")" + std::to_string(++reports_) + R"(","components":{"main":")" + version +
            "\"}" + more + "}");
  }

  // Whether the broker thread may answer the device's last Report(), as it does before it puts one
  // into the inbox.
  bool Repeats(const std::string& device, const std::string& version,
               const std::string& more = "") {
    const core::DeviceKey key{"acme", device};
    return !inbox_->Holds(key) && !outbox_->Holds(key) &&
           inbox_->unchanged()
               .Repeats(key, live_[key], &dialect::Dialects()[0],
                        R"({"id":"again","components":{"main":")" + version + "\"}" + more + "}",
                        std::chrono::floor<core::Duration>(std::chrono::system_clock::now()) +
                            std::chrono::milliseconds(passed_ms_.load()))
               .has_value();
  }

  // A device that has reported 1.0 until its next report may be answered.
  void Rest(const std::string& device, std::uint64_t connection, const std::string& more = "") {
    Connect(device, connection);
    Report(device, "1.0", more);
    ASSERT_NE(Answer(device), "");
    ASSERT_TRUE(Until([&] {
      Report(device, "1.0", more);
      return !Answer(device).empty() && Until([&] {
        return !inbox_->Holds({"acme", device});
      }) && Repeats(device, "1.0", more);
    }));
  }

  // A device with 1.0 that accepts what the active plan offers it.
  void Accept(const std::string& device, std::uint64_t connection) {
    ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
    Connect(device, connection);
    Report(device, "1.0");
    const std::string task = Field(Await(device, "down/plan"), "task");
    Say(device, dialect::UplinkKind::kConfirm,
        R"({"id":"c","task":")" + task + R"(","accept":true})");
    ASSERT_NE(Await(device, "down/reply", "\"id\":\"c\""), "");
  }

  // What the last Report() was answered with.
  std::string Answer(const std::string& device) {
    return Await(device, "down/reply", "\"id\":\"" + std::to_string(reports_) + "\"");
  }

  void Drain() {
    Outbox::Sink sink;
    sink.log = [this](const LogLine& line) { log_.push_back(line.text); };
    sink.live = [this](const core::DeviceKey& key) {
      const auto found = live_.find(key);
      return found == live_.end() ? 0 : found->second;
    };
    sink.publish = [this](Message message) { messages_.push_back(std::move(message)); };
    sink.undelivered = [this](const Message& message) {
      inbox_->AddUndelivered(message.device, message.connection);
    };
    outbox_->Drain(sink);
  }

  bool Until(const std::function<bool()>& done) {
    const auto end = steady_clock::now() + kPatience;
    while (steady_clock::now() < end) {
      Drain();
      if (done()) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  // The first message to `device` that ends with `topic` and holds `text`; it is taken off. "" when
  // none comes.
  std::string Await(const std::string& device, const std::string& topic,
                    const std::string& text = "") {
    std::string payload;
    Until([&] {
      for (auto message = messages_.begin(); message != messages_.end(); ++message) {
        if (message->device.device == device && message->topic.ends_with(topic) &&
            message->payload.find(text) != std::string::npos) {
          payload = message->payload;
          messages_.erase(message);
          return true;
        }
      }
      return false;
    });
    return payload;
  }

  static std::string Field(const std::string& json, const std::string& name) {
    const std::string key = "\"" + name + "\":\"";
    const std::size_t at = json.find(key);
    if (at == std::string::npos) {
      return "";
    }
    const std::size_t start = at + key.size();
    return json.substr(start, json.find('"', start) - start);
  }

  std::string Log() const {
    std::string text;
    for (const std::string& line : log_) {
      text += line + "\n";
    }
    return text;
  }

  std::filesystem::path directory_;
  Options options_;
  std::unique_ptr<Inbox> inbox_;
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<Engine> engine_;
  std::map<core::DeviceKey, std::uint64_t> live_;
  std::vector<Message> messages_;
  std::vector<std::string> log_;
  int reports_ = 0;
  std::optional<ClockReading> still_;       // instead of the time, set before Start()
  std::atomic<std::int64_t> passed_ms_{0};  // by which the engine's clocks are ahead
  std::function<void()> at_clock_;  // on the engine's thread, when it reads the clock while armed_
  std::atomic<bool> armed_{false};
};

TEST_F(Site, AReportIsAnsweredAfterItIsStored) {  // [N-11]
  StartAndOpen();
  MakeCatalogue();
  Connect("d1", 1);
  ASSERT_TRUE(Until([&] {
    Report("d1", "1.0");
    return Answer("d1").find("\"code\":200") != std::string::npos;
  }));
  EXPECT_EQ(Ask("SELECT version FROM device_version"), "1.0");
}

TEST_F(Site, WhatTheDatabaseRefusesOfOneDeviceTakesNothingFromTheOthers) {
  StartAndOpen();
  MakeCatalogue();
  Sql("CREATE UNIQUE INDEX one_of_each ON device_version(version)");
  for (const char* device : {"d1", "d2", "d3"}) {
    Connect(device, 1);
  }
  {
    SQLite::Database lock(options_.database, SQLite::OPEN_READWRITE, 10000);
    lock.exec("BEGIN IMMEDIATE");  // so that the three are one batch
    Report("d1", "1.0");
    Report("d2", "1.0");
    Report("d3", "3.0");
    lock.exec("COMMIT");
  }
  EXPECT_THAT(Await("d1", "down/reply"), HasSubstr("\"code\":200"));
  EXPECT_THAT(Await("d2", "down/reply"), HasSubstr("\"code\":503"));
  EXPECT_THAT(Await("d3", "down/reply"), HasSubstr("\"code\":200"));
  EXPECT_EQ(Ask("SELECT group_concat(name) FROM (SELECT name FROM device_state ORDER BY name)"),
            "d1,d3");
  EXPECT_THAT(Log(), HasSubstr("device acme/d2: the database refused an event"));
  EXPECT_THAT(Log(), Not(HasSubstr("uplinks get 503")));
  Report("d3", "3.1");
  EXPECT_THAT(Answer("d3"), HasSubstr("\"code\":200"));
}

TEST_F(Site, WithoutMemoryTheEngineRefusesAndGoesOnWhenThereIsSome) {
  at_clock_ = [this] {
    if (armed_.exchange(false)) {
      throw std::bad_alloc();
    }
  };
  StartAndOpen();
  MakeCatalogue();
  Connect("d1", 1);
  Report("d1", "1.0");
  ASSERT_THAT(Answer("d1"), HasSubstr("\"code\":200"));
  armed_ = true;
  ASSERT_TRUE(Until([&] {
    Drain();
    return Log().find("the engine: std::bad_alloc; OTA uplinks get 503") != std::string::npos;
  }));
  ASSERT_TRUE(Until([&] { return !engine_->passive(); }));
  Report("d1", "1.1");
  EXPECT_THAT(Answer("d1"), HasSubstr("\"code\":200"));
  EXPECT_EQ(Ask("SELECT version FROM device_version"), "1.1");
}

TEST_F(Site, OfManyNewDevicesAtOnceEachIsToldWhenItMayRegister) {
  still_ = Clocks();
  StartAndOpen();
  MakeCatalogue();
  constexpr int kDevices = kRegistrationsPerSecond + 50;
  const auto all = [&] {
    messages_.clear();
    for (int device = 0; device < kDevices; ++device) {
      Connect("d" + std::to_string(device), 1);
      Report("d" + std::to_string(device), "1.0");
    }
    EXPECT_TRUE(Until([&] { return messages_.size() == kDevices; }));
    return std::ranges::count_if(messages_, [](const Message& message) {
      return message.payload.find("\"code\":503,\"retryAfter\":1") != std::string::npos;
    });
  };
  EXPECT_EQ(all(), 50);
  passed_ms_ += 1000;
  EXPECT_EQ(all(), 0);
  EXPECT_EQ(Ask("SELECT count(*) FROM device_state"), std::to_string(kDevices));
}

TEST_F(Site, AReportThatChangesNothingMayBeAnsweredAgainInItsConnection) {
  StartAndOpen();
  MakeCatalogue();
  Rest("d1", 1);
  EXPECT_FALSE(Repeats("d1", "1.1"));
  EXPECT_FALSE(Repeats("d1", "1.0", R"(,"battery":70)"));
  EXPECT_FALSE(Repeats("d1", "1.0", R"(,"request":true)"));
  Connect("d1", 2);
  EXPECT_FALSE(Repeats("d1", "1.0"));
  Rest("d1", 3);
  Report("d1", "1.1");
  EXPECT_FALSE(Repeats("d1", "1.0"));  // it waits behind the other
  ASSERT_NE(Answer("d1"), "");
  EXPECT_FALSE(Repeats("d1", "1.0"));
  EXPECT_FALSE(Repeats("d1", "1.1"));
  ASSERT_TRUE(Until([&] {
    Report("d1", "1.1");
    return !Answer("d1").empty() && Until([&] {
      return !inbox_->Holds({"acme", "d1"});
    }) && Repeats("d1", "1.1");
  }));
  EXPECT_FALSE(Repeats("d1", "1.0"));
}

TEST_F(Site, WhatAsksForMoreIsNotAnsweredAgain) {
  StartAndOpen();
  MakeCatalogue();
  for (const char* more : {R"(,"request":true)", R"(,"trial":["main"])", R"(,"sleep":"x")"}) {
    Connect("d1", 1);
    for (int i = 0; i < 3; ++i) {
      Report("d1", "1.0", more);
      ASSERT_NE(Answer("d1"), "");
    }
    ASSERT_TRUE(Until([&] { return !inbox_->Holds({"acme", "d1"}); }));
    EXPECT_FALSE(Repeats("d1", "1.0", more)) << more;
  }
}

TEST_F(Site, ADeviceThatIsOfferedAnUpgradeIsNotAnsweredBeforeIt) {  // [N-13]
  StartAndOpen();
  MakeCatalogue();
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Rest("d1", 1);
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  bool before = false;
  ASSERT_TRUE(Until([&] {
    const bool offered = std::ranges::any_of(
        messages_, [](const Message& message) { return message.topic.ends_with("down/plan"); });
    before = before || (offered && Repeats("d1", "1.0"));
    return offered;
  })) << Log();
  EXPECT_FALSE(before);
  for (int i = 0; i < 3; ++i) {  // while the task is open
    Report("d1", "1.0");
    ASSERT_NE(Answer("d1"), "");
    EXPECT_FALSE(Repeats("d1", "1.0"));
  }
}

TEST_F(Site, APlanThatAnyReportJoinsHasAllReports) {
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET scope_kind = 'dynamic', new_reports = 1; UPDATE plan SET wanted = 'active'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM plan_state") == "active"; })) << Log();
  Connect("d1", 1);
  for (int i = 0; i < 4; ++i) {
    Report("d1", "2.0");
    ASSERT_NE(Answer("d1"), "");
    EXPECT_FALSE(Repeats("d1", "2.0"));
  }
}

TEST_F(Site, WhatOtherProgramsWriteEndsTheAnswers) {
  StartAndOpen();
  MakeCatalogue();
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Rest("d1", 1);
  Sql("BEGIN; UPDATE engine_state SET writing = 1; UPDATE device_version SET version = '0.9';"
      "UPDATE engine_state SET writing = 0; COMMIT");  // a repair by hand
  EXPECT_TRUE(Until([&] { return !Repeats("d1", "1.0"); }));
  Rest("d1", 2);
  EXPECT_EQ(Ask("SELECT version FROM device_version"), "1.0");
  Sql("INSERT INTO device(product, name, disabled) VALUES ('acme', 'd1', 1)");
  EXPECT_TRUE(Until([&] { return !Repeats("d1", "1.0"); }));
  Report("d1", "1.0");
  EXPECT_THAT(Answer("d1"), HasSubstr("403"));
}

TEST_F(Site, WhatWasMeasuredIsAsYoungAsTheLastAnswer) {
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET battery = 50, max_age_s = 600, unknown = 'wait'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  const std::string battery = R"(,"battery":70)";
  Rest("d1", 1, battery);
  passed_ms_ += 1'200'000;
  ASSERT_TRUE(Repeats("d1", "1.0", battery));
  Sql("UPDATE plan SET wanted = 'active'");
  EXPECT_NE(Await("d1", "down/plan"), "") << Ask("SELECT reason || ' ' || detail FROM task");
}

TEST_F(Site, AReportThatContradictsTelemetryIsRead) {
  StartAndOpen();
  MakeCatalogue();
  Sql("INSERT INTO telemetry(product, value, topic, path) VALUES ('acme', 'battery', "
      "'plant/{device}', '/b')");
  ASSERT_TRUE(Until([&] {
    return Ask("SELECT journal_done = (SELECT max(id) FROM journal) FROM engine_state") == "1";
  }));
  const std::string battery = R"(,"battery":70)";
  Rest("d1", 1, battery);
  inbox_->OfferTelemetry("plant/d1", R"({"b":20})");
  EXPECT_TRUE(Until([&] { return !Repeats("d1", "1.0", battery); }));
}

TEST_F(Site, TheTimeOfAnAnswerIsWritten) {
  StartAndOpen();
  MakeCatalogue();
  Rest("d1", 1);
  Stop();
  const std::string before = Ask("SELECT seen_ms FROM device_state");
  StartAndOpen();
  Rest("d1", 1);
  ASSERT_TRUE(Repeats("d1", "1.0"));
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  Stop();
  EXPECT_GT(std::stoll(Ask("SELECT seen_ms FROM device_state")), std::stoll(before));
  EXPECT_GE(std::stoll(Ask("SELECT seen_ms FROM device_state")), now - 1);
}

TEST_F(Site, AnUnknownProductIsNotFound) {
  StartAndOpen();
  Connect("d1", 1);
  Report("d1", "1.0");
  EXPECT_THAT(Answer("d1"), HasSubstr("404"));
}

TEST_F(Site, AnUpgradeGoesFromTheOfferToTheVersionThatProvesIt) {  // [N-27]
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  Connect("d1", 1);
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Report("d1", "1.0");
  const std::string offer = Await("d1", "down/plan");
  const std::string task = Field(offer, "task");
  ASSERT_NE(task, "") << Log();
  Say("d1", dialect::UplinkKind::kConfirm, R"({"id":"c","task":")" + task + R"(","accept":true})");
  const std::string download = Await("d1", "down/download");
  EXPECT_THAT(download, HasSubstr("\"attempt\":1"));
  EXPECT_THAT(download, HasSubstr("http://files.example/ota/"));
  Say("d1", dialect::UplinkKind::kProgress,
      R"({"id":"p","task":")" + task + R"(","component":"main","state":"rebooting"})");
  EXPECT_THAT(Await("d1", "down/reply", "\"p\""), HasSubstr("\"code\":200"));
  EXPECT_EQ(Ask("SELECT state FROM task"), "rebooting");
  Disconnect("d1");
  Connect("d1", 2);
  Report("d1", "2.0", R"(,"task":")" + task + "\"");
  ASSERT_NE(Answer("d1"), "");
  EXPECT_EQ(Ask("SELECT state FROM task"), "succeeded");
  EXPECT_THAT(Log(), HasSubstr("audit task " + task));
}

TEST_F(Site, APlanThatIsActivatedReachesAConnectedDeviceWithinASecond) {
  StartAndOpen();
  MakeCatalogue();
  Connect("d1", 1);
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Report("d1", "1.0");
  ASSERT_NE(Answer("d1"), "");
  const auto before = steady_clock::now();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  ASSERT_NE(Await("d1", "down/plan"), "") << Log();
  EXPECT_LT(steady_clock::now() - before, std::chrono::seconds(5));
}

TEST_F(Site, AFileThatIsNotThereIsNamedAndThePlanWaitsForIt) {
  StartAndOpen();
  MakeCatalogue();
  std::filesystem::remove(directory_ / "packages" / "main-2.bin");
  Sql("INSERT INTO product(name) VALUES ('other')");
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  Connect("d1", 1);
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") != "hashing"; }));
  Report("d1", "1.0");
  ASSERT_NE(Answer("d1"), "");
  ASSERT_TRUE(Until([&] { return Ask("SELECT reason FROM task") == "package_not_ready"; }))
      << Log();
}

TEST_F(Site, AFileLargerThanItsProfileAllowsIsRefused) {
  StartAndOpen();
  Sql("UPDATE profile SET max_file_bytes = 4999 WHERE name = 'default'");
  MakeCatalogue();
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "refused"; })) << Log();
  EXPECT_EQ(Ask("SELECT problem FROM package_state"),
            "file 'main-2.bin': 5000 bytes; rule max_file_bytes of profile 'default' allows 4999");
  // One that was accepted stays so when the rule is tightened, also when it is looked at again.
  Sql("UPDATE profile SET max_file_bytes = 5000 WHERE name = 'default'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Sql("UPDATE profile SET max_file_bytes = 4999 WHERE name = 'default'");
  EXPECT_EQ(Ask("SELECT rule FROM package_breaks"), "max_file_bytes");
  Sql("BEGIN; UPDATE engine_state SET writing = 1; UPDATE package_state SET state = 'hashing';"
      "UPDATE engine_state SET writing = 0; COMMIT");
  Restart();
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
}

TEST_F(Site, WhatIsOwedIsSentOncePerConnectionAndAgainAfterARestart) {  // [N-12]
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Connect("d1", 1);
  Report("d1", "1.0");
  const std::string task = Field(Await("d1", "down/plan"), "task");
  ASSERT_NE(task, "");
  ASSERT_NE(Answer("d1"), "");
  Report("d1", "1.0");
  ASSERT_NE(Answer("d1"), "");
  EXPECT_TRUE(messages_.empty()) << "the same connection was told twice: " << messages_[0].payload;
  Connect("d1", 2);
  Report("d1", "1.0");
  EXPECT_EQ(Field(Await("d1", "down/plan"), "task"), task);
  Restart();
  Connect("d1", 1);
  Report("d1", "1.0");
  EXPECT_EQ(Field(Await("d1", "down/plan"), "task"), task);
}

TEST_F(Site, ACanceledPlanEndsItsTasksAtOnceAndTellsTheDevice) {  // [N-31]
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Connect("d1", 1);
  Report("d1", "1.0");
  const std::string task = Field(Await("d1", "down/plan"), "task");
  Sql("UPDATE plan SET wanted = 'canceled' WHERE name = 'spring'");
  EXPECT_THAT(Await("d1", "down/cancel"), HasSubstr(task));
  EXPECT_EQ(Ask("SELECT state FROM task"), "canceled");
  Say("d1", dialect::UplinkKind::kConfirm, R"({"task":")" + task + R"(","accept":true})");
  EXPECT_THAT(Await("d1", "down/reply", "confirm"), HasSubstr("410"));
}

TEST_F(Site, ALockHeldByAnotherProcessDelaysAnswersAndLosesNone) {
  StartAndOpen();
  MakeCatalogue();
  SQLite::Database holder(options_.database, SQLite::OPEN_READWRITE);
  holder.exec("BEGIN IMMEDIATE");
  for (int i = 0; i < 20; ++i) {
    const std::string name = "d" + std::to_string(i);
    Connect(name, static_cast<std::uint64_t>(i) + 1);
    Report(name, "1.0");
  }
  // Long enough for the line that names the holder.
  ASSERT_TRUE(Until([&] { return Log().find("locked by another process") != std::string::npos; }))
      << Log();
  EXPECT_TRUE(messages_.empty());
  holder.exec("COMMIT");
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(Await("d" + std::to_string(i), "down/reply"), HasSubstr("\"code\":200"));
  }
}

TEST_F(Site, ALockHeldForAnHourFailsNobody) {
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET download_s = 600, wanted = 'active' WHERE name = 'spring'");
  Accept("d1", 1);
  ASSERT_EQ(Ask("SELECT state FROM task"), "accepted");
  const std::int64_t deadline = std::stoll(Ask("SELECT deadline_ms FROM task"));

  SQLite::Database holder(options_.database, SQLite::OPEN_READWRITE, 10000);
  holder.exec("BEGIN IMMEDIATE");
  Connect("d2", 2);
  Report("d2", "1.0");
  // The device of this uplink is heard when the lock is let go; the engine waits for it from now
  // on.
  ASSERT_TRUE(Until([&] {
    passed_ms_ += 10;
    return engine_->passive();
  })) << Log();
  passed_ms_ += 3'600'000;
  const testing::Matcher<std::string> said =
      testing::ContainsRegex("locked by another process for [34][0-9][0-9][0-9] s");
  ASSERT_TRUE(Until([&] { return testing::Value(Log(), said); })) << Log();
  holder.exec("COMMIT");
  EXPECT_THAT(Answer("d2"), HasSubstr("\"code\":200")) << Log();
  EXPECT_FALSE(engine_->passive());
  EXPECT_EQ(Ask("SELECT t.state FROM task t JOIN device_state d ON d.id = t.device_id "
                "WHERE d.name = 'd1'"),
            "accepted");
  EXPECT_GE(std::stoll(Ask("SELECT t.deadline_ms FROM task t JOIN device_state d ON d.id = "
                           "t.device_id WHERE d.name = 'd1'")),
            deadline + 3'600'000);
  EXPECT_THAT(Log(),
              testing::ContainsRegex("deadlines of open tasks moved by [34][0-9][0-9][0-9] s"));
}

TEST_F(Site, AFloodOfUplinksHoldsUpNobodysDeadline) {
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET download_s = 600, wanted = 'active' WHERE name = 'spring'");
  Accept("d1", 1);

  std::jthread flood([this](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      inbox_->Offer({{"acme", "f" + std::to_string(i % 100)},
                     &dialect::Dialects()[0],
                     dialect::UplinkKind::kVersion,
                     R"({"components":{"main":"0.)" + std::to_string(i) + "\"}}",
                     0,
                     steady_clock::now()});
    }
  });
  passed_ms_ += 600'000;
  EXPECT_TRUE(Until([&] {
    return Ask("SELECT count(*) FROM task WHERE reason = 'download_timeout'") == "1";
  })) << Log();
  flood.request_stop();
  flood.join();
}

TEST_F(Site, WhatADeviceSaysDoesNotFillTheLog) {
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  Accept("d1", 1);
  // 31 lines each.
  const auto report = [&](int number) {
    std::string components;
    for (int component = 0; component < 31; ++component) {
      components += ",\"c" + std::to_string(component) + "\":\"" + std::to_string(number) + '"';
    }
    Say("d1", dialect::UplinkKind::kVersion,
        R"({"id":")" + std::to_string(++reports_) + R"(","components":{"main":"1.0")" + components +
            "}}");
    return Answer("d1");
  };
  constexpr int kReports = kLogLinesPerHour / 31 + 20;
  for (int number = 0; number < kReports; ++number) {
    ASSERT_THAT(report(number), HasSubstr("\"code\":200"));
  }
  const std::string lines = "SELECT count(*) FROM log WHERE device = 'd1'";
  EXPECT_LE(std::stoi(Ask(lines)), kLogLinesPerHour + 10);  // and its registration
  EXPECT_EQ(Ask("SELECT version FROM device_version WHERE component = 'c30'"),
            std::to_string(kReports - 1));
  EXPECT_THAT(Log(), HasSubstr("device acme/d1: more than 20000 lines of the log in an hour"));
  Connect("d1", 2);
  Report("d1", "2.0");
  EXPECT_THAT(Answer("d1"), HasSubstr("\"code\":200"));
  EXPECT_EQ(Ask("SELECT count(*) FROM log WHERE device = 'd1' AND new_state = 'succeeded'"), "1");

  passed_ms_ += 3'600'000;
  const int before = std::stoi(Ask(lines));
  ASSERT_THAT(report(kReports), HasSubstr("\"code\":200"));
  EXPECT_GE(std::stoi(Ask(lines)), before + 31);
}

TEST_F(Site, AReaderOfAnHourHindersNobodyAndIsNamed) {
  StartAndOpen();
  MakeCatalogue();
  SQLite::Database reader(options_.database, SQLite::OPEN_READONLY, 10000);
  reader.exec("BEGIN");
  ASSERT_EQ(reader.execAndGet("SELECT count(*) FROM device_state").getInt(), 0);
  for (int i = 0; i < 10; ++i) {
    passed_ms_ += 360'000;
    Connect("d" + std::to_string(i), static_cast<std::uint64_t>(i) + 1);
    Report("d" + std::to_string(i), "1.0");
    ASSERT_THAT(Answer("d" + std::to_string(i)), HasSubstr("\"code\":200"));
  }
  EXPECT_EQ(reader.execAndGet("SELECT count(*) FROM device_state").getInt(), 0);
  // What cannot be moved out of the log makes it grow. The engine looks when it starts, and each
  // minute.
  Sql("CREATE TABLE big AS SELECT zeroblob(70000000) AS b; DROP TABLE big;");
  Restart();
  ASSERT_TRUE(Until([&] {
    return Log().find("write-ahead log of the database has grown") != std::string::npos;
  })) << Log();
  reader.exec("COMMIT");
  Connect("late", 50);
  Report("late", "1.0");
  EXPECT_THAT(Answer("late"), HasSubstr("\"code\":200"));
  EXPECT_EQ(Ask("SELECT count(*) FROM device_state"), "11");
  EXPECT_EQ(Ask("PRAGMA integrity_check"), "ok");
}

TEST_F(Site, ARemovedDatabaseMakesItPassiveAndIsNotMadeAnew) {
  StartAndOpen();
  MakeCatalogue();
  std::filesystem::rename(options_.database, options_.database + ".away");
  ASSERT_TRUE(Until([&] { return Log().find("503") != std::string::npos; }));
  EXPECT_TRUE(engine_->passive());
  EXPECT_FALSE(std::filesystem::exists(options_.database));
}

TEST_F(Site, AWholeDatabaseThatIsRemovedIsNotMadeAnewEither) {
  StartAndOpen();
  MakeCatalogue();
  std::filesystem::create_directory(directory_ / "away");
  for (const char* name : {"ota.db", "ota.db-wal", "ota.db-shm", "ota.db.commit"}) {
    std::filesystem::rename(directory_ / name, directory_ / "away" / name);
  }
  ASSERT_TRUE(Until([&] { return Log().find("is missing or empty") != std::string::npos; }))
      << Log();
  EXPECT_TRUE(engine_->passive());
  EXPECT_FALSE(std::filesystem::exists(options_.database));
}

TEST_F(Site, AWriteAheadLogThatIsRemovedIsNoticedAndCostsNothing) {
  for (const char* suffix : {"-wal", "-shm"}) {
    Start();
    ASSERT_TRUE(Until([&] { return IsOpen(); })) << Log();
    Sql("INSERT INTO product(name) VALUES ('acme') ON CONFLICT DO NOTHING");
    Connect("d1", 1);
    ASSERT_TRUE(Until([&] {
      Report("d1", "1.0");
      return Answer("d1").find("\"code\":200") != std::string::npos;
    }));
    std::filesystem::remove(options_.database + suffix);
    ASSERT_TRUE(Until([&] {
      return Log().find("write-ahead log was removed or replaced") != std::string::npos;
    })) << Log();
    ASSERT_TRUE(Until([&] { return Log().find("can be used again") != std::string::npos; }))
        << Log();
    EXPECT_EQ(Ask("SELECT version FROM device_version"), "1.0") << Log();
    EXPECT_EQ(Ask("PRAGMA integrity_check"), "ok");
    EXPECT_THAT(Log(), Not(HasSubstr("held until")));
    Stop();
    live_.clear();
    log_.clear();
  }
}

TEST_F(Site, AnOlderCopyHoldsEveryPlanUntilARelease) {
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Stop();
  std::filesystem::copy_file(options_.database, directory_ / "copy.db");
  StartAndOpen();
  Connect("d1", 1);
  Report("d1", "1.0");
  ASSERT_NE(Await("d1", "down/plan"), "") << Log();
  Stop();
  live_.clear();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(options_.database + suffix);
  }
  std::filesystem::copy_file(directory_ / "copy.db", options_.database);
  messages_.clear();
  Start();  // the copy has this process's row of engine_health already
  ASSERT_TRUE(Until([&] { return Log().find("held until") != std::string::npos; })) << Log();
  Connect("d1", 3);
  Report("d1", "1.0");
  ASSERT_NE(Answer("d1"), "");
  EXPECT_EQ(Ask("SELECT state FROM plan_state"), "held");
  EXPECT_TRUE(messages_.empty());
  Sql("INSERT INTO request(act) VALUES ('release')");
  EXPECT_NE(Await("d1", "down/plan"), "") << Log();
  EXPECT_EQ(Ask("SELECT state FROM request"), "done");
}

TEST_F(Site, BlocksOfAFileComeInOrderAndTheReplyAfterThem) {  // [N-28] [N-13]
  options_.download_base.reset();
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Connect("d1", 1);
  Report("d1", "1.0");
  const std::string task = Field(Await("d1", "down/plan"), "task");
  Say("d1", dialect::UplinkKind::kConfirm, R"({"task":")" + task + R"(","accept":true})");
  const std::string download = Await("d1", "down/download");
  EXPECT_THAT(download, HasSubstr("\"blocks\":true"));
  EXPECT_THAT(download, Not(HasSubstr("\"url\"")));
  messages_.clear();
  Say("d1", dialect::UplinkKind::kBlock,
      R"({"id":"b","task":")" + task +
          R"(","component":"main","file":0,"ref":"b3","offset":4000,"length":512,"count":4})");
  ASSERT_NE(Await("d1", "down/reply", "\"b\""), "") << Log();
  ASSERT_EQ(messages_.size(), 2u) << "both blocks before the reply";
  EXPECT_TRUE(messages_[0].topic.ends_with("down/block/b3/4000"));
  EXPECT_EQ(messages_[0].payload.size(), 512u);
  EXPECT_TRUE(messages_[1].topic.ends_with("down/block/b3/4512"));
  EXPECT_EQ(messages_[1].payload.size(), 488u);
}

TEST_F(Site, AFileThatFindsNoMemoryForItsDigestIsTriedAgain) {
  StartAndOpen();
  {
    const NoLargeMemory none(std::size_t{256} * 1024);
    MakeCatalogue();
    ASSERT_TRUE(Until([&] {
      return Log().find("the digest of package file 'main-2.bin' has failed: std::bad_alloc") !=
             std::string::npos;
    })) << Log();
    inbox_->Reload();  // as at the next look, within a minute
    EXPECT_EQ(Ask("SELECT state FROM package_state"), "hashing");
  }
  inbox_->Reload();
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
}

TEST_F(Site, ABlockThatFindsNoMemoryIsRefusedAndComesWhenThereIsSome) {  // [N-28]
  options_.download_base.reset();
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  Accept("d1", 1);
  const std::string task = Field(Await("d1", "down/download"), "task");
  const std::string request =
      R"("task":")" + task +
      R"(","component":"main","file":0,"ref":"b3","offset":0,"length":65536,"count":1})";
  {
    const NoLargeMemory none(5000);  // the whole file
    Say("d1", dialect::UplinkKind::kBlock, R"({"id":"none",)" + request);
    EXPECT_THAT(Await("d1", "down/reply", "\"none\""), HasSubstr("\"code\":503")) << Log();
  }
  EXPECT_THAT(Log(), HasSubstr("the reading of blocks for device 'd1' has failed: std::bad_alloc"));
  Say("d1", dialect::UplinkKind::kBlock, R"({"id":"some",)" + request);
  EXPECT_THAT(Await("d1", "down/reply", "\"some\""), HasSubstr("\"code\":200")) << Log();
}

TEST_F(Site, TwoPlansThatHaveBeenScannedLeaveTheEngineAtRest) {
  StartAndOpen();
  MakeCatalogue();
  Sql("INSERT INTO plan(name, product, scope_kind) VALUES ('summer', 'acme', 'static');"
      "INSERT INTO plan_component(plan, seq, component, full) VALUES ('summer', 1, 'main', "
      "'main-2');"
      "UPDATE plan SET wanted = 'active'");
  ASSERT_TRUE(Until([&] {
    return Ask("SELECT count(*) FROM plan_state WHERE scanned = 1") == "2" &&
           Ask("SELECT state FROM package_state") == "ready";
  })) << Log();
  Connect("d1", 1);
  Report("d1", "2.0");
  ASSERT_NE(Answer("d1"), "");
  const int before = std::stoi(Ask("SELECT commit_no FROM engine_state"));
  for (int i = 0; i < 20; ++i) {
    Report("d1", "2.0");
    ASSERT_NE(Answer("d1"), "");
  }
  EXPECT_LE(std::stoi(Ask("SELECT commit_no FROM engine_state")), before + 2)
      << "reports that change nothing are no commits";
}

TEST_F(Site, MoreRequestsThanOneSliceAreAllAnswered) {
  StartAndOpen();
  MakeCatalogue();
  Sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)"
      "INSERT INTO request(act) SELECT 'release' FROM n");
  EXPECT_TRUE(
      Until([&] { return Ask("SELECT count(*) FROM request WHERE state = 'new'") == "0"; }));
}

TEST_F(Site, AnotherDatabaseUnderTheRunningBrokerIsRecognizedAndServed) {
  StartAndOpen();
  MakeCatalogue();
  Sql("UPDATE plan SET wanted = 'active' WHERE name = 'spring'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; })) << Log();
  Sql("VACUUM INTO '" + (directory_ / "copy.db").string() + "'");
  Connect("d1", 1);
  Report("d1", "1.0");
  ASSERT_NE(Await("d1", "down/plan"), "") << Log();
  std::filesystem::rename(directory_ / "copy.db", options_.database);
  ASSERT_TRUE(Until([&] { return Log().find("held until") != std::string::npos; })) << Log();
  Sql("UPDATE plan SET wanted = 'canceled' WHERE name = 'spring'");
  EXPECT_TRUE(Until([&] { return Ask("SELECT state FROM plan_state") == "canceled"; })) << Log();
}

TEST_F(Site, NothingIsAnsweredThatWentIntoAFileWhichWasReplacedInTheMiddleOfATurn) {
  StartAndOpen();
  MakeCatalogue();
  Connect("d1", 1);
  Report("d1", "1.0");
  ASSERT_THAT(Answer("d1"), HasSubstr("\"code\":200"));
  Sql("VACUUM INTO '" + (directory_ / "copy.db").string() + "'");
  at_clock_ = [this] {
    SQLite::Database other(options_.database, SQLite::OPEN_READWRITE);
    if (other.tryExec("BEGIN IMMEDIATE") != SQLite::OK) {  // the engine is between begin and commit
      armed_.store(false);
      std::filesystem::rename(directory_ / "copy.db", options_.database);
    }
  };
  armed_.store(true);
  Report("d1", "1.1");
  EXPECT_THAT(Answer("d1"), HasSubstr("\"code\":503")) << Log();
  EXPECT_FALSE(armed_.load());
  ASSERT_TRUE(Until([&] {
    Report("d1", "1.1");
    return Answer("d1").find("\"code\":200") != std::string::npos;
  })) << Log();
  EXPECT_EQ(Ask("SELECT version FROM device_version"), "1.1") << Log();
}

TEST_F(Site, AMistakeOfTheConfigurationIsOneClearError) {
  options_.packages = (directory_ / "nowhere").string();
  inbox_ = std::make_unique<Inbox>();
  outbox_ = std::make_unique<Outbox>();
  const auto started = Engine::Start(options_, *inbox_, *outbox_, [] { return std::uint64_t{0}; });
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("nowhere"));
}

TEST(Decode, NeighbouringProgressOfOneDeviceIsMergedButNotItsEnd) {
  const auto progress = [](const std::string& percent) {
    return Arrival{
        {"acme", "d1"},
        &dialect::Dialects()[0],
        dialect::UplinkKind::kProgress,
        R"({"task":"abcdefgh","component":"main","state":"downloading","percent":)" + percent + "}",
        1,
        {}};
  };
  Arrival other = progress("7");
  other.device.device = "d2";
  const std::vector<Arrival> arrivals = {progress("10"), other, progress("20"), progress("30"),
                                         progress("100")};
  const std::vector<Decoded> decoded = Decode(arrivals);
  ASSERT_EQ(decoded.size(), 3u);
  EXPECT_EQ(decoded[0].arrival, &arrivals[0]) << "the older place stays";
  EXPECT_EQ(std::get<core::Progress>(decoded[0].uplink->body).percent, 30)
      << "the newer percent stays";
  EXPECT_EQ(std::get<core::Progress>(decoded[2].uplink->body).percent, 100);
}

}  // namespace
}  // namespace ota::engine
