// Copies of the database and the check of one.
#include "store/backup.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "admin_fixture.h"

namespace ota::store {
namespace {

TEST_F(AdminTest, ACopyIsWholeWithWhatIsOnlyInTheLog) {
  Raw("INSERT INTO product(name) VALUES ('demo')");
  const std::string copy = directory_ + "/copy.db";
  ASSERT_TRUE(CopyDatabase(path_, copy));
  ASSERT_TRUE(CheckDatabase(copy));
  auto admin = Admin::Open(copy, {});
  ASSERT_TRUE(admin) << admin.error().message;
  const auto rows = admin->Query("SELECT name FROM product");
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->rows.size(), 1U);
  EXPECT_FALSE(CopyDatabase(path_, copy)) << "a copy is never overwritten";
}

TEST_F(AdminTest, ACopyWithABadPageIsRefused) {
  Raw("INSERT INTO product(name) VALUES ('demo')");
  const std::string copy = directory_ + "/copy.db";
  ASSERT_TRUE(CopyDatabase(path_, copy));
  std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096 * 5);
  file << std::string(4096, '\x55');
  file.close();
  const auto checked = CheckDatabase(copy);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, core::ErrorCode::kCorruption);
}

}  // namespace
}  // namespace ota::store
