// Rows <-> values: what is saved is what is loaded, through indexes, in transactions that keep
// their promises.
#include <signal.h>
#include <sys/resource.h>

#include <gmock/gmock.h>

#include "core/names.h"
#include "store/fixture.h"
#include "store/statements.h"

namespace ota::store {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class Rows : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    Place(kPeople);
    Reopen();
    Load();
  }
  void Load() {
    core::Result<std::shared_ptr<const Catalogue>> loaded = store_->LoadCatalogue();
    ASSERT_TRUE(loaded) << loaded.error().message;
    catalogue_ = *loaded;
  }
  void Save(core::Decision& decision) {
    ASSERT_TRUE(store_->Begin());
    const Status saved = store_->Save(decision, At(77));
    ASSERT_TRUE(saved) << saved.error().message;
    ASSERT_TRUE(store_->Commit(At(78)));
  }
  core::Device Register(const std::string& name, const std::string& product = "thermo") {
    core::Decision decision;
    decision.device.key = {product, name};
    decision.device_changed = true;
    Save(decision);
    return decision.device;
  }
  core::Task NewTask(const std::string& name, const std::string& plan) {
    core::Task task;
    task.name = name;
    task.plan = catalogue_->FindPlan(plan);
    task.created = At(5);
    return task;
  }
  // A second plan in force.
  void Activate(const std::string& plan) {
    ASSERT_EQ(Shell("UPDATE plan SET wanted = 'active' WHERE name = '" + plan + "'"), "");
    Load();
  }
  std::shared_ptr<const Catalogue> catalogue_;
};

TEST_F(Rows, EveryFieldOfADeviceComesBack) {
  core::Decision decision;
  core::Device& device = decision.device;
  device.key = {"thermo", "d1"};
  device.boot_id = "boot";
  device.battery = 55;
  device.signal = -70;
  device.free_bytes = 1LL << 40;
  device.lang = "de";
  device.max_bytes = 999;
  device.sleep = seconds(60);
  device.registered = At(1);
  device.seen = At(2);
  device.reported = At(3);
  device.installed = {{"main", "1.0", false, At(4)}, {"radio", "1.5", true, At(5)}};
  decision.device_changed = decision.installed_changed = true;
  Save(decision);
  EXPECT_GT(device.id, 0);
  for (int round = 0; round < 2; ++round) {
    core::Result<KnownDevice> known = store_->LoadDevice(device.key);
    ASSERT_TRUE(known);
    EXPECT_TRUE(known->configured);
    const core::Device& loaded = known->device;
    EXPECT_EQ(loaded.id, device.id);
    EXPECT_EQ(loaded.key, device.key);
    EXPECT_EQ(loaded.boot_id, device.boot_id);
    EXPECT_EQ(loaded.battery, device.battery);
    EXPECT_EQ(loaded.signal, device.signal);
    EXPECT_EQ(loaded.free_bytes, device.free_bytes);
    EXPECT_EQ(loaded.lang, device.lang);
    EXPECT_EQ(loaded.max_bytes, device.max_bytes);
    EXPECT_EQ(loaded.sleep, device.sleep);
    EXPECT_EQ(loaded.registered, device.registered);
    EXPECT_EQ(loaded.seen, device.seen);
    EXPECT_EQ(loaded.reported, device.reported);
    EXPECT_EQ(loaded.installed, device.installed);
    // The second round: an update that changes everything, one component gone and one new.
    device.boot_id = "next";
    device.battery.reset();
    device.signal.reset();
    device.free_bytes.reset();
    device.lang = "";
    device.max_bytes = 4096;
    device.sleep = seconds(0);
    device.registered = At(11);
    device.seen = At(12);
    device.reported = At(13);
    device.installed = {{"main", "2.0", true, At(14)}, {"zone", "1", false, At(15)}};
    Save(decision);
  }
}

TEST_F(Rows, AnUnknownDeviceHasNoId) {
  core::Result<KnownDevice> known = store_->LoadDevice({"thermo", "never"});
  ASSERT_TRUE(known);
  EXPECT_EQ(known->device.id, 0);
  EXPECT_FALSE(known->configured);
  ASSERT_EQ(
      Shell(
          "INSERT INTO device(product, name, disabled, retired) VALUES ('thermo', 'never', 1, 1)"),
      "");
  known = store_->LoadDevice({"thermo", "never"});
  EXPECT_TRUE(known->configured && known->device.disabled && known->retired);
  EXPECT_EQ(known->device.id, 0);
}

TEST_F(Rows, ChangedVersionsAreWrittenAlone) {
  core::Decision decision;
  decision.device = Register("d1");
  const core::Device before = decision.device;
  core::Device& device = decision.device;
  device.installed = {{"main", "1.0", false, At(4)}};
  device.seen = At(900);
  device.reported = At(901);
  device.battery = 3;
  device.signal = -80;
  device.free_bytes = 12;
  decision.installed_changed = true;
  Save(decision);
  const core::Device loaded = store_->LoadDevice(device.key)->device;
  EXPECT_EQ(loaded.installed, device.installed);
  EXPECT_EQ(loaded.seen, before.seen);
  EXPECT_EQ(loaded.reported, before.reported);
  EXPECT_EQ(loaded.battery, before.battery);
  EXPECT_EQ(loaded.signal, before.signal);
  EXPECT_EQ(loaded.free_bytes, before.free_bytes);
}

TEST_F(Rows, SeenIsWrittenAlone) {
  core::Device device = Register("d1");
  device.seen = At(900);
  device.battery = 3;
  device.lang = "not written";
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->SaveSeen(std::span(&device, 1)));
  ASSERT_TRUE(store_->Commit(At(1)));
  const core::Device loaded = store_->LoadDevice(device.key)->device;
  EXPECT_EQ(loaded.seen, At(900));
  EXPECT_EQ(loaded.battery, 3);
  EXPECT_EQ(loaded.lang, "");
}

void ExpectSame(const core::Task& left, const core::Task& right) {
  EXPECT_EQ(left.id, right.id);
  EXPECT_EQ(left.name, right.name);
  EXPECT_EQ(left.plan, right.plan);
  EXPECT_EQ(left.state, right.state);
  EXPECT_EQ(left.reason, right.reason);
  EXPECT_EQ(left.detail, right.detail);
  EXPECT_EQ(left.code, right.code);
  EXPECT_EQ(left.owes_cancel, right.owes_cancel);
  EXPECT_EQ(left.offers, right.offers);
  EXPECT_EQ(left.retries, right.retries);
  EXPECT_EQ(left.deadline, right.deadline);
  EXPECT_EQ(left.created, right.created);
  EXPECT_EQ(left.offered, right.offered);
  EXPECT_EQ(left.ended, right.ended);
  ASSERT_EQ(left.components.size(), right.components.size());
  for (std::size_t index = 0; index < left.components.size(); ++index) {
    const core::TaskComponent& one = left.components[index];
    const core::TaskComponent& two = right.components[index];
    EXPECT_EQ(one.name, two.name);
    EXPECT_EQ(one.state, two.state);
    EXPECT_EQ(one.source, two.source);
    EXPECT_EQ(one.target, two.target);
    EXPECT_EQ(one.package, two.package);
    EXPECT_EQ(one.attempt, two.attempt);
    EXPECT_EQ(one.percent, two.percent);
    EXPECT_EQ(one.progress, two.progress);
    EXPECT_EQ(one.installing, two.installing);
    EXPECT_EQ(one.boot_id, two.boot_id);
    EXPECT_EQ(one.full, two.full);
    EXPECT_EQ(one.returned, two.returned);
  }
  EXPECT_EQ(left.position, right.position);
  EXPECT_EQ(left.progressed, right.progressed);
}

