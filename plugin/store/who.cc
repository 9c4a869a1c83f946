// See who.h.
#include "store/who.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>

namespace ota::store {
namespace {

std::string NameOf(uid_t uid) {
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return "uid " + std::to_string(uid);
}

// The kernel keeps the login user through sudo and su, and a user cannot change it.
std::optional<std::string> LoginName() {
  std::ifstream file("/proc/self/loginuid");
  std::string text;
  file >> text;
  uid_t uid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), uid);
  if (error != std::errc{} || end != text.data() + text.size() || uid == static_cast<uid_t>(-1)) {
    return std::nullopt;
  }
  return NameOf(uid);
}

}  // namespace

std::string DescribeUser(const std::optional<std::string>& login, std::string_view sudo_user,
                         std::string_view effective) {
  std::string who(effective);
  if (login) {
    who = *login;
  } else if (!sudo_user.empty()) {
    who = sudo_user;
  }
  return who == effective ? who : who + " as " + std::string(effective);
}

std::string CurrentUser() {
  // Without a login user sudo's word is taken from root only: anybody can set the variable.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): otactl has one thread, and sets no variable
  const char* sudo = geteuid() == 0 ? std::getenv("SUDO_USER") : nullptr;
  return DescribeUser(LoginName(), sudo == nullptr ? "" : sudo, NameOf(geteuid()));
}

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) {
    return "unknown";
  }
  return name.data();
}

}  // namespace ota::store
