// What the tests of the package part share: a directory that goes away, files in it, and a client
// that shows every byte of an HTTP answer.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "package/descriptor.h"
#include "package/store_directory.h"

namespace ota::package {

class Scratch {
 public:
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ota-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
    store_ = OpenStore(path_).value();
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::filesystem::remove_all(path_); }

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  int store() const { return store_.get(); }

  void Write(const std::string& name, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary | std::ios::trunc) << text;
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::size_t Count() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::string path_;
  Descriptor store_;
};

inline std::size_t OpenDescriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

// `size` bytes of which every window of eight is another.
inline std::string Content(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = (i + 1) * 0x9e3779b97f4a7c15ULL;
    for (std::size_t j = 0; j < 8 && i + j < size; ++j) {
      text[i + j] = static_cast<char>(static_cast<unsigned char>(word >> (8 * j)));
    }
  }
  return text;
}

struct Answer {
  int status = 0;  // 0: the connection ended before an answer
  std::map<std::string, std::string> headers;
  std::string body;    // as much as came
  bool whole = false;  // as long as Content-Length says

  std::string Header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "(absent)" : found->second;
  }
};

class Client {
 public:
  explicit Client(std::uint16_t port, int receive_buffer = 0)
      : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    const timeval patience{10, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }

  void Send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t sent = send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) {
        return;
      }
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  void Ask(const std::string& path, const std::string& headers = "",
           const std::string& method = "GET") const {
    Send(method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
  }

  // Status line and headers alone.
  Answer Head() {
    Answer answer;
    std::size_t end = 0;
    while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) {
        return answer;
      }
    }
    const std::string head = pending_.substr(0, end + 2);
    pending_.erase(0, end + 4);
    answer.status = std::atoi(head.c_str() + 9);
    for (std::size_t line = head.find("\r\n") + 2; line < head.size();) {
      const std::size_t next = head.find("\r\n", line);
      const std::size_t colon = head.find(": ", line);
      answer.headers[head.substr(line, colon - line)] = head.substr(colon + 2, next - colon - 2);
      line = next + 2;
    }
    return answer;
  }

  Answer Get(bool has_body = true) {
    Answer answer = Head();
    const auto length = answer.headers.find("Content-Length");
    const std::size_t size =
        has_body && length != answer.headers.end() ? std::stoul(length->second) : 0;
    while (pending_.size() < size && More()) {
    }
    answer.body = pending_.substr(0, size);
    answer.whole = answer.body.size() == size && answer.status != 0;
    pending_.erase(0, answer.body.size());
    return answer;
  }

  // Reads some of a body; false at the end of the connection.
  bool More() {
    char buffer[65536];
    const ssize_t got = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got <= 0) {
      return false;
    }
    pending_.append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  // What came and was not taken by Get or Head.
  std::string& pending() { return pending_; }

 private:
  Descriptor fd_;
  bool connected_ = false;
  std::string pending_;
};

}  // namespace ota::package
