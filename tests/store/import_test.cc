// Imports: what a script may do, what it is told when it may not, and that nothing is kept then.
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "admin_fixture.h"
#include "store/lock.h"
#include "store/who.h"

namespace ota::store {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

using Constants = std::vector<std::pair<std::string, std::string>>;

class Import : public AdminTest {
 protected:
  Import() : admin_(Open()) {}

  void Start(const std::string& file) {
    ASSERT_TRUE(admin_.Begin());
    const auto set = admin_.SetAuthor({"alice", "box", file, "abc"}, core::Instant{});
    ASSERT_TRUE(set) << set.error().message;
  }

  // Imports one script. Gives the error, or "" and what changed in `changes_`.
  std::string Sql(const std::string& text) {
    Start("a.sql");
    const auto done = admin_.ImportSql("a.sql", text, {});
    return Finish(done);
  }

  std::string Csv(const std::string& table, const std::string& text,
                  const Constants& constants = {}) {
    Start("a.csv");
    const auto done = admin_.ImportCsv("a.csv", text, table, constants, {});
    return Finish(done);
  }

  std::string Finish(const core::Result<void>& done) {
    if (!done) {
      admin_.Rollback();
      return done.error().message;
    }
    auto changes = admin_.Commit();
    EXPECT_TRUE(changes) << (changes ? "" : changes.error().message);
    changes_ = changes ? *changes : Changes{};
    return "";
  }

  Admin admin_;
  Changes changes_;
};

constexpr char kProduct[] =
    "INSERT INTO product(name) VALUES ('demo');\n"
    "INSERT INTO component(product, name) VALUES ('demo', 'main');\n";

TEST_F(Import, RunsEveryStatementAndCountsWhatChanged) {
  EXPECT_EQ(Sql(std::string("\xEF\xBB\xBF-- a comment; with a semicolon\r\n") + kProduct +
                "/* more; */ INSERT INTO device(product, name) VALUES ('demo', 'd1'), ('demo', "
                "'d2');;\n"
                "UPDATE device SET remarks = 'x;y' WHERE name = 'd1';\n"
                "UPDATE device SET remarks = 'x;y' WHERE name = 'd1';\n"
                "DELETE FROM device WHERE name = 'd2'; -- the end"),
            "");
  EXPECT_EQ(Ask("SELECT name, remarks FROM device"), "d1|x;y");
  EXPECT_EQ(changes_["device"].inserted, 2);
  EXPECT_EQ(changes_["device"].updated, 1);
  EXPECT_EQ(changes_["device"].deleted, 1);
  EXPECT_EQ(changes_["product"].inserted, 1);
}

TEST_F(Import, RecordsItsAuthorAndLeavesNoTraceWhenNothingChanged) {
  EXPECT_EQ(Sql(kProduct), "");
  EXPECT_EQ(Ask("SELECT who, host, file, sha256, open FROM import"), "alice|box|a.sql|abc|0");
  EXPECT_EQ(Sql("UPDATE product SET remarks = '' WHERE name = 'demo';"), "");
  EXPECT_TRUE(changes_.empty());
  EXPECT_EQ(Ask("SELECT count(*) FROM import"), "1");
}

TEST_F(Import, AFailureKeepsNothingOfAnyFile) {
  Start("1.sql");
  ASSERT_TRUE(admin_.ImportSql("1.sql", kProduct, {}));
  ASSERT_TRUE(admin_.SetAuthor({"alice", "box", "2.sql", ""}, core::Instant{}));
  const auto done = admin_.ImportSql("2.sql", "INSERT INTO product(name) VALUES ('demo');", {});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, core::ErrorCode::kConflict);
  admin_.Rollback();
  EXPECT_EQ(Ask("SELECT count(*) FROM product"), "0");
  EXPECT_EQ(Ask("SELECT count(*) FROM import"), "0");
}

struct Refused {
  const char* text;
  const char* message;
};

