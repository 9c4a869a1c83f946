// RapidJSON's events become values of ours, checked on the way: RapidJSON 1.1 takes NUL for the end
// of the text, lets lone low surrogates pass and knows no limit of depth.
#include "dialect/json.h"

#include <algorithm>
#include <cmath>
#include <utility>

// RapidJSON's stack compares null plus an offset with null before it first allocates. It harms
// nothing, but clang's sanitizer must not stop there. What it includes of the standard library is
// none of it; what of that is declared already is left alone, with a warning.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-attributes"
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/pointer.h>
#include <rapidjson/reader.h>
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang diagnostic pop
#endif

#include "dialect/utf8.h"

namespace ota::dialect::json {
namespace {

// Stands in a JSON string as it is.
bool IsPlain(char c) {
  return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

// Receives RapidJSON's events; `false` ends the parse and `problem` says why.
class Builder {
 public:
  bool Null() { return Add({json::Null{}}); }
  bool Bool(bool value) { return Add({value}); }
  bool Int(int value) { return AddInteger(value); }
  bool Uint(unsigned value) { return AddInteger(value); }
  bool Int64(std::int64_t value) { return AddInteger(value); }
  bool Uint64(std::uint64_t value) {
    return value > static_cast<std::uint64_t>(kMaxInteger)
               ? Add({OtherNumber{}})
               : AddInteger(static_cast<std::int64_t>(value));
  }
  bool Double(double value) {
    constexpr auto kLimit = static_cast<double>(kMaxInteger);
    if (std::trunc(value) != value || value < -kLimit || value > kLimit) {
      return Add({OtherNumber{}});
    }
    return AddInteger(static_cast<std::int64_t>(value));
  }
  // Of the tolerant form.
  bool RawNumber(const char* text, rapidjson::SizeType length, bool) {
    return Add({json::Literal{std::string(text, length)}});
  }
  bool String(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view value(text, length);
    return CheckText(value) && Add({std::string(value)});
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view name(text, length);
    if (!CheckText(name)) {
      return false;
    }
    names_.emplace_back(name);
    return true;
  }
  bool StartObject() { return Open({Object{}}); }
  bool StartArray() { return Open({Array{}}); }
  bool EndArray(rapidjson::SizeType) { return Close(); }
  bool EndObject(rapidjson::SizeType) {
    auto& members = std::get<Object>(open_.back().of);
    std::ranges::sort(members, {}, &Member::name);
    const auto twice = std::ranges::adjacent_find(members, {}, &Member::name);
    if (twice != members.end()) {
      problem_ = "repeated member '" + OneLine(CutCharacters(twice->name, 64)) + "'";
      return false;
    }
    return Close();
  }

  Value Take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }

 private:
  bool AddInteger(std::int64_t value) {
    return value < -kMaxInteger || value > kMaxInteger ? Add({OtherNumber{}}) : Add({value});
  }

  bool CheckText(std::string_view text) {
    if (!IsUtf8(text)) {
      problem_ = "a string is not valid UTF-8";
    } else if (text.find('\0') != std::string_view::npos) {
      problem_ = "NUL is not allowed";
    }
    return problem_.empty();
  }

  bool Open(Value value) {
    if (open_.size() == kMaxDepth) {
      problem_ = "nested deeper than " + std::to_string(kMaxDepth) + " levels";
      return false;
    }
    open_.push_back(std::move(value));
    return true;
  }

  bool Close() {
    Value value = std::move(open_.back());
    open_.pop_back();
    return Add(std::move(value));
  }

  bool Add(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (auto* array = std::get_if<Array>(&open_.back().of)) {
      array->push_back(std::move(value));
    } else {
      std::get<Object>(open_.back().of).push_back({std::move(names_.back()), std::move(value)});
      names_.pop_back();
    }
    return true;
  }

  Value root_;
  std::vector<Value> open_;         // arrays and objects that are not complete, outermost first
  std::vector<std::string> names_;  // of the members whose values are not complete
  std::string problem_;
};

}  // namespace

const Value* Find(const Object& object, std::string_view name) {
  const auto found = std::ranges::lower_bound(object, name, {}, &Member::name);
  return found != object.end() && found->name == name ? &found->value : nullptr;
}

tl::expected<Value, std::string> Parse(std::string_view text, std::size_t max_bytes, Form form) {
  using enum rapidjson::ParseFlag;
  constexpr unsigned kStrict = kParseIterativeFlag;
  constexpr unsigned kTolerant = kParseIterativeFlag | kParseTrailingCommasFlag |
                                 kParseNumbersAsStringsFlag | kParseStopWhenDoneFlag;
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (text.size() > max_bytes) {
    return tl::unexpected("longer than " + std::to_string(max_bytes) + " bytes");
  }
  std::string repaired;
  if (form == Form::kTolerant) {
    text = text.substr(0, text.find('\0'));
    text.remove_prefix(text.starts_with(kMark) ? kMark.size() : 0);
    repaired = OneLine(Repaired(text));
    text = repaired;
  } else if (text.find('\0') != std::string_view::npos) {
    return tl::unexpected(std::string("NUL is not allowed"));
  }
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::Reader reader;
  Builder builder;
  const rapidjson::ParseResult result = form == Form::kStrict
                                            ? reader.Parse<kStrict>(stream, builder)
                                            : reader.Parse<kTolerant>(stream, builder);
  if (!builder.problem().empty()) {
    return tl::unexpected(builder.problem());
  }
  if (result.IsError()) {
    return tl::unexpected("malformed JSON at byte " + std::to_string(result.Offset()) + ": " +
                          rapidjson::GetParseError_En(result.Code()));
  }
  return builder.Take();
}

std::optional<double> NumberAt(std::string_view text, std::string_view pointer,
                               std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return std::nullopt;
  }
  const rapidjson::Pointer path(pointer.data(), pointer.size());
  if (!path.IsValid()) {
    return std::nullopt;
  }
  // Its values live in one pool: nothing of it recurses, however deep the text is.
  rapidjson::Document document;
  rapidjson::MemoryStream stream(text.data(), text.size());
  document.ParseStream<rapidjson::kParseIterativeFlag>(stream);
  if (document.HasParseError()) {
    return std::nullopt;
  }
  const rapidjson::Value* value = path.Get(document);
  return value != nullptr && value->IsNumber() ? std::optional(value->GetDouble()) : std::nullopt;
}

