// The activation of a plan on many devices: what it takes, what it holds up, and what a crash in
// its middle leaves. OTA_DEVICES=100000 engine_test --gtest_filter='Activation.*' states the
// figures.
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include "engine/engine.h"

namespace ota::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};

class Activation : public testing::Test {
 protected:
  void SetUp() override {
    // In memory where there is such a place: what is measured is not the disk of this machine.
    const std::filesystem::path base = std::filesystem::is_directory("/dev/shm")
                                           ? std::filesystem::path("/dev/shm")
                                           : std::filesystem::temp_directory_path();
    std::string name = (base / "ota-activation-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    std::filesystem::create_directory(directory_ / "packages");
    std::ofstream(directory_ / "packages" / "main-2.bin") << std::string(5000, 'x');
    options_.database = (directory_ / "ota.db").string();
    options_.packages = (directory_ / "packages").string();
    options_.token_key = (directory_ / "token.key").string();
    options_.download_base = "http://files.example/ota";
  }
  void TearDown() override {
    Stop();
    std::filesystem::remove_all(directory_);
  }

  static int Devices(int otherwise) {
    const char* text = std::getenv("OTA_DEVICES");
    return text == nullptr ? otherwise : std::atoi(text);
  }

  void Start() {
    inbox_ = std::make_unique<Inbox>();
    outbox_ = std::make_unique<Outbox>();
    auto started = Engine::Start(options_, *inbox_, *outbox_, [] { return std::uint64_t{7}; });
    ASSERT_TRUE(started) << started.error().message;
    engine_ = std::move(*started);
  }
  void Stop() {
    if (engine_) {
      engine_->Stop();
      engine_.reset();
    }
  }

  void Sql(const std::string& text) const {
    SQLite::Database database(options_.database, SQLite::OPEN_READWRITE, 60000);
    database.exec(text);
  }
  std::string Ask(const std::string& query) const {
    SQLite::Database database(options_.database, SQLite::OPEN_READONLY, 10000);
    SQLite::Statement statement(database, query);
    return statement.executeStep() ? statement.getColumn(0).getString() : "";
  }
  bool Until(const std::function<bool()>& done) {
    const auto end = steady_clock::now() + kPatience;
    while (steady_clock::now() < end) {
      try {
        if (done()) {
          return true;
        }
      } catch (const std::exception&) {
      }
      std::this_thread::sleep_for(milliseconds(2));
    }
    return false;
  }

  // A product with `devices` devices that reported 1.0, every tenth of them 2.0, and a draft.
  void MakeSite(int devices, const std::string& plan) {
    Start();
    ASSERT_TRUE(Until([&] { return !Ask("SELECT pid FROM engine_health").empty(); }));
    Sql("INSERT INTO product(name) VALUES ('acme');"
        "INSERT INTO component(product, name) VALUES ('acme', 'main');"
        "INSERT INTO package(product, name, component, version) VALUES ('acme', 'main-2', 'main', "
        "'2.0');"
        "INSERT INTO package_file(product, package, path) VALUES ('acme', 'main-2', "
        "'main-2.bin');" +
        plan +
        "INSERT INTO plan_component(plan, seq, component, full) VALUES ('spring', 1, 'main', "
        "'main-2');");
    ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM package_state") == "ready"; }));
    Stop();
    Sql("BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
        std::to_string(devices) +
        ") INSERT INTO device_state(id, product, name, registered_ms, seen_ms)"
        " SELECT i, 'acme', printf('device-%06d', i), 1, i FROM n;"
        "INSERT INTO device_version(device_id, component, version, since_ms)"
        " SELECT id, 'main', iif(id % 10 = 0, '2.0', '1.0'), 1 FROM device_state;"
        "UPDATE engine_state SET writing = 0; COMMIT;");
  }

  // The longest time for which another process finds the database locked until `done`.
  milliseconds LongestHold(const std::function<bool()>& done) {
    SQLite::Database other(options_.database, SQLite::OPEN_READWRITE, 0);
    milliseconds longest{0};
    auto free = steady_clock::now();
    auto asked = free;
    EXPECT_TRUE(Until([&] {
      try {
        other.exec("BEGIN IMMEDIATE");
        other.exec("ROLLBACK");
        free = steady_clock::now();
      } catch (const SQLite::Exception&) {
        longest =
            std::max(longest, std::chrono::duration_cast<milliseconds>(steady_clock::now() - free));
      }
      // Seldom: the question costs more than what is measured.
      if (steady_clock::now() - asked < milliseconds(200)) {
        return false;
      }
      asked = steady_clock::now();
      return done();
    }));
    return longest;
  }

  // Activates the plan, waits for the end of its scan, and states what it took.
  void Activate(int devices) {
    const auto before = steady_clock::now();
    Sql("UPDATE plan SET wanted = 'active'");
    const std::int64_t cpu = OthersCpu();
    const milliseconds longest =
        LongestHold([&] { return Ask("SELECT scanned FROM plan_state") == "1"; });
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - before);
    std::printf(
        "%d devices: %lld ms, %lld ms of the engine's CPU; the database was locked for at most "
        "%lld ms\n",
        devices, static_cast<long long>(took.count()), static_cast<long long>(OthersCpu() - cpu),
        static_cast<long long>(longest.count()));
  }
  // CPU time of all threads but this one, which only looks on, in ms.
  static std::int64_t OthersCpu() {
    const auto used = [](clockid_t clock) {
      timespec time{};
      clock_gettime(clock, &time);
      return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
    };
    return used(CLOCK_PROCESS_CPUTIME_ID) - used(CLOCK_THREAD_CPUTIME_ID);
  }

