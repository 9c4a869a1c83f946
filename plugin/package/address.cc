#include "package/address.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <system_error>
#include <utility>

#include "crypto/digest.h"
#include "crypto/encoding.h"
#include "crypto/key_file.h"

namespace ota::package {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::size_t kCodeBytes = 16;
// [N-20] grants one more. LinkSDK for C (4.1 among others) has an octet for the length with its
// NUL.
constexpr std::size_t kMaxUrl = 254;
constexpr std::size_t kMaxBase = 128;
constexpr std::size_t kMaxSuffix = 16;

bool IsUnreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

std::string PercentEncoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (IsUnreserved(c)) {
      encoded += c;
    } else {
      const unsigned value = static_cast<unsigned char>(c);
      encoded += {'%', kDigits[value >> 4], kDigits[value & 15]};
    }
  }
  return encoded;
}

std::optional<std::string> PercentDecoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2) {
      return std::nullopt;
    }
    decoded += static_cast<char>(static_cast<unsigned char>(value));
    i += 2;
  }
  return decoded;
}

// `.tar.gz` of `a.tar.gz`, `.bin` of `a-2.1.bin`; nothing where that is no suffix.
std::string_view Suffix(std::string_view name) {
  constexpr std::string_view kTar = ".tar";
  std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) {
    return {};
  }
  const std::string_view stem = name.substr(0, dot);
  if (stem.size() > kTar.size() && stem.substr(stem.size() - kTar.size()) == kTar) {
    dot -= kTar.size();
  }
  const std::string_view suffix = name.substr(dot);
  return suffix.size() <= kMaxSuffix ? suffix : std::string_view{};
}

// The longest form of `name` that takes at most `room` characters percent-encoded: its beginning,
// cut between characters, and its suffix. May be empty.
std::string Shortened(std::string_view name, std::size_t room) {
  if (PercentEncoded(name).size() <= room) {
    return std::string(name);
  }
  std::string_view suffix = Suffix(name);
  std::string_view stem = name.substr(0, name.size() - suffix.size());
  if (PercentEncoded(suffix).size() >= room) {
    suffix = {};
  }
  const std::size_t left = room - PercentEncoded(suffix).size();
  while (!stem.empty() && PercentEncoded(stem).size() > left) {
    bool inside = true;  // a character of several bytes
    while (!stem.empty() && inside) {
      inside = (static_cast<unsigned char>(stem.back()) & 0xc0) == 0x80;
      stem.remove_suffix(1);
    }
  }
  return std::string(stem) + std::string(suffix);
}

// Every field but the last is of a fixed alphabet without a line feed, so no two grants have one
// text.
core::Result<std::string> Code(const AddressKey& key, const Grant& grant) {
  const std::string text = "ota-address-1\n" + std::to_string(grant.expires) + "\n" +
                           std::to_string(grant.device) + "\n" + std::to_string(grant.file) + "\n" +
                           grant.sha256 + "\n" + grant.name;
  core::Result<std::string> mac = crypto::HmacSha256(key.bytes(), text);
  if (!mac) {
    return mac;
  }
  return crypto::Base64Url(std::string_view(*mac).substr(0, kCodeBytes));
}

std::optional<std::int64_t> Number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

core::Result<AddressKey> AddressKey::Load(const std::string& path) {
  const auto read = [&path] {
    return crypto::ReadKeyFile(path, geteuid(),
                               "remove it and a new one is made, which ends the download "
                               "addresses that are out");
  };
  core::Result<std::string> bytes = read();
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) {
    if (const core::Result<void> made = crypto::MakeKeyFile(path); !made) {
      return tl::unexpected(made.error());
    }
    bytes = read();
  }
  if (!bytes) {
    return tl::unexpected(core::Error{ErrorCode::kInvalidArgument, bytes.error().message});
  }
  return AddressKey(*std::move(bytes));
}

