// Members of a JSON object as a device reads them: what is missing or of another type is empty or
// 0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dialect/json.h"

namespace ota::fleet {

template <typename T>
const T* Find(const dialect::json::Object& object, std::string_view name) {
  const auto* value = dialect::json::Find(object, name);
  return value != nullptr ? value->As<T>() : nullptr;
}

inline std::string Text(const dialect::json::Object& object, std::string_view name) {
  const auto* text = Find<std::string>(object, name);
  return text != nullptr ? *text : std::string();
}

inline std::int64_t Integer(const dialect::json::Object& object, std::string_view name) {
  const auto* number = Find<std::int64_t>(object, name);
  return number != nullptr ? *number : 0;
}

inline bool True(const dialect::json::Object& object, std::string_view name) {
  const auto* truth = Find<bool>(object, name);
  return truth != nullptr && *truth;
}

}  // namespace ota::fleet
