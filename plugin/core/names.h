// The names of enumeration values: what the database stores, views show and messages carry. One
// table for each enumeration. Never rename a value that has been released: databases hold it.
// Any thread.
#pragma once

#include <optional>
#include <string_view>

#include "core/model.h"

namespace ota::core {

// The name of a value. Never fails for a value of the enumeration.
std::string_view Name(TaskState value);
std::string_view Name(ComponentState value);
std::string_view Name(Reason value);  // kNone: empty
std::string_view Name(PackageKind value);
std::string_view Name(ComponentType value);
std::string_view Name(ProgressState value);  // as on the wire [N-24]
std::string_view Name(Mode value);
std::string_view Name(Scope value);
std::string_view Name(Wanted value);
std::string_view Name(PlanKind value);
std::string_view Name(ScopeKind value);
std::string_view Name(Trigger value);
std::string_view Name(AtEnd value);

// The value with this name; nothing for any other text.
std::optional<TaskState> TaskStateFrom(std::string_view name);
std::optional<ComponentState> ComponentStateFrom(std::string_view name);
std::optional<Reason> ReasonFrom(std::string_view name);
std::optional<PackageKind> PackageKindFrom(std::string_view name);
std::optional<ComponentType> ComponentTypeFrom(std::string_view name);
std::optional<ProgressState> ProgressStateFrom(std::string_view name);
std::optional<Mode> ModeFrom(std::string_view name);
std::optional<Scope> ScopeFrom(std::string_view name);
std::optional<Wanted> WantedFrom(std::string_view name);
std::optional<PlanKind> PlanKindFrom(std::string_view name);
std::optional<ScopeKind> ScopeKindFrom(std::string_view name);
std::optional<Trigger> TriggerFrom(std::string_view name);
std::optional<AtEnd> AtEndFrom(std::string_view name);

// One plain sentence for people; empty for kNone.
std::string_view Text(Reason value);

}  // namespace ota::core
