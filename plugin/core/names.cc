// The tables behind core/names.h. A test walks each enumeration, so a value that lacks its row is
// noticed.
#include "core/names.h"

#include <array>
#include <cstddef>

namespace ota::core {
namespace {

template <typename E>
struct Row {
  E value;
  std::string_view name;
};

constexpr std::array kTaskStates{
    Row<TaskState>{TaskState::kQueued, "queued"},
    Row<TaskState>{TaskState::kOffered, "offered"},
    Row<TaskState>{TaskState::kPostponed, "postponed"},
    Row<TaskState>{TaskState::kAccepted, "accepted"},
    Row<TaskState>{TaskState::kDownloading, "downloading"},
    Row<TaskState>{TaskState::kWaiting, "waiting"},
    Row<TaskState>{TaskState::kInstalling, "installing"},
    Row<TaskState>{TaskState::kRebooting, "rebooting"},
    Row<TaskState>{TaskState::kRetrying, "retrying"},
    Row<TaskState>{TaskState::kSucceeded, "succeeded"},
    Row<TaskState>{TaskState::kFailed, "failed"},
    Row<TaskState>{TaskState::kRefused, "refused"},
    Row<TaskState>{TaskState::kCanceled, "canceled"},
};

constexpr std::array kComponentStates{
    Row<ComponentState>{ComponentState::kPending, "pending"},
    Row<ComponentState>{ComponentState::kCurrent, "current"},
    Row<ComponentState>{ComponentState::kProved, "proved"},
    Row<ComponentState>{ComponentState::kSkipped, "skipped"},
};

struct ReasonRow {
  Reason value;
  std::string_view name;
  std::string_view text;
};

constexpr std::array kReasons{
    ReasonRow{Reason::kNone, "", ""},
    ReasonRow{Reason::kClockBehind, "clock_behind",
              "The clock shows a time before the last commit; nothing is offered until it is set."},
    ReasonRow{Reason::kPlanNotActive, "plan_not_active", "The plan is a draft or paused."},
    ReasonRow{Reason::kPlanHeld, "plan_held", "The plan is held until an operator releases it."},
    ReasonRow{Reason::kPlanEnded, "plan_ended", "The plan's end has passed."},
    ReasonRow{Reason::kDeviceDisabled, "device_disabled",
              "An administrator has disabled or retired the device."},
    ReasonRow{Reason::kNotListed, "not_listed", "The device is not on the plan's whitelist."},
    ReasonRow{Reason::kBlacklisted, "blacklisted", "The device is on the plan's blacklist."},
    ReasonRow{Reason::kNotReported, "not_reported",
              "The device has not reported the version of a component."},
    ReasonRow{Reason::kOffline, "offline",
              "The device is away, or has not reported since it came back."},
    ReasonRow{Reason::kPredecessor, "predecessor",
              "Another task of the device is open or comes first."},
    ReasonRow{Reason::kOnTrial, "on_trial",
              "The device runs the target on trial: it has to keep it or to go back first."},
    ReasonRow{Reason::kSourceVersion, "source_version",
              "The installed version is none of the plan's source versions."},
    ReasonRow{Reason::kNoDeltaForSource, "no_delta_for_source",
              "The plan has only a delta package, and it has none for the installed version."},
    ReasonRow{Reason::kPackageNotReady, "package_not_ready",
              "A file of the package is missing, has changed or is still being hashed."},
    ReasonRow{Reason::kNoDelivery, "no_delivery",
              "The product allows neither HTTP nor blocks, so the files cannot be delivered."},
    ReasonRow{Reason::kTooLarge, "too_large",
              "The message is longer than the longest one that the device takes."},
    ReasonRow{Reason::kOutboxFull, "outbox_full", "Too many messages wait to be sent."},
    ReasonRow{Reason::kOfferUnanswered, "offer_unanswered",
              "The device did not answer the offer in time; it is made again when the device is "
              "heard of."},
    ReasonRow{Reason::kNotYet, "not_yet", "The device or the retry policy has named a later time."},
    ReasonRow{Reason::kAtTarget, "at_target", "Every component was reported at its target."},
    ReasonRow{Reason::kAtTargetAlready, "at_target_already",
              "Every component was at its target before anything was offered."},
    ReasonRow{Reason::kDeviceRefused, "device_refused", "The device refused the upgrade."},
    ReasonRow{Reason::kDeviceFailed, "device_failed", "The device reported a failure of its own."},
    ReasonRow{Reason::kDownloadFailed, "download_failed", "The device could not download."},
    ReasonRow{Reason::kVerifyFailed, "verify_failed",
              "The device could not verify what it had downloaded."},
    ReasonRow{Reason::kWriteFailed, "write_failed", "The device could not write the upgrade."},
    ReasonRow{Reason::kRolledBack, "rolled_back",
              "The device went back to the version it had before."},
    ReasonRow{Reason::kForeignVersion, "foreign_version",
              "The device reported a version that is neither the source nor the target."},
    ReasonRow{Reason::kDownloadTimeout, "download_timeout",
              "Nothing was heard of the download in time."},
    ReasonRow{Reason::kInstallTimeout, "install_timeout",
              "Nothing was heard of the installation in time."},
    ReasonRow{Reason::kRebootTimeout, "reboot_timeout",
              "The device did not come back from its reboot in time."},
    ReasonRow{Reason::kNotKept, "not_kept",
              "The target runs, but the device did not keep it, or reboot, in time."},
    ReasonRow{Reason::kPlanCanceled, "plan_canceled", "The plan was canceled."},
    ReasonRow{Reason::kTaskCanceled, "task_canceled", "The task was canceled by a request."},
    ReasonRow{Reason::kComponentGone, "component_gone",
              "The device's complete report lacks a component of the plan."},
};

constexpr std::array kPackageKinds{
    Row<PackageKind>{PackageKind::kFull, "full"},
    Row<PackageKind>{PackageKind::kDelta, "delta"},
};

constexpr std::array kComponentTypes{
    Row<ComponentType>{ComponentType::kFirmware, "firmware"},
    Row<ComponentType>{ComponentType::kModule, "module"},
    Row<ComponentType>{ComponentType::kMcu, "mcu"},
    Row<ComponentType>{ComponentType::kSoftware, "software"},
    Row<ComponentType>{ComponentType::kDriver, "driver"},
    Row<ComponentType>{ComponentType::kConfig, "config"},
    Row<ComponentType>{ComponentType::kOther, "other"},
};

constexpr std::array kProgressStates{
    Row<ProgressState>{ProgressState::kDownloading, "downloading"},
    Row<ProgressState>{ProgressState::kDownloaded, "downloaded"},
    Row<ProgressState>{ProgressState::kVerifying, "verifying"},
    Row<ProgressState>{ProgressState::kWaiting, "waiting"},
    Row<ProgressState>{ProgressState::kInstalling, "installing"},
    Row<ProgressState>{ProgressState::kRebooting, "rebooting"},
    Row<ProgressState>{ProgressState::kRolledBack, "rolledBack"},
    Row<ProgressState>{ProgressState::kFailed, "failed"},
};

constexpr std::array kModes{
    Row<Mode>{Mode::kSilent, "silent"},
    Row<Mode>{Mode::kManual, "manual"},
};

constexpr std::array kScopes{
    Row<Scope>{Scope::kAll, "all"},
    Row<Scope>{Scope::kSelected, "selected"},
};

constexpr std::array kWanted{
    Row<Wanted>{Wanted::kDraft, "draft"},
    Row<Wanted>{Wanted::kActive, "active"},
    Row<Wanted>{Wanted::kPaused, "paused"},
    Row<Wanted>{Wanted::kCanceled, "canceled"},
};

template <typename Table, typename E>
std::string_view NameIn(const Table& table, E value) {
  for (const auto& row : table) {
    if (row.value == value) {
      return row.name;
    }
  }
  return {};
}

template <typename Table>
auto ValueIn(const Table& table, std::string_view name)
    -> std::optional<decltype(table.front().value)> {
  for (const auto& row : table) {
    if (row.name == name) {
      return row.value;
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view Name(TaskState value) {
  return NameIn(kTaskStates, value);
}
std::string_view Name(ComponentState value) {
  return NameIn(kComponentStates, value);
}
std::string_view Name(Reason value) {
  return NameIn(kReasons, value);
}
std::string_view Name(PackageKind value) {
  return NameIn(kPackageKinds, value);
}
std::string_view Name(ComponentType value) {
  return NameIn(kComponentTypes, value);
}
std::string_view Name(ProgressState value) {
  return NameIn(kProgressStates, value);
}
std::string_view Name(Mode value) {
  return NameIn(kModes, value);
}
std::string_view Name(Scope value) {
  return NameIn(kScopes, value);
}
std::string_view Name(Wanted value) {
  return NameIn(kWanted, value);
}

std::optional<TaskState> TaskStateFrom(std::string_view name) {
  return ValueIn(kTaskStates, name);
}
std::optional<ComponentState> ComponentStateFrom(std::string_view name) {
  return ValueIn(kComponentStates, name);
}
std::optional<Reason> ReasonFrom(std::string_view name) {
  return ValueIn(kReasons, name);
}
std::optional<PackageKind> PackageKindFrom(std::string_view name) {
  return ValueIn(kPackageKinds, name);
}
std::optional<ComponentType> ComponentTypeFrom(std::string_view name) {
  return ValueIn(kComponentTypes, name);
}
std::optional<ProgressState> ProgressStateFrom(std::string_view name) {
  return ValueIn(kProgressStates, name);
}
std::optional<Mode> ModeFrom(std::string_view name) {
  return ValueIn(kModes, name);
}
std::optional<Scope> ScopeFrom(std::string_view name) {
  return ValueIn(kScopes, name);
}
std::optional<Wanted> WantedFrom(std::string_view name) {
  return ValueIn(kWanted, name);
}

std::string_view Text(Reason value) {
  for (const ReasonRow& row : kReasons) {
    if (row.value == value) {
      return row.text;
    }
  }
  return {};
}

}  // namespace ota::core
