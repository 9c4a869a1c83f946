// A property of a fuzz target: ends the program, in every build, when it does not hold.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ota::fuzz {

inline void Check(bool holds, const char* property) {
  if (!holds) {
    std::fprintf(stderr, "property does not hold: %s\n", property);
    std::abort();
  }
}

}  // namespace ota::fuzz
