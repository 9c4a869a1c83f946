// How a plan spreads over its devices: which are picked first, how many are in a share, when it
// halts by itself. Pure. Any thread. Governed by plugin/core/README.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/model.h"

namespace ota::core {

// A number that depends on both names alone, today and in every later version: 0 to 2^63 - 1.
std::int64_t StableHash(std::string_view plan, std::string_view device);

// How many of `members` a share of `percent` is: rounded down, but one at least if there are any.
std::int64_t Picked(std::int64_t members, int percent);

// Why the plan halts now, for people; nothing: it goes on.
//   failed, ended   tasks that failed, and that ended by success or failure, since the plan was
//                   activated or a person let it go on
std::optional<std::string> Halts(const Plan& plan, int failed, int ended);

}  // namespace ota::core
