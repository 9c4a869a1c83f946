#include "engine/signatures.h"

#include <algorithm>

#include "core/manifest.h"
#include "crypto/signature.h"

namespace ota::engine {
namespace {
constexpr std::size_t kVerdicts = 10000;
}

std::string Signatures::Check(const std::string& product, const std::string& public_key,
                              const core::Package& package) {
  const std::string name = "package '" + product + "/" + package.name + "'";
  if (package.signature.empty()) {
    return public_key.empty() ? ""
                              : name +
                                    ": is not signed, and product.public_key asks for it; "
                                    "otactl package sign";
  }
  const bool known = std::ranges::all_of(package.sets, [](const core::FileSet& set) {
    return std::ranges::none_of(set.files,
                                [](const core::File& file) { return file.sha256.empty(); });
  });
  if (!known) {
    return "";  // the files are being hashed: they are not ready anyway
  }
  if (core::Manifest(product, package) != package.manifest) {
    return name + ": its signed manifest does not say what its rows and files are; sign it anew";
  }
  if (public_key.empty()) {
    return "";
  }
  const std::string key = public_key + '\0' + package.manifest + '\0' + package.signature;
  const auto found = verdicts_.find(key);
  if (found != verdicts_.end()) {
    return found->second;
  }
  if (verdicts_.size() >= kVerdicts) {
    verdicts_.clear();
  }
  const auto verified = crypto::VerifySignature(public_key, package.manifest, package.signature);
  return verdicts_[key] = verified ? "" : name + ": " + verified.error().message;
}

}  // namespace ota::engine
