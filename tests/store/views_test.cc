// Views: what they say, that they agree with each other, and that they go through indexes.
#include <map>
#include <string>

#include <gmock/gmock.h>

#include "admin_fixture.h"
#include "core/names.h"

namespace ota::store {
namespace {

using testing::HasSubstr;
using testing::Not;

class Views : public AdminTest {
 protected:
  Views() {
    Raw("INSERT INTO product(name) VALUES ('demo');"
        "INSERT INTO component(product, name) VALUES ('demo', 'main');"
        "INSERT INTO package(product, name, component, version) VALUES ('demo', 'm2', 'main', '2'),"
        " ('demo', 'm3', 'main', '3');"
        "INSERT INTO package_file(product, package, path) VALUES ('demo', 'm2', 'm2.bin'),"
        " ('demo', 'm3', 'm3.bin');"
        "INSERT INTO plan(name, product) VALUES ('spring', 'demo'), ('other', 'demo');"
        "INSERT INTO plan_component(plan, seq, component, full) VALUES"
        " ('spring', 1, 'main', 'm2'), ('other', 1, 'main', 'm3');");
  }

  // `count` devices, each with a task of 'spring' in the states one after the other.
  void Fleet(int count) {
    AsEngine(
        "INSERT INTO device_state(id, product, name, registered_ms, seen_ms)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
        std::to_string(count) +
        ") SELECT i, 'demo', printf('d%06d', i), 1, 1700000000000 FROM n;"
        "INSERT INTO device_version SELECT id, 'main', '1', 0, 1 FROM device_state;"
        "INSERT INTO task(name, plan, device_id, state, created_ms, ended_ms)"
        " SELECT 'task' || d.id, 'spring', d.id, s.state, 1, iif(s.n > 8, 5, 0)"
        " FROM device_state d JOIN (SELECT row_number() OVER () - 1 AS n, state FROM shown_states)"
        " s ON s.n = d.id % 13");
  }

