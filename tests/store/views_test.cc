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
  Raw("UPDATE plan SET scope = 'selected', wanted = 'active';"
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
  const auto unseen = [this] {
    return Ask(
        "SELECT (SELECT count(*) FROM plan_devices WHERE device = 'unseen'), to_be_pushed"
        " FROM plans WHERE plan = 'spring'");
  };
  EXPECT_EQ(unseen(), "1|101");
  AsEngine(
      "INSERT INTO plan_state(plan, state, \"order\", activated_ms, scanned) VALUES"
      " ('spring', 'active', 1, 1, 1)");
  EXPECT_EQ(unseen(), "1|101");
  Raw("DROP TRIGGER plan_update; UPDATE plan SET scope_kind = 'static' WHERE name = 'spring'");
  EXPECT_EQ(unseen(), "0|100");
  Raw("UPDATE plan SET scope_kind = 'dynamic' WHERE name = 'spring'");
  EXPECT_EQ(unseen(), "1|101");
  Raw("UPDATE plan SET wanted = 'canceled'");
  EXPECT_EQ(unseen(), "0|100");
}

// 004-64 004-65 004-49: what a task that is To Be Pushed waits for
TEST_F(Views, ToBePushedSaysWhatItWaitsFor) {
  Raw("UPDATE plan SET start_ms = 1795312800000, window_from = '22:00', window_to = '04:00',"
      " zone = 'Europe/Berlin' WHERE name = 'spring'");
  const auto shown = [this](const std::string& reason, const std::string& deadline = "NULL") {
    AsEngine("UPDATE task SET reason = '" + reason + "', deadline_ms = " + deadline);
    const std::string detail = Ask("SELECT shown_detail FROM tasks WHERE task = 'task13'");
    EXPECT_EQ(Ask("SELECT shown_detail FROM plan_devices WHERE task = 'task13'"), detail);
    EXPECT_EQ(Ask("SELECT shown FROM tasks WHERE task = 'task13'"), "To Be Pushed");
    return detail;
  };
  Fleet(13);
  EXPECT_EQ(shown("offline"), "To Be Pushed (Device Offline)");
  EXPECT_EQ(shown("not_started"), "To Be Pushed (Timing: 2026-11-22 02:00)");
  EXPECT_EQ(Ask("SELECT starts FROM tasks WHERE task = 'task13'"), "2026-11-22T02:00:00Z");
  EXPECT_EQ(shown("window_closed", "1795320000000"), "To Be Pushed (Timing: 2026-11-22 04:00)");
  EXPECT_EQ(shown("window_closed"), "To Be Pushed (Timing: 22:00 Europe/Berlin)");
  EXPECT_EQ(shown("rate"), "To Be Pushed (Rate)");
  EXPECT_EQ(shown("too_many_open"), "To Be Pushed (Rate)");
  EXPECT_EQ(shown("battery"), "To Be Pushed (Conditions)");
  EXPECT_EQ(shown("predecessor"), "To Be Pushed (Predecessor)");
  EXPECT_EQ(shown("held"), "To Be Pushed (Held)");
  EXPECT_EQ(shown("source_version"), "To Be Pushed");
  EXPECT_EQ(shown(""), "To Be Pushed");
  EXPECT_EQ(Ask("SELECT count(*) FROM waits w WHERE w.reason NOT IN (SELECT name FROM reasons)"),
            "0");
  EXPECT_EQ(Ask("SELECT count(*) FROM tasks WHERE shown <> shown_detail"), "0");
}

