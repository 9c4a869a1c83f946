// What the JSON of the clouds' dialects has in common: {"id":...,"params":{...}}, built by devices
// that write numbers as strings, strings as numbers, and commas too many. Pure; any thread.
// Governed by alibaba.md and enos.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "core/model.h"
#include "dialect/dialect.h"
#include "dialect/json.h"

namespace ota::dialect {

// The text of a string or of a number, as it was written; nothing for any other value.
std::optional<std::string> TextOf(const json::Value* value);

// The whole number that such a text says; a fraction is cut.
std::optional<std::int64_t> IntegerOf(const json::Value* value);

// A text of 1 to 64 characters without control characters: versions, ids, modules.
bool IsShort(std::string_view text);

// A free text of the device's as one line of at most 256 characters; empty when there is none.
std::string LineOf(const json::Value* value);

class Envelope {
 public:
  // Fails when the payload is no JSON object.
  static tl::expected<Envelope, DecodeError> Read(std::string_view payload);

  // The message's `id`, when it is a short text or number.
  const std::optional<std::string>& id() const { return id_; }
  // A member of the message, or of its `params`; null: there is none.
  const json::Value* Find(std::string_view name) const { return json::Find(object_, name); }
  const json::Value* Param(std::string_view name) const;

  tl::unexpected<DecodeError> Fail(std::string message,
                                   core::ReplyCode code = core::ReplyCode::kMalformed) const;

 private:
  json::Object object_;
  std::optional<std::string> id_;
};

// The installed version in `params`.
tl::expected<std::string, DecodeError> ReadVersion(const Envelope& envelope);

// Progress from `step` and `desc`: a percentage, or a code from `least` to -1.
tl::expected<core::Progress, DecodeError> ReadStep(const Envelope& envelope, int least);

// The text before the next '/', which is taken from `text` together with it.
std::string_view TakeLevel(std::string_view& text);

}  // namespace ota::dialect
