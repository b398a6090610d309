#include "runtime/control/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <ctime>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace perigee {
namespace {

constexpr char kRolePrefix[] = "perigee-";

absl::Time ToTime(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string CommonName(const X509* certificate) {
  char text[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, sizeof(text));
  // It may be a stranger's, and ends up on terminals and in texts that must be UTF-8.
  return absl::CHexEscape(text);
}

std::optional<Role> RoleOf(const X509* certificate) {
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const absl::string_view text(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
        static_cast<size_t>(ASN1_STRING_length(name->d.dNSName)));
    if (const std::optional<Role> role = RoleOfName(text)) return role;
  }
  return std::nullopt;
}

CertificateText TextOf(const X509* certificate) {
  return {.name = CommonName(certificate),
          .role = RoleOf(certificate),
          .begins = ToTime(X509_get0_notBefore(certificate)),
          .ends = ToTime(X509_get0_notAfter(certificate))};
}

std::string Utc(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

CertificateFault Explain(int error, const CertificateText& text) {
  const std::string who = absl::StrCat("the certificate of '", text.name, "'");
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {Refusal::kExpiredCertificate, absl::StrCat(who, " expired at ", Utc(text.ends))};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {Refusal::kExpiredCertificate,
              absl::StrCat(who, " is not valid before ", Utc(text.begins))};
    default:
      return {Refusal::kForeignCertificate, absl::StrCat(who, " is not one of this job's CA: ",
                                                         X509_verify_cert_error_string(error))};
  }
}

}  // namespace

std::string RoleName(Role role) { return absl::StrCat(kRolePrefix, Name(role)); }

std::optional<Role> RoleOfName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kRolePrefix)) return std::nullopt;
  return RoleNamed(name);
}

absl::StatusOr<CertificateText> ReadCertificate(absl::string_view pem) {
  const CertificatePtr certificate = ParseCertificate(pem);
  if (certificate == nullptr) return absl::InvalidArgumentError("there is no certificate in it");
  return TextOf(certificate.get());
}

absl::StatusOr<CertificateCheck> CertificateCheck::Create(absl::string_view ca_pem) {
  StorePtr store(X509_STORE_new());
  const BioPtr in = ReadFrom(ca_pem);
  bool any = false;
  while (CertificatePtr authority{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)}) {
    any = X509_STORE_add_cert(store.get(), authority.get()) == 1 || any;
  }
  ERR_clear_error();  // the end of the text is an error to OpenSSL
  if (!any) return absl::InvalidArgumentError("there is no certificate of a CA in it");
  return CertificateCheck(std::move(store));
}

std::optional<CertificateFault> CertificateCheck::Find(absl::Time now,
                                                       absl::string_view pem) const {
  const CertificatePtr certificate = ParseCertificate(pem);
  if (certificate == nullptr) {
    return CertificateFault{Refusal::kNoCertificate, "a peer showed no certificate"};
  }
  const CertificateText text = TextOf(certificate.get());
  const StoreContextPtr context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store_.get(), certificate.get(), nullptr) != 1) {
    return CertificateFault{Refusal::kForeignCertificate, LastOpenSslError()};
  }
  X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT);
  X509_STORE_CTX_set_time(context.get(), 0, absl::ToTimeT(now));
  if (X509_verify_cert(context.get()) == 1) return std::nullopt;
  const int error = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  return Explain(error, text);
}

}  // namespace perigee
