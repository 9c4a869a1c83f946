// Digests, codes, random names and certificates against published vectors and hostile input.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/encoding.h"
#include "crypto/key_file.h"
#include "crypto/random.h"
#include "crypto/seal.h"

namespace ota::crypto {
namespace {

struct TemporaryFile {
  explicit TemporaryFile(std::string_view text) : file(std::tmpfile()) {
    EXPECT_EQ(text.size(), std::fwrite(text.data(), 1, text.size(), file));
    std::fflush(file);
  }
  ~TemporaryFile() { std::fclose(file); }
  int fd() const { return fileno(file); }
  std::FILE* file;
};

TEST(DigestFile, GivesBothDigestsOfKnownText) {
  const TemporaryFile file("abc");
  const auto digests = DigestFile(file.fd(), {});
  ASSERT_TRUE(digests) << digests.error().message;
  EXPECT_EQ(digests->bytes, 3);
  EXPECT_EQ(digests->sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digests->md5, "900150983cd24fb0d6963f7d28e17f72");
}

TEST(DigestFile, ReadsFromTheFirstByteToTheLastOfALongFile) {
  const TemporaryFile file(std::string(1'000'000, 'a'));
  const auto digests = DigestFile(file.fd(), {});
  ASSERT_TRUE(digests);
  EXPECT_EQ(digests->bytes, 1'000'000);
  EXPECT_EQ(digests->sha256, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(digests->md5, "7707d6ae4e027c70eea2a935c2296f21");
}

TEST(DigestFile, EndsWhenItIsTold) {
  const TemporaryFile file(std::string(1'000'000, 'a'));
  const auto digests = DigestFile(file.fd(), [](std::int64_t done) { return done == 0; });
  ASSERT_FALSE(digests);
  EXPECT_EQ(digests.error().code, core::ErrorCode::kUnavailable);
}

TEST(DigestFile, ReportsAFileThatCannotBeRead) {
  const auto digests = DigestFile(-1, {});
  ASSERT_FALSE(digests);
  EXPECT_EQ(digests.error().code, core::ErrorCode::kUnavailable);
}

TEST(HmacSha256, AgreesWithRfc4231) {
  EXPECT_EQ(Hex(HmacSha256(std::string(20, '\x0b'), "Hi There").value()),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(Hex(HmacSha256("Jefe", "what do ya want for nothing?").value()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(Hex(HmacSha256(std::string(131, '\xaa'),
                           "Test Using Larger Than Block-Size Key - Hash Key First")
                    .value()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Sha256, DigestsTheEmptyText) {
  EXPECT_EQ(Hex(Sha256("").value()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Base64Url, AgreesWithRfc4648AndHasNoPadding) {
  const std::map<std::string, std::string> table = {{"", ""},
                                                    {"f", "Zg"},
                                                    {"fo", "Zm8"},
                                                    {"foo", "Zm9v"},
                                                    {"foob", "Zm9vYg"},
                                                    {"foobar", "Zm9vYmFy"},
                                                    {"\xfb\xff\xfe", "-__-"},
                                                    {"\xff", "_w"}};
  for (const auto& [bytes, text] : table) {
    EXPECT_EQ(Base64Url(bytes), text);
  }
}

TEST(Hex, WritesEveryByteWithTwoDigits) {
  EXPECT_EQ(Hex(std::string("\x00\x0f\xf0\xff", 4)), "000ff0ff");
}

TEST(EqualSecrets, ComparesLengthAndEveryByte) {
  EXPECT_TRUE(EqualSecrets("", ""));
  EXPECT_TRUE(EqualSecrets("abc", "abc"));
  EXPECT_FALSE(EqualSecrets("abc", "abd"));
  EXPECT_FALSE(EqualSecrets("abc", "xbc"));
  EXPECT_FALSE(EqualSecrets("abc", "ab"));
}

// [N-15]
TEST(RandomName, HasTheLengthAndOnlyTheLettersOfTaskIds) {
  for (const std::size_t length : {0U, 1U, 8U, 32U}) {
    const std::string name = RandomName(length).value();
    EXPECT_EQ(name.size(), length);
    EXPECT_EQ(
        name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
        std::string::npos);
  }
  EXPECT_NE(RandomName(20).value(), RandomName(20).value());
}

TEST(RandomName, FavoursNoLetter) {
  // 62 letters, 5000 expected of each, standard deviation 70. A modulo of a byte would give the
  // first eight 25 % more.
  std::map<char, int> counts;
  const std::string name = RandomName(310'000).value();
  for (const char letter : name) {
    ++counts[letter];
  }
  EXPECT_EQ(counts.size(), 62U);
  for (const auto& [letter, count] : counts) {
    EXPECT_NEAR(count, 5000, 560) << letter;
  }
}

TEST(RandomBytes, GivesAsManyAsAsked) {
  EXPECT_EQ(RandomBytes(0).value().size(), 0U);
  EXPECT_EQ(RandomBytes(32).value().size(), 32U);
  EXPECT_NE(RandomBytes(32).value(), RandomBytes(32).value());
}

X509* CertificateOf(std::initializer_list<std::string> common_names, int type = V_ASN1_UTF8STRING) {
  X509* certificate = X509_new();
  X509_NAME* subject = X509_get_subject_name(certificate);
  for (const std::string& name : common_names) {
    // Built by hand: X509_NAME_add_entry_by_txt refuses what a hostile certificate may hold.
    ASN1_STRING* text = ASN1_STRING_type_new(type);
    ASN1_STRING_set(text, name.data(), static_cast<int>(name.size()));
    X509_NAME_ENTRY* entry = X509_NAME_ENTRY_new();
    X509_NAME_ENTRY_set_object(entry, OBJ_nid2obj(NID_commonName));
    X509_NAME_ENTRY_set_data(entry, type, text->data, text->length);
    X509_NAME_add_entry(subject, entry, -1, 0);
    X509_NAME_ENTRY_free(entry);
    ASN1_STRING_free(text);
  }
  return certificate;
}

TEST(CommonName, IsTheSubjects) {
  EXPECT_EQ(TakeCommonName(CertificateOf({"pump/17"})).value(), "pump/17");
  EXPECT_EQ(TakeCommonName(CertificateOf({std::string(256, 'x')})).value(), std::string(256, 'x'));
}

TEST(CommonName, IsTurnedIntoUtf8) {
  EXPECT_EQ(
      TakeCommonName(CertificateOf({std::string("\x00\x41\x00\xe4", 4)}, V_ASN1_BMPSTRING)).value(),
      "A\xc3\xa4");
}

TEST(CommonName, OfAHostileCertificateIsRefused) {
  using namespace std::string_literals;
  for (X509* certificate : {CertificateOf({}), CertificateOf({""}), CertificateOf({"pump\0x"s}),
                            CertificateOf({std::string(257, 'x')}),
                            CertificateOf({"pump/17", "pump/18"}), CertificateOf({"\xff\xfe"})}) {
    const auto name = TakeCommonName(certificate);
    ASSERT_FALSE(name) << *name;
    EXPECT_EQ(name.error().code, core::ErrorCode::kInvalidArgument);
  }
}

TEST(CommonName, OfNoCertificateIsNotFound) {
  EXPECT_EQ(TakeCommonName(nullptr).error().code, core::ErrorCode::kNotFound);
}

// RFC 2202, test case 2, and the digests of "abc".
TEST(Digest, OfEveryKindMatchesThePublishedVectors) {
  EXPECT_EQ(Hex(*Digest(Hash::kMd5, "abc")), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(Hex(*Digest(Hash::kSha1, "abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(Hex(*Hmac(Hash::kMd5, "Jefe", "what do ya want for nothing?")),
            "750c783e6ab0b503eaa86e310a5db738");
  EXPECT_EQ(Hex(*Hmac(Hash::kSha1, "Jefe", "what do ya want for nothing?")),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
}

const std::string kKey(kSealKeyBytes, 'k');

TEST(Seal, OpensWithItsKeyAndItsContextOnly) {
  const auto sealed = Seal(kKey, "the secret", "pump\nd1");
  ASSERT_TRUE(sealed) << sealed.error().message;
  EXPECT_EQ(sealed->size(), std::string("the secret").size() + kSealBytes);
  EXPECT_EQ(sealed->find("secret"), std::string::npos);
  EXPECT_EQ(*Unseal(kKey, *sealed, "pump\nd1"), "the secret");
  const auto other = Unseal(std::string(kSealKeyBytes, 'x'), *sealed, "pump\nd1");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, core::ErrorCode::kCorruption);
  EXPECT_FALSE(Unseal(kKey, *sealed, "pump\nd2"));
  EXPECT_FALSE(Unseal(kKey, *sealed, ""));
}

TEST(Seal, EveryAlteredBitIsNoticed) {
  const std::string sealed = *Seal(kKey, "s", "c");
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string altered = sealed;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    EXPECT_FALSE(Unseal(kKey, altered, "c")) << i;
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_FALSE(Unseal(kKey, sealed.substr(0, size), "c")) << size;
  }
}

TEST(Seal, TheSameTextIsNeverSealedAlike) {
  EXPECT_NE(*Seal(kKey, "s", "c"), *Seal(kKey, "s", "c"));
}

TEST(Seal, AKeyOfAnotherSizeIsRefused) {
  EXPECT_FALSE(Seal("short", "s", "c"));
  EXPECT_FALSE(Unseal("short", *Seal(kKey, "s", "c"), "c"));
}

class KeyFile : public testing::Test {
 protected:
  KeyFile() {
    std::string name = (std::filesystem::temp_directory_path() / "ota-key-XXXXXX").string();
    directory_ = mkdtemp(name.data());
    path_ = directory_ + "/secret.key";
  }
  ~KeyFile() override { std::filesystem::remove_all(directory_); }
  std::string directory_;
  std::string path_;
};

TEST_F(KeyFile, IsMadeOnceForItsUserAlone) {
  EXPECT_EQ(ReadKeyFile(path_, geteuid(), "").error().code, core::ErrorCode::kNotFound);
  ASSERT_TRUE(MakeKeyFile(path_));
  const auto key = ReadKeyFile(path_, geteuid(), "");
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->size(), 32U);
  struct stat found {};
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600U);
  ASSERT_TRUE(MakeKeyFile(path_));
  EXPECT_EQ(*ReadKeyFile(path_, geteuid(), ""), *key);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1);
}

TEST_F(KeyFile, OfAnotherUserModeOrSizeIsRefused) {
  ASSERT_TRUE(MakeKeyFile(path_));
  EXPECT_NE(ReadKeyFile(path_, geteuid() + 1, "").error().message.find("belongs to user"),
            std::string::npos);
  chmod(path_.c_str(), 0640);
  EXPECT_NE(ReadKeyFile(path_, geteuid(), "").error().message.find("0600"), std::string::npos);
  chmod(path_.c_str(), 0600);
  std::ofstream(path_, std::ios::app) << "x";
  EXPECT_NE(
      ReadKeyFile(path_, geteuid(), "bring it back").error().message.find("32 bytes; bring it"),
      std::string::npos);
  EXPECT_FALSE(MakeKeyFile(directory_ + "/missing/key"));
}

}  // namespace
}  // namespace ota::crypto
