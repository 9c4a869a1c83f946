// What the store keeps of devices in memory is what the tables hold, whoever has written last.
#include <gtest/gtest.h>

#include "core/decide.h"
#include "store/fixture.h"

namespace ota::store {
namespace {

class RestingTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    Reopen();
    ASSERT_EQ(Shell(kPeople), "");
    Turn([&] { Report("1.0"); });
  }

  // One transaction of the engine.
  template <typename Body>
  void Turn(Body body) {
    ASSERT_TRUE(store_->Begin(true));
    body();
    ASSERT_TRUE(store_->Commit(At(1)));
  }

  KnownDevice Load() { return *store_->LoadDevice(key_, true); }
  std::string Version() {
    const KnownDevice known = Load();
    return known.device.installed.empty() ? "" : known.device.installed.front().version;
  }
  std::size_t Tasks() {
    auto catalogue = store_->LoadCatalogue();
    auto tasks = store_->LoadTasks(Load().device, **catalogue);
    return tasks->queued.size() + tasks->cancels.size() + (tasks->open ? 1U : 0U);
  }
  core::Task NewTask() {
    return core::MakeTask((*store_->LoadCatalogue())->FindPlan("spring"), "T1", At(1));
  }

  void Report(const std::string& version) {
    core::Decision decision;
    decision.device = Load().device;
    decision.device.key = key_;
    decision.device.installed = {{"main", version, false, At(1)}};
    decision.installed_changed = true;
    ASSERT_TRUE(store_->Save(decision, At(1)));
  }

  const core::DeviceKey key_{"thermo", "d1"};
};

TEST_F(RestingTest, AnotherProgramsCommitIsSeenInTheNextTransaction) {
  Turn([&] { EXPECT_FALSE(Load().device.disabled); });
  ASSERT_EQ(Shell("UPDATE device SET disabled = 1 WHERE name = 'd1'"), "");
  Turn([&] { EXPECT_TRUE(Load().device.disabled); });
  EXPECT_EQ(
      Shell(
          "INSERT INTO device_tag(product, device, key, value) VALUES ('thermo', 'd1', 'k', 'v')"),
      "");
  Turn([&] { EXPECT_EQ(Load().device.tags.size(), 1U); });
}

TEST_F(RestingTest, AnotherProgramsCommitIsSeenOutsideATransaction) {
  Turn([&] { Load(); });
  ASSERT_EQ(Shell("UPDATE device SET disabled = 1 WHERE name = 'd1'"), "");
  EXPECT_TRUE(Load().device.disabled);
}

TEST_F(RestingTest, TagsAreReadWhenSomebodyAsksForThem) {
  ASSERT_EQ(
      Shell(
          "INSERT INTO device_tag(product, device, key, value) VALUES ('thermo', 'd1', 'k', 'v')"),
      "");
  Turn([&] {
    EXPECT_TRUE(store_->LoadDevice(key_, false)->device.tags.empty());
    EXPECT_EQ(Load().device.tags.size(), 1U);
  });
}

TEST_F(RestingTest, WhatWasSavedIsLoaded) {
  Turn([&] {
    EXPECT_EQ(Version(), "1.0");
    Report("1.1");
    EXPECT_EQ(Version(), "1.1");
    Report("1.2");
  });
  Turn([&] { EXPECT_EQ(Version(), "1.2"); });
  Reopen();
  Turn([&] { EXPECT_EQ(Version(), "1.2"); });
}

TEST_F(RestingTest, AComponentThatIsGoneIsGoneFromTheTableToo) {
  Turn([&] {
    core::Decision decision;
    decision.device = Load().device;
    decision.device.installed = {{"radio", "7", true, At(2)}};
    decision.installed_changed = true;
    ASSERT_TRUE(store_->Save(decision, At(2)));
  });
  EXPECT_EQ(Shell("SELECT component, version, trial FROM device_version"), "radio|7|1\n");
}

TEST_F(RestingTest, ARolledBackEventIsForgotten) {
  Turn([&] {
    Load();
    {
      auto event = store_->BeginEvent();
      ASSERT_TRUE(event);
      Report("2.0");
    }
    EXPECT_EQ(Version(), "1.0");
  });
}

TEST_F(RestingTest, ARolledBackTransactionIsForgotten) {
  ASSERT_TRUE(store_->Begin());
  Load();
  Report("2.0");
  store_->Rollback();
  Turn([&] { EXPECT_EQ(Version(), "1.0"); });
}

TEST_F(RestingTest, AnEventInsideAnotherIsRolledBackAlone) {
  Turn([&] {
    auto outer = store_->BeginEvent();
    ASSERT_TRUE(outer);
    {
      auto inner = store_->BeginEvent();
      ASSERT_TRUE(inner);
      Report("2.0");
    }
    ASSERT_TRUE(store_->Log({}, {"thermo", "outer"}, At(1)));
    ASSERT_TRUE(outer->Keep());
  });
  Turn([&] { EXPECT_EQ(Version(), "1.0"); });
  EXPECT_EQ(Shell("SELECT count(*) FROM log WHERE device = 'outer'"), "1\n");
}

TEST_F(RestingTest, ATaskThatAPlanGivesIsLoaded) {
  Turn([&] { EXPECT_EQ(Tasks(), 0U); });
  Turn([&] {
    EXPECT_EQ(Tasks(), 0U);
    const std::pair<DeviceRef, core::Task> one{{Load().device.id, key_}, NewTask()};
    ASSERT_TRUE(store_->AddTasks({&one, 1}, At(1)));
    EXPECT_EQ(Tasks(), 1U);
  });
  Turn([&] { EXPECT_EQ(Tasks(), 1U); });
}

TEST_F(RestingTest, ATaskThatADecisionMakesIsLoaded) {
  Turn([&] {
    EXPECT_EQ(Tasks(), 0U);
    core::Decision decision;
    decision.device = Load().device;
    decision.tasks = {NewTask()};
    ASSERT_TRUE(store_->Save(decision, At(1)));
    EXPECT_EQ(Tasks(), 1U);
  });
}

TEST_F(RestingTest, SeenTimesAndReleasesAreLoaded) {
  Turn([&] {
    core::Device device = Load().device;
    device.seen = At(77);
    device.battery = 5;
    ASSERT_TRUE(store_->SaveSeen({&device, 1}));
    EXPECT_EQ(Load().device.seen, At(77));
    EXPECT_EQ(Load().device.battery, 5);
    core::Decision decision;
    decision.device = Load().device;
    decision.streaks_changed = true;
    decision.streaks = {{"main", "2.0", 3, true, std::nullopt}};
    ASSERT_TRUE(store_->Save(decision, At(1)));
    EXPECT_EQ(Load().streaks.size(), 1U);
    ASSERT_TRUE(store_->DropStreaks(device.id));
    EXPECT_TRUE(Load().streaks.empty());
  });
}

}  // namespace
}  // namespace ota::store
