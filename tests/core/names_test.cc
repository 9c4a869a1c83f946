// Every value has a name, every name leads back to its value.
#include "core/names.h"

#include <set>
#include <string_view>

#include <gtest/gtest.h>

namespace ota::core {
namespace {

// Walks `E` from its first value to `last`: names are there, differ and lead back.
template <typename E, typename From>
void ExpectRoundTrip(E last, From from, bool first_is_empty = false) {
  std::set<std::string_view> seen;
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    const E value = static_cast<E>(i);
    const std::string_view name = Name(value);
    EXPECT_EQ(name.empty(), first_is_empty && i == 0) << i;
    EXPECT_TRUE(seen.insert(name).second) << name;
    EXPECT_EQ(from(name), value) << name;
  }
  EXPECT_FALSE(from("no such name"));
}

TEST(Names, EveryValueHasANameThatLeadsBack) {
  ExpectRoundTrip(TaskState::kCanceled, TaskStateFrom);
  ExpectRoundTrip(ComponentState::kSkipped, ComponentStateFrom);
  ExpectRoundTrip(Reason::kComponentGone, ReasonFrom, true);
  ExpectRoundTrip(PackageKind::kDelta, PackageKindFrom);
  ExpectRoundTrip(ComponentType::kOther, ComponentTypeFrom);
  ExpectRoundTrip(ProgressState::kFailed, ProgressStateFrom);
  ExpectRoundTrip(Mode::kManual, ModeFrom);
  ExpectRoundTrip(Scope::kSelected, ScopeFrom);
  ExpectRoundTrip(Wanted::kCanceled, WantedFrom);
}

TEST(Names, ProgressStatesAreSpelledAsOnTheWire) {  // [N-24]
  EXPECT_EQ(Name(ProgressState::kRolledBack), "rolledBack");
  EXPECT_EQ(ProgressStateFrom("waiting"), ProgressState::kWaiting);
}

TEST(Names, EveryReasonHasASentence) {
  for (int i = 1; i <= static_cast<int>(Reason::kComponentGone); ++i) {
    const std::string_view text = Text(static_cast<Reason>(i));
    ASSERT_FALSE(text.empty()) << i;
    EXPECT_EQ(text.back(), '.') << text;
  }
}

}  // namespace
}  // namespace ota::core
