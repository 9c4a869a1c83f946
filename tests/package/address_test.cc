// Download addresses: what is made can be read back, what is altered is not genuine.
#include "package/address.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

#include "scratch.h"

namespace ota::package {
namespace {

const std::string kSha256(64, 'a');
constexpr std::string_view kBase = "http://gw.plant:8080/ota";

Grant SomeGrant() {
  return {7, 42, kSha256, 1795219200, "mcu-2.2.delta"};
}

std::string PathOf(const std::string& url) {
  return url.substr(url.find('/', 8));
}

class Addresses : public ::testing::Test {
 protected:
  Scratch scratch_;
  AddressKey key_ = AddressKey::Load(scratch_.Path("key")).value();
};

TEST_F(Addresses, CarryEveryFieldAndAreGenuine) {
  const std::string url = SignUrl(kBase, key_, SomeGrant()).value();
  EXPECT_EQ(url.find("http://gw.plant:8080/ota/1795219200/7/42/"), 0U) << url;
  const Address address = ParseAddress(PathOf(url)).value();
  EXPECT_EQ(address.grant.device, 7);
  EXPECT_EQ(address.grant.file, 42);
  EXPECT_EQ(address.grant.expires, 1795219200);
  EXPECT_EQ(address.grant.name, "mcu-2.2.delta");
  EXPECT_EQ(address.code.size(), 22U);
  EXPECT_TRUE(IsGenuine(key_, address, kSha256));
}

TEST_F(Addresses, AlteredInAnyFieldAreNotGenuine) {
  const Address genuine = ParseAddress(PathOf(SignUrl(kBase, key_, SomeGrant()).value())).value();
  ASSERT_TRUE(IsGenuine(key_, genuine, kSha256));
  Address altered = genuine;
  altered.grant.device = 8;
  EXPECT_FALSE(IsGenuine(key_, altered, kSha256));
  altered = genuine;
  altered.grant.file = 43;
  EXPECT_FALSE(IsGenuine(key_, altered, kSha256));
  altered = genuine;
  altered.grant.expires += 1;
  EXPECT_FALSE(IsGenuine(key_, altered, kSha256));
  altered = genuine;
  altered.grant.name = "other";
  EXPECT_FALSE(IsGenuine(key_, altered, kSha256));
  EXPECT_FALSE(IsGenuine(key_, genuine, std::string(64, 'b')));
  for (std::size_t i = 0; i < genuine.code.size(); ++i) {
    altered = genuine;
    altered.code[i] = altered.code[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(IsGenuine(key_, altered, kSha256)) << i;
  }
  altered = genuine;
  altered.code.pop_back();
  EXPECT_FALSE(IsGenuine(key_, altered, kSha256));
  altered.code.clear();
  EXPECT_FALSE(IsGenuine(key_, altered, kSha256));
}

TEST_F(Addresses, OfAnotherKeyAreNotGenuine) {
  const AddressKey other = AddressKey::Load(scratch_.Path("other")).value();
  const Address address = ParseAddress(PathOf(SignUrl(kBase, key_, SomeGrant()).value())).value();
  EXPECT_FALSE(IsGenuine(other, address, kSha256));
}

// Moving a digit from one number to the next must not give the same text to sign.
TEST_F(Addresses, OfNeighbouringFieldsAreNotInterchangeable) {
  Grant first = SomeGrant();
  first.device = 11;
  first.file = 1;
  const Address address = ParseAddress(PathOf(SignUrl(kBase, key_, first).value())).value();
  Address moved = address;
  moved.grant.device = 1;
  moved.grant.file = 11;
  EXPECT_FALSE(IsGenuine(key_, moved, kSha256));
}

// [N-20]
TEST_F(Addresses, HaveAtMost254CharactersAndKeepTheSuffix) {
  const std::string long_base = "http://" + std::string(121, 'h');
  for (const std::string& name : {std::string(200, 'n') + ".tar.gz", std::string(100, ' ') + ".bin",
                                  std::string("\xc3\xa4") + std::string(150, 'x') + ".delta",
                                  std::string(300, '.'), std::string()}) {
    Grant grant = SomeGrant();
    grant.name = name;
    grant.device = grant.file = grant.expires = INT64_MAX;
    const std::string url = SignUrl(long_base, key_, grant).value();
    EXPECT_LE(url.size(), 254U) << url;
    const Address address = ParseAddress(PathOf(url)).value();
    EXPECT_TRUE(IsGenuine(key_, address, kSha256)) << url;
    EXPECT_FALSE(address.grant.name.empty());
  }
  Grant grant = SomeGrant();
  grant.name = std::string(300, 'n') + ".tar.gz";
  const std::string url = SignUrl(kBase, key_, grant).value();
  EXPECT_EQ(url.size(), 254U);
  EXPECT_EQ(url.substr(url.size() - 8), "n.tar.gz");
}

TEST_F(Addresses, AreCutBetweenCharacters) {
  std::string name;
  for (int i = 0; i < 100; ++i) {
    name += "\xe2\x82\xac";  // the euro sign
  }
  for (std::size_t room = 0; room < 9; ++room) {
    Grant grant = SomeGrant();
    grant.name = std::string(room, 'x') + name;
    const Address address = ParseAddress(PathOf(SignUrl(kBase, key_, grant).value())).value();
    EXPECT_EQ((address.grant.name.size() - room) % 3, 0U);
    EXPECT_GT(address.grant.name.size(), room);
  }
}

TEST_F(Addresses, EncodeNamesThatAClientWouldChange) {
  for (const char* name : {"a b?c#d%2F.bin", ".", "..", "\xc3\xa4.bin", "a+b&c=d"}) {
    Grant grant = SomeGrant();
    grant.name = name;
    const std::string url = SignUrl(kBase, key_, grant).value();
    const std::string last = url.substr(url.rfind('/') + 1);
    EXPECT_EQ(last.find_first_of(" ?#+&=\xc3\xa4"), std::string::npos) << url;
    EXPECT_NE(last, ".");
    EXPECT_NE(last, "..");
    EXPECT_TRUE(IsGenuine(key_, ParseAddress(PathOf(url)).value(), kSha256)) << url;
  }
}

TEST_F(Addresses, OfOtherFormsAreNone) {
  for (const char* path :
       {"", "/", "//", "/////", "1/2/3/c/n", "/1/2/3/c", "/x/2/3/c/n", "/1/-2/3/c/n", "/1/2/3 /c/n",
        "/1/2/99999999999999999999/c/n", "/1/2/3/c/%", "/1/2/3/c/%4", "/1/2/3/c/%zz",
        "/1/2/3/c/% 1", "/1/2/3/c/n/..", "/1/2/3/c/n/", "/+1/2/3/c/n", "/0x1/2/3/c/n"}) {
    EXPECT_FALSE(ParseAddress(path)) << path;
  }
  EXPECT_TRUE(ParseAddress("/1/2/3/c/n"));
  EXPECT_TRUE(ParseAddress("/any/base/1/2/3/c/n"));
}

TEST_F(Addresses, RefuseNegativeNumbersAndAnOverlongBase) {
  Grant grant = SomeGrant();
  grant.device = -1;
  EXPECT_FALSE(SignUrl(kBase, key_, grant));
  EXPECT_FALSE(SignUrl("http://" + std::string(220, 'h'), key_, SomeGrant()));
}

TEST(CheckBase, TakesHttpAddressesAndRemovesSlashes) {
  EXPECT_EQ(CheckBase("http://10.0.0.1:8080").value(), "http://10.0.0.1:8080");
  EXPECT_EQ(CheckBase("https://ota.example/files//").value(), "https://ota.example/files");
  EXPECT_EQ(CheckBase("http://[fe80::1]:80/").value(), "http://[fe80::1]:80");
  for (const char* base :
       {"", "/", "ota.example", "ftp://x", "http://", "http:///x", "http://:80", "http://x?y",
        "http://x#y", "http://u:p@x", "http://x y", "http://x\n", "HTTP:/x"}) {
    const auto checked = CheckBase(base);
    ASSERT_FALSE(checked) << base;
    EXPECT_EQ(checked.error().code, core::ErrorCode::kInvalidArgument);
  }
  EXPECT_TRUE(CheckBase("http://" + std::string(121, 'h')));
  EXPECT_FALSE(CheckBase("http://" + std::string(122, 'h')));
}

TEST(PlainUrl, EncodesEachComponent) {
  EXPECT_EQ(PlainUrl("http://x/y", "a/b c.bin").value(), "http://x/y/a/b%20c.bin");
  EXPECT_FALSE(PlainUrl("http://x", std::string(250, 'p')));
}

// ------------------------------------------------------------------------------------------------
// the key

TEST(AddressKey, IsMadeOnceAndStays) {
  const Scratch scratch;
  const std::string path = scratch.Path("key");
  const AddressKey made = AddressKey::Load(path).value();
  EXPECT_EQ(made.bytes().size(), 32U);
  EXPECT_EQ(AddressKey::Load(path).value().bytes(), made.bytes());
  struct stat found {};
  ASSERT_EQ(stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600U);
  EXPECT_EQ(scratch.Count(), 1U);  // no temporary file is left
  EXPECT_NE(AddressKey::Load(scratch.Path("other")).value().bytes(), made.bytes());
}

void ExpectRefused(const std::string& path, const std::string& why) {
  const auto key = AddressKey::Load(path);
  ASSERT_FALSE(key) << why;
  EXPECT_EQ(key.error().code, core::ErrorCode::kInvalidArgument);
  EXPECT_NE(key.error().message.find("'" + path + "'"), std::string::npos) << key.error().message;
  EXPECT_NE(key.error().message.find(why), std::string::npos) << key.error().message;
}

TEST(AddressKey, ThatOthersCanReadIsRefused) {
  const Scratch scratch;
  const std::string path = scratch.Path("key");
  ASSERT_TRUE(AddressKey::Load(path));
  for (const mode_t mode : {0640U, 0604U, 0620U, 0610U}) {
    chmod(path.c_str(), mode);
    ExpectRefused(path, "0600");
  }
  chmod(path.c_str(), 0400);
  EXPECT_TRUE(AddressKey::Load(path));
}

TEST(AddressKey, OfAnotherSizeIsRefused) {
  const Scratch scratch;
  for (const std::size_t size : {0U, 31U, 33U, 5000U}) {
    scratch.Write("key", std::string(size, 'k'));
    chmod(scratch.Path("key").c_str(), 0600);
    ExpectRefused(scratch.Path("key"), "32 bytes");
  }
}

TEST(AddressKey, BehindALinkOrNoFileIsRefused) {
  const Scratch scratch;
  ASSERT_TRUE(AddressKey::Load(scratch.Path("key")));
  std::filesystem::create_symlink(scratch.Path("key"), scratch.Path("link"));
  ExpectRefused(scratch.Path("link"), "symbolic link");
  std::filesystem::create_directory(scratch.Path("dir"));
  ExpectRefused(scratch.Path("dir"), "regular file");
  ExpectRefused(scratch.Path("missing/key"), "directory cannot be opened");
}

TEST(AddressKey, OfAnotherUserIsRefused) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a file away";
  }
  const Scratch scratch;
  ASSERT_TRUE(AddressKey::Load(scratch.Path("key")));
  ASSERT_EQ(chown(scratch.Path("key").c_str(), 1, static_cast<gid_t>(-1)), 0);
  ExpectRefused(scratch.Path("key"), "belongs to user 1");
}

}  // namespace
}  // namespace ota::package
