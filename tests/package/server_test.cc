// The download server over real sockets: every answer, its limits, its pace and its end. [N-22]
#include "package/server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "scratch.h"

namespace ota::package {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kNow = 1'795'219'200;
constexpr std::size_t kSize = 300'001;

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    scratch_.Write("fw.bin", content_);
    scratch_.Write("other.bin", "other");
    PublishTable();
  }

  void PublishTable(bool ready = true) {
    auto table = std::make_shared<ServedFiles>();
    table->emplace(1, ServedFile{"fw.bin", Inspect(scratch_.store(), "fw.bin", {}).value(), ready});
    table->emplace(
        2, ServedFile{"other.bin", Inspect(scratch_.store(), "other.bin", {}).value(), true});
    files_->SetTable(table);
    sha256_ = table->at(1).facts.sha256;
    other_sha256_ = table->at(2).facts.sha256;
  }

  void StartServer(ServerOptions options = {}) {
    ServerCallbacks callbacks;
    callbacks.unix_seconds = [this] { return now_.load(); };
    callbacks.on_sign = [this](const DownloadSign& sign) {
      if (no_memory_) {
        throw std::bad_alloc();
      }
      const std::lock_guard lock(mutex_);
      signs_.push_back(sign);
      signed_.notify_all();
    };
    callbacks.on_changed = [this](std::int64_t file, const std::string& why) {
      if (no_memory_) {
        throw std::bad_alloc();
      }
      const std::lock_guard lock(mutex_);
      changed_.emplace_back(file, why);
      signed_.notify_all();
    };
    callbacks.on_failed = [this](const std::exception&) { ++failed_; };
    auto server = Server::Start(options, key_, files_, callbacks);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  std::string PathOf(std::int64_t device = 7, std::int64_t file = 1) const {
    const std::string url =
        SignUrl("http://x", key_,
                {device, file, file == 1 ? sha256_ : other_sha256_, kNow + 3600, "fw.bin"})
            .value();
    return url.substr(8);
  }

  Answer Get(const std::string& path, const std::string& headers = "",
             const std::string& method = "GET") const {
    Client client(server_->port());
    client.Ask(path, headers, method);
    return client.Get(method != "HEAD");
  }

  // Waits until `done` holds of what the callbacks have told.
  template <typename Done>
  bool Await(Done done) {
    std::unique_lock lock(mutex_);
    return signed_.wait_for(lock, 60s, done);
  }
  bool AwaitEnds(std::size_t count) {
    return Await([&] {
      return static_cast<std::size_t>(
                 std::count_if(signs_.begin(), signs_.end(),
                               [](const DownloadSign& sign) { return sign.ended; })) == count;
    });
  }

  const std::string content_ = Content(kSize);
  Scratch scratch_;
  AddressKey key_ = AddressKey::Load(scratch_.Path("key")).value();
  std::shared_ptr<Files> files_ = std::make_shared<Files>(Descriptor(dup(scratch_.store())));
  std::string sha256_;
  std::string other_sha256_;
  std::atomic<std::int64_t> now_{kNow};
  std::atomic<bool> no_memory_{false};
  std::atomic<int> failed_{0};
  std::mutex mutex_;
  std::condition_variable signed_;
  std::vector<DownloadSign> signs_;
  std::vector<std::pair<std::int64_t, std::string>> changed_;
  std::unique_ptr<Server> server_;  // ends first: its threads use the rest
};

TEST_F(ServerTest, SendsTheWholeFile) {
  StartServer();
  const Answer answer = Get(PathOf());
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, content_);
  EXPECT_EQ(answer.Header("Content-Length"), std::to_string(kSize));
  EXPECT_EQ(answer.Header("ETag"), "\"" + sha256_ + "\"");
  EXPECT_EQ(answer.Header("Accept-Ranges"), "bytes");
  EXPECT_EQ(answer.Header("Cache-Control"), "private");
  EXPECT_EQ(answer.Header("Content-Type"), "application/octet-stream");
  EXPECT_EQ(answer.Header("Transfer-Encoding"), "(absent)");
  EXPECT_EQ(answer.Header("Server"), "(absent)");
}