TEST_F(Rows, EveryFieldOfATaskComesBack) {
  core::Decision decision;
  decision.device = Register("d1");
  core::Task task = NewTask("t1234567", "spring");
  task.components = {{"main", core::ComponentState::kPending, "1.0", "2.0",
                      core::PackageKind::kDelta, 0, -1, std::nullopt, false, ""},
                     {"radio", core::ComponentState::kSkipped, "", "2.0", core::PackageKind::kFull,
                      0, -1, std::nullopt, false, ""}};
  decision.tasks = {task};
  Save(decision);
  EXPECT_GT(decision.tasks[0].id, 0);
  core::Result<DeviceTasks> tasks = store_->LoadTasks(decision.device, *catalogue_);
  ASSERT_TRUE(tasks);
  ASSERT_THAT(tasks->queued, SizeIs(1));
  ExpectSame(tasks->queued[0], decision.tasks[0]);
  EXPECT_TRUE(tasks->queued[0].listed_white);
  EXPECT_FALSE(tasks->queued[0].listed_black);

  core::Task& changed = decision.tasks[0];
  changed.state = core::TaskState::kWaiting;
  changed.reason = core::Reason::kNotYet;
  changed.detail = "later";
  changed.code = -3;
  changed.offers = 2;
  changed.retries = 1;
  changed.deadline = At(500);
  changed.offered = At(400);
  changed.position = -(std::int64_t{1} << 62);
  changed.progressed = At(450);
  changed.components = {{"main", core::ComponentState::kCurrent, "1.1", "2.1",
                         core::PackageKind::kFull, 2, 30, core::ProgressState::kWaiting, true, "b",
                         true, At(480)}};
  Save(decision);
  tasks = store_->LoadTasks(decision.device, *catalogue_);
  ASSERT_TRUE(tasks && tasks->open);
  ExpectSame(*tasks->open, changed);
  EXPECT_THAT(tasks->queued, IsEmpty());

  changed.state = core::TaskState::kCanceled;
  changed.owes_cancel = true;
  changed.ended = At(600);
  Save(decision);
  tasks = store_->LoadTasks(decision.device, *catalogue_);
  ASSERT_THAT(tasks->cancels, SizeIs(1));
  ExpectSame(tasks->cancels[0], changed);
  EXPECT_FALSE(tasks->open);

  changed.owes_cancel = false;
  changed.deadline.reset();
  Save(decision);
  tasks = store_->LoadTasks(decision.device, *catalogue_);
  EXPECT_THAT(tasks->cancels, IsEmpty());
  core::Result<std::optional<core::Task>> named =
      store_->LoadTask("t1234567", decision.device, *catalogue_);
  ASSERT_TRUE(named && *named);
  ExpectSame(**named, changed);
  // Of this device only, and of this name only.
  EXPECT_FALSE(*store_->LoadTask("t1234567", Register("d2"), *catalogue_));
  EXPECT_FALSE(*store_->LoadTask("T1234567", decision.device, *catalogue_));
  EXPECT_TRUE(*store_->HasTask("spring", decision.device.id));
  EXPECT_FALSE(*store_->HasTask("draft", decision.device.id));
  EXPECT_EQ((*store_->LoadTask("t1234567", decision.device, Catalogue{}))->plan->wanted,
            core::Wanted::kCanceled);
}

TEST_F(Rows, EveryStateReasonAndProgressCanBeStored) {
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t", "spring")};
  core::Task& task = decision.tasks[0];
  task.components = {{"main", core::ComponentState::kPending, "", "2", core::PackageKind::kFull, 0,
                      -1, std::nullopt, false, ""}};
  const auto check = [&] {
    Save(decision);
    core::Result<std::optional<core::Task>> loaded =
        store_->LoadTask("t", decision.device, *catalogue_);
    ASSERT_TRUE(loaded && *loaded);
    ExpectSame(**loaded, task);
  };
  for (int value = 0; value <= static_cast<int>(core::TaskState::kCanceled); ++value) {
    task.state = static_cast<core::TaskState>(value);
    check();
  }
  for (int value = 0; value <= static_cast<int>(core::Reason::kNoFullProgress); ++value) {
    task.reason = static_cast<core::Reason>(value);
    check();
  }
  for (int value = 0; value <= static_cast<int>(core::ProgressState::kFailed); ++value) {
    task.components[0].progress = static_cast<core::ProgressState>(value);
    check();
  }
  for (int value = 0; value <= static_cast<int>(core::ComponentState::kSkipped); ++value) {
    task.components[0].state = static_cast<core::ComponentState>(value);
    check();
  }
}

TEST_F(Rows, OneTaskEndsAndTheNextOpensInOneDecision) {
  Activate("draft");
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t1", "spring"), NewTask("t2", "draft")};
  decision.tasks[0].state = core::TaskState::kOffered;
  Save(decision);
  // The next one stands before the one that makes room for it.
  std::swap(decision.tasks[0], decision.tasks[1]);
  decision.tasks[0].state = core::TaskState::kOffered;
  decision.tasks[1].state = core::TaskState::kSucceeded;
  decision.tasks[1].ended = At(9);
  Save(decision);
  EXPECT_EQ(store_->LoadTasks(decision.device, *catalogue_)->open->name, "t2");
}

TEST_F(Rows, TheDatabaseRefusesASecondOpenTask) {
  Activate("draft");
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t1", "spring"), NewTask("t2", "draft")};
  decision.tasks[0].state = core::TaskState::kOffered;
  decision.tasks[1].state = core::TaskState::kWaiting;
  ASSERT_TRUE(store_->Begin());
  const Status saved = store_->Save(decision, At(1));
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, core::ErrorCode::kConflict);
  store_->Rollback();
}

TEST_F(Rows, QueuedTasksComeByPriorityAndThenByOrder) {
  ASSERT_EQ(Shell("UPDATE profile SET dynamic_unique = 'none';"
                  "UPDATE plan SET priority = 5 WHERE name = 'draft';"
                  "INSERT INTO plan(name, product) VALUES ('a', 'thermo');"
                  "INSERT INTO plan_component(plan, seq, component, full) VALUES ('a', 1, 'main', "
                  "'main-2');"
                  "UPDATE plan SET wanted = 'active' WHERE name IN ('a', 'draft');"),
            "");
  ASSERT_TRUE(store_->Begin());
  for (const char* plan : {"spring", "a", "draft"}) {
    ASSERT_TRUE(store_->SavePlanState({plan, PlanPhase::kActive, "", 0, At(1), 0, false, {}}));
  }
  ASSERT_TRUE(store_->Commit(At(1)));
  Load();
  std::vector<std::string> in_force;
  for (const auto& plan : catalogue_->FindProduct("thermo")->in_force) {
    in_force.push_back(plan->name);
  }
  EXPECT_THAT(in_force, ElementsAre("draft", "spring", "a"));
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t1", "a"), NewTask("t2", "spring"), NewTask("t3", "draft")};
  Save(decision);
  core::Result<DeviceTasks> tasks = store_->LoadTasks(decision.device, *catalogue_);
  EXPECT_THAT(tasks->queued,
              ElementsAre(Field(&core::Task::name, "t3"), Field(&core::Task::name, "t2"),
                          Field(&core::Task::name, "t1")));
}