  std::filesystem::path directory_;
  Options options_;
  std::unique_ptr<Inbox> inbox_;
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<Engine> engine_;
};

constexpr const char* kStatic =
    "INSERT INTO plan(name, product, scope_kind) VALUES ('spring', 'acme', 'static');";

TEST_F(Activation, ReachesEveryDeviceInSlicesThatHoldUpNobody) {
  const int devices = Devices(3000);
  MakeSite(devices, kStatic);
  Start();
  ASSERT_TRUE(
      Until([&] { return Ask("SELECT pid FROM engine_health") == std::to_string(getpid()); }));
  Activate(devices);
  EXPECT_EQ(Ask("SELECT count(*) FROM task WHERE state = 'queued' AND reason = 'offline'"),
            std::to_string(devices - devices / 10));
  EXPECT_EQ(Ask("SELECT count(DISTINCT position) FROM task"),
            std::to_string(devices - devices / 10))
      << "who was seen last goes first";
  EXPECT_EQ(Ask("SELECT d.id FROM task t JOIN device_state d ON d.id = t.device_id"
                " ORDER BY t.position LIMIT 1"),
            std::to_string(devices % 10 == 0 ? devices - 1 : devices));
}

TEST_F(Activation, AStaticPlanTakesWhatMatchedAtItsActivationAlsoAfterACrash) {
  constexpr int kDevices = 8000;
  MakeSite(kDevices, kStatic);
  // The engine in a process of its own, that is killed in the middle of its scan.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Start();
    for (;;) {
      pause();
    }
  }
  ASSERT_TRUE(Until([&] { return Ask("SELECT pid FROM engine_health") == std::to_string(child); }));
  Sql("UPDATE plan SET wanted = 'active'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT scanned_id > 0 FROM plan_state") == "1"; }));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_EQ(Ask("SELECT scanned FROM plan_state"), "0") << "the scan had ended before the crash";

  // Before it goes on, the last device is upgraded by hand, the one before it (which had 2.0) went
  // back, and one comes that nobody has heard of.
  Start();
  const auto report = [&](const std::string& device, const std::string& version) {
    inbox_->SetPresence({{"acme", device}, 1, "client"}, true);
    inbox_->Offer({{"acme", device},
                   &dialect::Dialects()[0],
                   dialect::UplinkKind::kVersion,
                   R"({"components":{"main":")" + version + "\"}}",
                   1,
                   steady_clock::now()});
  };
  report("device-007999", "2.0");
  report("device-008000", "1.0");
  report("newcomer", "1.0");
  ASSERT_TRUE(Until([&] { return Ask("SELECT scanned FROM plan_state") == "1"; }));
  const auto state = [&](const std::string& device) {
    return Ask(
        "SELECT t.state FROM task t JOIN device_state d ON d.id = t.device_id"
        " WHERE d.name = '" +
        device + "'");
  };
  EXPECT_EQ(state("device-007999"), "succeeded") << "it matched, and has arrived by itself";
  EXPECT_EQ(state("device-008000"), "") << "it did not match";
  EXPECT_EQ(state("newcomer"), "") << "it was not there";
  EXPECT_EQ(Ask("SELECT count(*) FROM task"), std::to_string(kDevices - kDevices / 10));
  EXPECT_EQ(Ask("SELECT count(*) FROM plan_member"), "0");
}

// The lists are read, and not every device of the product.
TEST_F(Activation, AWhitelistIsScannedAndNotItsProduct) {
  const int devices = Devices(20000);
  const std::string last = std::to_string(devices - 1);
  MakeSite(devices,
           "INSERT INTO plan(name, product, scope, scope_kind)"
           " VALUES ('spring', 'acme', 'selected', 'static');"
           "INSERT INTO plan_device(plan, device) VALUES ('spring', 'device-000007'),"
           " ('spring', 'nobody'), ('spring', printf('device-%06d', " +
               last + ")), ('spring', 'device-000010'), ('spring', 'device-000003');");
  Start();
  ASSERT_TRUE(
      Until([&] { return Ask("SELECT pid FROM engine_health") == std::to_string(getpid()); }));
  Sql("UPDATE plan SET wanted = 'active'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT scanned FROM plan_state") == "1"; }));
  EXPECT_EQ(Ask("SELECT group_concat(device_id) FROM (SELECT device_id FROM task"
                " ORDER BY position)"),
            "7," + last + ",3")
      << "in the order of the list; the one that has 2.0 already is none of it";
  EXPECT_LT(std::stoi(Ask("SELECT commit_no FROM engine_state")), 30);
}

