// What one process shows and trusts on the control plane, read from a folder that `perigeectl cert
// init` made. A process needs only the files of its own role:
//
//   ca.pem, ROLE.pem, ROLE.key; coordinator and members also join.key
//
//   PERIGEE_ASSIGN_OR_RETURN(Credentials mine, LoadCredentials("certs", Role::kMember,
//   absl::Now()));
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/control/authorization.h"

namespace perigee {

struct Credentials {
  Role role = Role::kObserver;
  std::string ca_pem, certificate_pem, key_pem;
  std::string join_key;  // coordinator and members
};

// InvalidArgument, one line for the operator: a file is missing, a key may be read by others, the
// certificate has expired, is of another role, or does not belong to the key.
absl::StatusOr<Credentials> LoadCredentials(const std::string& folder, Role role, absl::Time now);
// As operator where the folder has an operator's key, else as observer.
absl::StatusOr<Credentials> LoadOperatorCredentials(const std::string& folder, absl::Time now);

// How a program was told to connect: with `certs`, or in the open. InvalidArgument when it was told
// neither or both, saying what makes certificates; nothing in the optional for `insecure`.
absl::StatusOr<std::optional<Credentials>> ChooseCredentials(const std::string& certs,
                                                             bool insecure, Role role,
                                                             absl::Time now);

}  // namespace perigee
