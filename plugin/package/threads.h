// What the plugin's threads do not share with the broker's: signals (design, section 2), its table
// of open files, and its share of the processor.
#pragma once

#include <csignal>

namespace ota::package {

// While it lives, the calling thread and every thread that it starts have all signals blocked.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// From here on what the calling thread opens, and the threads that it starts, is not in the table
// of the process's first thread: it takes none of the broker's descriptors, and Linux finds the
// broker's without counting references, as it does for a process of one thread (fs/file.c,
// __fget_light). But for standard input, output and error nothing that was open is in the new
// table. What is opened on such a thread must be closed on one: a descriptor is a number in a
// table. So no connection to a database that another table's thread has open, too: SQLite shares
// the descriptors of a file within a process. False: the system does not allow it (Linux before
// 5.9, a filter of system calls), and the table stays the one of before.
bool OwnDescriptors();

// From here on the calling thread, and the threads that it starts, leave the processor to the
// broker's when there is not enough for both: nice 5 more, a third of its share. Never fails.
void YieldToBroker();

}  // namespace ota::package
