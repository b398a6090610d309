// What a certificate says, and whether a job's CA vouches for it.
//
//   PERIGEE_ASSIGN_OR_RETURN(CertificateCheck check, CertificateCheck::Create(ca_pem));
//   if (auto fault = check.Find(now, peer_pem)) ...  // fault->refusal, fault->reason
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "runtime/control/authorization.h"
#include "runtime/control/openssl.h"
#include "runtime/control/refusals.h"

namespace perigee {

// The name in a certificate that stands for a role: "perigee-member", a DNS name among its
// alternative names. Peers are known by it, not by their address.
std::string RoleName(Role role);
// The role that such a name stands for.
std::optional<Role> RoleOfName(absl::string_view name);

struct CertificateText {
  std::string name;  // its common name: who holds it
  std::optional<Role> role;
  absl::Time begins, ends;
};
// InvalidArgument when there is no certificate in `pem`.
absl::StatusOr<CertificateText> ReadCertificate(absl::string_view pem);

struct CertificateFault {
  Refusal refusal;
  std::string reason;
};

class CertificateCheck {
 public:
  // `ca_pem` holds one or more certificates of CAs. InvalidArgument when it holds none.
  static absl::StatusOr<CertificateCheck> Create(absl::string_view ca_pem);

  // Why whoever shows `pem` as a client at `now` is not to be let in; nothing when it may.
  // Thread-safe.
  std::optional<CertificateFault> Find(absl::Time now, absl::string_view pem) const;

 private:
  explicit CertificateCheck(StorePtr store) : store_(std::move(store)) {}
  StorePtr store_;
};

}  // namespace perigee