TEST_F(ServerTest, TellsTheStartAndTheEndOfADownload) {
  StartServer();
  EXPECT_EQ(Get(PathOf()).status, 200);
  EXPECT_EQ(Get(PathOf(8), "Range: bytes=100-199\r\n").status, 206);
  ASSERT_TRUE(AwaitEnds(2));
  const std::lock_guard lock(mutex_);
  ASSERT_EQ(signs_.size(), 4U);
  EXPECT_EQ(signs_[0].device, 7);
  EXPECT_EQ(signs_[0].file, 1);
  EXPECT_EQ(signs_[0].offset, 0);
  EXPECT_FALSE(signs_[0].ended);
  EXPECT_EQ(signs_[1].offset, static_cast<std::int64_t>(kSize));
  EXPECT_TRUE(signs_[1].ended);
  EXPECT_TRUE(signs_[1].complete);
  EXPECT_EQ(signs_[2].device, 8);
  EXPECT_EQ(signs_[2].offset, 100);
  EXPECT_EQ(signs_[3].offset, 200);
  EXPECT_TRUE(signs_[3].ended);
  EXPECT_FALSE(signs_[3].complete);
}

TEST_F(ServerTest, GoesOnWhenNobodyCanBeToldForWantOfMemory) {
  StartServer();
  no_memory_ = true;
  EXPECT_EQ(Get(PathOf()).body, content_);  // its start and its end
  scratch_.Write("fw.bin", "short");
  EXPECT_EQ(Get(PathOf()).status, 0);  // that the file has changed
  scratch_.Write("fw.bin", content_);
  PublishTable();
  no_memory_ = false;
  EXPECT_EQ(Get(PathOf()).body, content_);
  EXPECT_GE(failed_, 3);
  EXPECT_EQ(server_->Health().downloads, 0);
}

TEST_F(ServerTest, IsCutInTheMiddleWhenNobodyCanBeToldForWantOfMemory) {
  ServerOptions options;
  options.bytes_per_second = 20'000;
  StartServer(options);
  Client client(server_->port());
  client.Ask(PathOf(), "", "GET");
  ASSERT_TRUE(Await([&] { return !signs_.empty(); }));
  no_memory_ = true;
  scratch_.Write("fw.bin", "short");
  EXPECT_LT(client.Get(true).body.size(), kSize);
  EXPECT_GE(failed_, 1);
}

