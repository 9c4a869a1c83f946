// What the uplinks mean, one function each. Internal to Decide. Pure. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/draft.h"
#include "core/model.h"

namespace ota::core {

inline constexpr int kRefusedCode = -5;  // of a device that will not install [N-24]

// What the reply says.
struct Answer {
  ReplyCode code = ReplyCode::kOk;
  std::string message;
  std::optional<seconds> retry_after;
};

Answer OnReport(Draft& draft, const VersionReport& report);
Answer OnConfirm(Draft& draft, const Confirm& confirm);
Answer OnProgress(Draft& draft, const Progress& progress);
Answer OnBlockRequest(Draft& draft, const BlockRequest& request);

// For an uplink that names a task: nothing when that is now the open one, else the error. A queued
// task is offered first if its turn has come, as the device is there.
std::optional<Answer> Unless(Draft& draft, std::string_view task);

}  // namespace ota::core
