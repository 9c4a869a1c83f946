// Time as the engine sees it: what the wall clock shows, and a scale for deadlines that no setting
// of the wall clock, outage or boot in 1970 can move. Pure: readings of the two clocks go in, the
// only place that reads them is Clocks(). Engine thread only. Design: durations run on the
// monotonic clock, only their end is stored in wall time.
#pragma once

#include <chrono>

#include "core/model.h"

namespace ota::engine {

struct ClockReading {
  core::Instant wall;
  std::chrono::steady_clock::time_point monotonic;
};

// Reads both clocks of the machine. Any thread.
ClockReading Clocks();

class Timeline {
 public:
  // Deadlines stay in line with the wall clock up to this difference; a larger one is an outage or
  // a clock that was set.
  static constexpr core::Duration kJump = std::chrono::minutes(1);

  // `last_commit`: wall time up to which deadlines ran before this start; of a new database, the
  // reading's own.
  Timeline(core::Instant last_commit, const ClockReading& start)
      : floor_(last_commit), base_(last_commit), base_monotonic_(start.monotonic) {}

  struct Reading {
    core::Now now;
    // By how much every stored deadline must move now (at least kJump either way), or 0. Reported
    // once per jump: the caller moves them in the database before it uses `now.steady` for anything
    // else.
    core::Duration shift{0};
  };

  // Gives the time for a reading of the clocks. While the wall clock shows a time before the last
  // commit it is not trusted: `steady` goes on by itself and nothing moves.
  Reading Read(const ClockReading& clocks);

  // A commit was made at `wall`: trust ends for any earlier time.
  void Committed(core::Instant wall) {
    if (wall > floor_) {
      floor_ = wall;
    }
  }

  // An operator says that the wall clock is right although it is before the last commit.
  void TrustFrom(core::Instant wall) { floor_ = wall; }

  // The time before which the wall clock is not trusted.
  core::Instant floor() const { return floor_; }

 private:
  core::Instant floor_;
  core::Instant base_;  // steady time at base_monotonic_
  std::chrono::steady_clock::time_point base_monotonic_;
};

}  // namespace ota::engine
