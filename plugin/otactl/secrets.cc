// See secrets.h.
#include "otactl/secrets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "crypto/encoding.h"
#include "crypto/key_file.h"
#include "crypto/seal.h"
#include "package/descriptor.h"
#include "store/secrets.h"

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;
using store::Value;

// A line that a person types is not shown.
class EchoOff {
 public:
  EchoOff() : changed_(isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (changed_) {
      std::fputs("secret: ", stderr);
      termios quiet = before_;
      quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;
  ~EchoOff() {
    if (changed_) {
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
      std::fputc('\n', stderr);
    }
  }

 private:
  termios before_{};
  bool changed_;
};

core::Result<std::string> FirstLine(int fd, const std::string& name) {
  std::string text;
  std::array<char, 512> buffer{};
  while (text.find('\n') == std::string::npos && text.size() <= store::kMaxSecret + 1) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0) {
      return Fail(ErrorCode::kInvalidArgument,
                  name + ": cannot be read: " + std::generic_category().message(errno));
    }
    if (got == 0) {
      break;
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  text.resize(std::min(text.find('\n'), text.size()));
  if (text.ends_with('\r')) {
    text.pop_back();
  }
  return text;
}

std::string Text(const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr ? "" : *text;
}

}  // namespace

core::Result<std::string> ReadSecret(const std::string& path) {
  if (path == "-") {
    const EchoOff quiet;
    return FirstLine(STDIN_FILENO, "standard input");
  }
  const package::Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return Fail(ErrorCode::kInvalidArgument,
                path + ": cannot be read: " + std::generic_category().message(errno));
  }
  return FirstLine(file.get(), path);
}

core::Result<Secrets> Secrets::Open(store::Admin& admin, const std::string& database,
                                    const std::string& key_path) {
  struct stat owner {};
  if (stat(database.c_str(), &owner) != 0) {
    return Fail(ErrorCode::kUnavailable,
                "database '" + database + "': " + std::generic_category().message(errno));
  }
  auto key = crypto::ReadKeyFile(key_path, owner.st_uid, "bring the right one back from a backup");
  if (!key) {
    core::Error error = key.error();
    if (error.code == ErrorCode::kNotFound) {
      error = {
          ErrorCode::kUnavailable,
          error.message + "; the plugin makes it: start the broker first, or say --secret-key"};
    }
    return tl::unexpected(error);
  }
  auto rows = admin.Query("SELECT product, device, sealed FROM device_secret LIMIT 5");
  if (!rows) {
    return tl::unexpected(rows.error());
  }
  const bool opens = std::ranges::any_of(rows->rows, [&](const std::vector<Value>& row) {
    return crypto::Unseal(*key, Text(row[2]), store::SecretContext({Text(row[0]), Text(row[1])}))
        .has_value();
  });
  if (!rows->rows.empty() && !opens) {
    return Fail(ErrorCode::kInvalidArgument,
                "key file '" + key_path +
                    "': is not the key that the secrets of this database are encrypted with; bring "
                    "that one back, or delete all secrets (DELETE FROM device_secret) and give "
                    "them anew");
  }
  return Secrets(*std::move(key));
}

core::Result<void> Secrets::Put(store::Admin& admin, const core::DeviceKey& device,
                                const std::string& secret) const {
  const bool printable = std::ranges::all_of(secret, [](char c) { return c > ' ' && c <= '~'; });
  if (!printable || secret.size() < store::kMinSecret || secret.size() > store::kMaxSecret) {
    return Fail(ErrorCode::kInvalidArgument, "the secret must be " +
                                                 std::to_string(store::kMinSecret) + " to " +
                                                 std::to_string(store::kMaxSecret) +
                                                 " printable ASCII characters, without blanks");
  }
  const std::string context = store::SecretContext(device);
  const std::array<Value, 2> key{device.product, device.device};
  auto there =
      admin.Query("SELECT sealed FROM device_secret WHERE product = ?1 AND device = ?2", key);
  if (!there) {
    return tl::unexpected(there.error());
  }
  if (!there->rows.empty()) {
    const auto now = crypto::Unseal(key_, Text(there->rows[0][0]), context);
    if (now && crypto::EqualSecrets(*now, secret)) {
      return {};
    }
  }
  auto sealed = crypto::Seal(key_, secret, context);
  if (!sealed) {
    return tl::unexpected(sealed.error());
  }
  const std::array<Value, 3> values{device.product, device.device, *std::move(sealed)};
  auto done = admin.Query(
      "INSERT INTO device_secret(product, device, sealed) VALUES (?1, ?2, CAST(?3 AS BLOB))"
      " ON CONFLICT(product, device) DO UPDATE SET sealed = excluded.sealed",
      values);
  return done ? core::Result<void>{} : tl::unexpected(done.error());
}

}  // namespace ota::otactl