Writer& Writer::Open(char bracket) {
  Separate();
  text_ += bracket;
  comma_ = false;
  return *this;
}

Writer& Writer::Close(char bracket) {
  text_ += bracket;
  comma_ = true;
  return *this;
}

void Writer::Separate() {
  if (comma_) {
    text_ += ',';
  }
  comma_ = true;
}

void Writer::Quote(std::string_view value) {
  text_ += '"';
  while (!value.empty()) {
    const auto plain =
        static_cast<std::size_t>(std::ranges::find_if_not(value, IsPlain) - value.begin());
    text_ += value.substr(0, plain);
    value.remove_prefix(plain);
    if (value.empty()) {
      break;
    }
    const std::size_t bytes = CharacterBytes(value);
    const std::string_view character = value.substr(0, std::max<std::size_t>(bytes, 1));
    if (bytes == 0) {
      text_ += "\xEF\xBF\xBD";
    } else if (character == "\"" || character == "\\") {
      text_ += '\\';
      text_ += character;
    } else if (character == "\n") {
      text_ += "\\n";
    } else if (HasControl(character)) {
      text_ += ' ';
    } else {
      text_ += character;
    }
    value.remove_prefix(character.size());
  }
  text_ += '"';
}

Writer& Writer::Name(std::string_view name) {
  Separate();
  Quote(name);
  text_ += ':';
  comma_ = false;
  return *this;
}

Writer& Writer::Text(std::string_view value) {
  Separate();
  Quote(value);
  return *this;
}

Writer& Writer::Integer(std::int64_t value) {
  Separate();
  text_ += std::to_string(value);
  return *this;
}

Writer& Writer::Raw(std::string_view value) {
  Separate();
  text_ += value;
  return *this;
}

Writer& Writer::Boolean(bool value) {
  Separate();
  text_ += value ? "true" : "false";
  return *this;
}

}  // namespace ota::dialect::json
