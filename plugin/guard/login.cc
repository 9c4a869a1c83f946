// See login.h. Sources: the vendors' rules of signing, as tests/guard/login_test.cc recorded them.
#include "guard/login.h"

#include <algorithm>
#include <array>
#include <utility>

#include "crypto/encoding.h"
#include "dialect/dialect.h"

namespace ota::guard {
namespace {

// Real ones have up to 200 characters.
constexpr std::size_t kMaxClientId = 1024;
constexpr std::size_t kMaxPassword = 256;

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

struct Proofs {
  std::string hmac;  // hex; empty: OpenSSL refused
  std::string digest;
};

// Both, so that nobody learns from the time which dialect a product has.
Proofs ProofsOf(const SignedLogin& login, std::string_view secret) {
  const crypto::Hash hash = login.hash.value_or(crypto::Hash::kMd5);
  std::string content = "clientId" + std::string(login.id) + "deviceName" +
                        std::string(login.device) + "productKey" + std::string(login.product);
  if (login.timestamp) {
    content += "timestamp" + std::string(*login.timestamp);
  }
  const std::string text = "clientId" + std::string(login.id) + "deviceKey" +
                           std::string(login.device) + "productKey" + std::string(login.product) +
                           "timestamp" + std::string(login.timestamp.value_or("")) +
                           std::string(secret);
  const auto mac = crypto::Hmac(hash, secret, content);
  const auto digest = crypto::Digest(hash, text);
  return {mac ? crypto::Hex(*mac) : "", digest ? crypto::Hex(*digest) : ""};
}

bool Equal(std::string_view expected, std::string_view proof) {
  return !expected.empty() && crypto::EqualSecrets(expected, Lower(proof));
}

// By digests of one length, so that the time says nothing about the secret's length.
bool EqualPasswords(std::string_view secret, std::string_view password) {
  const auto one = crypto::Sha256(secret);
  const auto other = crypto::Sha256(password);
  return one && other && crypto::EqualSecrets(*one, *other);
}

// EnOS's Java devices say inside the id how their payloads are compressed.
bool IsCompressed(std::string_view id) {
  constexpr std::string_view kKey = "compress=";
  const std::size_t brace = id.find('{');
  const std::size_t at = brace == std::string_view::npos ? brace : id.find(kKey, brace);
  if (at == std::string_view::npos) {
    return false;
  }
  const std::string_view value = id.substr(at + kKey.size());
  return value.substr(0, value.find_first_of(",}")) != "DEFAULT";
}

// Reads `ID|key=value,...|` into `login`. Gives the rule that is broken, or null.
const char* ReadClientId(std::string_view text, SignedLogin& login) {
  if (text.size() > kMaxClientId) {
    return "its client id is too long";
  }
  const std::size_t bar = text.find('|');
  login.id = text.substr(0, bar);
  text.remove_prefix(bar + 1);
  if (!text.ends_with('|') || text.find('|') != text.size() - 1) {
    return "its client id is not ID|key=value,...|";
  }
  text.remove_suffix(1);
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view pair = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t sign = pair.find('=');
    const std::string_view key = pair.substr(0, sign);
    const std::string_view value =
        sign == std::string_view::npos ? std::string_view() : pair.substr(sign + 1);
    if (key == "timestamp") {
      if (login.timestamp) {
        return "its client id names two timestamps";
      }
      login.timestamp = value;
    } else if (key == "signmethod") {
      if (login.hash) {
        return "its client id names two sign methods";
      }
      login.hash = ParseSignMethod(value);
      if (!login.hash) {
        return "its client id names an unknown sign method";
      }
    } else if (key == "authType" &&
               (value == "register" || value == "regnwl" || value == "connwl")) {
      return "it asks for dynamic registration, which is not served";
    }
  }
  return nullptr;
}

LoginVerdict Refuse(LoginVerdict verdict, std::string reason) {
  verdict.login = Login::kRefuse;
  verdict.reason = std::move(reason);
  return verdict;
}

dialect::Signature SignatureOf(std::string_view name) {
  const dialect::Dialect* dialect = dialect::DialectNamed(name);
  return dialect == nullptr ? dialect::Signature::kNone : dialect->signature;
}

// Of a device of a cloud's dialect. `claimed`: by the identity rules.
LoginVerdict CheckSigned(const Registry& registry, std::string_view decoy,
                         const Credentials& credentials) {
  LoginVerdict verdict;
  verdict.by_signature = true;
  SignedLogin login;
  const std::size_t sign = credentials.user.rfind('&');
  login.device = credentials.user.substr(0, sign);
  login.product =
      sign == std::string_view::npos ? std::string_view() : credentials.user.substr(sign + 1);
  verdict.device = std::string(login.product) + "/" + std::string(login.device);
  if (!dialect::IsName(login.product) || !dialect::IsName(login.device)) {
    return Refuse(std::move(verdict), "its user name is not DEVICE&PRODUCT");
  }
  if (const char* broken = ReadClientId(credentials.client_id, login); broken != nullptr) {
    return Refuse(std::move(verdict), broken);
  }
  const auto device = registry.Find(login.product, login.device);
  const bool has_secret = device && !device->secret.empty();
  const std::string_view dialect = registry.DialectOf(login.product);
  const Proofs proofs = ProofsOf(login, has_secret ? device->secret : decoy);
  const dialect::Signature signature = SignatureOf(dialect);
  const bool is_digest = signature == dialect::Signature::kDigest;
  const bool proved =
      Equal(is_digest ? proofs.digest : proofs.hmac, credentials.password) && has_secret;
  if (!credentials.device || credentials.device->product != login.product ||
      credentials.device->device != login.device) {
    return Refuse(std::move(verdict),
                  "no identity rule makes that device of its user name; see "
                  "plugin_opt_identity username {device}&{product}");
  }
  if (!device) {
    return Refuse(std::move(verdict), "there is no such device");
  }
  if (signature == dialect::Signature::kNone) {
    return Refuse(std::move(verdict),
                  "its product's dialect is '" + std::string(dialect) + "', which signs no login");
  }
  if (!has_secret) {
    return Refuse(std::move(verdict), "it has no secret here");
  }
  if (is_digest && (!login.hash || !login.timestamp)) {
    return Refuse(std::move(verdict), "its client id lacks timestamp or sign method");
  }
  if (is_digest && IsCompressed(login.id)) {
    return Refuse(std::move(verdict), "it compresses its payloads, which is not served");
  }
  if (!proved) {
    return Refuse(std::move(verdict), "the password is wrong");
  }
  if (device->disabled) {
    return Refuse(std::move(verdict), "it is disabled");
  }
  verdict.login = Login::kAccept;
  return verdict;
}

LoginVerdict CheckPassword(const Registry& registry, std::string_view decoy,
                           const Credentials& credentials) {
  LoginVerdict verdict;
  verdict.device = credentials.device->product + "/" + credentials.device->device;
  const auto device = registry.Find(credentials.device->product, credentials.device->device);
  const bool has_secret = device && !device->secret.empty();
  const bool equal = EqualPasswords(has_secret ? device->secret : decoy, credentials.password);
  if (!device) {
    return Refuse(std::move(verdict), "there is no such device");
  }
  if (!has_secret) {
    return Refuse(std::move(verdict), "it has no secret here");
  }
  if (!equal) {
    return Refuse(std::move(verdict), "the password is wrong");
  }
  if (device->disabled) {
    return Refuse(std::move(verdict), "it is disabled");
  }
  verdict.login = Login::kAccept;
  return verdict;
}

}  // namespace