TEST_F(ServerTest, SendsOneRange) {
  StartServer();
  struct Row {
    std::string range;
    int status;
    std::string content_range;
    std::size_t first;
    std::size_t size;
  };
  const std::string total = std::to_string(kSize);
  const std::vector<Row> table = {
      {"bytes=0-0", 206, "bytes 0-0/" + total, 0, 1},
      {"bytes=100000-199999", 206, "bytes 100000-199999/" + total, 100'000, 100'000},
      {"bytes=300000-", 206, "bytes 300000-300000/" + total, 300'000, 1},
      {"bytes=-2", 206, "bytes 299999-300000/" + total, 299'999, 2},
      {"bytes=5-9999999", 206, "bytes 5-300000/" + total, 5, kSize - 5},
      {"bytes=300001-", 416, "bytes */" + total, 0, 0},
      {"bytes=-0", 416, "bytes */" + total, 0, 0},
      {"bytes=0-1,3-4", 200, "(absent)", 0, kSize},
      {"bytes=4-3", 200, "(absent)", 0, kSize},
      {"lines=1-2", 200, "(absent)", 0, kSize},
  };
  for (const Row& row : table) {
    const Answer answer = Get(PathOf(), "Range: " + row.range + "\r\n");
    EXPECT_EQ(answer.status, row.status) << row.range;
    EXPECT_EQ(answer.Header("Content-Range"), row.content_range);
    EXPECT_EQ(answer.Header("Content-Length"), std::to_string(row.size));
    EXPECT_EQ(answer.body, content_.substr(row.first, row.size)) << row.range;
  }
}

TEST_F(ServerTest, AnswersConditionalRequests) {
  StartServer();
  const std::string etag = "\"" + sha256_ + "\"";
  EXPECT_EQ(Get(PathOf(), "If-None-Match: " + etag + "\r\n").status, 304);
  EXPECT_EQ(Get(PathOf(), "If-None-Match: \"x\", W/" + etag + "\r\n").status, 304);
  EXPECT_EQ(Get(PathOf(), "If-None-Match: \"x\"\r\n").status, 200);
  EXPECT_EQ(Get(PathOf(), "If-Match: \"x\"\r\n").status, 412);
  EXPECT_EQ(Get(PathOf(), "If-Match: " + etag + "\r\n").status, 200);
  const std::string range = "Range: bytes=0-9\r\n";
  EXPECT_EQ(Get(PathOf(), range + "If-Range: " + etag + "\r\n").status, 206);
  EXPECT_EQ(Get(PathOf(), range + "If-Range: \"x\"\r\n").status, 200);
  EXPECT_EQ(Get(PathOf(), range + "If-Range: W/" + etag + "\r\n").status, 200);
  EXPECT_EQ(Get(PathOf(), range + "If-Range: Sat, 21 Nov 2026 08:00:00 GMT\r\n").status, 200);
}

TEST_F(ServerTest, AnswersANotModifiedWithoutABodyAndKeepsTheConnection) {
  StartServer();
  Client client(server_->port());
  client.Ask(PathOf(), "If-None-Match: *\r\nRange: bytes=1-2\r\n");
  const Answer answer = client.Get(false);
  EXPECT_EQ(answer.status, 304);
  EXPECT_EQ(answer.Header("ETag"), "\"" + sha256_ + "\"");
  EXPECT_EQ(answer.Header("Content-Length"), std::to_string(kSize));
  EXPECT_EQ(answer.Header("Content-Range"), "(absent)");
  client.Ask(PathOf());
  EXPECT_EQ(client.Get().body, content_);
}

TEST_F(ServerTest, AnswersHeadAsGetWithoutTheBody) {
  StartServer();
  Client client(server_->port());
  client.Ask(PathOf(), "", "HEAD");
  Answer answer = client.Get(false);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("Content-Length"), std::to_string(kSize));
  EXPECT_EQ(answer.Header("ETag"), "\"" + sha256_ + "\"");
  client.Ask(PathOf(), "Range: bytes=0-9\r\n", "HEAD");
  EXPECT_EQ(client.Get(false).status, 200);
  client.Ask(PathOf());
  EXPECT_EQ(client.Get().body, content_);
}

TEST_F(ServerTest, RefusesOtherMethods) {
  StartServer();
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"}) {
    const Answer answer = Get(PathOf(), "Content-Length: 0\r\n", method);
    EXPECT_EQ(answer.status, 405) << method;
    EXPECT_EQ(answer.Header("Allow"), "GET, HEAD");
  }
  Client client(server_->port());
  client.Ask(PathOf(), "Content-Length: 5\r\n", "POST");
  client.Send("hello");
  EXPECT_EQ(client.Get().status, 405);
}

