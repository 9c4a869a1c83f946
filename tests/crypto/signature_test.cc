// Signatures of packages: with OpenSSL's own keys, made here, and one made by its command line.
#include "crypto/signature.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

namespace ota::crypto {
namespace {

std::string PrivatePem(EVP_PKEY* key) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> out(BIO_new(BIO_s_mem()), BIO_free_all);
  PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  EVP_PKEY_free(key);
  return {text, static_cast<std::size_t>(size)};
}

class Kinds : public testing::TestWithParam<const char*> {
 protected:
  static std::string NewKey() {
    const std::string kind = GetParam();
    if (kind == "EC") {
      return PrivatePem(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    }
    if (kind == "RSA") {
      return PrivatePem(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}));
    }
    return PrivatePem(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  }
};

TEST_P(Kinds, ASignatureIsThatOfItsKeyAndItsMessageAndOfNoOther) {  // 004-12 004-13
  const std::string key = NewKey();
  const auto public_key = PublicKey(key);
  ASSERT_TRUE(public_key) << public_key.error().message;
  const auto signature = Sign(key, "manifest");
  ASSERT_TRUE(signature) << signature.error().message;
  EXPECT_TRUE(VerifySignature(*public_key, "manifest", *signature));
  EXPECT_FALSE(VerifySignature(*public_key, "manifesT", *signature));
  EXPECT_FALSE(VerifySignature(*PublicKey(NewKey()), "manifest", *signature));
  std::string altered = *signature;
  altered.back() = static_cast<char>(altered.back() ^ 1);
  EXPECT_FALSE(VerifySignature(*public_key, "manifest", altered));
  EXPECT_FALSE(VerifySignature(*public_key, "manifest", ""));
  EXPECT_EQ(KeyId(*public_key)->size(), 16U);
  EXPECT_NE(*KeyId(*public_key), *KeyId(*PublicKey(NewKey())));
}

INSTANTIATE_TEST_SUITE_P(All, Kinds, testing::Values("EC", "RSA", "ED25519"));

TEST(Signature, WhatIsNoKeyIsRefusedAndNoPassPhraseIsAskedFor) {
  for (const std::string text : {"", "x", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
                                 "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED "
                                 "PRIVATE KEY-----\n"}) {
    EXPECT_EQ(VerifySignature(text, "m", "s").error().code, core::ErrorCode::kInvalidArgument);
    EXPECT_EQ(Sign(text, "m").error().code, core::ErrorCode::kInvalidArgument);
    EXPECT_EQ(PublicKey(text).error().code, core::ErrorCode::kInvalidArgument);
    EXPECT_EQ(KeyId(text).error().code, core::ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(PublicKey(PrivatePem(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"))));
}

}  // namespace
}  // namespace ota::crypto