// 004-72, C12: retries hide themselves in the state, not in what stands beside it
TEST_F(Views, ARetryShowsWhenItComesAndWhatFailed) {
  Fleet(13);
  AsEngine(
      "UPDATE task SET reason = 'download_failed', deadline_ms = 1795312800000, retries = 1"
      " WHERE state = 'retrying';"
      "UPDATE task SET retries = 1 WHERE state = 'downloading';"
      "INSERT INTO log(at_ms, product, device, task, event, new_state, reason)"
      " SELECT 1, d.product, d.name, t.name, 'attempt-failed', 'retrying', 'write_failed'"
      " FROM task t JOIN device_state d ON d.id = t.device_id WHERE t.state = 'downloading'");
  for (const char* view : {"tasks", "plan_devices"}) {
    EXPECT_EQ(Ask(std::string("SELECT shown, retries, next_retry, last_error FROM ") + view +
                  " WHERE state IN ('retrying', 'downloading') ORDER BY state"),
              "In Upgrade|1||write_failed\nIn Upgrade|1|2026-11-22T02:00:00Z|download_failed");
  }
}

// 000-33 002-43: rates, durations and failures of a plan
TEST_F(Views, DurationsAndFailuresOfAPlanAreSummedUp) {
  Fleet(65);
  AsEngine(
      "UPDATE task SET offered_ms = 1000, ended_ms = 1000 + 1000 * (SELECT count(*) FROM task o"
      " WHERE o.state = 'succeeded' AND o.id <= task.id) WHERE state = 'succeeded';"
      "UPDATE task SET reason = iif(id % 2, 'write_failed', 'foreign_version'), detail = 'x'"
      " WHERE state = 'failed';"
      "INSERT INTO task_component(task_id, seq, name, state, source, target)"
      " SELECT id, 0, 'main', 'current', '1', '2' FROM task WHERE state = 'failed'");
  EXPECT_EQ(Ask("SELECT updated, mean_s, median_s, fastest_s, slowest_s FROM plan_durations"
                " WHERE plan = 'spring'"),
            "5|3.0|3.0|1.0|5.0");
  EXPECT_EQ(Ask("SELECT component, source, target, reason, devices, detail FROM plan_failures"
                " WHERE plan = 'spring' ORDER BY devices DESC"),
            Ask("SELECT 'main', '1', '2', reason, count(*), 'x' FROM task WHERE state = 'failed'"
                " GROUP BY reason ORDER BY 5 DESC"));
  EXPECT_EQ(Ask("SELECT count(*) FROM plan_failures"), "2");
}

TEST_F(Views, APlanThatHaltedIsShownAsHaltedWithItsRule) {
  AsEngine(
      "INSERT INTO plan_state(plan, state, \"order\", activated_ms, halted) VALUES"
      " ('spring', 'active', 1, 1, '3 tasks have failed')");
  EXPECT_EQ(Ask("SELECT state, reason FROM plans WHERE plan = 'spring'"),
            "halted|3 tasks have failed");
}

// 002-15 004-30: the details of verifications, by package
TEST_F(Views, PackagesShowTheirVerifications) {
  Fleet(1);
  EXPECT_EQ(Ask("SELECT verified FROM packages WHERE package = 'm2'"), "0");
  Raw("INSERT INTO plan(name, product, kind, scope, scope_kind) VALUES"
      " ('try', 'demo', 'verify', 'selected', 'static');"
      "INSERT INTO plan_component(plan, seq, component, full) VALUES ('try', 1, 'main', 'm2');"
      "INSERT INTO plan_device(plan, device) VALUES ('try', 'd000001')");
  const auto state = [this] {
    return Ask(
        "SELECT plan, state, devices, updated FROM package_verifications"
        " WHERE product = 'demo' AND package = 'm2'");
  };
  EXPECT_EQ(state(), "try|draft|1|0");
  Raw("UPDATE plan SET wanted = 'active' WHERE name = 'try'");
  EXPECT_EQ(state(), "try|running|1|0");
  AsEngine(
      "UPDATE task SET plan = 'try', state = 'failed', ended_ms = 5;"
      "INSERT INTO task_component(task_id, seq, name, state, source, target)"
      " SELECT id, 0, 'main', 'proved', '1', '2' FROM task");
  EXPECT_EQ(state(), "try|not verified|1|0");
  AsEngine("UPDATE task SET state = 'succeeded'");
  EXPECT_EQ(state(), "try|verified|1|1");
  EXPECT_EQ(Ask("SELECT verified FROM packages WHERE package = 'm2'"), "1");
}

