// The registry of devices: what becomes of rows and of the key file, and when it is swapped.
#include "engine/logins.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crypto/key_file.h"
#include "crypto/seal.h"
#include "engine/topology.h"
#include "store/secrets.h"

namespace ota::engine {
namespace {

using testing::HasSubstr;

constexpr const char* kSecret = "0123456789abcdef";

class LoginsTest : public testing::Test {
 protected:
  LoginsTest() {
    auto opened = store::Store::Open(directory_ / "ota.db", core::Instant{}, {});
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    store_ = std::move(*opened);
    Sql("INSERT INTO product(name, dialect) VALUES ('lamp', 'alibaba')");
    catalogue_.products["lamp"].dialect = "alibaba";
  }
  ~LoginsTest() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Sql(const std::string& text) {
    SQLite::Database database((directory_ / "ota.db").string(), SQLite::OPEN_READWRITE, 5000);
    database.exec(text);
  }
  void AddDevice(const std::string& name) {
    Sql("INSERT INTO device(product, name) VALUES ('lamp', '" + name + "')");
  }
  // As otactl does it, with the key that is there; `of`: the device that it is sealed for.
  void PutSecret(const std::string& name, const std::string& of = "") {
    if (!std::filesystem::exists(key_path_)) {
      ASSERT_TRUE(crypto::MakeKeyFile(key_path_));
    }
    const auto key = crypto::ReadKeyFile(key_path_, geteuid(), "");
    ASSERT_TRUE(key);
    const auto sealed =
        crypto::Seal(*key, kSecret, store::SecretContext({"lamp", of.empty() ? name : of}));
    ASSERT_TRUE(sealed);
    SQLite::Database database((directory_ / "ota.db").string(), SQLite::OPEN_READWRITE, 5000);
    SQLite::Statement put(database, "INSERT INTO device_secret VALUES ('lamp', ?1, ?2)");
    put.bind(1, name);
    put.bind(2, sealed->data(), static_cast<int>(sealed->size()));
    put.exec();
  }
  void Load() {
    logins_.SetProducts(catalogue_);
    logins_.Reload();
    Work();
  }
  // As the engine does: until nothing is left to do. Gives how often.
  int Work() {
    int turns = 0;
    for (; logins_.busy() && turns < 100; ++turns) {
      EXPECT_TRUE(logins_.Work(*store_));
    }
    return turns;
  }
  std::string SecretOf(const std::string& name) const {
    const auto registry = logins_.registry();
    const auto device = registry->Find("lamp", name);
    return device ? std::string(device->secret) : "no device";
  }
  std::string Log() {
    std::string text;
    Outbox::Sink sink{[&](const LogLine& line) { text += line.text + "\n"; },
                      [](const core::DeviceKey&) { return std::uint64_t{0}; },
                      [](const Message&) {}, [](const Message&) {}};
    outbox_.Drain(sink);
    return text;
  }

  // In memory where there is such a place.
  static std::filesystem::path MakeDirectory() {
    const std::filesystem::path memory = "/dev/shm";
    const auto base =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    std::string name = (base / "ota-logins-XXXXXX").string();
    return mkdtemp(name.data());
  }

