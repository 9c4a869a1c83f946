// See envelope.h.
#include "dialect/envelope.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "dialect/utf8.h"

namespace ota::dialect {
namespace {

constexpr std::size_t kMaxShort = 64;
constexpr std::size_t kMaxLine = 256;

}  // namespace

std::optional<std::string> TextOf(const json::Value* value) {
  if (value == nullptr) {
    return std::nullopt;
  }
  if (const auto* text = value->As<std::string>()) {
    return *text;
  }
  if (const auto* number = value->As<json::Literal>()) {
    return number->text;
  }
  return std::nullopt;
}

std::optional<std::int64_t> IntegerOf(const json::Value* value) {
  const std::optional<std::string> text = TextOf(value);
  if (!text) {
    return std::nullopt;
  }
  std::string_view left = *text;
  left.remove_prefix(std::min(left.find_first_not_of(' '), left.size()));
  left = left.substr(0, left.find_last_not_of(' ') + 1);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(left.data(), left.data() + left.size(), number);
  if (error != std::errc{}) {
    return std::nullopt;
  }
  left.remove_prefix(static_cast<std::size_t>(end - left.data()));
  if (left.starts_with('.')) {
    left.remove_prefix(1);
    left.remove_prefix(std::min(left.find_first_not_of("0123456789"), left.size()));
  }
  return left.empty() ? std::optional(number) : std::nullopt;
}

bool IsShort(std::string_view text) {
  return !text.empty() && CountCharacters(text) <= kMaxShort && !HasControl(text);
}

std::string LineOf(const json::Value* value) {
  const std::optional<std::string> text = TextOf(value);
  return text ? OneLine(CutCharacters(*text, kMaxLine)) : std::string();
}

tl::expected<Envelope, DecodeError> Envelope::Read(std::string_view payload) {
  Envelope envelope;
  if (payload.size() > kMaxUplinkBytes) {
    return envelope.Fail("payload: longer than " + std::to_string(kMaxUplinkBytes) + " bytes",
                         core::ReplyCode::kTooLarge);
  }
  auto json = json::Parse(payload, kMaxUplinkBytes, json::Form::kTolerant);
  if (!json) {
    return envelope.Fail("payload: " + json.error());
  }
  auto* object = std::get_if<json::Object>(&json->of);
  if (object == nullptr) {
    return envelope.Fail("payload: must be a JSON object");
  }
  envelope.object_ = std::move(*object);
  envelope.id_ = TextOf(envelope.Find("id"));
  if (envelope.id_ && !IsShort(*envelope.id_)) {
    envelope.id_.reset();
  }
  return envelope;
}

const json::Value* Envelope::Param(std::string_view name) const {
  const json::Value* params = Find("params");
  const auto* object = params == nullptr ? nullptr : params->As<json::Object>();
  return object == nullptr ? nullptr : json::Find(*object, name);
}

tl::unexpected<DecodeError> Envelope::Fail(std::string message, core::ReplyCode code) const {
  return tl::unexpected(DecodeError{code, std::move(message), id_, {}});
}

tl::expected<std::string, DecodeError> ReadVersion(const Envelope& envelope) {
  std::optional<std::string> version = TextOf(envelope.Param("version"));
  if (!version || !IsShort(*version)) {
    return envelope.Fail(
        "params.version: must be a string of 1 to 64 characters without control characters");
  }
  return *std::move(version);
}

tl::expected<core::Progress, DecodeError> ReadStep(const Envelope& envelope, int least) {
  constexpr int kAll = 100;
  const std::optional<std::int64_t> step = IntegerOf(envelope.Param("step"));
  if (!step || *step < least || *step > kAll) {
    return envelope.Fail("params.step: must be an integer up to 100, or a failure code from " +
                         std::to_string(least));
  }
  core::Progress progress;
  progress.message = LineOf(envelope.Param("desc"));
  if (*step < 0) {
    progress.state = core::ProgressState::kFailed;
    progress.code = static_cast<int>(*step);
    return progress;
  }
  progress.percent = static_cast<int>(*step);
  progress.state =
      *step == kAll ? core::ProgressState::kDownloaded : core::ProgressState::kDownloading;
  return progress;
}

std::string_view TakeLevel(std::string_view& text) {
  const std::string_view level = text.substr(0, text.find('/'));
  text.remove_prefix(std::min(level.size() + 1, text.size()));
  return level;
}

}  // namespace ota::dialect
