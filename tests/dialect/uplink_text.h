// Writes an uplink as its native JSON text: what the decoder is compared with. Every value of an
// uplink is in the text, so that equal texts mean equal uplinks. Used by the tests and fuzz
// targets.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "core/names.h"
#include "dialect/dialect.h"
#include "dialect/json.h"

namespace ota::dialect {

class UplinkText {
 public:
  static std::string Of(const core::Uplink& uplink) {
    UplinkText text;
    text.out_.BeginObject();
    text.Put("id", uplink.id);
    std::visit([&text](const auto& body) { text.Body(body); }, uplink.body);
    text.out_.EndObject();
    return std::move(text.out_).text();
  }

 private:
  void Put(std::string_view name, const std::string& value) { out_.Name(name).Text(value); }
  void Put(std::string_view name, bool value) { out_.Name(name).Boolean(value); }
  void Put(std::string_view name, int value) { out_.Name(name).Integer(value); }
  void Put(std::string_view name, std::int64_t value) { out_.Name(name).Integer(value); }
  void Put(std::string_view name, core::seconds value) { out_.Name(name).Integer(value.count()); }
  template <typename T>
  void Put(std::string_view name, const std::optional<T>& value) {
    if (value) {
      Put(name, *value);
    }
  }

  void Body(const core::VersionReport& report) {
    out_.Name("components").BeginObject();
    for (const auto& [name, version] : report.components) {
      Put(name, version);
    }
    out_.EndObject();
    Put("task", report.task);
    Put("request", report.request);
    Put("bootId", report.boot_id);
    out_.Name("trial").BeginArray();
    for (const std::string& name : report.trial) {
      out_.Text(name);
    }
    out_.EndArray();
    Put("battery", report.battery);
    Put("signal", report.signal);
    Put("freeBytes", report.free_bytes);
    Put("lang", report.lang);
    Put("maxBytes", report.max_bytes);
    Put("sleep", report.sleep);
    Put("full", report.full);
    Put("query", report.query);
  }

  void Body(const core::Confirm& confirm) {
    Put("task", confirm.task);
    Put("accept", confirm.accept);
    Put("reason", confirm.reason);
    Put("retryAfter", confirm.retry_after);
  }

  void Body(const core::Progress& progress) {
    Put("task", progress.task);
    Put("component", progress.component);
    Put("attempt", progress.attempt);
    Put("state", std::string(core::Name(progress.state)));
    Put("percent", progress.percent);
    Put("code", progress.code);
    Put("message", progress.message);
    Put("retryAfter", progress.retry_after);
    Put("eta", progress.eta);
  }

  void Body(const core::BlockRequest& request) {
    Put("task", request.task);
    Put("component", request.component);
    Put("file", request.file);
    Put("ref", request.ref);
    Put("offset", request.offset);
    Put("length", request.length);
    Put("count", request.count);
    Put("fileId", request.file_id);
  }

  json::Writer out_;
};

}  // namespace ota::dialect
