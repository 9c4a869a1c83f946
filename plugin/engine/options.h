// The options of the broker's configuration (plugin_opt_NAME VALUE): one table says for each its
// name, default, bounds and parser, and whether it may be repeated. mosquitto.conf.example
// documents exactly these; a test compares the two.
//
// Read once, at start, on the broker thread. An unknown option, a bad value or a second value stops
// the broker with one line. Must not know Mosquitto, nor the meaning of identity rules
// (guard/identity.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace ota::engine {

enum class GuardMode { kEnforce, kReport };
enum class AclOther { kDefer, kAllow };
enum class OnDatabaseFault { kServe, kStop };
enum class Durability { kFull, kNormal };
// What becomes of clients that do not log in by secret; kOff: no client does.
enum class LoginMode { kOff, kDefer, kAllow };
enum class WakeMode { kSignal, kTick };

// Where the download server listens.
struct ListenAddress {
  std::string address;  // numeric IPv4 or IPv6, without brackets
  std::uint16_t port = 0;
  bool operator==(const ListenAddress&) const = default;
};

struct Options {
  std::string database;                          // absolute path of the file
  std::string packages;                          // absolute path of the store directory
  std::optional<std::string> download_base;      // http(s)://host[:port][/path], no trailing slash
  std::optional<ListenAddress> download_listen;  // absent: no download server
  int download_connections = 0;
  std::int64_t download_bytes_per_second = 0;  // of all downloads together; 0: no limit
  std::int64_t block_bytes_per_second = 0;     // of files over MQTT, all together; 0: no limit
  std::int64_t block_bytes_per_device = 0;     // and of each device
  std::int64_t download_lifetime = 0;          // seconds that an address is valid
  std::string token_key;                       // absolute path of the key file
  LoginMode login = LoginMode::kOff;
  std::vector<std::string> login_password;  // native products whose devices log in by secret
  std::string secret_key;                   // absolute path of the key file
  std::vector<std::string> identity;        // rules in order, as written; at least one
  std::vector<std::string> administrators;  // user names
  std::vector<std::string> bridges;         // client ids
  GuardMode guard = GuardMode::kEnforce;
  AclOther acl_other = AclOther::kDefer;
  OnDatabaseFault on_database_fault = OnDatabaseFault::kServe;
  Durability durability = Durability::kFull;
  WakeMode wake = WakeMode::kSignal;
  bool operator==(const Options&) const = default;
};

// One row of the table. `parse` puts a value into `options`, or gives the rule that it breaks.
struct Option {
  std::string_view name;
  std::string_view default_value;  // as it would be written; empty: none
  std::string_view unit;           // what a value is and its bounds, for messages and people
  bool repeatable = false;
  // Gives false when the value is not what `unit` says.
  bool (*parse)(std::string_view value, Options& options) = nullptr;
};

// Every option, in the order in which mosquitto.conf.example documents them.
std::span<const Option> OptionTable();

// Reads name-value pairs as they stand in the configuration, without "plugin_opt_". What is absent
// gets its default; `packages`, `token_key` and `secret_key` lie beside the database by default.
// Fails with kInvalidArgument: the message names the option, the value and the rule.
core::Result<Options> ParseOptions(
    std::span<const std::pair<std::string_view, std::string_view>> pairs);

// Whether two listeners' options can share one service: all but those of the guard are equal.
bool SameService(Options one, const Options& other);

}  // namespace ota::engine
