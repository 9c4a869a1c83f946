#include "crypto/seal.h"

#include <array>
#include <cstddef>
#include <memory>

#include <openssl/evp.h>

#include "crypto/random.h"

namespace ota::crypto {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::size_t kNonce = 12;
constexpr std::size_t kTag = 16;
static_assert(kSealBytes == kNonce + kTag);

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

// A context with key, nonce and additional text; null: OpenSSL refused.
Context Begin(std::string_view key, std::string_view nonce, std::string_view context, bool seal) {
  Context cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int length = 0;
  if (!cipher || key.size() != kSealKeyBytes ||
      EVP_CipherInit_ex2(cipher.get(), EVP_aes_256_gcm(), Bytes(key), Bytes(nonce), seal ? 1 : 0,
                         nullptr) != 1 ||
      EVP_CipherUpdate(cipher.get(), nullptr, &length, Bytes(context),
                       static_cast<int>(context.size())) != 1) {
    return {nullptr, EVP_CIPHER_CTX_free};
  }
  return cipher;
}

}  // namespace

core::Result<std::string> Seal(std::string_view key, std::string_view text,
                               std::string_view context) {
  core::Result<std::string> nonce = RandomBytes(kNonce);
  if (!nonce) {
    return nonce;
  }
  const Context cipher = Begin(key, *nonce, context, true);
  std::string sealed(text.size(), '\0');
  std::array<unsigned char, kTag> tag{};
  int length = 0;
  int rest = 0;
  if (!cipher ||
      EVP_CipherUpdate(cipher.get(), Bytes(sealed), &length, Bytes(text),
                       static_cast<int>(text.size())) != 1 ||
      EVP_CipherFinal_ex(cipher.get(), Bytes(sealed) + length, &rest) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTag, tag.data()) != 1) {
    return Fail(ErrorCode::kInternal, "OpenSSL cannot encrypt with AES-256-GCM");
  }
  return *nonce + sealed + std::string(tag.begin(), tag.end());
}

core::Result<std::string> Unseal(std::string_view key, std::string_view sealed,
                                 std::string_view context) {
  const auto foreign = [] {
    return Fail(ErrorCode::kCorruption, "was not encrypted with this key for this place");
  };
  if (sealed.size() < kSealBytes) {
    return foreign();
  }
  const std::string_view nonce = sealed.substr(0, kNonce);
  const std::string_view body = sealed.substr(kNonce, sealed.size() - kSealBytes);
  std::string tag(sealed.substr(sealed.size() - kTag));
  const Context cipher = Begin(key, nonce, context, false);
  std::string text(body.size(), '\0');
  int length = 0;
  int rest = 0;
  if (!cipher) {
    return Fail(ErrorCode::kInternal, "OpenSSL cannot decrypt with AES-256-GCM");
  }
  if (EVP_CipherUpdate(cipher.get(), Bytes(text), &length, Bytes(body),
                       static_cast<int>(body.size())) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) != 1 ||
      EVP_CipherFinal_ex(cipher.get(), Bytes(text) + length, &rest) != 1) {
    return foreign();
  }
  return text;
}

}  // namespace ota::crypto
