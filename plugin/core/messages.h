// The offer and the download of a task, as values. Internal to Decide. Pure. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.h"

namespace ota::core {

// The text for a language: exact, then its primary subtag, then "en", then the first; empty without
// texts. Letter case does not count.
std::string TextFor(const std::map<std::string, std::string>& texts, std::string_view lang);

// The offer of a task that is offered: the components that are not at their target [N-15].
Offer MakeOffer(const Task& task, const Device& device, const Now& now);

// The download of the current component; nothing while its files are not ready. `urls` and
// `expires_in` are left to the engine. [N-20] [N-21]
std::optional<Download> MakeDownload(const Task& task, const Product& product, const Now& now);

// Whether the device's dialect can carry these files over HTTP, or block by block.
bool FitHttp(const Product& product, const std::vector<File>& files);
bool FitBlocks(const Product& product, const std::vector<File>& files);

// The files of the current component, as they were chosen; null without a current component.
const FileSet* CurrentFiles(const Task& task);

}  // namespace ota::core
