// See backup.h.
#include "store/backup.h"

#include <array>

#include "store/admin.h"

namespace ota::store {

core::Result<void> CopyDatabase(const std::string& path, const std::string& to) {
  auto admin = Admin::Open(path, std::chrono::seconds(10));
  if (!admin) {
    return tl::unexpected(admin.error());
  }
  const std::array<Value, 1> parameters{to};
  if (auto copied = admin->Query("VACUUM INTO ?1", parameters); !copied) {
    return tl::unexpected(copied.error());
  }
  return {};
}

core::Result<void> CheckDatabase(const std::string& path) {
  auto admin = Admin::OpenOlder(path);
  if (!admin) {
    return tl::unexpected(admin.error());
  }
  auto rows = admin->Query("PRAGMA integrity_check(1)");
  if (!rows) {
    return tl::unexpected(rows.error());
  }
  const auto* answer =
      rows->rows.size() == 1 ? std::get_if<std::string>(&rows->rows[0][0]) : nullptr;
  if (answer == nullptr || *answer != "ok") {
    return core::Fail(core::ErrorCode::kCorruption,
                      "database '" + path + "': is damaged: " + (answer ? *answer : ""));
  }
  return {};
}

}  // namespace ota::store