class RefusedStatement : public Import, public testing::WithParamInterface<Refused> {};

TEST_P(RefusedStatement, IsNamedByItsLineAndTakesEverythingBack) {
  const std::string message = Sql(std::string(kProduct) + GetParam().text);
  EXPECT_THAT(message, StartsWith("a.sql:3: "));
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_EQ(Ask("SELECT count(*) FROM product"), "0");
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedStatement,
    testing::Values(
        Refused{"COMMIT;", "one transaction"}, Refused{"END;", "one transaction"},
        Refused{"BEGIN;", "one transaction"}, Refused{"ROLLBACK;", "one transaction"},
        Refused{"SAVEPOINT x;", "one transaction"}, Refused{"RELEASE x;", "one transaction"},
        Refused{"/* */ commit;", "one transaction"}, Refused{".shell id", "'.shell'"},
        Refused{".read other.sql", "'.read'"}, Refused{"ATTACH '/tmp/x.db' AS x;", "attached"},
        Refused{"DETACH main;", "attached"}, Refused{"PRAGMA writable_schema = 1;", "PRAGMA"},
        Refused{"PRAGMA foreign_keys = OFF;", "PRAGMA"},
        Refused{"INSERT INTO product(name) SELECT 'p' FROM pragma_writable_schema;", "schema"},
        Refused{"CREATE TABLE x(a);", "schema"}, Refused{"CREATE TEMP TABLE x(a);", "schema"},
        Refused{"CREATE TEMP TRIGGER x AFTER INSERT ON product BEGIN DELETE FROM log; END;",
                "schema"},
        Refused{"DROP TABLE product;", "schema"},
        Refused{"ALTER TABLE plan ADD COLUMN x;", "schema"}, Refused{"REINDEX;", "schema"},
        Refused{"ANALYZE;", "schema"}, Refused{"VACUUM;", ""}, Refused{"VACUUM INTO '/tmp/x';", ""},
        Refused{"INSERT INTO log(at_ms, event) VALUES (1, 'x');", "'log'"},
        Refused{"DELETE FROM journal;", "'journal'"},
        Refused{"UPDATE import SET who = 'x';", "'import'"},
        Refused{"UPDATE task SET state = 'succeeded';", "'task'"},
        Refused{"DELETE FROM plan_state;", "'plan_state'"},
        Refused{"UPDATE engine_state SET writing = 1;", "'engine_state'"},
        Refused{"UPDATE sqlite_master SET sql = '';", ""},
        Refused{"DELETE FROM sqlite_sequence;", "schema"},
        Refused{"INSERT INTO product(name) VALUES (load_extension('x'));", ""},
        Refused{"SELECT * FROM plans;", "otactl sql"},
        Refused{"EXPLAIN DELETE FROM plan;", "otactl sql"},
        Refused{"DELETE FROM plan_device", "cut off"},
        Refused{"DELETE FROM plan_device -- ;", "cut off"},
        Refused{"INSERT INTO product(name) VALUES ('never closed);", "unrecognized token"},
        Refused{"INSERT INTO nowhere VALUES (1);", "no such table: nowhere"},
        Refused{"INSERT OR ROLLBACK INTO product(name) VALUES ('demo');", "name='demo'"},
        Refused{"INSERT INTO component(product, name) VALUES ('nobody', 'main');", "nobody"}));

TEST_F(Import, LinesAreThoseOfTheStatementAfterTextOfManyLines) {
  const std::string before =
      std::string(kProduct) +
      "INSERT INTO product(name, remarks) VALUES ('b', 'one;\ntwo''; --\n');\n"
      "/* a\n CREATE TRIGGER x BEGIN SELECT 1; END;\n*/\n";
  EXPECT_THAT(Sql(before + "\n\n  INSERT INTO product(name) VALUES ('b');\n"),
              StartsWith("a.sql:11: UNIQUE constraint failed: product.name (product: name='b')"));
  // A mistake of the language is named where it is, not where its statement begins.
  EXPECT_THAT(Sql(before + "UPDATE product\n SET\n remarks = = 1;"), StartsWith("a.sql:11: "));
  EXPECT_THAT(Sql(before + "UPDATE product\n SET\n no_such = 1;"), HasSubstr("no_such"));
}

