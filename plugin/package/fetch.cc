#include "package/fetch.h"

#include <memory>
#include <string_view>
#include <utility>

#include <curl/curl.h>

#include "package/add.h"

namespace ota::package {
namespace {

using core::ErrorCode;
using core::Fail;

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using Url = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

bool Initialize() {
  static const bool initialized = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return initialized;
}

std::string Part(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) {
    return {};
  }
  std::string copy(text);
  curl_free(text);
  return copy;
}

// Without user name, password, query and fragment, which may be secrets.
std::string Shown(CURLU* url) {
  const std::string port = Part(url, CURLUPART_PORT, 0);
  return Part(url, CURLUPART_SCHEME, 0) + "://" + Part(url, CURLUPART_HOST, 0) +
         (port.empty() ? "" : ":" + port) + Part(url, CURLUPART_PATH, 0);
}

struct Transfer {
  NewFile& file;
  const FetchLimits& limits;
  const Progress& progress;
  std::int64_t bytes = 0;
  bool too_large = false;
  bool stopped = false;
  core::Result<void> written;
};

std::size_t OnBytes(char* bytes, std::size_t size, std::size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const std::size_t total = size * count;
  transfer.bytes += static_cast<std::int64_t>(total);
  if (transfer.bytes > transfer.limits.max_bytes) {
    transfer.too_large = true;
    return 0;
  }
  transfer.written = transfer.file.Write({bytes, total});
  return transfer.written ? total : 0;
}

int OnProgress(void* user, curl_off_t total, curl_off_t done, curl_off_t /*to_send*/,
               curl_off_t /*sent*/) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  transfer.stopped = transfer.progress && !transfer.progress(done, total);
  return transfer.stopped ? 1 : 0;
}

core::Result<void> Perform(CURL* easy, const std::string& url, const std::string& scheme,
                           Transfer& transfer) {
  const char* redirected = scheme == "https" ? "https" : "http,https";
  const FetchLimits& limits = transfer.limits;
  bool good = true;
  const auto set = [&](CURLoption option, auto value) {
    good = good && curl_easy_setopt(easy, option, value) == CURLE_OK;
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, redirected);
  set(CURLOPT_FOLLOWLOCATION, limits.redirects > 0 ? 1L : 0L);
  set(CURLOPT_MAXREDIRS, static_cast<long>(limits.redirects));
  set(CURLOPT_FAILONERROR, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(limits.connect.count()));
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(limits.stalled.count()));
  set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(limits.max_bytes));
  set(CURLOPT_WRITEFUNCTION, &OnBytes);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &OnProgress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(&transfer));
  if (!good) {
    return Fail(ErrorCode::kInternal, "libcurl refuses an option");
  }
  const CURLcode code = curl_easy_perform(easy);
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (transfer.too_large || code == CURLE_FILESIZE_EXCEEDED) {
    return Fail(ErrorCode::kInvalidArgument,
                "is larger than " + std::to_string(limits.max_bytes) + " bytes");
  }
  if (transfer.stopped) {
    return Fail(ErrorCode::kUnavailable, "stopped");
  }
  if (!transfer.written) {
    return transfer.written;
  }
  if (code == CURLE_HTTP_RETURNED_ERROR) {
    return Fail(ErrorCode::kUnavailable,
                "the server answers with status " + std::to_string(status));
  }
  // The address itself was checked; curl gives this code also for an answer that is not HTTP/1.
  if (code == CURLE_UNSUPPORTED_PROTOCOL && status / 100 == 3) {
    return Fail(ErrorCode::kInvalidArgument,
                "is redirected, but only http and https are fetched, and not http after https");
  }
  if (code != CURLE_OK) {
    return Fail(ErrorCode::kUnavailable, curl_easy_strerror(code));
  }
  // Without FOLLOWLOCATION a redirect is a success of curl's.
  if (status != 200) {
    return Fail(ErrorCode::kUnavailable,
                "the server answers with status " + std::to_string(status) + ", not 200");
  }
  if (transfer.bytes == 0) {
    return Fail(ErrorCode::kInvalidArgument, "is empty");
  }
  return {};
}

}  // namespace

core::Result<std::string> Fetch(const std::string& url, int store, std::string name,
                                const FetchLimits& limits, const Progress& progress) {
  const Easy easy(Initialize() ? curl_easy_init() : nullptr, curl_easy_cleanup);
  const Url parsed(curl_url(), curl_url_cleanup);
  if (!easy || !parsed) {
    return Fail(ErrorCode::kInternal, "libcurl cannot be initialized");
  }
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return Fail(ErrorCode::kInvalidArgument, "the address is not a URL");
  }
  const std::string shown = Shown(parsed.get());
  const std::string scheme = Part(parsed.get(), CURLUPART_SCHEME, 0);
  if (scheme != "http" && scheme != "https") {
    return Fail(ErrorCode::kInvalidArgument, "'" + shown + "': only http and https are fetched");
  }
  if (name.empty()) {
    const std::string path = Part(parsed.get(), CURLUPART_PATH, CURLU_URLDECODE);
    name = path.substr(path.rfind('/') + 1);
  }
  if (const core::Result<void> checked = CheckName(name); !checked) {
    return tl::unexpected(checked.error());
  }
  core::Result<NewFile> file = NewFile::Create(store, kStoreMode, true);
  if (!file) {
    return tl::unexpected(file.error());
  }
  Transfer transfer{*file, limits, progress, 0, false, false, {}};
  if (const core::Result<void> done = Perform(easy.get(), url, scheme, transfer); !done) {
    return Fail(done.error().code, "'" + shown + "': " + done.error().message);
  }
  if (const core::Result<void> published = PublishInStore(store, *file, name); !published) {
    return tl::unexpected(published.error());
  }
  return name;
}

}  // namespace ota::package
