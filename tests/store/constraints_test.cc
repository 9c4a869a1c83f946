// The constraints of the systems whose place this project takes: each is broken by SQL in a bare
// `sqlite3` process, and the refusal read. Numbers are those of the checklist in tests/README.md;
// C1 to C30 are the contradictions that are resolved there. The guards of keys, references and
// states are in guards_test.cc.
#include <vector>

#include <gmock/gmock.h>

#include "store/fixture.h"

namespace ota::store {
namespace {

// One product of each profile, named by its first letter ('c': decada), with a component, a full
// package f2 and a delta d2 from 1.0, a device, and drafts: a static plan, a dynamic one, one for a
// chosen device, and its verification. Packages of 'alibaba' and 'enos' would have to be verified
// first: the plans say that they need not.
constexpr const char* kSite = R"(
INSERT INTO product(name, profile) SELECT iif(name = 'decada', 'c', substr(name, 1, 1)), name FROM profile;
INSERT INTO component(product, name) SELECT name, 'main' FROM product;
INSERT INTO package(product, name, component, kind, version)
  SELECT p.name, column1, 'main', column2, '2.0' FROM product p JOIN (VALUES ('f2', 'full'), ('d2', 'delta'));
INSERT INTO package_file(product, package, source, path)
  SELECT p.name, column1, column2, p.name || '/' || column1 || '.bin' FROM product p JOIN (VALUES ('f2', ''), ('d2', '1.0'));
INSERT INTO device(product, name) SELECT name, 'd1' FROM product;
INSERT INTO plan(name, product, kind, scope, scope_kind, verify_required)
  SELECT p.name || '-' || column1, p.name, iif(column1 = 'verify', 'verify', 'batch'), column2, column3, 0 FROM product p
  JOIN (VALUES ('static', 'all', 'static'), ('dynamic', 'all', 'dynamic'), ('chosen', 'selected', 'dynamic'), ('verify', 'selected', 'static'));
INSERT INTO plan_component(plan, seq, component, full) SELECT name, 1, 'main', 'f2' FROM plan;
INSERT INTO plan_device(plan, device) SELECT name, 'd1' FROM plan WHERE scope = 'selected';
)";

class Constraints : public StoreTest {
 protected:
  struct Attempt {
    std::string sql;
    const char* said;  // part of the refusal; empty: it is allowed
  };

  void SetUp() override {
    StoreTest::SetUp();
    Place(kSite);
  }

  // Tries each on the same site; nothing stays.
  void Try(const std::vector<Attempt>& attempts) {
    std::vector<std::string> scripts;
    for (const Attempt& attempt : attempts) {
      scripts.push_back("BEGIN;\n" + attempt.sql + ";\nROLLBACK;");
    }
    const std::vector<std::string> said = Shell(scripts);
    for (std::size_t i = 0; i < attempts.size(); ++i) {
      SCOPED_TRACE(attempts[i].sql);
      if (*attempts[i].said == '\0') {
        EXPECT_EQ(said[i], "");
      } else {
        EXPECT_THAT(said[i], testing::HasSubstr(attempts[i].said));
      }
    }
  }

