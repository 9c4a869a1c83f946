// Whether packages are what the product's key has signed (design, section 7). A package that is not
// is never offered. Engine thread.
#pragma once

#include <map>
#include <string>

#include "core/model.h"

namespace ota::engine {

class Signatures {
 public:
  // Gives why `package` of `product` may not be delivered, for people; "" when it may.
  //   public_key  PEM; "" when the product wants no signatures: then an unsigned package is fine,
  //               and a signed one is delivered with its signature, whose check is the device's
  std::string Check(const std::string& product, const std::string& public_key,
                    const core::Package& package);

 private:
  // What was verified; a verification costs a fraction of a millisecond, a catalogue is loaded
  // often.
  std::map<std::string, std::string> verdicts_;
};

}  // namespace ota::engine
