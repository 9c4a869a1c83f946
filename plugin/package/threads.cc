// See threads.h.
#include "package/threads.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/close_range.h>

namespace ota::package {

bool OwnDescriptors() {
#if defined(__SANITIZE_THREAD__)
  return false;  // it takes equal numbers for one file
#else
  return ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_UNSHARE) == 0;
#endif
}

void YieldToBroker() {
  // On Linux a thread has a nice of its own, which 0 names and those that it starts inherit.
  ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + 5);
}

}  // namespace ota::package