TEST_F(ServerTest, FindsNothingButAddresses) {
  StartServer();
  for (const char* path : {"/", "/fw.bin", "/../fw.bin", "/..%2ffw.bin", "/1/2/3", "/key", "/.",
                           "//////", "/%2e%2e/%2e%2e/etc/passwd", "*"}) {
    const Answer answer = Get(path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_EQ(answer.body.find("fw.bin"), std::string::npos);
  }
  const std::string url =
      SignUrl("http://x", key_, {7, 99, sha256_, kNow + 3600, "fw.bin"}).value();
  EXPECT_EQ(Get(url.substr(8)).status, 404);
}

TEST_F(ServerTest, ServesBelowAnyBasePathAndIgnoresAQuery) {
  StartServer();
  EXPECT_EQ(Get("/ota/files" + PathOf()).status, 200);
  EXPECT_EQ(Get(PathOf() + "?x=/1/2").status, 200);
}

TEST_F(ServerTest, RefusesAddressesThatHaveExpired) {
  StartServer();
  now_ = kNow + 3599;
  EXPECT_EQ(Get(PathOf()).status, 200);
  now_ = kNow + 3600;
  EXPECT_EQ(Get(PathOf()).status, 403);
}

TEST_F(ServerTest, RefusesAlteredAddresses) {
  StartServer();
  const std::string path = PathOf();
  ASSERT_EQ(Get(path).status, 200);
  const std::string expiry = std::to_string(kNow + 3600);
  const auto altered = [&](const std::string& from, const std::string& to) {
    std::string other = path;
    other.replace(other.find(from), from.size(), to);
    return Get(other).status;
  };
  EXPECT_EQ(altered(expiry, std::to_string(kNow + 7200)), 403);
  EXPECT_EQ(altered("/7/1/", "/8/1/"), 403);
  EXPECT_EQ(altered("/7/1/", "/7/2/"), 403);
  EXPECT_EQ(altered("fw.bin", "fv.bin"), 403);
  const std::size_t code = path.rfind('/') - 1;
  std::string other = path;
  other[code] = other[code] == 'A' ? 'Q' : 'A';
  EXPECT_EQ(Get(other).status, 403);
}

TEST_F(ServerTest, RefusesAddressesOfAnOldKeyAndOfOldContent) {
  StartServer();
  const std::string path = PathOf();
  scratch_.Write("fw.bin", "new content");
  PublishTable();
  EXPECT_EQ(Get(path).status, 403);
  EXPECT_EQ(Get(PathOf()).body, "new content");
  server_->SetKey(AddressKey::Load(scratch_.Path("key2")).value());
  EXPECT_EQ(Get(PathOf()).status, 403);
}

TEST_F(ServerTest, AsksToWaitUntilTheTableIsThereAndWhileAFileIsHashed) {
  files_->SetTable(nullptr);
  StartServer();
  Answer answer = Get(PathOf());
  EXPECT_EQ(answer.status, 503);
  EXPECT_GE(std::atoi(answer.Header("Retry-After").c_str()), 1);
  PublishTable(false);
  EXPECT_EQ(Get(PathOf()).status, 503);
  PublishTable();
  EXPECT_EQ(Get(PathOf()).status, 200);
  EXPECT_EQ(server_->Health().refused, 2);
}

TEST_F(ServerTest, AsksToWaitForAFileThatChangedAndTellsTheEngine) {
  StartServer();
  const std::string path = PathOf();
  std::string other = content_;
  other[5]++;
  scratch_.Write("fw.bin", other);
  const Answer answer = Get(path);
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.Header("Retry-After"), "(absent)");
  std::filesystem::remove(scratch_.Path("fw.bin"));
  EXPECT_EQ(Get(path).status, 503);
  const std::lock_guard lock(mutex_);
  ASSERT_EQ(changed_.size(), 2U);
  EXPECT_EQ(changed_[0].first, 1);
  EXPECT_NE(changed_[0].second.find("'fw.bin'"), std::string::npos);
  EXPECT_NE(changed_[1].second.find("not in the store"), std::string::npos);
}

TEST_F(ServerTest, KeepsAConnectionForManyRequests) {
  StartServer();
  Client client(server_->port());
  for (int i = 0; i < 20; ++i) {
    client.Ask(PathOf(), "Range: bytes=" + std::to_string(i * 1000) + "-" +
                             std::to_string(i * 1000 + 999) + "\r\n");
    const Answer answer = client.Get();
    EXPECT_EQ(answer.status, 206);
    EXPECT_EQ(answer.body, content_.substr(static_cast<std::size_t>(i) * 1000, 1000));
  }
  EXPECT_EQ(server_->Health().connections, 1);
}

