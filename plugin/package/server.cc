#include "package/server.h"

#include <microhttpd.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "package/pacer.h"
#include "package/range.h"
#include "package/threads.h"

namespace ota::package {
namespace {

using core::ErrorCode;
using core::Fail;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBlock = std::size_t{32} * 1024;         // read and sent at once
constexpr std::size_t kRequestMemory = std::size_t{8} * 1024;  // longest request line and headers
constexpr std::int64_t kHeadroom = 64;  // descriptors for database, logs, listeners
constexpr std::int64_t kSlack =
    16;  // connections beyond the limit that are told 503; of the headroom
constexpr auto kSignInterval = std::chrono::seconds(10);
constexpr std::int64_t kRetryAfter = 15;        // seconds, at least
constexpr std::int64_t kRetryAfterSpread = 30;  // so that devices do not come back all at once

struct Response {
  explicit Response(MHD_Response* made) : response(made) {}
  Response(const Response&) = delete;
  Response& operator=(const Response&) = delete;
  ~Response() {
    if (response != nullptr) {
      MHD_destroy_response(response);
    }
  }
  void Add(const char* name, const std::string& value) const {
    MHD_add_response_header(response, name, value.c_str());
  }
  MHD_Response* response;
};

const char* Header(MHD_Connection* connection, const char* name) {
  return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

core::Result<Descriptor> Listen(const std::string& address, std::uint16_t port) {
  const std::string shown = "download server: " + address + " port " + std::to_string(port);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return Fail(ErrorCode::kInvalidArgument, shown + ": must be a numeric IPv4 or IPv6 address");
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, freeaddrinfo);
  Descriptor listener(
      socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  const int on = 1;
  const int off = 0;
  if (found->ai_family == AF_INET6) {
    setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!listener || bind(listener.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(listener.get(), SOMAXCONN) != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                shown + ": cannot be listened on: " + std::generic_category().message(errno));
  }
  return listener;
}

std::uint16_t PortOf(int listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  std::array<char, 6> port{};
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  getnameinfo(reinterpret_cast<sockaddr*>(&address), size, nullptr, 0, port.data(), port.size(),
              NI_NUMERICSERV);
  std::uint16_t number = 0;
  std::from_chars(port.data(), port.data() + std::strlen(port.data()), number);
  return number;
}

std::int64_t DescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
      limit.rlim_cur > static_cast<rlim_t>(std::numeric_limits<std::int32_t>::max())) {
    return std::numeric_limits<std::int32_t>::max();
  }
  return static_cast<std::int64_t>(limit.rlim_cur);
}

std::size_t LeaveEscaped(void* /*user*/, MHD_Connection* /*connection*/, char* text) {
  return std::strlen(text);
}

// Marks a request of which only the header has come.
char header_seen;

}  // namespace

struct Server::State {
  // One answered GET, from its first byte to its last. What is not guarded belongs to
  // libmicrohttpd's thread.
  struct Download {
    State* state = nullptr;
    MHD_Connection* connection = nullptr;
    int socket = -1;
    std::int64_t device = 0;
    std::int64_t file_id = 0;
    std::shared_ptr<const OpenFile> file;
    std::int64_t first = 0;
    std::int64_t end = 0;  // behind the last byte of the range
    std::int64_t at = 0;   // behind the last byte handed over
    Clock::time_point told{};

    // Guarded by state->mutex.
    std::int64_t granted = 0;  // bytes that its last turn left
    bool waiting = false;      // suspended, in the pacer's queue
    bool cut = false;
  };

  ServerOptions options;
  std::shared_ptr<Files> files;
  ServerCallbacks callbacks;
  std::uint16_t port = 0;
  MHD_Daemon* daemon = nullptr;

  std::atomic<std::int64_t> connections{0};
  std::atomic<std::int64_t> reserved{0};
  std::atomic<std::int64_t> sent{0};
  std::atomic<std::int64_t> refused{0};

  mutable std::mutex mutex;  // guards what follows; never held over I/O
  std::shared_ptr<const AddressKey> key;
  bool serving = true;
  std::unordered_set<std::int64_t> held;  // devices
  bool stopping = false;
  std::set<Download*> downloads;
  Pacer pacer;
  bool pacer_changed = false;
  std::condition_variable_any wake;
  std::jthread pace;

  std::int64_t Descriptors() const {
    return std::max<std::int64_t>(0, DescriptorLimit() - reserved - kHeadroom);
  }

