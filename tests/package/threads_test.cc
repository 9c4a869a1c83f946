// A table of open files of one's own: what is in it, who shares it, and what the others keep.
#include "package/threads.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "package/descriptor.h"

namespace ota::package {
namespace {

bool IsOpenHere(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

class OwnTable : public ::testing::Test {
 protected:
  void SetUp() override {
    bool may = false;
    std::thread([&may] { may = OwnDescriptors(); }).join();
    if (!may) {
      GTEST_SKIP() << "this system shares the table";
    }
  }
};

TEST_F(OwnTable, HoldsNothingOfTheProcessButItsStandardFiles) {
  const Descriptor file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file);
  std::thread([&file] {
    ASSERT_TRUE(OwnDescriptors());
    EXPECT_FALSE(IsOpenHere(file.get()));
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      EXPECT_TRUE(IsOpenHere(standard));
    }
  }).join();
  EXPECT_TRUE(IsOpenHere(file.get()));
}

TEST_F(OwnTable, KeepsNoConnectionOfTheProcessOpen) {
  std::array<int, 2> pair{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  const Descriptor here(pair[0]);
  std::promise<void> owns;
  std::promise<void> closed;
  std::thread thread([&] {
    EXPECT_TRUE(OwnDescriptors());
    owns.set_value();
    closed.get_future().wait();
  });
  owns.get_future().wait();
  close(pair[1]);
  char byte = 0;
  EXPECT_EQ(recv(here.get(), &byte, 1, MSG_DONTWAIT), 0) << "the other end is closed everywhere";
  closed.set_value();
  thread.join();
}

TEST_F(OwnTable, IsSharedByTheThreadsStartedFromItAndByNobodyElse) {
  int fd = -1;
  std::thread([&fd] {
    ASSERT_TRUE(OwnDescriptors());
    std::thread([&fd] { fd = open("/dev/null", O_RDONLY | O_CLOEXEC); }).join();
    EXPECT_TRUE(IsOpenHere(fd));
    std::thread([&fd] { EXPECT_EQ(close(fd), 0); }).join();
    EXPECT_FALSE(IsOpenHere(fd));
    fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 900);
  }).join();
  ASSERT_GE(fd, 900);
  EXPECT_FALSE(IsOpenHere(fd));
}

}  // namespace
}  // namespace ota::package