TEST_F(Import, NamesTheRowOfAStatementOfManyRows) {
  ASSERT_EQ(Sql(kProduct), "");
  EXPECT_THAT(Sql("INSERT INTO device(product, name) VALUES\n('demo', 'd1'),\n('demo', 'd/2'),\n"
                  "('demo', 'd3');"),
              HasSubstr("(device: product='demo', name='d/2')"));
  EXPECT_THAT(Sql("INSERT INTO device(product, name, disabled) VALUES\n('demo', 'd1', 0),\n"
                  "('demo', 'd2', 'no');"),
              HasSubstr("row 2 of the statement"));
}

// A guard's text is a constant: what broke which rule is added. (C1)
TEST_F(Import, ABrokenRuleOfAProfileIsNamedWithItsValueAndItsLimit) {
  const std::string site =
      "INSERT INTO product(name, profile) VALUES ('a', 'alibaba'), ('q', 'quectel');\n"
      "INSERT INTO component(product, name) SELECT name, 'main' FROM product;\n"
      "INSERT INTO package(product, name, component, version) SELECT name, 'f', 'main', '2' FROM "
      "product;\n"
      "INSERT INTO package_file(product, package, path) SELECT name, 'f', 'f.bin' FROM product;\n"
      "INSERT INTO plan(name, product, scope_kind, verify_required, mode, zone) VALUES "
      "('p', 'a', 'static', 0, 'silent', NULL), ('q', 'q', 'static', NULL, 'manual', 'UTC'),"
      "('d', 'a', 'dynamic', NULL, 'silent', NULL);\n"
      "INSERT INTO plan_component(plan, seq, component, \"full\") SELECT name, 1, 'main', 'f' FROM "
      "plan;\n";
  ASSERT_EQ(Sql(site), "");
  const auto set = [](const std::string& plan, const std::string& columns) {
    return "UPDATE plan SET " + columns + " WHERE name = '" + plan + "';";
  };
  const std::string at_row = " (plan: name='p'); ";
  EXPECT_THAT(Sql(set("p", "rate = 5000")),
              AllOf(StartsWith("a.sql:1: plan.rate: is outside"),
                    HasSubstr(at_row + "rate = 5000, profile 'alibaba': rate_min = 10 per minute, "
                                       "rate_max = 1000 per minute")));
  EXPECT_THAT(Sql(set("p", "start_ms = 600000000000, end_ms = 600000000000 + 3888000000")),
              HasSubstr(at_row + "end_ms = start_ms + 3888000 s (45 d), profile 'alibaba': "
                                 "end_min_s = 3600 s (1 h), end_max_s = 2592000 s (30 d)"));
  EXPECT_THAT(Sql(set("p", "wanted = 'active', start_ms = unixepoch() * 1000 + 100000")),
              AllOf(HasSubstr(at_row + "start_ms = now + "),
                    HasSubstr("start_min_s = 300 s (5 min), start_max_s = 604800 s (7 d)")));
  EXPECT_THAT(Sql(set("p", "timeout_s = 90000")),
              HasSubstr("timeout_s = 90000 s (25 h), profile 'alibaba': timeout_min_s = 60 s (1 "
                        "min), timeout_max_s = 86400 s (1 d)"));
  EXPECT_THAT(Sql(set("p", "retry_max = 3")),
              HasSubstr("retry_max = 3, profile 'alibaba': retry_counts = 1 2 5"));
  EXPECT_THAT(Sql(set("q", "wanted = 'active'")),
              HasSubstr("; plan_text: none, profile 'quectel': langs = zh en"));
  EXPECT_THAT(Sql(set("q", "zone = NULL") + set("q", "wanted = 'active'")),
              HasSubstr("; zone = NULL, profile 'quectel': zone_required = 1"));
  EXPECT_THAT(Sql(set("p", "verify_required = 1") + set("p", "wanted = 'active'")),
              HasSubstr("; not verified: f"));
  EXPECT_THAT(
      Sql("INSERT INTO package_file(product, package, seq, path) VALUES ('a', 'f', 1, 'x.exe');"),
      HasSubstr("; path = x.exe, profile 'alibaba': file_format = .apk .bin .dav"));
  EXPECT_THAT(Sql("INSERT INTO package(product, name, component, version) VALUES ('a', 'x.y', "
                  "'main', '1');"),
              HasSubstr("; name = x.y, profile 'alibaba': strict_names = 1"));
  EXPECT_THAT(Csv("plan_tag",
                  "plan,key,value\np,1,v\np,2,v\np,3,v\np,4,v\np,5,v\np,6,v\np,7,v\np,8,"
                  "v\np,9,v\np,10,v\np,11,v\n"),
              AllOf(StartsWith("a.csv:12: plan_tag: more tags"),
                    HasSubstr("profile 'alibaba': max_tags = 10")));
  EXPECT_THAT(Sql("UPDATE profile SET max_files = 0;" + set("q", "mode = 'silent'") +
                  set("q", "wanted = 'active'")),
              HasSubstr("; f: max_files = 1, limit 0"));
  EXPECT_THAT(
      Sql("UPDATE profile SET max_files = 0; INSERT INTO product(name, profile) VALUES "
          "('b', 'default'); INSERT INTO component(product, name) VALUES ('b', 'main');"
          "INSERT INTO package(product, name, component, version) VALUES ('b', 'f', 'main',"
          " '1'); INSERT INTO package_file(product, package, path) VALUES ('b', 'f', 'f');"),
      HasSubstr("profile 'default': max_files = 0"));
  EXPECT_THAT(Sql("UPDATE profile SET langs = ' x';"),
              testing::EndsWith("(profile: name='alibaba')"));  // no rule of it is broken
  // A command's statement is told as much.
  ASSERT_TRUE(admin_.Begin());
  const auto refused = admin_.Query("UPDATE plan SET rate = 1 WHERE name = 'p'");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("; rate = 1, profile 'alibaba': rate_min = 10"));
  admin_.Rollback();
}

