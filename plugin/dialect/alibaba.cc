// The dialect of devices that were made for Alibaba Cloud's IoT Platform: version and progress
// under /ota/device/, requests and files under /sys/. alibaba.md is its contract. What is written
// is read on the other side by searching for `"name":`, so spelling and order of the members are
// part of it.
#include "dialect/alibaba.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "core/manifest.h"
#include "dialect/envelope.h"
#include "dialect/utf8.h"

namespace ota::dialect::alibaba {
namespace {

using core::ReplyCode;

constexpr int kLeastCode = -4;
constexpr int kMaxBlock = 131072;
constexpr std::size_t kMaxToken = 256;  // bytes of a fileToken
constexpr int kStreamFile = 1;          // `streamFileId`: a stream has one file

// ---------------------------------------------------------------- topics

struct Row {
  std::string_view name;
  Direction direction;
  std::optional<UplinkKind> kind;
};

// /ota/device/NAME/PRODUCT/DEVICE
constexpr Row kDeviceTopics[] = {
    {"inform", Direction::kUp, UplinkKind::kVersion},
    {"progress", Direction::kUp, UplinkKind::kProgress},
    {"request", Direction::kUp, UplinkKind::kVersion},  // of old SDKs: a version that asks
    {"upgrade", Direction::kDown, {}},
};

// /sys/PRODUCT/DEVICE/NAME
constexpr Row kThingTopics[] = {
    {"thing/ota/firmware/get", Direction::kUp, UplinkKind::kQuery},
    {"thing/ota/firmware/get_reply", Direction::kDown, {}},
    {"thing/file/download", Direction::kUp, UplinkKind::kBlock},
    {"thing/file/download_reply", Direction::kDown, {}},
};
constexpr std::string_view kThingRoots[] = {"thing/ota/", "thing/file/"};

template <std::size_t n>
void Find(const Row (&rows)[n], std::string_view name, TopicClass& topic) {
  const auto* const row = std::ranges::find(rows, name, &Row::name);
  if (row != std::end(rows)) {
    topic.direction = row->direction;
    topic.kind = row->kind;
  }
}

bool Name(std::string_view product, std::string_view device, TopicClass& topic) {
  if (!IsName(product) || !IsName(device)) {
    return false;
  }
  topic.product = product;
  topic.device = device;
  return true;
}

std::string UpgradeTopic(const core::DeviceKey& device) {
  return "/ota/device/upgrade/" + device.product + "/" + device.device;
}

std::string ThingTopic(const core::DeviceKey& device, std::string_view name) {
  return "/sys/" + device.product + "/" + device.device + "/thing/" + std::string(name);
}

// ---------------------------------------------------------------- reading

// The module, empty when it is not said. One that cannot be a component's name is nobody's.
std::string ModuleOf(const Envelope& envelope) {
  return TextOf(envelope.Param("module")).value_or("");
}

tl::expected<core::UplinkBody, DecodeError> ReadInform(const Envelope& envelope) {
  auto version = ReadVersion(envelope);
  if (!version) {
    return tl::unexpected(version.error());
  }
  std::string module = ModuleOf(envelope);
  if (module.empty()) {
    module = kMainComponent;
  } else if (!IsName(module)) {
    return envelope.Fail("params.module: must be 1 to 64 of A-Z a-z 0-9 . _ : -");
  }
  core::VersionReport report;
  report.components.emplace(std::move(module), *std::move(version));
  report.full = false;  // one module in a message
  return report;
}

tl::expected<core::UplinkBody, DecodeError> ReadProgress(const Envelope& envelope) {
  auto progress = ReadStep(envelope, kLeastCode);
  if (!progress) {
    return tl::unexpected(progress.error());
  }
  progress->component = ModuleOf(envelope);
  if (!progress->component.empty() && !IsName(progress->component)) {
    return envelope.Fail("params.module: must be 1 to 64 of A-Z a-z 0-9 . _ : -");
  }
  return *std::move(progress);
}

tl::expected<core::UplinkBody, DecodeError> ReadQuery(const Envelope& envelope) {
  core::VersionReport report;
  report.query = OneLine(CutBytes(ModuleOf(envelope), kMaxNameBytes + 1));
  if (report.query->empty()) {
    report.query = std::string(kMainComponent);
  }
  report.request = true;
  report.full = false;
  return report;
}

const json::Value* Inside(const json::Value* outer, std::string_view name) {
  const auto* object = outer == nullptr ? nullptr : outer->As<json::Object>();
  return object == nullptr ? nullptr : json::Find(*object, name);
}

tl::expected<core::UplinkBody, DecodeError> ReadBlock(const Envelope& envelope) {
  const json::Value* file = envelope.Param("fileInfo");
  const json::Value* block = envelope.Param("fileBlock");
  const auto stream = IntegerOf(Inside(file, "streamId"));
  const auto stream_file = IntegerOf(Inside(file, "fileId"));
  const auto size = IntegerOf(Inside(block, "size"));
  const auto offset = IntegerOf(Inside(block, "offset"));
  if (!stream || *stream < 0 || !stream_file) {
    return envelope.Fail("params.fileInfo: streamId and fileId must be integers");
  }
  if (!size || *size < 1 || *size > kMaxBlock) {
    return envelope.Fail("params.fileBlock.size: must be an integer from 1 to 131072");
  }
  if (!offset || *offset < 0) {
    return envelope.Fail("params.fileBlock.offset: must be an integer from 0");
  }
  if (*offset > kMaxBlockFileBytes) {
    return envelope.Fail("params.fileBlock.offset: a file over MQTT has at most 16777216 bytes",
                         ReplyCode::kOffset);
  }
  if (*stream_file != kStreamFile) {
    return envelope.Fail("params.fileInfo.fileId: there is no such file", ReplyCode::kNotFound);
  }
  core::BlockRequest request;
  request.file_id = *stream;
  request.offset = *offset;
  request.length = static_cast<int>(*size);
  request.ref = TextOf(envelope.Param("fileToken")).value_or("");
  if (request.ref.size() > kMaxToken || HasControl(request.ref)) {
    return envelope.Fail("params.fileToken: must be at most 256 bytes without control characters");
  }
  return request;
}

// ---------------------------------------------------------------- writing

// Whether the software of devices, which takes the first text that looks like a member, would take
// this tag for one.
bool IsMember(std::string_view name) {
  constexpr std::string_view kMembers[] = {
      "code",       "data",     "digestsign",   "dProtocol", "extData", "fileMd5",
      "fileName",   "fileSign", "fileSize",     "fileUrl",   "files",   "id",
      "isDiff",     "md5",      "message",      "module",    "params",  "sign",
      "signMethod", "size",     "streamFileId", "streamId",  "url",     "version",
  };
  return std::ranges::find(kMembers, name) != std::end(kMembers);
}

void WriteTags(json::Writer& out, const std::map<std::string, std::string>& tags) {
  bool open = false;
  for (const auto& [name, value] : tags) {
    if (IsMember(name)) {
      continue;
    }
    if (!open) {
      out.Name("extData").BeginObject();
      open = true;
    }
    out.Name(name).Text(value);
  }
  if (open) {
    out.EndObject();
  }
}

// The order is that of the platform, by which the simplest devices read it.
std::string WriteData(const core::Download& download, bool tags) {
  json::Writer out;
  const bool http = !download.urls.empty();
  const bool single = download.files.size() == 1;
  const core::File& first = download.files.front();
  out.BeginObject();
  if (single) {
    out.Name("size").Integer(first.bytes);
    if (!http) {
      out.Name("streamId").Integer(first.id);
    }
  }
  if (!download.signature.empty()) {
    out.Name("digestsign").Text(core::Base64(download.signature));
  }
  if (tags) {
    WriteTags(out, download.tags);
  }
  if (download.component != kMainComponent) {
    out.Name("module").Text(download.component);
  }
  if (single) {
    out.Name("sign").Text(first.md5);
  } else {
    out.Name("files").BeginArray();
    for (std::size_t i = 0; i < download.files.size(); ++i) {
      const core::File& file = download.files[i];
      out.BeginObject().Name("fileSize").Integer(file.bytes).Name("fileName").Text(file.name);
      if (i < download.urls.size()) {
        out.Name("fileUrl").Text(download.urls[i]);
      }
      out.Name("fileMd5").Text(file.md5).Name("fileSign").Text(file.md5).EndObject();
    }
    out.EndArray();
  }
  if (!http) {
    out.Name("dProtocol").Text("mqtt");
  }
  out.Name("version").Text(download.to).Name("signMethod").Text("Md5");
  if (single) {
    if (http) {
      out.Name("url").Text(download.urls.front());
    } else {
      out.Name("streamFileId").Integer(kStreamFile);
    }
  }
  if (download.package == core::PackageKind::kDelta) {
    out.Name("isDiff").Integer(1);
  }
  if (single) {
    out.Name("md5").Text(first.md5);
  }
  out.EndObject();
  return std::move(out).text();
}

std::string WriteAnswer(const core::Reply& reply, std::string_view data) {
  json::Writer out;
  out.BeginObject();
  if (reply.id) {
    out.Name("id").Text(*reply.id);
  }
  out.Name("code").Integer(static_cast<int>(reply.code)).Name("data").Raw(data);
  if (!reply.message.empty()) {
    out.Name("message").Text(reply.message);
  }
  out.EndObject();
  return std::move(out).text();
}

std::string WritePush(std::string_view data, core::Instant now) {
  json::Writer out;
  out.BeginObject().Name("code").Text("1000").Name("data").Raw(data);
  out.Name("id").Integer(now.time_since_epoch().count()).Name("message").Text("success");
  out.EndObject();
  return std::move(out).text();
}

// Writes with tags, or without when it is too long with them.
template <typename Write>
tl::expected<std::string, TooLarge> WithData(const core::Download& download, const Limits& limits,
                                             Write write) {
  if (download.files.empty()) {
    return tl::unexpected(TooLarge{0, limits.max_bytes});
  }
  std::string payload = write(WriteData(download, true));
  if (payload.size() > limits.max_bytes && !download.tags.empty()) {
    payload = write(WriteData(download, false));
  }
  if (payload.size() > limits.max_bytes) {
    return tl::unexpected(TooLarge{payload.size(), limits.max_bytes});
  }
  return payload;
}

// CRC-16/ARC: polynomial 0x8005 reflected, from 0, not inverted.
constexpr std::array<std::uint16_t, 256> kCrc = [] {
  std::array<std::uint16_t, 256> table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte) {
    auto crc = static_cast<unsigned>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0xA001U : crc >> 1U;
    }
    table[byte] = static_cast<std::uint16_t>(crc);
  }
  return table;
}();

