#include "crypto/certificate.h"

#include <cstddef>
#include <memory>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/x509.h>

namespace ota::crypto {
namespace {
constexpr std::size_t kMaxCommonName = 256;
}

core::Result<std::string> TakeCommonName(void* certificate) {
  using core::ErrorCode;
  using core::Fail;

  const std::unique_ptr<X509, decltype(&X509_free)> owned(static_cast<X509*>(certificate),
                                                          X509_free);
  if (!owned) {
    return Fail(ErrorCode::kNotFound, "the client has no certificate");
  }
  const X509_NAME* subject = X509_get_subject_name(owned.get());
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) {
    return Fail(ErrorCode::kInvalidArgument, "the certificate has no common name");
  }
  if (X509_NAME_get_index_by_NID(subject, NID_commonName, index) >= 0) {
    return Fail(ErrorCode::kInvalidArgument, "the certificate has more than one common name");
  }
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (size < 0) {
    return Fail(ErrorCode::kInvalidArgument, "the certificate's common name is not text");
  }
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  if (name.empty() || name.size() > kMaxCommonName || name.find('\0') != std::string::npos) {
    return Fail(ErrorCode::kInvalidArgument,
                "the certificate's common name must be 1 to 256 bytes without NUL");
  }
  return name;
}

}  // namespace ota::crypto