TEST_F(Rows, TheLogKeepsEveryFieldAndCarriesTheDevice) {
  core::Decision decision;
  decision.device.key = {"thermo", "nobody"};
  decision.log = {{"t", "spring", "main", "progress", "accepted", "downloading",
                   core::Reason::kDeviceFailed, 2, "50 %"}};
  Save(decision);
  EXPECT_EQ(decision.device.id, 0);
  EXPECT_EQ(Shell("SELECT at_ms, product, device, plan, task, component, event, old_state, "
                  "new_state, reason,"
                  " attempt, detail FROM log"),
            "77|thermo|nobody|spring|t|main|progress|accepted|downloading|" +
                std::string(core::Name(core::Reason::kDeviceFailed)) + "|2|50 %\n");
}

TEST_F(Rows, ALogOfManyLinesIsInTheirOrderHoweverManyAreWrittenAtOnce) {
  std::string expected;
  ASSERT_TRUE(store_->Begin());
  for (int n = 1; n <= 19; ++n) {
    const std::string number = std::to_string(n);
    ASSERT_TRUE(store_->Log({"t" + number, "plan" + number, "main", "progress", "a", "b",
                             core::Reason::kDeviceFailed, n, "line " + number},
                            {"thermo", "d" + number}, At(n)));
    expected += number + "|thermo|d" + number + "|plan" + number + "|t" + number +
                "|main|progress|a|b|" + std::string(core::Name(core::Reason::kDeviceFailed)) + "|" +
                number + "|line " + number + "\n";
  }
  ASSERT_TRUE(store_->Commit(At(19)));
  EXPECT_EQ(Shell("SELECT at_ms, product, device, plan, task, component, event, old_state, "
                  "new_state, reason, attempt, detail FROM log ORDER BY id"),
            expected);
}

TEST_F(Rows, LinesOfWhatIsUndoneAreNotWritten) {
  const auto log = [this](const char* event) {
    core::LogEntry entry;
    entry.event = event;
    ASSERT_TRUE(store_->Log(entry, {"thermo", "d"}, At(1)));
  };
  ASSERT_TRUE(store_->Begin());
  log("whole");
  store_->Rollback();
  ASSERT_TRUE(store_->Begin(true));
  for (const char* event : {"kept", "lost", "kept later"}) {
    auto one = store_->BeginEvent();
    ASSERT_TRUE(one);
    for (int line = 0; line < 5; ++line) {
      log(event);
    }
    if (std::string(event) != "lost") {
      ASSERT_TRUE(one->Keep());
    }
  }
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(Shell("SELECT event, count(*) FROM log GROUP BY event ORDER BY min(id)"),
            "kept|5\nkept later|5\n");
}

// -- catalogue

TEST_F(Rows, ThePlanComesWithAllThatHangsOnIt) {
  const std::shared_ptr<const core::Plan> plan = catalogue_->FindPlan("spring");
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->wanted, core::Wanted::kActive);
  EXPECT_FALSE(plan->held);
  EXPECT_EQ(plan->end, At(9000000));
  EXPECT_EQ(plan->timeouts.offer, seconds(86400));
  EXPECT_EQ(plan->timeouts.longest, seconds(604800));
  EXPECT_EQ(plan->retry.interval, seconds(600));
  EXPECT_EQ(plan->texts.at("en"), "Spring");
  EXPECT_EQ(plan->tags.at("k"), "v");
  ASSERT_THAT(plan->components, SizeIs(2));
  const core::PlanComponent& main = plan->components[0];
  EXPECT_EQ(main.name, "main");
  EXPECT_EQ(main.target, "2.0");
  EXPECT_THAT(main.sources, ElementsAre("1.0", "1.1"));
  ASSERT_TRUE(main.full && main.delta);
  ASSERT_THAT(main.full->sets, SizeIs(1));
  ASSERT_THAT(main.delta->sets, SizeIs(2));
  EXPECT_EQ(main.delta->sets[1].source, "1.1");
  EXPECT_FALSE(main.full->sets[0].ready);
  EXPECT_EQ(main.full->sets[0].problem, "file 'thermo/main-2.bin': is being hashed");
  EXPECT_EQ(main.full->sets[0].files[0].name, "main-2.bin");
  EXPECT_EQ(plan->components[1].name, "radio");
  EXPECT_EQ(catalogue_->FindPlan("draft"), nullptr);
  EXPECT_EQ(catalogue_->FindProduct("pump")->components.count("main"), 1U);
}

TEST_F(Rows, AFileIsReadyWhenItWasHashedAndIsTheExpectedOne) {
  ASSERT_TRUE(store_->Begin());
  core::Result<std::vector<PackageFile>> files = store_->PackageFiles();
  ASSERT_TRUE(files);
  ASSERT_THAT(*files, SizeIs(5));
  PackageFile file = files->at(0);
  EXPECT_EQ(file.id, 0);
  EXPECT_EQ(file.path, "thermo/main-2.bin");
  EXPECT_EQ(file.profile, "default");
  EXPECT_EQ(file.limit_bytes, 1'048'576'000);
  file.state = FileState::kReady;
  file.bytes = 10;
  file.sha256 = std::string(64, 'a');
  file.md5 = std::string(32, 'b');
  file.inode = 1;
  file.mtime_ns = 2;
  file.ctime_ns = 3;
  file.checked = At(4);
  const std::int64_t id = *store_->SavePackageState(file);
  ASSERT_TRUE(store_->Commit(At(1)));
  Load();
  const core::FileSet& set = catalogue_->FindPlan("spring")->components[0].full->sets[0];
  EXPECT_TRUE(set.ready) << set.problem;
  EXPECT_EQ(set.files[0].id, id);
  EXPECT_EQ(set.files[0].bytes, 10);
  EXPECT_EQ(set.files[0].sha256, file.sha256);
  EXPECT_EQ(set.files[0].md5, file.md5);
  const PackageFile again = store_->PackageFiles()->at(0);
  EXPECT_EQ(std::tuple(again.id, again.state, again.bytes, again.inode, again.mtime_ns,
                       again.ctime_ns, again.checked),
            std::tuple(id, file.state, file.bytes, file.inode, file.mtime_ns, file.ctime_ns,
                       file.checked));

  // Refused and ready again: the same id. Another content: another one, and no id comes back.
  ASSERT_TRUE(store_->Begin());
  PackageFile refused = file;
  refused.state = FileState::kRefused;
  refused.problem = "package file 'thermo/main-2.bin': is empty";
  EXPECT_EQ(*store_->SavePackageState(refused), id);
  ASSERT_TRUE(store_->Commit(At(1)));
  Load();
  EXPECT_EQ(catalogue_->FindPlan("spring")->components[0].full->sets[0].problem,
            "package file 'thermo/main-2.bin': is empty");
  ASSERT_TRUE(store_->Begin());
  file.sha256 = std::string(64, 'c');
  const std::int64_t next = *store_->SavePackageState(file);
  EXPECT_GT(next, id);
  ASSERT_TRUE(store_->Commit(At(1)));
}

TEST_F(Rows, WhatPeopleTakeOutIsForgotten) {
  ASSERT_EQ(
      Shell("INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'b')"), "");
  const auto bare = [&] {
    core::Result<std::vector<PackageFile>> files = store_->PackageFiles();
    for (const PackageFile& file : *files) {
      if (file.package == "bare") {
        return file;
      }
    }
    return PackageFile{};
  };
  ASSERT_TRUE(store_->Begin());
  const std::int64_t id = *store_->SavePackageState(bare());
  ASSERT_TRUE(store_->Commit(At(1)));
  // Another path under the same key was never looked at.
  ASSERT_EQ(Shell("UPDATE package_file SET path = 'c' WHERE package = 'bare'"), "");
  EXPECT_EQ(bare().id, 0);
  ASSERT_EQ(Shell("DELETE FROM package_file WHERE package = 'bare'"), "");
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->ForgetGoneFiles());
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(Shell("SELECT count(*) FROM package_state"), "0\n");
  ASSERT_EQ(
      Shell("INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'b')"), "");
  ASSERT_TRUE(store_->Begin());
  EXPECT_GT(*store_->SavePackageState(bare()), id);
  ASSERT_TRUE(store_->ForgetGoneFiles());
  ASSERT_TRUE(store_->Commit(At(1)));
}

