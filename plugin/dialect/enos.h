// The EnOS dialect (DECADA speaks it too): the functions of its row (see Dialect in dialect.h).
// Governed by enos.md.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "dialect/dialect.h"

namespace ota::dialect::enos {

inline constexpr std::string_view kPrefixes[] = {"/sys/"};

inline constexpr core::Wire kWire{.names_tasks = false,
                                  .tells_boots = false,
                                  .fails_early = false,
                                  .http_files = 1,
                                  .block_files = 0,
                                  .http_bytes = std::numeric_limits<std::int32_t>::max(),
                                  .block_bytes = 0};

TopicClass Classify(std::string_view text);
tl::expected<core::Uplink, DecodeError> Decode(UplinkKind kind, std::string_view payload);
tl::expected<Encoded, TooLarge> Encode(const core::DeviceKey& device,
                                       const core::Downlink& downlink, const Limits& limits);
Encoded EncodeBlock(const core::DeviceKey& device, const core::BlockGrant& grant,
                    std::int64_t offset, std::string_view bytes, int qos);

}  // namespace ota::dialect::enos
