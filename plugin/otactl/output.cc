// See output.h.
#include "otactl/output.h"

#include <unistd.h>
#include <wchar.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

namespace ota::otactl {
namespace {

using store::Rows;
using store::Value;

constexpr char kGreen[] = "\033[32m";
constexpr char kRed[] = "\033[31m";
constexpr char kYellow[] = "\033[33m";
constexpr char kPlain[] = "\033[0m";

struct Tint {
  std::string_view word;
  const char* colour;
};
constexpr std::array kTints{
    Tint{"ok", kGreen},          Tint{"ready", kGreen},    Tint{"active", kGreen},
    Tint{"succeeded", kGreen},   Tint{"Updated", kGreen},  Tint{"done", kGreen},
    Tint{"problem", kRed},       Tint{"refused", kRed},    Tint{"failed", kRed},
    Tint{"Failed", kRed},        Tint{"Rejected", kRed},   Tint{"held", kRed},
    Tint{"paused", kYellow},     Tint{"pending", kYellow}, Tint{"hashing", kYellow},
    Tint{"In Upgrade", kYellow}, Tint{"Pushed", kYellow},  Tint{"blocked", kRed},
    Tint{"halted", kRed},        Tint{"verified", kGreen},
};

// One character of UTF-8 at the front of `text`: how many bytes, how many columns. 0 bytes: broken.
struct Character {
  std::size_t bytes = 0;
  int columns = 0;
};

Character Front(std::string_view text) {
  static const bool utf8 = std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr;
  if (!utf8) {
    const auto lead = static_cast<unsigned char>(text[0]);
    return {1, lead >= 0x20 && lead < 0x7f ? 1 : -1};
  }
  std::mbstate_t state{};
  wchar_t code = 0;
  const std::size_t bytes = std::mbrtowc(&code, text.data(), text.size(), &state);
  if (bytes == 0 || bytes > text.size()) {
    return {};
  }
  return {bytes, wcwidth(code)};
}

std::string Number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.15g", value);
  return text.data();
}

std::string Text(const Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, std::monostate>) {
          return "";
        } else if constexpr (std::is_same_v<Held, std::int64_t>) {
          return std::to_string(held);
        } else if constexpr (std::is_same_v<Held, double>) {
          return Number(held);
        } else {
          return Clean(held);
        }
      },
      value);
}

std::string JsonValue(const Value& value) {
  if (std::holds_alternative<std::monostate>(value)) {
    return "null";
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    return JsonString(*text);
  }
  return Text(value);
}

std::string JsonRow(const Rows& rows, std::size_t index) {
  std::string out = "{";
  for (std::size_t i = 0; i < rows.columns.size(); ++i) {
    out +=
        (i > 0 ? ", " : "") + JsonString(rows.columns[i]) + ": " + JsonValue(rows.rows[index][i]);
  }
  return out + "}";
}

std::string Tinted(const std::string& text, const std::string& word, bool colour) {
  const auto* tint = std::ranges::find(kTints, word, &Tint::word);
  return colour && tint != kTints.end() ? tint->colour + text + kPlain : text;
}

}  // namespace

int Width(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const Character front = Front(text);
    width += std::max(front.columns, 0);
    text.remove_prefix(std::max<std::size_t>(front.bytes, 1));
  }
  return width;
}

std::string Clean(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Character front = Front(text);
    if (front.bytes == 0 || front.columns < 0) {
      const std::size_t count = std::max<std::size_t>(front.bytes, 1);
      for (std::size_t i = 0; i < count; ++i) {
        std::array<char, 8> hex{};
        std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned char>(text[i]));
        out += hex.data();
      }
      text.remove_prefix(count);
    } else {
      out += text.substr(0, front.bytes);
      text.remove_prefix(front.bytes);
    }
  }
  return out;
}

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const Character front = Front(text);
    const std::size_t bytes = std::max<std::size_t>(front.bytes, 1);
    if (lead == '"' || lead == '\\') {
      out += '\\';
      out += text[0];
    } else if (lead < 0x20 || lead == 0x7f) {
      std::array<char, 8> hex{};
      std::snprintf(hex.data(), hex.size(), "\\u%04x", lead);
      out += hex.data();
    } else if (front.bytes == 0 || (front.bytes == 1 && lead >= 0x80)) {
      out += "\\ufffd";
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return out + "\"";
}

std::string Json(const Rows& rows) {
  std::string out = "[";
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    out += (i > 0 ? ",\n " : "") + JsonRow(rows, i);
  }
  return out + "]";
}

std::string JsonObject(const Rows& rows) {
  return rows.rows.empty() ? "{}" : JsonRow(rows, 0);
}

std::string Table(const Rows& rows, bool colour) {
  const std::size_t count = rows.columns.size();
  std::vector<int> widths;
  std::vector<bool> numbers(count, !rows.rows.empty());
  for (const std::string& name : rows.columns) {
    widths.push_back(Width(name));
  }
  for (const auto& row : rows.rows) {
    for (std::size_t i = 0; i < count; ++i) {
      widths[i] = std::max(widths[i], Width(Text(row[i])));
      numbers[i] = numbers[i] && !std::holds_alternative<std::string>(row[i]);
    }
  }
  std::string out;
  const auto line = [&](const auto& cell, bool tinted) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string word = cell(i);
      const auto gap = static_cast<std::size_t>(widths[i] - Width(word));
      const std::string shown = Tinted(word, word, tinted);
      text += (i > 0 ? "  " : "") +
              (numbers[i] ? std::string(gap, ' ') + shown : shown + std::string(gap, ' '));
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line([&](std::size_t i) { return rows.columns[i]; }, false);
  for (const auto& row : rows.rows) {
    line([&](std::size_t i) { return Text(row[i]); }, colour);
  }
  return out;
}

std::string Record(const Rows& rows, bool colour) {
  std::string out;
  if (rows.rows.empty()) {
    return out;
  }
  int widest = 0;
  for (const std::string& name : rows.columns) {
    widest = std::max(widest, Width(name));
  }
  for (std::size_t i = 0; i < rows.columns.size(); ++i) {
    const std::string word = Text(rows.rows[0][i]);
    if (!word.empty()) {
      const auto gap = static_cast<std::size_t>(widest - Width(rows.columns[i]) + 2);
      out += rows.columns[i] + std::string(gap, ' ') + Tinted(word, word, colour) + "\n";
    }
  }
  return out;
}

bool WantsColour() {
  return isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
}

}  // namespace ota::otactl
