#include "runtime/control/credentials.h"

#include <openssl/err.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/control/certificate.h"
#include "runtime/control/join_token.h"
#include "runtime/control/openssl.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

absl::StatusOr<std::string> ReadText(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (file.good()) return text.str();
  return absl::InvalidArgumentError(
      absl::StrCat("cannot read ", path, ": ", std::strerror(errno == 0 ? EIO : errno),
                   " (`perigeectl cert init --out DIR` makes such a folder)"));
}

absl::StatusOr<std::string> ReadSecret(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) == 0 && (file.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is open to others than its owner: chmod 600 ", path));
  }
  return ReadText(path);
}

absl::Status CheckCertificate(const std::string& path, const Credentials& mine, absl::Time now) {
  const auto text = ReadCertificate(mine.certificate_pem);
  if (!text.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", text.status().message()));
  }
  if (text->role != mine.role) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " has ", text->role ? absl::StrCat("the role ", Name(*text->role)) : "no role",
        ", not ", Name(mine.role)));
  }
  if (text->ends <= now || text->begins > now) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, text->ends <= now ? " expired at " : " is not valid before ",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", text->ends <= now ? text->ends : text->begins,
                         absl::UTCTimeZone()),
        ": make new ones with `perigeectl cert init --out DIR`, or look at this machine's clock"));
  }
  const CertificatePtr certificate = ParseCertificate(mine.certificate_pem);
  const PrivateKeyPtr key = ParsePrivateKey(mine.key_pem);
  const bool fits = key != nullptr && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, " and the key beside it do not belong together"));
}

absl::StatusOr<std::string> ReadJoinKey(const std::string& path) {
  PERIGEE_ASSIGN_OR_RETURN(const std::string text, ReadSecret(path));
  const absl::string_view digits = absl::StripAsciiWhitespace(text);
  bool hex = digits.size() == 2 * kJoinKeyBytes;
  for (const char c : digits) hex = hex && absl::ascii_isxdigit(static_cast<unsigned char>(c));
  if (hex) return absl::HexStringToBytes(digits);
  return absl::InvalidArgumentError(
      absl::StrCat(path, " does not hold ", 2 * kJoinKeyBytes, " hexadecimal digits"));
}

}  // namespace

absl::StatusOr<Credentials> LoadCredentials(const std::string& folder, Role role, absl::Time now) {
  Credentials mine{.role = role};
  const std::string stem = absl::StrCat(folder, "/", Name(role));
  PERIGEE_ASSIGN_OR_RETURN(mine.ca_pem, ReadText(absl::StrCat(folder, "/ca.pem")));
  if (const auto check = CertificateCheck::Create(mine.ca_pem); !check.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(folder, "/ca.pem: ", check.status().message()));
  }
  PERIGEE_ASSIGN_OR_RETURN(mine.certificate_pem, ReadText(absl::StrCat(stem, ".pem")));
  PERIGEE_ASSIGN_OR_RETURN(mine.key_pem, ReadSecret(absl::StrCat(stem, ".key")));
  PERIGEE_RETURN_IF_ERROR(CheckCertificate(absl::StrCat(stem, ".pem"), mine, now));
  if (role == Role::kCoordinator || role == Role::kMember) {
    PERIGEE_ASSIGN_OR_RETURN(mine.join_key, ReadJoinKey(absl::StrCat(folder, "/join.key")));
  }
  return mine;
}

absl::StatusOr<Credentials> LoadOperatorCredentials(const std::string& folder, absl::Time now) {
  struct stat file {};
  const bool may_command = stat(absl::StrCat(folder, "/operator.key").c_str(), &file) == 0;
  return LoadCredentials(folder, may_command ? Role::kOperator : Role::kObserver, now);
}

absl::StatusOr<std::optional<Credentials>> ChooseCredentials(const std::string& certs,
                                                             bool insecure, Role role,
                                                             absl::Time now) {
  if (certs.empty() == !insecure) {
    return absl::InvalidArgumentError(
        insecure ? "--certs and --insecure exclude each other: leave one out"
                 : "no certificates: make some with `perigeectl cert init --out DIR` and pass "
                   "--certs DIR, or pass --insecure on a network that you trust");
  }
  if (insecure) return std::nullopt;
  if (role != Role::kOperator) return LoadCredentials(certs, role, now);
  return LoadOperatorCredentials(certs, now);
}

}  // namespace perigee
