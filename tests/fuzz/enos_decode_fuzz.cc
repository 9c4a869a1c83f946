// Any payload, as any uplink of the EnOS dialect (the first byte picks which: '0' is the first of
// kKinds). What is accepted is within every limit, and survives being written and read again; what
// is refused can be answered.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "dialect/cloud_text.h"
#include "dialect/dialect.h"
#include "dialect/envelope.h"
#include "dialect/uplink_text.h"
#include "dialect/utf8.h"
#include "fuzz/check.h"

namespace ota::dialect {
namespace {

using fuzz::Check;

constexpr UplinkKind kKinds[] = {UplinkKind::kVersion, UplinkKind::kProgress, UplinkKind::kQuery,
                                 UplinkKind::kConfirm};

const Dialect& Named() {
  for (const Dialect& dialect : Dialects()) {
    if (dialect.name == "enos") {
      return dialect;
    }
  }
  std::abort();
}

void CheckBody(const core::VersionReport& report) {
  Check(report.components.size() == (report.query ? 0U : 1U), "a version or a query");
  for (const auto& [name, version] : report.components) {
    Check((name.empty() || IsName(name)) && IsShort(version), "component");
  }
  Check(!report.query || (report.query->size() <= 65 && !HasControl(*report.query)), "query");
}

void CheckBody(const core::Confirm& confirm) {
  Check(CountCharacters(confirm.reason) <= 256 && !HasControl(confirm.reason), "reason");
}

void CheckBody(const core::Progress& progress) {
  Check(progress.component.empty() || IsName(progress.component), "component");
  Check(CountCharacters(progress.message) <= 256 && !HasControl(progress.message), "message");
  Check(progress.percent.has_value() != progress.code.has_value(), "a percentage or a code");
  Check(!progress.percent || (*progress.percent >= 0 && *progress.percent <= 100), "percent");
  Check(!progress.code || *progress.code < 0, "code");
}

void CheckBody(const core::BlockRequest& request) {
  Check(request.file_id && *request.file_id >= 0, "file");
  Check(request.length >= 1 && request.length <= 131072, "length");
  Check(request.offset >= 0 && request.offset <= 16777216, "offset");
  Check(request.ref.size() <= 256, "token");
}

void CheckAnswer(UplinkKind kind, const DecodeError& error) {
  Check(!error.message.empty(), "a reason");
  core::Reply reply;
  reply.to = UplinkName(kind);
  reply.id = error.id;
  reply.code = error.code;
  reply.message = error.message;
  Check(Named().encode({"p", "d"}, reply, {.max_bytes = 2048, .now = {}}).has_value(),
        "an answer that fits, or none");
}

}  // namespace
}  // namespace ota::dialect

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  namespace dialect = ota::dialect;
  if (size == 0) {
    return 0;
  }
  const auto kind = dialect::kKinds[(bytes[0] + 256U - '0') % std::size(dialect::kKinds)];
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are what a payload is.
  const std::string_view payload(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  const dialect::Dialect& spoken = dialect::Named();
  const auto uplink = spoken.decode(kind, payload);
  if (!uplink) {
    dialect::CheckAnswer(kind, uplink.error());
    return 0;
  }
  std::visit([](const auto& body) { dialect::CheckBody(body); }, uplink->body);
  const auto again = spoken.decode(kind, dialect::EnosText(*uplink));
  ota::fuzz::Check(again.has_value(), "what is accepted is accepted");
  ota::fuzz::Check(dialect::UplinkText::Of(*again) == dialect::UplinkText::Of(*uplink),
                   "and means the same");
  return 0;
}