// Length of the header, the header, the file's bytes, their CRC with the low byte first.
std::string Frame(std::string_view header, std::string_view bytes) {
  unsigned crc = 0;
  for (const char c : bytes) {
    crc = (crc >> 8U) ^ kCrc[(crc ^ static_cast<unsigned char>(c)) & 0xFFU];
  }
  std::string frame;
  frame.reserve(header.size() + bytes.size() + 4);
  frame += static_cast<char>(header.size() >> 8U & 0xFFU);
  frame += static_cast<char>(header.size() & 0xFFU);
  frame += header;
  frame += bytes;
  frame += static_cast<char>(crc & 0xFFU);
  frame += static_cast<char>(crc >> 8U & 0xFFU);
  return frame;
}

std::string WriteBlockError(const core::Reply& reply) {
  json::Writer out;
  out.BeginObject();
  if (reply.id) {
    out.Name("id").Text(*reply.id);
  }
  out.Name("code").Integer(static_cast<int>(reply.code)).Name("msg").Text(reply.message);
  out.EndObject();
  return Frame(out.text(), {});
}

// Made for an uplink that nobody has read: devices would take it for the answer to another one.
bool IsBlind(const core::Reply& reply) {
  return !reply.id &&
         (reply.code == ReplyCode::kTooLarge || reply.code == ReplyCode::kTooMany ||
          reply.code == ReplyCode::kForbidden || reply.code == ReplyCode::kUnavailable);
}

