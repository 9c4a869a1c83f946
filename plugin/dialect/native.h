// The native dialect, `ota/v1`: the functions of its row (see Dialect in dialect.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dialect/dialect.h"

namespace ota::dialect::native {

inline constexpr std::string_view kPrefixes[] = {"ota/v1/"};

TopicClass Classify(std::string_view text);
tl::expected<core::Uplink, DecodeError> Decode(UplinkKind kind, std::string_view payload);
tl::expected<Encoded, TooLarge> Encode(const core::DeviceKey& device,
                                       const core::Downlink& downlink, const Limits& limits);
Encoded EncodeBlock(const core::DeviceKey& device, const core::BlockGrant& grant,
                    std::int64_t offset, std::string_view bytes, int qos);

}  // namespace ota::dialect::native