TEST_F(Import, RefusesBytesThatAreNotText) {
  EXPECT_THAT(Sql("-- x\n\xff;"), "a.sql:2: not UTF-8 text");
  EXPECT_THAT(Sql(std::string("-- x\n\n\0;", 8)), "a.sql:3: a NUL byte");
  EXPECT_THAT(Csv("device", "product,name\ndemo,\xC3\n"), "a.csv:2: not UTF-8 text");
}

TEST_F(Import, WaitsForALockAndThenSaysSo) {
  Raw("BEGIN IMMEDIATE");
  const auto begun = admin_.Begin();
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, core::ErrorCode::kUnavailable);
  EXPECT_THAT(begun.error().message, HasSubstr("locked"));
  Raw("ROLLBACK");
}

TEST_F(Import, CsvReadsQuotesMarksAndLineEnds) {
  ASSERT_EQ(Sql(kProduct), "");
  EXPECT_EQ(Csv("device",
                "\xEF\xBB\xBFproduct,name,remarks\r\n\"demo\",d1,\"a \"\"b\"\",\r\nc\"\r\n"
                "demo,d2,\r\n\r\ndemo,d3,\"\""),
            "");
  EXPECT_EQ(Ask("SELECT name, remarks FROM device ORDER BY 1"), "d1|a \"b\",\r\nc\nd2|\nd3|");
  EXPECT_EQ(changes_["device"].inserted, 3);
}

