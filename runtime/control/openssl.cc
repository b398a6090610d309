#include "runtime/control/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

namespace perigee {

BioPtr ReadFrom(absl::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

CertificatePtr ParseCertificate(absl::string_view pem) {
  const BioPtr in = ReadFrom(pem);
  CertificatePtr certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return certificate;
}

PrivateKeyPtr ParsePrivateKey(absl::string_view pem) {
  const BioPtr in = ReadFrom(pem);
  // An encrypted key is no key for us: without this, OpenSSL asks for a password on the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  PrivateKeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  return key;
}

std::string LastOpenSslError() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  ERR_clear_error();
  return text;
}

}  // namespace perigee
