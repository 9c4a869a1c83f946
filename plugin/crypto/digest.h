// Digests and message authentication codes, by OpenSSL's EVP interface. Knows bytes and file
// descriptors, nothing of packages or devices. Only plugin/crypto includes OpenSSL.
//
// Any thread may call these functions; DigestFile reads the disk and is for workers and otactl.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace ota::crypto {

// Lower-case hex.
struct Digests {
  std::int64_t bytes = 0;  // that were read
  std::string sha256;
  std::string md5;
};

// Asked about four times per MiB with the bytes done so far; false ends the work.
using GoOn = std::function<bool(std::int64_t done)>;

// Digests the file behind `fd` from its first byte to its end in one pass, whatever the file offset
// is. Fails with kUnavailable when `go_on` (may be empty) says so or the file cannot be read,
// kInternal when OpenSSL refuses.
core::Result<Digests> DigestFile(int fd, const GoOn& go_on);

enum class Hash { kMd5, kSha1, kSha256 };

// 16, 20 or 32 bytes. Fail only with kInternal: no memory, or an OpenSSL without the algorithm.
core::Result<std::string> Digest(Hash hash, std::string_view text);
core::Result<std::string> Hmac(Hash hash, std::string_view key, std::string_view text);

inline core::Result<std::string> Sha256(std::string_view text) {
  return Digest(Hash::kSha256, text);
}
inline core::Result<std::string> HmacSha256(std::string_view key, std::string_view text) {
  return Hmac(Hash::kSha256, key, text);
}

}  // namespace ota::crypto
