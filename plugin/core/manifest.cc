#include "core/manifest.h"

#include "core/names.h"

namespace ota::core {
namespace {

// Names and versions hold no control characters and no backslashes: the schema sees to it for
// files, IsName for the rest; versions are text of people.
std::string Quoted(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
    }
    if (byte < 0x20) {
      quoted += "\\u00";
      quoted += kDigits[byte >> 4];
      quoted += kDigits[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace

std::string Manifest(std::string_view product, const Package& package) {
  std::string text = "{\"product\":" + Quoted(product) + ",\"package\":" + Quoted(package.name) +
                     ",\"component\":" + Quoted(package.component) +
                     ",\"kind\":" + Quoted(Name(package.kind)) +
                     ",\"version\":" + Quoted(package.version) + ",\"files\":[";
  bool first = true;
  for (const FileSet& set : package.sets) {
    for (const File& file : set.files) {
      if (file.sha256.empty()) {
        return {};
      }
      text += first ? "{" : ",{";
      first = false;
      if (!set.source.empty()) {
        text += "\"from\":" + Quoted(set.source) + ",";
      }
      text += "\"name\":" + Quoted(file.name) + ",\"bytes\":" + std::to_string(file.bytes) +
              ",\"sha256\":" + Quoted(file.sha256) + "}";
    }
  }
  return text + "]}";
}

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view three = bytes.substr(at, 3);
    unsigned pending = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      pending = (pending << 8) | (i < three.size() ? static_cast<unsigned char>(three[i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      text += i <= three.size() ? kDigits[(pending >> (18 - 6 * i)) & 63] : '=';
    }
  }
  return text;
}

}  // namespace ota::core
