#include "core/manifest.h"

#include <gtest/gtest.h>

namespace ota::core {
namespace {

Package Sample() {
  Package package;
  package.name = "main-2";
  package.component = "main";
  package.version = "2.0";
  File file;
  file.name = "main.bin";
  file.bytes = 5000;
  file.sha256 = std::string(64, 'a');
  package.sets = {{"", {file}, true, ""}};
  return package;
}

TEST(Manifest, SaysWhatTheDeviceWillRun) {  // [N-23]
  EXPECT_EQ(
      Manifest("acme", Sample()),
      R"({"product":"acme","package":"main-2","component":"main","kind":"full","version":"2.0",)"
      R"("files":[{"name":"main.bin","bytes":5000,"sha256":")" +
          std::string(64, 'a') + R"("}]})");
}

TEST(Manifest, EveryPartOfItMatters) {
  const std::string whole = Manifest("acme", Sample());
  EXPECT_NE(Manifest("other", Sample()), whole);
  const auto differs = [&](auto change) {
    Package package = Sample();
    change(package);
    return Manifest("acme", package) != whole;
  };
  EXPECT_TRUE(differs([](Package& p) { p.name = "x"; }));
  EXPECT_TRUE(differs([](Package& p) { p.component = "x"; }));
  EXPECT_TRUE(differs([](Package& p) { p.version = "2.1"; }));
  EXPECT_TRUE(differs([](Package& p) { p.kind = PackageKind::kDelta; }));
  EXPECT_TRUE(differs([](Package& p) { p.sets[0].source = "1.0"; }));
  EXPECT_TRUE(differs([](Package& p) { p.sets[0].files[0].name = "x"; }));
  EXPECT_TRUE(differs([](Package& p) { p.sets[0].files[0].bytes = 1; }));
  EXPECT_TRUE(differs([](Package& p) { p.sets[0].files[0].sha256[0] = 'b'; }));
}

TEST(Manifest, NamesCannotPretendToBeSomethingElse) {
  Package package = Sample();
  package.version = R"(2","files":[])";
  EXPECT_NE(Manifest("acme", package).find(R"("version":"2\",\"files\":[]")"), std::string::npos);
  package.version = "a\nb\x01";
  EXPECT_NE(Manifest("acme", package).find(R"("a\u000ab\u0001")"), std::string::npos);
}

TEST(Manifest, ThereIsNoneWhileADigestIsNotKnown) {
  Package package = Sample();
  package.sets[0].files[0].sha256.clear();
  EXPECT_EQ(Manifest("acme", package), "");
}

TEST(Base64, IsThatOfTheStandard) {  // RFC 4648 section 10
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("foob"), "Zm9vYg==");
  EXPECT_EQ(Base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64("\xff\xfe\xfd"), "//79");
}

}  // namespace
}  // namespace ota::core
