#include "crypto/signature.h"

#include <array>
#include <cstddef>
#include <limits>
#include <memory>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "crypto/encoding.h"

namespace ota::crypto {
namespace {

using core::ErrorCode;
using core::Fail;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

constexpr std::size_t kMaxPem = 16384;

Bio BioOf(std::string_view text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all};
}

// Without this OpenSSL would ask for a pass phrase on the terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*given*/) {
  return -1;
}

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

core::Result<Key> ReadKey(std::string_view pem, bool is_private) {
  const char* const what = is_private ? "the private key" : "the public key";
  if (pem.empty() || pem.size() > kMaxPem) {
    return Fail(ErrorCode::kInvalidArgument, std::string(what) + ": is no PEM text");
  }
  const Bio bio = BioOf(pem);
  Key key(bio == nullptr ? nullptr
          : is_private   ? PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr)
                         : PEM_read_bio_PUBKEY(bio.get(), nullptr, NoPassphrase, nullptr),
          EVP_PKEY_free);
  if (!key) {
    return Fail(ErrorCode::kInvalidArgument,
                std::string(what) + ": cannot be read; it must be PEM, " +
                    (is_private ? "PKCS #8, without a pass phrase" : "SubjectPublicKeyInfo"));
  }
  const int kind = EVP_PKEY_get_base_id(key.get());
  if (kind != EVP_PKEY_EC && kind != EVP_PKEY_ED25519 && kind != EVP_PKEY_RSA) {
    return Fail(ErrorCode::kInvalidArgument,
                std::string(what) + ": must be of the kind EC, Ed25519 or RSA");
  }
  return key;
}

// Ed25519 digests by itself.
const EVP_MD* DigestOf(const EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}

std::string Written(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return {text, static_cast<std::size_t>(size)};
}

core::Result<std::string> PublicPem(EVP_PKEY* key) {
  const Bio out(BIO_new(BIO_s_mem()), BIO_free_all);
  if (!out || PEM_write_bio_PUBKEY(out.get(), key) != 1) {
    return Fail(ErrorCode::kInternal, "OpenSSL cannot write the public key");
  }
  return Written(out.get());
}

}  // namespace

core::Result<void> VerifySignature(std::string_view public_key, std::string_view message,
                                   std::string_view signature) {
  const core::Result<Key> key = ReadKey(public_key, false);
  if (!key) {
    return tl::unexpected(key.error());
  }
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestVerifyInit(context.get(), nullptr, DigestOf(key->get()), nullptr,
                                       key->get()) != 1) {
    return Fail(ErrorCode::kInternal, "OpenSSL cannot verify with this key");
  }
  if (EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(message),
                       message.size()) != 1) {
    return Fail(ErrorCode::kConflict, "the signature is not that of the product's key");
  }
  return {};
}

core::Result<std::string> Sign(std::string_view private_key, std::string_view message) {
  const core::Result<Key> key = ReadKey(private_key, true);
  if (!key) {
    return tl::unexpected(key.error());
  }
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::size_t size = 0;
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, DigestOf(key->get()), nullptr, key->get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, Bytes(message), message.size()) != 1) {
    return Fail(ErrorCode::kInternal, "OpenSSL cannot sign with this key");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     Bytes(message), message.size()) != 1) {
    return Fail(ErrorCode::kInternal, "OpenSSL cannot sign with this key");
  }
  signature.resize(size);
  return signature;
}

core::Result<std::string> PublicKey(std::string_view private_key) {
  const core::Result<Key> key = ReadKey(private_key, true);
  return key ? PublicPem(key->get()) : tl::unexpected(key.error());
}

core::Result<std::string> KeyId(std::string_view public_key) {
  const core::Result<Key> key = ReadKey(public_key, false);
  if (!key) {
    return tl::unexpected(key.error());
  }
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key->get(), &der);
  std::array<unsigned char, 32> digest{};
  const bool good = size > 0 && EVP_Digest(der, static_cast<std::size_t>(size), digest.data(),
                                           nullptr, EVP_sha256(), nullptr) == 1;
  OPENSSL_free(der);
  if (!good) {
    return Fail(ErrorCode::kInternal, "OpenSSL cannot digest the public key");
  }
  return Hex({reinterpret_cast<const char*>(digest.data()), 8});
}

}  // namespace ota::crypto
