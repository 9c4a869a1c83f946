// Unpredictable bytes and names, from OpenSSL's generator. Any thread.
#pragma once

#include <cstddef>
#include <string>

#include "core/result.h"

namespace ota::crypto {

// Fails with kUnavailable when the system has no entropy to give.
core::Result<std::string> RandomBytes(std::size_t count);

// `length` characters of `A-Z a-z 0-9`, each equally likely: task ids [N-15]. Fails as RandomBytes.
core::Result<std::string> RandomName(std::size_t length);

}  // namespace ota::crypto
