// How a plan spreads over its devices: the share that is upgraded, which devices those are, when it
// stops by itself, and what its end ends. Pure: numbers and values in, values out. Any thread.
// Governed by plugin/core/README.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/model.h"

namespace ota::core {

// How many of `members` devices `percent` (1 to 100) of them are: rounded down, but at least one;
// 0 only without members. (004-47, C16)
std::int64_t Picked(std::int64_t members, int percent);

// A number that belongs to a device in a plan for ever: 0 to 2^63 - 1, the same on every machine
// and in every version, evenly spread also for names that count up. The devices of a share are the
// Picked() ones with the smallest numbers, so that raising the percentage only adds devices; the
// jitter of a scan is such a number modulo the time to spread it over.
std::int64_t StableHash(std::string_view plan, std::string_view device);

// Why the plan halts by its own rule; nothing: it goes on.
//   failed   its tasks that have failed (IsFailure) since it was activated or a person let it go on
//   ended    those and the ones that have succeeded since
std::optional<std::string> Halts(const Plan& plan, std::int64_t failed, std::int64_t ended);

// Whether the ended task shows that the upgrade failed: it counts for Halts and for the failures in
// a row. A refusal and a cancel do not (C19), nor does a device that was busy.
bool IsFailure(const Task& task);

// Whether a task is canceled (kPlanEnded) when its plan's end has come. (004-50, C24)
bool EndsWithPlan(const Task& task);

}  // namespace ota::core
