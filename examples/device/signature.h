// Signed packages: a download is taken only if its manifest names its files and the key has signed
// the manifest. [N-23]
#pragma once

#include <stdbool.h>

// Whether the download message `text` is for `product` and signed by the key in `public_key` (the
// path of a PEM file; EC or RSA with SHA-256). Gives false, and in `error` (128 bytes) why not.
bool CheckSignature(const char* text, const char* product, const char* public_key, char* error);
