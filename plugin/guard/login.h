// Whether a client is the device that it says it is: the proof by the device's own secret. Pure: a
// registry and the credentials of a CONNECT in, a verdict out. Runs on the broker thread.
//
// How a device proves it follows from its product's dialect:
//   alibaba  user name DEVICE&PRODUCT, client id ID|key=value,...|, an HMAC as password
//   enos     the same form, a plain digest as password
//   native   the secret itself as password, for the products that the configuration names
// A client that is none of these is left to others. Every refusal costs the same work and gets the
// same answer, whether the device exists or not; the reason is for the log alone and never holds a
// secret or a password.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.h"
#include "crypto/digest.h"
#include "guard/registry.h"

namespace ota::guard {

// What is signed, as it stood in a CONNECT or in a sub-device's login. The views point into the
// texts that were read.
struct SignedLogin {
  std::string_view product;
  std::string_view device;
  std::string_view id;                        // signed verbatim
  std::optional<std::string_view> timestamp;  // opaque text
  std::optional<crypto::Hash> hash;           // absent: no method is named
};

// "hmacsha1", "sha256" and so on, in any case of letters; nothing for other text.
std::optional<crypto::Hash> ParseSignMethod(std::string_view method);

struct Credentials {
  std::string_view user;
  std::string_view client_id;
  std::string_view password;
  std::optional<core::DeviceKey> device;  // by the identity rules
};

struct LoginRules {
  std::vector<std::string> password_products;  // native ones whose devices log in by secret
  bool allow_other = false;                    // nobody else decides on clients that are no devices
};

enum class Login {
  kAccept,  // it is the device
  kOther,   // it does not log in by secret
  kRefuse,
  kRetry,  // cannot be said yet: there is no registry
};

struct LoginVerdict {
  Login login = Login::kOther;
  bool by_signature = false;  // a device of a cloud's dialect
  std::string device;         // "product/name", as far as it is known; text of the client
  std::string reason;         // of a refusal
};

// `decoy` is a secret of nobody, which stands in for one that is missing. `registry` may be null:
// not loaded yet.
LoginVerdict CheckLogin(const Registry* registry, const LoginRules& rules, std::string_view decoy,
                        const Credentials& credentials);

enum class SubLogin { kAccept, kWrong, kOtherGateway, kDisabled };

// A sub-device that logs in over the connection of `gateway`: it proves itself as it would alone,
// and may do so behind its own gateway only, or behind any if it has none. What is wrong with it is
// told only to who has its secret. `binds`: it is to be bound to the gateway, for which another
// one's own word is no hindrance.
SubLogin CheckSubDevice(const Registry& registry, std::string_view decoy,
                        const core::DeviceKey& gateway, const SignedLogin& login,
                        std::string_view proof, bool binds = false);

}  // namespace ota::guard
