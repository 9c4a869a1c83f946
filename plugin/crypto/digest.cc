#include "crypto/digest.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <system_error>
#include <vector>

#include <openssl/evp.h>

#include "crypto/encoding.h"

namespace ota::crypto {
namespace {

using core::ErrorCode;
using core::Fail;

using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

Context Begin(const char* algorithm) {
  const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> digest(
      EVP_MD_fetch(nullptr, algorithm, nullptr), EVP_MD_free);
  Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!digest || !context || EVP_DigestInit_ex2(context.get(), digest.get(), nullptr) != 1) {
    return {nullptr, EVP_MD_CTX_free};
  }
  return context;
}

const char* NameOf(Hash hash) {
  constexpr const char* kNames[] = {"MD5", "SHA1", "SHA256"};
  return kNames[static_cast<std::size_t>(hash)];
}

// Empty: OpenSSL refused.
std::string End(EVP_MD_CTX* context) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(context, bytes.data(), &size) != 1) {
    return {};
  }
  return {bytes.begin(), bytes.begin() + size};
}

}  // namespace

core::Result<Digests> DigestFile(int fd, const GoOn& go_on) {
  const Context sha256 = Begin("SHA256");
  const Context md5 = Begin("MD5");
  if (!sha256 || !md5) {
    return Fail(ErrorCode::kInternal, "OpenSSL has no SHA-256 or no MD5");
  }
  Digests digests;
  std::vector<char> buffer(std::size_t{256} * 1024);
  for (;;) {
    if (go_on && !go_on(digests.bytes)) {
      return Fail(ErrorCode::kUnavailable, "stopped");
    }
    const ssize_t got = pread(fd, buffer.data(), buffer.size(), digests.bytes);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return Fail(ErrorCode::kUnavailable,
                  "cannot be read: " + std::generic_category().message(errno));
    }
    if (got == 0) {
      break;
    }
    const std::size_t size = static_cast<std::size_t>(got);
    if (EVP_DigestUpdate(sha256.get(), buffer.data(), size) != 1 ||
        EVP_DigestUpdate(md5.get(), buffer.data(), size) != 1) {
      return Fail(ErrorCode::kInternal, "OpenSSL failed to digest");
    }
    digests.bytes += got;
  }
  digests.sha256 = Hex(End(sha256.get()));
  digests.md5 = Hex(End(md5.get()));
  if (digests.sha256.empty() || digests.md5.empty()) {
    return Fail(ErrorCode::kInternal, "OpenSSL failed to digest");
  }
  return digests;
}

core::Result<std::string> Digest(Hash hash, std::string_view text) {
  const Context context = Begin(NameOf(hash));
  if (!context || EVP_DigestUpdate(context.get(), text.data(), text.size()) != 1) {
    return Fail(ErrorCode::kInternal, std::string("OpenSSL has no ") + NameOf(hash));
  }
  std::string digest = End(context.get());
  if (digest.empty()) {
    return Fail(ErrorCode::kInternal, "OpenSSL failed to digest");
  }
  return digest;
}

core::Result<std::string> Hmac(Hash hash, std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  std::size_t size = 0;
  if (EVP_Q_mac(nullptr, "HMAC", nullptr, NameOf(hash), nullptr, key.data(), key.size(),
                reinterpret_cast<const unsigned char*>(text.data()), text.size(), bytes.data(),
                bytes.size(), &size) == nullptr) {
    return Fail(ErrorCode::kInternal, std::string("OpenSSL has no HMAC with ") + NameOf(hash));
  }
  return std::string(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
}

}  // namespace ota::crypto
