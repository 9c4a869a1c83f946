// The Alibaba dialect: the functions of its row (see Dialect in dialect.h). Governed by alibaba.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dialect/dialect.h"

namespace ota::dialect::alibaba {

inline constexpr std::string_view kPrefixes[] = {"/ota/device/",    "/sys/",         "/shadow/get/",
                                                 "/shadow/update/", "/ext/session/", "/ext/ntp/",
                                                 "/ext/error/"};

inline constexpr std::int64_t kMaxBlockFileBytes = std::int64_t{16} * 1024 * 1024;

inline constexpr core::Wire kWire{.names_tasks = false,
                                  .tells_boots = false,
                                  .http_files = 5,
                                  .block_files = 1,
                                  .http_bytes = std::int64_t{1000} * 1024 * 1024,
                                  .block_bytes = kMaxBlockFileBytes};

TopicClass Classify(std::string_view text);
tl::expected<core::Uplink, DecodeError> Decode(UplinkKind kind, std::string_view payload);
tl::expected<Encoded, TooLarge> Encode(const core::DeviceKey& device,
                                       const core::Downlink& downlink, const Limits& limits);
Encoded EncodeBlock(const core::DeviceKey& device, const core::BlockGrant& grant,
                    std::int64_t offset, std::string_view bytes, int qos);

}  // namespace ota::dialect::alibaba
