// Opening: migrations, what is refused, what is recognized, locks of other processes.
#include <array>
#include <thread>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>
#include <gmock/gmock.h>

#include "store/fixture.h"
#include "store/migrate.h"
#include "store/statements.h"

namespace ota::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Open : public StoreTest {
 protected:
  // A database with an active and a paused plan, committed by the engine once.
  void MakeLive() {
    Store& store = Reopen();
    ASSERT_EQ(Shell(kPeople), "");
    ASSERT_TRUE(store.Begin());
    ASSERT_TRUE(store.SavePlanState({"spring", PlanPhase::kActive, "", 0, At(5), 3, true, {}}));
    ASSERT_TRUE(store.Commit(At(2'000'000)));
    Close();
  }
  void CommitSomething(core::Instant wall = At(3'000'000)) {
    Store& store = Reopen();
    ASSERT_TRUE(store.Begin());
    ASSERT_TRUE(store.Log({}, {}, wall));
    ASSERT_TRUE(store.Commit(wall));
    Close();
  }
  std::string Refusal() {
    core::Result<std::unique_ptr<Store>> opened = TryOpen();
    EXPECT_FALSE(opened);
    code_ = opened ? core::ErrorCode::kInternal : opened.error().code;
    return opened ? "opened" : opened.error().message;
  }
  static mode_t Mode(const std::filesystem::path& file) {
    struct stat facts = {};
    EXPECT_EQ(::stat(file.c_str(), &facts), 0) << file;
    return facts.st_mode & 07777;
  }
  core::ErrorCode code_ = core::ErrorCode::kInternal;
};

TEST_F(Open, ANewDatabaseIsMadeForOwnerAndGroup) {
  const mode_t mask = ::umask(0);
  Store& store = Reopen();
  EXPECT_TRUE(store.opening().created);
  EXPECT_FALSE(store.opening().restored);
  EXPECT_FALSE(store.opening().last_commit);
  EXPECT_EQ(Mode(path()), 0640U);
  EXPECT_EQ(Mode(marker()), 0640U);
  EXPECT_EQ(Mode(directory_ / "ota.db-wal"), 0640U);
  ::umask(mask);
  EXPECT_EQ(Shell("PRAGMA application_id; PRAGMA user_version; PRAGMA journal_mode"),
            std::to_string(kApplicationId) + "\n" + std::to_string(SchemaVersion()) + "\nwal\n");
}

TEST_F(Open, TheDirectoryIsNotMade) {
  core::Result<std::unique_ptr<Store>> opened =
      Store::Open(directory_ / "none" / "ota.db", At(1), {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, core::ErrorCode::kNotFound);
  EXPECT_THAT(opened.error().message, HasSubstr("there is no directory"));
}

TEST_F(Open, AnExistingDatabaseGivesTheTimeOfItsLastCommit) {
  MakeLive();
  Store& store = Reopen();
  EXPECT_FALSE(store.opening().created);
  EXPECT_FALSE(store.opening().restored);
  EXPECT_EQ(store.opening().last_commit, At(2'000'000));
  EXPECT_EQ(store.commit_no(), 1);
}

TEST_F(Open, TheTimeOfTheLastCommitIsTheOneThatTheEngineGave) {
  CommitSomething(At(5'000'000));
  CommitSomething(At(10));  // a clock that people have released
  EXPECT_EQ(Reopen().opening().last_commit, At(10));
}

TEST_F(Open, AFileThatIsOpenByAnotherNameIsRefusedAndNothingIsMadeBesideIt) {
  Reopen();
  const std::filesystem::path link = directory_ / "link.db";
  std::filesystem::create_hard_link(path(), link);
  const auto second = Store::Open(link, At(1'000'000), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, core::ErrorCode::kConflict);
  EXPECT_THAT(second.error().message, HasSubstr("in use by another broker"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "link.db-wal"));
  Close();
  EXPECT_TRUE(Store::Open(link, At(1'000'000), {}));
}

TEST_F(Open, AnotherProgramsFileIsRefusedAndNotTouched) {
  Shell("PRAGMA application_id = 7; CREATE TABLE theirs(x);");
  const std::string before = Read(path());
  EXPECT_THAT(Refusal(), HasSubstr("belongs to another program (application_id 7"));
  EXPECT_EQ(code_, core::ErrorCode::kUnsupported);
  EXPECT_EQ(Read(path()), before);
  Shell("PRAGMA application_id = 0;");
  EXPECT_THAT(Refusal(), HasSubstr("belongs to another program"));
}

TEST_F(Open, ANewerSchemaIsRefusedWithBothNumbersAndNotTouched) {
  MakeLive();
  Shell("PRAGMA user_version = 999;");
  const std::string before = Read(path());
  EXPECT_THAT(Refusal(),
              HasSubstr("has schema 999, this program knows " + std::to_string(SchemaVersion())));
  EXPECT_EQ(code_, core::ErrorCode::kUnsupported);
  EXPECT_EQ(Read(path()), before);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "ota.db-wal"));
}

