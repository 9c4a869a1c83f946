#include "fleet/fetch.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace ota::fleet {
namespace {

struct Address {
  sockaddr_in to{};
  std::string host;
  std::string path;
};

// http://A.B.C.D[:PORT]/PATH. Gives what is wrong, or nothing.
std::string Parse(std::string_view url, Address& address) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    return "address needs TLS or is no HTTP";
  }
  url.remove_prefix(kScheme.size());
  const auto slash = std::min(url.find('/'), url.size());
  address.host = url.substr(0, slash);
  address.path = slash < url.size() ? std::string(url.substr(slash)) : "/";
  const auto colon = address.host.find(':');
  unsigned port = 80;
  if (colon != std::string::npos) {
    std::from_chars(address.host.data() + colon + 1, address.host.data() + address.host.size(),
                    port);
  }
  address.to.sin_family = AF_INET;
  address.to.sin_port = htons(static_cast<std::uint16_t>(port));
  const auto name = address.host.substr(0, colon);
  if (inet_pton(AF_INET, name.c_str(), &address.to.sin_addr) != 1) {
    return "host of the address is no IPv4 address: " + name;
  }
  return {};
}

std::int64_t Number(std::string_view text) {
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// The value of one header field, by its name in lower case; empty: absent.
std::string_view Field(std::string_view header, std::string_view name) {
  while (!header.empty()) {
    const auto end = std::min(header.find("\r\n"), header.size());
    const auto line = header.substr(0, end);
    header.remove_prefix(std::min(end + 2, header.size()));
    if (line.size() > name.size() && line[name.size()] == ':' &&
        std::equal(name.begin(), name.end(), line.begin(), [](char a, char b) {
          return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
        })) {
      auto value = line.substr(name.size() + 1);
      value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
      return value;
    }
  }
  return {};
}

}  // namespace

Fetch::Fetch(Loop& loop, std::function<void(const Fetched&)> done)
    : done_(std::move(done)), stream_(loop, *this), timer_(loop, [this] {
        if (ended_) {
          const Fetched fetched = fetched_;
          done_(fetched);
        } else {
          stream_.Pause(false);
        }
      }) {}

void Fetch::Begin(const std::string& url, std::string& content, std::int64_t bytes,
                  std::int64_t bytes_per_second, std::uint32_t source) {
  Stop();
  fetched_ = {};
  content_ = &content;
  bytes_ = bytes;
  bytes_per_second_ = bytes_per_second;
  in_body_ = false;
  ended_ = false;
  Address address;
  fetched_.problem = Parse(url, address);
  const auto window =
      bytes_per_second > 0
          ? static_cast<int>(std::clamp<std::int64_t>(bytes_per_second / 2, 1024, 65536))
          : 0;
  if (!fetched_.problem.empty() || !stream_.Open(address.to, source, fetched_.problem, window)) {
    Done();
    return;
  }
  request_ =
      "GET " + address.path + " HTTP/1.1\r\nHost: " + address.host + "\r\nConnection: close\r\n" +
      (content.empty() ? "" : "Range: bytes=" + std::to_string(content.size()) + "-\r\n") + "\r\n";
}

void Fetch::Stop() {
  stream_.Close();
  timer_.Cancel();
}

void Fetch::OnOpen() {
  stream_.Write(request_);
}

bool Fetch::ReadHeader(std::string_view header) {
  const auto space = header.find(' ');
  if (!header.starts_with("HTTP/1.") || space == std::string_view::npos) {
    fetched_.problem = "no HTTP answer";
    return false;
  }
  fetched_.status = static_cast<int>(Number(header.substr(space + 1)));
  fetched_.retry_after_s = Number(Field(header, "retry-after"));
  const auto wanted = bytes_ - static_cast<std::int64_t>(content_->size());
  const bool whole = fetched_.status == 200 && content_->empty();
  const bool rest = fetched_.status == 206 && !content_->empty();
  if (!whole && !rest) {
    fetched_.problem = "HTTP status " + std::to_string(fetched_.status);
    return false;
  }
  if (Number(Field(header, "content-length")) != wanted ||
      !Field(header, "transfer-encoding").empty()) {
    fetched_.problem = "wrong Content-Length, or chunked";  // [N-22]
    return false;
  }
  return true;
}

std::size_t Fetch::OnBytes(std::string_view bytes) {
  const auto all = bytes.size();
  if (!in_body_) {
    const auto end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      return 0;
    }
    if (!ReadHeader(bytes.substr(0, end))) {
      Done();
      return all;
    }
    bytes.remove_prefix(end + 4);
    in_body_ = true;
  }
  content_->append(bytes);
  const auto takes = bytes_per_second_ > 0
                         ? static_cast<std::int64_t>(bytes.size()) * kSecond / bytes_per_second_
                         : 0;
  if (static_cast<std::int64_t>(content_->size()) >= bytes_) {
    Done();
    timer_.Set(takes);
  } else if (takes > 0) {
    stream_.Pause(true);
    timer_.Set(takes);
  }
  return all;
}

void Fetch::OnEnd(const std::string& why) {
  fetched_.problem = "download broken off: " + why;
  Done();
}

void Fetch::Done() {
  stream_.Close();
  ended_ = true;
  timer_.Set(0);
}

}  // namespace ota::fleet
