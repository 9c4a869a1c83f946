// Downloads one file over plain HTTP/1.1, resumes by Range.
// TLS is left out: an https address ends with "needs TLS". The loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "fleet/loop.h"

namespace ota::fleet {

struct Fetched {
  int status = 0;  // 0: no answer; `problem` says why
  std::int64_t retry_after_s = 0;
  std::string problem;
};

class Fetch : private StreamOwner {
 public:
  // `done` is called once per Begin(), never inside it, and not after Stop().
  Fetch(Loop& loop, std::function<void(const Fetched&)> done);

  // Asks for all of `url` from byte `content.size()` on and appends to `content`, which must live
  // until `done` or Stop(). `bytes_per_second`: 0 for no limit. `source`: see Stream::Open.
  void Begin(const std::string& url, std::string& content, std::int64_t bytes,
             std::int64_t bytes_per_second, std::uint32_t source);
  void Stop();

 private:
  void OnOpen() override;
  std::size_t OnBytes(std::string_view bytes) override;
  void OnEnd(const std::string& why) override;
  bool ReadHeader(std::string_view header);
  void Done();

  std::function<void(const Fetched&)> done_;
  Stream stream_;
  Timer timer_;  // resumes a paced download, or calls `done`
  Fetched fetched_;
  std::string request_;
  std::string* content_ = nullptr;
  std::int64_t bytes_ = 0;
  std::int64_t bytes_per_second_ = 0;
  bool in_body_ = false;
  bool ended_ = false;
};

}  // namespace ota::fleet
