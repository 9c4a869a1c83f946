// The native dialect, ota/v1, from the device's side: protocol/native.
#include <charconv>

#include "fleet/dialect.h"
#include "fleet/members.h"

namespace ota::fleet {
namespace {

namespace json = dialect::json;

constexpr std::size_t kMaxDownlinkBytes = 65536;

std::string Topic(const Name& name, std::string_view tail) {
  std::string topic = "ota/v1/" + name.product + "/" + name.device + "/";
  topic.append(tail);
  return topic;
}

// The objects of an array member; what is no object is left out.
std::vector<const json::Object*> Objects(const json::Object& object, std::string_view name) {
  std::vector<const json::Object*> objects;
  const auto* array = Find<json::Array>(object, name);
  for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
    if (const auto* item = (*array)[i].As<json::Object>()) {
      objects.push_back(item);
    }
  }
  return objects;
}

void ReadPlan(const json::Object& object, Downlink& downlink) {
  downlink.kind = Downlink::Kind::kPlan;
  const auto components = Objects(object, "components");
  if (downlink.task.empty() || components.empty()) {
    downlink.problem = "down/plan without task or components";
    return;
  }
  downlink.component = Text(*components.front(), "name");
  downlink.to = Text(*components.front(), "to");
}

void ReadDownload(const json::Object& object, Downlink& downlink) {
  downlink.kind = Downlink::Kind::kDownload;
  downlink.component = Text(object, "component");
  downlink.to = Text(object, "to");
  downlink.attempt = static_cast<int>(Integer(object, "attempt"));
  downlink.blocks = True(object, "blocks");
  for (const auto* file : Objects(object, "files")) {
    downlink.files.push_back({Text(*file, "url"), Text(*file, "sha256"), Integer(*file, "bytes")});
    if (downlink.files.back().sha256.size() != 64 || downlink.files.back().bytes < 1) {
      downlink.problem = "down/download with a file without sha256 or bytes";
    }
  }
  if (downlink.task.empty() || downlink.component.empty() || downlink.to.empty() ||
      downlink.attempt < 1 || downlink.files.empty()) {
    downlink.problem = "down/download without a required member";
  }
}

void ReadReply(const json::Object& object, Downlink& downlink) {
  downlink.kind = Downlink::Kind::kReply;
  downlink.id = Text(object, "id");
  downlink.code = static_cast<int>(Integer(object, "code"));
  downlink.again_s =
      downlink.code == 200 ? Integer(object, "again") : Integer(object, "retryAfter");
  if (downlink.code != 200 || json::Find(object, "warning") != nullptr) {
    downlink.problem = "reply " + std::to_string(downlink.code) + " to " + Text(object, "to") +
                       ": " + Text(object, downlink.code == 200 ? "warning" : "message");
  }
}

// REF/OFFSET
bool ReadBlock(std::string_view tail, std::string_view payload, Downlink& downlink) {
  const auto slash = tail.find('/');
  if (slash == std::string_view::npos) {
    return false;
  }
  downlink.kind = Downlink::Kind::kBlock;
  downlink.ref = tail.substr(0, slash);
  tail.remove_prefix(slash + 1);
  downlink.content = payload;
  return std::from_chars(tail.data(), tail.data() + tail.size(), downlink.offset).ec == std::errc();
}

class Native final : public Dialect {
 public:
  std::string_view User() const override { return "{product}/{device}"; }
  std::string_view ClientId() const override { return "{product}:{device}"; }
  bool NamesTasks() const override { return true; }

  std::vector<std::string> Filters(const Name& name) const override {
    return {Topic(name, "down/#")};
  }

  Downlink Decode(const Name& name, std::string_view topic,
                  std::string_view payload) const override {
    Downlink downlink;
    const auto prefix = Topic(name, "down/");
    if (!topic.starts_with(prefix)) {
      downlink.problem = "a message of another device's topic: " + std::string(topic);
      return downlink;
    }
    topic.remove_prefix(prefix.size());
    constexpr std::string_view kBlock = "block/";
    if (topic.starts_with(kBlock)) {
      if (!ReadBlock(topic.substr(kBlock.size()), payload, downlink)) {
        downlink.problem = "malformed topic of a block";
      }
      return downlink;
    }
    const auto value = json::Parse(payload, kMaxDownlinkBytes);
    const auto* object = value ? value->As<json::Object>() : nullptr;
    if (object == nullptr) {
      downlink.problem = "malformed down/" + std::string(topic);
      return downlink;
    }
    downlink.task = Text(*object, "task");
    if (topic == "plan") {
      ReadPlan(*object, downlink);
    } else if (topic == "download") {
      ReadDownload(*object, downlink);
    } else if (topic == "cancel") {
      downlink.kind = Downlink::Kind::kCancel;
    } else if (topic == "reply") {
      ReadReply(*object, downlink);
    } else {
      downlink.problem = "unknown down/" + std::string(topic);
    }
    return downlink;
  }

  Uplink Version(const Name& name, const VersionReport& report) const override {
    json::Writer writer;
    writer.BeginObject().Name("id").Text(report.id).Name("components").BeginObject();
    for (const auto& [component, version] : report.components) {
      writer.Name(component).Text(version);
    }
    writer.EndObject();
    if (!report.task.empty()) {
      writer.Name("task").Text(report.task);
    }
    writer.Name("bootId").Text(report.boot_id);
    if (!report.trial.empty()) {
      writer.Name("trial").BeginArray().Text(report.trial).EndArray();
    }
    if (report.battery >= 0) {
      writer.Name("battery").Integer(report.battery);
    }
    writer.EndObject();
    return {Topic(name, "up/version"), std::move(writer).text()};
  }

  std::optional<Uplink> Confirm(const Name& name, const std::string& id, const std::string& task,
                                bool accept, std::int64_t retry_after_s) const override {
    json::Writer writer;
    writer.BeginObject().Name("id").Text(id).Name("task").Text(task);
    writer.Name("accept").Boolean(accept);
    if (retry_after_s > 0) {
      writer.Name("retryAfter").Integer(retry_after_s);
    }
    writer.EndObject();
    return Uplink{Topic(name, "up/confirm"), std::move(writer).text()};
  }

  std::optional<Uplink> Progress(const Name& name, const std::string& id, const Downlink& download,
                                 std::string_view state, int percent, int code) const override {
    json::Writer writer;
    writer.BeginObject();
    if (!id.empty()) {
      writer.Name("id").Text(id);
    }
    writer.Name("task").Text(download.task).Name("component").Text(download.component);
    writer.Name("attempt").Integer(download.attempt).Name("state").Text(state);
    if (percent >= 0) {
      writer.Name("percent").Integer(percent);
    }
    if (code != 0) {
      writer.Name("code").Integer(code);
    }
    writer.EndObject();
    return Uplink{Topic(name, "up/progress"), std::move(writer).text(), !id.empty()};
  }

  std::optional<Uplink> Blocks(const Name& name, const BlockRequest& request) const override {
    json::Writer writer;
    writer.BeginObject().Name("task").Text(request.task).Name("component").Text(request.component);
    writer.Name("file").Integer(request.file).Name("ref").Text(request.ref);
    writer.Name("offset").Integer(request.offset).Name("length").Integer(request.length);
    writer.Name("count").Integer(request.count).EndObject();
    return Uplink{Topic(name, "up/block"), std::move(writer).text(), false};
  }
};

}  // namespace

const Dialect& NativeDialect() {
  static const Native native;
  return native;
}

}  // namespace ota::fleet
