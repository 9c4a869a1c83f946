// Any payload, as any uplink of the native dialect (the first byte, modulo 4, picks which: "0{...}"
// is a version report). What is accepted is within every limit and survives being written and read
// again; what is refused can be answered.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "dialect/dialect.h"
#include "dialect/json.h"
#include "dialect/uplink_text.h"
#include "dialect/utf8.h"
#include "fuzz/check.h"

namespace ota::dialect {
namespace {

using fuzz::Check;

bool IsShort(const std::string& text) {
  return !text.empty() && CountCharacters(text) <= 64 && IsUtf8(text) && !HasControl(text);
}

bool IsTask(const std::string& text) {
  return text.size() >= 8 && text.size() <= 32 && IsName(text);
}

template <typename T, typename Min, typename Max>
bool Within(const std::optional<T>& value, Min min, Max max) {
  return !value || (*value >= T(min) && *value <= T(max));
}

bool IsLine(const std::string& text) {
  return CountCharacters(text) <= 256 && IsUtf8(text) && !HasControl(text);
}

void CheckBody(const core::VersionReport& report) {
  Check(!report.components.empty() && report.components.size() <= 32, "1 to 32 components");
  for (const auto& [name, version] : report.components) {
    Check(IsName(name) && IsShort(version), "component");
  }
  Check(report.trial.size() <= 32, "trial");
  for (const std::string& name : report.trial) {
    Check(IsName(name), "trial name");
  }
  Check(!report.task || IsTask(*report.task), "task");
  Check(!report.boot_id || IsShort(*report.boot_id), "bootId");
  Check(!report.lang || IsShort(*report.lang), "lang");
  Check(Within(report.battery, 0, 100), "battery");
  Check(Within(report.signal, -150, 0), "signal");
  Check(Within(report.free_bytes, 0, json::kMaxInteger), "freeBytes");
  Check(Within(report.max_bytes, 512, 65536), "maxBytes");
  Check(Within(report.sleep, 0, INT32_MAX), "sleep");
}

void CheckBody(const core::Confirm& confirm) {
  Check(IsTask(confirm.task), "task");
  Check(IsLine(confirm.reason), "reason");
  Check(Within(confirm.retry_after, 60, 604800), "retryAfter");
}

void CheckBody(const core::Progress& progress) {
  Check(IsTask(progress.task) && IsName(progress.component), "names");
  Check(Within(progress.attempt, 1, INT32_MAX), "attempt");
  Check(Within(progress.percent, 0, 100), "percent");
  const bool failed = progress.state == core::ProgressState::kFailed;
  Check(failed == progress.code.has_value() && progress.code.value_or(-1) < 0, "code");
  Check(IsLine(progress.message), "message");
  Check(Within(progress.retry_after, 0, INT32_MAX) && Within(progress.eta, 0, INT32_MAX),
        "seconds");
}

void CheckBody(const core::BlockRequest& request) {
  Check(IsTask(request.task) && IsName(request.component), "names");
  Check(request.file >= 0 && request.file < 5, "file");
  Check(IsName(request.ref) && request.ref.size() <= 8, "ref");
  Check(request.offset >= 0 && request.offset <= json::kMaxInteger, "offset");
  Check(request.length >= 128 && request.length <= 65536, "length");
  Check(request.count >= 1 && request.count <= 64, "count");
  Check(std::int64_t{request.length} * request.count <= 262144, "grant");
}

void CheckAnswer(UplinkKind kind, const DecodeError& error) {
  Check(!error.message.empty(), "a reason");
  core::Reply reply;
  reply.to = UplinkName(kind);
  reply.id = error.id;
  reply.task = error.task;
  reply.code = error.code;
  reply.message = error.message;
  const auto encoded = Dialects().front().encode({"p", "d"}, reply, {.max_bytes = 512, .now = {}});
  Check(encoded && json::Parse(encoded->payload, 512), "an answer that fits");
}

}  // namespace
}  // namespace ota::dialect

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  namespace dialect = ota::dialect;
  if (size == 0) {
    return 0;
  }
  const auto kind = static_cast<dialect::UplinkKind>(bytes[0] % 4);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a payload is.
  const std::string_view payload(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  const dialect::Dialect& native = dialect::Dialects().front();
  const auto uplink = native.decode(kind, payload);
  if (!uplink) {
    dialect::CheckAnswer(kind, uplink.error());
    return 0;
  }
  ota::fuzz::Check(!uplink->id || dialect::IsShort(*uplink->id), "id");
  ota::fuzz::Check(uplink->body.index() == static_cast<std::size_t>(kind), "kind");
  std::visit([](const auto& body) { dialect::CheckBody(body); }, uplink->body);
  const std::string text = dialect::UplinkText::Of(*uplink);
  const auto again = native.decode(kind, text);
  ota::fuzz::Check(again.has_value() && again->warnings.empty(), "what is accepted is accepted");
  ota::fuzz::Check(dialect::UplinkText::Of(*again) == text, "and means the same");
  return 0;
}
