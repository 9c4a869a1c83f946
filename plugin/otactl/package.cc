// Commands: package add, package list.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <thread>

#include "otactl/commands.h"
#include "otactl/console.h"
#include "otactl/output.h"
#include "package/add.h"
#include "package/fetch.h"
#include "package/store_directory.h"

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;
using store::Admin;
using store::Rows;
using store::Value;

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
  bool fresh = false;  // the store had no such file before
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

// What is in the store now, also when another file could not be put there.
struct StoredFiles {
  std::vector<Stored> files;
  core::Result<void> done;
};

StoredFiles StoreFiles(const Context& context, const PackageAdd& add, const std::string& package) {
  auto directory = package::OpenStore(context.packages);
  if (!directory) {
    return {{}, tl::unexpected(directory.error())};
  }
  std::vector<Stored> stored;
  for (const std::string& file : add.files) {
    const bool remote = file.starts_with("http://") || file.starts_with("https://");
    const std::string name =
        StoredName(add, package, remote ? file.substr(0, file.find_first_of("?#")) : file);
    const auto before = package::OpenInside(directory->get(), name);
    auto path = remote ? package::Fetch(file, directory->get(), name, {}, FetchProgress(context))
                       : package::AddFile(directory->get(), file, name);
    if (!path) {
      return {std::move(stored), tl::unexpected(path.error())};
    }
    stored.push_back({*path, "", !before && before.error().code == ErrorCode::kNotFound});
    auto facts = package::Inspect(directory->get(), *path, {});
    if (!facts) {
      return {std::move(stored), tl::unexpected(facts.error())};
    }
    stored.back().sha256 = facts->sha256;
  }
  return {std::move(stored), {}};
}

// Without a package its new files would only be in the way of others of their names.
void TakeBack(const Context& context, Admin& admin, const std::vector<Stored>& files) {
  const auto directory = package::OpenStore(context.packages);
  for (const Stored& file : files) {
    auto used =
        admin.Query("SELECT 1 FROM package_file WHERE path = ?1 LIMIT 1", Values{file.path});
    if (file.fresh && directory && used && used->rows.empty()) {
      ::unlinkat(directory->get(), file.path.c_str(), 0);
    }
  }
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
  // Copied before the write lock is taken: that may take minutes.
  const StoredFiles stored = StoreFiles(context, add, package);
  if (!stored.done) {
    TakeBack(context, *admin, stored.files);
    return Report(stored.done.error());
  }
  auto changes = Transact(*admin, "package add " + add.product + " " + package,
                          [&] { return InsertPackage(*admin, add, package, stored.files); });
  if (!changes) {
    TakeBack(context, *admin, stored.files);
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

}  // namespace ota::otactl
