// Text as devices and administrators send it: bytes that should be UTF-8. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ota::dialect {

// The length in bytes of the well-formed UTF-8 character at the beginning of `text`, 1 to 4; 0 for
// the empty text and for bytes that begin none (overlong forms and surrogates among them).
std::size_t CharacterBytes(std::string_view text);

// How many characters `text` has; a byte that belongs to none counts as one.
std::size_t CountCharacters(std::string_view text);

bool IsUtf8(std::string_view text);

// Whether a control character is in `text`: below U+0020, or U+007F to U+009F, of which terminals
// take some for the beginning of a command.
bool HasControl(std::string_view text);

// The first `count` characters of `text`.
std::string_view CutCharacters(std::string_view text, std::size_t count);

// As much of `text` as fits into `bytes`, cut between characters.
std::string_view CutBytes(std::string_view text, std::size_t bytes);

// `text` with U+FFFD for every byte that belongs to no character.
std::string Repaired(std::string_view text);

// `text` with a space for every control character: one line, harmless on a terminal.
std::string OneLine(std::string_view text);

}  // namespace ota::dialect