TEST_F(Views, WhatIsOverdueIsShownUntilItHasMovedOn) {
  Fleet(13);
  EXPECT_EQ(Ask("SELECT count(*) FROM overdue"), "0");
  AsEngine("UPDATE task SET deadline_ms = (unixepoch() - 60) * 1000");
  EXPECT_EQ(Ask("SELECT count(*), max(overdue_s) BETWEEN 60 AND 70 FROM overdue"), "9|1");
  AsEngine("UPDATE task SET deadline_ms = (unixepoch() + 60) * 1000");
  EXPECT_EQ(Ask("SELECT count(*) FROM overdue"), "0");
}

TEST_F(Views, ExplanationsStreaksAndHoldsAreReadable) {
  Fleet(1);
  Raw("INSERT INTO request(act, product, device) VALUES ('explain', 'demo', 'd000001');"
      "INSERT INTO hold(reason) VALUES ('audit');"
      "INSERT INTO hold(product, device, until_ms) VALUES ('demo', 'd000001', 1000)");
  AsEngine(
      "INSERT INTO explanation VALUES (1, 'spring', 1, 'battery', 0, 'battery', '20', '30', NULL),"
      " (1, 'spring', 0, 'stopped', 1, '', '', '', NULL);"
      "INSERT INTO device_streak VALUES (1, 'main', '2', 3, 1, 1795312800000),"
      " (1, 'main', '1.9', 1, 0, NULL)");
  EXPECT_EQ(Ask("SELECT device, rule, verdict, reason_text, value, \"limit\" FROM explanations"
                " WHERE request = 1 ORDER BY seq"),
            "d000001|stopped|ok|||\nd000001|battery|blocked|The battery is too low, or not "
            "known.|20|30");
  EXPECT_EQ(Ask("SELECT device, component, target, failures, until FROM quarantine"),
            "d000001|main|2|3|2026-11-22T02:00:00Z");
  EXPECT_EQ(Ask("SELECT count(*) FROM streaks"), "2");
  EXPECT_EQ(Ask("SELECT scope, device, in_force FROM holds ORDER BY 1"),
            "device|d000001|0\nsite||1");
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
        "SELECT * FROM plan_failures WHERE plan = 'spring'",
        "SELECT * FROM plan_durations WHERE plan = 'spring'", "SELECT * FROM overdue",
        "SELECT * FROM package_verifications WHERE product = 'demo' AND package = 'm2'",
        "SELECT * FROM packages WHERE product = 'demo' AND package = 'm2'",
        "SELECT * FROM explanations WHERE request = 7",
        "SELECT * FROM component_log WHERE product = 'demo' AND device = 'd000001'",
        "SELECT * FROM history WHERE plan = 'spring' AND id > 5",
        "SELECT * FROM history WHERE product = 'demo' AND device = 'd000001'"}) {
    const std::string plan = QueryPlan(sql);
    // No table of the fleet is read from end to end; constant lists and co-routines may be.
    for (const char* scan : {"SCAN t\n", "SCAN d\n", "SCAN s\n", "SCAN v\n", "SCAN l\n", "SCAN q",
                             "SCAN o\n", "SCAN w\n", "SCAN a\n", "SCAN e\n"}) {
      EXPECT_THAT(plan + "\n", Not(HasSubstr(scan))) << sql;
    }
  }
  EXPECT_THAT(QueryPlan("SELECT * FROM history WHERE product = 'demo' AND device = 'd000001'"),
              HasSubstr("log_device (ANY(<expr>) AND product=? AND device=?"));
  for (const char* of : {"tasks WHERE task = 'task1'", "plan_devices WHERE plan = 'spring'"}) {
    EXPECT_THAT(QueryPlan(std::string("SELECT last_error FROM ") + of),
                HasSubstr("log_retrying (product=? AND device=? AND task=?)"));
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