// -------------------------------------------------------------------------------------------
// limits

// A file that no socket buffer swallows, so that a download stays open while its client does not
// read.
class BigServerTest : public ServerTest {
 protected:
  static constexpr std::size_t kBigSize = 24U << 20;
  BigServerTest() {
    scratch_.Write("fw.bin", big_);
    PublishTable();
  }
  std::unique_ptr<Client> Begin(std::int64_t device) const {
    auto client = std::make_unique<Client>(server_->port(), 4096);
    client->Ask(PathOf(device));
    EXPECT_EQ(client->Head().status, 200);
    return client;
  }
  const std::string big_ = Content(kBigSize);
};

TEST_F(BigServerTest, SharesOneDescriptorAmongDownloadsOfOneFile) {
  StartServer();
  const auto first = Begin(1);
  const auto second = Begin(2);
  EXPECT_EQ(files_->in_use(), 1U);
  EXPECT_EQ(server_->Health().downloads, 2);
}

TEST_F(BigServerTest, AsksToWaitBeyondTheMostDownloads) {
  ServerOptions options;
  options.max_connections = 2;
  StartServer(options);
  auto first = Begin(1);
  const auto second = Begin(2);
  const Answer refused = Get(PathOf(3));
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.Header("Retry-After"), "(absent)");
  first.reset();
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(Begin(3)->fd() >= 0, true);
}

TEST_F(BigServerTest, LeavesDescriptorsToRegisteredDevices) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  StartServer();
  const std::int64_t most = static_cast<std::int64_t>(limit.rlim_cur) - 64;
  server_->SetReserved(most + 1000);
  EXPECT_EQ(server_->Health().allowed, 0);
  EXPECT_EQ(Get(PathOf()).status, 503);
  server_->SetReserved(most - 1);  // a connection without the file
  EXPECT_EQ(Get(PathOf()).status, 503);
  // Connections end a moment after their client: those two must not count any more.
  const auto deadline = Clock::now() + 60s;
  while (server_->Health().connections > 0 && Clock::now() < deadline) {
    std::this_thread::yield();
  }
  server_->SetReserved(most - 2);
  const auto first = Begin(1);
  EXPECT_EQ(Get(PathOf(2)).status, 503);
  server_->SetReserved(0);
  const auto second = Begin(2);
}

TEST_F(BigServerTest, ClosesConnectionsBeyondTheMostOfOneAddress) {
  ServerOptions options;
  options.max_per_address = 2;
  StartServer(options);
  const auto first = Begin(1);
  const auto second = Begin(2);
  EXPECT_EQ(Get(PathOf(3)).status, 0);
}

TEST_F(BigServerTest, NeverMixesAFileThatIsReplacedMeanwhile) {
  StartServer();
  const auto client = Begin(1);
  scratch_.Write("new", std::string(kBigSize, 'n'));
  std::filesystem::rename(scratch_.Path("new"), scratch_.Path("fw.bin"));
  while (client->More()) {
  }
  EXPECT_LT(client->pending().size(), kBigSize);
  EXPECT_EQ(client->pending(), big_.substr(0, client->pending().size()));
  EXPECT_TRUE(Await([&] { return !changed_.empty(); }));
}

TEST_F(BigServerTest, NeverMixesAFileThatIsWrittenToMeanwhile) {
  StartServer();
  const auto client = Begin(1);
  {
    const Descriptor writer(open(scratch_.Path("fw.bin").c_str(), O_WRONLY));
    const std::string junk(1 << 20, 'n');
    ASSERT_EQ(pwrite(writer.get(), junk.data(), junk.size(), off_t{kBigSize - (1 << 20)}),
              static_cast<ssize_t>(junk.size()));
  }
  while (client->More()) {
  }
  EXPECT_LT(client->pending().size(), kBigSize);
  EXPECT_EQ(client->pending(), big_.substr(0, client->pending().size()));
}

