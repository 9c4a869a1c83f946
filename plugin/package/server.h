// The download server: files of the table over HTTP/1.1, to whoever holds a genuine address
// (package/address.h). Never lists, never leaves the store, knows neither plans nor the database.
// The only user of libmicrohttpd.
//
// Threads: one of libmicrohttpd's, which accepts, reads files and sends, and one that resumes
// connections that the rate has suspended. Both have all signals blocked. The callbacks run on
// them: they must return at once (put something into an inbox) and must not call the server.
//
// Answers [N-22]:
//   200, 206, 304, 412, 416   as RFC 9110 says; Content-Length always, chunked never
//   403   expired, or device, file, expiry or name altered, or the file's content is not what was
//   offered 404   no address, or a file that the table does not have: the device stops 405 neither
//   GET nor HEAD 503   with Retry-After: too many downloads, not serving, the table is not loaded,
//   the file is being
//         hashed, or is missing, changed or unreadable. The last three are also told to the engine
//         (on_changed), which has the file hashed and then either serves it again or takes it out
//         of the table, which makes it 404. 410 is not used: only the engine knows that a file is
//         gone for good.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "core/result.h"
#include "package/address.h"
#include "package/served_files.h"

namespace ota::package {

struct ServerOptions {
  std::string address = "127.0.0.1";  // numeric, IPv4 or IPv6; `::` takes both
  std::uint16_t port = 0;             // 0: any free one
  int max_connections = 200;          // downloads at once
  int max_per_address = 50;           // connections from one IP address; 0: unlimited
  std::int64_t bytes_per_second = 0;  // of all downloads together; 0: unlimited
  std::chrono::seconds idle{60};      // a connection on which nothing moves is closed
};

// A sign of life of one download: at its start, at most every 10 s, and at its end.
struct DownloadSign {
  std::int64_t device = 0;
  std::int64_t file = 0;
  std::int64_t offset = 0;  // in the file, behind the last byte handed to the network
  bool ended = false;
  bool complete = false;  // ended, and the file's last byte was sent
};

struct ServerCallbacks {
  std::function<void(const DownloadSign&)> on_sign;                           // may be empty
  std::function<void(std::int64_t file, const std::string& why)> on_changed;  // may be empty
  // A request has ended with an exception (no memory), and its connection with it. Must not throw.
  std::function<void(const std::exception& why)> on_failed;  // may be empty
  std::function<std::int64_t()> unix_seconds;                // the wall clock, for expiry; required
};

struct ServerHealth {
  std::int64_t connections = 0;
  std::int64_t downloads = 0;  // of which are sending
  std::int64_t allowed = 0;    // downloads that may be open now
  std::int64_t sent_bytes = 0;
  std::int64_t refused = 0;  // answered 503, or not accepted
};

class Server {
 public:
  // Listens and serves. Fails with kInvalidArgument (address, port taken or not permitted: mistakes
  // of the configuration) or kUnavailable. `files` is shared with the block reader.
  static core::Result<std::unique_ptr<Server>> Start(const ServerOptions& options, AddressKey key,
                                                     std::shared_ptr<Files> files,
                                                     ServerCallbacks callbacks);

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();  // cuts what runs; within a second

  std::uint16_t port() const;

  // The rest may be called on any thread at any time; nothing here waits for the network.

  // Reserves descriptors for `devices` MQTT connections: the downloads, with one descriptor per
  // connection and one per file in use, get what is left of RLIMIT_NOFILE less 64.
  void SetReserved(std::int64_t devices);

  void SetBytesPerSecond(std::int64_t rate);

  // False: every request gets 503, and downloads that run are cut.
  void SetServing(bool serving);

  // Devices (rows) that get 503 until they are not among them any more; their downloads are cut.
  void SetHeld(std::unordered_set<std::int64_t> devices);

  // After a new key was loaded; addresses of the old one are 403.
  void SetKey(AddressKey key);

  ServerHealth Health() const;

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ota::package
