// See options.h.
#include "engine/options.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string>
#include <utility>

namespace ota::engine {
namespace {

// A whole decimal number within bounds.
template <typename T>
bool Number(std::string_view text, T low, T high, T& value) {
  T read{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
  if (error != std::errc{} || end != text.data() + text.size() || read < low || read > high) {
    return false;
  }
  value = read;
  return true;
}

// One of the words, which stand in the order of the enumeration.
template <typename T>
bool Word(std::string_view text, std::initializer_list<std::string_view> words, T& value) {
  const auto* const found = std::find(words.begin(), words.end(), text);
  if (found == words.end()) {
    return false;
  }
  value = static_cast<T>(found - words.begin());
  return true;
}

bool HasControl(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool Path(std::string_view text, std::string& value) {
  if (!text.starts_with('/') || text.ends_with('/') || HasControl(text)) {
    return false;
  }
  value = text;
  return true;
}

// Names between blanks.
bool Names(std::string_view text, std::vector<std::string>& value) {
  const std::size_t before = value.size();
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    if (text.empty()) {
      return value.size() > before;
    }
    const std::string_view name = text.substr(0, text.find_first_of(" \t"));
    value.emplace_back(name);
    text.remove_prefix(name.size());
  }
}

bool Base(std::string_view text, std::optional<std::string>& value) {
  while (text.ends_with('/')) {
    text.remove_suffix(1);
  }
  const std::size_t scheme = text.starts_with("http://") ? 7 : text.starts_with("https://") ? 8 : 0;
  // 254 characters is the most that an address has (package/address.cc); the rest is the plugin's.
  if (scheme == 0 || text.size() == scheme || text[scheme] == '/' || text.size() > 127 ||
      HasControl(text) || text.find_first_of(" \"\\?#<>") != std::string_view::npos ||
      std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) > 0x7e; })) {
    return false;
  }
  value = std::string(text);
  return true;
}

bool Listen(std::string_view text, std::optional<ListenAddress>& value) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return false;
  }
  ListenAddress listen;
  std::string_view address = text.substr(0, colon);
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed) {
    address = address.substr(1, address.size() - 2);
  }
  listen.address = address;
  in6_addr parsed{};  // large enough for both
  if (inet_pton(bracketed ? AF_INET6 : AF_INET, listen.address.c_str(), &parsed) != 1 ||
      !Number<std::uint16_t>(text.substr(colon + 1), 1, 65535, listen.port)) {
    return false;
  }
  value = std::move(listen);
  return true;
}

constexpr std::string_view kPathUnit = "an absolute path";

