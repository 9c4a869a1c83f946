// Errors as values. `Result<T>` holds a T or an Error; nothing of ours throws.
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace ota::core {

enum class ErrorCode {
  kInvalidArgument,  // the caller's input is wrong; the message names it and the rule
  kNotFound,
  kConflict,     // the state of things does not allow it
  kCorruption,   // stored bytes are not what they must be
  kUnsupported,  // of another version or kind
  kUnavailable,  // cannot be done now; later it may
  kInternal,     // a bug
};

// What went wrong, for people: "what: 'which'" (database 'x': cannot be opened: ...).
struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;

// Shorthand for `return tl::unexpected(Error{...})`.
inline tl::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace ota::core