TEST_F(Import, CsvIsTypedByTheTable) {
  ASSERT_EQ(Sql(std::string(kProduct) + "INSERT INTO plan(name, product) VALUES ('p', 'demo');"),
            "");
  EXPECT_EQ(Csv("plan", "name,product,priority,end_ms\np,demo,-5,\nq,demo,0,1700000000000\n"), "");
  EXPECT_EQ(Ask("SELECT name, priority, end_ms, typeof(end_ms) FROM plan ORDER BY 1"),
            "p|-5||null\nq|0|1700000000000|integer");
  EXPECT_EQ(Csv("plan", "name,product,priority\np,demo,1.5\n"),
            "a.csv:2: column 'priority': '1.5' is not an integer");
  EXPECT_EQ(Csv("plan", "name,product,priority\np,demo,\n"),
            "a.csv:2: column 'priority': '' is empty, and must be an integer");
  EXPECT_EQ(Csv("plan", "name,product,end_ms\np,demo,99999999999999999999\n"),
            "a.csv:2: column 'end_ms': '99999999999999999999' is not an integer");
}

TEST_F(Import, CsvChangesRowsThatExistAndKeepsColumnsThatItDoesNotName) {
  ASSERT_EQ(Sql(std::string(kProduct) +
                "INSERT INTO device(product, name, remarks) VALUES ('demo', 'd1', 'keep');"),
            "");
  const std::string text = "product,name,disabled\ndemo,d1,1\ndemo,d2,0\n";
  EXPECT_EQ(Csv("device", text), "");
  EXPECT_EQ(changes_["device"].inserted, 1);
  EXPECT_EQ(changes_["device"].updated, 1);
  EXPECT_EQ(Ask("SELECT name, disabled, remarks FROM device"), "d1|1|keep\nd2|0|");
  EXPECT_EQ(Csv("device", text), "");
  EXPECT_TRUE(changes_.empty());
}

TEST_F(Import, CsvMistakesAreNamedByLineAndColumn) {
  ASSERT_EQ(Sql(kProduct), "");
  EXPECT_THAT(Csv("device", "product;name\n"), StartsWith("a.csv:1: column 'product;name': "));
  EXPECT_THAT(Csv("device", "product,name,name\n"), "a.csv:1: column 'name': is given twice");
  EXPECT_THAT(Csv("device", "product,remarks\n"), HasSubstr("column 'name': is missing"));
  EXPECT_THAT(Csv("device", "product,name\ndemo\n"), StartsWith("a.csv:2: has 1 fields"));
  EXPECT_THAT(Csv("device", "product,name\ndemo,\"x\ny\n"), StartsWith("a.csv:2: "));
  EXPECT_THAT(Csv("device", "product,name\n\ndemo,\"x\"y\n"), StartsWith("a.csv:3: text after"));
  EXPECT_THAT(Csv("device", "product,name\ndemo,x\"y\n"), StartsWith("a.csv:2: a quote inside"));
  EXPECT_THAT(Csv("device", "product,name\ndemo,\"a\nb\"\ndemo,x/y\n"),
              HasSubstr("device: product='demo', name='a\nb'"));
  EXPECT_THAT(Csv("device", "product,name\ndemo,d\ndemo,x/y\n"),
              StartsWith("a.csv:3: CHECK constraint failed"));
  EXPECT_THAT(Csv("device", ""), HasSubstr("is empty"));
  EXPECT_THAT(Csv("log", "event\nx\n"), HasSubstr("'log' is not a table that people write"));
  EXPECT_EQ(Ask("SELECT count(*) FROM device"), "0");
}

