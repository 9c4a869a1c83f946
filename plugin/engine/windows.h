// The daily push period of a plan, in a time zone of the system's database. The only place that
// knows zones; decisions get instants.
//
// A window is open exactly while the local clock shows a time from `from` on and before `to`. So on
// the day on which the clock is put forward, a window that begins in the hour that is skipped opens
// when the clock has jumped, and one that lies wholly in it does not open; on the day on which the
// clock is put back, a window in the hour that comes twice opens twice.
//
// Engine thread (the database of zones is read from the disk at first use).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model.h"

namespace ota::engine {

// Whether the window is open at `wall`.
bool IsOpen(const core::Window& window, core::Instant wall);

// The first instant after `wall` at which it is the other way round; nothing: never. An unknown
// zone counts as the machine's own (SQL refuses it), and one that cannot be read as UTC.
std::optional<core::Instant> NextFlip(const core::Window& window, core::Instant wall);

// The names of all zones of the system's database, sorted; empty when there is none.
std::vector<std::string> ZoneNames();

}  // namespace ota::engine
