// JSON: a strict reader for what devices send and a compact writer for what they get. The only
// place that uses RapidJSON, always with its iterative parser, so that no payload can exhaust the
// stack. Knows no dialect. Pure; any thread. Governed by [N-5] and [N-18].
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

namespace ota::dialect::json {

inline constexpr std::size_t kMaxDepth = 8;

// The whole numbers that every JSON library of a device can carry: those that a double holds
// exactly.
inline constexpr std::int64_t kMaxInteger = (std::int64_t{1} << 53) - 1;

struct Member;
struct Value;
struct Null {
  bool operator==(const Null&) const = default;
};
// A number that is not whole, or beyond kMaxInteger.
struct OtherNumber {
  bool operator==(const OtherNumber&) const = default;
};
// A number's text, in the tolerant form.
struct Literal {
  std::string text;
  bool operator==(const Literal&) const = default;
};
using Array = std::vector<Value>;
using Object = std::vector<Member>;  // sorted by name, names are unique

struct Value {
  // Integers are taken by value: 30.0 and 3e1 are the integer 30.
  std::variant<Null, bool, std::int64_t, OtherNumber, std::string, Array, Object, Literal> of;

  template <typename T>
  const T* As() const {
    return std::get_if<T>(&of);
  }
};

struct Member {
  std::string name;
  Value value;
};

// The member's value, or null.
const Value* Find(const Object& object, std::string_view name);

// kTolerant is for clients that build JSON by hand in C: a comma may stand before a closing
// bracket, the text ends at a NUL or behind its value, a byte order mark may stand before it; in
// strings a control character is a blank and a byte that is no UTF-8 is U+FFFD. Numbers are given
// as they are written (Literal), so that 1.10 is not 1.1.
enum class Form { kStrict, kTolerant };

// Reads one JSON text of at most `max_bytes`. In the strict form all of it must be JSON (RFC 8259)
// in UTF-8, without a byte order mark, without NUL; in both forms it has no \u0000, is at most
// kMaxDepth levels deep, and has no name twice in one object. A number must be one that a double
// can hold. Fails with what is wrong, for people: "malformed JSON at byte 12: ...".
tl::expected<Value, std::string> Parse(std::string_view text, std::size_t max_bytes,
                                       Form form = Form::kStrict);

// The number at a JSON pointer (RFC 6901; empty: the whole text) in a payload of somebody else's
// making: any JSON text of at most `max_bytes`, however deep. Nothing: no such number.
std::optional<double> NumberAt(std::string_view text, std::string_view pointer,
                               std::size_t max_bytes);

// Builds one compact JSON text. The caller keeps the nesting right. The only escapes are \", \\ and
// \n; other control characters become a space, bytes that are no UTF-8 become U+FFFD.
class Writer {
 public:
  Writer& BeginObject() { return Open('{'); }
  Writer& EndObject() { return Close('}'); }
  Writer& BeginArray() { return Open('['); }
  Writer& EndArray() { return Close(']'); }
  Writer& Name(std::string_view name);
  Writer& Text(std::string_view value);
  Writer& Integer(std::int64_t value);
  Writer& Boolean(bool value);
  // A value that is written already.
  Writer& Raw(std::string_view value);

  // The text so far.
  const std::string& text() const& { return text_; }
  std::string text() && { return std::move(text_); }

 private:
  Writer& Open(char bracket);
  Writer& Close(char bracket);
  void Separate();
  void Quote(std::string_view value);

  std::string text_;
  bool comma_ = false;  // something stands before the next value or name
};

}  // namespace ota::dialect::json
