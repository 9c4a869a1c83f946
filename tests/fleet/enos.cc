// EnOS's dialect, which is DECADA's too, from the side of a device with its SDK: subscribes to the
// replies only, files over HTTP, one component.
#include "fleet/dialect.h"
#include "fleet/members.h"

namespace ota::fleet {
namespace {

namespace json = dialect::json;

constexpr std::size_t kMaxDownlinkBytes = 65536;

class Enos final : public Dialect {
 public:
  std::string_view User() const override { return "{device}&{product}"; }
  std::string_view ClientId() const override {
    return "{device}|securemode=2,signmethod=sha256,timestamp=1795219243985|";
  }
  bool NamesTasks() const override { return false; }
  std::vector<std::string> Filters(const Name& name) const override {
    return {Topic(name, "inform_reply"), Topic(name, "progress_reply")};
  }

  Downlink Decode(const Name& name, std::string_view topic,
                  std::string_view payload) const override {
    Downlink downlink;
    const auto value = json::Parse(payload, kMaxDownlinkBytes);
    const auto* object = value ? value->As<json::Object>() : nullptr;
    if (object == nullptr) {
      downlink.problem = "malformed message";
    } else if (topic == Topic(name, "upgrade")) {
      ReadPush(*object, downlink);
    } else if (topic == Topic(name, "inform_reply") || topic == Topic(name, "progress_reply")) {
      downlink.kind = Downlink::Kind::kReply;
      downlink.id = Text(*object, "id");
      downlink.code = static_cast<int>(Integer(*object, "code"));
      if (downlink.code != 200) {
        downlink.problem =
            "reply " + std::to_string(downlink.code) + ": " + Text(*object, "message");
      }
    } else {
      downlink.problem = "a message of another topic: " + std::string(topic);
    }
    return downlink;
  }

  Uplink Version(const Name& name, const VersionReport& report) const override {
    json::Writer writer;
    writer.BeginObject().Name("id").Text(report.id).Name("version").Text("1.0");
    writer.Name("method").Text("ota.inform").Name("params").BeginObject();
    writer.Name("version").Text(report.components.front().second).EndObject().EndObject();
    return {Topic(name, "inform"), std::move(writer).text()};
  }

  std::optional<Uplink> Confirm(const Name&, const std::string&, const std::string&, bool,
                                std::int64_t) const override {
    return std::nullopt;
  }

  std::optional<Uplink> Progress(const Name& name, const std::string& id, const Downlink&,
                                 std::string_view state, int percent, int code) const override {
    if (percent < 0 && state != "failed") {
      return std::nullopt;  // it has steps for the download only
    }
    json::Writer writer;
    writer.BeginObject().Name("id").Text(id).Name("version").Text("1.0");
    writer.Name("method").Text("ota.progress").Name("params").BeginObject();
    writer.Name("step").Text(std::to_string(code != 0 ? code : percent)).Name("desc").Text(state);
    writer.EndObject().EndObject();
    return Uplink{Topic(name, "progress"), std::move(writer).text()};
  }

  std::optional<Uplink> Blocks(const Name&, const BlockRequest&) const override {
    return std::nullopt;
  }

 private:
  static std::string Topic(const Name& name, std::string_view leaf) {
    return "/sys/" + name.product + "/" + name.device + "/ota/device/" + std::string(leaf);
  }

  static void ReadPush(const json::Object& object, Downlink& downlink) {
    const auto* params = Find<json::Object>(object, "params");
    if (params == nullptr) {
      downlink.problem = "push without params";
      return;
    }
    downlink.kind = Downlink::Kind::kDownload;
    downlink.component = "default";
    downlink.to = downlink.task = Text(*params, "version");
    const bool sha256 = Text(*params, "signMethod") == "sha256";
    downlink.files.push_back({Text(*params, "fileUrl"), sha256 ? Text(*params, "sign") : "",
                              Integer(*params, "fileSize")});
    if (downlink.to.empty() || downlink.files.front().url.empty() ||
        downlink.files.front().bytes < 1 || Text(*params, "sign").empty()) {
      downlink.problem = "push without version, fileUrl, fileSize or sign";
    }
  }
};

}  // namespace

const Dialect& EnosDialect() {
  static const Enos enos;
  return enos;
}

}  // namespace ota::fleet