TEST_F(BigServerTest, CutsEverythingWhenItIsSwitchedOff) {
  StartServer();
  const auto client = Begin(1);
  server_->SetServing(false);
  while (client->More()) {
  }
  EXPECT_LT(client->pending().size(), kBigSize);
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(Get(PathOf()).status, 503);
  server_->SetServing(true);
  EXPECT_EQ(Get(PathOf()).body.size(), kBigSize);
}

TEST_F(BigServerTest, EndsWithinASecondWhileDownloadsRun) {
  const std::size_t before = OpenDescriptors();
  ServerOptions options;
  options.bytes_per_second = 10'000;
  StartServer(options);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<Client>(server_->port()));
    clients.back()->Ask(PathOf(i));
  }
  ASSERT_TRUE(Await([&] { return signs_.size() >= 10; }));
  const auto start = Clock::now();
  server_.reset();
  EXPECT_LT(Clock::now() - start, 1s);
  clients.clear();
  EXPECT_EQ(files_->in_use(), 0U);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(ServerTest, LeaksNoDescriptors) {
  const std::size_t before = OpenDescriptors();
  StartServer();
  for (int i = 0; i < 50; ++i) {
    Client client(server_->port());
    client.Ask(i % 3 == 0 ? "/none" : PathOf(i));
    if (i % 2 == 0) {
      client.Get();
    }
  }
  server_.reset();
  EXPECT_EQ(OpenDescriptors(), before);
}

// ------------------------------------------------------------------------------------------- pace

TEST_F(ServerTest, HoldsTheRateByWaitingNotByBurning) {
  ServerOptions options;
  options.bytes_per_second = 300'000;
  StartServer(options);
  const double cpu = CpuSeconds();
  const auto start = Clock::now();
  EXPECT_EQ(Get(PathOf()).body, content_);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  EXPECT_GT(seconds, 0.7);  // 1 s, less what the bucket holds
  EXPECT_LT(seconds, 5.0);
  EXPECT_LT(CpuSeconds() - cpu, 0.3 * seconds);
}

