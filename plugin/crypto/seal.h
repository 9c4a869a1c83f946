// Secrets at rest: AES-256-GCM. What is sealed can be read and altered only with the key, and only
// under the context that it was sealed for, so that two sealed texts cannot be exchanged. Any
// thread; no disk.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace ota::crypto {

inline constexpr std::size_t kSealKeyBytes = 32;
// By how much the sealed text is longer: a nonce before it, a tag behind.
inline constexpr std::size_t kSealBytes = 12 + 16;

// Seals `text` with a nonce of its own. `key` has kSealKeyBytes. Fails with kUnavailable (no random
// bytes) or kInternal (OpenSSL).
core::Result<std::string> Seal(std::string_view key, std::string_view text,
                               std::string_view context);

// Fails with kCorruption when `sealed` was not made by Seal with this key and this context.
core::Result<std::string> Unseal(std::string_view key, std::string_view sealed,
                                 std::string_view context);

}  // namespace ota::crypto