TEST_F(Open, WhatIsNoDatabaseIsRefused) {
  std::ofstream(path()) << std::string(5000, 'x');
  EXPECT_THAT(Refusal(), HasSubstr("is not a SQLite database"));
  EXPECT_EQ(code_, core::ErrorCode::kCorruption);
  std::ofstream(path()) << "short";
  EXPECT_THAT(Refusal(), HasSubstr("is not a SQLite database"));
}

TEST_F(Open, ATruncatedDatabaseIsRefused) {
  MakeLive();
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) / 2);
  Refusal();
  EXPECT_EQ(code_, core::ErrorCode::kCorruption);
}

TEST_F(Open, AFileThatIsTruncatedUnderTheStoreIsLeftAsItIs) {
  MakeLive();
  Store& store = Reopen();
  ASSERT_TRUE(store.Begin());
  ASSERT_TRUE(store.Log({}, {}, At(1)));
  ASSERT_TRUE(store.Commit(At(2'000'000)));
  EXPECT_FALSE(store.IsShort());
  const auto left = std::filesystem::file_size(path()) - 4096;
  std::filesystem::resize_file(path(), left);
  EXPECT_TRUE(store.IsShort());
  EXPECT_EQ(store.Truncated().error().code, core::ErrorCode::kCorruption);
  Close();
  EXPECT_EQ(std::filesystem::file_size(path()), left);
  EXPECT_GT(std::filesystem::file_size(directory_ / "ota.db-wal"), 0U);
  Options options;
  options.truncated = true;
  const auto again = TryOpen(std::move(options));
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("was truncated while the broker ran"));
  EXPECT_EQ(std::filesystem::file_size(path()), left);
}

TEST_F(Open, AnOverwrittenPageIsFound) {
  MakeLive();
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path()));
  for (std::streamoff page = 4096; page + 4096 <= size; page += 4096 * 7) {
    WriteAt(path(), page, std::string(4096, '\x5A'));
  }
  Refusal();
  EXPECT_EQ(code_, core::ErrorCode::kCorruption);
}

TEST_F(Open, AnOverwrittenHeaderIsFound) {
  MakeLive();
  WriteAt(path(), 0, std::string(16, '\0'));
  Refusal();
  EXPECT_EQ(code_, core::ErrorCode::kCorruption);
}

TEST_F(Open, AMissingDatabaseIsNotReplacedByAnEmptyOne) {
  MakeLive();
  std::filesystem::remove(path());
  EXPECT_THAT(Refusal(), HasSubstr("is missing"));
  EXPECT_EQ(code_, core::ErrorCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path()));
  std::filesystem::remove(marker());
  EXPECT_TRUE(Reopen().opening().created);
}

