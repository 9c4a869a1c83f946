#include "fleet/loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace ota::fleet {
namespace {

constexpr int kEvents = 512;
constexpr std::size_t kReadBytes = 256 << 10;

std::string ErrorText(int code) {
  return std::generic_category().message(code);
}

}  // namespace

std::int64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * kSecond + now.tv_nsec;
}

Loop::Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), buffer_(kReadBytes, '\0') {
  if (epoll_ < 0) {
    std::perror("epoll_create1");
    std::exit(3);
  }
}

Loop::~Loop() {
  close(epoll_);
}

void Loop::Run() {
  std::array<epoll_event, kEvents> events{};
  while (!stopped_) {
    std::int64_t wait_ms = 1000;
    if (!due_.empty()) {
      wait_ms = std::clamp<std::int64_t>((due_.begin()->first - Now() + kMs - 1) / kMs, 0, wait_ms);
    }
    const int count = epoll_wait(epoll_, events.data(), kEvents, static_cast<int>(wait_ms));
    for (int i = 0; i < count && !stopped_; ++i) {
      const auto& event = events.at(static_cast<std::size_t>(i));
      static_cast<Stream*>(event.data.ptr)->OnEvents(event.events);
    }
    // Those that are due now: a timer that sets itself to 0 has its turn in the next round.
    const auto now = Now();
    while (!stopped_ && !due_.empty() && due_.begin()->first <= now) {
      Timer* timer = due_.begin()->second;
      timer->Cancel();
      timer->what_();
    }
  }
}

void Timer::Set(std::int64_t delay) {
  Cancel();
  place_ = loop_.due_.emplace(Now() + std::max<std::int64_t>(delay, 1), this);
  armed_ = true;
}

void Timer::Cancel() {
  if (armed_) {
    loop_.due_.erase(place_);
    armed_ = false;
  }
}

bool Stream::Open(const sockaddr_in& to, std::uint32_t source, std::string& why, int window) {
  Close();
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    why = ErrorText(errno);
    return false;
  }
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (window > 0) {
    // With the segments of loopback the other end's system would take a megabyte off its hands.
    const int segment = 1460;
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
  }
  piece_ = window > 0 ? static_cast<std::size_t>(window) : loop_.buffer_.size();
  if (source != 0) {
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(source);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) {
      why = ErrorText(errno);
      close(fd);
      return false;
    }
  }
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
    why = ErrorText(errno);
    close(fd);
    return false;
  }
  ++generation_;
  fd_ = fd;
  connecting_ = true;
  paused_ = false;
  watched_ = 0;
  Watch();
  return true;
}

void Stream::Watch() {
  const std::uint32_t wanted = (paused_ || connecting_ ? 0u : std::uint32_t{EPOLLIN}) |
                               (connecting_ || !out_.empty() ? std::uint32_t{EPOLLOUT} : 0u);
  if (fd_ < 0 || (wanted == watched_ && watched_ != 0)) {
    return;
  }
  epoll_event event{};
  event.events = wanted;
  event.data.ptr = this;
  if (epoll_ctl(loop_.epoll_, EPOLL_CTL_MOD, fd_, &event) != 0) {
    epoll_ctl(loop_.epoll_, EPOLL_CTL_ADD, fd_, &event);
  }
  watched_ = wanted;
}

void Stream::OnEvents(std::uint32_t events) {
  const auto generation = generation_;
  const auto gone = [&] { return fd_ < 0 || generation_ != generation; };
  if (gone()) {
    return;
  }
  if (connecting_) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    sockaddr_in peer{};
    socklen_t peer_size = sizeof peer;
    if (error != 0) {
      End(ErrorText(error));
    } else if (getpeername(fd_, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0) {
      connecting_ = false;
      Watch();
      owner_.OnOpen();
    }
    return;  // an event of the connection before this one says nothing
  }
  if ((events & EPOLLOUT) != 0) {
    Flush();
  }
  if (!gone() && !paused_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    Read();
  } else if (!gone() && paused_ && (events & (EPOLLHUP | EPOLLERR)) != 0) {
    End("connection lost");
  }
}

void Stream::Read() {
  const auto generation = generation_;
  const auto count = recv(fd_, loop_.buffer_.data(), std::min(piece_, loop_.buffer_.size()), 0);
  if (count < 0) {
    if (errno != EAGAIN && errno != EINTR) {
      End(ErrorText(errno));
    }
    return;
  }
  if (count == 0) {
    End("closed by the other end");
    return;
  }
  std::string_view bytes(loop_.buffer_.data(), static_cast<std::size_t>(count));
  std::string joined;  // `in_` may be cleared by the owner while it reads
  if (!in_.empty()) {
    joined = std::move(in_);
    joined.append(bytes);
    bytes = joined;
  }
  const auto done = owner_.OnBytes(bytes);
  if (generation == generation_ && fd_ >= 0) {
    in_.assign(bytes.substr(std::min(done, bytes.size())));
  }
}

void Stream::Write(std::string_view bytes) {
  if (fd_ < 0) {
    return;
  }
  if (out_.empty() && !connecting_) {
    const auto count = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }  // an error shows when the stream is read
  }
  out_.append(bytes);
  Watch();
}

void Stream::Flush() {
  const auto count = send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
  if (count > 0) {
    out_.erase(0, static_cast<std::size_t>(count));
  }
  Watch();
}

void Stream::Pause(bool paused) {
  paused_ = paused;
  watched_ = 0;  // even nothing is to be told
  Watch();
}

void Stream::Close() {
  if (fd_ >= 0) {
    close(fd_);
  }
  fd_ = -1;
  ++generation_;
  in_.clear();
  out_.clear();
}

void Stream::Reset() {
  if (fd_ >= 0) {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  Close();
}

void Stream::End(const std::string& why) {
  Close();
  owner_.OnEnd(why);
}

}  // namespace ota::fleet