TEST_F(Activation, AWhitelistOfManyIsScannedInSlices) {
  const int devices = Devices(5000);
  MakeSite(devices,
           "INSERT INTO plan(name, product, scope, scope_kind)"
           " VALUES ('spring', 'acme', 'selected', 'static');");
  Sql("INSERT INTO plan_device(plan, device) SELECT 'spring', name FROM device_state"
      " ORDER BY name DESC");
  Start();
  ASSERT_TRUE(
      Until([&] { return Ask("SELECT pid FROM engine_health") == std::to_string(getpid()); }));
  Activate(devices);
  EXPECT_EQ(Ask("SELECT count(*) FROM task"), std::to_string(devices - devices / 10));
}

// How far the request is lies in its row: after a restart it goes on and counts what was before.
TEST_F(Activation, ARetryOfAWholePlanGoesOnAfterARestart) {
  MakeSite(300, kStatic);
  Start();
  Sql("UPDATE plan SET wanted = 'active'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT scanned FROM plan_state") == "1"; }));
  Stop();
  Sql("BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;"
      "UPDATE task SET state = 'failed', reason = 'write_failed', ended_ms = 5;"
      "INSERT INTO request(act, plan) VALUES ('retry', 'spring');"
      "UPDATE request SET at_device = 111, tasks = 100;"
      "UPDATE engine_state SET writing = 0; COMMIT;");
  Start();
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM request") == "done"; }));
  EXPECT_EQ(Ask("SELECT answer FROM request"), "270 tasks are tried again");
  EXPECT_EQ(Ask("SELECT max(device_id) FROM task WHERE state = 'failed'"), "111");
  EXPECT_EQ(Ask("SELECT count(*) FROM task WHERE state = 'failed'"), "100");
}

// 004-73: no device joins any more, also of those that the scan had yet to come to.
TEST_F(Activation, ACancelOfTheScopeEndsTheScanAndKeepsTheTasks) {
  MakeSite(300, kStatic);
  Sql("UPDATE plan SET wanted = 'active'; BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;"
      "INSERT INTO plan_state(plan, state, \"order\", activated_ms, scanned_id, last_device_id)"
      " VALUES ('spring', 'active', 1, 5, 100, 300);"
      "INSERT INTO task(id, name, plan, device_id, state, reason, created_ms)"
      " VALUES (1, 't1', 'spring', 1, 'queued', 'offline', 5);"
      "INSERT INTO task_component(task_id, seq, name, state, target)"
      " VALUES (1, 0, 'main', 'pending', '2.0');"
      "UPDATE engine_state SET writing = 0; COMMIT;"
      "UPDATE plan SET wanted = 'canceled', at_cancel = 'scheduled'");
  Start();
  ASSERT_TRUE(Until([&] { return !Ask("SELECT reason FROM plan_state").empty(); }));
  EXPECT_EQ(Ask("SELECT state || scanned FROM plan_state"), "active1");
  EXPECT_EQ(Ask("SELECT group_concat(device_id || state) FROM task"), "1queued");
  Sql("UPDATE plan SET at_cancel = 'queued'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM plan_state") == "canceled"; }));
  ASSERT_TRUE(Until([&] { return Ask("SELECT state FROM task") == "canceled"; }));
}

TEST_F(Activation, APercentageOfManyIsPickedByTheStableOrder) {
  const int devices = 2000;
  MakeSite(devices,
           "INSERT INTO plan(name, product, scope_kind, percent)"
           " VALUES ('spring', 'acme', 'static', 10);");
  Start();
  Sql("UPDATE plan SET wanted = 'active'");
  ASSERT_TRUE(Until([&] { return Ask("SELECT picked FROM plan_state") == "180"; }));
  EXPECT_EQ(Ask("SELECT count(*) FROM plan_member"), "1800");
  EXPECT_EQ(Ask("SELECT count(*) FROM task"), "180");
  const std::string outside =
      "SELECT count(*) FROM task WHERE device_id NOT IN (SELECT device_id FROM plan_member"
      " ORDER BY hash LIMIT ";
  EXPECT_EQ(Ask(outside + "180)"), "0");
  Sql("UPDATE plan SET percent = 20");
  ASSERT_TRUE(Until([&] { return Ask("SELECT picked FROM plan_state") == "360"; }));
  EXPECT_EQ(Ask("SELECT count(*) FROM task"), "360");
  EXPECT_EQ(Ask(outside + "360)"), "0");
}

}  // namespace
}  // namespace ota::engine
