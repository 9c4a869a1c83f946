// Who is changing things, for the table `import`. Reads the process's credentials, nothing else.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ota::store {

// "alice", or "alice as root" when somebody works behind sudo or su. `login` is the name of the
// session's login user, if the system keeps one; `sudo_user` what sudo left in the environment (may
// be empty); `effective` the name of the user whose rights count.
std::string DescribeUser(const std::optional<std::string>& login, std::string_view sudo_user,
                         std::string_view effective);

// DescribeUser of this process.
std::string CurrentUser();
std::string HostName();

}  // namespace ota::store
