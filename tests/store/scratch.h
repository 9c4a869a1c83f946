// Where tests of the database put it, and databases that are made once and copied for each test.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

namespace ota::store {

// A directory of its own, in memory where there is such a place: hundreds of commits wait for the
// disk otherwise.
inline std::filesystem::path MakeScratch() {
  const std::filesystem::path base = std::filesystem::is_directory("/dev/shm")
                                         ? std::filesystem::path("/dev/shm")
                                         : std::filesystem::temp_directory_path();
  std::string pattern = (base / "ota_test.XXXXXX").string();
  return ::mkdtemp(pattern.data()) == nullptr ? "" : pattern;
}

// Databases that were made, for one process.
class Templates {
 public:
  Templates() : directory_(MakeScratch()) {}
  ~Templates() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Templates(const Templates&) = delete;
  Templates& operator=(const Templates&) = delete;

  // Puts the files of a database, closed, to `path`: those that `make` makes there at the first
  // call with `key`.
  template <typename Make>
  void Place(const std::string& key, const std::filesystem::path& path, const Make& make) {
    const auto [found, first] = made_.try_emplace(key, std::to_string(made_.size()));
    const std::filesystem::path kept = directory_ / found->second;
    if (first) {
      make();
    }
    for (const char* suffix : {"", "-wal", ".commit"}) {
      const std::filesystem::path from = (first ? path : kept).string() + suffix;
      if (std::filesystem::exists(from)) {
        std::filesystem::copy_file(from, (first ? kept : path).string() + suffix);
      }
    }
  }

 private:
  std::filesystem::path directory_;
  std::map<std::string, std::string> made_;
};

template <typename Make>
void Prepared(const std::string& key, const std::filesystem::path& path, const Make& make) {
  static Templates templates;
  templates.Place(key, path, make);
}

}  // namespace ota::store
