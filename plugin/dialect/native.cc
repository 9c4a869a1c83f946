// The native dialect: topics under ota/v1/, JSON payloads. README.md is its contract; the clause
// ids are those of its text.
#include "dialect/native.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/manifest.h"
#include "core/names.h"
#include "dialect/json.h"
#include "dialect/utf8.h"

namespace ota::dialect::native {
namespace {

using core::ReplyCode;
using json::Value;

constexpr std::size_t kMaxComponents = 32;
constexpr std::size_t kMaxTextCharacters = 256;  // of `message` and `reason` [N-24]
constexpr std::size_t kMaxEchoedTaskBytes = 64;  // of a malformed task that a reply repeats
constexpr std::int64_t kMaxSeconds = std::numeric_limits<std::int32_t>::max();
constexpr int kMaxFiles = 5;
constexpr std::int64_t kMaxGrantBytes = 262144;  // of one block request [N-28]

// ---------------------------------------------------------------- reading one member's value

// The value, or the rule that it breaks ("must be an integer from 0 to 100").
template <typename T>
using Read = tl::expected<T, std::string>;

Read<std::int64_t> ReadInteger(const Value& value, std::int64_t min, std::int64_t max) {
  const auto* integer = value.As<std::int64_t>();
  if (integer == nullptr || *integer < min || *integer > max) {
    return tl::unexpected("must be an integer from " + std::to_string(min) + " to " +
                          std::to_string(max));
  }
  return *integer;
}

Read<bool> ReadBoolean(const Value& value) {
  const auto* boolean = value.As<bool>();
  if (boolean == nullptr) {
    return tl::unexpected(std::string("must be true or false"));
  }
  return *boolean;
}

Read<std::string> ReadString(const Value& value) {
  const auto* text = value.As<std::string>();
  if (text == nullptr) {
    return tl::unexpected(std::string("must be a string"));
  }
  return *text;
}

// 1 to 64 characters without control characters: versions, ids, boot ids, languages.
Read<std::string> ReadShort(const Value& value) {
  constexpr std::size_t kMax = 64;
  const auto* text = value.As<std::string>();
  if (text == nullptr || text->empty() || CountCharacters(*text) > kMax || HasControl(*text)) {
    return tl::unexpected(
        std::string("must be a string of 1 to 64 characters without control characters"));
  }
  return *text;
}

// What a person reads: one line of at most 256 characters, longer is cut. [N-24]
Read<std::string> ReadLine(const Value& value) {
  return ReadString(value).map(
      [](const std::string& text) { return OneLine(CutCharacters(text, kMaxTextCharacters)); });
}

// Letters and digits and what `more` holds.
bool IsMadeOf(std::string_view text, std::size_t min, std::size_t max, std::string_view more) {
  const auto allowed = [more](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  };
  return text.size() >= min && text.size() <= max && std::ranges::all_of(text, allowed);
}

Read<std::string> ReadTask(const Value& value) {
  const auto* text = value.As<std::string>();
  if (text == nullptr || !IsMadeOf(*text, 8, 32, "-")) {
    return tl::unexpected(std::string("must be a string of 8 to 32 of A-Z a-z 0-9 -"));
  }
  return *text;
}

Read<std::string> ReadRef(const Value& value) {
  const auto* text = value.As<std::string>();
  if (text == nullptr || !IsMadeOf(*text, 1, 8, "")) {
    return tl::unexpected(std::string("must be a string of 1 to 8 of A-Z a-z 0-9"));
  }
  return *text;
}

auto Integer(std::int64_t min, std::int64_t max) {
  return [min, max](const Value& value) { return ReadInteger(value, min, max); };
}

auto Int(int min, int max) {
  return [min, max](const Value& value) {
    return ReadInteger(value, min, max).map([](std::int64_t i) { return static_cast<int>(i); });
  };
}

auto Seconds(std::int64_t min, std::int64_t max) {
  return [min, max](const Value& value) {
    return ReadInteger(value, min, max).map([](std::int64_t i) { return core::seconds(i); });
  };
}

// ---------------------------------------------------------------- reading one uplink

// One uplink's members. The first *required* member that is wrong becomes `error` and the uplink
// comes to nothing; an *optional* one that is wrong becomes a warning. [N-6]
class Members {
 public:
  explicit Members(const json::Object& object) : object_(object) {}

