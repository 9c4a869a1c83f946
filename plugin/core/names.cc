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
    ReasonRow{Reason::kStopped, "stopped", "Everything is stopped until somebody lets it go on."},
    ReasonRow{Reason::kHeld, "held", "The device, its product or the site is held."},
    ReasonRow{Reason::kPlanHalted, "plan_halted",
              "The plan has halted by its own rule; a person lets it go on."},
    ReasonRow{Reason::kNotStarted, "not_started", "The plan's start has not come."},
    ReasonRow{Reason::kWindowClosed, "window_closed", "The push period is closed."},
    ReasonRow{Reason::kNotMatched, "not_matched", "The device lacks a tag that the plan asks for."},
    ReasonRow{Reason::kNotMember, "not_member",
              "The plan is static, and the device did not match when it was activated."},
    ReasonRow{Reason::kNotInPhase, "not_in_phase",
              "The device is not in the share of devices that is upgraded yet."},
    ReasonRow{Reason::kOnRequest, "on_request", "The plan waits until the device asks."},
    ReasonRow{Reason::kNoConsent, "no_consent",
              "The plan is manual, and nobody has consented yet."},
    ReasonRow{Reason::kBattery, "battery", "The battery is too low, or not known."},
    ReasonRow{Reason::kSignal, "signal", "The signal is too weak, or not known."},
    ReasonRow{Reason::kFreeSpace, "free_space", "The free space is too small, or not known."},
    ReasonRow{Reason::kRate, "rate", "The plan's rate of offers is used up for now."},
    ReasonRow{Reason::kTooManyOpen, "too_many_open",
              "As many tasks of the plan are open as it allows."},
    ReasonRow{Reason::kBytesPerSecond, "bytes_per_second",
              "The plan's rate of bytes is used up for now."},
    ReasonRow{Reason::kQuarantined, "quarantined",
              "The device has failed this target too often and is put aside."},
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
    ReasonRow{Reason::kOverridden, "overridden", "Another plan that overrides took its place."},
    ReasonRow{Reason::kBusy, "busy", "The device was in the middle of another upgrade."},
    ReasonRow{Reason::kTimeout, "timeout",
              "The task took longer than the plan allows from its first progress."},
    ReasonRow{Reason::kSpelling, "spelling",
              "The device reports the target in another spelling: case or blanks differ."},
    ReasonRow{Reason::kNoFullProgress, "no_full_progress",
              "The target was reported, but never 100 %, which the plan asks for."},
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

constexpr std::array kPlanKinds{
    Row<PlanKind>{PlanKind::kBatch, "batch"},
    Row<PlanKind>{PlanKind::kVerify, "verify"},
};

constexpr std::array kScopeKinds{
    Row<ScopeKind>{ScopeKind::kStatic, "static"},
    Row<ScopeKind>{ScopeKind::kDynamic, "dynamic"},
};

constexpr std::array kTriggers{
    Row<Trigger>{Trigger::kPush, "push"},
    Row<Trigger>{Trigger::kRequest, "request"},
};

constexpr std::array kAtEnds{
    Row<AtEnd>{AtEnd::kStop, "stop"},
    Row<AtEnd>{AtEnd::kCancel, "cancel"},
    Row<AtEnd>{AtEnd::kForce, "force"},
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
std::string_view Name(PlanKind value) {
  return NameIn(kPlanKinds, value);
}
std::string_view Name(ScopeKind value) {
  return NameIn(kScopeKinds, value);
}
std::string_view Name(Trigger value) {
  return NameIn(kTriggers, value);
}
std::string_view Name(AtEnd value) {
  return NameIn(kAtEnds, value);
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
std::optional<PlanKind> PlanKindFrom(std::string_view name) {
  return ValueIn(kPlanKinds, name);
}
std::optional<ScopeKind> ScopeKindFrom(std::string_view name) {
  return ValueIn(kScopeKinds, name);
}
std::optional<Trigger> TriggerFrom(std::string_view name) {
  return ValueIn(kTriggers, name);
}
std::optional<AtEnd> AtEndFrom(std::string_view name) {
  return ValueIn(kAtEnds, name);
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