TEST_F(Rows, APlanThatIsOverIsLoadedOnlyWhileItHasALiveTask) {
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t1", "spring")};
  Save(decision);
  ASSERT_EQ(Shell("UPDATE plan SET wanted = 'canceled' WHERE name = 'spring'"), "");
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(
      store_->SavePlanState({"spring", PlanPhase::kCanceled, "why", 0, At(1), 0, true, At(9)}));
  ASSERT_TRUE(store_->Commit(At(1)));
  Load();
  ASSERT_TRUE(catalogue_->FindPlan("spring"));
  EXPECT_THAT(catalogue_->FindProduct("thermo")->in_force, IsEmpty());
  const PlanState& state = *catalogue_->plans.at("spring").state;
  EXPECT_EQ(std::tuple(state.phase, state.reason, state.order, state.activated, state.scanned,
                       state.ended),
            std::tuple(PlanPhase::kCanceled, std::string("why"), std::int64_t{1}, At(1), true,
                       std::optional(At(9))));
  decision.tasks[0].state = core::TaskState::kCanceled;
  decision.tasks[0].ended = At(5);
  Save(decision);
  Load();
  EXPECT_FALSE(catalogue_->FindPlan("spring"));
}

TEST_F(Rows, AnEndedPlanStaysEnded) {
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(
      store_->SavePlanState({"spring", PlanPhase::kEnded, "", 0, At(1), 0, true, At(9000001)}));
  ASSERT_TRUE(store_->Commit(At(1)));
  for (const char* sql : {"UPDATE plan SET end_ms = 9999999 WHERE name = 'spring'",
                          "UPDATE plan SET end_ms = NULL WHERE name = 'spring'",
                          "INSERT INTO plan(name, product, end_ms) VALUES ('spring', 'thermo', 7)"
                          " ON CONFLICT(name) DO UPDATE SET end_ms = excluded.end_ms"}) {
    EXPECT_THAT(Shell(sql), HasSubstr("the plan has ended; make a new plan")) << sql;
  }
  EXPECT_EQ(Shell("UPDATE plan SET end_ms = 9000000, wanted = 'paused' WHERE name = 'spring'"), "");
  Load();
  EXPECT_FALSE(catalogue_->FindPlan("spring"));
}

TEST_F(Rows, APlanHasEverythingThatItsRowsSay) {
  ASSERT_EQ(Shell("UPDATE plan SET wanted = 'canceled' WHERE name = 'spring';"
                  "INSERT INTO plan(name, product, kind, scope_kind, percent, trigger, start_ms,"
                  " end_ms, at_end, zone, window_from, window_to, rate, max_open, bytes_per_second,"
                  " max_age_s, unknown, override, strict_progress, timeout_s, halt_percent)"
                  " VALUES ('full', 'thermo', 'batch', 'static', 25, 'request', 11, 99000000,"
                  " 'force', 'Europe/Berlin', '22:30', '24:00', 600, 50, 1000000, 3600, 'wait', 1,"
                  " 1, 600, 40);"
                  "INSERT INTO plan_component(plan, seq, component, full)"
                  " VALUES ('full', 1, 'main', 'main-2');"
                  "INSERT INTO plan_match VALUES ('full', 'site', 'b'), ('full', 'site', 'a');"
                  "INSERT INTO plan_retry VALUES ('full', 'download_timeout');"
                  "UPDATE profile SET grace_s = 7, halt_failures = 9, loop_max = 4,"
                  " quarantine_s = 60, fails_when_busy = 1 WHERE name = 'default';"
                  "UPDATE plan SET wanted = 'active' WHERE name = 'full'"),
            "");
  ASSERT_TRUE(store_->Begin());
  PlanState saved{"full", PlanPhase::kActive, "", 0, At(1), 5, false, {}};
  saved.last_device_id = 77;
  ASSERT_TRUE(store_->SavePlanState(saved));
  saved.halted = "3 failed";
  saved.base_failed = 2;
  saved.base_ended = 3;
  ASSERT_TRUE(store_->SaveHalt(saved));
  saved.members = 40;
  saved.picked = 10;
  ASSERT_TRUE(store_->SaveScan(saved));
  ASSERT_TRUE(store_->Commit(At(1)));
  Load();
  const core::Plan& plan = *catalogue_->FindPlan("full");
  EXPECT_EQ(plan.scope_kind, core::ScopeKind::kStatic);
  EXPECT_EQ(plan.percent, 25);
  EXPECT_EQ(plan.trigger, core::Trigger::kRequest);
  EXPECT_EQ(plan.start, At(11));
  EXPECT_EQ(plan.at_end, core::AtEnd::kForce);
  ASSERT_TRUE(plan.window);
  EXPECT_EQ(plan.window->zone, "Europe/Berlin");
  EXPECT_EQ(plan.window->from, std::chrono::minutes(22 * 60 + 30));
  EXPECT_EQ(plan.window->to, std::chrono::minutes(24 * 60));
  EXPECT_EQ(plan.rate, 600);
  EXPECT_EQ(plan.max_open, 50);
  EXPECT_EQ(plan.bytes_per_second, 1'000'000);
  EXPECT_EQ(plan.conditions.max_age, seconds(3600));
  EXPECT_TRUE(plan.conditions.unknown_waits);
  EXPECT_TRUE(plan.overrides && plan.strict_progress && plan.fails_when_busy);
  EXPECT_EQ(plan.grace, seconds(7));
  EXPECT_EQ(plan.timeout, seconds(600));
  EXPECT_EQ(plan.halt.failures, 9) << "the profile's";
  EXPECT_EQ(plan.halt.percent, 40) << "the plan's own";
  EXPECT_EQ(plan.halt.sample, 10);
  EXPECT_EQ(plan.loop.max, 4);
  EXPECT_EQ(plan.loop.quarantine, seconds(60));
  EXPECT_EQ(plan.match, (std::map<std::string, std::vector<std::string>>{{"site", {"a", "b"}}}));
  EXPECT_THAT(plan.retry.reasons, ElementsAre(core::Reason::kDownloadTimeout));
  EXPECT_TRUE(plan.halted);
  EXPECT_EQ(plan.halted_reason, "3 failed");
  const PlanState& state = *catalogue_->plans.at("full").state;
  EXPECT_EQ(std::tuple(state.base_failed, state.base_ended, state.last_device_id, state.members,
                       state.picked, state.scanned_id),
            std::tuple(2, 3, 77, 40, 10, 5));
  const ProductEntry& product = *catalogue_->FindProduct("thermo");
  EXPECT_TRUE(product.tags && product.scanning && !product.new_reports);
  EXPECT_FALSE(catalogue_->FindProduct("pump")->tags);
}