  // Gives nothing when the member is absent or wrong.
  template <typename Reader>
  auto Optional(std::string_view name, Reader read)
      -> std::optional<typename std::invoke_result_t<Reader, const Value&>::value_type> {
    const Value* value = json::Find(object_, name);
    if (value == nullptr) {
      return std::nullopt;
    }
    auto result = read(*value);
    if (!result) {
      Warn(name, result.error());
      return std::nullopt;
    }
    return *std::move(result);
  }

  // Gives a default value when the member is absent or wrong; `error` is set then.
  template <typename Reader>
  auto Required(std::string_view name, Reader read) ->
      typename std::invoke_result_t<Reader, const Value&>::value_type {
    const Value* value = json::Find(object_, name);
    if (value == nullptr) {
      Fail(ReplyCode::kMalformed, name, "is missing");
      return {};
    }
    auto result = read(*value);
    if (!result) {
      Fail(ReplyCode::kMalformed, name, result.error());
      return {};
    }
    return *std::move(result);
  }

  // A member that may be absent, but may not be wrong: what it selects is never guessed.
  template <typename Reader, typename T>
  T Defaulted(std::string_view name, Reader read, T absent) {
    return json::Find(object_, name) == nullptr ? absent : Required(name, read);
  }

  // A string that names what the platform has given (a task, a component). One that cannot be such
  // a name is of the right type, but there is nothing of that name: 404, and the device forgets it.
  template <typename Reader>
  std::string RequiredName(std::string_view name, Reader read) {
    std::string text = Required(name, ReadString);
    const Value* value = json::Find(object_, name);
    if (!error && !read(*value)) {
      Fail(ReplyCode::kNotFound, name, "there is no such " + std::string(name));
    }
    return text;
  }

  void Warn(std::string_view name, std::string_view rule) {
    warnings.push_back(std::string(name) + ": " + std::string(rule));
  }

  void Fail(ReplyCode code, std::string_view name, std::string_view rule) {
    if (!error) {
      error = DecodeError{code, std::string(name) + ": " + std::string(rule), {}, {}};
    }
  }

  const Value* Find(std::string_view name) const { return json::Find(object_, name); }

  std::optional<DecodeError> error;
  std::vector<std::string> warnings;

