// Any bytes as JSON. What is accepted keeps the reader's promises, and what the writer makes of it
// is accepted too and means the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "dialect/json.h"
#include "dialect/utf8.h"
#include "fuzz/check.h"

namespace ota::dialect::json {
namespace {

using fuzz::Check;

void CheckText(const std::string& text) {
  Check(IsUtf8(text) && text.find('\0') == std::string::npos, "UTF-8 without NUL");
}

// Checks `value` and writes it. Null, and a number that is no integer, become false.
void Write(Writer& out, const Value& value, std::size_t level) {
  std::visit(
      [&out, level](const auto& of) {
        using T = std::decay_t<decltype(of)>;
        if constexpr (std::is_same_v<T, bool>) {
          out.Boolean(of);
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          Check(of >= -kMaxInteger && of <= kMaxInteger, "integer");
          out.Integer(of);
        } else if constexpr (std::is_same_v<T, std::string>) {
          CheckText(of);
          out.Text(of);
        } else if constexpr (std::is_same_v<T, Array>) {
          Check(level < kMaxDepth, "depth");
          out.BeginArray();
          for (const Value& element : of) {
            Write(out, element, level + 1);
          }
          out.EndArray();
        } else if constexpr (std::is_same_v<T, Object>) {
          Check(level < kMaxDepth, "depth");
          out.BeginObject();
          const std::string* last = nullptr;
          for (const Member& member : of) {
            CheckText(member.name);
            Check(last == nullptr || *last < member.name, "sorted, unique names");
            Check(Find(of, member.name) == &member.value, "found by name");
            last = &member.name;
            out.Name(member.name);
            Write(out, member.value, level + 1);
          }
          out.EndObject();
        } else {
          out.Boolean(false);
        }
      },
      value.of);
}

std::string Text(const Value& value) {
  Writer out;
  Write(out, value, 0);
  return std::move(out).text();
}

}  // namespace
}  // namespace ota::dialect::json

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  namespace json = ota::dialect::json;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a text is.
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto value = json::Parse(text, 16384);
  if (!value) {
    ota::fuzz::Check(!value.error().empty() && ota::dialect::IsUtf8(value.error()), "a reason");
    return 0;
  }
  // The writer turns control characters into spaces, so two names may become one, once.
  const auto written = json::Parse(json::Text(*value), SIZE_MAX);
  if (!written) {
    ota::fuzz::Check(written.error().starts_with("repeated member"), "what is written is JSON");
    return 0;
  }
  const auto again = json::Parse(json::Text(*written), SIZE_MAX);
  ota::fuzz::Check(again && json::Text(*again) == json::Text(*written), "it means the same");
  return 0;
}
