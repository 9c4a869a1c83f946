// Bytes as text, and the comparison of secrets. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace ota::crypto {

// Lower case, two characters per byte.
std::string Hex(std::string_view bytes);

// RFC 4648 section 5, without padding.
std::string Base64Url(std::string_view bytes);

// Whether both are equal, in a time that depends on their lengths alone.
bool EqualSecrets(std::string_view a, std::string_view b);

}  // namespace ota::crypto
