// Any bytes as what the download server reads of a request, line by line: the path, Range, a list
// of entity tags. What is accepted can be written again and means the same; no code but the key's
// own is genuine.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "fuzz/check.h"
#include "package/address.h"
#include "package/range.h"

namespace ota::package {
namespace {

using fuzz::Check;

constexpr std::string_view kSha256 =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view kBase = "http://10.0.0.5:8070/d";

const AddressKey& Key() {
  static const AddressKey key = [] {
    std::string directory = std::filesystem::temp_directory_path() / "request_fuzz-XXXXXX";
    Check(::mkdtemp(directory.data()) != nullptr, "a directory for the key");
    auto loaded = AddressKey::Load(directory + "/key");
    std::filesystem::remove_all(directory);
    Check(loaded.has_value(), "a key");
    return *loaded;
  }();
  return key;
}

void CheckPath(std::string_view path) {
  const auto address = ParseAddress(path);
  if (!address) {
    return;
  }
  Grant grant = address->grant;
  Check(grant.device >= 0 && grant.file >= 0 && grant.expires >= 0, "no negative number");
  Check(!IsGenuine(Key(), *address, kSha256), "a code that the key did not make");
  grant.sha256 = kSha256;
  const auto url = SignUrl(kBase, Key(), grant);
  Check(url && url->size() <= 255, "an address can be made for it");
  const auto again = ParseAddress(*url);
  Check(again && again->grant.device == grant.device && again->grant.file == grant.file &&
            again->grant.expires == grant.expires,
        "what the address says");
  Check(IsGenuine(Key(), *again, kSha256), "the key's own code");
  Check(!IsGenuine(Key(), *again, "0"), "of this content only");
  const auto twice = SignUrl(kBase, Key(),
                             {again->grant.device, again->grant.file, std::string(kSha256),
                              again->grant.expires, again->grant.name});
  Check(twice && *twice == *url, "the same address again");
}

void CheckRange(std::string_view value, std::int64_t size) {
  const Range range = ParseRange(value, size);
  if (range.kind == Range::Kind::kUnsatisfiable) {
    return;
  }
  Check(range.first >= 0 && range.first <= range.last && range.last < size, "inside the file");
  const std::string text =
      "bytes=" + std::to_string(range.first) + "-" + std::to_string(range.last);
  const Range again = ParseRange(text, size);
  Check(again.kind == Range::Kind::kPart && again.first == range.first && again.last == range.last,
        "written out it means the same");
}

void CheckTags(std::string_view value) {
  const std::string etag = "\"" + std::string(kSha256) + "\"";
  const bool strong = MatchesEtag(value, etag, false);
  Check(!strong || MatchesEtag(value, etag, true), "what matches strongly matches weakly");
  Check(!MatchesEtag(value, etag, true) || value.find('*') != std::string_view::npos ||
            value.find(etag) != std::string_view::npos,
        "a tag that is there");
}

}  // namespace
}  // namespace ota::package

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a text is.
  std::string_view text(reinterpret_cast<const char*>(bytes), size);
  std::array<std::string_view, 3> lines;
  for (std::string_view& line : lines) {
    line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  ota::package::CheckPath(lines[0]);
  for (const std::int64_t length : {std::int64_t{1}, std::int64_t{1000}, std::int64_t{1} << 62}) {
    ota::package::CheckRange(lines[1], length);
  }
  ota::package::CheckTags(lines[2]);
  return 0;
}
