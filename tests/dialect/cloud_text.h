// Writes an uplink as a device of a cloud would: what the decoders are compared with. Used by the
// tests and fuzz targets.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "dialect/dialect.h"
#include "dialect/json.h"

namespace ota::dialect {

inline std::string StepOf(const core::Progress& progress) {
  return std::to_string(progress.code ? *progress.code : progress.percent.value_or(0));
}

// A payload of the Alibaba dialect; a comma too many and numbers as text, as devices write them.
inline std::string AlibabaText(const core::Uplink& uplink) {
  json::Writer out;
  out.BeginObject();
  if (uplink.id) {
    out.Name("id").Text(*uplink.id);
  }
  out.Name("params").BeginObject();
  if (const auto* report = std::get_if<core::VersionReport>(&uplink.body)) {
    if (report->query) {
      out.Name("module").Text(*report->query);
    } else {
      out.Name("version").Text(report->components.begin()->second);
      out.Name("module").Text(report->components.begin()->first);
    }
  } else if (const auto* progress = std::get_if<core::Progress>(&uplink.body)) {
    out.Name("step").Text(StepOf(*progress)).Name("desc").Text(progress->message);
    if (!progress->component.empty()) {
      out.Name("module").Text(progress->component);
    }
  } else if (const auto* block = std::get_if<core::BlockRequest>(&uplink.body)) {
    out.Name("fileToken").Text(block->ref);
    out.Name("fileInfo")
        .Raw("{\"streamId\":" + std::to_string(*block->file_id) + ",\"fileId\":1,}");
    out.Name("fileBlock").BeginObject().Name("size").Integer(block->length);
    out.Name("offset").Integer(block->offset).EndObject();
  }
  out.EndObject().EndObject();
  return std::move(out).text();
}

// A payload of the EnOS dialect.
inline std::string EnosText(const core::Uplink& uplink) {
  json::Writer out;
  out.BeginObject();
  if (uplink.id) {
    out.Name("id").Text(*uplink.id);
  }
  const auto* progress = std::get_if<core::Progress>(&uplink.body);
  const auto* confirm = std::get_if<core::Confirm>(&uplink.body);
  // An answer to an upgrade says its code in the reason.
  std::string_view said = confirm != nullptr    ? std::string_view(confirm->reason)
                          : progress != nullptr ? std::string_view(progress->message)
                                                : std::string_view();
  constexpr std::string_view kAnswer = "upgrade_reply ";
  if (confirm != nullptr && confirm->accept) {
    out.Name("code").Integer(200);
  } else if (said.starts_with(kAnswer)) {
    said.remove_prefix(kAnswer.size());
    const std::size_t colon = said.find(": ");
    out.Name("code").Text(said.substr(0, colon));
    if (colon != std::string_view::npos) {
      out.Name("message").Text(said.substr(colon + 2));
    }
  }
  out.Name("params").BeginObject();
  if (const auto* report = std::get_if<core::VersionReport>(&uplink.body)) {
    if (!report->query) {
      out.Name("version").Text(report->components.begin()->second);
    }
  } else if (progress != nullptr) {
    out.Name("step").Text(StepOf(*progress)).Name("desc").Text(progress->message);
  }
  out.EndObject().EndObject();
  return std::move(out).text();
}

}  // namespace ota::dialect