TEST_F(ServerTest, SharesTheRateFairly) {
  ServerOptions options;
  options.bytes_per_second = 300'000;
  StartServer(options);
  std::vector<std::thread> threads;
  std::array<double, 3> seconds{};
  const auto start = Clock::now();
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    threads.emplace_back([&, i] {
      const Answer answer = Get(PathOf(static_cast<std::int64_t>(i)), "Range: bytes=0-99999\r\n");
      EXPECT_EQ(answer.body, content_.substr(0, 100'000));
      seconds[i] = std::chrono::duration<double>(Clock::now() - start).count();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const double each : seconds) {
    EXPECT_GT(each, 0.5);  // alone it would have taken a third of a second
    EXPECT_LT(each, 5.0);
  }
}

TEST_F(ServerTest, ChangesTheRateWhileItSends) {
  ServerOptions options;
  options.bytes_per_second = 1'000;  // five minutes for the file
  StartServer(options);
  Client client(server_->port());
  client.Ask(PathOf());
  EXPECT_EQ(client.Head().status, 200);
  server_->SetBytesPerSecond(0);
  while (client.pending().size() < kSize && client.More()) {
  }
  EXPECT_EQ(client.pending(), content_);
}

TEST_F(ServerTest, CutsDownloadsThatWaitForTheirTurn) {
  ServerOptions options;
  options.bytes_per_second = 1'000;
  StartServer(options);
  Client client(server_->port());
  client.Ask(PathOf());
  EXPECT_EQ(client.Head().status, 200);
  server_->SetServing(false);
  while (client.More()) {
  }
  EXPECT_LT(client.pending().size(), kSize);
  EXPECT_TRUE(AwaitEnds(1));
}

// -------------------------------------------------------------------------------------------
// hostile input

TEST_F(ServerTest, RefusesOverlongRequests) {
  StartServer();
  const int long_header = Get(PathOf(), "X: " + std::string(20'000, 'x') + "\r\n").status;
  EXPECT_TRUE(long_header == 431 || long_header == 413 || long_header == 0) << long_header;
  const int long_path = Get("/" + std::string(20'000, 'x')).status;
  EXPECT_TRUE(long_path == 414 || long_path == 404 || long_path == 0) << long_path;
  EXPECT_EQ(Get(PathOf()).status, 200);
}

TEST_F(ServerTest, SurvivesGarbage) {
  using namespace std::string_literals;
  ServerOptions options;
  options.idle = std::chrono::seconds(1);  // ends what waits for the rest of a request
  StartServer(options);
  for (const std::string& garbage :
       {"\r\n\r\n"s, "GET\r\n\r\n"s, "GET / HTTP/9.9\r\n\r\n"s, "\0\0\0\0\r\n\r\n"s,
        "GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"s,
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"s,
        std::string(5000, '\xff')}) {
    Client client(server_->port());
    client.Send(garbage);
    while (client.More()) {
    }
    EXPECT_NE(client.pending().substr(0, 12), "HTTP/1.1 200");
  }
  EXPECT_EQ(Get(PathOf()).status, 200);
}

TEST_F(ServerTest, ClosesAConnectionOnWhichNothingMoves) {
  ServerOptions options;
  options.idle = std::chrono::seconds(1);
  StartServer(options);
  Client client(server_->port());
  client.Send("GET /slow HTTP/1.1\r\nHos");
  EXPECT_FALSE(client.More());  // the client's own patience is 10 s
  EXPECT_EQ(client.pending(), "");
  const auto deadline = Clock::now() + 60s;
  while (server_->Health().connections > 0 && Clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_EQ(server_->Health().connections, 0);
}

// ------------------------------------------------------------------------------------------- start

TEST_F(ServerTest, NamesAPortThatIsTaken) {
  StartServer();
  ServerOptions options;
  options.port = server_->port();
  const auto second = Server::Start(options, key_, files_, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, core::ErrorCode::kInvalidArgument);
  EXPECT_NE(second.error().message.find("port " + std::to_string(options.port)), std::string::npos);
  EXPECT_NE(second.error().message.find("in use"), std::string::npos) << second.error().message;
}

TEST_F(ServerTest, RefusesAnAddressThatIsNone) {
  for (const char* address : {"localhost", "300.0.0.1", "192.0.2.1", "x"}) {
    ServerOptions options;
    options.address = address;
    const auto server = Server::Start(options, key_, files_, {});
    ASSERT_FALSE(server) << address;
    EXPECT_EQ(server.error().code, core::ErrorCode::kInvalidArgument);
    EXPECT_NE(server.error().message.find(address), std::string::npos);
  }
}

TEST_F(ServerTest, ListensOnBothFamilies) {
  if (std::ifstream("/proc/net/if_inet6").peek() == std::ifstream::traits_type::eof()) {
    GTEST_SKIP() << "this machine has no IPv6";
  }
  ServerOptions options;
  options.address = "::";
  StartServer(options);
  EXPECT_EQ(Get(PathOf()).status, 200);
}

TEST_F(ServerTest, BlocksAllSignalsInItsThreads) {
  StartServer();
  int others = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(getpid())) {
      continue;
    }
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("SigBlk:", 0) == 0) {
        const std::uint64_t blocked = std::stoull(line.substr(8), nullptr, 16);
        for (const int signal : {SIGTERM, SIGHUP, SIGURG, SIGINT, SIGUSR1}) {
          EXPECT_NE(blocked & (1ULL << (signal - 1)), 0U) << task.path() << " " << signal;
        }
        ++others;
      }
    }
  }
  EXPECT_GE(others, 2);
}

}  // namespace
}  // namespace ota::package