TEST_F(Rows, APlanWithoutLimitsHasNone) {
  const core::Plan& plan = *catalogue_->FindPlan("spring");
  EXPECT_FALSE(plan.rate || plan.max_open || plan.bytes_per_second || plan.window || plan.start ||
               plan.percent || plan.timeout);
  EXPECT_EQ(plan.scope_kind, core::ScopeKind::kDynamic);
  EXPECT_EQ(plan.halt.failures, 3);
}

// The downloads of a plan that is held, because the database was restored, are cut too.
TEST_F(Rows, DevicesInTheMiddleOfAHeldPlanAreHeld) {
  const std::int64_t d1 = Register("d1").id;
  const std::int64_t d2 = Register("d2").id;
  const auto as_engine = [&](const std::string& sql) {
    ASSERT_EQ(Shell("BEGIN IMMEDIATE; UPDATE engine_state SET writing = 1;" + sql +
                    "; UPDATE engine_state SET writing = 0; COMMIT;"),
              "");
    Load();
  };
  as_engine(
      "INSERT INTO plan_state(plan, state, \"order\", activated_ms) VALUES ('spring', 'active', 1, "
      "1);"
      "INSERT INTO task(name, plan, device_id, state, created_ms) VALUES ('t1', 'spring', " +
      std::to_string(d1) + ", 'downloading', 1), ('t2', 'spring', " + std::to_string(d2) +
      ", 'queued', 1)");
  EXPECT_FALSE(catalogue_->holds);
  EXPECT_THAT(*store_->HeldDevices(At(1)), ElementsAre());
  as_engine("UPDATE plan_state SET state = 'held'");
  EXPECT_TRUE(catalogue_->holds);
  EXPECT_THAT(*store_->HeldDevices(At(1)), ElementsAre(d1));
  as_engine("UPDATE plan_state SET state = 'active'");
  EXPECT_FALSE(catalogue_->holds);
}

TEST_F(Rows, TheWidestHoldInForceCounts) {
  const core::DeviceKey key{"thermo", "d1"};
  EXPECT_FALSE(catalogue_->holds);
  EXPECT_FALSE(*store_->LoadHold(key, At(0)));
  ASSERT_EQ(Shell("INSERT INTO hold(product, device, reason) VALUES ('thermo', 'd1', 'own');"
                  "INSERT INTO hold(product, until_ms, reason) VALUES ('thermo', 500, 'product');"
                  "INSERT INTO hold(until_ms, reason) VALUES (100, 'site');"),
            "");
  Load();
  EXPECT_TRUE(catalogue_->holds);
  const std::int64_t d1 = Register("d1").id;
  const std::int64_t d2 = Register("d2").id;
  const std::int64_t p1 = Register("d1", "pump").id;
  EXPECT_THAT(*store_->HeldDevices(At(99)), ElementsAre(d1, d2, p1));
  EXPECT_THAT(*store_->HeldDevices(At(100)), ElementsAre(d1, d2));
  EXPECT_THAT(*store_->HeldDevices(At(500)), ElementsAre(d1));
  EXPECT_EQ((*store_->LoadHold(key, At(99)))->reason, "site");
  EXPECT_EQ((*store_->LoadHold(key, At(100)))->reason, "product");
  EXPECT_EQ((*store_->LoadHold(key, At(100)))->until, At(500));
  EXPECT_EQ((*store_->LoadHold(key, At(500)))->reason, "own");
  EXPECT_FALSE(*store_->LoadHold({"thermo", "d2"}, At(500)));
  EXPECT_FALSE(*store_->LoadHold({"pump", "d1"}, At(500)));
  EXPECT_EQ(*store_->NextHoldEnd(At(99)), At(100));
  EXPECT_EQ(*store_->NextHoldEnd(At(100)), At(500));
  EXPECT_FALSE(*store_->NextHoldEnd(At(500)));
}

TEST_F(Rows, StreaksAreReplacedAsAWholeAndFoundWhenTheirTimeEnds) {
  core::Decision decision;
  decision.device = Register("d1");
  decision.streaks_changed = true;
  decision.streaks = {{"main", "2.0", 3, true, At(500)}, {"radio", "2.0", 1, false, {}}};
  Save(decision);
  EXPECT_EQ(store_->LoadDevice({"thermo", "d1"})->streaks, decision.streaks);
  EXPECT_EQ(*store_->NextStreakEnd(At(0)), At(500));
  EXPECT_THAT(*store_->StreaksEnded(At(0), At(499), 10), IsEmpty());
  EXPECT_THAT(*store_->StreaksEnded(At(499), At(500), 10), SizeIs(1));
  EXPECT_THAT(*store_->StreaksEnded(At(500), At(900), 10), IsEmpty());
  decision.streaks_changed = false;
  decision.streaks.clear();
  Save(decision);
  EXPECT_THAT(store_->LoadDevice({"thermo", "d1"})->streaks, SizeIs(2)) << "not asked to";
  decision.streaks_changed = true;
  Save(decision);
  EXPECT_THAT(store_->LoadDevice({"thermo", "d1"})->streaks, IsEmpty());
}

TEST_F(Rows, TagsAreLoadedWhenTheyAreAskedFor) {
  Register("d1");
  ASSERT_EQ(Shell("INSERT INTO device_tag VALUES ('thermo', 'd1', 'site', 'north')"), "");
  EXPECT_THAT(store_->LoadDevice({"thermo", "d1"})->device.tags, IsEmpty());
  EXPECT_EQ(store_->LoadDevice({"thermo", "d1"}, true)->device.tags,
            (std::map<std::string, std::string>{{"site", "north"}}));
}

