// UTF-8 by the table of well-formed byte sequences (Unicode, table 3-7).
#include "dialect/utf8.h"

#include <algorithm>

namespace ota::dialect {
namespace {

// The length in bytes of the control character at the beginning of `text`; 0: there is none.
std::size_t ControlBytes(std::string_view text) {
  const auto at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (at(0) < 0x20 || at(0) == 0x7f) {
    return 1;
  }
  return at(0) == 0xc2 && text.size() > 1 && at(1) >= 0x80 && at(1) < 0xa0 ? 2 : 0;
}

// The character's length; 1 for a byte that belongs to none.
std::size_t StepBytes(std::string_view text) {
  return std::max<std::size_t>(CharacterBytes(text), 1);
}

}  // namespace

std::size_t CharacterBytes(std::string_view text) {
  struct Lead {
    unsigned char first, last;             // of the leading byte
    unsigned char second_min, second_max;  // the others are 80 to BF
    std::size_t bytes;
  };
  static constexpr Lead kLeads[] = {
      {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
      {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
      {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
  };
  const auto at = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) {
    return 0;
  }
  if (at(0) < 0x80) {
    return 1;
  }
  for (const Lead& lead : kLeads) {
    if (at(0) < lead.first || at(0) > lead.last) {
      continue;
    }
    if (text.size() < lead.bytes || at(1) < lead.second_min || at(1) > lead.second_max) {
      return 0;
    }
    for (std::size_t i = 2; i < lead.bytes; ++i) {
      if (at(i) < 0x80 || at(i) > 0xbf) {
        return 0;
      }
    }
    return lead.bytes;
  }
  return 0;
}

std::size_t CountCharacters(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) {
    text.remove_prefix(StepBytes(text));
  }
  return count;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = CharacterBytes(text);
    if (bytes == 0) {
      return false;
    }
    text.remove_prefix(bytes);
  }
  return true;
}

bool HasControl(std::string_view text) {
  for (; !text.empty(); text.remove_prefix(1)) {
    if (ControlBytes(text) != 0) {
      return true;
    }
  }
  return false;
}

std::string_view CutCharacters(std::string_view text, std::size_t count) {
  std::string_view rest = text;
  for (; count > 0 && !rest.empty(); --count) {
    rest.remove_prefix(StepBytes(rest));
  }
  return text.substr(0, text.size() - rest.size());
}

std::string_view CutBytes(std::string_view text, std::size_t bytes) {
  std::size_t length = 0;
  while (length < text.size()) {
    const std::size_t step = StepBytes(text.substr(length));
    if (length + step > bytes) {
      break;
    }
    length += step;
  }
  return text.substr(0, length);
}

std::string Repaired(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  while (!text.empty()) {
    const std::size_t bytes = CharacterBytes(text);
    repaired += bytes == 0 ? "\xEF\xBF\xBD" : text.substr(0, bytes);
    text.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return repaired;
}

std::string OneLine(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  while (!text.empty()) {
    const std::size_t control = ControlBytes(text);
    line += control == 0 ? text.front() : ' ';
    text.remove_prefix(std::max<std::size_t>(control, 1));
  }
  return line;
}

}  // namespace ota::dialect
