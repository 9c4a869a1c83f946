// Fetching from a server that says exactly what the test wants.
#include "package/fetch.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "scratch.h"

namespace ota::package {
namespace {

using core::ErrorCode;

// Answers every connection with `answer(request)` and closes it.
class Origin {
 public:
  using AnswerTo = std::function<std::string(const std::string& request)>;
  explicit Origin(AnswerTo answer)
      : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    listen(listener_.get(), 8);
    socklen_t size = sizeof address;
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~Origin() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::string Url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }

 private:
  void Serve() {
    for (;;) {
      const Descriptor peer(accept(listener_.get(), nullptr, nullptr));
      if (!peer) {
        return;
      }
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = recv(peer.get(), buffer, sizeof buffer, 0);
        if (got <= 0) {
          break;
        }
        request.append(buffer, static_cast<std::size_t>(got));
      }
      const std::string answer = answer_(request);
      send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    }
  }

  AnswerTo answer_;
  Descriptor listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

std::string Ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string Redirect(const std::string& to) {
  return "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to + "\r\n\r\n";
}

TEST(Fetch, StoresTheFileUnderTheNameInTheAddress) {
  const Scratch scratch;
  const std::string content = Content(300'000);
  const Origin origin([&](const std::string&) { return Ok(content); });
  std::int64_t done = 0;
  const auto path = Fetch(origin.Url("/fw/mcu%202.bin?token=1"), scratch.store(), "", {},
                          [&](std::int64_t now, std::int64_t) {
                            done = now;
                            return true;
                          });
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_EQ(*path, "mcu 2.bin");
  EXPECT_EQ(scratch.Read("mcu 2.bin"), content);
  EXPECT_EQ(done, 300'000);
  struct stat found {};
  ASSERT_EQ(stat(scratch.Path("mcu 2.bin").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0640U);
  EXPECT_EQ(scratch.Count(), 1U);
}

void ExpectRefused(const std::string& url, ErrorCode code, const std::string& why,
                   const FetchLimits& limits = {}) {
  const Scratch scratch;
  const auto path = Fetch(url, scratch.store(), "fw", limits, {});
  ASSERT_FALSE(path) << url;
  EXPECT_EQ(path.error().code, code) << path.error().message;
  EXPECT_NE(path.error().message.find(why), std::string::npos) << path.error().message;
  EXPECT_EQ(scratch.Count(), 0U) << "a part was left behind";
}

TEST(Fetch, RefusesAnswersThatAreNoFile) {
  const Origin origin([](const std::string& request) {
    if (request.find("GET /404") == 0) {
      return std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    }
    if (request.find("GET /204") == 0) {
      return std::string("HTTP/1.1 204 No Content\r\n\r\n");
    }
    if (request.find("GET /short") == 0) {
      return std::string("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    }
    if (request.find("GET /empty") == 0) {
      return Ok("");
    }
    return std::string("garbage");
  });
  ExpectRefused(origin.Url("/404"), ErrorCode::kUnavailable, "status 404");
  ExpectRefused(origin.Url("/204"), ErrorCode::kUnavailable, "status 204");
  ExpectRefused(origin.Url("/short"), ErrorCode::kUnavailable, "/short");
  ExpectRefused(origin.Url("/empty"), ErrorCode::kInvalidArgument, "is empty");
  ExpectRefused(origin.Url("/garbage"), ErrorCode::kUnavailable, "/garbage");
}

TEST(Fetch, RefusesMoreThanTheLimitAnnouncedOrNot) {
  const Origin origin([](const std::string& request) {
    return request.find("GET /announced") == 0 ? Ok(std::string(1001, 'x'))
                                               : "HTTP/1.0 200 OK\r\n\r\n" + std::string(1001, 'x');
  });
  FetchLimits limits;
  limits.max_bytes = 1000;
  ExpectRefused(origin.Url("/announced"), ErrorCode::kInvalidArgument, "larger than 1000", limits);
  ExpectRefused(origin.Url("/silent"), ErrorCode::kInvalidArgument, "larger than 1000", limits);
  limits.max_bytes = 1001;
  const Scratch scratch;
  EXPECT_TRUE(Fetch(origin.Url("/silent"), scratch.store(), "fw", limits, {}));
}

TEST(Fetch, FollowsSoManyRedirectsAndOnlyToHttp) {
  const Origin origin([](const std::string& request) {
    const std::size_t slash = request.find("/") + 1;
    if (request.find("GET /file") == 0) {
      return Redirect("file:///etc/passwd");
    }
    const int left = std::atoi(request.c_str() + slash);
    return left == 0 ? Ok("content") : Redirect("/" + std::to_string(left - 1));
  });
  const Scratch scratch;
  EXPECT_TRUE(Fetch(origin.Url("/5"), scratch.store(), "fw", {}, {}));
  ExpectRefused(origin.Url("/6"), ErrorCode::kUnavailable, "/6");
  ExpectRefused(origin.Url("/file"), ErrorCode::kInvalidArgument, "only http and https");
  FetchLimits none;
  none.redirects = 0;
  ExpectRefused(origin.Url("/1"), ErrorCode::kUnavailable, "status 302", none);
}

TEST(Fetch, RefusesOtherAddresses) {
  ExpectRefused("file:///etc/passwd", ErrorCode::kInvalidArgument, "only http and https");
  ExpectRefused("ftp://127.0.0.1/x", ErrorCode::kInvalidArgument, "only http and https");
  ExpectRefused("not a url", ErrorCode::kInvalidArgument, "not a URL");
  const Scratch scratch;
  EXPECT_EQ(Fetch("http://127.0.0.1/", scratch.store(), "", {}, {}).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(Fetch("http://127.0.0.1/x/..%2fy%2f..", scratch.store(), "", {}, {}).error().code,
            ErrorCode::kInvalidArgument);
}

TEST(Fetch, ShowsNoSecretsOfTheAddress) {
  const Origin origin([](const std::string&) { return std::string("garbage"); });
  std::string url = origin.Url("/fw?signature=topsecret#frag");
  url.insert(7, "admin:hunter2@");
  const Scratch scratch;
  const auto path = Fetch(url, scratch.store(), "fw", {}, {});
  ASSERT_FALSE(path);
  for (const char* secret : {"topsecret", "admin", "hunter2", "frag"}) {
    EXPECT_EQ(path.error().message.find(secret), std::string::npos) << path.error().message;
  }
}

TEST(Fetch, StopsWhenItIsToldAndOverwritesNothing) {
  const Origin origin([](const std::string&) { return Ok("content"); });
  const Scratch scratch;
  const auto stopped = Fetch(origin.Url("/x"), scratch.store(), "fw", {},
                             [](std::int64_t, std::int64_t) { return false; });
  EXPECT_EQ(stopped.error().code, ErrorCode::kUnavailable);
  scratch.Write("fw", "other");
  EXPECT_EQ(Fetch(origin.Url("/x"), scratch.store(), "fw", {}, {}).error().code,
            ErrorCode::kConflict);
  EXPECT_EQ(scratch.Read("fw"), "other");
  EXPECT_EQ(scratch.Count(), 1U);
}

}  // namespace
}  // namespace ota::package
