// See commands.h.
#include "otactl/commands.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>

#include "crypto/digest.h"
#include "crypto/encoding.h"
#include "otactl/backup.h"
#include "otactl/output.h"
#include "otactl/secrets.h"
#include "package/add.h"
#include "package/descriptor.h"
#include "package/fetch.h"
#include "package/store_directory.h"
#include "store/admin.h"
#include "store/lock.h"
#include "store/who.h"

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;
using store::Admin;
using store::Rows;
using store::Value;
using Values = std::vector<Value>;

constexpr auto kLockWait = std::chrono::seconds(10);
constexpr auto kPoll = std::chrono::milliseconds(200);
constexpr std::size_t kMaxImportBytes = std::size_t{1} << 30;

core::Instant Now() {
  return std::chrono::time_point_cast<core::Duration>(std::chrono::system_clock::now());
}

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Note(const Context& context, const std::string& text) {
  if (!context.json) {
    Print(Clean(text) + "\n");
  }
}

core::Result<Admin> Open(const Context& context) {
  return Admin::Open(context.database, kLockWait);
}

std::string TextAt(const Rows& rows, std::size_t row, std::size_t column) {
  const auto* text = std::get_if<std::string>(&rows.rows[row][column]);
  return text == nullptr ? "" : *text;
}

std::int64_t NumberAt(const Rows& rows, std::size_t row, std::size_t column) {
  const auto* number = std::get_if<std::int64_t>(&rows.rows[row][column]);
  return number == nullptr ? 0 : *number;
}

int PrintTable(const Context& context, const core::Result<Rows>& rows) {
  if (!rows) {
    return Report(rows.error());
  }
  Print(context.json ? Json(*rows) + "\n" : Table(*rows, WantsColour()));
  return kOk;
}

// Opens the database and prints the rows of one statement.
int Show(const Context& context, std::string_view sql, const Values& values) {
  auto admin = Open(context);
  return admin ? PrintTable(context, admin->Query(sql, values)) : Report(admin.error());
}

// One part of what a `show` command prints: a record, or a table under a title.
struct Section {
  const char* name;
  bool record;
  std::string_view sql;
};

// Prints the sections for one thing; it does not exist when the first one is empty.
int ShowSections(const Context& context, const std::string& what, const std::vector<Section>& all,
                 const Values& values) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  std::string out;
  for (const Section& section : all) {
    auto rows = admin->Query(section.sql, values);
    if (!rows) {
      return Report(rows.error());
    }
    const bool first = out.empty();
    if (first && rows->rows.empty()) {
      return Report({ErrorCode::kNotFound, what + ": does not exist"});
    }
    if (context.json) {
      out += (first ? "{" : ",\n ") + JsonString(section.name) + ": " +
             (section.record ? JsonObject(*rows) : Json(*rows));
    } else if (!rows->rows.empty()) {
      out += first ? "" : std::string("\n") + section.name + "\n";
      out += section.record ? Record(*rows, WantsColour()) : Table(*rows, WantsColour());
    }
  }
  Print(context.json ? out + "}\n" : out);
  return kOk;
}

store::Author Author(const std::string& file, const std::string& sha256) {
  return {store::CurrentUser(), store::HostName(), file, sha256};
}

// Changes rows by the statements of `change` in one transaction under the name of the command.
template <typename Change>
core::Result<store::Changes> Transact(Admin& admin, const std::string& command, Change change) {
  auto done = admin.Begin();
  if (done) {
    done = admin.SetAuthor(Author("otactl " + command, ""), Now());
  }
  if (done) {
    done = change();
  }
  if (!done) {
    admin.Rollback();
    return tl::unexpected(done.error());
  }
  auto changes = admin.Commit();
  if (!changes) {
    admin.Rollback();
  }
  return changes;
}

core::Result<void> Execute(Admin& admin, std::string_view sql, const Values& values) {
  auto rows = admin.Query(sql, values);
  return rows ? core::Result<void>{} : tl::unexpected(rows.error());
}

