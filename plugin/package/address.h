// Download addresses. An address is its own permission: it names the device, the file and the time
// at which it expires, and carries a code that only the holder of the key can make. Nothing is
// stored for it, so it survives a restart.
//
//   BASE/EXPIRY/DEVICE/FILE/CODE/NAME
//
// EXPIRY is in seconds since the epoch, DEVICE and FILE are row ids, CODE is base64url of the first
// 16 bytes of HMAC-SHA256(key, "ota-address-1\n" EXPIRY "\n" DEVICE "\n" FILE "\n" SHA256 "\n"
// NAME), NAME is the file's name, percent-encoded and shortened where an address would be longer
// than 254 characters. SHA256 is the file's digest: an address never leads to other content than
// was offered.
//
// Pure but for AddressKey::Load, which reads the disk at start. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace ota::package {

class AddressKey {
 public:
  // Reads the key file `path`: 32 bytes, mode 0600 or narrower, owned by the effective user; makes
  // it, once, when it does not exist. Fails with kInvalidArgument, naming file and rule: a mistake
  // of the configuration.
  static core::Result<AddressKey> Load(const std::string& path);

  std::string_view bytes() const { return bytes_; }

 private:
  explicit AddressKey(std::string bytes) : bytes_(std::move(bytes)) {}
  std::string bytes_;
};

struct Grant {
  std::int64_t device = 0;
  std::int64_t file = 0;
  std::string sha256;        // lower-case hex
  std::int64_t expires = 0;  // seconds since the epoch
  std::string name;          // as the device sees it
};

// Checks `download_base`: http or https, a host, neither query nor fragment, at most 128
// characters, and removes slashes at its end. Fails with kInvalidArgument.
core::Result<std::string> CheckBase(std::string_view base);

// The address of `grant` under `base` (as CheckBase gives it), at most 254 characters. Fails with
// kInvalidArgument (negative numbers, over-long base) or kInternal (OpenSSL).
core::Result<std::string> SignUrl(std::string_view base, const AddressKey& key, const Grant& grant);

// The address of a file at another web server that serves the store directory under `base`:
// unsigned. Fails with kInvalidArgument when it is longer than 254 characters.
core::Result<std::string> PlainUrl(std::string_view base, std::string_view path);

// What a request's path names; not yet verified.
struct Address {
  Grant grant;       // without sha256; `name` decoded
  std::string code;  // as in the path
};

// Parses the last five components of `path` (percent-encoded, without query); what precedes them is
// the base's own path. Nothing when it has not the form of an address.
std::optional<Address> ParseAddress(std::string_view path);

// Whether the address was made by `key` for the file with digest `sha256`. Says nothing of expiry.
bool IsGenuine(const AddressKey& key, const Address& address, std::string_view sha256);

}  // namespace ota::package