TEST_F(Rows, MembersComeInTheOrderOfTheirHashWithWhatTheyHave) {
  std::vector<core::Device> devices;
  for (const char* name : {"d1", "d2", "d3"}) {
    core::Decision decision;
    decision.device.key = {"thermo", name};
    decision.device.installed = {{"main", "1.0", false, At(1)}};
    decision.installed_changed = true;
    Save(decision);
    devices.push_back(decision.device);
  }
  const core::Plan& plan = *catalogue_->FindPlan("spring");
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->AddMember("spring", 30, devices[0].id));
  ASSERT_TRUE(store_->AddMember("spring", 10, devices[1].id));
  ASSERT_TRUE(store_->AddMember("spring", 20, devices[2].id));
  ASSERT_TRUE(store_->AddLooked("spring", devices[2].id));
  core::Task task = NewTask("away", "spring");
  task.reason = core::Reason::kOffline;
  task.position = 5;
  task.components.emplace_back().name = "main";
  const std::vector<std::pair<DeviceRef, core::Task>> tasks = {
      {{devices[1].id, devices[1].key}, task}};
  ASSERT_TRUE(store_->AddTasks(tasks, At(1)));
  EXPECT_TRUE(*store_->IsMember("spring", 30, devices[0].id));
  EXPECT_FALSE(*store_->IsMember("spring", 31, devices[0].id));
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(*store_->CountMembers("spring"), 3);
  auto members = store_->MembersAfter(plan, -1, 0, 10);
  ASSERT_TRUE(members);
  ASSERT_THAT(*members, SizeIs(3));
  EXPECT_EQ(members->at(0).device.key.device, "d2");
  EXPECT_TRUE(members->at(0).has_task);
  EXPECT_EQ(members->at(1).device.key.device, "d3");
  EXPECT_TRUE(members->at(1).looked);
  EXPECT_THAT(members->at(2).device.installed, SizeIs(1));
  EXPECT_THAT(*store_->MembersAfter(plan, 20, devices[2].id, 10), SizeIs(1));
  EXPECT_EQ(*store_->CountTasks("spring", core::TaskState::kQueued), 1);
  auto queued = store_->QueuedDevices("spring", 0, 10);
  ASSERT_TRUE(queued);
  ASSERT_THAT(*queued, SizeIs(1));
  EXPECT_EQ(queued->at(0).reason, core::Reason::kOffline);
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->DropLooked("spring"));
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(*store_->CountMembers("spring"), 3);
  EXPECT_FALSE(store_->DevicesAfter(plan, 0, 10)->at(2).looked);
}

TEST_F(Rows, TasksThatWaitForThePaceComeInTheirOrder) {
  std::int64_t position = 9;
  for (const char* name : {"d1", "d2", "d3", "d4"}) {
    core::Decision decision;
    decision.device = Register(name);
    decision.tasks = {NewTask(std::string("t-") + name, "spring")};
    decision.tasks[0].position = position--;
    decision.tasks[0].reason = std::string_view(name) == "d3"   ? core::Reason::kOffline
                               : std::string_view(name) == "d2" ? core::Reason::kTooManyOpen
                                                                : core::Reason::kRate;
    Save(decision);
  }
  auto waiting = store_->WaitingDevices("spring", 10);
  ASSERT_TRUE(waiting);
  ASSERT_THAT(*waiting, SizeIs(3));
  EXPECT_EQ(waiting->at(0).key.device, "d4");
  EXPECT_EQ(waiting->at(1).key.device, "d2");
  EXPECT_EQ(waiting->at(2).key.device, "d1");
}

TEST_F(Rows, TheTableOfZonesIsMadeToBeTheOneGiven) {
  const auto set = [&](const std::vector<std::string>& names) {
    ASSERT_TRUE(store_->Begin());
    ASSERT_TRUE(store_->SetZones(names));
    ASSERT_TRUE(store_->Commit(At(1)));
  };
  set({"Europe/Berlin", "UTC"});
  EXPECT_EQ(Shell("SELECT name FROM zone"), "Europe/Berlin\nUTC\n");
  set({"Asia/Kolkata", "UTC"});
  EXPECT_EQ(Shell("SELECT name FROM zone"), "Asia/Kolkata\nUTC\n");
  const std::int64_t commits = store_->commit_no();
  set({"Asia/Kolkata", "UTC"});
  EXPECT_EQ(store_->commit_no(), commits) << "the same names write nothing";
}

// Another dialect is another row of the table in the code: no step of the schema.
TEST_F(Rows, AProductMayHaveADialectThatTheEngineKnows) {
  const char* insert = "INSERT INTO product(name, dialect) VALUES ('x', 'lwm2m')";
  EXPECT_NE(Shell(insert).find("there is no such dialect"), std::string::npos);
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->AddDialects({"alibaba", "lwm2m"}));
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(Shell("SELECT name FROM dialect"), "alibaba\nenos\nlwm2m\nnative\n");
  EXPECT_EQ(Shell(insert), "");
}

TEST_F(Rows, SettingsHaveDefaultsAndAreRead) {
  EXPECT_EQ(catalogue_->settings.log_days, 365);
  ASSERT_EQ(Shell("INSERT INTO setting VALUES ('log_days', '7'), ('download_bytes_per_second', "
                  "'5000000000')"),
            "");
  Load();
  EXPECT_EQ(catalogue_->settings.log_days, 7);
  EXPECT_EQ(catalogue_->settings.download_bytes_per_second, 5'000'000'000);
}

// -- slices, deadlines, what others did

TEST_F(Rows, SlicesGoThroughEveryDeviceOnce) {
  std::vector<core::Device> devices;
  for (const char* name : {"d1", "d2", "d9"}) {
    devices.push_back(Register(name));
  }
  Register("p1", "pump");
  ASSERT_EQ(Shell("INSERT INTO device(product, name, retired) VALUES ('thermo', 'd2', 1);"
                  "INSERT INTO plan_device(plan, device, rank) VALUES ('spring', 'later', 2)"),
            "");
  core::Decision decision;
  decision.device = devices[0];
  decision.tasks = {NewTask("t1", "spring")};
  Save(decision);
  const core::Plan& plan = *catalogue_->FindPlan("spring");
  core::Result<std::vector<Candidate>> slice = store_->DevicesAfter(plan, 0, 2);
  ASSERT_TRUE(slice);
  ASSERT_THAT(*slice, SizeIs(2));
  EXPECT_TRUE(slice->at(0).has_task && slice->at(0).listed.white && !slice->at(0).listed.black);
  EXPECT_EQ(slice->at(0).listed.rank, 1);
  EXPECT_TRUE(!slice->at(1).has_task && slice->at(1).device.retired);
  slice = store_->DevicesAfter(plan, slice->at(1).device.id, 2);
  ASSERT_THAT(*slice, SizeIs(1));
  EXPECT_EQ(slice->at(0).device.key, (core::DeviceKey{"thermo", "d9"}));
  EXPECT_TRUE(slice->at(0).listed.black && !slice->at(0).listed.white);

  EXPECT_THAT(*store_->LiveDevices("spring", 0, 10), SizeIs(1));
  EXPECT_EQ(*store_->CountDevices("thermo"), 3);
  EXPECT_EQ(*store_->RegisteredDevices(), 4);
  EXPECT_TRUE(store_->ListedIn("spring", "d1")->white);
  EXPECT_TRUE(store_->ListedIn("spring", "d9")->black);
  EXPECT_FALSE(store_->ListedIn("spring", "D9")->black);
}

TEST_F(Rows, DeadlinesAreFoundAndShifted) {
  EXPECT_FALSE(*store_->NextDeadline());
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t1", "spring")};
  decision.tasks[0].deadline = At(1000);
  Save(decision);
  EXPECT_EQ(*store_->NextDeadline(), At(1000));
  EXPECT_THAT(*store_->DueDevices(At(999), 10), IsEmpty());
  EXPECT_THAT(*store_->DueDevices(At(1000), 10), SizeIs(1));
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->ShiftDeadlines(core::Duration(500)));
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(*store_->NextDeadline(), At(1500));
}

