// What is true of plans as a whole at this moment, so that one device's decision can look at it:
// how many tasks are open, when the rate and the bytes per second allow the next offer, how many
// tasks have failed. Counted from the database once per plan and start, then kept by the
// transitions of decisions. Changes of a transaction can be undone with it. Knows no SQL and no
// clock. Engine thread only.
//
// The rate spreads offers evenly: each offer puts the next one off by 60 s / rate, from now or from
// when this one was due, so that nothing is saved up, neither by quiet hours nor by a restart. An
// offer spends the bytes of all its downloads at once, a repeated download its own: who was offered
// something may fetch it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/model.h"

namespace ota::engine {

// Where a plan's task stands among the others: lower goes first. By people's rank, else by the
// place on the whitelist, else the device that was seen last first.
std::int64_t PositionOf(std::optional<std::int64_t> rank, std::optional<std::int64_t> listed,
                        core::Instant seen);

// Whether `plan` limits how fast it goes.
bool IsPaced(const core::Plan& plan);

class Pace {
 public:
  struct Counts {
    int open = 0;
    int failed = 0;
    int ended = 0;  // by success or failure
  };
  struct State {
    Counts counts;
    core::Instant next_offer{};     // steady
    core::Instant next_download{};  // steady
  };

  // What is known of the plan; null: nothing yet, give it to Count().
  const State* Find(const std::string& plan) const;
  // As found in the database inside the open transaction, before anything in it changed the plan's
  // tasks.
  void Count(const std::string& plan, const Counts& counts);

  // A decision about one device was saved: `before` is what it was made from.
  void Apply(const core::Snapshot& before, const core::Decision& decision, core::Instant steady);

  // Plans of which tasks ended or failed in the open transaction.
  const std::set<std::string>& ended() const { return ended_; }

  std::size_t Mark() const { return undo_.size(); }
  void UndoTo(std::size_t mark);
  void Keep();
  // Another database may be behind the store now.
  void Reopened();

 private:
  State* Edit(const std::string& plan);

  std::map<std::string, State> states_;
  std::vector<std::pair<std::string, std::optional<State>>> undo_;  // nothing: it was not known
  std::set<std::string> ended_;
};

}  // namespace ota::engine