std::optional<crypto::Hash> ParseSignMethod(std::string_view method) {
  constexpr std::string_view kHmac = "hmac";
  constexpr std::array<std::string_view, 3> kNames{"md5", "sha1", "sha256"};
  const std::string lower = Lower(method.substr(0, 32));
  std::string_view name = lower;
  name.remove_prefix(name.starts_with(kHmac) ? kHmac.size() : 0);
  const auto* const found = std::ranges::find(kNames, name);
  return found == kNames.end() ? std::nullopt
                               : std::optional(static_cast<crypto::Hash>(found - kNames.begin()));
}

LoginVerdict CheckLogin(const Registry* registry, const LoginRules& rules, std::string_view decoy,
                        const Credentials& credentials) {
  const auto& device = credentials.device;
  const bool is_signed = credentials.user.find('&') != std::string_view::npos &&
                         credentials.client_id.find('|') != std::string_view::npos;
  const bool by_password = device && std::ranges::find(rules.password_products, device->product) !=
                                         rules.password_products.end();
  LoginVerdict verdict;
  if (registry == nullptr) {
    // What comes in unproved stays, so where nobody else decides no device comes in before.
    const bool claims = is_signed || by_password || (device && rules.allow_other);
    verdict.login = claims ? Login::kRetry : Login::kOther;
    return verdict;
  }
  if (credentials.password.size() > kMaxPassword) {
    if (is_signed || by_password) {
      return Refuse(std::move(verdict), "the password is too long");
    }
    return verdict;
  }
  if (is_signed) {
    return CheckSigned(*registry, decoy, credentials);
  }
  if (by_password) {
    return CheckPassword(*registry, decoy, credentials);
  }
  if (device) {
    if (SignatureOf(registry->DialectOf(device->product)) != dialect::Signature::kNone) {
      verdict.by_signature = true;
      verdict.device = device->product + "/" + device->device;
      return Refuse(std::move(verdict), "its client id is not ID|key=value,...|");
    }
  }
  return verdict;
}

SubLogin CheckSubDevice(const Registry& registry, std::string_view decoy,
                        const core::DeviceKey& gateway, const SignedLogin& login,
                        std::string_view proof, bool binds) {
  const auto device = registry.Find(login.product, login.device);
  const bool has_secret = device && !device->secret.empty();
  const Proofs proofs = ProofsOf(login, has_secret ? device->secret : decoy);
  const dialect::Signature signature = SignatureOf(registry.DialectOf(login.product));
  const bool is_digest = signature == dialect::Signature::kDigest;
  const bool proved = Equal(is_digest ? proofs.digest : proofs.hmac, proof);
  if (!proved || !has_secret || signature == dialect::Signature::kNone || !login.hash ||
      !login.timestamp || (is_digest && IsCompressed(login.id))) {
    return SubLogin::kWrong;
  }
  if (!device->gateway.empty() && !(binds && device->bound) &&
      !registry.IsBehind(login.product, login.device, gateway)) {
    return SubLogin::kOtherGateway;
  }
  return device->disabled ? SubLogin::kDisabled : SubLogin::kAccept;
}

}  // namespace ota::guard
