// The worker pool: the threads that read and digest files. They touch neither the broker nor the
// database; a job hands its result to the engine by a function that the engine put into it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "core/result.h"

namespace ota::package {

class Workers {
 public:
  // Runs on one of the pool's threads, all signals blocked. Must look at `stop` at least every
  // 100 ms.
  using Job = std::function<void(std::stop_token stop)>;
  // Runs behind a job that has ended with an exception (no memory), on its thread. Must not throw.
  using Failed = std::function<void(const std::exception& why)>;

  // Short jobs (blocks) go first, and one thread is always free of long ones (digests), so that a
  // device does not wait for the hash of somebody else's gigabyte.
  enum class Length { kShort, kLong };

  // `threads` at least 2; at most `max_queued` jobs of each length wait. Fails with kUnavailable
  // when the system refuses a thread.
  static core::Result<std::unique_ptr<Workers>> Start(int threads = 2,
                                                      std::size_t max_queued = 1024);

  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers();

  // Any thread; never blocks. `failed` may be empty. False when the queue is full or the pool has
  // stopped: the job is dropped.
  bool Submit(Length length, Job job, Failed failed = {});

  // Asks running jobs to end, drops those that wait, and joins: within a second. Idempotent; not
  // from a job.
  void Stop();

 private:
  struct Work {
    Job job;
    Failed failed;
  };

  explicit Workers(std::size_t max_queued) : max_queued_(max_queued) {}
  void Run(const std::stop_token& stop);

  const std::size_t max_queued_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Work> short_;
  std::deque<Work> long_;
  std::size_t long_running_ = 0;
  std::size_t long_limit_ = 1;
  bool stopped_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace ota::package
