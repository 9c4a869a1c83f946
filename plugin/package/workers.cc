#include "package/workers.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "package/threads.h"

namespace ota::package {

core::Result<std::unique_ptr<Workers>> Workers::Start(int threads, std::size_t max_queued) {
  std::unique_ptr<Workers> workers(new Workers(max_queued));
  const int count = std::max(threads, 2);
  workers->long_limit_ = static_cast<std::size_t>(count - 1);
  const AllSignalsBlocked blocked;
  try {
    for (int i = 0; i < count; ++i) {
      workers->threads_.emplace_back(
          [pool = workers.get()](const std::stop_token& stop) { pool->Run(stop); });
    }
  } catch (const std::system_error& error) {
    return core::Fail(core::ErrorCode::kUnavailable,
                      std::string("worker thread: cannot be started: ") + error.what());
  }
  return workers;
}

Workers::~Workers() {
  Stop();
}

bool Workers::Submit(Length length, Job job, Failed failed) {
  {
    const std::lock_guard lock(mutex_);
    std::deque<Work>& queue = length == Length::kShort ? short_ : long_;
    if (stopped_ || queue.size() >= max_queued_) {
      return false;
    }
    queue.push_back({std::move(job), std::move(failed)});
  }
  wake_.notify_one();
  return true;
}

void Workers::Stop() {
  std::deque<Work> dropped_short;
  std::deque<Work> dropped_long;
  std::vector<std::jthread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    dropped_short.swap(short_);
    dropped_long.swap(long_);
    threads.swap(threads_);
  }
  for (std::jthread& thread : threads) {
    thread.request_stop();
  }
}

void Workers::Run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, stop, [this] {
      return !short_.empty() || (!long_.empty() && long_running_ < long_limit_);
    });
    if (stop.stop_requested()) {
      return;
    }
    const bool is_short = !short_.empty();
    std::deque<Work>& queue = is_short ? short_ : long_;
    Work work = std::move(queue.front());
    queue.pop_front();
    long_running_ += is_short ? 0 : 1;
    lock.unlock();
    try {
      work.job(stop);
    } catch (const std::exception& error) {  // it would end the broker
      if (work.failed) {
        work.failed(error);
      }
    }
    work = {};
    lock.lock();
    long_running_ -= is_short ? 0 : 1;
    if (!is_short) {
      // A thread that passed a long job over may take one now.
      wake_.notify_one();
    }
  }
}

}  // namespace ota::package
