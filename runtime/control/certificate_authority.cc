#include "runtime/control/certificate_authority.h"

#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/control/certificate.h"
#include "runtime/control/join_token.h"
#include "runtime/control/openssl.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// The clocks of members may be behind the one that made the certificates.
constexpr absl::Duration kClockSkew = absl::Hours(1);
constexpr int kSerialBits = 159;  // RFC 5280 4.1.2.2: at most 20 octets, positive
constexpr int kX509Version3 = 2;

using Extensions = std::vector<std::pair<int, std::string>>;  // NID and OpenSSL's notation

absl::Status Failed(const char* what) {
  return absl::InternalError(absl::StrCat("OpenSSL cannot ", what, ": ", LastOpenSslError()));
}

template <typename Write>
std::string ToPem(Write write) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (write(out.get()) != 1) return "";
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

bool SetSerial(X509* certificate) {
  const SerialPtr serial(BN_new());
  return BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool SetTimes(X509* certificate, const Lifetime& lifetime) {
  return ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(lifetime.begins)) !=
             nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(lifetime.ends)) != nullptr;
}

bool SetName(X509* certificate, const std::string& name) {
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                    MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(name.data()),
                                    static_cast<int>(name.size()), -1, 0) == 1;
}

bool AddExtensions(X509* certificate, X509* issuer, const Extensions& extensions) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  for (const auto& [nid, value] : extensions) {
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) return false;
  }
  return true;
}

// Null `issuer`: it signs itself.
absl::StatusOr<KeyAndCertificate> Make(const std::string& name, const Lifetime& lifetime,
                                       const Extensions& extensions,
                                       const KeyAndCertificate* issuer) {
  const PrivateKeyPtr key(EVP_EC_gen("P-256"));
  const CertificatePtr certificate(X509_new());
  if (key == nullptr || certificate == nullptr) return Failed("make a key");
  CertificatePtr issuer_certificate;
  PrivateKeyPtr issuer_key;
  if (issuer != nullptr) {
    issuer_certificate = ParseCertificate(issuer->certificate_pem);
    issuer_key = ParsePrivateKey(issuer->key_pem);
    if (issuer_certificate == nullptr || issuer_key == nullptr) return Failed("read the CA");
  }
  X509* const by = issuer != nullptr ? issuer_certificate.get() : certificate.get();
  EVP_PKEY* const signs_with = issuer != nullptr ? issuer_key.get() : key.get();
  if (X509_set_version(certificate.get(), kX509Version3) != 1 || !SetSerial(certificate.get()) ||
      !SetTimes(certificate.get(), lifetime) || !SetName(certificate.get(), name) ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(by)) != 1 ||
      X509_set_pubkey(certificate.get(), key.get()) != 1 ||
      !AddExtensions(certificate.get(), by, extensions) ||
      X509_sign(certificate.get(), signs_with, EVP_sha256()) == 0) {
    return Failed("make a certificate");
  }
  return KeyAndCertificate{
      .key_pem = ToPem([&](BIO* out) {
        return PEM_write_bio_PKCS8PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
      }),
      .certificate_pem =
          ToPem([&](BIO* out) { return PEM_write_bio_X509(out, certificate.get()); })};
}

// Never over an existing file. `mode` holds from the first moment.
absl::Status WriteNew(const std::string& path, const std::string& content, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  const bool written =
      write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  const int error = errno;
  if (close(fd) == 0 && written) return absl::OkStatus();
  return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path));
}

// File name to content, for all of a job.
absl::StatusOr<std::map<std::string, std::string>> MakeFiles(const Lifetime& lifetime) {
  PERIGEE_ASSIGN_OR_RETURN(const CertificateAuthority authority,
                           CertificateAuthority::Create(lifetime));
  std::map<std::string, std::string> files = {
      {"ca.pem", authority.own().certificate_pem},
      {"ca.key", authority.own().key_pem},
      {"join.key", absl::StrCat(absl::BytesToHexString(RandomBytes32()), "\n")}};
  for (Role role : kRoles) {
    PERIGEE_ASSIGN_OR_RETURN(KeyAndCertificate made, authority.Issue(role, Name(role), lifetime));
    files[absl::StrCat(Name(role), ".pem")] = std::move(made.certificate_pem);
    files[absl::StrCat(Name(role), ".key")] = std::move(made.key_pem);
  }
  return files;
}

}  // namespace

absl::StatusOr<CertificateAuthority> CertificateAuthority::Create(const Lifetime& lifetime) {
  // The name tells jobs apart in error messages.
  const std::string name = absl::StrCat(
      "Perigee CA ", absl::BytesToHexString(absl::string_view(RandomBytes32()).substr(0, 4)));
  PERIGEE_ASSIGN_OR_RETURN(KeyAndCertificate own,
                           Make(name, lifetime,
                                {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                 {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                 {NID_subject_key_identifier, "hash"}},
                                nullptr));
  return CertificateAuthority(std::move(own));
}

absl::StatusOr<KeyAndCertificate> CertificateAuthority::Issue(Role role, const std::string& name,
                                                              const Lifetime& lifetime) const {
  // A member's certificate must not pass for the coordinator's: the purpose keeps them apart, too.
  const char* const purpose = role == Role::kCoordinator ? "serverAuth" : "clientAuth";
  return Make(name, lifetime,
              {{NID_basic_constraints, "critical,CA:FALSE"},
               {NID_key_usage, "critical,digitalSignature"},
               {NID_ext_key_usage, purpose},
               {NID_subject_alt_name, absl::StrCat("DNS:", RoleName(role))},
               {NID_subject_key_identifier, "hash"},
               {NID_authority_key_identifier, "keyid"}},
              &own_);
}

absl::Status MakeCertificates(const std::string& folder, absl::Time now, absl::Duration lifetime) {
  PERIGEE_ASSIGN_OR_RETURN(const auto files,
                           MakeFiles({.begins = now - kClockSkew, .ends = now + lifetime}));
  for (const auto& [name, content] : files) {
    const std::string path = absl::StrCat(folder, "/", name);
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      return absl::AlreadyExistsError(
          absl::StrCat(path, " is there already: name another folder, or remove the old job's"));
    }
  }
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make the folder ", folder));
  }
  for (const auto& [name, content] : files) {
    const bool secret = std::filesystem::path(name).extension() == ".key";
    PERIGEE_RETURN_IF_ERROR(
        WriteNew(absl::StrCat(folder, "/", name), content, secret ? 0600 : 0644));
  }
  return absl::OkStatus();
}

}  // namespace perigee
