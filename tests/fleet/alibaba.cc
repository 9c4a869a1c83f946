// Alibaba's dialect from the side of a device with LinkSDK: subscribes to nothing, nothing that it
// says is answered, files over HTTP. Version and download are those of the module that the
// device's one component is; `default` is not named.
#include "fleet/dialect.h"
#include "fleet/members.h"

namespace ota::fleet {
namespace {

namespace json = dialect::json;

constexpr std::size_t kMaxDownlinkBytes = 65536;
constexpr std::string_view kDefault = "default";

class Alibaba final : public Dialect {
 public:
  std::string_view User() const override { return "{device}&{product}"; }
  std::string_view ClientId() const override {
    return "{product}.{device}|timestamp=2524608000000,_v=sdk-c-4.2.0,securemode=3,"
           "signmethod=hmacsha256|";
  }
  bool NamesTasks() const override { return false; }
  std::vector<std::string> Filters(const Name&) const override { return {}; }

  Downlink Decode(const Name& name, std::string_view topic,
                  std::string_view payload) const override {
    Downlink downlink;
    if (topic != Topic("upgrade", name)) {
      downlink.problem = "a message of another topic: " + std::string(topic);
      return downlink;
    }
    const auto value = json::Parse(payload, kMaxDownlinkBytes);
    const auto* push = value ? value->As<json::Object>() : nullptr;
    const auto* found = push != nullptr ? Find<json::Object>(*push, "data") : nullptr;
    if (found == nullptr || Text(*push, "code") != "1000") {
      downlink.problem = "malformed push";
      return downlink;
    }
    downlink.kind = Downlink::Kind::kDownload;
    downlink.to = downlink.task = Text(*found, "version");
    downlink.component = Text(*found, "module");
    if (downlink.component.empty()) {
      downlink.component = kDefault;
    }
    const bool sha256 = Text(*found, "signMethod") == "SHA256";
    downlink.files.push_back(
        {Text(*found, "url"), sha256 ? Text(*found, "sign") : "", Integer(*found, "size")});
    if (downlink.to.empty() || downlink.files.front().url.empty() ||
        downlink.files.front().bytes < 1 || Text(*found, "sign").empty()) {
      downlink.problem = "push without version, url, size or sign";
    }
    return downlink;
  }

  Uplink Version(const Name& name, const VersionReport& report) const override {
    const auto& [module, version] = report.components.front();
    json::Writer writer;
    Begin(writer, report.id).Name("version").Text(version);
    return {Topic("inform", name), End(writer, module), false};
  }

  std::optional<Uplink> Confirm(const Name&, const std::string&, const std::string&, bool,
                                std::int64_t) const override {
    return std::nullopt;
  }

  std::optional<Uplink> Progress(const Name& name, const std::string& id, const Downlink& download,
                                 std::string_view state, int percent, int code) const override {
    if (percent < 0 && state != "failed") {
      return std::nullopt;  // it has steps for the download only
    }
    json::Writer writer;
    Begin(writer, id).Name("step").Text(std::to_string(code != 0 ? code : percent));
    writer.Name("desc").Text("");
    return Uplink{Topic("progress", name), End(writer, download.component), false};
  }

  std::optional<Uplink> Blocks(const Name&, const BlockRequest&) const override {
    return std::nullopt;
  }

 private:
  static std::string Topic(std::string_view leaf, const Name& name) {
    return "/ota/device/" + std::string(leaf) + "/" + name.product + "/" + name.device;
  }

  static json::Writer& Begin(json::Writer& writer, const std::string& id) {
    return writer.BeginObject().Name("id").Text(id).Name("params").BeginObject();
  }

  static std::string End(json::Writer& writer, const std::string& module) {
    if (module != kDefault) {
      writer.Name("module").Text(module);
    }
    return std::move(writer.EndObject().EndObject()).text();
  }
};

}  // namespace

const Dialect& AlibabaDialect() {
  static const Alibaba alibaba;
  return alibaba;
}

}  // namespace ota::fleet
