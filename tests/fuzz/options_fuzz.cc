// Any lines as the plugin's options, and as rules of identity: what is accepted keeps within the
// table's bounds, and written out again it is read as the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dialect/topic.h"
#include "engine/options.h"
#include "fuzz/check.h"
#include "guard/identity.h"

namespace ota::engine {
namespace {

using fuzz::Check;
using Pairs = std::vector<std::pair<std::string, std::string>>;

template <typename Word>
std::string WordOf(std::initializer_list<const char*> words, Word word) {
  return words.begin()[static_cast<std::size_t>(word)];
}

Pairs Written(const Options& o) {
  Pairs pairs{
      {"database", o.database},
      {"packages", o.packages},
      {"on_database_fault", WordOf({"serve", "stop"}, o.on_database_fault)},
      {"durability", WordOf({"full", "normal"}, o.durability)},
      {"login", WordOf({"off", "defer", "allow"}, o.login)},
      {"secret_key", o.secret_key},
      {"guard", WordOf({"enforce", "report"}, o.guard)},
      {"acl_other", WordOf({"defer", "allow"}, o.acl_other)},
      {"download_connections", std::to_string(o.download_connections)},
      {"download_bytes_per_second", std::to_string(o.download_bytes_per_second)},
      {"block_bytes_per_second", std::to_string(o.block_bytes_per_second)},
      {"block_bytes_per_device", std::to_string(o.block_bytes_per_device)},
      {"download_lifetime", std::to_string(o.download_lifetime)},
      {"token_key", o.token_key},
      {"wake", WordOf({"signal", "tick"}, o.wake)},
  };
  if (o.download_base) {
    pairs.emplace_back("download_base", *o.download_base);
  }
  if (o.download_listen) {
    const ListenAddress& listen = *o.download_listen;
    const bool brackets = listen.address.find(':') != std::string::npos;
    pairs.emplace_back("download_listen", (brackets ? "[" + listen.address + "]" : listen.address) +
                                              ":" + std::to_string(listen.port));
  }
  const auto all = [&pairs](const char* name, const std::vector<std::string>& values) {
    for (const std::string& value : values) {
      pairs.emplace_back(name, value);
    }
  };
  all("identity", o.identity);
  all("administrators", o.administrators);
  all("bridges", o.bridges);
  all("login_password", o.login_password);
  return pairs;
}

core::Result<Options> Read(const Pairs& pairs) {
  return ParseOptions(
      std::vector<std::pair<std::string_view, std::string_view>>(pairs.begin(), pairs.end()));
}

void CheckRule(const std::string& text, std::string_view credential) {
  const auto rule = guard::ParseIdentityRule(text);
  if (!rule) {
    Check(!rule.error().message.empty(), "a reason");
    return;
  }
  if (const auto device = guard::Match(*rule, credential)) {
    Check(dialect::IsName(device->product) && dialect::IsName(device->device), "valid names");
  }
}

// Lines `NAME VALUE`, as the broker hands them over.
void CheckLines(std::string_view text) {
  Pairs pairs;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::string_view name = line.substr(0, line.find(' '));
    pairs.emplace_back(name, line.substr(std::min(name.size() + 1, line.size())));
  }
  const auto options = Read(pairs);
  if (!options) {
    Check(options.error().message.starts_with("plugin_opt_"), "the option is named");
    return;
  }
  for (const std::string* path :
       {&options->database, &options->packages, &options->token_key, &options->secret_key}) {
    Check(path->starts_with('/') && path->find('\n') == std::string::npos, "an absolute path");
  }
  Check(options->download_connections >= 1 && options->download_lifetime >= 60,
        "numbers in their bounds");
  Check(!options->identity.empty(), "a rule of identity");
  Check(!options->download_base || options->download_base->size() <= 127, "a short base");
  const auto again = Read(Written(*options));
  Check(again && *again == *options, "written out it is read as the same");
  Check(SameService(*options, *again), "one service");
  for (const std::string& rule : options->identity) {
    CheckRule(rule, pairs.empty() ? std::string_view() : std::string_view(pairs.front().second));
  }
}

}  // namespace
}  // namespace ota::engine

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a text is.
  ota::engine::CheckLines({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
