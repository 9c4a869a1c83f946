#include "crypto/random.h"

#include <string_view>

#include <openssl/rand.h>

namespace ota::crypto {

core::Result<std::string> RandomBytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes_ex(nullptr, reinterpret_cast<unsigned char*>(bytes.data()), count, 0) != 1) {
    return core::Fail(core::ErrorCode::kUnavailable, "the system gives no random bytes");
  }
  return bytes;
}

core::Result<std::string> RandomName(std::size_t length) {
  constexpr std::string_view kSet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  // Bytes from here on are thrown away: taken modulo 62 they would favour the first letters.
  constexpr unsigned kUnbiased = 256 - 256 % kSet.size();
  std::string name;
  while (name.size() < length) {
    const core::Result<std::string> bytes = RandomBytes(length);
    if (!bytes) {
      return tl::unexpected(bytes.error());
    }
    for (const char byte : *bytes) {
      const unsigned value = static_cast<unsigned char>(byte);
      if (value < kUnbiased && name.size() < length) {
        name += kSet[value % kSet.size()];
      }
    }
  }
  return name;
}

}  // namespace ota::crypto