TEST_F(Rows, EverythingOnTheScaleOfDeadlinesIsShifted) {
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t1", "spring")};
  core::Task& task = decision.tasks[0];
  task.state = core::TaskState::kInstalling;
  task.deadline = At(1000);
  task.progressed = At(700);
  task.components.emplace_back().name = "main";
  task.components[0].returned = At(800);
  Save(decision);
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->ShiftDeadlines(core::Duration(500)));
  ASSERT_TRUE(store_->Commit(At(1)));
  const auto open = store_->LoadTasks(decision.device, *catalogue_)->open;
  ASSERT_TRUE(open);
  EXPECT_EQ(open->progressed, At(1200));
  EXPECT_EQ(open->components[0].returned, At(1300));
}

TEST_F(Rows, WhatAnotherProcessDidIsSeen) {
  const std::int64_t version = *store_->DataVersion();
  EXPECT_EQ(*store_->DataVersion(), version);
  const std::int64_t last = store_->NewJournal(0, 1000)->back().id;
  ASSERT_EQ(Shell("UPDATE plan SET wanted = 'paused' WHERE name = 'spring';"
                  "INSERT INTO request(act, product, device, argument) VALUES ('cancel', 'thermo', "
                  "'d1', 'x')"),
            "");
  EXPECT_NE(*store_->DataVersion(), version);
  core::Result<std::vector<Change>> changes = store_->NewJournal(last, 10);
  ASSERT_THAT(*changes, SizeIs(2));
  EXPECT_THAT(changes->at(0), AllOf(Field(&Change::table, "plan"), Field(&Change::act, "update"),
                                    Field(&Change::key, "spring")));
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->SaveJournalDone(changes->back().id));
  core::Result<std::vector<Request>> requests = store_->NewRequests(10);
  ASSERT_THAT(*requests, SizeIs(1));
  EXPECT_EQ(requests->at(0).act, "cancel");
  EXPECT_EQ(requests->at(0).plan, "");
  EXPECT_EQ(requests->at(0).device, "d1");
  EXPECT_EQ(requests->at(0).argument, "x");
  const Status answered =
      store_->AnswerRequest(requests->at(0).id, RequestState::kRefused, "no task", At(5));
  ASSERT_TRUE(answered) << answered.error().message;
  ASSERT_TRUE(store_->Commit(At(6)));
  EXPECT_THAT(*store_->NewRequests(10), IsEmpty());
  EXPECT_EQ(*store_->JournalDone(), changes->back().id);
  EXPECT_EQ(Shell("SELECT state, answer, answered_ms FROM request"), "refused|no task|5\n");
}

TEST_F(Rows, OldRowsGoInSlicesAndUnreadJournalStays) {
  ASSERT_TRUE(store_->Begin());
  for (int index = 0; index < 5; ++index) {
    ASSERT_TRUE(store_->Log({}, {}, At(index)));
  }
  ASSERT_TRUE(store_->Commit(At(1)));
  const std::string journal = Shell("SELECT count(*) FROM journal");
  ASSERT_TRUE(store_->Begin());
  EXPECT_EQ(*store_->Prune(At(4), 3), 3);
  EXPECT_EQ(*store_->Prune(At(4), 3), 1);
  EXPECT_EQ(*store_->Prune(At(4), 3), 0);
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(Shell("SELECT at_ms FROM log"), "4\n");
  EXPECT_EQ(Shell("SELECT count(*) FROM journal"), journal);
}

// A clock that was ahead stamped the front: those rows go when rows after them are old.
TEST_F(Rows, RowsOfTheFutureDoNotStopThePruning) {
  constexpr std::int64_t kAhead = 1'000'000'000;
  ASSERT_TRUE(store_->Begin());
  for (const std::int64_t at :
       {kAhead, kAhead, kAhead, std::int64_t{10}, std::int64_t{60}, kAhead + 1, std::int64_t{70}}) {
    ASSERT_TRUE(store_->Log({}, {}, At(at)));
  }
  ASSERT_TRUE(store_->Commit(At(100)));
  const auto prune = [&](std::int64_t before) {
    int pruned = 0;
    EXPECT_TRUE(store_->Begin());
    for (int slice = 0; slice < 10; ++slice) {
      pruned += *store_->Prune(At(before), 2);
    }
    EXPECT_TRUE(store_->Commit(At(100)));
    return pruned;
  };
  EXPECT_EQ(prune(10), 0);  // nothing is old: what is ahead may be of a moment ago
  EXPECT_EQ(prune(50), 4);
  EXPECT_EQ(Shell("SELECT at_ms FROM log"), "60\n1000000001\n70\n");
  EXPECT_EQ(prune(65), 1);
  EXPECT_EQ(prune(90), 2);
}