 private:
  const json::Object& object_;
};

Read<std::string> ReadName(const Value& value) {
  const auto* text = value.As<std::string>();
  if (text == nullptr || !IsName(*text)) {
    return tl::unexpected(std::string("must be a string of 1 to 64 of A-Z a-z 0-9 . _ : -"));
  }
  return *text;
}

std::map<std::string, std::string> ReadComponents(Members& members) {
  constexpr std::string_view kMember = "components";
  std::map<std::string, std::string> components;
  const Value* value = members.Find(kMember);
  const auto* object = value == nullptr ? nullptr : value->As<json::Object>();
  if (object == nullptr) {
    members.Fail(ReplyCode::kMalformed, kMember,
                 value == nullptr ? "is missing" : "must be an object");
    return components;
  }
  if (object->empty() || object->size() > kMaxComponents) {
    members.Fail(ReplyCode::kMalformed, kMember,
                 "must have 1 to " + std::to_string(kMaxComponents) + " members");
    return components;
  }
  const auto fail = [&members](std::string_view name, std::string_view rule) {
    members.Fail(ReplyCode::kMalformed, "components." + OneLine(CutCharacters(name, kMaxNameBytes)),
                 rule);
  };
  for (const auto& [name, version] : *object) {
    if (!IsName(name)) {
      fail(name, "a name is 1 to 64 of A-Z a-z 0-9 . _ : -");
      return components;
    }
    Read<std::string> read = ReadShort(version);
    if (!read) {
      fail(name, read.error());
      return components;
    }
    components.emplace(name, *std::move(read));
  }
  return components;
}

// Names that are wrong are left out one by one: a trial that is overlooked would pass for success.
std::vector<std::string> ReadTrial(Members& members) {
  constexpr std::string_view kMember = "trial";
  constexpr std::string_view kRule = "must be an array of up to 32 component names";
  std::vector<std::string> trial;
  const Value* value = members.Find(kMember);
  if (value == nullptr) {
    return trial;
  }
  const auto* array = value->As<json::Array>();
  bool right = array != nullptr && array->size() <= kMaxComponents;
  for (std::size_t i = 0; array != nullptr && i < array->size() && trial.size() < kMaxComponents;
       ++i) {
    Read<std::string> name = ReadName((*array)[i]);
    right = right && name.has_value();
    if (name && std::ranges::find(trial, *name) == trial.end()) {
      trial.push_back(*std::move(name));
    }
  }
  if (!right) {
    members.Warn(kMember, kRule);
  }
  return trial;
}

core::UplinkBody ReadVersion(Members& members) {
  core::VersionReport report;
  report.components = ReadComponents(members);
  report.task = members.Optional("task", ReadShort);  // it is told to forget whatever it is
  report.request = members.Optional("request", ReadBoolean).value_or(false);
  report.boot_id = members.Optional("bootId", ReadShort);
  report.trial = ReadTrial(members);
  report.battery = members.Optional("battery", Int(0, 100));
  report.signal = members.Optional("signal", Int(-150, 0));
  report.free_bytes = members.Optional("freeBytes", Integer(0, json::kMaxInteger));
  report.lang = members.Optional("lang", ReadShort);
  report.max_bytes = members.Optional("maxBytes", Int(512, 65536));
  report.sleep = members.Optional("sleep", Seconds(0, kMaxSeconds));
  report.full = members.Optional("full", ReadBoolean);
  return report;
}

core::UplinkBody ReadConfirm(Members& members) {
  core::Confirm confirm;
  confirm.task = members.RequiredName("task", ReadTask);
  confirm.accept = members.Required("accept", ReadBoolean);
  confirm.reason = members.Optional("reason", ReadLine).value_or("");
  confirm.retry_after = members.Optional("retryAfter", Seconds(60, 604800));
  return confirm;
}

Read<core::ProgressState> ReadState(const Value& value) {
  const auto* text = value.As<std::string>();
  const auto state = text == nullptr ? std::nullopt : core::ProgressStateFrom(*text);
  if (!state) {
    return tl::unexpected(std::string(
        "must be one of downloading, downloaded, verifying, waiting, installing, rebooting, "
        "rolledBack, failed"));
  }
  return *state;
}

core::UplinkBody ReadProgress(Members& members) {
  core::Progress progress;
  progress.task = members.RequiredName("task", ReadTask);
  progress.component = members.RequiredName("component", ReadName);
  progress.state = members.Required("state", ReadState);
  progress.attempt = members.Optional("attempt", Int(1, std::numeric_limits<int>::max()));
  progress.percent = members.Optional("percent", Int(0, 100));
  progress.code = members.Optional("code", Int(std::numeric_limits<int>::min(), -1));
  if (progress.state != core::ProgressState::kFailed) {
    progress.code.reset();
  } else if (!progress.code) {
    progress.code = -1;
  }
  const auto message = members.Optional("message", ReadLine);
  const auto reason = members.Optional("reason", ReadLine);
  progress.message = message ? *message : reason.value_or("");
  progress.retry_after = members.Optional("retryAfter", Seconds(0, kMaxSeconds));
  progress.eta = members.Optional("eta", Seconds(0, kMaxSeconds));
  return progress;
}

core::UplinkBody ReadBlock(Members& members) {
  core::BlockRequest request;
  request.task = members.RequiredName("task", ReadTask);
  request.component = members.RequiredName("component", ReadName);
  const auto file =
      members.Defaulted("file", Integer(-json::kMaxInteger, json::kMaxInteger), std::int64_t{0});
  if (file < 0 || file >= kMaxFiles) {
    members.Fail(ReplyCode::kNotFound, "file", "there is no such file");
  } else {
    request.file = static_cast<int>(file);
  }
  request.ref = members.Required("ref", ReadRef);
  request.offset = members.Required("offset", Integer(0, json::kMaxInteger));
  request.length = members.Required("length", Int(128, 65536));
  request.count = members.Defaulted("count", Int(1, 64), 1);
  if (std::int64_t{request.length} * request.count > kMaxGrantBytes) {
    members.Fail(ReplyCode::kMalformed, "count",
                 "count x length must be at most " + std::to_string(kMaxGrantBytes));
  }
  return request;
}

// ---------------------------------------------------------------- writing

void WriteOptional(json::Writer& out, std::string_view name, std::string_view text) {
  if (!text.empty()) {
    out.Name(name).Text(text);
  }
}

template <typename Number>
void WriteOptional(json::Writer& out, std::string_view name, const std::optional<Number>& number) {
  if (number) {
    out.Name(name).Integer(*number);
  }
}

void WriteOptional(json::Writer& out, std::string_view name,
                   const std::optional<core::seconds>& duration) {
  if (duration) {
    out.Name(name).Integer(duration->count());
  }
}

void WriteNow(json::Writer& out, core::Instant now) {
  out.Name("now").Integer(
      std::chrono::duration_cast<core::seconds>(now.time_since_epoch()).count());
}

void WriteConditions(json::Writer& out, const core::Conditions& conditions) {
  if (!conditions.battery && !conditions.signal && !conditions.free_bytes) {
    return;
  }
  out.Name("conditions").BeginObject();
  WriteOptional(out, "battery", conditions.battery);
  WriteOptional(out, "signal", conditions.signal);
  WriteOptional(out, "freeBytes", conditions.free_bytes);
  out.EndObject();
}

std::string Write(const core::Offer& offer, core::Instant now) {
  json::Writer out;
  out.BeginObject().Name("task").Text(offer.task).Name("mode").Text(core::Name(offer.mode));
  if (offer.consent) {
    out.Name("consent").Boolean(true);
  }
  out.Name("components").BeginArray();
  for (const core::Offer::Component& component : offer.components) {
    out.BeginObject().Name("name").Text(component.name);
    out.Name("type").Text(core::Name(component.type));
    out.Name("package").Text(core::Name(component.package));
    WriteOptional(out, "from", component.from);
    out.Name("to").Text(component.to).Name("bytes").Integer(component.bytes);
    if (component.boot) {
      out.Name("boot").Boolean(true);
    }
    out.EndObject();
  }
  out.EndArray();
  WriteConditions(out, offer.conditions);
  WriteOptional(out, "text", offer.text);
  WriteOptional(out, "plan", offer.plan);
  if (!offer.tags.empty()) {
    out.Name("tags").BeginObject();
    for (const auto& [name, value] : offer.tags) {
      out.Name(name).Text(value);
    }
    out.EndObject();
  }
  out.Name("expiresIn").Integer(offer.expires_in.count());
  WriteNow(out, now);
  out.EndObject();
  return std::move(out).text();
}

std::string Write(const core::Download& download, core::Instant now) {
  json::Writer out;
  out.BeginObject().Name("task").Text(download.task);
  out.Name("component").Text(download.component);
  out.Name("package").Text(core::Name(download.package));
  WriteOptional(out, "from", download.from);
  out.Name("to").Text(download.to).Name("attempt").Integer(download.attempt);
  out.Name("deadlineIn").Integer(download.deadline_in.count());
  if (download.blocks) {
    out.Name("blocks").Boolean(true);
  }
  out.Name("files").BeginArray();
  for (std::size_t i = 0; i < download.files.size(); ++i) {
    const core::File& file = download.files[i];
    out.BeginObject().Name("name").Text(file.name).Name("bytes").Integer(file.bytes);
    out.Name("sha256").Text(file.sha256);
    if (i < download.urls.size()) {
      WriteOptional(out, "url", download.urls[i]);
    }
    out.EndObject();
  }
  out.EndArray();
  if (!download.urls.empty()) {
    out.Name("expiresIn").Integer(download.expires_in.count());  // of the addresses
  }
  if (!download.signature.empty()) {  // [N-23]
    out.Name("manifest").Text(core::Base64(download.manifest));
    out.Name("signature").Text(core::Base64(download.signature));
    out.Name("keyId").Text(download.key_id);
  }
  WriteNow(out, now);
  out.EndObject();
  return std::move(out).text();
}

std::string Write(const core::Cancel& cancel, core::Instant) {
  json::Writer out;
  out.BeginObject().Name("task").Text(cancel.task);
  WriteOptional(out, "reason", cancel.reason);
  out.EndObject();
  return std::move(out).text();
}

std::string Write(const core::Reply& reply, core::Instant now) {
  json::Writer out;
  out.BeginObject();
  if (reply.id) {
    out.Name("id").Text(*reply.id);
  }
  WriteOptional(out, "to", reply.to);
  if (reply.task) {
    out.Name("task").Text(*reply.task);
  }
  out.Name("code").Integer(static_cast<int>(reply.code));
  WriteOptional(out, "message", reply.message);
  WriteOptional(out, "warning", reply.warning);
  WriteOptional(out, "retryAfter", reply.retry_after);
  WriteOptional(out, "again", reply.again);
  if (reply.to == UplinkName(UplinkKind::kVersion)) {
    WriteNow(out, now);
  }
  out.EndObject();
  return std::move(out).text();
}

// What gives way, in this order, when a message is too long for the device. [N-18]

std::string Shrink(core::Offer offer, const Limits& limits) {
  static constexpr std::array<void (*)(core::Offer&), 4> kDrops{
      [](core::Offer& o) { o.tags.clear(); },
      [](core::Offer& o) { o.plan.clear(); },
      [](core::Offer& o) { o.text.clear(); },
      [](core::Offer& o) { o.conditions = {}; },
  };
  std::string payload = Write(offer, limits.now);
  for (auto* const drop : kDrops) {
    if (payload.size() <= limits.max_bytes) {
      break;
    }
    drop(offer);
    payload = Write(offer, limits.now);
  }
  return payload;
}

std::string Shrink(const core::Download& download, const Limits& limits) {
  return Write(download, limits.now);
}

// Cuts `text`, one of the message's, by as many bytes as the payload is too long; in the payload it
// takes at least as many.
template <typename Message>
std::string CutText(Message& message, std::string Message::*text, std::string payload,
                    const Limits& limits) {
  if (payload.size() <= limits.max_bytes) {
    return payload;
  }
  const std::size_t excess = payload.size() - limits.max_bytes;
  std::string& longest = message.*text;
  longest = CutBytes(longest, longest.size() - std::min(excess, longest.size()));
  return Write(message, limits.now);
}

std::string Shrink(core::Cancel cancel, const Limits& limits) {
  return CutText(cancel, &core::Cancel::reason, Write(cancel, limits.now), limits);
}

std::string Shrink(core::Reply reply, const Limits& limits) {
  std::string payload = CutText(reply, &core::Reply::warning, Write(reply, limits.now), limits);
  return CutText(reply, &core::Reply::message, std::move(payload), limits);
}

std::string_view TopicEnd(const core::Downlink& downlink) {
  constexpr std::array<std::string_view, 4> kEnds{"plan", "download", "cancel", "reply"};
  static_assert(std::variant_size_v<core::Downlink> == kEnds.size());
  return kEnds[downlink.index()];
}

std::string DownTopic(const core::DeviceKey& device, std::string_view end) {
  std::string topic(kPrefixes[0]);
  topic += device.product;
  topic += '/';
  topic += device.device;
  topic += "/down/";
  topic += end;
  return topic;
}

}  // namespace

TopicClass Classify(std::string_view text) {
  TopicClass topic;
  topic.ours = true;
  text.remove_prefix(kPrefixes[0].size());
  // One level of the text; the last one takes what is left.
  const auto next = [&text] {
    const std::string_view level = text.substr(0, text.find('/'));
    text.remove_prefix(std::min(level.size() + 1, text.size()));
    return level;
  };
  const std::string_view product = next();
  const std::string_view device = next();
  if (!IsName(product) || !IsName(device)) {
    return topic;
  }
  topic.product = product;
  topic.device = device;
  const std::string_view direction = next();
  if (direction == "down") {
    topic.direction = Direction::kDown;
  } else if (direction == "up") {
    topic.direction = Direction::kUp;
    for (const UplinkKind kind :
         {UplinkKind::kVersion, UplinkKind::kConfirm, UplinkKind::kProgress, UplinkKind::kBlock}) {
      if (text == UplinkName(kind)) {
        topic.kind = kind;
      }
    }
  }
  return topic;
}

tl::expected<core::Uplink, DecodeError> Decode(UplinkKind kind, std::string_view payload) {
  if (payload.size() > kMaxUplinkBytes) {
    return tl::unexpected(
        DecodeError{ReplyCode::kTooLarge,
                    "payload: longer than " + std::to_string(kMaxUplinkBytes) + " bytes",
                    {},
                    {}});
  }
  const auto json = json::Parse(payload, kMaxUplinkBytes);
  const auto* object = json ? json->As<json::Object>() : nullptr;
  if (object == nullptr) {
    return tl::unexpected(DecodeError{ReplyCode::kMalformed,
                                      "payload: " + (json ? "must be a JSON object" : json.error()),
                                      {},
                                      {}});
  }
  constexpr std::array kReaders{ReadVersion, ReadConfirm, ReadProgress, ReadBlock};
  Members members(*object);
  core::Uplink uplink;
  uplink.id = members.Optional("id", ReadShort);
  uplink.body = kReaders[static_cast<std::size_t>(kind)](members);
  if (members.error) {
    members.error->id = uplink.id;
    const Value* task = members.Find("task");
    const auto* text = task == nullptr ? nullptr : task->As<std::string>();
    if (text != nullptr && text->size() <= kMaxEchoedTaskBytes && !HasControl(*text)) {
      members.error->task = *text;
    }
    return tl::unexpected(*std::move(members.error));
  }
  uplink.warnings = std::move(members.warnings);
  return uplink;
}

tl::expected<Encoded, TooLarge> Encode(const core::DeviceKey& device,
                                       const core::Downlink& downlink, const Limits& limits) {
  std::string payload =
      std::visit([&limits](const auto& message) { return Shrink(message, limits); }, downlink);
  if (payload.size() > limits.max_bytes) {
    return tl::unexpected(TooLarge{payload.size(), limits.max_bytes});
  }
  return Encoded{DownTopic(device, TopicEnd(downlink)), std::move(payload), 1};
}

Encoded EncodeBlock(const core::DeviceKey& device, const core::BlockGrant& grant,
                    std::int64_t offset, std::string_view bytes, int qos) {
  const std::string end = "block/" + grant.ref + "/" + std::to_string(offset);
  return {DownTopic(device, end), std::string(bytes), std::min(qos, 1)};
}

}  // namespace ota::dialect::native
