// Rows -> values: the catalogue, devices, tasks, package files. See store.h. Engine thread.
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "core/names.h"
#include "store/connection.h"
#include "store/statements.h"

namespace ota::store {
namespace {

// What a plan without a row in plan_state has: after all others, since nothing is offered yet.
constexpr std::int64_t kNoOrder = std::numeric_limits<std::int64_t>::max();

// A stored name that is none of the enumeration's: of one row, so the others go on.
tl::unexpected<core::Error> Unknown(const std::string& row, std::string_view column,
                                    const std::string& value) {
  return core::Fail(core::ErrorCode::kConflict,
                    row + ": its " + std::string(column) + " '" + value +
                        "' is none that this program knows; correct the row with the broker "
                        "stopped, or install the newer program");
}

std::string_view FileName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// One row of kPackageFiles into its file set.
void AddFile(core::Package& package, const Query& row) {
  const std::string source = row.Text(0);
  if (package.sets.empty() || package.sets.back().source != source) {
    package.sets.push_back({source, {}, true, {}});
  }
  core::FileSet& set = package.sets.back();
  core::File file;
  file.path = row.Text(1);
  file.name = FileName(file.path);
  const std::string expected = row.Text(2);
  const bool known = !row.Null(3) && row.Text(4) == file.path;
  const std::string state = known ? row.Text(5) : "hashing";
  if (known) {
    file.id = row.Int(3);
    file.bytes = row.Int(7);
    file.sha256 = row.Text(8);
    file.md5 = row.Text(9);
  }
  std::string problem;
  if (state == "hashing") {
    problem = "file '" + file.path + "': is being hashed";
  } else if (state == "refused") {
    problem = row.Text(6);
  } else if (!expected.empty() && expected != file.sha256) {
    problem = "file '" + file.path + "': its SHA-256 is not the expected one";
  }
  if (!problem.empty() && set.ready) {
    set.ready = false;
    set.problem = problem;
  }
  set.files.push_back(std::move(file));
}

core::Result<std::optional<core::Package>> LoadPackage(Store::Impl& impl,
                                                       const std::string& product,
                                                       const std::string& name) {
  core::Package package;
  {
    Query row = impl.Ask(sql::kPackage);
    if (!row.Bind(product, name).Next()) {
      return std::nullopt;
    }
    const std::optional<core::PackageKind> kind = core::PackageKindFrom(row.Text(1));
    if (!kind) {
      return Unknown("package '" + product + "/" + name + "'", "kind", row.Text(1));
    }
    package.name = name;
    package.component = row.Text(0);
    package.kind = *kind;
    package.version = row.Text(2);
    package.manifest = row.Text(3);
    package.signature = row.Text(4);
    package.key_id = row.Text(5);
  }
  Query files = impl.Ask(sql::kPackageFiles);
  for (files.Bind(product, name); files.Next();) {
    AddFile(package, files);
  }
  return package;
}

core::Result<core::PlanComponent> LoadPlanComponent(Store::Impl& impl, const core::Plan& plan,
                                                    core::PlanComponent component,
                                                    const std::string& full,
                                                    const std::string& delta) {
  for (const auto& [name, package] :
       {std::pair{&full, &component.full}, std::pair{&delta, &component.delta}}) {
    if (name->empty()) {
      continue;
    }
    core::Result<std::optional<core::Package>> loaded = LoadPackage(impl, plan.product, *name);
    if (!loaded) {
      return tl::unexpected(loaded.error());
    }
    *package = std::move(*loaded);
    if (*package) {
      component.target = (*package)->version;
    }
  }
  Query sources = impl.Ask(sql::kPlanSources);
  for (sources.Bind(plan.name, component.name); sources.Next();) {
    component.sources.push_back(sources.Text(0));
  }
  return component;
}

// What hangs on a plan: components with their packages, texts, tags.
Status LoadPlanRows(Store::Impl& impl, core::Plan& plan) {
  {
    Query rows = impl.Ask(sql::kPlanComponents);
    for (rows.Bind(plan.name, plan.product); rows.Next();) {
      core::PlanComponent component;
      component.name = rows.Text(0);
      const std::optional<core::ComponentType> type = core::ComponentTypeFrom(rows.Text(1));
      if (!type) {
        return Unknown("component '" + plan.product + "/" + component.name + "'", "type",
                       rows.Text(1));
      }
      component.type = *type;
      component.boot = rows.Flag(2);
      core::Result<core::PlanComponent> whole =
          LoadPlanComponent(impl, plan, std::move(component), rows.Text(3), rows.Text(4));
      if (!whole) {
        return tl::unexpected(whole.error());
      }
      plan.components.push_back(std::move(*whole));
    }
  }
  Query texts = impl.Ask(sql::kPlanTexts);
  for (texts.Bind(plan.name); texts.Next();) {
    plan.texts.emplace(texts.Text(0), texts.Text(1));
  }
  Query tags = impl.Ask(sql::kPlanTags);
  for (tags.Bind(plan.name); tags.Next();) {
    plan.tags.emplace(tags.Text(0), tags.Text(1));
  }
  Query matches = impl.Ask(sql::kPlanMatches);
  for (matches.Bind(plan.name); matches.Next();) {
    plan.match[matches.Text(0)].push_back(matches.Text(1));
  }
  Query retries = impl.Ask(sql::kPlanRetries);
  for (retries.Bind(plan.name); retries.Next();) {
    const std::optional<core::Reason> reason = core::ReasonFrom(retries.Text(0));
    if (!reason) {
      return Unknown("plan '" + plan.name + "'", "plan_retry.reason", retries.Text(0));
    }
    plan.retry.reasons.push_back(*reason);
  }
  return {};
}

// "HH:MM" of a day, also 24:00; the guards admit nothing else.
std::chrono::minutes TimeOfDay(const std::string& text) {
  const auto number = [&](std::size_t at) {
    int value = 0;
    if (text.size() >= at + 2) {
      std::from_chars(text.data() + at, text.data() + at + 2, value);
    }
    return value;
  };
  return std::chrono::hours(number(0)) + std::chrono::minutes(number(3));
}

// The columns of kPlans from 24 on: what step 4 of the schema added.
Status AddPlanColumns(const Query& row, core::Plan& plan) {
  const std::string named = "plan '" + plan.name + "'";
  const std::optional<core::PlanKind> kind = core::PlanKindFrom(row.Text(24));
  const std::optional<core::ScopeKind> scope_kind = core::ScopeKindFrom(row.Text(25));
  const std::optional<core::Trigger> trigger = core::TriggerFrom(row.Text(28));
  const std::optional<core::AtEnd> at_end = core::AtEndFrom(row.Text(30));
  if (!kind) {
    return Unknown(named, "kind", row.Text(24));
  }
  if (!scope_kind) {
    return Unknown(named, "scope_kind", row.Text(25));
  }
  if (!trigger) {
    return Unknown(named, "trigger", row.Text(28));
  }
  if (!at_end) {
    return Unknown(named, "at_end", row.Text(30));
  }
  plan.kind = *kind;
  plan.scope_kind = *scope_kind;
  plan.new_reports = row.Flag(26);
  plan.percent = row.MaybeSmall(27);
  plan.trigger = *trigger;
  plan.start = row.MaybeTime(29);
  plan.at_end = *at_end;
  if (!row.Null(32) && !row.Null(33)) {
    plan.window = {row.Text(31), TimeOfDay(row.Text(32)), TimeOfDay(row.Text(33))};
  }
  plan.rate = row.MaybeSmall(34);
  plan.max_open = row.MaybeSmall(35);
  plan.bytes_per_second = row.MaybeInt(36);
  if (!row.Null(37)) {
    plan.conditions.max_age = row.Seconds(37);
  }
  plan.conditions.unknown_waits = row.Text(38) == "wait";
  plan.overrides = row.Flag(39);
  plan.fails_when_busy = row.Flag(40);
  plan.strict_progress = row.Flag(41);
  plan.grace = row.Seconds(42);
  if (!row.Null(43)) {
    plan.timeout = row.Seconds(43);
  }
  plan.halt = {row.Small(44), row.Small(45), row.Small(46)};
  plan.loop = {row.Small(47), row.Seconds(48)};
  return {};
}

// One row of kPlans.
core::Result<std::pair<core::Plan, std::optional<PlanState>>> PlanOf(const Query& row) {
  core::Plan plan;
  plan.name = row.Text(0);
  plan.product = row.Text(1);
  const std::optional<core::Wanted> wanted = core::WantedFrom(row.Text(2));
  const std::optional<core::Scope> scope = core::ScopeFrom(row.Text(3));
  const std::optional<core::Mode> mode = core::ModeFrom(row.Text(4));
  const std::string named = "plan '" + plan.name + "'";
  if (!wanted) {
    return Unknown(named, "wanted", row.Text(2));
  }
  if (!scope) {
    return Unknown(named, "scope", row.Text(3));
  }
  if (!mode) {
    return Unknown(named, "mode", row.Text(4));
  }
  plan.wanted = *wanted;
  plan.scope = *scope;
  plan.mode = *mode;
  plan.priority = row.Small(5);
  plan.end = row.MaybeTime(6);
  plan.conditions = {row.MaybeSmall(7), row.MaybeSmall(8), row.MaybeInt(9)};
  plan.timeouts = {row.Seconds(10), row.Seconds(11), row.Seconds(12), row.Seconds(13),
                   row.Seconds(14)};
  plan.retry = {row.Small(15), row.Seconds(16)};
  if (Status added = AddPlanColumns(row, plan); !added) {
    return tl::unexpected(added.error());
  }
  const std::string at_cancel = row.Text(55);
  plan.cancels_open = at_cancel == "all";
  plan.order = kNoOrder;
  std::optional<PlanState> state;
  if (!row.Null(17)) {
    const std::optional<PlanPhase> phase = PlanPhaseFrom(row.Text(17));
    if (!phase) {
      return Unknown(named, "state", row.Text(17));
    }
    state = PlanState{plan.name,   *phase,       row.Text(18),      row.Int(19),  row.Time(20),
                      row.Int(21), row.Flag(22), row.MaybeTime(23), row.Text(49), row.Int(50),
                      row.Int(51), row.Int(52),  row.Int(53),       row.Int(54)};
    plan.halted = !state->halted.empty();
    plan.halted_reason = state->halted;
    plan.order = state->order;
    plan.held = *phase == PlanPhase::kHeld;
    // What waits of a plan that does not run goes on never: that is ended as by 'queued'.
    plan.closed = plan.wanted == core::Wanted::kCanceled && at_cancel == "scheduled" &&
                  *phase == PlanPhase::kActive && !plan.halted;
    plan.wanted = plan.closed ? core::Wanted::kActive : plan.wanted;
    if (plan.held) {
      plan.held_reason = state->reason;
    }
  }
  return std::pair{std::move(plan), std::move(state)};
}

bool InForce(const PlanEntry& entry) {
  const core::Wanted wanted = entry.plan->wanted;
  return (wanted == core::Wanted::kActive || wanted == core::Wanted::kPaused) &&
         (!entry.state ||
          (entry.state->phase != PlanPhase::kEnded && entry.state->phase != PlanPhase::kCanceled));
}

bool Before(const core::Plan& left, const core::Plan& right) {
  return std::tuple(-left.priority, left.order, std::string_view(left.name)) <
         std::tuple(-right.priority, right.order, std::string_view(right.name));
}

Status LoadProducts(Store::Impl& impl, Catalogue& catalogue) {
  Query rows = impl.Ask(sql::kProducts);
  while (rows.Next()) {
    ProductEntry entry;
    entry.product = {rows.Text(0), rows.Flag(2), rows.Flag(3), rows.Flag(5), rows.Flag(4)};
    entry.dialect = rows.Text(1);
    entry.max_devices = rows.Int(6);
    entry.public_key = rows.Text(7);
    catalogue.products.emplace(entry.product.name, std::move(entry));
  }
  Query components = impl.Ask(sql::kComponents);
  while (components.Next()) {
    const std::optional<core::ComponentType> type = core::ComponentTypeFrom(components.Text(2));
    if (!type) {
      return Unknown("component '" + components.Text(0) + "/" + components.Text(1) + "'", "type",
                     components.Text(2));
    }
    const auto product = catalogue.products.find(components.Text(0));
    if (product != catalogue.products.end()) {
      product->second.components[components.Text(1)] = {*type, components.Flag(3)};
    }
  }
  return {};
}

// The guards admit numbers within bounds only; what is not one keeps its default.
void LoadSettings(Store::Impl& impl, Settings& settings) {
  Query rows = impl.Ask(sql::kSettings);
  while (rows.Next()) {
    const std::string name = rows.Text(0);
    const std::string value = rows.Text(1);
    if (name == "stopped") {
      settings.stopped = value;
      continue;
    }
    std::int64_t number = 0;
    if (std::from_chars(value.data(), value.data() + value.size(), number).ec != std::errc()) {
      continue;
    }
    if (name == "log_days") {
      settings.log_days = static_cast<int>(number);
    } else if (name == "download_bytes_per_second") {
      settings.download_bytes_per_second = number;
    } else if (name == "scan_s") {
      settings.scan = std::chrono::seconds(number);
    } else if (name == "scan_jitter_s") {
      settings.scan_jitter = std::chrono::seconds(number);
    }
  }
}

std::optional<Measure> MeasureFrom(std::string_view name) {
  constexpr std::array<std::string_view, 3> kMeasures = {"battery", "signal", "free_bytes"};
  const auto* const found = std::find(kMeasures.begin(), kMeasures.end(), name);
  return found == kMeasures.end() ? std::nullopt
                                  : std::optional(static_cast<Measure>(found - kMeasures.begin()));
}

void LoadBrakesAndTelemetry(Store::Impl& impl, Catalogue& catalogue) {
  if (Query row = impl.Ask(sql::kAnyHold); row.Next()) {
    catalogue.holds = row.Flag(0);
  }
  for (Query rows = impl.Ask(sql::kTelemetry); rows.Next();) {
    if (const std::optional<Measure> value = MeasureFrom(rows.Text(1))) {
      catalogue.telemetry.push_back({rows.Text(0), *value, rows.Text(2), rows.Text(3)});
    }
  }
}

// Packages that may not be delivered are not ready, and say why.
void CheckPackages(const Store::Impl& impl, const Catalogue& catalogue, core::Plan& plan) {
  const ProductEntry* product = catalogue.FindProduct(plan.product);
  if (product == nullptr || !impl.options.check_package) {
    return;
  }
  for (core::PlanComponent& component : plan.components) {
    for (std::optional<core::Package>* package : {&component.full, &component.delta}) {
      if (!*package) {
        continue;
      }
      const std::string problem =
          impl.options.check_package(plan.product, product->public_key, **package);
      for (core::FileSet& set : (*package)->sets) {
        if (!problem.empty() && set.ready) {
          set.ready = false;
          set.problem = problem;
        }
      }
    }
  }
}

Status LoadPlans(Store::Impl& impl, Catalogue& catalogue) {
  {
    Query rows = impl.Ask(sql::kPlans);
    while (rows.Next()) {
      core::Result<std::pair<core::Plan, std::optional<PlanState>>> row = PlanOf(rows);
      if (!row) {
        return tl::unexpected(row.error());
      }
      auto& [plan, state] = *row;
      if (Status whole = LoadPlanRows(impl, plan); !whole) {
        return whole;
      }
      CheckPackages(impl, catalogue, plan);
      std::string name = plan.name;
      catalogue.plans.emplace(
          std::move(name),
          PlanEntry{std::make_shared<const core::Plan>(std::move(plan)), std::move(state)});
    }
  }
  for (const auto& [name, entry] : catalogue.plans) {
    const auto product = catalogue.products.find(entry.plan->product);
    if (product != catalogue.products.end() && InForce(entry)) {
      const core::Plan& plan = *entry.plan;
      ProductEntry& of = product->second;
      of.in_force.push_back(entry.plan);
      of.tags = of.tags || !plan.match.empty();
      of.new_reports = of.new_reports || plan.new_reports;
      of.scanning = of.scanning || (plan.scope_kind == core::ScopeKind::kStatic && entry.state &&
                                    !entry.state->scanned);
    }
  }
  for (auto& [name, product] : catalogue.products) {
    std::sort(product.in_force.begin(), product.in_force.end(),
              [](const auto& left, const auto& right) { return Before(*left, *right); });
  }
  return {};
}

core::Result<core::TaskComponent> ComponentOf(const Query& row, const std::string& task) {
  core::TaskComponent component;
  const std::optional<core::ComponentState> state = core::ComponentStateFrom(row.Text(1));
  const std::optional<core::PackageKind> package = core::PackageKindFrom(row.Text(4));
  const std::string progress = row.Text(7);
  component.progress = core::ProgressStateFrom(progress);
  const std::string named = "component '" + row.Text(0) + "' of task '" + task + "'";
  if (!state) {
    return Unknown(named, "state", row.Text(1));
  }
  if (!package) {
    return Unknown(named, "package", row.Text(4));
  }
  if (!progress.empty() && !component.progress) {
    return Unknown(named, "progress", progress);
  }
  component.name = row.Text(0);
  component.state = *state;
  component.source = row.Text(2);
  component.target = row.Text(3);
  component.package = *package;
  component.attempt = row.Small(5);
  component.percent = row.Small(6);
  component.installing = row.Flag(8);
  component.boot_id = row.Text(9);
  component.full = row.Flag(10);
  component.returned = row.MaybeTime(11);
  return component;
}

// One row of the task statements, with its components.
core::Result<core::Task> TaskOf(Store::Impl& impl, const Query& row, const Catalogue& catalogue) {
  core::Task task;
  task.id = row.Int(0);
  task.name = row.Text(1);
  task.plan = catalogue.FindPlan(row.Text(2));
  if (task.plan == nullptr) {
    core::Plan over;
    over.name = row.Text(2);
    over.wanted = core::Wanted::kCanceled;
    task.plan = std::make_shared<const core::Plan>(std::move(over));
  }
  const std::optional<core::TaskState> state = core::TaskStateFrom(row.Text(3));
  const std::string reason_name = row.Text(4);
  const std::optional<core::Reason> reason =
      reason_name.empty() ? core::Reason::kNone : core::ReasonFrom(reason_name);
  if (!state) {
    return Unknown("task '" + task.name + "'", "state", row.Text(3));
  }
  if (!reason) {
    return Unknown("task '" + task.name + "'", "reason", reason_name);
  }
  task.state = *state;
  task.reason = *reason;
  task.detail = row.Text(5);
  task.code = row.Small(6);
  task.owes_cancel = row.Flag(7);
  task.offers = row.Small(8);
  task.retries = row.Small(9);
  task.deadline = row.MaybeTime(10);
  task.created = row.Time(11);
  task.offered = row.Time(12);
  task.ended = row.Time(13);
  task.consent = row.Flag(14);
  task.position = row.Int(15);
  task.progressed = row.MaybeTime(16);
  task.listed_white = row.Flag(17);
  task.listed_black = row.Flag(18);
  Query components = impl.Ask(sql::kTaskComponents);
  for (components.Bind(task.id); components.Next();) {
    core::Result<core::TaskComponent> component = ComponentOf(components, task.name);
    if (!component) {
      return tl::unexpected(component.error());
    }
    task.components.push_back(std::move(*component));
  }
  return task;
}

// The one task of a device that `statement` finds by `key`.
core::Result<std::optional<core::Task>> OneTask(Store::Impl& impl, const char* statement,
                                                std::string_view key, const core::Device& device,
                                                const Catalogue& catalogue) {
  Query row = impl.Ask(statement);
  if (!row.Bind(device.id, device.key.device, key).Next()) {
    return std::nullopt;
  }
  core::Result<core::Task> task = TaskOf(impl, row, catalogue);
  if (!task) {
    return tl::unexpected(task.error());
  }
  return std::move(*task);
}

bool TaskBefore(const core::Task& left, const core::Task& right) {
  if (left.plan && right.plan && left.plan != right.plan) {
    return Before(*left.plan, *right.plan);
  }
  return std::tuple(!left.plan, left.id) < std::tuple(!right.plan, right.id);
}

// One row of kAllFiles.
core::Result<PackageFile> FileOf(const Query& row) {
  PackageFile file;
  file.product = row.Text(0);
  file.package = row.Text(1);
  file.source = row.Text(2);
  file.seq = row.Small(3);
  file.path = row.Text(4);
  file.expected = row.Text(5);
  file.profile = row.Text(17);
  file.limit_bytes = row.Int(18);
  if (row.Null(6) || row.Text(7) != file.path) {
    return file;
  }
  const std::optional<FileState> state = FileStateFrom(row.Text(8));
  if (!state) {
    return Unknown(
        "file '" + file.path + "' of package '" + file.product + "/" + file.package + "'", "state",
        row.Text(8));
  }
  file.id = row.Int(6);
  file.state = *state;
  file.problem = row.Text(9);
  file.bytes = row.Int(10);
  file.sha256 = row.Text(11);
  file.md5 = row.Text(12);
  file.inode = row.Int(13);
  file.mtime_ns = row.Int(14);
  file.ctime_ns = row.Int(15);
  file.checked = row.Time(16);
  return file;
}

LoginRow LoginOf(Query& row) {
  return {{row.Text(0), row.Text(1)},
          row.Flag(2),
          row.Text(3),
          row.Null(4) ? "" : row.Text(4),
          row.Flag(5)};
}

}  // namespace

const ProductEntry* Catalogue::FindProduct(std::string_view name) const {
  const auto found = products.find(name);
  return found == products.end() ? nullptr : &found->second;
}

std::shared_ptr<const core::Plan> Catalogue::FindPlan(std::string_view name) const {
  const auto found = plans.find(name);
  return found == plans.end() ? nullptr : found->second.plan;
}

core::Result<std::shared_ptr<const Catalogue>> Store::LoadCatalogue() {
  return impl_->Run([&]() -> core::Result<std::shared_ptr<const Catalogue>> {
    // One read transaction, so that all parts are of one moment.
    const bool reads = sqlite3_get_autocommit(impl_->database.getHandle()) != 0;
    if (reads) {
      impl_->Ask(sql::kBeginRead).Run();
    }
    auto catalogue = std::make_shared<Catalogue>();
    Status loaded = impl_->Run([&] { return LoadProducts(*impl_, *catalogue); });
    if (loaded) {
      loaded = impl_->Run([&]() -> Status {
        LoadSettings(*impl_, catalogue->settings);
        LoadBrakesAndTelemetry(*impl_, *catalogue);
        return LoadPlans(*impl_, *catalogue);
      });
    }
    if (reads) {
      impl_->Ask(sql::kRollback).Run();
    }
    if (!loaded) {
      return tl::unexpected(loaded.error());
    }
    return catalogue;
  });
}

std::vector<core::Installed> LoadInstalled(Store::Impl& impl, std::int64_t device_id) {
  std::vector<core::Installed> installed;
  Query rows = impl.Ask(sql::kVersions);
  for (rows.Bind(device_id); rows.Next();) {
    installed.push_back({rows.Text(0), rows.Text(1), rows.Flag(2), rows.Time(3)});
  }
  return installed;
}

core::Result<KnownDevice> Store::LoadDevice(const core::DeviceKey& key, bool tags) {
  if (const Resting::Entry* kept = impl_->open ? impl_->resting.Find(key) : nullptr;
      kept != nullptr && (kept->tags || !tags)) {
    return kept->known;
  }
  return impl_->Run([&]() -> core::Result<KnownDevice> {
    KnownDevice known;
    known.device.key = key;
    if (tags) {
      Query rows = impl_->Ask(sql::kTags);
      for (rows.Bind(key.product, key.device); rows.Next();) {
        known.device.tags.emplace(rows.Text(0), rows.Text(1));
      }
    }
    if (Query row = impl_->Ask(sql::kDeviceRow); row.Bind(key.product, key.device).Next()) {
      known.configured = true;
      known.device.disabled = row.Flag(0);
      known.retired = row.Flag(1);
    }
    core::Device& device = known.device;
    if (Query row = impl_->Ask(sql::kDevice); row.Bind(key.product, key.device).Next()) {
      device.id = row.Int(0);
      device.boot_id = row.Text(1);
      device.battery = row.MaybeSmall(2);
      device.signal = row.MaybeSmall(3);
      device.free_bytes = row.MaybeInt(4);
      device.lang = row.Text(5);
      device.max_bytes = row.Small(6);
      device.sleep = row.Seconds(7);
      device.registered = row.Time(8);
      device.seen = row.Time(9);
      device.reported = row.Time(10);
    } else {
      return known;
    }
    device.installed = LoadInstalled(*impl_, device.id);
    Query streaks = impl_->Ask(sql::kStreaks);
    for (streaks.Bind(device.id); streaks.Next();) {
      known.streaks.push_back({streaks.Text(0), streaks.Text(1), streaks.Small(2), streaks.Flag(3),
                               streaks.MaybeTime(4)});
    }
    if (impl_->open) {
      impl_->resting.Keep(key, {known, tags, false});
    }
    return known;
  });
}

core::Result<std::optional<core::Hold>> Store::LoadHold(const core::DeviceKey& key,
                                                        core::Instant wall) {
  return impl_->Run([&]() -> core::Result<std::optional<core::Hold>> {
    Query row = impl_->Ask(sql::kHold);
    if (!row.Bind(key.product, key.device, wall).Next()) {
      return std::nullopt;
    }
    return core::Hold{row.MaybeTime(0), row.Text(1)};
  });
}

core::Result<DeviceTasks> Store::LoadTasks(const core::Device& device, const Catalogue& catalogue) {
  Resting::Entry* kept = impl_->open ? impl_->resting.Find(device.key) : nullptr;
  if (kept != nullptr && kept->idle) {
    return DeviceTasks{};
  }
  return impl_->Run([&]() -> core::Result<DeviceTasks> {
    DeviceTasks tasks;
    Query rows = impl_->Ask(sql::kLiveTasks);
    for (rows.Bind(device.id, device.key.device); rows.Next();) {
      core::Result<core::Task> task = TaskOf(*impl_, rows, catalogue);
      if (!task) {
        return tl::unexpected(task.error());
      }
      if (task->owes_cancel) {
        tasks.cancels.push_back(std::move(*task));
      } else if (task->state == core::TaskState::kQueued) {
        tasks.queued.push_back(std::move(*task));
      } else {
        tasks.open = std::move(*task);
      }
    }
    std::sort(tasks.queued.begin(), tasks.queued.end(), TaskBefore);
    if (kept != nullptr) {
      kept->idle = !tasks.open && tasks.queued.empty() && tasks.cancels.empty();
    }
    return tasks;
  });
}

core::Result<std::optional<core::Task>> Store::LoadTask(std::string_view name,
                                                        const core::Device& device,
                                                        const Catalogue& catalogue) {
  return impl_->Run([&] { return OneTask(*impl_, sql::kNamedTask, name, device, catalogue); });
}

core::Result<std::optional<core::Task>> Store::LoadTaskOf(std::string_view plan,
                                                          const core::Device& device,
                                                          const Catalogue& catalogue) {
  return impl_->Run([&] { return OneTask(*impl_, sql::kTaskOfPlan, plan, device, catalogue); });
}

core::Result<std::vector<core::Task>> Store::LoadFailed(const core::Device& device,
                                                        const Catalogue& catalogue) {
  Resting::Entry* kept = impl_->open ? impl_->resting.Find(device.key) : nullptr;
  if (kept != nullptr && kept->unfailed) {
    return std::vector<core::Task>();
  }
  return impl_->Run([&]() -> core::Result<std::vector<core::Task>> {
    std::vector<core::Task> tasks;
    Query rows = impl_->Ask(sql::kFailedTasks);
    for (rows.Bind(device.id, device.key.device); rows.Next();) {
      core::Result<core::Task> task = TaskOf(*impl_, rows, catalogue);
      if (!task) {
        return tl::unexpected(task.error());
      }
      tasks.push_back(std::move(*task));
    }
    if (kept != nullptr) {
      kept->unfailed = tasks.empty();
    }
    return tasks;
  });
}

core::Result<bool> Store::HasTask(std::string_view plan, std::int64_t device_id) {
  return impl_->Run([&]() -> core::Result<bool> {
    Query row = impl_->Ask(sql::kHasTask);
    row.Bind(plan, device_id).Next();
    return row.Flag(0);
  });
}

core::Result<Listed> Store::ListedIn(std::string_view plan, std::string_view device) {
  return impl_->Run([&]() -> core::Result<Listed> {
    Query row = impl_->Ask(sql::kListed);
    row.Bind(plan, device).Next();
    return Listed{row.Flag(0), row.Flag(1), row.MaybeInt(2), row.MaybeInt(3)};
  });
}

core::Result<std::int64_t> Store::CountDevices(std::string_view product) {
  return impl_->Run([&]() -> core::Result<std::int64_t> {
    Query row = impl_->Ask(sql::kCountDevices);
    row.Bind(product).Next();
    return row.Int(0);
  });
}

core::Result<std::int64_t> Store::RegisteredDevices() {
  return impl_->Run([&]() -> core::Result<std::int64_t> {
    Query row = impl_->Ask(sql::kRegisteredDevices);
    row.Next();
    return row.Int(0);
  });
}

core::Result<std::vector<PackageFile>> Store::PackageFiles() {
  return impl_->Run([&]() -> core::Result<std::vector<PackageFile>> {
    std::vector<PackageFile> files;
    for (Query rows = impl_->Ask(sql::kAllFiles); rows.Next();) {
      core::Result<PackageFile> file = FileOf(rows);
      if (!file) {
        return tl::unexpected(file.error());
      }
      files.push_back(std::move(*file));
    }
    return files;
  });
}

core::Result<std::vector<LoginRow>> Store::LoginsAfter(const core::DeviceKey& after, int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<LoginRow>> {
    std::vector<LoginRow> logins;
    Query rows = impl_->Ask(sql::kLoginsAfter);
    for (rows.Bind(after.product, after.device, limit); rows.Next();) {
      logins.push_back(LoginOf(rows));
    }
    return logins;
  });
}

core::Result<std::vector<core::DeviceKey>> Store::SubDevices(const std::string& gateway,
                                                             int limit) {
  return impl_->Run([&]() -> core::Result<std::vector<core::DeviceKey>> {
    std::vector<core::DeviceKey> devices;
    Query rows = impl_->Ask(sql::kSubDevices);
    for (rows.Bind(gateway, limit); rows.Next();) {
      devices.push_back({rows.Text(0), rows.Text(1)});
    }
    return devices;
  });
}

core::Result<std::optional<LoginRow>> Store::LoadLogin(const core::DeviceKey& key) {
  return impl_->Run([&]() -> core::Result<std::optional<LoginRow>> {
    Query row = impl_->Ask(sql::kLogin);
    if (!row.Bind(key.product, key.device).Next()) {
      return std::nullopt;
    }
    return LoginOf(row);
  });
}

core::Result<bool> Store::HasSecrets() {
  return impl_->Run([&]() -> core::Result<bool> {
    Query row = impl_->Ask(sql::kHasSecrets);
    row.Next();
    return row.Flag(0);
  });
}

}  // namespace ota::store
