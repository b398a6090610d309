// A job's own certificate authority, and the folder that `perigeectl cert init` makes with it.
//
//   PERIGEE_RETURN_IF_ERROR(MakeCertificates("certs", absl::Now(), absl::Hours(24 * 365)));
//
// Keys are P-256: small, quick, and accepted by every TLS library that gRPC is built with.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/control/authorization.h"

namespace perigee {

struct KeyAndCertificate {
  std::string key_pem, certificate_pem;
};
struct Lifetime {
  absl::Time begins, ends;
};

class CertificateAuthority {
 public:
  // With a new key.
  static absl::StatusOr<CertificateAuthority> Create(const Lifetime& lifetime);

  // For whoever is called `name` (at most 64 bytes) and holds `role`; a new key each time.
  absl::StatusOr<KeyAndCertificate> Issue(Role role, const std::string& name,
                                          const Lifetime& lifetime) const;
  const KeyAndCertificate& own() const { return own_; }

 private:
  explicit CertificateAuthority(KeyAndCertificate own) : own_(std::move(own)) {}
  KeyAndCertificate own_;
};

// Fills `folder` (made where it is missing, for its owner only): ca.pem and ca.key, ROLE.pem and
// ROLE.key of every role, join.key (join_token.h). Keys are readable by their owner only.
// AlreadyExists, with nothing changed, when one of these files is there.
absl::Status MakeCertificates(const std::string& folder, absl::Time now, absl::Duration lifetime);

}  // namespace perigee
