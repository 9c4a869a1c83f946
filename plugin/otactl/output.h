// What otactl prints: tables that line up, JSON, colour on a terminal only. Text from devices and
// files may hold anything, so control characters never reach the terminal. Writes to standard
// output.
#pragma once

#include <string>
#include <string_view>

#include "store/admin.h"

namespace ota::otactl {

// Columns that a terminal needs for `text`; wide East Asian characters take two.
int Width(std::string_view text);

// `text` with control characters and broken UTF-8 shown as \xNN.
std::string Clean(std::string_view text);

// A JSON string literal.
std::string JsonString(std::string_view text);

// Rows as an array of objects, with the columns as names.
std::string Json(const store::Rows& rows);
// The first row as an object; {} without rows.
std::string JsonObject(const store::Rows& rows);

// Rows as a table with a header. Numbers stand to the right.
std::string Table(const store::Rows& rows, bool colour);
// The first row as lines "name  value"; what is unknown is left out.
std::string Record(const store::Rows& rows, bool colour);

// Whether standard output is a terminal and NO_COLOR is not set.
bool WantsColour();

}  // namespace ota::otactl