TEST_F(Rows, JournalAndRequestsOfTheFutureDoNotStopThePruningEither) {
  ASSERT_EQ(Shell("INSERT INTO request(act, plan) VALUES ('release', 'spring'), ('release', "
                  "'draft'), ('release', 'spring')"),
            "");
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->AnswerRequest(1, RequestState::kDone, "", At(1'000'000'000)));
  ASSERT_TRUE(store_->AnswerRequest(2, RequestState::kDone, "", At(10)));
  const std::vector<Change> changes = *store_->NewJournal(0, 1000);
  ASSERT_TRUE(store_->SaveJournalDone(changes.back().id - 1));
  ASSERT_TRUE(store_->Commit(At(100)));
  // The journal has the shell's time, which is after the last commit: all but one row read.
  ASSERT_EQ(Shell("DROP TRIGGER journal_update; UPDATE journal SET at_ms = 10 WHERE id >= " +
                  std::to_string(changes.back().id - 1)),
            "");
  ASSERT_TRUE(store_->Begin());
  int pruned = 0;
  for (std::size_t slice = 0; slice < changes.size(); ++slice) {
    pruned += *store_->Prune(At(50), 1);
  }
  ASSERT_TRUE(store_->Commit(At(100)));
  EXPECT_EQ(pruned, static_cast<int>(changes.size()) - 1 + 2);
  EXPECT_EQ(Shell("SELECT id FROM request; SELECT count(*) FROM journal"), "3\n1\n");
}

TEST_F(Rows, HealthIsOneRow) {
  for (const std::int64_t inbox : {1, 2}) {
    ASSERT_TRUE(store_->Begin());
    ASSERT_TRUE(store_->SaveHealth({At(1), 2, At(3), 4, inbox, 6, 7, 8, 9, 10, "e"}));
    ASSERT_TRUE(store_->Commit(At(1)));
  }
  EXPECT_EQ(Shell("SELECT * FROM engine_health"), "1|1|2|3|4|2|6|7|8|9|10|e\n");
}

// -- transactions

TEST_F(Rows, ATransactionThatWroteNothingLeavesTheFilesAlone) {
  const std::int64_t number = store_->commit_no();
  const std::string marker_before = Read(marker());
  const std::string wal = Read(directory_ / "ota.db-wal");
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->LoadDevice({"thermo", "d1"}));
  ASSERT_EQ(*store_->Prune(At(0), 10), 0);
  ASSERT_TRUE(store_->ForgetGoneFiles());
  EXPECT_FALSE(store_->wrote());
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(store_->commit_no(), number);
  EXPECT_EQ(Read(marker()), marker_before);
  EXPECT_EQ(Read(directory_ / "ota.db-wal"), wal);
}

TEST_F(Rows, ARolledBackEventLeavesTheOthers) {
  ASSERT_TRUE(store_->Begin(true));
  {
    core::Result<Savepoint> event = store_->BeginEvent();
    ASSERT_TRUE(event);
    ASSERT_TRUE(store_->Log({}, {"thermo", "gone"}, At(1)));
  }
  EXPECT_FALSE(store_->wrote());
  for (const char* name : {"kept", "kept too"}) {
    core::Result<Savepoint> event = store_->BeginEvent();
    ASSERT_TRUE(event);
    ASSERT_TRUE(store_->Log({}, {"thermo", name}, At(1)));
    ASSERT_TRUE(event->Keep());
  }
  {
    core::Result<Savepoint> event = store_->BeginEvent();
    ASSERT_TRUE(store_->Log({}, {"thermo", "gone too"}, At(1)));
  }
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(Shell("SELECT device FROM log"), "kept\nkept too\n");
}

TEST_F(Rows, WithoutSavepointsARolledBackEventTakesTheTransactionWithIt) {
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->Log({}, {"thermo", "before"}, At(1)));
  {
    core::Result<Savepoint> event = store_->BeginEvent();
    ASSERT_TRUE(event);
  }
  EXPECT_FALSE(store_->spoiled());  // it had written nothing
  {
    core::Result<Savepoint> event = store_->BeginEvent();
    ASSERT_TRUE(event);
    ASSERT_TRUE(store_->Log({}, {"thermo", "gone"}, At(1)));
  }
  EXPECT_TRUE(store_->spoiled());
  EXPECT_EQ(store_->Log({}, {"thermo", "after"}, At(1)).error().code, core::ErrorCode::kConflict);
  EXPECT_EQ(store_->Commit(At(1)).error().code, core::ErrorCode::kConflict);
  ASSERT_TRUE(store_->Begin());
  EXPECT_FALSE(store_->spoiled());
  ASSERT_TRUE(store_->Commit(At(1)));
  EXPECT_EQ(Shell("SELECT count(*) FROM log"), "0\n");
}

TEST_F(Rows, ARollbackLeavesNothing) {
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->Log({}, {}, At(1)));
  store_->Rollback();
  EXPECT_EQ(Shell("SELECT count(*) FROM log"), "0\n");
  EXPECT_TRUE(store_->Begin());
  EXPECT_EQ(store_->Begin().error().code, core::ErrorCode::kInternal);
}

TEST_F(Rows, AWriteOutsideATransactionIsRefused) {
  EXPECT_EQ(store_->Log({}, {}, At(1)).error().code, core::ErrorCode::kInternal);
  EXPECT_EQ(store_->Commit(At(1)).error().code, core::ErrorCode::kInternal);
}

TEST_F(Rows, EveryCommitMovesTheMarker) {
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->Log({}, {}, At(1)));
  ASSERT_TRUE(store_->Commit(At(1)));
  const std::string number =
      Shell("SELECT database_id || ' ' || printf('%020d', commit_no) FROM engine_state");
  EXPECT_EQ(Read(marker()).substr(0, 53) + "\n", number);
}

TEST_F(Rows, AnUnknownNameInARowIsTheFaultOfThatRow) {
  core::Decision decision;
  decision.device = Register("d1");
  decision.tasks = {NewTask("t1", "spring")};
  Save(decision);
  ASSERT_EQ(Shell("UPDATE engine_state SET writing = 1; UPDATE task SET reason = 'moon'; UPDATE "
                  "engine_state SET writing = 0"),
            "");
  core::Result<DeviceTasks> tasks = store_->LoadTasks(decision.device, *catalogue_);
  ASSERT_FALSE(tasks);
  EXPECT_EQ(tasks.error().code, core::ErrorCode::kConflict);
  EXPECT_THAT(tasks.error().message, AllOf(HasSubstr("task 't1'"), HasSubstr("'moon'")));
}

TEST_F(Rows, ABatchThatFindsNoRoomIsRolledBackAndCanBeTriedAgain) {
  const auto write = [&]() -> Status {
    if (Status begun = store_->Begin(); !begun) {
      return begun;
    }
    core::LogEntry entry;
    entry.detail = std::string(10000, 'x');  // more than the migrations left of the log
    for (int index = 0; index < 100; ++index) {
      if (Status logged = store_->Log(entry, {}, At(1)); !logged) {
        store_->Rollback();
        return logged;
      }
    }
    return store_->Commit(At(1));
  };
  ASSERT_TRUE(write());
  const std::int64_t number = store_->commit_no();
  // No file of this process may grow any more.
  ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(store_->WalBytes());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  const Status refused = write();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, core::ErrorCode::kUnavailable);
  EXPECT_EQ(store_->commit_no(), number);
  EXPECT_EQ(Shell("SELECT count(*) FROM log"), "100\n");
  ASSERT_TRUE(write());
  EXPECT_EQ(Shell("SELECT count(*) FROM log; PRAGMA integrity_check"), "200\nok\n");
}

// -- cost

TEST_F(Rows, NoHotStatementScansATableThatGrows) {
  for (const char* statement : sql::kHot) {
    const std::string plan = Shell(std::string("EXPLAIN QUERY PLAN ") + statement + ";");
    EXPECT_THAT(plan, Not(HasSubstr("rror"))) << statement;
    for (const char* table :
         {"device_state", "device_version", "task", "task_component", "log", "t", "d", "w", "l"}) {
      EXPECT_THAT(plan + "\n", Not(HasSubstr(std::string("SCAN ") + table + "\n")))
          << statement << "\n"
          << plan;
      EXPECT_THAT(plan, Not(HasSubstr(std::string("SCAN ") + table + " "))) << statement << "\n"
                                                                            << plan;
    }
    EXPECT_THAT(plan, Not(HasSubstr("AUTOMATIC"))) << statement << "\n" << plan;
  }
}

TEST_F(Rows, LinesOfTheLogOfManyDevicesWriteFewPages) {
  const auto lines = [this](int rounds) {
    ASSERT_TRUE(store_->Begin());
    core::LogEntry entry;
    entry.event = "versions";
    for (int round = 0; round < rounds; ++round) {
      for (int device = 0; device < 100; ++device) {
        ASSERT_TRUE(store_->Log(entry, {"demo", "d" + std::to_string(device)}, At(1)));
      }
    }
    ASSERT_TRUE(store_->Commit(At(1)));
  };
  for (int batch = 0; batch < 10; ++batch) {
    lines(30);  // 300 of each device: more than a page of any index by device
  }
  ASSERT_EQ(Shell("PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0\n");
  lines(1);
  EXPECT_LT(store_->WalBytes(), 30 * 4120);  // each device's own leaf would be 100
}

}  // namespace
}  // namespace ota::store