core::Result<std::string> ReadFile(const std::string& path) {
  const package::Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::vector<char> buffer(std::size_t{256} * 1024);
  ssize_t got = file ? 1 : -1;
  while (got > 0 && text.size() < kMaxImportBytes) {
    got = read(file.get(), buffer.data(), buffer.size());
    if (got > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  if (got < 0) {
    return Fail(ErrorCode::kInvalidArgument,
                path + ": cannot be read: " + std::generic_category().message(errno));
  }
  if (got > 0) {
    return Fail(ErrorCode::kInvalidArgument, path + ": is longer than 1 GiB; import it in parts");
  }
  return text;
}

// How far an import has come, on a terminal only.
store::ImportProgress ShowProgress(const std::string& path) {
  if (isatty(STDERR_FILENO) == 0) {
    return {};
  }
  return [path](std::size_t done, std::size_t total) {
    std::fprintf(stderr, "\r%s: %zu %%\033[K", Clean(path).c_str(), done * 100 / total);
  };
}

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
  const store::ImportProgress progress = ShowProgress(path);
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

bool Running(const Context& context) {
  return store::IsLocked(context.database);
}

void NoteIfStopped(const Context& context) {
  if (!Running(context)) {
    Note(context, "The broker is not running; the plugin acts on this when it starts.");
  }
}

// Waits for the engine's answer to `request` and prints it.
int AwaitAnswer(const Context& context, Admin& admin, std::int64_t request, int wait_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(wait_s);
  while (true) {
    auto rows = admin.Query(
        "SELECT id, act, plan, product, device, state, answer FROM request WHERE id = ?1",
        Values{request});
    if (!rows) {
      return Report(rows.error());
    }
    const std::string state = TextAt(*rows, 0, 5);
    if (state == "new" && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(kPoll);
      continue;
    }
    PrintTable(context, rows);
    if (state == "new") {
      return Report({ErrorCode::kUnavailable,
                     Running(context) ? "the engine has not answered yet; the request stays"
                                      : "the broker is not running: the request is answered when "
                                        "it starts"});
    }
    return state == "refused" ? kNo : kOk;
  }
}

core::Result<std::int64_t> InsertRequest(Admin& admin, const std::string& act, const Value& plan,
                                         const Value& product, const Value& device) {
  auto rows = admin.Query(
      "INSERT INTO request (act, plan, product, device) VALUES (?1, ?2, ?3, ?4) RETURNING id",
      Values{act, plan, product, device});
  if (!rows) {
    return tl::unexpected(rows.error());
  }
  return NumberAt(*rows, 0, 0);
}

// A file name that says what it is; characters that a name cannot have become '_'.
std::string StoredName(const PackageAdd& add, const std::string& package, const std::string& file) {
  std::string name = add.product + "-" + package +
                     (add.delta_from.empty() ? "" : "-from-" + add.delta_from) + "-" +
                     std::filesystem::path(file).filename().string();
  for (char& c : name) {
    const bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                      c == '.' || c == '-' || c == '_';
    c = good ? c : '_';
  }
  return name;
}

struct Stored {
  std::string path;
  std::string sha256;
};

// Shows how far a fetch has come, on a terminal only.
package::Progress FetchProgress(const Context& context) {
  if (context.json || ::isatty(STDERR_FILENO) == 0) {
    return {};
  }
  return [last = std::int64_t{-1}](std::int64_t done, std::int64_t total) mutable {
    if (const std::int64_t mib = done >> 20; mib != last) {
      last = mib;
      std::fprintf(stderr, "\rfetching: %lld MiB%s", static_cast<long long>(mib),
                   total > 0 ? (" of " + std::to_string(total >> 20) + " MiB").c_str() : "");
      if (done == total && total > 0) {
        std::fputc('\n', stderr);
      }
    }
    return true;
  };
}

core::Result<std::vector<Stored>> StoreFiles(const Context& context, const PackageAdd& add,
                                             const std::string& package) {
  auto directory = package::OpenStore(context.packages);
  if (!directory) {
    return tl::unexpected(directory.error());
  }
  std::vector<Stored> stored;
  for (const std::string& file : add.files) {
    const bool remote = file.starts_with("http://") || file.starts_with("https://");
    const std::string name =
        StoredName(add, package, remote ? file.substr(0, file.find_first_of("?#")) : file);
    auto path = remote ? package::Fetch(file, directory->get(), name, {}, FetchProgress(context))
                       : package::AddFile(directory->get(), file, name);
    if (!path) {
      return tl::unexpected(path.error());
    }
    auto facts = package::Inspect(directory->get(), *path, {});
    if (!facts) {
      return tl::unexpected(facts.error());
    }
    stored.push_back({*path, facts->sha256});
  }
  return stored;
}

core::Result<void> InsertPackage(Admin& admin, const PackageAdd& add, const std::string& package,
                                 const std::vector<Stored>& files) {
  const std::string kind = add.delta_from.empty() ? "full" : "delta";
  auto component = admin.Query("SELECT type FROM component WHERE product = ?1 AND name = ?2",
                               Values{add.product, add.component});
  if (!component) {
    return tl::unexpected(component.error());
  }
  core::Result<void> done;
  if (component->rows.empty()) {
    done = Execute(admin, "INSERT INTO component (product, name, type) VALUES (?1, ?2, ?3)",
                   {add.product, add.component, add.type.empty() ? "firmware" : add.type});
  } else if (!add.type.empty() && add.type != TextAt(*component, 0, 0)) {
    return Fail(ErrorCode::kConflict, "component '" + add.component + "': is of type '" +
                                          TextAt(*component, 0, 0) + "'; leave --type out");
  }
  auto there =
      admin.Query("SELECT component, kind, version FROM package WHERE product = ?1 AND name = ?2",
                  Values{add.product, package});
  if (!done || !there) {
    return tl::unexpected(done ? there.error() : done.error());
  }
  if (there->rows.empty()) {
    done = Execute(admin,
                   "INSERT INTO package (product, name, component, kind, version, remarks)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                   {add.product, package, add.component, kind, add.version, add.remarks});
    if (!done) {
      return done;
    }
  } else if (TextAt(*there, 0, 0) != add.component || TextAt(*there, 0, 1) != kind ||
             TextAt(*there, 0, 2) != add.version) {
    return Fail(ErrorCode::kConflict, "package '" + package + "': exists as a " +
                                          TextAt(*there, 0, 1) + " package of '" +
                                          TextAt(*there, 0, 0) + "' to version '" +
                                          TextAt(*there, 0, 2) + "'; give another --name");
  }
  auto present = admin.Query(
      "SELECT path, sha256 FROM package_file WHERE product = ?1 AND package = ?2 AND source = ?3"
      " ORDER BY seq",
      Values{add.product, package, add.delta_from});
  if (!present) {
    return tl::unexpected(present.error());
  }
  bool same = present->rows.size() == files.size();
  for (std::size_t i = 0; same && i < files.size(); ++i) {
    same = TextAt(*present, i, 0) == files[i].path && TextAt(*present, i, 1) == files[i].sha256;
  }
  if (same) {
    return {};
  }
  if (!present->rows.empty()) {
    return Fail(ErrorCode::kConflict,
                "package '" + package + "': has other files already; give another --name");
  }
  for (std::size_t i = 0; done && i < files.size(); ++i) {
    done = Execute(admin,
                   "INSERT INTO package_file (product, package, source, seq, path, sha256)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                   {add.product, package, add.delta_from, static_cast<std::int64_t>(i),
                    files[i].path, files[i].sha256});
  }
  return done;
}

constexpr std::string_view kFilesOf =
    "SELECT path, source, state, problem, bytes, sha256, md5 FROM package_files"
    " WHERE product = ?1 AND package = ?2 ORDER BY source, seq";

// Waits until the engine has looked at every file of the package.
int AwaitFiles(const Context& context, Admin& admin, const Values& package) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(10);
  while (Running(context) && std::chrono::steady_clock::now() < end) {
    auto open = admin.Query(
        "SELECT count(*) FROM package_files WHERE product = ?1 AND package = ?2"
        " AND state IN ('new', 'hashing')",
        package);
    if (!open) {
      return Report(open.error());
    }
    if (NumberAt(*open, 0, 0) == 0) {
      auto refused = admin.Query(
          "SELECT count(*) FROM package_files WHERE product = ?1 AND package = ?2"
          " AND state = 'refused'",
          package);
      const int shown = PrintTable(context, admin.Query(kFilesOf, package));
      return shown == kOk && refused && NumberAt(*refused, 0, 0) > 0 ? kNo : shown;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return Report(
      {ErrorCode::kUnavailable,
       "the package was added, but the broker has not looked at its files: is it running?"});
}

}  // namespace

int Report(const core::Error& error) {
  std::fprintf(stderr, "otactl: %s\n", Clean(error.message).c_str());
  switch (error.code) {
    case ErrorCode::kNotFound:
      return kNo;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kConflict:
    case ErrorCode::kInternal:
      return kRefused;
    case ErrorCode::kCorruption:
    case ErrorCode::kUnsupported:
    case ErrorCode::kUnavailable:
      break;
  }
  return kUnavailable;
}

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

int AddPackage(const Context& context, const PackageAdd& add) {
  const std::string package = !add.name.empty() ? add.name
                                                : add.component + "-" + add.version +
                                                      (add.delta_from.empty() ? "" : "-delta");
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto product = admin->Query("SELECT 1 FROM product WHERE name = ?1", Values{add.product});
  if (!product) {
    return Report(product.error());
  }
  if (product->rows.empty()) {
    return Report(
        {ErrorCode::kNotFound, "product '" + add.product + "': does not exist; insert it first"});
  }
  // Copied before the write lock is taken: that may take minutes. A copy without a row is harmless.
  auto files = StoreFiles(context, add, package);
  if (!files) {
    return Report(files.error());
  }
  auto changes = Transact(*admin, "package add " + add.product + " " + package,
                          [&] { return InsertPackage(*admin, add, package, *files); });
  if (!changes) {
    return Report(changes.error());
  }
  Note(context, "package '" + package + "' " + (changes->empty() ? "is there already" : "added"));
  const Values key{add.product, package};
  return add.wait ? AwaitFiles(context, *admin, key)
                  : PrintTable(context, admin->Query(kFilesOf, key));
}

int ListPackages(const Context& context, const std::string& product) {
  return Show(
      context,
      "SELECT product, package, component, kind, version, state, problem, files, bytes,"
      " sha256, plans FROM packages WHERE ?1 = '' OR product = ?1 ORDER BY product, package",
      {product});
}

int ListPlans(const Context& context, const std::string& product) {
  return Show(context,
              "SELECT plan, product, wanted, state, to_be_pushed, pushed, in_upgrade, updated,"
              " failed, rejected, canceled, success_rate, reason FROM plans"
              " WHERE ?1 = '' OR product = ?1 ORDER BY product, plan",
              {product});
}

int ShowPlan(const Context& context, const std::string& plan, bool devices) {
  std::vector<Section> sections{
      {"plan", true, "SELECT * FROM plans WHERE plan = ?1"},
      {"components", false,
       "SELECT seq, component, type, target, \"full\", delta, sources FROM plan_components"
       " WHERE plan = ?1 ORDER BY seq"},
      {"states", false,
       "SELECT shown, state, reason_text AS reason, count(*) AS devices FROM plan_devices"
       " WHERE plan = ?1 GROUP BY 1, 2, 3 ORDER BY 4 DESC"},
  };
  if (devices) {
    sections.push_back({"devices", false,
                        "SELECT device, shown, state, reason_text AS reason, detail, percent,"
                        " attempt, deadline, since, task FROM plan_devices WHERE plan = ?1"
                        " ORDER BY device"});
  }
  return ShowSections(context, "plan '" + plan + "'", sections, {plan});
}

int SetWanted(const Context& context, const std::string& plan, const std::string& from,
              const std::string& wanted) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  const std::string name = "plan '" + plan + "'";
  auto changes = Transact(*admin, "plan " + plan + " " + wanted, [&]() -> core::Result<void> {
    auto now = admin->Query("SELECT wanted FROM plan WHERE name = ?1", Values{plan});
    if (!now) {
      return tl::unexpected(now.error());
    }
    if (now->rows.empty()) {
      return Fail(ErrorCode::kNotFound, name + ": does not exist");
    }
    const std::string was = TextAt(*now, 0, 0);
    if (was != wanted && !from.empty() && was != from) {
      return Fail(ErrorCode::kConflict, name + ": is " + was + ", not " + from);
    }
    return Execute(*admin, "UPDATE plan SET wanted = ?2 WHERE name = ?1", {plan, wanted});
  });
  if (!changes) {
    core::Error error = changes.error();
    if (error.message.find(name) == std::string::npos) {
      error.message = name + ": " + error.message;
    }
    return Report(error);
  }
  if (context.json) {
    auto rows =
        admin->Query("SELECT plan, wanted, state, reason FROM plans WHERE plan = ?1", Values{plan});
    Print(rows ? JsonObject(*rows) + "\n" : "");
    return rows ? kOk : Report(rows.error());
  }
  Note(context, name + (changes->empty() ? ": was " : ": is now ") + wanted +
                    (changes->empty() ? " already" : ""));
  NoteIfStopped(context);
  return kOk;
}

int ListDevices(const Context& context, const std::string& product) {
  return Show(context,
              "SELECT product, device, versions, last_seen, battery, signal, plan, shown, state,"
              " reason, queued, disabled FROM devices WHERE ?1 = '' OR product = ?1"
              " ORDER BY product, device",
              {product});
}

int ShowDevice(const Context& context, const DeviceName& device) {
  return ShowSections(
      context, "device '" + device.product + "/" + device.device + "'",
      {{"device", true, "SELECT * FROM devices WHERE product = ?1 AND device = ?2"},
       {"login", true,
        "SELECT dialect, has_secret, disabled, gateway FROM device_logins"
        " WHERE product = ?1 AND device = ?2"},
       {"components", false,
        "SELECT component, version, trial, since FROM device_components"
        " WHERE product = ?1 AND device = ?2"},
       {"tasks", false,
        "SELECT task, plan, shown, state, reason_text AS reason, detail, component, percent,"
        " attempt, deadline, since FROM tasks WHERE product = ?1 AND device = ?2 ORDER BY created"},
       {"log", false,
        "SELECT * FROM (SELECT id, at, plan, component, event, old_state, new_state, reason, detail"
        " FROM history WHERE product = ?1 AND device = ?2 ORDER BY id DESC LIMIT 20) ORDER BY id"}},
      {device.product, device.device});
}

int AddDevice(const Context& context, const DeviceAdd& add) {
  const core::DeviceKey key{add.product, add.device};
  const std::string name = "device '" + add.product + "/" + add.device + "'";
  auto admin = Open(context);
  auto secrets = admin ? Secrets::Open(*admin, context.database, context.secret_key)
                       : tl::unexpected(admin.error());
  core::Result<std::string> secret;
  if (!admin || (!secrets && !add.secret_file.empty())) {
    return Report(secrets.error());
  }
  if (!add.secret_file.empty()) {
    secret = ReadSecret(add.secret_file);
    if (!secret) {
      return Report(secret.error());
    }
  }
  auto changes =
      Transact(*admin, "device add " + add.product + " " + add.device, [&]() -> core::Result<void> {
        auto done = Execute(*admin,
                            "INSERT INTO device (product, name, disabled, gateway)"
                            " VALUES (?1, ?2, ?3, ?4) ON CONFLICT (product, name) DO UPDATE SET"
                            " disabled = max(disabled, excluded.disabled),"
                            " gateway = coalesce(excluded.gateway, gateway)",
                            {add.product, add.device, std::int64_t{add.disabled ? 1 : 0},
                             add.gateway.empty() ? Value{} : Value{add.gateway}});
        return done && !add.secret_file.empty() ? secrets->Put(*admin, key, *secret) : done;
      });
  if (!changes) {
    return Report({changes.error().code, name + ": " + changes.error().message});
  }
  Note(context, name + (changes->empty() ? " is there already" : " added"));
  return PrintTable(context, admin->Query("SELECT * FROM device_logins WHERE product = ?1 AND"
                                          " device = ?2",
                                          Values{add.product, add.device}));
}

int AddDevices(const Context& context, const std::string& file, const std::string& product) {
  auto admin = Open(context);
  auto secrets = admin ? Secrets::Open(*admin, context.database, context.secret_key)
                       : tl::unexpected(admin.error());
  if (!secrets) {
    return Report(secrets.error());
  }
  const auto text = ReadFile(file);
  if (!text) {
    return Report(text.error());
  }
  std::vector<std::pair<std::string, std::string>> constants;
  if (!product.empty()) {
    constants.emplace_back("product", product);
  }
  // Without a digest of the file: it would let weak secrets be guessed.
  const auto changes = Transact(*admin, "device add --csv " + file, [&] {
    return admin->ImportDevices(
        file, *text, constants,
        [&](const core::DeviceKey& key, const std::string& secret) {
          return secrets->Put(*admin, key, secret);
        },
        ShowProgress(file));
  });
  if (isatty(STDERR_FILENO) != 0) {
    std::fputs("\r\033[K", stderr);
  }
  if (!changes) {
    return Report(changes.error());
  }
  PrintChanges(context, *changes, false);
  return kOk;
}

int SetSecret(const Context& context, const DeviceName& device, const std::string& secret_file) {
  const std::string name = "device '" + device.product + "/" + device.device + "'";
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  // Before the write lock is taken: somebody may be typing.
  core::Result<Secrets> secrets = tl::unexpected(core::Error{});
  core::Result<std::string> secret;
  if (!secret_file.empty()) {
    secrets = Secrets::Open(*admin, context.database, context.secret_key);
    secret = secrets ? ReadSecret(secret_file) : tl::unexpected(secrets.error());
    if (!secret) {
      return Report(secret.error());
    }
  }
  const Values key{device.product, device.device};
  const auto change = [&] {
    return secret_file.empty()
               ? Execute(*admin, "DELETE FROM device_secret WHERE product = ?1 AND device = ?2",
                         key)
               : secrets->Put(*admin, {device.product, device.device}, *secret);
  };
  auto changes = Transact(*admin, "device secret " + device.product + " " + device.device, change);
  if (!changes) {
    return Report({changes.error().code, name + ": " + changes.error().message});
  }
  Note(context, name + (changes->empty()      ? ": nothing changed"
                        : secret_file.empty() ? ": has no secret any more"
                                              : ": has a new secret"));
  return PrintTable(
      context, admin->Query("SELECT * FROM device_logins WHERE product = ?1 AND device = ?2", key));
}

int Status(const Context& context) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  std::vector<Rows> parts;
  for (const char* sql :
       {"SELECT * FROM health",
        "SELECT plan, product, state, to_be_pushed, pushed, in_upgrade, updated, failed, rejected,"
        " canceled, success_rate, reason FROM plans WHERE state NOT IN ('draft', 'ended',"
        " 'canceled') ORDER BY product, plan",
        "SELECT product, package, problem FROM packages WHERE state = 'refused'",
        "SELECT id, act, plan, product, device FROM request WHERE state = 'new'"
        " AND created_ms < (unixepoch() - 60) * 1000",
        "SELECT (SELECT count(*) FROM product) AS products,"
        " (SELECT count(*) FROM device_state) AS registered_devices,"
        " (SELECT count(*) FROM plan) AS plans, (SELECT count(*) FROM package) AS packages"}) {
    auto rows = admin->Query(sql);
    if (!rows) {
      return Report(rows.error());
    }
    parts.push_back(std::move(*rows));
  }
  const Rows& plans = parts[1];
  Rows problems{{"problem", "remedy"}, {}};
  if (!Running(context)) {
    problems.rows.push_back({"The broker is not running with the plugin on this database.",
                             "start it: systemctl start mosquitto"});
  } else if (TextAt(parts[0], 0, 0) != "ok") {
    problems.rows.push_back({TextAt(parts[0], 0, 1), "see the broker's log"});
  }
  for (std::size_t i = 0; i < plans.rows.size(); ++i) {
    if (TextAt(plans, i, 2) == "held") {
      problems.rows.push_back(
          {"Plan '" + TextAt(plans, i, 0) + "' is held: " + TextAt(plans, i, 11),
           "check it, then: otactl release " + TextAt(plans, i, 0)});
    }
  }
  for (std::size_t i = 0; i < parts[2].rows.size(); ++i) {
    problems.rows.push_back({"Package '" + TextAt(parts[2], i, 1) + "' of '" +
                                 TextAt(parts[2], i, 0) + "' is refused: " + TextAt(parts[2], i, 2),
                             "bring the file back, or add the package under another name"});
  }
  for (std::size_t i = 0; i < parts[3].rows.size(); ++i) {
    problems.rows.push_back({"Request " + std::to_string(NumberAt(parts[3], i, 0)) + " (" +
                                 TextAt(parts[3], i, 1) + ") is not answered.",
                             "see the broker's log"});
  }
  const bool colour = WantsColour();
  if (context.json) {
    Print("{\"ok\": " + std::string(problems.rows.empty() ? "true" : "false") +
          ",\n \"problems\": " + Json(problems) + ",\n \"health\": " + JsonObject(parts[0]) +
          ",\n \"counts\": " + JsonObject(parts[4]) + ",\n \"plans\": " + Json(plans) + "}\n");
  } else {
    Print(Record(parts[0], colour) + "\n" + Record(parts[4], colour));
    Print(plans.rows.empty() ? "\nno plan is in force\n" : "\n" + Table(plans, colour));
    Print(problems.rows.empty() ? "\neverything is in order\n" : "\n" + Table(problems, colour));
  }
  return problems.rows.empty() ? kOk : kNo;
}

