// How offers and downloads follow from a task.
#include "core/messages.h"

#include <algorithm>

#include "core/eligibility.h"

namespace ota::core {
namespace {

// ASCII only: language tags are.
std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& letter : lower) {
    if (letter >= 'A' && letter <= 'Z') {
      letter = static_cast<char>(letter - 'A' + 'a');
    }
  }
  return lower;
}

// Whole seconds until the task's deadline, rounded up, at least 1.
seconds Remaining(const Task& task, const Now& now) {
  if (!task.deadline) {
    return seconds(1);
  }
  return std::max(seconds(1), std::chrono::ceil<seconds>(*task.deadline - now.steady));
}

const PlanComponent* InPlan(const Task& task, std::string_view name) {
  for (const PlanComponent& component : task.plan->components) {
    if (component.name == name) {
      return &component;
    }
  }
  return nullptr;
}

const TaskComponent* CurrentOf(const Task& task) {
  for (const TaskComponent& component : task.components) {
    if (component.state == ComponentState::kCurrent) {
      return &component;
    }
  }
  return nullptr;
}

bool Fit(const std::vector<File>& files, int count, std::int64_t bytes) {
  return files.size() <= static_cast<std::size_t>(count) &&
         std::all_of(files.begin(), files.end(),
                     [bytes](const File& file) { return file.bytes <= bytes; });
}

}  // namespace

std::string TextFor(const std::map<std::string, std::string>& texts, std::string_view lang) {
  const std::string wanted = Lower(lang);
  const std::string primary = wanted.substr(0, wanted.find_first_of("-_"));
  for (const std::string& one : {wanted, primary, std::string("en")}) {
    for (const auto& [name, text] : texts) {
      if (Lower(name) == one) {
        return text;
      }
    }
  }
  return texts.empty() ? std::string() : texts.begin()->second;
}

Offer MakeOffer(const Task& task, const Device& device, const Now& now) {
  const Plan& plan = *task.plan;
  Offer offer;
  offer.task = task.name;
  offer.mode = plan.mode;
  offer.consent = plan.mode == Mode::kManual && task.consent;
  for (const PlanComponent& component : plan.components) {
    const Installed* installed = FindInstalled(device, component.name);
    if (installed == nullptr || AtTarget(device, component.name, component.target)) {
      continue;
    }
    const Choice choice = Choose(component, installed->version);
    std::int64_t bytes = 0;
    if (choice.set != nullptr) {
      for (const File& file : choice.set->files) {
        bytes += file.bytes;
      }
    }
    offer.components.push_back({component.name, component.type, choice.kind, installed->version,
                                component.target, bytes, component.boot});
  }
  offer.conditions = plan.conditions;
  offer.text = TextFor(plan.texts, device.lang);
  offer.plan = plan.name;
  offer.tags = plan.tags;
  offer.expires_in = Remaining(task, now);
  return offer;
}

bool FitHttp(const Product& product, const std::vector<File>& files) {
  return product.http && Fit(files, product.wire.http_files, product.wire.http_bytes);
}

bool FitBlocks(const Product& product, const std::vector<File>& files) {
  return product.blocks && Fit(files, product.wire.block_files, product.wire.block_bytes);
}

const FileSet* CurrentFiles(const Task& task) {
  const TaskComponent* current = CurrentOf(task);
  const PlanComponent* component = current == nullptr ? nullptr : InPlan(task, current->name);
  return component == nullptr ? nullptr : FilesOf(*component, current->package, current->source);
}

std::optional<Download> MakeDownload(const Task& task, const Product& product, const Now& now) {
  const TaskComponent* current = CurrentOf(task);
  const FileSet* files = CurrentFiles(task);
  if (current == nullptr || files == nullptr || !files->ready || files->files.empty()) {
    return std::nullopt;
  }
  Download download;
  download.task = task.name;
  download.component = current->name;
  download.package = current->package;
  download.from = current->source;
  download.to = current->target;
  download.attempt = current->attempt;
  download.deadline_in = Remaining(task, now);
  download.blocks = FitBlocks(product, files->files);
  download.http = FitHttp(product, files->files);
  download.files = files->files;
  download.tags = task.plan->tags;
  const PlanComponent* component = InPlan(task, current->name);
  const std::optional<Package>& package =
      current->package == PackageKind::kDelta ? component->delta : component->full;
  download.manifest = package->manifest;
  download.signature = package->signature;
  download.key_id = package->key_id;
  return download;
}

}  // namespace ota::core