tl::expected<Encoded, TooLarge> EncodeReply(const core::DeviceKey& device, const core::Reply& reply,
                                            const Limits& limits) {
  if (IsBlind(reply)) {
    return Encoded{};
  }
  if (reply.to == UplinkName(UplinkKind::kBlock)) {
    // The block is the answer. Where there will be one later, silence is: after an error devices
    // ask a few times at once and then fail, without an answer they ask again in ten seconds.
    if (reply.code == ReplyCode::kOk || reply.code == ReplyCode::kUnavailable ||
        reply.code == ReplyCode::kTooMany) {
      return Encoded{};
    }
    return Encoded{ThingTopic(device, "file/download_reply"), WriteBlockError(reply), 0, false};
  }
  if (reply.to != UplinkName(UplinkKind::kQuery)) {
    return Encoded{};
  }
  Encoded encoded{ThingTopic(device, "ota/firmware/get_reply"), WriteAnswer(reply, "{}"), 1, true};
  if (reply.download) {
    auto payload = WithData(*reply.download, limits,
                            [&reply](std::string_view data) { return WriteAnswer(reply, data); });
    if (!payload) {
      return tl::unexpected(payload.error());
    }
    encoded.payload = *std::move(payload);
  }
  return encoded;
}

}  // namespace

TopicClass Classify(std::string_view text) {
  TopicClass topic;
  if (text.starts_with("/ota/device/")) {
    topic.ours = true;
    text.remove_prefix(std::string_view("/ota/device/").size());
    const std::string_view name = TakeLevel(text);
    const std::string_view product = TakeLevel(text);
    if (Name(product, text, topic)) {
      Find(kDeviceTopics, name, topic);
    }
    return topic;
  }
  const bool sys = text.starts_with("/sys/");
  topic.system = true;
  for (const std::string_view root : kPrefixes) {
    if (text.starts_with(root)) {
      text.remove_prefix(root.size());
      break;
    }
  }
  const std::string_view product = TakeLevel(text);
  const std::string_view device = TakeLevel(text);
  if (!Name(product, device, topic) || !sys) {
    return topic;
  }
  const auto begins = [text](std::string_view root) { return text.starts_with(root); };
  if (std::ranges::any_of(kThingRoots, begins)) {
    topic.system = false;
    topic.ours = true;
    Find(kThingTopics, text, topic);
  }
  return topic;
}

