#include "engine/signatures.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/manifest.h"
#include "crypto/signature.h"

namespace ota::engine {
namespace {

using testing::HasSubstr;

// A key for these tests alone.
constexpr const char* kPrivate =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+WB8C3ZiYMkT7NDk\n"
    "eIc+HwwmEGQDAZrrvbpQizCTUdWhRANCAASORrScceXG1rlIRukdRWuqdliFNnHN\n"
    "YY9HSRuVxyvU62vXLgFf8MsJdZNYr+teTklcpQy9RQ7x/TsASEXjKWkF\n"
    "-----END PRIVATE KEY-----\n";

core::Package Signed() {
  core::Package package;
  package.name = "main-2";
  package.component = "main";
  package.version = "2.0";
  core::File file;
  file.name = "main.bin";
  file.bytes = 5000;
  file.sha256 = std::string(64, 'a');
  package.sets = {{"", {file}, true, ""}};
  package.manifest = core::Manifest("acme", package);
  package.signature = *crypto::Sign(kPrivate, package.manifest);
  package.key_id = "k";
  return package;
}

class Key : public testing::Test {
 protected:
  const std::string public_key_ = *crypto::PublicKey(kPrivate);
  Signatures signatures_;
};

TEST_F(Key, OnlyWhatItSignedIsDelivered) {  // 004-12
  core::Package package = Signed();
  EXPECT_EQ(signatures_.Check("acme", public_key_, package), "");
  EXPECT_EQ(signatures_.Check("acme", public_key_, package), "");
  package.signature.back() = static_cast<char>(package.signature.back() ^ 1);
  EXPECT_THAT(signatures_.Check("acme", public_key_, package), HasSubstr("acme/main-2"));
  package.signature.clear();
  EXPECT_THAT(signatures_.Check("acme", public_key_, package), HasSubstr("is not signed"));
  EXPECT_EQ(signatures_.Check("acme", "", package), "");
}

TEST_F(Key, ASignatureOfOtherFilesIsNoSignature) {
  core::Package package = Signed();
  package.sets[0].files[0].sha256[0] = 'b';
  EXPECT_THAT(signatures_.Check("acme", public_key_, package), HasSubstr("does not say"));
  EXPECT_THAT(signatures_.Check("acme", "", package), HasSubstr("does not say"));
  EXPECT_THAT(signatures_.Check("other", public_key_, Signed()), HasSubstr("does not say"));
}

}  // namespace
}  // namespace ota::engine
