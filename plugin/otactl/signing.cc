// Commands: package manifest, package sign, product key. The private key is read here and nowhere
// else; it never reaches the database.
#include "core/manifest.h"
#include "core/names.h"
#include "crypto/signature.h"
#include "otactl/commands.h"
#include "otactl/console.h"

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;
using store::Admin;
using store::Rows;

struct Signable {
  core::Package package;
  std::string public_key;  // the product's; empty: none
  std::string manifest;
};

core::Result<Signable> Load(Admin& admin, const std::string& product, const std::string& package) {
  const Values key{product, package};
  const std::string name = "package '" + product + "/" + package + "'";
  auto row = admin.Query(
      "SELECT k.component, k.kind, k.version, coalesce(p.public_key, '') FROM package k"
      " JOIN product p ON p.name = k.product WHERE k.product = ?1 AND k.name = ?2",
      key);
  auto files = admin.Query(
      "SELECT source, path, bytes, sha256, state FROM package_files"
      " WHERE product = ?1 AND package = ?2 ORDER BY source, seq",
      key);
  if (!row || !files) {
    return tl::unexpected(!row ? row.error() : files.error());
  }
  if (row->rows.empty()) {
    return Fail(ErrorCode::kNotFound, name + ": does not exist");
  }
  Signable signable;
  signable.package.name = package;
  signable.package.component = TextAt(*row, 0, 0);
  signable.package.kind =
      core::PackageKindFrom(TextAt(*row, 0, 1)).value_or(core::PackageKind::kFull);
  signable.package.version = TextAt(*row, 0, 2);
  signable.public_key = TextAt(*row, 0, 3);
  for (std::size_t i = 0; i < files->rows.size(); ++i) {
    const std::string path = TextAt(*files, i, 1);
    if (TextAt(*files, i, 4) != "ready") {
      return Fail(ErrorCode::kUnavailable,
                  name + ": file '" + path + "' is " + TextAt(*files, i, 4) +
                      "; the plugin must have hashed it first (otactl package list)");
    }
    const std::string source = TextAt(*files, i, 0);
    if (signable.package.sets.empty() || signable.package.sets.back().source != source) {
      signable.package.sets.push_back({source, {}, true, {}});
    }
    core::File file;
    file.name = path.substr(path.rfind('/') + 1);
    file.bytes = NumberAt(*files, i, 2);
    file.sha256 = TextAt(*files, i, 3);
    signable.package.sets.back().files.push_back(std::move(file));
  }
  if (signable.package.sets.empty()) {
    return Fail(ErrorCode::kConflict, name + ": has no files");
  }
  signable.manifest = core::Manifest(product, signable.package);
  return signable;
}

}  // namespace

int PrintManifest(const Context& context, const std::string& product, const std::string& package) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto signable = Load(*admin, product, package);
  if (!signable) {
    return Report(signable.error());
  }
  Print(signable->manifest);
  return kOk;
}

int SignPackage(const Context& context, const PackageSign& sign) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto signable = Load(*admin, sign.product, sign.package);
  if (!signable) {
    return Report(signable.error());
  }
  auto file = ReadFile(sign.key.empty() ? sign.signature : sign.key);
  if (!file) {
    return Report(file.error());
  }
  core::Result<std::string> signature = *file;
  core::Result<std::string> public_key = signable->public_key;
  if (!sign.key.empty()) {
    signature = crypto::Sign(*file, signable->manifest);
    public_key = crypto::PublicKey(*file);
  } else if (signable->public_key.empty()) {
    return Report({ErrorCode::kConflict,
                   "product '" + sign.product +
                       "': has no public key to check a signature with; otactl product key"});
  }
  if (!signature || !public_key) {
    return Report(!signature ? signature.error() : public_key.error());
  }
  const std::string& checks = signable->public_key.empty() ? *public_key : signable->public_key;
  if (auto good = crypto::VerifySignature(checks, signable->manifest, *signature); !good) {
    return Report({good.error().code,
                   "package '" + sign.product + "/" + sign.package + "': " + good.error().message});
  }
  auto key_id = crypto::KeyId(checks);
  if (!key_id) {
    return Report(key_id.error());
  }
  auto changes = Transact(*admin, "package sign " + sign.product + " " + sign.package, [&] {
    return Execute(*admin,
                   "UPDATE package SET manifest = CAST(?3 AS BLOB), signature = CAST(?4 AS BLOB),"
                   " key_id = ?5 WHERE product = ?1 AND name = ?2",
                   {sign.product, sign.package, signable->manifest, *signature, *key_id});
  });
  if (!changes) {
    return Report(changes.error());
  }
  Note(context, "package '" + sign.product + "/" + sign.package +
                    (changes->empty() ? "': was signed already" : "': signed") + ", key " +
                    *key_id);
  return kOk;
}

int SetProductKey(const Context& context, const std::string& product, const std::string& file) {
  core::Result<std::string> pem = std::string();
  core::Result<std::string> key_id = std::string();
  if (!file.empty()) {
    pem = ReadFile(file);
    if (!pem) {
      return Report(pem.error());
    }
    while (!pem->empty() && (pem->back() == '\n' || pem->back() == '\r')) {
      pem->pop_back();
    }
    key_id = crypto::KeyId(*pem);
    if (!key_id) {
      return Report({key_id.error().code, file + ": " + key_id.error().message});
    }
  }
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto known = admin->Query("SELECT 1 FROM product WHERE name = ?1", Values{product});
  if (!known || known->rows.empty()) {
    return Report(
        !known ? known.error()
               : core::Error{ErrorCode::kNotFound, "product '" + product + "': does not exist"});
  }
  auto changes = Transact(*admin, "product key " + product, [&] {
    return Execute(*admin, "UPDATE product SET public_key = nullif(?2, '') WHERE name = ?1",
                   {product, *pem});
  });
  if (!changes) {
    return Report(changes.error());
  }
  Note(context, "product '" + product + "': " +
                    (file.empty() ? "wants no signatures"
                                  : "delivers only what key " + *key_id + " has signed"));
  return kOk;
}

}  // namespace ota::otactl
