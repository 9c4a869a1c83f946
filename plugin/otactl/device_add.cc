// Commands: device add, device secret.
#include <unistd.h>

#include <cstdio>

#include "otactl/commands.h"
#include "otactl/console.h"
#include "otactl/secrets.h"

namespace ota::otactl {

using store::Value;

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

}  // namespace ota::otactl
