// The dialect of devices that were made for EnOS or DECADA: requests and replies under
// /sys/PRODUCT/DEVICE/ota/device/. enos.md is its contract.
#include "dialect/enos.h"

#include <algorithm>
#include <utility>

#include "dialect/envelope.h"
#include "dialect/utf8.h"

namespace ota::dialect::enos {
namespace {

constexpr std::string_view kRoot = "ota/device/";
constexpr int kRefused = -5;
constexpr std::int64_t kOk = 200;
constexpr std::int64_t kLeastOwnCode = 2000;  // of the device's own: it does not want it
// When a device that had nobody listening is told again.
constexpr core::seconds kTellAgain{300};

struct Row {
  std::string_view name;
  Direction direction;
  std::optional<UplinkKind> kind;
};

constexpr Row kTopics[] = {
    {"inform", Direction::kUp, UplinkKind::kVersion},
    {"progress", Direction::kUp, UplinkKind::kProgress},
    {"getversion", Direction::kUp, UplinkKind::kQuery},
    {"upgrade_reply", Direction::kUp, UplinkKind::kConfirm},
    {"upgrade", Direction::kDown, {}},
    {"inform_reply", Direction::kDown, {}},
    {"progress_reply", Direction::kDown, {}},
    {"getversion_reply", Direction::kDown, {}},
};

std::string Topic(const core::DeviceKey& device, std::string_view name) {
  return "/sys/" + device.product + "/" + device.device + "/" + std::string(kRoot) +
         std::string(name);
}

// The device answers the upgrade, if it does at all: when its handler is done, or at once because
// there was none.
tl::expected<core::UplinkBody, DecodeError> ReadAnswer(const Envelope& envelope) {
  const auto code = IntegerOf(envelope.Find("code"));
  if (!code) {
    return envelope.Fail("code: must be an integer");
  }
  const std::string message = LineOf(envelope.Find("message"));
  const std::string said = OneLine(CutCharacters(
      "upgrade_reply " + std::to_string(*code) + (message.empty() ? "" : ": " + message), 256));
  if (*code >= kLeastOwnCode) {
    core::Progress progress;
    progress.state = core::ProgressState::kFailed;
    progress.code = kRefused;
    progress.message = said;
    return progress;
  }
  core::Confirm confirm;
  confirm.accept = *code == kOk;
  if (!confirm.accept) {
    confirm.reason = said;
    confirm.retry_after = kTellAgain;
  }
  return confirm;
}

void WriteFirmware(json::Writer& out, const core::Download& download) {
  const core::File& file = download.files.front();
  out.BeginObject().Name("version").Text(download.to).Name("sign").Text(file.sha256);
  out.Name("signMethod").Text("sha256").Name("fileUrl").Text(download.urls.front());
  out.Name("fileSize").Integer(file.bytes).EndObject();
}

bool CanSay(const core::Download& download) {
  return download.files.size() == 1 && download.urls.size() == 1 &&
         download.files.front().bytes <= kWire.http_bytes;
}

tl::expected<Encoded, TooLarge> Bounded(Encoded encoded, const Limits& limits) {
  if (encoded.payload.size() > limits.max_bytes) {
    return tl::unexpected(TooLarge{encoded.payload.size(), limits.max_bytes});
  }
  return encoded;
}

tl::expected<Encoded, TooLarge> EncodeReply(const core::DeviceKey& device, core::Reply reply,
                                            const Limits& limits) {
  constexpr std::size_t kMaxMessage = 256;
  const bool query = reply.to == UplinkName(UplinkKind::kQuery);
  std::string_view name;
  if (query) {
    name = "getversion_reply";
  } else if (reply.to == UplinkName(UplinkKind::kVersion)) {
    name = "inform_reply";
  } else if (reply.to == UplinkName(UplinkKind::kProgress)) {
    name = "progress_reply";
  }
  if (name.empty() || !reply.id) {
    return Encoded{};  // without the id nobody can tell what it answers
  }
  json::Writer out;
  out.BeginObject().Name("id").Text(*reply.id);
  out.Name("code").Integer(static_cast<int>(reply.code)).Name("data");
  if (query) {
    out.BeginArray();
    if (reply.download && CanSay(*reply.download)) {
      WriteFirmware(out, *reply.download);
    }
    out.EndArray();
  } else {
    out.BeginObject().EndObject();
  }
  if (!reply.message.empty()) {
    out.Name("message").Text(CutBytes(reply.message, kMaxMessage));
  }
  out.EndObject();
  return Bounded({Topic(device, name), std::move(out).text(), 1, true}, limits);
}

}  // namespace

TopicClass Classify(std::string_view text) {
  text.remove_prefix(kPrefixes[0].size());
  const std::string_view product = TakeLevel(text);
  const std::string_view device = TakeLevel(text);
  TopicClass topic;
  if (!IsName(product) || !IsName(device) || !text.starts_with(kRoot)) {
    return topic;
  }
  topic.ours = true;
  topic.product = product;
  topic.device = device;
  text.remove_prefix(kRoot.size());
  const auto* const row = std::ranges::find(kTopics, text, &Row::name);
  if (row != std::end(kTopics)) {
    topic.direction = row->direction;
    topic.kind = row->kind;
  }
  return topic;
}

tl::expected<core::Uplink, DecodeError> Decode(UplinkKind kind, std::string_view payload) {
  auto envelope = Envelope::Read(payload);
  if (!envelope) {
    return tl::unexpected(envelope.error());
  }
  core::Uplink uplink;
  uplink.id = envelope->id();
  if (kind == UplinkKind::kVersion) {
    auto version = ReadVersion(*envelope);
    if (!version) {
      return tl::unexpected(version.error());
    }
    core::VersionReport report;
    report.components.emplace("", *std::move(version));
    report.full = false;
    uplink.body = std::move(report);
  } else if (kind == UplinkKind::kProgress) {
    auto progress = ReadStep(*envelope, std::numeric_limits<int>::min());
    if (!progress) {
      return tl::unexpected(progress.error());
    }
    uplink.body = *std::move(progress);
  } else if (kind == UplinkKind::kQuery) {
    core::VersionReport report;
    report.query.emplace();
    report.request = true;
    report.full = false;
    uplink.body = std::move(report);
  } else {
    auto body = ReadAnswer(*envelope);
    if (!body) {
      return tl::unexpected(body.error());
    }
    uplink.body = *std::move(body);
  }
  return uplink;
}

tl::expected<Encoded, TooLarge> Encode(const core::DeviceKey& device,
                                       const core::Downlink& downlink, const Limits& limits) {
  if (const auto* reply = std::get_if<core::Reply>(&downlink)) {
    return EncodeReply(device, *reply, limits);
  }
  const auto* download = std::get_if<core::Download>(&downlink);
  if (download == nullptr) {
    return Encoded{};  // neither an offer nor a cancel can be said
  }
  if (!CanSay(*download)) {
    return tl::unexpected(TooLarge{0, limits.max_bytes});
  }
  json::Writer out;
  out.BeginObject().Name("id").Text(PushId(download->task, download->component, download->attempt));
  out.Name("version").Text("1.0").Name("method").Text("ota.device.upgrade").Name("params");
  WriteFirmware(out, *download);
  out.EndObject();
  return Bounded({Topic(device, "upgrade"), std::move(out).text(), 1, true}, limits);
}

Encoded EncodeBlock(const core::DeviceKey&, const core::BlockGrant&, std::int64_t, std::string_view,
                    int) {
  return {};  // there is no file over MQTT
}

}  // namespace ota::dialect::enos
