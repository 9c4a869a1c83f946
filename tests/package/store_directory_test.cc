// Nothing leaves the store directory, and nothing that changed is served.
#include "package/store_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

#include "package/add.h"
#include "package/served_files.h"
#include "scratch.h"

namespace ota::package {
namespace {

namespace fs = std::filesystem;
using core::ErrorCode;

TEST(OpenInside, OpensFilesAlsoInFolders) {
  const Scratch scratch;
  scratch.Write("a.bin", "a");
  scratch.Write("x/y/b.bin", "b");
  scratch.Write("..hidden", "c");
  EXPECT_TRUE(OpenInside(scratch.store(), "a.bin"));
  EXPECT_TRUE(OpenInside(scratch.store(), "x/y/b.bin"));
  EXPECT_TRUE(OpenInside(scratch.store(), "..hidden"));
}

TEST(OpenStore, AnotherDirectoryOfThatNameIsAnotherStore) {
  const Scratch scratch;
  const std::string path = scratch.Path("store");
  fs::create_directory(path);
  const auto store = OpenStore(path);
  ASSERT_TRUE(store);
  EXPECT_TRUE(IsStore(store->get(), path));
  fs::rename(path, scratch.Path("away"));
  EXPECT_TRUE(IsStore(store->get(), path)) << "what is not there is no other one";
  fs::create_directory(path);
  EXPECT_FALSE(IsStore(store->get(), path));
}

TEST(OpenInside, RefusesPathsThatAreNotPlain) {
  using namespace std::string_literals;
  const Scratch scratch;
  scratch.Write("a.bin", "a");
  for (const std::string& path :
       {""s, "/"s, "/etc/passwd"s, scratch.Path("a.bin"), ".."s, "../a.bin"s, "x/../a.bin"s,
        "./a.bin"s, "x//a.bin"s, "a.bin/"s, "."s, "x/."s, "a.bin\0x"s, std::string(256, 'a')}) {
    const auto opened = OpenInside(scratch.store(), path);
    ASSERT_FALSE(opened) << path;
    EXPECT_EQ(opened.error().code, ErrorCode::kInvalidArgument) << path;
  }
}

TEST(OpenInside, FollowsNoLinks) {
  const Scratch scratch;
  const Scratch outside;
  outside.Write("secret", "s");
  scratch.Write("a.bin", "a");
  fs::create_symlink(outside.Path("secret"), scratch.Path("absolute"));
  fs::create_symlink(
      "../" + fs::path(outside.Path("")).parent_path().filename().string() + "/secret",
      scratch.Path("relative"));
  fs::create_directory_symlink(outside.Path(""), scratch.Path("folder"));
  fs::create_symlink("a.bin", scratch.Path("inside"));
  fs::create_symlink("/proc/self/root", scratch.Path("magic"));
  for (const char* path : {"absolute", "relative", "folder/secret", "inside", "magic/etc/passwd"}) {
    const auto opened = OpenInside(scratch.store(), path);
    ASSERT_FALSE(opened) << path;
    EXPECT_EQ(opened.error().code, ErrorCode::kCorruption) << opened.error().message;
  }
}

TEST(OpenInside, RefusesWhatIsNoFileWithBytesAndNamesIt) {
  const Scratch scratch;
  scratch.Write("empty", "");
  fs::create_directory(scratch.Path("dir"));
  ASSERT_EQ(mkfifo(scratch.Path("pipe").c_str(), 0600), 0);
  for (const char* path : {"empty", "dir", "pipe", "missing"}) {
    const auto opened = OpenInside(scratch.store(), path);
    ASSERT_FALSE(opened) << path;
    EXPECT_EQ(opened.error().code,
              std::string(path) == "missing" ? ErrorCode::kNotFound : ErrorCode::kCorruption);
    EXPECT_NE(opened.error().message.find("'" + std::string(path) + "'"), std::string::npos);
  }
}

TEST(OpenStore, RefusesWhatIsNoDirectory) {
  const Scratch scratch;
  scratch.Write("file", "x");
  EXPECT_EQ(OpenStore(scratch.Path("file")).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(OpenStore(scratch.Path("missing")).error().code, ErrorCode::kInvalidArgument);
}

TEST(Inspect, GivesSizeAndDigests) {
  const Scratch scratch;
  scratch.Write("abc", "abc");
  const FileFacts facts = Inspect(scratch.store(), "abc", {}).value();
  EXPECT_EQ(facts.bytes, 3);
  EXPECT_EQ(facts.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(facts.md5, "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_TRUE(CheckUnchanged(OpenInside(scratch.store(), "abc").value().get(), "abc", facts));
}

TEST(Inspect, TellsItsProgressAndStops) {
  const Scratch scratch;
  scratch.Write("big", Content(1 << 20));
  std::int64_t last = -1;
  ASSERT_TRUE(Inspect(scratch.store(), "big", [&](std::int64_t done, std::int64_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, 1 << 20);
    last = done;
    return true;
  }));
  EXPECT_EQ(last, 1 << 20);
  const auto stopped =
      Inspect(scratch.store(), "big", [](std::int64_t done, std::int64_t) { return done == 0; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(stopped.error().message.find("'big'"), std::string::npos);
}

TEST(Inspect, NoticesAWriteMeanwhile) {
  const Scratch scratch;
  scratch.Write("big", Content(1 << 20));
  const auto facts = Inspect(scratch.store(), "big", [&](std::int64_t done, std::int64_t) {
    if (done == 1 << 19) {
      const Descriptor writer(open(scratch.Path("big").c_str(), O_WRONLY));
      EXPECT_EQ(pwrite(writer.get(), "x", 1, 0), 1);
    }
    return true;
  });
  ASSERT_FALSE(facts);
  EXPECT_EQ(facts.error().code, ErrorCode::kUnavailable);
}

// A write of the same size just after the hash: the clock of the file system may not have moved on
// since the file was made, but Inspect waits until it has.
TEST(CheckUnchanged, NoticesAnImmediateWriteOfTheSameSize) {
  const Scratch scratch;
  for (int i = 0; i < 5; ++i) {
    scratch.Write("file", "aaaa");
    const FileFacts facts = Inspect(scratch.store(), "file", {}).value();
    const Descriptor fd(open(scratch.Path("file").c_str(), O_RDWR));
    ASSERT_EQ(pwrite(fd.get(), "bbbb", 4, 0), 4);
    EXPECT_FALSE(CheckUnchanged(fd.get(), "file", facts));
  }
}

TEST(CheckUnchanged, NoticesEveryFact) {
  const Scratch scratch;
  scratch.Write("file", "aaaa");
  const FileFacts facts = Inspect(scratch.store(), "file", {}).value();
  const Descriptor fd = OpenInside(scratch.store(), "file").value();
  ASSERT_TRUE(CheckUnchanged(fd.get(), "file", facts));
  for (std::int64_t FileFacts::*fact :
       {&FileFacts::bytes, &FileFacts::mtime_ns, &FileFacts::ctime_ns}) {
    FileFacts other = facts;
    ++(other.*fact);
    EXPECT_EQ(CheckUnchanged(fd.get(), "file", other).error().code, ErrorCode::kCorruption);
  }
  FileFacts other = facts;
  ++other.inode;
  EXPECT_FALSE(CheckUnchanged(fd.get(), "file", other));
}

// ------------------------------------------------------------------------------------------------
// adding

// What a process leaves that is killed before it has written all.
TEST(NewFile, IsNowhereBeforeItIsPublished) {
  const Scratch scratch;
  if (!Descriptor(openat(scratch.store(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600))) {
    GTEST_SKIP() << "files of this file system cannot be without a name";
  }
  auto file = NewFile::Create(scratch.store(), kStoreMode, true);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->Write("firmware"));
  EXPECT_TRUE(fs::is_empty(scratch.Path("")));
  ASSERT_TRUE(file->Publish("fw"));
  EXPECT_EQ(fs::file_size(scratch.Path("fw")), 8U);
  auto other = NewFile::Create(scratch.store(), kStoreMode, true);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->Publish("fw").error().code, ErrorCode::kConflict);
}

TEST(AddFile, CopiesWithModeAndLeavesNothingElse) {
  const Scratch scratch;
  const Scratch elsewhere;
  elsewhere.Write("fw.bin", Content(700'000));
  const auto path = AddFile(scratch.store(), elsewhere.Path("fw.bin"), "");
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_EQ(*path, "fw.bin");
  EXPECT_EQ(scratch.Read("fw.bin"), Content(700'000));
  struct stat found {};
  ASSERT_EQ(stat(scratch.Path("fw.bin").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0640U);
  EXPECT_EQ(scratch.Count(), 1U);
}

TEST(AddFile, GivesTheFileToTheGroupOfTheDirectory) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a directory away";
  }
  const Scratch scratch;
  scratch.Write("outside/fw.bin", "x");
  ASSERT_EQ(chown(scratch.Path("").c_str(), static_cast<uid_t>(-1), 7), 0);
  ASSERT_TRUE(AddFile(scratch.store(), scratch.Path("outside/fw.bin"), "fw.bin"));
  struct stat found {};
  ASSERT_EQ(stat(scratch.Path("fw.bin").c_str(), &found), 0);
  EXPECT_EQ(found.st_gid, 7U);
}

TEST(AddFile, TakesTheSameContentTwiceButNotAnother) {
  const Scratch scratch;
  const Scratch elsewhere;
  elsewhere.Write("one", "first");
  elsewhere.Write("two", "second");
  ASSERT_TRUE(AddFile(scratch.store(), elsewhere.Path("one"), "fw"));
  EXPECT_TRUE(AddFile(scratch.store(), elsewhere.Path("one"), "fw"));
  const auto other = AddFile(scratch.store(), elsewhere.Path("two"), "fw");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kConflict);
  EXPECT_NE(other.error().message.find("'fw'"), std::string::npos);
  EXPECT_EQ(scratch.Read("fw"), "first");
  EXPECT_EQ(scratch.Count(), 1U);
}

TEST(AddFile, DoesNotWriteThroughALinkInTheStore) {
  const Scratch scratch;
  const Scratch elsewhere;
  elsewhere.Write("one", "first");
  elsewhere.Write("victim", "victim");
  fs::create_symlink(elsewhere.Path("victim"), scratch.Path("fw"));
  EXPECT_EQ(AddFile(scratch.store(), elsewhere.Path("one"), "fw").error().code,
            ErrorCode::kConflict);
  EXPECT_EQ(elsewhere.Read("victim"), "victim");
}

TEST(AddFile, RefusesBadNamesAndSources) {
  using namespace std::string_literals;
  const Scratch scratch;
  const Scratch elsewhere;
  elsewhere.Write("one", "first");
  elsewhere.Write("empty", "");
  ASSERT_EQ(mkfifo(elsewhere.Path("pipe").c_str(), 0600), 0);
  for (const std::string& name :
       {"../x"s, "a/b"s, "."s, ".hidden"s, "a\nb"s, "a\0b"s, "/x"s, std::string(201, 'x')}) {
    EXPECT_EQ(AddFile(scratch.store(), elsewhere.Path("one"), name).error().code,
              ErrorCode::kInvalidArgument)
        << name;
  }
  for (const char* source : {"empty", "missing", "pipe", ""}) {
    EXPECT_EQ(AddFile(scratch.store(), elsewhere.Path(source), "fw").error().code,
              ErrorCode::kInvalidArgument)
        << source;
  }
  EXPECT_EQ(scratch.Count(), 0U);
}

// ------------------------------------------------------------------------------------------------
// serving

class FilesTest : public ::testing::Test {
 protected:
  FilesTest() { scratch_.Write("fw.bin", content_); }

  void Publish(bool ready = true) {
    auto table = std::make_shared<ServedFiles>();
    table->emplace(1, ServedFile{"fw.bin", Inspect(scratch_.store(), "fw.bin", {}).value(), ready});
    files_.SetTable(table);
  }

  const std::string content_ = Content(10'000);
  Scratch scratch_;
  Files files_{Descriptor(dup(scratch_.store()))};
};

TEST_F(FilesTest, AreUnavailableUntilTheTableIsThereAndWhileTheyAreHashed) {
  EXPECT_EQ(files_.Open(1).error().code, ErrorCode::kUnavailable);
  Publish(false);
  EXPECT_EQ(files_.Open(1).error().code, ErrorCode::kUnavailable);
  Publish();
  EXPECT_TRUE(files_.Open(1));
  EXPECT_EQ(files_.Open(2).error().code, ErrorCode::kNotFound);
}

TEST_F(FilesTest, ShareOneDescriptor) {
  Publish();
  const std::size_t before = OpenDescriptors();
  auto first = files_.Open(1).value();
  auto second = files_.Open(1).value();
  EXPECT_EQ(first, second);
  EXPECT_EQ(OpenDescriptors(), before + 1);
  EXPECT_EQ(files_.in_use(), 1U);
  first.reset();
  second.reset();
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(files_.in_use(), 0U);
}

// [N-28] [N-29]
TEST_F(FilesTest, GiveBlocksOfWhichTheLastIsShorter) {
  Publish();
  const auto file = files_.Open(1).value();
  EXPECT_EQ(file->Read(0, 4096).value(), content_.substr(0, 4096));
  EXPECT_EQ(file->Read(4097, 128).value(), content_.substr(4097, 128));
  EXPECT_EQ(file->Read(9'000, 4096).value(), content_.substr(9'000));
  EXPECT_EQ(file->Read(10'000, 128).value(), "");
  EXPECT_EQ(file->Read(INT64_MAX, 128).value(), "");
  EXPECT_EQ(file->Read(-1, 128).value(), "");
}

TEST_F(FilesTest, ThatWereWrittenToAreRefused) {
  Publish();
  const auto file = files_.Open(1).value();
  const Descriptor writer(open(scratch_.Path("fw.bin").c_str(), O_WRONLY));
  ASSERT_EQ(pwrite(writer.get(), "x", 1, 5'000), 1);
  const auto block = file->Read(0, 4096);
  ASSERT_FALSE(block);
  EXPECT_EQ(block.error().code, ErrorCode::kCorruption);
  EXPECT_NE(block.error().message.find("'fw.bin'"), std::string::npos);
  EXPECT_EQ(files_.Open(1).error().code, ErrorCode::kCorruption);
  Publish();
  EXPECT_TRUE(files_.Open(1).value()->Read(0, 4096));
}

TEST_F(FilesTest, ThatWereReplacedOrRemovedAreRefused) {
  Publish();
  const auto file = files_.Open(1).value();
  scratch_.Write("new", content_);
  fs::rename(scratch_.Path("new"), scratch_.Path("fw.bin"));
  EXPECT_FALSE(file->Read(0, 4096));
  EXPECT_EQ(files_.Open(1).error().code, ErrorCode::kCorruption);
  fs::remove(scratch_.Path("fw.bin"));
  EXPECT_EQ(files_.Open(1).error().code, ErrorCode::kCorruption);
}

TEST_F(FilesTest, ThatBecameShorterAreRefused) {
  Publish();
  const auto file = files_.Open(1).value();
  fs::resize_file(scratch_.Path("fw.bin"), 100);
  EXPECT_EQ(file->Read(4096, 4096).error().code, ErrorCode::kCorruption);
}

TEST_F(FilesTest, FollowTheTable) {
  Publish();
  const auto old = files_.Open(1).value();
  scratch_.Write("other", "other");
  auto table = std::make_shared<ServedFiles>();
  table->emplace(1, ServedFile{"other", Inspect(scratch_.store(), "other", {}).value(), true});
  files_.SetTable(table);
  EXPECT_EQ(files_.Open(1).value()->Read(0, 100).value(), "other");
  EXPECT_EQ(old->Read(0, 10).value(), content_.substr(0, 10));
}

}  // namespace
}  // namespace ota::package