  std::string QueryPlan(const std::string& sql) { return Ask("EXPLAIN QUERY PLAN " + sql); }
};

TEST_F(Views, ReasonsAndStatesAreThoseOfTheCore) {
  int reasons = 0;
  for (int i = 1; i < 256; ++i) {
    const auto reason = static_cast<core::Reason>(i);
    const std::string name(core::Name(reason));
    if (name.empty()) {
      break;
    }
    EXPECT_EQ(Ask("SELECT text FROM reasons WHERE name = '" + name + "'"), core::Text(reason));
    ++reasons;
  }
  EXPECT_EQ(Ask("SELECT count(*) FROM reasons"), std::to_string(reasons));
  for (int i = 0; i <= static_cast<int>(core::TaskState::kCanceled); ++i) {
    const std::string name(core::Name(static_cast<core::TaskState>(i)));
    EXPECT_NE(Ask("SELECT shown FROM shown_states WHERE state = '" + name + "'"), "") << name;
  }
}

// 004-64 004-66 004-67 004-68 004-70 004-73
TEST_F(Views, PlansCountWhatPlanDevicesShow) {
  Fleet(1300);
  Raw("UPDATE plan SET wanted = 'active';"
      "INSERT INTO plan_device(plan, list, device) VALUES ('spring', 'white', 'd000001'),"
      " ('spring', 'white', 'unseen'), ('spring', 'white', 'barred'), ('spring', 'black', "
      "'barred')");
  EXPECT_EQ(Ask("SELECT to_be_pushed, pushed, in_upgrade, updated, failed, rejected, canceled,"
                " devices, success_rate FROM plans WHERE plan = 'spring'"),
            "101|300|500|100|100|100|100|1301|50.0");
  EXPECT_EQ(Ask("SELECT shown, count(*) FROM plan_devices WHERE plan = 'spring' GROUP BY 1"),
            "Canceled|100\nFailed|100\nIn Upgrade|500\nPushed|300\nRejected|100\nTo Be Pushed|101\n"
            "Updated|100");
  EXPECT_EQ(Ask("SELECT reason, state FROM plan_devices WHERE device = 'unseen'"),
            "not_reported|queued");
  Raw("UPDATE plan SET wanted = 'canceled'");
  EXPECT_EQ(Ask("SELECT count(*) FROM plan_devices WHERE device = 'unseen'"), "0");
}

TEST_F(Views, DevicesJoinWhatPeopleAndReportsSay) {
  Fleet(2);
  Raw("INSERT INTO device(product, name, disabled) VALUES ('demo', 'd000001', 1), ('demo', 'x', "
      "0)");
  EXPECT_EQ(
      Ask("SELECT device, versions, last_seen, plan, shown, disabled FROM devices ORDER BY 1"),
      "d000001|main 1|2023-11-14T22:13:20Z|spring|Pushed|1\n"
      "d000002|main 1|2023-11-14T22:13:20Z|spring|Pushed|0\nx|||||0");
}

TEST_F(Views, PackagesShowTheWorstFileAndWhoUsesThem) {
  EXPECT_EQ(Ask("SELECT state, files, plans FROM packages WHERE package = 'm2'"), "new|1|spring");
  AsEngine(
      "INSERT INTO package_state(product, package, source, seq, path, state, problem, bytes, "
      "sha256)"
      " VALUES ('demo', 'm2', '', 0, 'm2.bin', 'refused', 'm2.bin: is gone', 7, 'abc')");
  EXPECT_EQ(Ask("SELECT state, problem, bytes, sha256 FROM packages WHERE package = 'm2'"),
            "refused|m2.bin: is gone|7|abc");
}

TEST_F(Views, HealthJudges) {
  EXPECT_EQ(Ask("SELECT state FROM health"), "problem");
  AsEngine(
      "INSERT INTO engine_health VALUES"
      " (1, unixepoch() * 1000, 1, 1, 0, 0, 0, 0, 1, 0, 1 << 40, '')");
  EXPECT_EQ(Ask("SELECT state, problem FROM health"), "ok|");
  const std::map<std::string, std::string> faults{{"at_ms = 1000", "is the broker running"},
                                                  {"last_error = 'disk full'", "disk full"},
                                                  {"wal_bytes = 1 << 30", "write-ahead log"},
                                                  {"free_bytes = 5", "are free"},
                                                  {"oldest_uplink_ms = 20000", "waited for 20 s"}};
  for (const auto& [fault, words] : faults) {
    AsEngine(
        "SAVEPOINT s; UPDATE engine_health SET at_ms = unixepoch() * 1000, last_error = '',"
        " wal_bytes = 0, free_bytes = 1 << 40, oldest_uplink_ms = 0;"
        "UPDATE engine_health SET " +
        fault + "; RELEASE s");
    EXPECT_THAT(Ask("SELECT problem FROM health"), HasSubstr(words)) << fault;
  }
}

TEST_F(Views, OnePlanAndOneDeviceAreFoundByIndex) {
  for (const char* sql :
       {"SELECT * FROM plan_devices WHERE plan = 'spring'",
        "SELECT * FROM devices WHERE product = 'demo' AND device = 'd000001'",
        "SELECT * FROM tasks WHERE task = 'task1'", "SELECT * FROM tasks WHERE plan = 'spring'",
        "SELECT * FROM history WHERE plan = 'spring' AND id > 5",
        "SELECT * FROM history WHERE product = 'demo' AND device = 'd000001'"}) {
    const std::string plan = QueryPlan(sql);
    // No table of the fleet is read from end to end; constant lists and co-routines may be.
    for (const char* scan : {"SCAN t\n", "SCAN d\n", "SCAN s\n", "SCAN v\n", "SCAN l\n", "SCAN q",
                             "SCAN o\n", "SCAN w\n", "SCAN a\n", "SCAN e\n"}) {
      EXPECT_THAT(plan + "\n", Not(HasSubstr(scan))) << sql;
    }
  }
}

TEST_F(Views, TwentyThousandDevicesAreCountedInALinearNumberOfSteps) {
  const auto steps = [this](const char* sql) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(raw_, sql, -1, &statement, nullptr);
    while (sqlite3_step(statement) == SQLITE_ROW) {
    }
    const int count = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 0);
    sqlite3_finalize(statement);
    return count;
  };
  Fleet(20000);
  Raw("INSERT INTO plan_device(plan, device) SELECT 'spring', printf('d%06d', id + 10000)"
      " FROM device_state");
  for (const char* sql : {"SELECT * FROM plans", "SELECT * FROM devices",
                          "SELECT * FROM plan_devices WHERE plan = 'spring'"}) {
    EXPECT_LT(steps(sql), 20000 * 1000) << sql;
  }
}

}  // namespace
}  // namespace ota::store
