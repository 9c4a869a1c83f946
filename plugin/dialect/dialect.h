// Dialects: how devices of one kind say things. A dialect turns topics and payloads into the values
// of core/model.h and back; what is decided about them is the same for all. A dialect knows no
// broker, no clock and no database, and keeps no state: every function here is pure and may run on
// any thread.
//
// A dialect is one source file and one row of the table in dialect.cc. Governed by README.md in
// this directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "core/model.h"
#include "dialect/topic.h"

namespace ota::dialect {

// The component of devices that do not name it.
inline constexpr std::string_view kMainComponent = "default";

struct UplinkTopic {
  core::DeviceKey device;
  UplinkKind kind = UplinkKind::kVersion;
};

// Why an uplink was not understood: what its reply says. The engine fills `to` and sends it even
// without an `id`.
struct DecodeError {
  core::ReplyCode code = core::ReplyCode::kMalformed;
  std::string message;              // "components: must be an object"
  std::optional<std::string> id;    // when it could be read
  std::optional<std::string> task;  // when it could be read
};

// A message ready for the broker. Never retained.
struct Encoded {
  std::string topic;  // empty: the dialect has no such message, nothing is sent
  std::string payload;
  int qos = 1;
  bool addressed = false;  // to the client itself: not every device subscribes to this topic
};

struct Limits {
  std::size_t max_bytes = 2048;  // the longest payload that the device takes (Device::max_bytes)
  core::Instant now{};           // wall time, for devices without a clock
};

// The message does not fit, even without its optional members.
struct TooLarge {
  std::size_t needed = 0;  // bytes of the shortest form
  std::size_t limit = 0;
};

// How a device proves with its secret who it is (guard/login.h).
enum class Signature {
  kNone,    // with the secret itself, if at all
  kHmac,    // as Alibaba's devices do
  kDigest,  // as EnOS's devices do
};

struct Dialect {
  std::string_view name;
  // Beginnings of topics among which the dialect's own are; compared before anything else.
  std::span<const std::string_view> prefixes;
  core::Wire wire;
  bool confirms = true;  // devices answer an offer; else the first download is the offer
  // A device has one component, which it does not name: the product's only one, else
  // kMainComponent.
  bool single = false;
  bool takes_over = false;  // a second login of a device ends the first
  Signature signature = Signature::kNone;
  // As what its gateways name a device that they log in (session.h); empty: they log in none.
  std::string_view gateways = {};
  // Version reports of one device that follow one another by less than this are judged together,
  // and nothing is sent before.
  core::seconds settle{0};
  // A device that has connected and reported nothing for so long has what it had, and is told what
  // waits for it: its software reports once after it starts, and connects again by itself. 0: it
  // has to report.
  core::seconds silence{0};

  // `text` is a topic name, or a filter cut before its first wildcard, and begins with a prefix.
  TopicClass (*classify)(std::string_view text);

  // Gives the uplink, or what the reply says. Optional members that are wrong are treated as
  // absent and named in Uplink::warnings. Any bytes are allowed. Source: [N-5], [N-6].
  tl::expected<core::Uplink, DecodeError> (*decode)(UplinkKind kind, std::string_view payload);

  // Gives the message for `device`. Leaves optional members out, in the dialect's order, until it
  // fits; a reply always fits, its texts are cut. Source: [N-17], [N-18].
  tl::expected<Encoded, TooLarge> (*encode)(const core::DeviceKey& device,
                                            const core::Downlink& downlink, const Limits& limits);

  // Gives the message that carries one block of a file.
  //   grant   of which this is a block
  //   offset  of the first byte in the file
  //   qos     of the request; 2 counts as 1
  // Source: [N-2], [N-28].
  Encoded (*encode_block)(const core::DeviceKey& device, const core::BlockGrant& grant,
                          std::int64_t offset, std::string_view bytes, int qos);
};

// All dialects; the position in the table may be kept in memory, never stored.
std::span<const Dialect> Dialects();

// The dialect of this name, or null.
const Dialect* DialectNamed(std::string_view name);

// The dialect whose OTA topics `topic` is one of, or null.
const Dialect* FindDialect(std::string_view topic);

// Whether a second login of the device that subscribes by this filter ends the first.
bool TakesOver(std::string_view filter);

// The `id` of a push, where its answer echoes it: the same whenever that attempt is told again. 15
// digits, which a double holds.
std::string PushId(std::string_view task, std::string_view component, int attempt);

// Whether an answer's `id` has the form of a push's.
bool IsPushId(std::string_view id);

// The device and kind of an uplink's topic; nothing for any other topic. Every uplink's topic has a
// dialect: FindDialect(topic) is not null when this gives a value.
std::optional<UplinkTopic> ParseUplink(std::string_view topic);

}  // namespace ota::dialect