int Release(const Context& context, const std::string& plan, int wait_s) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  std::int64_t request = 0;
  auto changes = Transact(*admin, "release " + plan, [&]() -> core::Result<void> {
    auto id = InsertRequest(*admin, "release", plan.empty() ? Value{} : Value{plan}, {}, {});
    if (!id) {
      return tl::unexpected(id.error());
    }
    request = *id;
    return {};
  });
  return changes ? AwaitAnswer(context, *admin, request, wait_s) : Report(changes.error());
}

int ActOnTask(const Context& context, const std::string& act, const std::string& task, int wait_s) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto found =
      admin->Query("SELECT plan, product, device FROM tasks WHERE task = ?1", Values{task});
  if (!found) {
    return Report(found.error());
  }
  if (found->rows.empty()) {
    return Report({ErrorCode::kNotFound, "task '" + task + "': does not exist"});
  }
  std::int64_t request = 0;
  auto changes = Transact(*admin, "task " + act + " " + task, [&]() -> core::Result<void> {
    auto id = InsertRequest(*admin, act, TextAt(*found, 0, 0), TextAt(*found, 0, 1),
                            TextAt(*found, 0, 2));
    if (!id) {
      return tl::unexpected(id.error());
    }
    request = *id;
    return {};
  });
  return changes ? AwaitAnswer(context, *admin, request, wait_s) : Report(changes.error());
}

