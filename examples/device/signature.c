#include "signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

static bool Wrong(char* error, const char* what) {
  snprintf(error, 128, "%s", what);
  return false;
}

static const char* TextOf(const cJSON* object, const char* name) {
  const char* text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
  return text == NULL ? "" : text;
}

// Gives the bytes, NUL-terminated, to be freed; NULL if it is no base64.
static unsigned char* FromBase64(const char* text, int* size) {
  const size_t length = strlen(text);
  if (length == 0 || length % 4 != 0 || length > 65536) {
    return NULL;
  }
  unsigned char* bytes = malloc(length / 4 * 3 + 1);
  const int got =
      bytes == NULL ? -1 : EVP_DecodeBlock(bytes, (const unsigned char*)text, (int)length);
  if (got < 0) {
    free(bytes);
    return NULL;
  }
  *size = got - (text[length - 1] == '=') - (text[length - 2] == '=');
  bytes[*size] = '\0';
  return bytes;
}

static bool Verified(const char* public_key, const unsigned char* message, int message_size,
                     const unsigned char* signature, int signature_size) {
  FILE* file = fopen(public_key, "rb");
  EVP_PKEY* key = file == NULL ? NULL : PEM_read_PUBKEY(file, NULL, NULL, NULL);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool ok = key != NULL && context != NULL &&
                  EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                  EVP_DigestVerify(context, signature, (size_t)signature_size, message,
                                   (size_t)message_size) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  if (file != NULL) {
    fclose(file);
  }
  return ok;
}

// Whether the signed manifest is of this download: its component and version, and every file.
static bool Names(const cJSON* manifest, const cJSON* download, const char* product) {
  if (strcmp(TextOf(manifest, "product"), product) != 0 ||
      strcmp(TextOf(manifest, "component"), TextOf(download, "component")) != 0 ||
      strcmp(TextOf(manifest, "version"), TextOf(download, "to")) != 0) {
    return false;
  }
  const cJSON* file = NULL;
  cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(download, "files")) {
    const cJSON* one = NULL;
    bool found = false;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(manifest, "files")) {
      found = found || strcmp(TextOf(one, "sha256"), TextOf(file, "sha256")) == 0;
    }
    if (!found) {
      return false;
    }
  }
  return true;
}

bool CheckSignature(const char* text, const char* product, const char* public_key, char* error) {
  cJSON* download = cJSON_Parse(text);
  int manifest_size = 0;
  int signature_size = 0;
  unsigned char* manifest = FromBase64(TextOf(download, "manifest"), &manifest_size);
  unsigned char* signature = FromBase64(TextOf(download, "signature"), &signature_size);
  cJSON* object = manifest == NULL ? NULL : cJSON_Parse((const char*)manifest);
  bool ok = true;
  if (manifest == NULL || signature == NULL || object == NULL) {
    ok = Wrong(error, "the package is not signed");
  } else if (!Verified(public_key, manifest, manifest_size, signature, signature_size)) {
    ok = Wrong(error, "the signature is not that of the key");
  } else if (!Names(object, download, product)) {
    ok = Wrong(error, "the signed manifest is of something else");
  }
  cJSON_Delete(object);
  free(signature);
  free(manifest);
  cJSON_Delete(download);
  return ok;
}