core::Result<std::string> CheckBase(std::string_view base) {
  const auto fault = [base](const char* why) {
    return Fail(ErrorCode::kInvalidArgument, "download base '" + std::string(base) + "': " + why);
  };
  std::string_view rest = base;
  while (!rest.empty() && rest.back() == '/') {
    rest.remove_suffix(1);
  }
  const std::string normal(rest);
  if (rest.substr(0, 7) == "http://") {
    rest.remove_prefix(7);
  } else if (rest.substr(0, 8) == "https://") {
    rest.remove_prefix(8);
  } else {
    return fault("must begin with http:// or https://");
  }
  if (rest.empty() || rest.front() == '/' || rest.front() == ':') {
    return fault("names no host");
  }
  if (normal.size() > kMaxBase) {
    return fault("must be at most 128 characters");
  }
  for (const char c : rest) {
    if (c <= ' ' || c > '~' ||
        std::string_view("?#@\"\\<>^`{|}").find(c) != std::string_view::npos) {
      return fault("must be host, port and path, without query, fragment, user name or spaces");
    }
  }
  return normal;
}

core::Result<std::string> SignUrl(std::string_view base, const AddressKey& key,
                                  const Grant& grant) {
  if (grant.device < 0 || grant.file < 0 || grant.expires < 0) {
    return Fail(ErrorCode::kInvalidArgument, "download address: negative number");
  }
  std::string url = std::string(base) + "/" + std::to_string(grant.expires) + "/" +
                    std::to_string(grant.device) + "/" + std::to_string(grant.file) + "/";
  const std::size_t code_size = (kCodeBytes * 4 + 2) / 3;
  if (url.size() + code_size + 2 > kMaxUrl) {
    return Fail(ErrorCode::kInvalidArgument,
                "download address: longer than 254 characters; shorten download_base");
  }
  Grant shortened = grant;
  shortened.name = Shortened(grant.name, kMaxUrl - url.size() - code_size - 1);
  if (shortened.name.empty() || shortened.name == "." || shortened.name == "..") {
    // Clients remove such components from a path.
    shortened.name = "file";
    if (url.size() + code_size + 1 + shortened.name.size() > kMaxUrl) {
      shortened.name = "f";
    }
  }
  core::Result<std::string> code = Code(key, shortened);
  if (!code) {
    return code;
  }
  return url + *code + "/" + PercentEncoded(shortened.name);
}

core::Result<std::string> PlainUrl(std::string_view base, std::string_view path) {
  std::string url(base);
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    url += "/" + PercentEncoded(path.substr(start, end - start));
    start = end + 1;
  }
  if (url.size() > kMaxUrl) {
    return Fail(ErrorCode::kInvalidArgument,
                "download address of '" + std::string(path) + "': longer than 254 characters");
  }
  return url;
}

std::optional<Address> ParseAddress(std::string_view path) {
  constexpr std::size_t kComponents = 5;
  std::array<std::string_view, kComponents> components;
  for (std::size_t i = kComponents; i-- > 0;) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) {
      return std::nullopt;
    }
    components[i] = path.substr(slash + 1);
    path = path.substr(0, slash);
  }
  const std::optional<std::int64_t> expires = Number(components[0]);
  const std::optional<std::int64_t> device = Number(components[1]);
  const std::optional<std::int64_t> file = Number(components[2]);
  std::optional<std::string> name = PercentDecoded(components[4]);
  if (!expires || !device || !file || !name) {
    return std::nullopt;
  }
  Address address;
  address.grant.expires = *expires;
  address.grant.device = *device;
  address.grant.file = *file;
  address.grant.name = std::move(*name);
  address.code = components[3];
  return address;
}

bool IsGenuine(const AddressKey& key, const Address& address, std::string_view sha256) {
  Grant grant = address.grant;
  grant.sha256 = sha256;
  const core::Result<std::string> code = Code(key, grant);
  return code && crypto::EqualSecrets(*code, address.code);
}

}  // namespace ota::package
