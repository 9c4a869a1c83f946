// While one of these lives, operator new of the test program refuses what it names.
#pragma once

#include <cstddef>

namespace ota::engine {

// Allocations of this many bytes or more, on every thread.
class NoLargeMemory {
 public:
  explicit NoLargeMemory(std::size_t bytes);
  ~NoLargeMemory();
  NoLargeMemory(const NoLargeMemory&) = delete;
  NoLargeMemory& operator=(const NoLargeMemory&) = delete;
};

// The allocation after `granted` others, on this thread, and no later one.
class OneRefusal {
 public:
  explicit OneRefusal(int granted);
  ~OneRefusal();
  OneRefusal(const OneRefusal&) = delete;
  OneRefusal& operator=(const OneRefusal&) = delete;
};

}  // namespace ota::engine
