// Every pair of state and event, spelled out once more, and the table in the README.
#include "core/step.h"

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "core/names.h"

namespace ota::core {
namespace {

constexpr int kStates = static_cast<int>(TaskState::kCanceled) + 1;
constexpr int kEvents = static_cast<int>(TaskEvent::kCancel) + 1;

TEST(Step, EveryPairOfStateAndEventIsDecidedAsExpected) {
  using S = TaskState;
  using E = TaskEvent;
  std::map<std::pair<S, E>, S> expected{
      {{S::kQueued, E::kOffer}, S::kOffered},        {{S::kQueued, E::kSucceed}, S::kSucceeded},
      {{S::kQueued, E::kCancel}, S::kCanceled},      {{S::kQueued, E::kFail}, S::kFailed},
      {{S::kAccepted, E::kPostpone}, S::kPostponed}, {{S::kAccepted, E::kWithdraw}, S::kQueued},
      {{S::kDownloading, E::kWithdraw}, S::kQueued}, {{S::kWaiting, E::kWithdraw}, S::kQueued},
      {{S::kWaiting, E::kResume}, S::kAccepted},     {{S::kRetrying, E::kDownload}, S::kAccepted},
      {{S::kRetrying, E::kFail}, S::kFailed},        {{S::kRetrying, E::kSucceed}, S::kSucceeded},
      {{S::kRetrying, E::kCancel}, S::kCanceled},    {{S::kFailed, E::kSucceed}, S::kSucceeded},
      {{S::kRefused, E::kSucceed}, S::kSucceeded},   {{S::kRetrying, E::kReboot}, S::kRebooting},
  };
  for (const S state : {S::kOffered, S::kPostponed}) {
    expected[{state, E::kWithdraw}] = S::kQueued;
    expected[{state, E::kPostpone}] = S::kPostponed;
    expected[{state, E::kRefuse}] = S::kRefused;
    expected[{state, E::kAccept}] = S::kAccepted;
    expected[{state, E::kSucceed}] = S::kSucceeded;
    expected[{state, E::kCancel}] = S::kCanceled;
  }
  for (const S state :
       {S::kAccepted, S::kDownloading, S::kWaiting, S::kInstalling, S::kRebooting}) {
    expected[{state, E::kRefuse}] = S::kRefused;
    expected[{state, E::kDownload}] = S::kAccepted;
    expected[{state, E::kFetch}] = S::kDownloading;
    expected[{state, E::kWait}] = S::kWaiting;
    expected[{state, E::kInstall}] = S::kInstalling;
    expected[{state, E::kReboot}] = S::kRebooting;
    expected[{state, E::kRetry}] = S::kRetrying;
    expected[{state, E::kFail}] = S::kFailed;
    expected[{state, E::kSucceed}] = S::kSucceeded;
    expected[{state, E::kCancel}] = S::kCanceled;
  }
  for (int state = 0; state < kStates; ++state) {
    for (int event = 0; event < kEvents; ++event) {
      const auto pair = std::make_pair(static_cast<S>(state), static_cast<E>(event));
      const auto found = expected.find(pair);
      const std::optional<S> to = Step(pair.first, pair.second);
      EXPECT_EQ(to, found == expected.end() ? std::nullopt : std::optional<S>(found->second))
          << Name(pair.first) << " " << Name(pair.second);
    }
  }
}

TEST(Step, EveryStateIsQueuedOrOpenOrEnded) {
  for (int i = 0; i < kStates; ++i) {
    const TaskState state = static_cast<TaskState>(i);
    EXPECT_EQ(1, (state == TaskState::kQueued) + IsOpen(state) + IsEnded(state)) << Name(state);
    EXPECT_TRUE(!IsInFlight(state) || IsOpen(state)) << Name(state);
  }
}

TEST(Step, TheTableInTheReadmeIsTheCode) {
  std::ifstream file(std::string(OTA_SOURCE_DIR) + "/plugin/core/README.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string readme = text.str();
  const std::string begin = "<!-- step table: begin -->\n";
  const std::size_t from = readme.find(begin);
  const std::size_t to = readme.find("<!-- step table: end -->");
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  EXPECT_EQ(readme.substr(from + begin.size(), to - from - begin.size()), StepTable());
}

}  // namespace
}  // namespace ota::core