  const std::filesystem::path directory_ = MakeDirectory();
  const std::string key_path_ = (directory_ / "secret.key").string();
  std::unique_ptr<store::Store> store_;
  store::Catalogue catalogue_;
  Outbox outbox_{[] {}};
  Logins logins_{key_path_, outbox_};
};

TEST_F(LoginsTest, ThereIsNoRegistryBeforeItIsWhole) {
  for (int i = 0; i < 1500; i += 500) {
    std::string rows;
    for (int j = i; j < i + 500; ++j) {
      rows += (rows.empty() ? "('lamp', 'd" : ", ('lamp', 'd") + std::to_string(j) + "')";
    }
    Sql("INSERT INTO device(product, name) VALUES " + rows);
  }
  logins_.SetProducts(catalogue_);
  logins_.Reload();
  ASSERT_TRUE(logins_.Work(*store_));
  EXPECT_EQ(logins_.registry(), nullptr);
  EXPECT_TRUE(logins_.busy());
  ASSERT_TRUE(logins_.Work(*store_));
  ASSERT_NE(logins_.registry(), nullptr);
  EXPECT_FALSE(logins_.busy());
  EXPECT_EQ(logins_.registry()->size(), 1500u);
  EXPECT_EQ(logins_.registry()->DialectOf("lamp"), "alibaba");
}

TEST_F(LoginsTest, TheFirstOneMakesTheKeyForItsOwnerAlone) {
  Load();
  const auto status = std::filesystem::status(key_path_);
  EXPECT_EQ(status.permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(std::filesystem::file_size(key_path_), crypto::kSealKeyBytes);
}

TEST_F(LoginsTest, WhatPeopleChangeIsSwappedInAndTheOldRegistryStaysAsItWas) {
  AddDevice("d1");
  AddDevice("d2");
  PutSecret("d1");
  Load();
  const auto before = logins_.registry();
  EXPECT_EQ(SecretOf("d1"), kSecret);
  EXPECT_EQ(SecretOf("d2"), "");
  Sql("UPDATE device SET disabled = 1 WHERE name = 'd1'");
  PutSecret("d2");
  logins_.Changed({{"lamp", "d1"}, {"lamp", "d2"}});
  EXPECT_EQ(Work(), 1);
  EXPECT_TRUE(logins_.registry()->Find("lamp", "d1")->disabled);
  EXPECT_EQ(SecretOf("d2"), kSecret);
  EXPECT_FALSE(before->Find("lamp", "d1")->disabled);
  Sql("DELETE FROM device_secret WHERE device = 'd1'; DELETE FROM device WHERE name = 'd1'");
  logins_.Changed({{"lamp", "d1"}});
  Work();
  EXPECT_EQ(SecretOf("d1"), "no device");
}

TEST_F(LoginsTest, ASecretThatWasCopiedToAnotherDeviceOpensNothingAndTheLogNamesTheDevice) {
  AddDevice("d1");
  AddDevice("thief");
  PutSecret("d1");
  PutSecret("thief", "d1");
  Load();
  EXPECT_EQ(SecretOf("d1"), kSecret);
  EXPECT_EQ(SecretOf("thief"), "");
  const std::string log = Log();
  EXPECT_THAT(log, HasSubstr("the secret of device 'lamp/thief' cannot be decrypted"));
  EXPECT_THAT(log, testing::Not(HasSubstr(kSecret)));
}

TEST_F(LoginsTest, WithoutTheKeyNobodyProvesAnythingAndNoNewKeyIsMade) {
  AddDevice("d1");
  PutSecret("d1");
  std::filesystem::rename(key_path_, key_path_ + ".away");
  Load();
  EXPECT_EQ(SecretOf("d1"), "");
  EXPECT_FALSE(std::filesystem::exists(key_path_));
  EXPECT_THAT(Log(), HasSubstr("the secrets of devices cannot be decrypted"));
  std::filesystem::rename(key_path_ + ".away", key_path_);
  Load();  // SIGHUP
  EXPECT_EQ(SecretOf("d1"), kSecret);
  EXPECT_EQ(Log(), "");
}

TEST_F(LoginsTest, AnotherKeyIsToldOnceForAllSecrets) {
  for (const char* name : {"d1", "d2", "d3"}) {
    AddDevice(name);
    PutSecret(name);
  }
  std::filesystem::remove(key_path_);
  ASSERT_TRUE(crypto::MakeKeyFile(key_path_));
  Load();
  EXPECT_EQ(SecretOf("d2"), "");
  const std::string log = Log();
  EXPECT_THAT(log, HasSubstr("'lamp/d1' and of 2 more cannot be decrypted"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1);
}

TEST_F(LoginsTest, ADialectThatChangesIsKnown) {
  Load();
  catalogue_.products["lamp"].dialect = "enos";
  logins_.SetProducts(catalogue_);
  EXPECT_TRUE(logins_.busy());
  Work();
  EXPECT_EQ(logins_.registry()->DialectOf("lamp"), "enos");
  logins_.SetProducts(catalogue_);
  EXPECT_FALSE(logins_.busy());
}

// What people say of a device's gateway goes before what the gateway says.
TEST_F(LoginsTest, AGatewaysOwnWordCountsUntilPeopleSayOtherwise) {
  AddDevice("d1");
  Load();
  ASSERT_TRUE(store_->Begin());
  ASSERT_TRUE(store_->Bind({"lamp", "d1"}, "env/e1"));
  ASSERT_TRUE(store_->Commit(core::Instant{}));
  logins_.Changed({{"lamp", "d1"}});
  Work();
  EXPECT_TRUE(logins_.registry()->IsBehind("lamp", "d1", {"env", "e1"}));
  EXPECT_TRUE(logins_.registry()->Find("lamp", "d1")->bound);
  Sql("UPDATE device SET gateway = 'env/e2' WHERE name = 'd1'");
  logins_.Changed({{"lamp", "d1"}});
  Work();
  EXPECT_TRUE(logins_.registry()->IsBehind("lamp", "d1", {"env", "e2"}));
  EXPECT_FALSE(logins_.registry()->Find("lamp", "d1")->bound);
  const auto behind = store_->SubDevices("env/e2", 10);
  ASSERT_TRUE(behind);
  EXPECT_EQ(*behind, (std::vector<core::DeviceKey>{{"lamp", "d1"}}));
  EXPECT_TRUE(store_->SubDevices("env/e1", 10)->empty());
}

TEST_F(LoginsTest, OnlySoManyRequestsOfGatewaysWait) {
  Outbox outbox;
  Topology topology(outbox);
  for (std::size_t i = 0; i < Topology::kMostWaiting; ++i) {
    ASSERT_TRUE(topology.Reserve()) << i;
  }
  EXPECT_FALSE(topology.Reserve());
  topology.Add({{"lamp", "gateway"}, 1, {}, dialect::SessionAct::kTopoGet, "1", {}});
  ASSERT_TRUE(topology.Work(*store_));
  topology.Undone();
  EXPECT_FALSE(topology.Reserve());
  ASSERT_TRUE(topology.Work(*store_));
  topology.Committed();
  EXPECT_TRUE(topology.Reserve());
  EXPECT_FALSE(topology.Reserve());
}

}  // namespace
}  // namespace ota::engine
