// What a package's signature is of. Pure. Any thread. plugin/dialect/README.md [N-23] has the form.
#pragma once

#include <string>
#include <string_view>

#include "core/model.h"

namespace ota::core {

// The manifest of a package of `product`: one line of JSON with the product, the package, its
// component, kind and version, and every file by source version, name, length and SHA-256, in the
// order of `package.sets`. Two packages have the same manifest only if all of that is the same.
// Empty when the digest of a file is not known.
std::string Manifest(std::string_view product, const Package& package);

// RFC 4648 section 4, with padding: how manifests and signatures go over the wire.
std::string Base64(std::string_view bytes);

}  // namespace ota::core
