// Presence: which connection is the live one, and what the engine is told.
#include "engine/presence.h"

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

const core::DeviceKey kDevice{"pump", "p1"};
const core::DeviceKey kOther{"pump", "p2"};
const int kAddresses[2] = {};
const void* const kOld = &kAddresses[0];
const void* const kNew = &kAddresses[1];

class PresenceOfADevice : public testing::Test {
 protected:
  // The generation that the engine is told of next; nothing when it is told nothing.
  std::optional<std::uint64_t> Told() {
    const Batch batch = inbox_.Take({});
    if (batch.presence.empty()) {
      return std::nullopt;
    }
    return batch.presence[0].connection;
  }
  Inbox inbox_;
  Presence presence_{inbox_};
};

TEST_F(PresenceOfADevice, BeginsWithTheFirstSign) {
  EXPECT_EQ(presence_.Live(kDevice), 0u);
  const auto generation = presence_.Seen(kDevice, kOld, "a");
  EXPECT_NE(generation, 0u);
  EXPECT_EQ(presence_.Live(kDevice), generation);
  EXPECT_EQ(Told(), generation);
}

TEST_F(PresenceOfADevice, IsToldOncePerConnection) {
  const auto generation = presence_.Seen(kDevice, kOld, "a");
  Told();
  EXPECT_EQ(presence_.Seen(kDevice, kOld, "a"), generation);
  EXPECT_EQ(Told(), std::nullopt);
}

TEST_F(PresenceOfADevice, KnowsWhetherItsSessionBeganEmpty) {
  EXPECT_FALSE(presence_.IsClean(kDevice));
  presence_.Seen(kDevice, kOld, "a", false, true);
  EXPECT_TRUE(presence_.IsClean(kDevice));
  presence_.Seen(kDevice, kNew, "b", false, false);
  EXPECT_FALSE(presence_.IsClean(kDevice));
  presence_.Gone(kNew);
  EXPECT_FALSE(presence_.IsClean(kDevice));
}

TEST_F(PresenceOfADevice, MovesToTheConnectionThatDidSomethingLast) {
  const auto first = presence_.Seen(kDevice, kOld, "a");
  const auto second = presence_.Seen(kDevice, kNew, "b");
  EXPECT_GT(second, first);
  EXPECT_EQ(presence_.LiveOn(kDevice, kOld), 0u);
  EXPECT_EQ(presence_.LiveOn(kDevice, kNew), second);
}

TEST_F(PresenceOfADevice, ComesBackToAConnectionThatStillStands) {
  const auto first = presence_.Seen(kDevice, kOld, "a");
  const auto second = presence_.Seen(kDevice, kNew, "b");
  EXPECT_EQ(presence_.Seen(kDevice, kOld, "a"), first);
  EXPECT_EQ(Told(), first);
  EXPECT_EQ(presence_.LiveOn(kDevice, kNew), 0u);
  presence_.Gone(kOld);
  EXPECT_EQ(presence_.Live(kDevice), 0u);
  EXPECT_EQ(Told(), 0u);
  EXPECT_EQ(presence_.Seen(kDevice, kNew, "b"), second);
}

TEST_F(PresenceOfADevice, DoesNotComeBackToAConnectionThatHasEnded) {
  const auto first = presence_.Seen(kDevice, kOld, "a");
  const auto second = presence_.Seen(kDevice, kNew, "b");
  presence_.Gone(kOld);
  EXPECT_EQ(presence_.Live(kDevice), second);
  EXPECT_GT(presence_.Seen(kDevice, kOld, "a"), second);
  presence_.Left(kDevice, kNew);
  EXPECT_GT(presence_.Seen(kDevice, kNew, "b"), first);
  EXPECT_NE(presence_.Live(kDevice), second);
}

// mosquitto#2400
TEST_F(PresenceOfADevice, SurvivesAStaleDisconnect) {
  presence_.Seen(kDevice, kOld, "a");
  const auto live = presence_.Seen(kDevice, kNew, "a");
  presence_.Gone(kOld);
  EXPECT_EQ(presence_.Live(kDevice), live);
  EXPECT_EQ(Told(), live);
  presence_.Gone(kNew);
  EXPECT_EQ(presence_.Live(kDevice), 0u);
}

TEST_F(PresenceOfADevice, EndsWithItsConnection) {
  presence_.Seen(kDevice, kOld, "a");
  Told();
  presence_.Gone(kOld);
  EXPECT_EQ(presence_.Live(kDevice), 0u);
  EXPECT_EQ(Told(), 0u);
  presence_.Gone(kOld);
  EXPECT_EQ(Told(), std::nullopt);
}

TEST_F(PresenceOfADevice, AnotherClientAtTheSameAddressIsAnotherConnection) {
  const auto first = presence_.Seen(kDevice, kOld, "a");
  EXPECT_GT(presence_.Seen(kDevice, kOld, "b"), first);
}

TEST_F(PresenceOfADevice, AGenerationIsNeverGivenTwice) {
  const auto first = presence_.Seen(kDevice, kOld, "a");
  presence_.Gone(kOld);
  EXPECT_GT(presence_.Seen(kDevice, kOld, "a"), first);
}

TEST_F(PresenceOfADevice, AClientCarriesSeveralDevices) {
  presence_.Seen(kDevice, kOld, "a");
  const auto other = presence_.Seen(kOther, kOld, "a");
  presence_.Seen(kDevice, kNew, "b");
  EXPECT_EQ(presence_.Live(kOther), other);
  presence_.Gone(kOld);
  EXPECT_EQ(presence_.Live(kOther), 0u);
  EXPECT_NE(presence_.Live(kDevice), 0u);
  presence_.Gone(kNew);
  EXPECT_EQ(presence_.size(), 0u);
}

TEST_F(PresenceOfADevice, ASecondLoginDisplacesTheFirstWhereThereMayBeOne) {
  presence_.Seen(kDevice, kOld, "a", true);
  EXPECT_TRUE(presence_.TakeDisplaced().empty());
  presence_.Seen(kDevice, kNew, "b", true);
  const auto displaced = presence_.TakeDisplaced();
  ASSERT_EQ(displaced.size(), 1u);
  EXPECT_EQ(displaced[0].client_id, "a");
  EXPECT_EQ(displaced[0].device, kDevice);
  EXPECT_TRUE(presence_.TakeDisplaced().empty());
}

TEST_F(PresenceOfADevice, AGatewayIsNotDisplacedNorAClientOfTheSameId) {
  presence_.Seen(kDevice, kOld, "gateway", false);
  presence_.Seen(kDevice, kNew, "b", true);
  presence_.Seen(kDevice, kOld, "gateway", false);
  EXPECT_TRUE(presence_.TakeDisplaced().empty());
  presence_.Seen(kOther, kOld, "c", true);
  presence_.Seen(kOther, kNew, "c", true);  // the broker has ended the first
  EXPECT_TRUE(presence_.TakeDisplaced().empty());
}

}  // namespace
}  // namespace ota::engine