int Log(const Context& context, const std::optional<DeviceName>& device, const std::string& plan,
        int lines, bool follow) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  // One statement for each set of filters, so that each goes through its index.
  const std::string filter = std::string(device ? " AND product = ?3 AND device = ?4" : "") +
                             (plan.empty() ? "" : " AND plan = ?5");
  const std::string columns =
      "SELECT id, at, product, device, plan, component, event, old_state, new_state, reason,"
      " attempt, detail FROM history WHERE id > ?1" +
      filter;
  const auto values = [&](std::int64_t after, std::int64_t limit) {
    // A filter that is not there has no parameter; what is bound beyond is ignored.
    return Values{after, limit, device ? Value(device->product) : Value(),
                  device ? Value(device->device) : Value(), plan};
  };
  auto rows = admin->Query("SELECT * FROM (" + columns + " ORDER BY id DESC LIMIT ?2) ORDER BY id",
                           values(0, lines));
  if (!follow || !rows) {
    return PrintTable(context, rows);
  }
  std::int64_t last = 0;
  bool first = true;
  while (rows) {
    for (std::size_t i = 0; i < rows->rows.size(); ++i) {
      last = NumberAt(*rows, i, 0);
      const Rows one{rows->columns, {rows->rows[i]}};
      Print(context.json ? JsonObject(one) + "\n" : "");
    }
    if (!context.json && (first || !rows->rows.empty())) {
      std::string table = Table(*rows, WantsColour());
      Print(first ? table : table.substr(table.find('\n') + 1));
    }
    first = false;
    if (std::fflush(stdout) != 0) {
      return kOk;
    }
    std::this_thread::sleep_for(kPoll);
    rows = admin->Query(columns + " ORDER BY id LIMIT ?2", values(last, 1000));
  }
  return Report(rows.error());
}

int BackUp(const Context& context, const std::string& file) {
  auto names = Backup(context.database, file);
  if (!names) {
    return Report(names.error());
  }
  std::string list;
  std::string json;
  for (const std::string& name : *names) {
    list += (list.empty() ? "" : ", ") + name;
    json += (json.empty() ? "" : ", ") + JsonString(name);
  }
  Note(context, "wrote '" + file + "': " + list + ". Package files are not in it.");
  Print(context.json ? "{\"file\": " + JsonString(file) + ", \"parts\": [" + json + "]}\n" : "");
  return kOk;
}

int RestoreFrom(const Context& context, const std::string& file) {
  auto lines = Restore(context.database, file, Now());
  if (!lines) {
    return Report(lines.error());
  }
  std::string json;
  for (const std::string& line : *lines) {
    Note(context, line);
    json += (json.empty() ? "" : ", ") + JsonString(line);
  }
  Note(context,
       "Start the broker. It holds every plan until you have looked at it: otactl status, "
       "otactl release PLAN.");
  Print(context.json ? "{\"done\": [" + json + "]}\n" : "");
  return kOk;
}

}  // namespace ota::otactl