tl::expected<core::Uplink, DecodeError> Decode(UplinkKind kind, std::string_view payload) {
  auto envelope = Envelope::Read(payload);
  if (!envelope) {
    return tl::unexpected(envelope.error());
  }
  auto body = kind == UplinkKind::kVersion    ? ReadInform(*envelope)
              : kind == UplinkKind::kProgress ? ReadProgress(*envelope)
              : kind == UplinkKind::kBlock    ? ReadBlock(*envelope)
                                              : ReadQuery(*envelope);
  if (!body) {
    return tl::unexpected(body.error());
  }
  core::Uplink uplink;
  uplink.body = *std::move(body);
  // Versions and progress are not answered, so their ids mean nothing: progress that differs in
  // nothing else is one report.
  if (kind == UplinkKind::kQuery || kind == UplinkKind::kBlock) {
    uplink.id = envelope->id();
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
  auto payload = WithData(*download, limits,
                          [&limits](std::string_view data) { return WritePush(data, limits.now); });
  if (!payload) {
    return tl::unexpected(payload.error());
  }
  return Encoded{UpgradeTopic(device), *std::move(payload), 1, true};
}

Encoded EncodeBlock(const core::DeviceKey& device, const core::BlockGrant& grant,
                    std::int64_t offset, std::string_view bytes, int qos) {
  json::Writer out;
  out.BeginObject();
  if (grant.id) {
    out.Name("id").Text(*grant.id);
  }
  out.Name("code").Integer(static_cast<int>(ReplyCode::kOk)).Name("data").BeginObject();
  if (!grant.ref.empty()) {
    out.Name("fileToken").Text(grant.ref);
  }
  out.Name("fileLength").Integer(grant.file.bytes);
  out.Name("bSize").Integer(static_cast<std::int64_t>(bytes.size()));
  out.Name("bOffset").Integer(offset).EndObject().EndObject();
  return {ThingTopic(device, "file/download_reply"), Frame(out.text(), bytes), std::min(qos, 1),
          true};
}

}  // namespace ota::dialect::alibaba