  static std::string Set(const std::string& plan, const std::string& columns) {
    return "UPDATE plan SET " + columns + " WHERE name = '" + plan + "'";
  }
  static std::string Activate(const std::string& plan) { return Set(plan, "wanted = 'active'"); }
  // A plan as of now plus `seconds`.
  static std::string In(int seconds) {
    return "(SELECT ms FROM now) + " + std::to_string(seconds) + "000";
  }
  static std::string AsEngine(const std::string& sql) {
    return "UPDATE engine_state SET writing = 1;" + sql + ";UPDATE engine_state SET writing = 0";
  }
};

// 000-03 000-04 002-16 002-18 004-04: a plan is a product, components and their packages
TEST_F(Constraints, APlanIsAProductWithComponentsAndTheirPackages) {
  Try({{"DELETE FROM plan_component WHERE plan = 'd-static';" + Activate("d-static"),
        "plan.wanted: the plan has no component (plan_component)"},
       {"INSERT INTO plan(name) VALUES ('x')", "NOT NULL constraint failed: plan.product"},
       {"UPDATE plan_component SET full = 'none' WHERE plan = 'd-static'",
        "must name a package of kind 'full'"},
       {"INSERT INTO plan_component(plan, seq, component) VALUES ('d-static', 2, 'main')",
        "CHECK constraint"},
       {"DELETE FROM package_file WHERE product = 'd';" + Activate("d-static"),
        "a package of the plan has no files"},
       {Activate("d-static"), ""}});
}

// 000-21 001-15 002-11 004-02 004-03, C1 C29: sizes and numbers; a file's size is looked at when it
// is hashed
TEST_F(Constraints, FilesAndPackagesAreLimitedByTheProfile) {
  EXPECT_EQ(Shell("SELECT name, max_files, max_file_bytes, max_packages FROM profile"),
            "alibaba|5|1048576000|500\ndecada|1|104857600|100000\ndefault|5|1048576000|100000\n"
            "enos|1|2147483647|100000\nquectel|5|104857600|100000\n");
  const std::string files =
      "INSERT INTO package_file(product, package, seq, path) SELECT 'q', 'f2', column1, column1 || "
      "'.bin' FROM (VALUES (1), (2), (3), (4)";
  Try({{files + ")", ""},
       {files + ", (5))", "CHECK constraint failed: seq BETWEEN 0 AND 4"},
       {"INSERT INTO package_file(product, package, seq, path) VALUES ('e', 'f2', 1, 'x.bin')",
        "profile.max_files"},
       {"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 498) INSERT INTO "
        "package(product, name, component, version) SELECT 'a', 'p' || i, 'main', '1' FROM n",
        ""},
       {"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 499) INSERT INTO "
        "package(product, name, component, version) SELECT 'a', 'p' || i, 'main', '1' FROM n",
        "as many packages as its profile allows (profile.max_packages); delete old ones"}});
}

// 000-22 002-10 004-03, C2: without case, the longest suffix counts
TEST_F(Constraints, KindsOfFilesAreThoseOfTheProfile) {
  const auto file = [](const char* product, const char* path) {
    return std::string("UPDATE package_file SET path = '") + path + "' WHERE product = '" +
           product + "' AND package = 'f2'";
  };
  const char* refused = "package_file.path: the profile does not allow this kind of file";
  std::vector<Attempt> attempts;
  for (const char* suffix : {".bin", ".zip", ".rar", ".pack", ".mini_1", ".mini_2", ".py", ".tar",
                             ".tar.gz", ".s19", ".bin_1", ".bin_2", "bin_1", "bin_2"}) {
    attempts.push_back({file("q", (std::string("fw") + suffix).c_str()), ""});
  }
  for (const char* suffix : {".bin", ".tar", ".gz", ".tar.gz", ".zip", ".gzip"}) {
    attempts.push_back({file("a", (std::string("fw") + suffix).c_str()), ""});
  }
  attempts.push_back({file("a", "FW.BIN"), ""});
  attempts.push_back({file("a", "fw.Tar.GZ"), ""});
  attempts.push_back({file("a", "fw.rar"), refused});
  attempts.push_back({file("a", "fw"), refused});
  attempts.push_back({file("q", "fw.gz"), refused});
  attempts.push_back(
      {"INSERT INTO package_file(product, package, seq, path) VALUES ('q', 'f2', 1, "
       "'fw.exe')",
       refused});
  attempts.push_back({"DELETE FROM file_format WHERE suffix = '.tar.gz' AND profile = 'alibaba';" +
                          file("a", "fw.tar.gz"),
                      refused});
  attempts.push_back({file("d", "fw.anything"), ""});
  attempts.push_back({file("d", "fw"), ""});
  attempts.push_back({"INSERT INTO file_format VALUES ('default', '.HEX')", "CHECK constraint"});
  attempts.push_back({"INSERT INTO file_format VALUES ('none', '.hex')", "no such profile"});
  Try(attempts);
}

// 004-15 004-16 004-17 004-18 004-19 004-22 004-25 004-29 002-03 002-12
TEST_F(Constraints, NamesAreStrictWhereTheProfileSaysSo) {
  const auto component = [](const char* product, const std::string& name, const char* alias = "",
                            int remarks = 0) {
    return std::string("INSERT INTO component(product, name, alias, remarks) VALUES ('") + product +
           "', '" + name + "', '" + alias + "', printf('%." + std::to_string(remarks) + "c', 'x'))";
  };
  const auto package = [](const char* product, const std::string& name, const char* version = "1",
                          int remarks = 0) {
    return std::string(
               "INSERT INTO package(product, name, component, version, remarks) VALUES "
               "('") +
           product + "', '" + name + "', 'main', '" + version + "', printf('%." +
           std::to_string(remarks) + "c', 'x'))";
  };
  const std::string longest(64, 'n');
  Try({{component("a", longest), ""},
       {component("a", longest + "n"), "CHECK constraint"},
       {component("d", longest + "n"), "CHECK constraint"},
       {component("a", "n:1"), "component.name: the profile is strict"},
       {component("a", "n 1"), "CHECK constraint"},
       {component("d", "n:1"), ""},
       {component("a", "n", "the radio"), "component.alias: the profile is strict"},
       {component("d", "n", "the radio"), ""},
       {component("a", "n", "r", 101), "component.remarks: the profile is strict"},
       {component("a", "n", "r", 100), ""},
       {component("d", "n", "r", 1001), "CHECK constraint"},
       {component("a", "main"), "UNIQUE constraint failed: component.product, component.name"},
       {"UPDATE component SET name = 'x' WHERE product = 'a'", "names are keys and never change"},
       {"UPDATE component SET type = 'toaster' WHERE product = 'a'", "CHECK constraint"},
       {"UPDATE component SET alias = 'the radio' WHERE product = 'a'", "component.alias"},
       {package("a", "(3)-_x"), "beginning with a letter or digit"},
       {package("a", "3(3)-_x"), ""},
       {package("a", "x.y"), "package.name: the profile is strict"},
       {package("d", "x.y z"), ""},
       {package("a", std::string(40, 'p')), ""},
       {package("a", std::string(41, 'p')), "1 to 40 letters"},
       {package("a", "x", "1.0-rc_1"), ""},
       {package("a", "x", "1 0"), "package.version: the profile is strict"},
       {package("d", "x", "1 0"), ""},
       {package("a", "x", longest.c_str()), ""},
       {package("d", "x", (longest + "n").c_str()), "CHECK constraint"},
       {package("d", "x", ""), "CHECK constraint"},
       {"INSERT INTO package(product, name, component) VALUES ('d', 'x', 'main')",
        "NOT NULL constraint failed: package.version"},
       {package("a", "x", "1", 101), "package.remarks: the profile is strict"},
       {package("a", "x", "1", 100), ""}});
}

// 004-11 004-16 004-23 004-24: a package belongs to one product and one of its components
TEST_F(Constraints, APackageBelongsToOneProduct) {
  Try({{"INSERT INTO package(product, name, component, version) VALUES ('d', 'only-d', 'main', "
        "'1');"
        "UPDATE package SET product = 'q' WHERE name = 'only-d'",
        "names are keys"},
       {"INSERT INTO component(product, name) VALUES ('d', 'radio');"
        "INSERT INTO package(product, name, component, version) VALUES ('q', 'x', 'radio', '1')",
        "the product has no such component"},
       {"INSERT INTO component(product, name) VALUES ('q', 'radio');"
        "INSERT INTO package(product, name, component, version) VALUES ('q', 'only-q', 'radio', "
        "'1');"
        "INSERT INTO plan_component(plan, seq, component, full) VALUES ('d-static', 2, 'radio', "
        "'only-q')",
        "the plan's product has no such component"}});
}

// 001-01: versions can be deleted while nothing uses them
TEST_F(Constraints, APackageIsDeletedWhenNoPlanUsesIt) {
  Try({{"DELETE FROM package_file WHERE product = 'd' AND package = 'd2';"
        "DELETE FROM package WHERE product = 'd' AND name = 'd2'",
        ""},
       {"DELETE FROM package WHERE product = 'd' AND name = 'f2'", "plans use it"}});
}

// 002-06 002-08 004-26 004-27 004-38, C3
TEST_F(Constraints, ADeltaNamesWhatItStartsFromAndLeadsElsewhere) {
  const auto file = [](const char* source) {
    return std::string(
               "INSERT INTO package_file(product, package, source, path) VALUES ('d', "
               "'d2', '") +
           source + "', 'x.bin')";
  };
  Try({{file(""), "the version that it starts from in a delta"},
       {file("2.0"), "is the version that the package leads to"},
       {file("0.9"), ""},
       {"UPDATE package SET version = '1.0' WHERE product = 'd' AND name = 'd2'",
        "a file of the package starts from this version"},
       {"INSERT INTO package_file(product, package, source, path) VALUES ('d', 'f2', '1.0', 'x')",
        "must be '' in a full package"}});
}

// 004-30 004-33 004-35 002-13 002-14 003-15, C5
TEST_F(Constraints, ABatchWaitsForTheVerificationWhereItIsRequired) {
  const char* refused = "a package of the plan is not verified; activate a plan of kind 'verify'";
  const std::string wanted = Set("a-static", "verify_required = NULL") + ";";
  const auto task = [](int id, const char* state, const char* component = "proved") {
    const std::string number = std::to_string(id);
    return "INSERT INTO device_state(id, product, name, registered_ms, seen_ms) VALUES (" + number +
           ", 'a', 'd" + number + "', 1, 1);INSERT INTO task(id, name, plan, device_id, state, " +
           "created_ms) VALUES (" + number + ", 't" + number + "', 'a-verify', " + number + ", '" +
           state + "', 1);INSERT INTO task_component(task_id, seq, name, state, target) VALUES (" +
           number + ", 0, 'main', '" + component + "', '2.0')";
  };
  const auto after = [&](const std::string& tasks) {
    return wanted + Activate("a-verify") + ";" + AsEngine(tasks) + ";" + Activate("a-static");
  };
  Try({{wanted + Activate("a-static"), refused},
       {wanted + Activate("a-verify") + ";" + Activate("a-static"), refused},
       {after(task(1, "installing", "current")), refused},
       {after(task(1, "failed", "current")), refused},
       {after(task(1, "succeeded", "skipped")), refused},  // had it already: nothing was proved
       {after(task(1, "succeeded") + ";" + task(2, "refused", "current")), refused},
       {after(task(1, "succeeded")), ""},
       {"INSERT INTO plan_device(plan, device) VALUES ('a-verify', 'd2');" +
            after(task(1, "succeeded")),
        refused},
       {after(task(1, "succeeded") + ";UPDATE task SET plan = 'a-chosen'"), refused},
       {Activate("d-static"), ""},
       {Set("d-static", "verify_required = 1") + ";" + Activate("d-static"), refused},
       {Set("e-static", "verify_required = NULL") + ";" + Activate("e-static"), refused},
       {Set("a-verify", "scope = 'all'"), "a verify plan is for chosen devices"},
       {"DELETE FROM plan_device;" + Activate("a-verify"), "plan_device lists none"},
       {"INSERT INTO plan_device(plan, list, device) VALUES ('a-verify', 'black', 'd1');" +
            Activate("a-verify"),
        "plan_device lists none"}});
}

// 004-31 004-32 004-36 004-37, C22 C23
TEST_F(Constraints, SourceVersionsAreNamedWhereTheProfileSaysSo) {
  const auto source = [](const char* plan, const char* version) {
    return std::string("INSERT INTO plan_source(plan, component, version) VALUES ('") + plan +
           "', 'main', '" + version + "');";
  };
  Try({{Activate("a-dynamic"), "a dynamic plan of a full package names its source versions"},
       {source("a-dynamic", "1.0") + source("a-dynamic", "1.1") + Activate("a-dynamic"), ""},
       {"UPDATE plan_component SET full = NULL, delta = 'd2' WHERE plan = 'a-dynamic';" +
            Activate("a-dynamic"),
        ""},
       {Activate("d-dynamic"), ""},
       {Activate("a-static"), ""},
       {source("a-chosen", "1.0") + Activate("a-chosen"),
        "selected devices and source versions do not go together in this profile"},
       {source("d-chosen", "1.0") + Activate("d-chosen"), ""},
       {source("a-verify", "1.0") + Activate("a-verify"), ""},
       {source("d-dynamic", "2.0"), "plan_source.version: is the version that the plan leads to"},
       {source("d-dynamic", "2.1") +
            "UPDATE package SET version = '2.1' WHERE product = 'd' AND name = 'f2';" +
            Activate("d-dynamic"),
        "plan_source names the version that the plan leads to"}});
}

// 004-05 004-06 004-07 004-42, C20
TEST_F(Constraints, OneDynamicPlanForAPackageAndSourceVersion) {
  const std::string second =
      "INSERT INTO plan(name, product, verify_required) VALUES ('second', 'd', 0);"
      "INSERT INTO plan_component(plan, seq, component, full) VALUES ('second', 1, 'main', 'f2');";
  const auto source = [](const char* plan, const char* version) {
    return std::string("INSERT INTO plan_source(plan, component, version) VALUES ('") + plan +
           "', 'main', '" + version + "');";
  };
  const std::string both = Activate("d-dynamic") + ";" + Activate("second");
  const char* refused = "another dynamic plan in force has this package and source version";
  const std::string apart = source("d-dynamic", "1.0") + source("second", "1.1");
  Try({{second + both, refused},
       {second + source("second", "1.0") + both, refused},
       {second + source("d-dynamic", "1.0") + both, refused},
       {second + source("d-dynamic", "1.0") + source("second", "1.0") + both, refused},
       {second + apart + both, ""},
       {"UPDATE profile SET dynamic_unique = 'package';" + second + apart + both,
        "another dynamic plan in force has this package (profile.dynamic_unique)"},
       {"UPDATE profile SET dynamic_unique = 'none';" + second + both, ""},
       {second + Activate("d-dynamic") + ";" + Set("d-dynamic", "wanted = 'paused'") + ";" +
            Activate("second"),
        refused},
       {second + Activate("d-dynamic") + ";" + Set("d-dynamic", "wanted = 'canceled'") + ";" +
            Activate("second"),
        ""},
       {second + Activate("d-dynamic") + ";" +
            AsEngine("INSERT INTO plan_state(plan, state, \"order\", activated_ms) VALUES "
                     "('d-dynamic', 'ended', 1, 1)") +
            ";" + Activate("second"),
        ""},
       {Activate("d-dynamic") + ";" + Activate("d-static") + ";" + Activate("d-chosen"), ""},
       {"INSERT INTO package(product, name, component, version) VALUES ('d', 'f3', 'main', '3.0');"
        "INSERT INTO package_file(product, package, path) VALUES ('d', 'f3', 'x');" +
            second + "UPDATE plan_component SET full = 'f3' WHERE plan = 'second';" + both,
        ""}});
}

// 004-39 004-44: who is in a static plan is decided once
TEST_F(Constraints, TheDevicesOfAStaticPlanAreThoseOfItsActivation) {
  const std::string list = ";INSERT INTO plan_device(plan, list, device) VALUES ";
  const std::string chosen = Set("d-chosen", "scope_kind = 'static'") + ";" + Activate("d-chosen");
  const std::string tagged =
      "INSERT INTO device_tag VALUES ('d', 'd1', 'site', 'north');"
      "INSERT INTO plan_match VALUES ('d-static', 'site', 'north');" +
      Activate("d-static") + ";";
  const std::string scanned = AsEngine(
      "INSERT INTO plan_state(plan, state, \"order\", activated_ms, scanned) VALUES ('d-static', "
      "'active', 1, 1, 1)");
  const char* refused = "a static plan that asks for this tag is being activated";
  Try({{chosen + list + "('d-chosen', 'white', 'd2')", "the plan is static and no draft any more"},
       {chosen + list + "('d-chosen', 'black', 'd2')", ""},
       {Activate("d-chosen") + list + "('d-chosen', 'white', 'd2')", ""},
       {"DELETE FROM plan_device;" + chosen, "plan_device lists none"},
       {tagged + "UPDATE device_tag SET value = 'south'", refused},
       {tagged + "DELETE FROM device_tag", refused},
       {tagged + "INSERT INTO device(product, name) VALUES ('d', 'd2'); INSERT INTO device_tag "
                 "VALUES ('d', 'd2', 'site', 'north')",
        refused},
       {tagged + "INSERT INTO device_tag VALUES ('d', 'd1', 'floor', '2')", ""},
       {tagged + scanned + ";UPDATE device_tag SET value = 'south'", ""}});
}

// 004-45 000-27, C27: three limits
TEST_F(Constraints, ListsOpenTasksAndRatesHaveALimitOfTheirOwn) {
  const auto list = [](const char* plan, int count) {
    return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
           std::to_string(count) + ") INSERT INTO plan_device(plan, device) SELECT '" + plan +
           "', 'x' || i FROM n";
  };
  const std::string few = "UPDATE profile SET max_listed = 100;";
  const auto black =
      "INSERT INTO plan_device(plan, list, device) SELECT plan, 'black', 'b' || device FROM "
      "plan_device WHERE plan = 'a-chosen'";
  Try({{list("a-chosen", 9999), ""},
       {few + list("a-chosen", 99) + ";" + black, ""},
       {few + list("a-chosen", 100), "plan_device: more devices than the profile allows"},
       {list("a-chosen", 10000), "plan_device: more devices than the profile allows"},
       {list("d-chosen", 10001), ""},
       {list("d-chosen", 101) + ";" + few + Activate("d-chosen"),
        "plan_device lists more devices than the profile allows"},
       {Set("q-static", "max_open = 10000"), ""},
       {Set("q-static", "max_open = 10001"), "plan.max_open: is more than the profile allows"},
       {Set("d-static", "max_open = 10001"), ""},
       {Set("d-static", "max_open = 0"), "CHECK constraint"}});
}

// 002-19 002-20: a whitelist that limits nothing is a mistake, an order among all devices is none
TEST_F(Constraints, AWhitelistGoesWithTheScopeOfChosenDevices) {
  const auto list = [](const char* plan, const char* rank) {
    return std::string("INSERT INTO plan_device(plan, device, rank) VALUES ('") + plan +
           "', 'd1', " + rank + ");";
  };
  Try({{list("d-dynamic", "NULL") + Activate("d-dynamic"),
        "plan.scope: is 'all', but plan_device has a whitelist"},
       {list("d-static", "NULL") + Activate("d-static"), "set scope='selected'"},
       {list("d-dynamic", "3") + Activate("d-dynamic"), ""},
       {list("d-dynamic", "NULL") + Set("d-dynamic", "scope = 'selected'") + ";" +
            Activate("d-dynamic"),
        ""},
       {Activate("d-dynamic") + ";" + list("d-dynamic", "NULL"), "so a whitelist limits nothing"},
       {Activate("d-dynamic") + ";" + list("d-dynamic", "3"), ""},
       {"INSERT INTO plan_device(plan, list, device) VALUES ('d-dynamic', 'black', 'd1');" +
            Activate("d-dynamic"),
        ""}});
}

TEST_F(Constraints, TimesInSecondsAreNoticed) {
  Try({{Set("d-static", "start_ms = unixepoch()"), "times are milliseconds: unixepoch(...) * 1000"},
       {Set("d-static", "end_ms = unixepoch('now', '+30 days')"), "plan.start_ms, end_ms"},
       {"INSERT INTO plan(name, product, end_ms) VALUES ('x', 'd', unixepoch())", "in seconds"},
       {Set("d-static", "end_ms = unixepoch('now', '+30 days') * 1000"), ""},
       {"INSERT INTO hold(product, until_ms) VALUES ('d', unixepoch())", "hold.until_ms"},
       {"INSERT INTO hold(product) VALUES ('d'); UPDATE hold SET until_ms = unixepoch()",
        "hold.until_ms"},
       {"INSERT INTO hold(product, until_ms) VALUES ('d', unixepoch('now', '+1 day') * 1000)",
        ""}});
}

// 004-46 004-47
TEST_F(Constraints, APhaseIsAPercentageOfAStaticPlanAndGrowsOnly) {
  const std::string active = Set("d-static", "percent = 10") + ";" + Activate("d-static") + ";";
  Try({{Set("d-dynamic", "percent = 10"), "plan.percent: only a static plan is phased"},
       {Set("d-static", "percent = 0"), "CHECK constraint"},
       {Set("d-static", "percent = 101"), "CHECK constraint"},
       {Set("d-static", "percent = 10.5"), "cannot store REAL"},
       {active + Set("d-static", "percent = 20"), ""},
       {active + Set("d-static", "percent = 9"), "it can only be raised"},
       {active + Set("d-static", "percent = NULL"), "it can only be raised"},
       {Activate("d-static") + ";" + Set("d-static", "percent = 50"), "it can only be raised"}});
}

// 004-48 004-49 004-50 004-51 003-16, C24
TEST_F(Constraints, StartAndEndAreInTheRangeOfTheProfile) {
  const auto planned = [](const std::string& plan, const std::string& start,
                          const std::string& end) {
    return Set(plan, "start_ms = " + start + ", end_ms = " + end) + ";" + Activate(plan);
  };
  const char* start = "the profile wants the start between start_min_s and start_max_s from now";
  const char* end = "the profile wants the end between end_min_s and end_max_s after the start";
  const int day = 86400;
  Try({{Activate("a-static"), ""},
       {planned("a-static", In(290), "NULL"), start},
       {planned("a-static", In(310), "NULL"), ""},
       {planned("a-static", In(7 * day), "NULL"), ""},
       {planned("a-static", In(7 * day + 60), "NULL"), start},
       {planned("a-static", In(-day), "NULL"), start},
       {planned("d-static", In(-day), "NULL"), ""},
       {planned("a-static", In(600), In(600 + 3590)), end},
       {planned("a-static", In(600), In(600 + 3610)), ""},
       {planned("a-static", In(600), In(600 + 30 * day - 10)), ""},
       {planned("a-static", In(600), In(600 + 30 * day + 10)), end},
       {planned("a-static", "NULL", In(3000)), end},
       {planned("a-static", "NULL", In(3700)), ""},
       {planned("a-static", "NULL", In(3700)) + ";" + Set("a-static", "end_ms = " + In(60)), end},
       {planned("a-static", "NULL", In(3700)) + ";" + Set("a-static", "wanted = 'canceled'"), ""},
       {planned("d-static", In(600), In(600)), "plan.end_ms: must be after start_ms"},
       {planned("d-static", In(600), In(601)), ""},
       {"INSERT INTO plan_source(plan, component, version) VALUES ('a-dynamic', 'main', '1.0');" +
            planned("a-dynamic", In(600), "NULL"),
        "the profile schedules static plans only"},
       {planned("d-dynamic", In(600), "NULL"), ""},
       {Set("d-static", "at_end = 'explode'"), "CHECK constraint"}});
}

// 004-52
TEST_F(Constraints, RatesAreInTheRangeOfTheProfile) {
  const char* refused = "plan.rate: is outside of what the profile allows";
  Try({{Set("a-static", "rate = 9"), refused},
       {Set("a-static", "rate = 10"), ""},
       {Set("a-static", "rate = 1000"), ""},
       {Set("a-static", "rate = 1001"), refused},
       {"INSERT INTO plan(name, product, rate) VALUES ('x', 'a', 5)", refused},
       {Activate("a-static") + ";" + Set("a-static", "rate = 5"), refused},
       {Activate("a-static") + ";" + Set("a-static", "rate = 50"), ""},
       {Set("d-static", "rate = 1"), ""},
       {Set("d-static", "rate = 0"), "CHECK constraint"}});
}

// 004-53 004-54 000-28, C7: no retries is retry_max 0
TEST_F(Constraints, RetriesAreThoseOfTheProfile) {
  std::vector<Attempt> attempts{
      {Set("a-static", "retry_max = 3"), "plan.retry_max: is neither 0 nor a number"},
      {Set("a-static", "retry_max = 12"), "plan.retry_max: is neither 0 nor a number"},
      {Set("a-static", "retry_max = 1, retry_interval_s = 60"),
       "plan.retry_interval_s: is none of those that the profile allows"},
      {Set("d-static", "retry_max = 3, retry_interval_s = 61"), ""},
      {Set("d-static", "retry_max = -1"), "CHECK constraint"},
      {Set("d-static", "retry_max = 101"), "CHECK constraint"}};
  for (const char* count : {"0", "1", "2", "5"}) {
    attempts.push_back({Set("a-static", std::string("retry_max = ") + count), ""});
  }
  for (const char* interval : {"0", "600", "1800", "3600", "86400"}) {
    attempts.push_back({Set("a-static", std::string("retry_interval_s = ") + interval), ""});
  }
  Try(attempts);
}

// 004-71 004-72, C13: what is tried again, by reason
TEST_F(Constraints, OnlyFailuresAndRefusalsComeAgain) {
  const auto reason = [](const char* name) {
    return std::string("INSERT INTO plan_retry VALUES ('d-static', '") + name + "')";
  };
  const char* refused = "plan_retry.reason: is no failure that can be tried again";
  Try({{reason("download_failed"), ""},
       {reason("timeout"), ""},
       {reason("device_refused"), ""},
       {reason("not_kept"), refused},
       {reason("no_full_progress"), refused},
       {reason("plan_canceled"), refused},
       {reason("task_canceled"), refused},
       {reason("at_target"), refused},
       {reason("moon"), refused},
       {Activate("d-static") + ";" + reason("timeout"), "no draft any more"}});
}

// 004-34 004-55
TEST_F(Constraints, TimeoutsAreInTheRangeOfTheProfile) {
  const char* refused = "plan.timeout_s: is outside of what the profile allows";
  Try({{Set("a-verify", "timeout_s = 60"), ""},
       {Set("a-verify", "timeout_s = 86400"), ""},
       {Set("a-verify", "timeout_s = 86401"), refused},
       {Set("d-static", "timeout_s = 86401"), ""},
       {Set("d-static", "timeout_s = 59"), "CHECK constraint"},
       {Set("e-static", "timeout_s = 299"), refused},
       {Set("e-static", "timeout_s = 172800"), ""},
       {Set("e-static", "timeout_s = 172801"), refused}});
}

// 004-40 004-41 004-59 004-60
TEST_F(Constraints, OnlyADynamicPlanWaitsForNewReports) {
  Try({{Set("d-dynamic", "new_reports = 1"), ""},
       {Set("d-static", "new_reports = 1"), "a static plan takes the devices of its activation"},
       {Set("d-dynamic", "scope_kind = 'sometimes'"), "CHECK constraint"}});
}

// 004-61
TEST_F(Constraints, TagsOfAPlanNeverChangeOnceItIsActiveAndAreLimited) {
  const auto tags = [](const char* plan, int count) {
    return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
           std::to_string(count) + ") INSERT INTO plan_tag SELECT '" + plan + "', i, 'v' FROM n;";
  };
  Try({{tags("a-static", 10), ""},
       {tags("a-static", 11), "plan_tag: more tags than the profile allows (profile.max_tags)"},
       {tags("d-static", 11), ""},
       {tags("d-static", 1) + Activate("d-static") + ";UPDATE plan_tag SET value = 'w'",
        "no draft any more"},
       {tags("d-static", 1) + Activate("d-static") + ";DELETE FROM plan_tag", "no draft any more"},
       {Activate("d-static") + ";" + tags("d-static", 1), "no draft any more"}});
}

// 002-23 002-24 000-31, C25
TEST_F(Constraints, TheTimeZoneIsKnownAndGivenWhereTheProfileWantsIt) {
  const std::string zones = AsEngine("INSERT INTO zone VALUES ('Europe/Berlin'), ('UTC')") + ";";
  Try({{Activate("q-static"), "plan.zone: the profile wants a time zone"},
       {zones + Set("q-static", "zone = 'Europe/Berlin'") + ";" + Activate("q-static"), ""},
       {zones + Set("q-static", "zone = 'Mars/Base'"), "plan.zone: there is no such time zone"},
       {zones + "INSERT INTO plan(name, product, zone) VALUES ('x', 'd', 'CEST')",
        "plan.zone: there is no such time zone"},
       {Set("q-static", "zone = 'Europe/Berlin'"), ""},  // the engine has not filled the table yet
       {Set("d-static", "window_from = '22:00'"), "a push period has both ends"},
       {Set("d-static", "window_to = '04:00'"), "a push period has both ends"},
       {Set("d-static", "window_from = '22:00', window_to = '04:00'"), ""},
       {Set("d-static", "window_from = '00:00', window_to = '24:00'"), ""},
       {Set("d-static", "window_from = '24:00', window_to = '24:00'"), "CHECK constraint"},
       {Set("d-static", "window_from = '9:00', window_to = '10:00'"), "CHECK constraint"},
       {Set("d-static", "window_from = '09:60', window_to = '10:00'"), "CHECK constraint"}});
}

// 002-25 002-26 002-29 002-30
TEST_F(Constraints, AManualPlanHasItsTextInTheLanguagesOfTheProfile) {
  const auto plan = [](const char* name, const std::vector<const char*>& langs) {
    std::string sql = Set(name, "mode = 'manual', zone = 'Asia/Shanghai'") + ";";
    for (const char* lang : langs) {
      sql += std::string("INSERT INTO plan_text VALUES ('") + name + "', '" + lang + "', 'text');";
    }
    return sql + Activate(name);
  };
  const char* refused = "a manual plan has its text in every language of the profile";
  Try({{plan("q-static", {}), refused},
       {plan("q-static", {"zh"}), refused},
       {plan("q-static", {"en", "de"}), refused},
       {plan("q-static", {"zhx", "en"}), refused},
       {plan("q-static", {"zh", "en"}), ""},
       {plan("q-static", {"zh-CN", "EN", "de"}), ""},
       {plan("d-static", {}), ""},
       {Set("q-static", "zone = 'Asia/Shanghai'") + ";" + Activate("q-static"), ""},
       {"INSERT INTO plan_text VALUES ('d-static', 'en', '')", "CHECK constraint"},
       {Set("d-static", "mode = 'loud'"), "CHECK constraint"}});
}

// 002-17 002-28
TEST_F(Constraints, PlansAndTheirComponentsAreUnique) {
  Try({{"INSERT INTO plan(name, product) VALUES ('d-static', 'd')",
        "UNIQUE constraint failed: plan.name"},
       {"INSERT INTO plan(name, product) VALUES ('', 'd')", "CHECK constraint"},
       {"INSERT INTO plan_component(plan, seq, component, full) VALUES ('d-static', 2, 'main', "
        "'f2')",
        "UNIQUE constraint failed: plan_component.plan, plan_component.component"}});
}

// 000-05 002-31 002-32 004-62 004-73, C8: activated plans stay, and can always be canceled
TEST_F(Constraints, AnActivatedPlanIsNeverDeletedAndAlwaysCanceled) {
  const std::string active = Activate("d-static") + ";";
  Try({{active + "DELETE FROM plan WHERE name = 'd-static'", "only drafts can be deleted"},
       {active + Set("d-static", "wanted = 'canceled'") +
            ";DELETE FROM plan WHERE name = "
            "'d-static'",
        "only drafts can be deleted"},
       {active + Set("d-static", "wanted = 'canceled', at_cancel = 'queued'"), ""},
       {active + Set("d-static", "wanted = 'canceled', at_cancel = 'queued'") + ";" +
            Set("d-static", "at_cancel = 'all'"),
        ""},
       {active + Set("d-static", "wanted = 'canceled'") + ";" +
            Set("d-static", "at_cancel = 'queued'"),
        "it can only go on, from scheduled to queued to all"},
       {active + Set("d-static", "wanted = 'canceled', at_cancel = 'queued'") + ";" +
            Set("d-static", "at_cancel = 'scheduled'"),
        "it can only go on, from scheduled to queued to all"},
       {active + Set("d-static", "wanted = 'canceled', at_cancel = 'all'") + ";" +
            Set("d-static", "at_cancel = NULL"),
        ""},  // the profile's is all
       {Activate("a-static") + ";" + Set("a-static", "wanted = 'canceled'") + ";" +
            Set("a-static", "at_cancel = 'queued'") + ";" + Set("a-static", "at_cancel = 'all'"),
        ""},
       {active + Set("d-static", "at_cancel = 'some'"), "CHECK constraint"},
       {"UPDATE profile SET at_cancel = NULL", "NOT NULL constraint"},
       {Activate("a-static") + ";UPDATE profile SET rate_min = 500, max_open = 1;" +
            Set("a-static", "wanted = 'canceled'"),
        ""},
       {"INSERT INTO plan_match VALUES ('d-dynamic', 'k', 'v');DELETE FROM plan_component WHERE "
        "plan = 'd-dynamic';DELETE FROM plan WHERE name = 'd-dynamic'",
        "rows hang on it; delete them first (plan_match)"}});
}

// 000-28 002-27 002-38: conditions; 000-27 004-52: what an operator turns while the plan runs
TEST_F(Constraints, AnActivePlanLetsItsPaceBeTurnedAndNothingElse) {
  const auto active = [](const std::string& columns) {
    return Activate("d-dynamic") + ";" + Set("d-dynamic", columns);
  };
  std::vector<Attempt> attempts;
  for (const char* free :
       {"rate = 7", "max_open = 3", "bytes_per_second = 1000", "halt_failures = 5",
        "halt_percent = 5", "halt_sample = 20", "end_ms = 9000000000000", "rate = NULL"}) {
    attempts.push_back({active(free), ""});
  }
  for (const char* frozen : {"battery = 1",
                             "signal = -1",
                             "free_bytes = 1",
                             "max_age_s = 1",
                             "unknown = 'wait'",
                             "override = 1",
                             "verify_required = 1",
                             "strict_progress = 1",
                             "grace_s = 1",
                             "timeout_s = 61",
                             "loop_max = 1",
                             "quarantine_s = 1",
                             "start_ms = 1",
                             "at_end = 'force'",
                             "zone = 'UTC'",
                             "window_from = '01:00', window_to = '02:00'",
                             "trigger = 'request'",
                             "new_reports = 1",
                             "scope_kind = 'static'",
                             "kind = 'verify', scope = 'selected'",
                             "priority = 1",
                             "retry_max = 9",
                             "offer_s = 9"}) {
    attempts.push_back({active(frozen), "it is no draft any more: only wanted, end_ms and"});
  }
  for (const char* wrong :
       {"battery = 101", "battery = -1", "signal = 1", "signal = -151", "free_bytes = -1",
        "halt_percent = 101", "halt_sample = 0", "unknown = 'maybe'", "override = 2",
        "quarantine_s = -1", "loop_max = 1001", "bytes_per_second = 0", "priority = 1001"}) {
    attempts.push_back({Set("d-dynamic", wrong), "CHECK constraint"});
  }
  Try(attempts);
}

// 000-19 001-03 004-09
TEST_F(Constraints, DialectsAreThoseThatAreServed) {
  Try({{"UPDATE product SET dialect = 'alibaba'", ""},
       {"UPDATE product SET dialect = 'enos'", ""},
       {"UPDATE product SET dialect = 'lwm2m'", "there is no such dialect"}});
}

TEST_F(Constraints, RequestsNameWhatTheyAreFor) {
  const auto request = [](const char* columns, const char* values) {
    return std::string("INSERT INTO request(act, ") + columns + ") VALUES (" + values + ")";
  };
  Try({{request("product, device", "'release', 'd', 'd1'"), ""},
       {request("plan", "'release', 'd-static'"), ""},
       {request("product", "'release', 'd'"), "request 'release': is of a plan"},
       {request("plan, product, device", "'release', 'd-static', 'd', 'd1'"),
        "request 'release': is of a plan"},
       {request("plan", "'retry', 'd-static'"), ""},
       {request("plan, device", "'retry', 'd-static', 'd1'"), ""},
       {request("product, device", "'retry', 'd', 'd1'"), "request 'retry': name the plan"},
       {request("plan", "'consent', 'd-static'"), "request 'consent': name plan and device"},
       {request("product, device", "'explain', 'd', 'd1'"), ""},
       {request("plan, device", "'explain', 'd-static', 'd1'"), ""},
       {request("plan", "'explain', 'd-static'"), "request 'explain': name product and device"},
       {request("plan", "'upgrade', 'd-static'"), "none of release, cancel, retry, consent"}});
}

TEST_F(Constraints, HoldsTelemetryAndSettingsAreChecked) {
  const auto topic = [](const char* text) {
    return std::string("INSERT INTO telemetry VALUES ('d', 'battery', '") + text + "', '/b')";
  };
  const auto setting = [](const char* name, const std::string& value) {
    return std::string("INSERT INTO setting VALUES ('") + name + "', '" + value + "')";
  };
  Try({{"INSERT INTO hold(reason) VALUES ('audit')", ""},
       {"INSERT INTO hold(product) VALUES ('d')", ""},
       {"INSERT INTO hold(product, device) VALUES ('d', 'd1')", ""},
       {"INSERT INTO hold(product) VALUES ('none')", "hold.product: there is no such product"},
       {"INSERT INTO hold(product, device) VALUES ('d', 'none')", "has no such device"},
       {"INSERT INTO hold(device) VALUES ('d1')", "CHECK constraint"},
       {"INSERT INTO hold(product, device) VALUES ('d', 'd1');DELETE FROM device WHERE product = "
        "'d'",
        "device: it is held"},
       {topic("v1/{product}/{device}/telemetry"), ""},
       {topic("v1/telemetry"), "telemetry.topic: must contain {device}"},
       {topic("v1/+/{device}"), "telemetry.topic"},
       {topic("v1/{device}/#"), "telemetry.topic"},
       {topic("v1/{device}/{site}"), "telemetry.topic"},
       {"INSERT INTO telemetry VALUES ('d', 'battery', '{device}', 'b')", "CHECK constraint"},
       {"INSERT INTO telemetry VALUES ('d', 'humour', '{device}', '/b')", "CHECK constraint"},
       {"INSERT INTO telemetry VALUES ('none', 'battery', '{device}', '/b')", "no such product"},
       {setting("scan_s", "0"), ""},
       {setting("scan_s", "600"), ""},
       {setting("scan_s", "59"), "0 (no scan) or a number of seconds from 60 to 86400"},
       {setting("scan_s", "86401"), "from 60 to 86400"},
       {setting("scan_jitter_s", "600"), ""},
       {setting("scan_jitter_s", "601"), "from 0 to 600"},
       {setting("scan_jitter_s", "-1"), "from 0 to 600"},
       {setting("stopped", ""), ""},
       {setting("stopped", "fire in the server room"), ""},
       {setting("stopped", std::string(1001, 'x')), "of at most 1000 characters"}});
}

// Packages that are there must fit the rules of another profile too; drafts do at their activation.
TEST_F(Constraints, AnotherProfileIsRefusedForPackagesThatBreakItsRules) {
  const std::string other = "UPDATE product SET profile = 'alibaba' WHERE name = 'd'";
  const std::string file =
      "INSERT INTO package(product, name, component, version) VALUES ('d', 'x', 'main', '9');"
      "INSERT INTO package_file(product, package, path) VALUES ('d', 'x', 'd/x.py');";
  const char* kind = "package_file.path: the profile does not allow this kind of file";
  Try({{other, ""},
       {file + other, kind},
       {file + "INSERT OR REPLACE INTO product(name, profile) VALUES ('d', 'alibaba')", kind},
       {"INSERT INTO package(product, name, component, version) VALUES ('d', 'x y', 'main', '9');" +
            other,
        "package.name: the profile is strict"},
       {"INSERT INTO component(product, name) VALUES ('d', 'n:1');" + other,
        "component.name: the profile is strict"},
       {"UPDATE profile SET max_packages = 1 WHERE name = 'alibaba';" + other,
        "the product has more packages than that profile allows (profile.max_packages)"},
       {"UPDATE profile SET max_files = 1 WHERE name = 'alibaba';INSERT INTO package_file(product, "
        "package, seq, path) VALUES ('d', 'f2', 1, 'd/2.bin');" +
            other,
        "profile.max_files"},
       {"UPDATE profile SET max_file_bytes = 99 WHERE name = 'alibaba';" +
            AsEngine("INSERT INTO package_state(product, package, source, seq, path, state, bytes) "
                     "VALUES ('d', 'f2', '', 0, 'd/f2.bin', 'ready', 100)") +
            ";" + other,
        "a package of the product breaks a rule of that profile"},
       {other + ";" + Activate("d-dynamic"), "profile"},
       {Activate("d-dynamic") + ";" + other, ""},
       {"UPDATE product SET remarks = 'x' WHERE name = 'd'", ""}});
}

// A rule that is tightened holds for what is written and activated from then on.
TEST_F(Constraints, ATightenedRuleStopsNothingThatRunsAndStartsNothingThatBreaksIt) {
  const char* breaks = "a package of the plan breaks a rule of the profile that was tightened";
  const auto tighten = [](const std::string& columns) {
    return "UPDATE profile SET " + columns + " WHERE name = 'default';";
  };
  const std::string two =
      "INSERT INTO package_file(product, package, seq, path) VALUES ('d', 'f2', 1, 'd/2.bin');";
  const std::string hashed =
      AsEngine(
          "INSERT INTO package_state(product, package, source, seq, path, state, bytes) VALUES "
          "('d', 'f2', '', 0, 'd/f2.bin', 'ready', 100)") +
      ";";
  Try({{two + tighten("max_files = 1") + Activate("d-static"), breaks},
       {two + tighten("max_files = 2") + Activate("d-static"), ""},
       {two + Activate("d-static") + ";" + tighten("max_files = 1") +
            Set("d-static", "wanted = 'paused'") + ";" + Set("d-static", "wanted = 'active'"),
        ""},
       {hashed + tighten("max_file_bytes = 99") + Activate("d-static"), breaks},
       {hashed + tighten("max_file_bytes = 100") + Activate("d-static"), ""},
       {"INSERT INTO file_format VALUES ('default', '.hex');" + Activate("d-static"), breaks},
       {"INSERT INTO file_format VALUES ('default', '.bin');" + Activate("d-static"), ""},
       {"INSERT INTO package(product, name, component, version) VALUES ('d', 'a b', 'main', '3');"
        "INSERT INTO package_file(product, package, path) VALUES ('d', 'a b', 'x.bin');"
        "UPDATE plan_component SET full = 'a b' WHERE plan = 'd-static';" +
            tighten("strict_names = 1") + Activate("d-static"),
        breaks},
       {tighten("max_packages = 1") + Activate("d-static"), ""},
       {tighten("max_packages = 1") +
            "INSERT INTO package(product, name, component, version) VALUES ('d', 'x', 'main', '3')",
        "profile.max_packages"},
       {Set("d-static", "rate = 5") + ";" + tighten("rate_min = 6") + Activate("d-static"),
        "profile.rate_min"},
       {Set("d-static", "rate = 5") + ";" + Activate("d-static") + ";" + tighten("rate_min = 6") +
            Set("d-static", "wanted = 'paused'"),
        ""},
       {two + tighten("max_files = 1") +
            "SELECT package, rule, value, \"limit\" FROM package_breaks",
        "f2|max_files|2|1"}});
}

// 004-34 004-55, C11: no deadline can be switched off, whoever writes
TEST_F(Constraints, NoProfileAndNoPlanSwitchesADeadlineOff) {
  std::vector<Attempt> attempts;
  for (const std::string deadline :
       {"offer_s", "download_s", "install_s", "reboot_s", "longest_s"}) {
    const std::string profile = "UPDATE profile SET " + deadline;
    attempts.push_back({profile + " = NULL", "NOT NULL constraint failed"});
    attempts.push_back({profile + " = 0", "CHECK constraint failed"});
    attempts.push_back({profile + " = -1", "CHECK constraint failed"});
    attempts.push_back({profile + " = 31536001", "CHECK constraint failed"});
    attempts.push_back({Set("d-static", deadline + " = 0"), "CHECK constraint failed"});
    attempts.push_back({Set("d-static", deadline + " = 31536001"), "CHECK constraint failed"});
    attempts.push_back({Set("d-static", deadline + " = NULL"), ""});  // the profile's
  }
  Try(attempts);
}

// Ranges and lists of values: what no other test breaks. (guards_test.cc looks that none is left
// out.)
TEST_F(Constraints, EveryValueIsOneOfItsColumn) {
  struct Column {
    const char* table;
    std::vector<const char*> wrong;
  };
  const std::vector<Column> columns{
      {"profile",
       {"retry_interval_s = -1", "zone_required = 2", "verify_required = 2", "start_static = 2",
        "dynamic_sources = 2", "selected_sources = 2", "dynamic_unique = 'plan'", "max_listed = 0",
        "max_open = 0", "max_tags = -1", "strict_names = 2", "grace_s = -1", "fails_when_busy = 2",
        "halt_failures = -1", "halt_percent = 101", "halt_sample = 0", "loop_max = 1001",
        "quarantine_s = -1", "retry_max = 101"}},
      {"product",
       {"register = 2", "auto_confirm = 2", "http = 2", "blocks = 2", "max_devices = 0"}},
      {"component", {"boot = 2", "alias = printf('%.65c', 'a')"}},
      {"device", {"disabled = 2", "retired = 2"}},
      {"package", {"kind = 'half'"}},
      {"package_file",
       {"source = printf('%.65c', '1')", "path = ''", "path = printf('%.256c', 'p')",
        "sha256 = 'ABC'", "sha256 = printf('%.64c', 'G')"}},
      {"plan",
       {"wanted = 'begun'", "scope = 'some'", "retry_interval_s = 2592001", "kind = 'test'",
        "new_reports = 2", "trigger = 'pull'", "window_to = '24:01'", "max_age_s = 0",
        "verify_required = 2", "strict_progress = 2", "grace_s = 86401", "halt_failures = -1"}},
      {"plan_component", {"seq = 0", "seq = 33"}},
      {"plan_device", {"list = 'grey'", "device = 'a b'", "device = printf('%.65c', 'd')"}}};
  const char* refused = "CHECK constraint failed: ";
  std::vector<Attempt> attempts;
  for (const Column& column : columns) {
    for (const char* wrong : column.wrong) {
      attempts.push_back({std::string("UPDATE ") + column.table + " SET " + wrong, refused});
    }
  }
  for (const char* wrong :
       {"device_tag VALUES ('d', 'd1', '', 'v')",
        "device_tag VALUES ('d', 'd1', 'k', printf('%.1025c', 'v'))",
        "plan_text VALUES ('d-static', '', 'text')", "plan_tag VALUES ('d-static', '', 'v')",
        "plan_tag VALUES ('d-static', printf('%.31c', 'k'), 'v')",
        "plan_tag VALUES ('d-static', 'k', printf('%.1025c', 'v'))",
        "plan_match VALUES ('d-static', '', 'v')",
        "plan_match VALUES ('d-static', 'k', printf('%.1025c', 'v'))",
        "hold(reason) VALUES (printf('%.1001c', 'r'))",
        "telemetry VALUES ('d', 'battery', '', '/b')",
        "request(act, state) VALUES ('release', 'never')"}) {
    attempts.push_back({std::string("INSERT INTO ") + wrong, refused});
  }
  Try(attempts);
}

TEST_F(Constraints, EveryRuleOfAProfileCanBeLookedUp) {
  EXPECT_EQ(Shell("SELECT name FROM pragma_table_info('profile') WHERE name <> 'name' AND name NOT "
                  "IN (SELECT rule FROM profile_rules)"),
            "");
  EXPECT_EQ(
      Shell("SELECT rule, \"limit\", unit FROM profile_rules WHERE profile = 'alibaba' AND "
            "rule IN ('rate_max', 'end_max_s', 'file_format', 'langs', 'retry_counts') "
            "ORDER BY rule"),
      "end_max_s|2592000|s\nfile_format|.apk .bin .dav .gz .gzip .pack .tar .tar.gz .tar.xz .zip|\n"
      "rate_max|1000|per minute\nretry_counts|1 2 5|\n");
}

TEST_F(Constraints, ProfilesAreCheckedToo) {
  const auto profile = [](const std::string& columns) {
    return "UPDATE profile SET " + columns + " WHERE name = 'default'";
  };
  Try({{profile("langs = 'zh en'"), ""},
       {profile("langs = 'zh  en'"), "profile.langs"},
       {profile("langs = 'zh,en'"), "profile.langs"},
       {profile("retry_counts = '1 2'"), ""},
       {profile("retry_counts = 'many'"), "profile.retry_counts"},
       {profile("retry_intervals = '1, 2'"), "profile.retry_intervals"},
       {profile("rate_min = 5, rate_max = 4"), "profile.rate_min, rate_max"},
       {profile("start_min_s = -1"), "profile.start_min_s"},
       {profile("end_max_s = -1"), "profile.end_min_s, end_max_s"},
       {profile("timeout_min_s = 7, timeout_max_s = 6"), "profile.timeout_min_s, timeout_max_s"},
       {"INSERT INTO file_format VALUES ('default', '.x');UPDATE product SET profile = 'quectel' "
        "WHERE name = 'd';DELETE FROM profile WHERE name = 'default'",
        "file formats belong to it"}});
}

// The default profile has no rule of somebody else's cloud.
TEST_F(Constraints, TheDefaultProfileLetsASitePlanAsItLikes) {
  Try({{Set("d-dynamic",
            "mode = 'manual', start_ms = 1, end_ms = 2, rate = 1, max_open = 1000000, retry_max = "
            "100, retry_interval_s = 7, timeout_s = 31536000, verify_required = NULL") +
            ";" + Activate("d-dynamic"),
        ""}});
}

TEST_F(Constraints, PositionsComeFromTheDatabase) {
  EXPECT_EQ(Shell("INSERT INTO plan_device(plan, device) VALUES ('d-static', 'z'), ('d-static', "
                  "'a'), ('d-dynamic', 'm'), ('d-static', 'k');"
                  "DELETE FROM plan_device WHERE device = 'a';"
                  "INSERT OR IGNORE INTO plan_device(plan, device) VALUES ('d-static', 'z');"
                  "INSERT INTO plan_device(plan, device) VALUES ('d-static', 'b');"
                  "SELECT device, position FROM plan_device WHERE plan = 'd-static' ORDER BY 2"),
            "z|1\nk|3\nb|4\n");
  Try({{"UPDATE plan_device SET position = 1 WHERE device = 'k'", "to set an order use rank"},
       {"INSERT INTO plan_device(plan, device, position) VALUES ('d-static', 'c', 9)",
        "to set an order use rank"},
       {"UPDATE plan_device SET rank = 1 WHERE device = 'k'", ""}});
}

}  // namespace
}  // namespace ota::store
