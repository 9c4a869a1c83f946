// The identity in a client's certificate. The broker's API hands certificates out as `void*`
// (mosquitto_client_certificate), so that the plugin itself need not know OpenSSL.
#pragma once

#include <string>

#include "core/result.h"

namespace ota::crypto {

// The common name of the subject of `certificate`, an `X509*` (null: kNotFound), as UTF-8. Takes
// the certificate over and frees it in every case, as the caller of mosquitto_client_certificate
// must. Fails with kInvalidArgument when there is no common name or more than one, when it is
// empty, longer than 256 bytes, or holds a NUL: two readers of such a name could take it for two
// different devices. Any thread; no disk.
core::Result<std::string> TakeCommonName(void* certificate);

}  // namespace ota::crypto
