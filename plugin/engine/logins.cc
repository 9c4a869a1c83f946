#include "engine/logins.h"

#include <unistd.h>

#include <utility>

#include "crypto/key_file.h"
#include "crypto/seal.h"
#include "store/secrets.h"

namespace ota::engine {
namespace {

// Small enough that a slice takes a few milliseconds.
constexpr int kSlice = 1000;
// More changed devices than this are read in slices, too.
constexpr std::size_t kAtOnce = 1000;

}  // namespace

std::shared_ptr<const guard::Registry> Logins::registry() const {
  const std::lock_guard lock(mutex_);
  return registry_;
}

void Logins::Reload() {
  read_key_ = true;
  loading_ = true;
  cursor_ = {};
  next_ = {};
  changed_.clear();
}

void Logins::Changed(const std::vector<core::DeviceKey>& devices) {
  changed_.insert(devices.begin(), devices.end());
}

void Logins::SetProducts(const store::Catalogue& catalogue) {
  guard::Registry::Dialects dialects;
  for (const auto& [name, entry] : catalogue.products) {
    dialects.emplace(name, entry.dialect);
  }
  if (dialects != dialects_) {
    dialects_ = std::move(dialects);
    new_products_ = true;
  }
}

// A new key would open none of the secrets that are there.
store::Status Logins::ReadKey(store::Store& store) {
  auto secrets = store.HasSecrets();
  if (!secrets) {
    return tl::unexpected(secrets.error());
  }
  const auto read = [this] {
    return crypto::ReadKeyFile(key_path_, ::geteuid(), "bring the right one back from a backup");
  };
  auto key = read();
  if (!key && key.error().code == core::ErrorCode::kNotFound && !*secrets) {
    const auto made = crypto::MakeKeyFile(key_path_);
    key = made ? read() : tl::unexpected(made.error());
  }
  read_key_ = false;
  if (key) {
    key_ = *std::move(key);
  } else {
    key_.clear();
    outbox_.Log(LogLevel::kError,
                key.error().message +
                    (*secrets ? ": the secrets of devices cannot be decrypted, logins by secret "
                                "are refused; bring the file back from a backup, then send SIGHUP"
                              : ": no device can log in by secret"));
  }
  return {};
}

void Logins::Put(guard::Registry& registry, const store::LoginRow& row) {
  std::string secret;
  if (!row.sealed.empty() && !key_.empty()) {
    auto opened = crypto::Unseal(key_, row.sealed, store::SecretContext(row.key));
    if (opened) {
      secret = *std::move(opened);
    } else if (unreadable_++ == 0) {
      first_unreadable_ = row.key.product + "/" + row.key.device;
    }
  }
  registry.Put(row.key.product, row.key.device, {secret, row.gateway, row.disabled, row.bound});
}

void Logins::Tell() {
  if (unreadable_ > 0) {
    outbox_.Log(
        LogLevel::kError,
        "the secret of device '" + first_unreadable_ + "'" +
            (unreadable_ > 1 ? " and of " + std::to_string(unreadable_ - 1) + " more" : "") +
            " cannot be decrypted with key file '" + key_path_ +
            "': it was encrypted with another key, or the row was copied or altered; its "
            "login is refused; bring the right key back and send SIGHUP, or give the "
            "secret again with `otactl device secret`");
    unreadable_ = 0;
  }
}

void Logins::Swap(guard::Registry registry) {
  auto shared = std::make_shared<const guard::Registry>(std::move(registry));
  {
    const std::lock_guard lock(mutex_);
    std::swap(registry_, shared);
  }
  former_ = std::move(shared);
  Tell();
}

store::Status Logins::Work(store::Store& store) {
  if (!loading_ && !changed_.empty() && (changed_.size() > kAtOnce || key_.empty())) {
    Reload();  // with the key: it may be there now
  }
  if (read_key_) {
    if (auto status = ReadKey(store); !status) {
      return status;
    }
  }
  if (loading_) {
    auto rows = store.LoginsAfter(cursor_, kSlice);
    if (!rows) {
      return tl::unexpected(rows.error());
    }
    for (const store::LoginRow& row : *rows) {
      Put(next_, row);
      cursor_ = row.key;
    }
    if (rows->size() < static_cast<std::size_t>(kSlice)) {
      loading_ = false;
      new_products_ = false;
      next_.SetDialects(dialects_);
      Swap(std::exchange(next_, {}));
    }
    return {};
  }
  if (changed_.empty() && !new_products_) {
    return {};
  }
  const auto now = this->registry();
  guard::Registry registry = *now;
  for (const core::DeviceKey& key : changed_) {
    auto row = store.LoadLogin(key);
    if (!row) {
      return tl::unexpected(row.error());
    }
    if (*row) {
      Put(registry, **row);
    } else {
      registry.Remove(key.product, key.device);
    }
  }
  changed_.clear();
  registry.SetDialects(dialects_);
  new_products_ = false;
  Swap(std::move(registry));
  return {};
}

}  // namespace ota::engine
