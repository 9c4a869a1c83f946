// One epoll loop with timers and TCP streams: all that the fleet and the load generators wait for.
// Knows bytes, not protocols. One thread: every call and every callback is the loop's own.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace ota::fleet {

// Nanoseconds of the monotonic clock.
std::int64_t Now();
inline constexpr std::int64_t kMs = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000 * kMs;

class Timer;
class Stream;

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Until Stop().
  void Run();
  void Stop() { stopped_ = true; }

 private:
  friend class Timer;
  friend class Stream;

  int epoll_ = -1;
  bool stopped_ = false;
  std::multimap<std::int64_t, Timer*> due_;
  std::string buffer_;  // what one read takes; shared by all streams
};

// Calls `what` once after each Set(). Ends with its owner.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> what) : loop_(loop), what_(std::move(what)) {}
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // In `delay` nanoseconds; an earlier Set() is forgotten.
  void Set(std::int64_t delay);
  void Cancel();
  bool armed() const { return armed_; }

 private:
  friend class Loop;
  Loop& loop_;
  std::function<void()> what_;
  std::multimap<std::int64_t, Timer*>::iterator place_;
  bool armed_ = false;
};

// What a stream tells its owner. The owner may close, reopen or write in each of these calls, not
// destroy the stream.
class StreamOwner {
 public:
  virtual ~StreamOwner() = default;
  virtual void OnOpen() = 0;
  // Gives how many bytes from the front are done with; the rest comes again with what follows.
  virtual std::size_t OnBytes(std::string_view bytes) = 0;
  // The other end closed, or an error in words; not called after Close() or Reset().
  virtual void OnEnd(const std::string& why) = 0;
};

// One TCP connection at a time, without Nagle's delay. Reused for the next one.
class Stream {
 public:
  Stream(Loop& loop, StreamOwner& owner) : loop_(loop), owner_(owner) {}
  ~Stream() { Close(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Begins to connect; OnOpen or OnEnd follows, never inside this call. `source`: the address to
  // connect from, in host order; 0: the system's choice. `window`: the other end may be about so
  // many bytes ahead of the owner, who gets them in pieces of at most that; 0: as many as the
  // system lets it. Gives false and a word in `why` when there is no descriptor or address left.
  bool Open(const sockaddr_in& to, std::uint32_t source, std::string& why, int window = 0);
  // Writes what fits and keeps the rest.
  void Write(std::string_view bytes);
  // Bytes that are kept.
  std::size_t waiting() const { return out_.size(); }
  // While true nothing is read: the other end meets a full window.
  void Pause(bool paused);
  void Close();  // what waits is lost
  void Reset();  // as a broken line: the other end gets a reset
  bool open() const { return fd_ >= 0 && !connecting_; }
  bool closed() const { return fd_ < 0; }

 private:
  friend class Loop;
  void OnEvents(std::uint32_t events);
  void Read();
  void Flush();
  void Watch();
  void End(const std::string& why);

  Loop& loop_;
  StreamOwner& owner_;
  int fd_ = -1;
  bool connecting_ = false;
  bool paused_ = false;
  std::size_t piece_ = 0;
  std::uint32_t generation_ = 0;  // of the connection: a callback may have replaced it
  std::uint32_t watched_ = 0;
  std::string in_;
  std::string out_;
};

}  // namespace ota::fleet