constexpr Option kTable[] = {
    {"database", "/var/lib/mosquitto/ota/ota.db", kPathUnit, false,
     [](std::string_view v, Options& o) { return Path(v, o.database); }},
    {"packages", "/var/lib/mosquitto/ota/packages", kPathUnit, false,
     [](std::string_view v, Options& o) { return Path(v, o.packages); }},
    {"on_database_fault", "serve", "serve or stop", false,
     [](std::string_view v, Options& o) {
       return Word(v, {"serve", "stop"}, o.on_database_fault);
     }},
    {"durability", "full", "full or normal", false,
     [](std::string_view v, Options& o) {
       return Word(v, {"full", "normal"}, o.durability);
     }},
    {"identity", "username {product}/{device}",
     "username, clientid or cn, a pattern, and product=NAME if the pattern has no {product}", true,
     [](std::string_view v, Options& o) {
       o.identity.emplace_back(v);
       return !v.empty();
     }},
    {"administrators", "", "user names between blanks", true,
     [](std::string_view v, Options& o) { return Names(v, o.administrators); }},
    {"bridges", "", "client ids between blanks", true,
     [](std::string_view v, Options& o) { return Names(v, o.bridges); }},
    {"login", "off", "off, defer or allow", false,
     [](std::string_view v, Options& o) {
       return Word(v, {"off", "defer", "allow"}, o.login);
     }},
    {"login_password", "", "product names between blanks", true,
     [](std::string_view v, Options& o) { return Names(v, o.login_password); }},
    {"secret_key", "/var/lib/mosquitto/ota/secret.key", kPathUnit, false,
     [](std::string_view v, Options& o) { return Path(v, o.secret_key); }},
    {"guard", "enforce", "enforce or report", false,
     [](std::string_view v, Options& o) {
       return Word(v, {"enforce", "report"}, o.guard);
     }},
    {"acl_other", "defer", "defer or allow", false,
     [](std::string_view v, Options& o) {
       return Word(v, {"defer", "allow"}, o.acl_other);
     }},
    {"download_base", "", "http://HOST[:PORT][/PATH] or https://..., at most 127 characters", false,
     [](std::string_view v, Options& o) { return Base(v, o.download_base); }},
    {"download_listen", "", "ADDRESS:PORT, numeric, IPv6 in brackets", false,
     [](std::string_view v, Options& o) { return Listen(v, o.download_listen); }},
    {"download_connections", "64", "1 to 10000", false,
     [](std::string_view v, Options& o) { return Number(v, 1, 10000, o.download_connections); }},
    {"download_bytes_per_second", "0", "0 (no limit) to 100000000000", false,
     [](std::string_view v, Options& o) {
       return Number<std::int64_t>(v, 0, 100'000'000'000, o.download_bytes_per_second);
     }},
    {"block_bytes_per_second", "33554432", "0 (no limit) to 100000000000", false,
     [](std::string_view v, Options& o) {
       return Number<std::int64_t>(v, 0, 100'000'000'000, o.block_bytes_per_second);
     }},
    {"block_bytes_per_device", "2097152", "0 (no limit) to 100000000000", false,
     [](std::string_view v, Options& o) {
       return Number<std::int64_t>(v, 0, 100'000'000'000, o.block_bytes_per_device);
     }},
    {"download_lifetime", "86400", "60 to 31536000 (seconds)", false,
     [](std::string_view v, Options& o) {
       return Number<std::int64_t>(v, 60, 31'536'000, o.download_lifetime);
     }},
    {"token_key", "/var/lib/mosquitto/ota/token.key", kPathUnit, false,
     [](std::string_view v, Options& o) { return Path(v, o.token_key); }},
    {"wake", "signal", "signal or tick", false,
     [](std::string_view v, Options& o) {
       return Word(v, {"signal", "tick"}, o.wake);
     }},
};
constexpr std::size_t kOptions = std::size(kTable);

// The default of a file is beside the database, wherever that is.
std::string Beside(const std::string& database, std::string_view default_path) {
  return database.substr(0, database.rfind('/')) +
         std::string(default_path.substr(default_path.rfind('/')));
}

}  // namespace

std::span<const Option> OptionTable() {
  return kTable;
}

core::Result<Options> ParseOptions(
    std::span<const std::pair<std::string_view, std::string_view>> pairs) {
  Options options;
  std::array<bool, kOptions> given{};
  const auto fail = [](std::string_view name, const std::string& message) {
    return core::Fail(core::ErrorCode::kInvalidArgument,
                      "plugin_opt_" + std::string(name) + message);
  };
  for (const auto& [name, value] : pairs) {
    const auto* const row = std::ranges::find(kTable, name, &Option::name);
    if (row == std::end(kTable)) {
      return fail(name, ": there is no such option");
    }
    bool& seen = given[static_cast<std::size_t>(row - std::begin(kTable))];
    if (seen && !row->repeatable) {
      return fail(name, " is given twice");
    }
    seen = true;
    if (!row->parse(value, options)) {
      return fail(name, " '" + std::string(value) + "': must be " + std::string(row->unit));
    }
  }
  for (std::size_t i = 0; i < kOptions; ++i) {
    const Option& row = kTable[i];
    if (!given[i] && !row.default_value.empty() && !row.parse(row.default_value, options)) {
      return fail(row.name, ": the default is refused");  // a bug; a test parses every default
    }
    if (given[i] && row.name == "download_listen" && !options.download_base) {
      return fail(row.name, ": plugin_opt_download_base must say how devices reach it");
    }
  }
  const auto beside = [&](std::string_view name, std::string& path) {
    const auto* const row = std::ranges::find(kTable, name, &Option::name);
    if (!given[static_cast<std::size_t>(row - std::begin(kTable))]) {
      path = Beside(options.database, row->default_value);
    }
  };
  beside("packages", options.packages);
  beside("token_key", options.token_key);
  beside("secret_key", options.secret_key);
  return options;
}

bool SameService(Options one, const Options& other) {
  one.identity = other.identity;
  one.administrators = other.administrators;
  one.bridges = other.bridges;
  one.guard = other.guard;
  one.login = other.login;
  one.login_password = other.login_password;
  one.acl_other = other.acl_other;
  return one == other;
}

}  // namespace ota::engine