TEST_F(Open, WithoutThePermissionsTheErrorSaysWhatIsNeeded) {
  if (::geteuid() == 0) {
    GTEST_SKIP() << "root may write everywhere";
  }
  std::filesystem::permissions(
      directory_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_THAT(Refusal(), HasSubstr("must be able to write the file and its directory"));
  EXPECT_EQ(code_, core::ErrorCode::kUnavailable);
}

TEST_F(Open, ADirectoryInItsPlaceIsRefused) {
  std::filesystem::create_directory(path());
  EXPECT_THAT(Refusal(), HasSubstr("not a regular file"));
}

// -- recognition of copies

TEST_F(Open, AnOlderCopyHoldsEveryPlanInForce) {
  MakeLive();
  ASSERT_EQ(Shell("UPDATE plan SET wanted = 'active' WHERE name = 'draft';"
                  "INSERT INTO plan(name, product) VALUES ('idle', 'thermo');"),
            "");
  std::filesystem::copy_file(path(), directory_ / "old.db");
  CommitSomething();
  std::filesystem::copy_file(directory_ / "old.db", path(),
                             std::filesystem::copy_options::overwrite_existing);
  {
    Store& store = Reopen();
    EXPECT_TRUE(store.opening().restored);
    EXPECT_THAT(store.opening().held, ElementsAre("draft", "spring"));
    EXPECT_THAT(store.opening().restored_reason, HasSubstr("ends at commit 1"));
    core::Result<std::shared_ptr<const Catalogue>> catalogue = store.LoadCatalogue();
    ASSERT_TRUE(catalogue);
    EXPECT_TRUE((*catalogue)->FindPlan("spring")->held);
    EXPECT_TRUE((*catalogue)->FindPlan("draft")->held);
    EXPECT_THAT((*catalogue)->FindPlan("spring")->held_reason, HasSubstr("restored"));
    EXPECT_EQ((*catalogue)->plans.at("spring").state->scanned_id, 3);
    Close();
  }
  // Only once, and the newer copy does not pass for this one afterwards.
  EXPECT_FALSE(Reopen().opening().restored);
}

TEST_F(Open, TheNewerCopyAfterARestoreIsRecognizedToo) {
  MakeLive();
  std::filesystem::copy_file(path(), directory_ / "old.db");
  CommitSomething();
  CommitSomething();
  std::filesystem::copy_file(path(), directory_ / "new.db");
  std::filesystem::copy_file(directory_ / "old.db", path(),
                             std::filesystem::copy_options::overwrite_existing);
  Reopen();
  Close();
  std::filesystem::copy_file(directory_ / "new.db", path(),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(Reopen().opening().restored);
}

TEST_F(Open, AMissingOrUnreadableMarkerHoldsToo) {
  MakeLive();
  std::filesystem::remove(marker());
  EXPECT_THAT(Reopen().opening().restored_reason, HasSubstr("is missing"));
  EXPECT_THAT(store_->opening().held, ElementsAre("spring"));
  Close();
  std::ofstream(marker()) << "garbage";
  EXPECT_TRUE(Reopen().opening().restored);
  Close();
  EXPECT_FALSE(Reopen().opening().restored);
}

TEST_F(Open, AnotherDatabaseHoldsToo) {
  MakeLive();
  const std::string theirs = "ffffffffffffffffffffffffffffffff 00000000000000000001\n";
  std::ofstream(marker()) << theirs;
  EXPECT_THAT(Reopen().opening().restored_reason, HasSubstr("belongs to another one"));
}

TEST_F(Open, AMarkerThatFellBehindIsNoRestore) {
  MakeLive();
  const std::string old = Read(marker());
  CommitSomething();
  EXPECT_NE(Read(marker()), old);
  std::ofstream(marker()) << old;
  EXPECT_FALSE(Reopen().opening().restored);
}

TEST_F(Open, AReplacedFileIsSeen) {
  Store& store = Reopen();
  EXPECT_FALSE(store.Replaced());
  std::filesystem::copy_file(path(), directory_ / "copy.db");
  std::filesystem::rename(directory_ / "copy.db", path());
  EXPECT_TRUE(store.Replaced());
  std::filesystem::remove(path());
  EXPECT_TRUE(store.Replaced());
}

// -- a file put in the place of the running one, or of one that crashed

// What a crash leaves: the files as they are while the store is open, in a directory of their own.
class Crash : public Open {
 protected:
  void SetUp() override {
    Open::SetUp();
    MakeLive();
  }
  // Crashes after `commits` engine commits that are in the write-ahead log only.
  void CrashAfter(int commits) {
    Store& store = Reopen();
    for (int index = 0; index < commits; ++index) {
      ASSERT_TRUE(store.Begin());
      ASSERT_TRUE(store.Log({}, {}, At(index)));
      ASSERT_TRUE(store.Commit(At(3'000'000)));
    }
    const std::filesystem::path kept = directory_ / "kept";
    std::filesystem::create_directory(kept);
    for (const char* name : {"ota.db", "ota.db-wal", "ota.db.commit"}) {
      std::filesystem::copy_file(directory_ / name, kept / name);
    }
    Close();
    for (const char* name : {"ota.db", "ota.db-wal", "ota.db.commit"}) {
      std::filesystem::copy_file(kept / name, directory_ / name,
                                 std::filesystem::copy_options::overwrite_existing);
    }
    ASSERT_GT(std::filesystem::file_size(directory_ / "ota.db-wal"), 0U);
  }
  void Put(const char* copy) {
    std::filesystem::copy_file(directory_ / copy, path(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  std::string Plan() { return Shell("SELECT wanted FROM plan WHERE name = 'spring'"); }
};

TEST_F(Crash, AWholeCrashedDatabaseIsNoRestore) {
  CrashAfter(2);
  EXPECT_FALSE(Reopen().opening().restored);
  EXPECT_EQ(store_->commit_no(), 3);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "ota.db-wal.stale"));
}

TEST_F(Crash, ACopyMovedOverARunningDatabaseDoesNotGetItsLog) {
  std::filesystem::copy_file(path(), directory_ / "old.db");
  Store& store = Reopen();
  ASSERT_EQ(Shell("UPDATE plan SET wanted = 'paused' WHERE name = 'spring'"), "");
  ASSERT_TRUE(store.Begin());
  ASSERT_TRUE(store.Log({}, {}, At(1)));
  ASSERT_TRUE(store.Commit(At(3'000'000)));
  std::filesystem::rename(path(), directory_ / "away.db");
  std::filesystem::rename(directory_ / "old.db", path());
  ASSERT_TRUE(store.Replaced());
  Close();
  EXPECT_TRUE(std::filesystem::exists(directory_ / "ota.db-wal.stale"));
  EXPECT_EQ(Plan(), "active\n");
  EXPECT_EQ(Shell("SELECT wanted FROM plan WHERE name = 'spring'", "away.db"), "paused\n");
  EXPECT_TRUE(Reopen().opening().restored);
  EXPECT_THAT(store_->opening().held, ElementsAre("spring"));
}

TEST_F(Crash, TheLogThatCameWithAMovedCopyStays) {
  Store& store = Reopen();
  std::filesystem::copy_file(path(), directory_ / "copy.db");
  std::filesystem::rename(directory_ / "copy.db", path());
  std::ofstream(directory_ / "theirs") << "theirs";
  std::filesystem::rename(directory_ / "theirs", directory_ / "ota.db-wal");
  ASSERT_TRUE(store.Replaced());
  Close();
  EXPECT_EQ(Read(directory_ / "ota.db-wal"), "theirs");
}

TEST_F(Crash, AnOlderMainFileUnderALeftLogIsRecognized) {
  std::filesystem::copy_file(path(), directory_ / "old.db");
  ASSERT_EQ(Shell("UPDATE plan SET wanted = 'paused' WHERE name = 'spring'"), "");
  CommitSomething();  // the pause is in the main file, and known to be
  CrashAfter(2);
  Put("old.db");
  {
    Store& store = Reopen();
    EXPECT_TRUE(store.opening().restored);
    EXPECT_THAT(store.opening().held, ElementsAre("spring"));
    EXPECT_TRUE(std::filesystem::exists(directory_ / "ota.db-wal.stale"));
    EXPECT_EQ(Plan(), "active\n");  // nothing of the other state
    EXPECT_EQ(Shell("SELECT count(*) FROM log; PRAGMA integrity_check"), "0\nok\n");
  }
  EXPECT_FALSE(Reopen().opening().restored);
}

TEST_F(Crash, ABackupUnderALeftLogIsRecognizedWhateverItsNumber) {
  CommitSomething();
  CrashAfter(2);
  ASSERT_EQ(Shell("VACUUM INTO '" + (directory_ / "backup.db").string() + "'", "kept/ota.db"), "");
  Put("backup.db");
  EXPECT_TRUE(Reopen().opening().restored);
  EXPECT_EQ(Shell("PRAGMA integrity_check"), "ok\n");
}

TEST_F(Crash, AnotherDatabaseUnderALeftLogIsRecognized) {
  std::filesystem::copy_file(path(), directory_ / "other.db");
  ASSERT_EQ(Shell("DROP TRIGGER engine_state_update; UPDATE engine_state SET commit_no = 99,"
                  " database_id = lower(hex(randomblob(16)));",
                  "other.db"),
            "");
  CrashAfter(2);
  Put("other.db");
  EXPECT_THAT(Reopen().opening().restored_reason, HasSubstr("replaced"));
  EXPECT_EQ(store_->commit_no(), 100);
}

TEST_F(Crash, AMarkerWithoutTheNumberOfTheMainFileIsUnderstood) {
  CrashAfter(2);
  const std::string text = Read(marker());
  std::ofstream(marker()) << text.substr(0, 53) << "\n";
  EXPECT_FALSE(Reopen().opening().restored);
  Close();
  EXPECT_EQ(Read(marker()), text.substr(0, 53) + " 00000000000000000003\n");
}

// A crash between a checkpoint and its line in the marker.
TEST_F(Crash, AMainFileThatIsNewerThanTheMarkerSaysIsNoRestore) {
  CrashAfter(2);
  ASSERT_EQ(Shell("PRAGMA wal_checkpoint").substr(0, 1), "0");
  EXPECT_FALSE(Reopen().opening().restored);
}

TEST_F(Crash, AMainFileThatMakesNoSenseAloneKeepsItsLog) {
  const auto page = [&](const char* table) {
    const std::string root = Shell(
        "SELECT rootpage FROM sqlite_schema WHERE name = '" + std::string(table) + "'", "old.db");
    return (std::stoll(root) - 1) * 4096;
  };
  std::filesystem::copy_file(path(), directory_ / "old.db");
  const std::string older =
      Read(path()).substr(static_cast<std::size_t>(page("engine_state")), 4096);
  CommitSomething();
  CrashAfter(2);
  // A checkpoint that a crash cut short: what is not whole in the file is in the log.
  WriteAt(path(), page("engine_state"), older);
  WriteAt(path(), page("log"), std::string(4096, '\0'));
  EXPECT_FALSE(Reopen().opening().restored);
  EXPECT_EQ(store_->commit_no(), 4);
  Close();
  EXPECT_EQ(Shell("SELECT count(*) FROM log; PRAGMA integrity_check"), "3\nok\n");
}

TEST_F(Crash, TheStoreChecksTheLogInBeforeItGrowsLarge) {
  Store& store = Reopen();
  core::LogEntry entry;
  entry.detail = std::string(4000, 'x');
  const std::string before = Read(marker()).substr(54);
  for (int index = 0; index < 20; ++index) {
    ASSERT_TRUE(store.Begin());
    for (int row = 0; row < 100; ++row) {
      ASSERT_TRUE(store.Log(entry, {}, At(1)));
    }
    ASSERT_TRUE(store.Commit(At(1)));
  }
  EXPECT_LT(store.WalBytes(), 6 << 20);
  EXPECT_GT(Read(marker()).substr(54), before);
}

TEST_F(Crash, ACheckpointOfAnotherProgramIsNoticed) {
  Store& store = Reopen();
  const auto commit = [&] {
    ASSERT_TRUE(store.Begin());
    ASSERT_TRUE(store.Log({}, {}, At(1)));
    ASSERT_TRUE(store.Commit(At(1)));
  };
  commit();
  commit();
  const std::string before = Read(marker()).substr(54);
  ASSERT_EQ(Shell("PRAGMA wal_checkpoint").substr(0, 1), "0");
  commit();
  EXPECT_GT(Read(marker()).substr(54), before);
}

// With durability=... off the marker must never be ahead of what a power cut leaves.
TEST_F(Crash, WithoutDurabilityTheMarkerWaitsForACheckpoint) {
  Options options;
  options.durable = false;
  core::Result<std::unique_ptr<Store>> opened = TryOpen(options);
  ASSERT_TRUE(opened);
  Store& store = **opened;
  const std::string before = Read(marker());
  ASSERT_TRUE(store.Begin());
  ASSERT_TRUE(store.Log({}, {}, At(1)));
  ASSERT_TRUE(store.Commit(At(1)));
  EXPECT_EQ(Read(marker()), before);
  opened->reset();
  EXPECT_NE(Read(marker()), before);
  EXPECT_FALSE(Reopen().opening().restored);
}

TEST_F(Crash, ARestoreAtAnEarlyClockDoesNotLowerTheTimeOfTheLastCommit) {
  std::filesystem::remove(marker());
  ASSERT_TRUE(Reopen().opening().restored);  // opened at 1,000,000; the last commit: 2,000,000
  EXPECT_EQ(Shell("SELECT commit_ms FROM engine_state"), "2000000\n");
}

// -- migrations

std::string SchemaOf(const std::filesystem::path& file) {
  SQLite::Database database(file.string(), SQLite::OPEN_READONLY);
  std::string text;
  SQLite::Statement rows(database,
                         "SELECT type, name, tbl_name, sql FROM sqlite_schema"
                         " WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name");
  while (rows.executeStep()) {
    for (int column = 0; column < 4; ++column) {
      text += rows.getColumn(column).getString() + "|";
    }
    text += "\n";
  }
  return text;
}

TEST_F(Open, TheReadableSchemaIsWhatTheStepsGive) {
  Reopen();
  Close();
  ASSERT_EQ(Shell(Read(std::string(OTA_SOURCE_DIR) + "/schema/schema.sql"), "whole.db"), "");
  EXPECT_EQ(SchemaOf(path()), SchemaOf(directory_ / "whole.db")) << "run scripts/schema.sh";
  const std::string rows =
      "SELECT * FROM profile; SELECT * FROM before_insert; SELECT * FROM dialect;"
      "SELECT * FROM sqlite_stat1;";
  EXPECT_EQ(Shell(rows), Shell(rows, "whole.db"));
}

TEST_F(Open, StepsAreNumberedFromOneWithoutAGap) {
  int number = 0;
  for (const Step& step : SchemaSteps()) {
    EXPECT_EQ(step.number, ++number);
  }
  EXPECT_EQ(SchemaVersion(), number);
}

class Migrations : public Open {
 protected:
  core::Result<Migration> Run(std::span<const Step> steps) {
    SQLite::Database database(path().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    return Migrate(database, path(), steps);
  }
};

constexpr std::array<Step, 2> kGood = {
    {{1, "one", "CREATE TABLE a(x);"}, {2, "two", "CREATE TABLE b(x);"}}};

TEST_F(Migrations, ACopyIsMadeBeforeTheFirstMissingStep) {
  ASSERT_TRUE(Run(std::span(kGood).first(1)));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "ota.db.v0.bak"));
  Shell("INSERT INTO a VALUES (42);");
  core::Result<Migration> migration = Run(kGood);
  ASSERT_TRUE(migration);
  EXPECT_EQ(migration->from, 1);
  EXPECT_EQ(migration->backup, directory_ / "ota.db.v1.bak");
  EXPECT_EQ(Mode(migration->backup), 0640U);
  EXPECT_EQ(Shell("SELECT x FROM a; PRAGMA user_version; PRAGMA integrity_check", "ota.db.v1.bak"),
            "42\n1\nok\n");
  EXPECT_EQ(Shell("PRAGMA user_version"), "2\n");
  ASSERT_TRUE(Run(kGood));
}

TEST_F(Migrations, AStepThatFailsHalfwayLeavesTheOldVersion) {
  ASSERT_TRUE(Run(std::span(kGood).first(1)));
  constexpr std::array<Step, 2> kBad = {
      {kGood[0],
       {2, "bad", "CREATE TABLE b(x); INSERT INTO a VALUES (1); INSERT INTO none VALUES (1);"}}};
  core::Result<Migration> migration = Run(kBad);
  ASSERT_FALSE(migration);
  EXPECT_THAT(migration.error().message, HasSubstr("step 2 (bad)"));
  EXPECT_EQ(Shell("PRAGMA user_version; SELECT count(*) FROM a; SELECT name FROM sqlite_schema"),
            "1\n0\na\n");
}

TEST_F(Migrations, AStepThatBreaksAReferenceLeavesTheOldVersion) {
  constexpr std::array<Step, 2> kBad = {
      {{1, "one", "CREATE TABLE a(x PRIMARY KEY); CREATE TABLE c(y REFERENCES a(x));"},
       {2, "bad", "INSERT INTO c VALUES (1);"}}};
  core::Result<Migration> migration = Run(kBad);
  ASSERT_FALSE(migration);
  EXPECT_THAT(migration.error().message, HasSubstr("rows of table 'c' refer to nothing"));
  EXPECT_EQ(Shell("PRAGMA user_version; SELECT count(*) FROM c"), "1\n0\n");
}

TEST_F(Open, ADatabaseOfTheFirstStepIsMigratedAndKeepsItsRows) {
  {
    SQLite::Database database(path().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    ASSERT_TRUE(Migrate(database, path(), SchemaSteps().first(1)));
  }
  Shell("INSERT INTO product(name) VALUES ('old');");
  Store& store = Reopen();
  EXPECT_EQ(store.opening().migrated_from, 1);
  EXPECT_EQ(store.opening().backup, directory_ / "ota.db.v1.bak");
  EXPECT_FALSE(store.opening().created);
  EXPECT_NE((*store.LoadCatalogue())->FindProduct("old"), nullptr);
}

// -- locks of others

TEST_F(Open, WaitingForAnothersLockEndsWhenToldTo) {
  Reopen();
  Close();
  int asked = 0;
  Options options;
  options.wait = [&](core::Duration waited) {
    ++asked;
    return waited < core::Duration(40);
  };
  core::Result<std::unique_ptr<Store>> store = TryOpen(options);
  ASSERT_TRUE(store);
  // Another process with the write lock: a shell that waits for its input.
  FILE* shell = ::popen(
      ("sqlite3 -batch '" + path().string() + "' >'" + (directory_ / "out").string() + "'").c_str(),
      "w");
  ASSERT_NE(shell, nullptr);
  std::fputs("BEGIN IMMEDIATE; SELECT 'locked';\n.system touch '", shell);
  std::fputs((directory_ / "ready").c_str(), shell);
  std::fputs("'\n", shell);
  std::fflush(shell);
  while (!std::filesystem::exists(directory_ / "ready")) {
    std::this_thread::yield();
  }
  const Status begun = (*store)->Begin();
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, core::ErrorCode::kUnavailable);
  EXPECT_THAT(begun.error().message, HasSubstr("another program holds its lock"));
  EXPECT_GT(asked, 3);
  ::pclose(shell);
  EXPECT_TRUE((*store)->Begin());
  EXPECT_TRUE((*store)->Commit(At(1)));
}

}  // namespace
}  // namespace ota::store