TEST_F(Import, CsvConstantsAndDefaultsCompleteTheKey) {
  ASSERT_EQ(Sql(std::string(kProduct) + "INSERT INTO plan(name, product) VALUES ('p', 'demo');"),
            "");
  EXPECT_EQ(Csv("plan_device", "device\nd1\nd2\n", {{"plan", "p"}}), "");
  EXPECT_EQ(Csv("plan_device", "device\nd2\nd3\n", {{"plan", "p"}}), "");
  EXPECT_EQ(changes_["plan_device"].inserted, 1);
  EXPECT_EQ(Ask("SELECT group_concat(device) FROM plan_device WHERE plan='p' AND list='white'"),
            "d1,d2,d3");
  EXPECT_THAT(Csv("plan_device", "device,plan\nd1,p\n", {{"plan", "p"}}), HasSubstr("given twice"));
}

TEST_F(Import, AHundredThousandRowsOfAWhitelist) {
  ASSERT_EQ(Sql(std::string(kProduct) + "INSERT INTO plan(name, product) VALUES ('p', 'demo');"),
            "");
  std::string text = "device\n";
  for (int i = 0; i < 100000; ++i) {
    text += "device-" + std::to_string(i) + "\n";
  }
  EXPECT_EQ(Csv("plan_device", text, {{"plan", "p"}}), "");
  EXPECT_EQ(changes_["plan_device"].inserted, 100000);
  EXPECT_EQ(Ask("SELECT count(*) FROM plan_device"), "100000");
}

TEST_F(Import, EveryTableIsEitherPeoplesOrTheEngines) {
  std::string known;
  for (const auto& table : AdminTables()) {
    known += "'" + std::string(table) + "',";
  }
  EXPECT_EQ(Ask("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
                " AND name NOT IN (" +
                known +
                "'before_insert','import','journal','engine_state','device_state','device_version',"
                "'package_state',"
                "'plan_state','task','task_component','log','engine_health','zone','dialect',"
                "'plan_member',"
                "'device_streak','device_topology','explanation')"),
            "");
}

TEST_F(AdminTest, RefusesWhatIsNotItsDatabase) {
  EXPECT_THAT(Admin::Open(directory_ + "/none.db", {}).error().message,
              HasSubstr("start the broker"));
  Raw("PRAGMA user_version = 9999");
  EXPECT_THAT(Admin::Open(path_, {}).error().message, HasSubstr("newer"));
  Raw("PRAGMA user_version = 1");
  EXPECT_THAT(Admin::Open(path_, {}).error().message, HasSubstr("older"));
  EXPECT_TRUE(Admin::OpenOlder(path_));
  Raw("PRAGMA application_id = 7");
  EXPECT_EQ(Admin::Open(path_, {}).error().code, core::ErrorCode::kUnsupported);
  std::ofstream(directory_ + "/text.db")
      << "this is not a database, but long enough to be looked at";
  EXPECT_EQ(Admin::Open(directory_ + "/text.db", {}).error().code, core::ErrorCode::kCorruption);
}

TEST_F(AdminTest, TheLockIsHeldByOneAndSeenByOthers) {
  EXPECT_FALSE(IsLocked(path_));
  {
    const auto lock = TakeLock(path_);
    ASSERT_TRUE(lock) << lock.error().message;
    EXPECT_TRUE(IsLocked(path_));
    const auto second = TakeLock(path_);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, core::ErrorCode::kConflict);
  }
  EXPECT_FALSE(IsLocked(path_));
  EXPECT_TRUE(TakeLock(path_));
}

TEST(DescribeUser, NamesTheLoginBehindTheRights) {
  EXPECT_EQ(DescribeUser("alice", "", "root"), "alice as root");
  EXPECT_EQ(DescribeUser(std::nullopt, "alice", "root"), "alice as root");
  EXPECT_EQ(DescribeUser("alice", "mallory", "root"), "alice as root");
  EXPECT_EQ(DescribeUser(std::nullopt, "", "alice"), "alice");
  EXPECT_EQ(DescribeUser("alice", "", "alice"), "alice");
}

}  // namespace
}  // namespace ota::store