  // Whether a download that has opened its file may begin; then it is one of `downloads`.
  bool Admit(Download* download) {
    const std::int64_t descriptors = connections + static_cast<std::int64_t>(files->in_use());
    const std::lock_guard lock(mutex);
    if (!serving || stopping || held.contains(download->device) ||
        std::cmp_greater_equal(downloads.size(), options.max_connections) ||
        descriptors > Descriptors()) {
      return false;
    }
    downloads.insert(download);
    return true;
  }

  // The caller holds the mutex.
  void Resume(Download* download) {
    download->waiting = false;
    MHD_resume_connection(download->connection);
  }

  // The caller holds the mutex. The socket is open: a download leaves the set before its socket is
  // closed.
  void Cut(Download* download) {
    download->cut = true;
    shutdown(download->socket, SHUT_RDWR);
    if (download->waiting) {
      pacer.Forget(download);
      Resume(download);
    }
  }
  void CutAll() {
    for (Download* download : downloads) {
      Cut(download);
    }
  }

  // Takes no memory, and so throws nothing.
  void Pace(const std::stop_token& stop) {
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      const Clock::time_point now = Clock::now();
      while (const std::optional<Pacer::Waiter> next = pacer.Next(now)) {
        Download* download = static_cast<Download*>(*next);
        download->granted = pacer.quantum();
        Resume(download);
      }
      pacer_changed = false;
      const auto changed = [this] { return pacer_changed; };
      if (const std::optional<Pacer::Time> when = pacer.When(now)) {
        wake.wait_until(lock, stop, *when, changed);
      } else {
        wake.wait(lock, stop, changed);
      }
    }
  }

  // The caller is in libmicrohttpd, where an exception would end the broker.
  void Failed(const std::exception& why) const {
    if (callbacks.on_failed) {
      callbacks.on_failed(why);
    }
  }

  // Does not throw: what has begun must be ended.
  void Tell(Download& download, bool ended, bool complete) const {
    download.told = Clock::now();
    try {
      if (callbacks.on_sign) {
        callbacks.on_sign({download.device, download.file_id, download.at, ended, complete});
      }
    } catch (const std::exception& why) {
      Failed(why);
    }
  }

  void TellChanged(std::int64_t file, const std::string& why) const {
    if (callbacks.on_changed) {
      callbacks.on_changed(file, why);
    }
  }

  // How many bytes may be sent now: 0, and the connection is suspended; nothing, and it is to be
  // cut.
  std::optional<std::int64_t> Turn(Download& download, std::int64_t wanted) {
    const std::lock_guard lock(mutex);
    if (download.cut || stopping) {
      return std::nullopt;
    }
    if (download.granted > 0) {
      const std::int64_t turn = std::min(download.granted, wanted);
      download.granted -= turn;
      return turn;
    }
    const std::int64_t turn = pacer.Take(wanted, Clock::now());
    if (turn == 0) {
      pacer.Wait(&download);
      download.waiting = true;
      MHD_suspend_connection(download.connection);
      pacer_changed = true;
      wake.notify_one();
    }
    return turn;
  }

  ssize_t Read(Download& download, std::uint64_t position, char* to, std::size_t room) {
    const std::int64_t offset = download.first + static_cast<std::int64_t>(position);
    const std::optional<std::int64_t> turn =
        Turn(download, std::min(static_cast<std::int64_t>(room), download.end - offset));
    if (!turn) {
      return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (*turn == 0) {
      return 0;
    }
    const core::Result<std::size_t> got =
        download.file->ReadInto(to, static_cast<std::size_t>(*turn), offset);
    if (!got || *got == 0) {
      TellChanged(download.file_id, got ? "ends early" : got.error().message);
      return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    download.at = offset + static_cast<std::int64_t>(*got);
    sent += static_cast<std::int64_t>(*got);
    if (Clock::now() - download.told >= kSignInterval) {
      Tell(download, false, false);
    }
    return static_cast<ssize_t>(*got);
  }

  MHD_Result Status(MHD_Connection* connection, unsigned status, const char* text,
                    std::int64_t device = 0) {
    const Response response(MHD_create_response_from_buffer(
        std::strlen(text), const_cast<char*>(text), MHD_RESPMEM_PERSISTENT));
    if (response.response == nullptr) {
      return MHD_NO;
    }
    response.Add(MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain");
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE) {
      ++refused;
      response.Add(MHD_HTTP_HEADER_RETRY_AFTER,
                   std::to_string(kRetryAfter + device % kRetryAfterSpread));
      response.Add(MHD_HTTP_HEADER_CONNECTION, "close");
    }
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
      response.Add(MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    return MHD_queue_response(connection, status, response.response);
  }

  MHD_Result Handle(MHD_Connection* connection, std::string_view url, bool head, void** request);
  MHD_Result Send(MHD_Connection* connection, const Grant& grant,
                  std::shared_ptr<const OpenFile> file, bool head, void** request);

  static MHD_Result OnRequest(void* self, MHD_Connection* connection, const char* url,
                              const char* method, const char* version, const char* body,
                              std::size_t* body_size, void** request);
  static ssize_t OnRead(void* download, std::uint64_t position, char* to, std::size_t room);
  static void OnCompleted(void* self, MHD_Connection* connection, void** request,
                          MHD_RequestTerminationCode how);
  static void OnConnection(void* self, MHD_Connection* connection, void** socket_context,
                           MHD_ConnectionNotificationCode what);
  static MHD_Result OnAccept(void* self, const sockaddr* address, socklen_t size);
};

MHD_Result Server::State::Handle(MHD_Connection* connection, std::string_view url, bool head,
                                 void** request) {
  const std::optional<Address> address = ParseAddress(url);
  if (!address) {
    return Status(connection, MHD_HTTP_NOT_FOUND, "no such address\n");
  }
  std::shared_ptr<const AddressKey> current_key;
  bool serves = false;
  {
    const std::lock_guard lock(mutex);
    current_key = key;
    serves = serving && !held.contains(address->grant.device);
  }
  const Grant& grant = address->grant;
  const std::shared_ptr<const ServedFiles> table = files->table();
  if (!serves || !table) {
    return Status(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not serving now\n", grant.device);
  }
  if (grant.expires <= callbacks.unix_seconds()) {
    return Status(connection, MHD_HTTP_FORBIDDEN, "the address has expired\n");
  }
  const auto found = table->find(grant.file);
  if (found == table->end()) {
    return Status(connection, MHD_HTTP_NOT_FOUND, "no such file\n");
  }
  if (!IsGenuine(*current_key, *address, found->second.facts.sha256)) {
    return Status(connection, MHD_HTTP_FORBIDDEN, "the address is not valid\n");
  }
  core::Result<std::shared_ptr<const OpenFile>> file = files->Open(grant.file);
  if (!file) {
    if (file.error().code == ErrorCode::kNotFound) {
      return Status(connection, MHD_HTTP_NOT_FOUND, "no such file\n");
    }
    if (file.error().code == ErrorCode::kCorruption) {
      TellChanged(grant.file, file.error().message);
    }
    return Status(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the file is not ready\n",
                  grant.device);
  }
  // The table may have been swapped since the code was checked.
  if ((*file)->sha256() != found->second.facts.sha256) {
    return Status(connection, MHD_HTTP_FORBIDDEN, "the address is not valid\n");
  }
  return Send(connection, grant, std::move(*file), head, request);
}

MHD_Result Server::State::Send(MHD_Connection* connection, const Grant& grant,
                               std::shared_ptr<const OpenFile> file, bool head, void** request) {
  const std::string etag = "\"" + file->sha256() + "\"";
  const std::int64_t size = file->bytes();
  const char* match = Header(connection, MHD_HTTP_HEADER_IF_MATCH);
  if (match != nullptr && !MatchesEtag(match, etag, false)) {
    return Status(connection, MHD_HTTP_PRECONDITION_FAILED, "the file is another\n");
  }
  const char* none_match = Header(connection, MHD_HTTP_HEADER_IF_NONE_MATCH);
  const bool same = none_match != nullptr && MatchesEtag(none_match, etag, true);

  Range range{Range::Kind::kWhole, 0, size - 1};
  const char* asked = Header(connection, MHD_HTTP_HEADER_RANGE);
  const char* if_range = Header(connection, MHD_HTTP_HEADER_IF_RANGE);
  // Ranges are defined for GET alone; with another If-Range than our tag the whole is wanted.
  if (asked != nullptr && !head && !same && (if_range == nullptr || if_range == etag)) {
    range = ParseRange(asked, size);
  }

  auto download = std::make_unique<Download>();
  unsigned status = range.kind == Range::Kind::kPart ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK;
  std::int64_t length = range.last + 1 - range.first;
  if (same) {
    status = MHD_HTTP_NOT_MODIFIED;
    length = size;  // as the 200 would say; libmicrohttpd sends no body
  } else if (range.kind == Range::Kind::kUnsatisfiable) {
    status = MHD_HTTP_RANGE_NOT_SATISFIABLE;
    length = 0;
  }
  const bool sends = !head && !same && length > 0;
  const Response response(
      length == 0 ? MHD_create_response_from_buffer(0, nullptr, MHD_RESPMEM_PERSISTENT)
                  : MHD_create_response_from_callback(static_cast<std::uint64_t>(length), kBlock,
                                                      &OnRead, download.get(), nullptr));
  if (response.response == nullptr) {
    return MHD_NO;
  }
  response.Add(MHD_HTTP_HEADER_ETAG, etag);
  response.Add(MHD_HTTP_HEADER_CACHE_CONTROL, "private");
  response.Add(MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
  if (length > 0) {
    response.Add(MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
  }
  if (status == MHD_HTTP_PARTIAL_CONTENT) {
    response.Add(MHD_HTTP_HEADER_CONTENT_RANGE, "bytes " + std::to_string(range.first) + "-" +
                                                    std::to_string(range.last) + "/" +
                                                    std::to_string(size));
  } else if (status == MHD_HTTP_RANGE_NOT_SATISFIABLE) {
    response.Add(MHD_HTTP_HEADER_CONTENT_RANGE, "bytes */" + std::to_string(size));
  }
  if (!sends) {
    return MHD_queue_response(connection, status, response.response);
  }

  download->state = this;
  download->connection = connection;
  download->socket =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  download->device = grant.device;
  download->file_id = grant.file;
  download->file = std::move(file);
  download->first = range.first;
  download->end = range.last + 1;
  download->at = range.first;
  if (!Admit(download.get())) {
    return Status(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many downloads\n", grant.device);
  }
  Tell(*download, false, false);
  // From here on OnCompleted ends it, also when queueing fails.
  *request = download.release();
  return MHD_queue_response(connection, status, response.response);
}

// NOLINTNEXTLINE(readability-function-size): the signature is libmicrohttpd's
MHD_Result Server::State::OnRequest(void* self, MHD_Connection* connection, const char* url,
                                    const char* method, const char* /*version*/,
                                    const char* /*body*/, std::size_t* body_size, void** request) {
  State& state = *static_cast<State*>(self);
  const bool head = std::strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
  if (!head && std::strcmp(method, MHD_HTTP_METHOD_GET) != 0) {
    return state.Status(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
  }
  if (*request == nullptr) {
    *request = &header_seen;
    return MHD_YES;
  }
  if (*body_size != 0) {
    return MHD_NO;  // closes: a GET with a body is nothing that a device sends
  }
  try {
    return state.Handle(connection, url, head, request);
  } catch (const std::exception& why) {
    state.Failed(why);
    return MHD_NO;
  }
}

ssize_t Server::State::OnRead(void* download, std::uint64_t position, char* to, std::size_t room) {
  Download& reading = *static_cast<Download*>(download);
  try {
    return reading.state->Read(reading, position, to, room);
  } catch (const std::exception& why) {
    reading.state->Failed(why);
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
}

void Server::State::OnCompleted(void* self, MHD_Connection* /*connection*/, void** request,
                                MHD_RequestTerminationCode how) {
  if (*request == nullptr || *request == &header_seen) {
    return;
  }
  State& state = *static_cast<State*>(self);
  const std::unique_ptr<Download> download(static_cast<Download*>(*request));
  *request = nullptr;
  {
    const std::lock_guard lock(state.mutex);
    state.downloads.erase(download.get());
    state.pacer.Forget(download.get());
  }
  const bool complete = how == MHD_REQUEST_TERMINATED_COMPLETED_OK &&
                        download->at == download->end && download->end == download->file->bytes();
  state.Tell(*download, true, complete);
}

void Server::State::OnConnection(void* self, MHD_Connection* /*connection*/,
                                 void** /*socket_context*/, MHD_ConnectionNotificationCode what) {
  static_cast<State*>(self)->connections += what == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1;
}

MHD_Result Server::State::OnAccept(void* self, const sockaddr* /*address*/, socklen_t /*size*/) {
  State& state = *static_cast<State*>(self);
  if (state.connections >=
      std::min<std::int64_t>(state.options.max_connections, state.Descriptors()) + kSlack) {
    ++state.refused;
    return MHD_NO;
  }
  return MHD_YES;
}

core::Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, AddressKey key,
                                                    std::shared_ptr<Files> files,
                                                    ServerCallbacks callbacks) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->files = std::move(files);
  state->callbacks = std::move(callbacks);
  state->key = std::make_shared<const AddressKey>(std::move(key));
  state->pacer.SetRate(options.bytes_per_second, Clock::now());

  core::Result<Descriptor> listener = Listen(options.address, options.port);
  if (!listener) {
    return tl::unexpected(listener.error());
  }
  state->port = PortOf(listener->get());

  const AllSignalsBlocked blocked;
  try {
    state->pace =
        std::jthread([owner = state.get()](const std::stop_token& stop) { owner->Pace(stop); });
  } catch (const std::system_error& error) {
    return Fail(ErrorCode::kUnavailable,
                std::string("download server: no thread can be started: ") + error.what());
  }
  const unsigned flags =
      static_cast<unsigned>(MHD_USE_INTERNAL_POLLING_THREAD) | MHD_USE_EPOLL |
      MHD_ALLOW_SUSPEND_RESUME |
      (options.address.find(':') == std::string::npos ? 0U : static_cast<unsigned>(MHD_USE_IPv6));
  // The options are variable arguments: their types must be what microhttpd.h says.
  state->daemon = MHD_start_daemon(
      flags, 0, &State::OnAccept, state.get(), &State::OnRequest, state.get(),
      MHD_OPTION_LISTEN_SOCKET, MHD_socket{listener->get()}, MHD_OPTION_CONNECTION_LIMIT,
      static_cast<unsigned>(options.max_connections + 2 * kSlack),
      MHD_OPTION_PER_IP_CONNECTION_LIMIT, static_cast<unsigned>(options.max_per_address),
      MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(options.idle.count()),
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequestMemory, MHD_OPTION_NOTIFY_COMPLETED,
      &State::OnCompleted, state.get(), MHD_OPTION_NOTIFY_CONNECTION, &State::OnConnection,
      state.get(), MHD_OPTION_UNESCAPE_CALLBACK, &LeaveEscaped, nullptr, MHD_OPTION_END);
  if (state->daemon == nullptr) {
    return Fail(ErrorCode::kUnavailable,
                "download server: cannot be started: " + std::generic_category().message(errno));
  }
  listener->Release();  // libmicrohttpd closes it
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->CutAll();
  }
  // No connection may be suspended when libmicrohttpd is stopped; from here on none will be.
  state_->pace.request_stop();
  state_->pace.join();
  MHD_stop_daemon(state_->daemon);
}

std::uint16_t Server::port() const {
  return state_->port;
}

void Server::SetReserved(std::int64_t devices) {
  state_->reserved = devices;
}

void Server::SetBytesPerSecond(std::int64_t rate) {
  const std::lock_guard lock(state_->mutex);
  state_->pacer.SetRate(rate, Clock::now());
  state_->pacer_changed = true;
  state_->wake.notify_one();
}

void Server::SetServing(bool serving) {
  const std::lock_guard lock(state_->mutex);
  state_->serving = serving;
  if (!serving) {
    state_->CutAll();
  }
}

void Server::SetHeld(std::unordered_set<std::int64_t> devices) {
  const std::lock_guard lock(state_->mutex);
  state_->held.swap(devices);
  for (State::Download* download : state_->downloads) {
    if (state_->held.contains(download->device)) {
      state_->Cut(download);
    }
  }
}

void Server::SetKey(AddressKey key) {
  auto fresh = std::make_shared<const AddressKey>(std::move(key));
  const std::lock_guard lock(state_->mutex);
  state_->key.swap(fresh);
}

ServerHealth Server::Health() const {
  ServerHealth health;
  health.connections = state_->connections;
  health.allowed = std::min<std::int64_t>(state_->options.max_connections, state_->Descriptors());
  health.sent_bytes = state_->sent;
  health.refused = state_->refused;
  const std::lock_guard lock(state_->mutex);
  health.downloads = static_cast<std::int64_t>(state_->downloads.size());
  return health;
}

}  // namespace ota::package
