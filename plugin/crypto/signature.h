// Signatures of packages (design, section 7; [N-23]): made offline or by otactl, checked before a
// package is offered, checked again by devices. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace ota::crypto {

// Whether `signature` is that of `message` by the key whose public half is `public_key` (PEM,
// SubjectPublicKeyInfo). ECDSA and RSA (PKCS #1 v1.5) with SHA-256, Ed25519. ECDSA signatures are
// DER. Fails with kInvalidArgument when the key cannot be read or is of another kind, kConflict
// when the signature is not its.
core::Result<void> VerifySignature(std::string_view public_key, std::string_view message,
                                   std::string_view signature);

// Signs with a private key (PEM, PKCS #8, without a pass phrase) of one of the kinds above. Fails
// with kInvalidArgument when the key cannot be read.
core::Result<std::string> Sign(std::string_view private_key, std::string_view message);

// The public half of a private key, as PEM. Fails as Sign.
core::Result<std::string> PublicKey(std::string_view private_key);

// A name for a public key: the first 16 hexadecimal digits of the SHA-256 of its DER form. Fails
// with kInvalidArgument when it cannot be read.
core::Result<std::string> KeyId(std::string_view public_key);

}  // namespace ota::crypto
