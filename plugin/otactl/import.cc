// Commands: import, sql.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "crypto/digest.h"
#include "crypto/encoding.h"
#include "otactl/commands.h"
#include "otactl/console.h"
#include "otactl/output.h"
#include "package/descriptor.h"

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;
using store::Admin;
using store::Rows;
using store::Value;

core::Result<void> ImportFile(Admin& admin, const std::string& path,
                              const std::optional<std::string>& table,
                              const std::vector<std::pair<std::string, std::string>>& constants) {
  auto text = ReadFile(path);
  if (!text) {
    return tl::unexpected(text.error());
  }
  auto digest = crypto::Sha256(*text);
  if (!digest) {
    return tl::unexpected(digest.error());
  }
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (auto set =
          admin.SetAuthor(Author(error ? path : absolute.string(), crypto::Hex(*digest)), Now());
      !set) {
    return set;
  }
  store::ImportProgress progress;
  if (isatty(STDERR_FILENO) != 0) {
    progress = [&path](std::size_t done, std::size_t total) {
      std::fprintf(stderr, "\r%s: %zu %%\033[K", Clean(path).c_str(), done * 100 / total);
    };
  }
  const bool csv = table || absolute.extension() == ".csv";
  auto done = csv ? admin.ImportCsv(path, *text, table ? *table : absolute.stem().string(),
                                    constants, progress)
                  : admin.ImportSql(path, *text, progress);
  if (progress) {
    std::fputs("\r\033[K", stderr);
  }
  return done;
}

void PrintChanges(const Context& context, const store::Changes& changes, bool check) {
  Rows rows{{"table", "inserted", "updated", "deleted"}, {}};
  for (const std::string_view table : store::AdminTables()) {
    if (const auto found = changes.find(table); found != changes.end()) {
      const auto& [inserted, updated, deleted] = found->second;
      rows.rows.push_back({std::string(table), inserted, updated, deleted});
    }
  }
  if (context.json) {
    Print(Json(rows) + "\n");
    return;
  }
  if (rows.rows.empty()) {
    Print(check ? "nothing would change\n" : "nothing changed\n");
    return;
  }
  Print(Table(rows, false));
  if (check) {
    Print("checked only: nothing was changed\n");
  }
}

}  // namespace

int Import(const Context& context, const std::vector<std::string>& files,
           const std::optional<std::string>& table,
           const std::vector<std::pair<std::string, std::string>>& constants, bool check) {
  auto admin = Open(context);
  auto done = admin ? admin->Begin() : tl::unexpected(admin.error());
  for (const std::string& file : files) {
    if (done) {
      done = ImportFile(*admin, file, table, constants);
    }
  }
  if (!done) {
    if (admin) {
      admin->Rollback();
    }
    return Report(done.error());
  }
  if (check) {
    PrintChanges(context, admin->Rollback(), true);
    return kOk;
  }
  auto changes = admin->Commit();
  if (!changes) {
    admin->Rollback();
    return Report(changes.error());
  }
  PrintChanges(context, *changes, false);
  return kOk;
}

int Sql(const Context& context, const std::vector<std::string>& arguments) {
  if (auto admin = Open(context); !admin) {
    return Report(admin.error());
  }
  std::vector<std::string> words{"sqlite3",
                                 "-cmd",
                                 ".timeout 10000",
                                 "-cmd",
                                 "PRAGMA foreign_keys = ON",
                                 "-cmd",
                                 "PRAGMA recursive_triggers = ON",
                                 "-header"};
  words.emplace_back(context.json ? "-json" : "-column");
  words.push_back(context.database);
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  execvp("sqlite3", pointers.data());
  return Report(
      {ErrorCode::kUnavailable, "sqlite3 cannot be run: " + std::generic_category().message(errno) +
                                    "; install the package sqlite3"});
}

}  // namespace ota::otactl
