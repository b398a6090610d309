// Who may begin what, how large and how often; what is refused is counted and told to the audit
// log.
//
//   PERIGEE_ASSIGN_OR_RETURN(Peer peer, gate.Admit(Rpc::kDrain, *context,
//   request->ByteSizeLong()));
//
// Thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/control/authorization.h"
#include "runtime/control/control_limits.h"
#include "runtime/control/coordinator_loop.h"
#include "runtime/control/credentials.h"
#include "runtime/control/rate_limit.h"
#include "runtime/control/refusals.h"
#include "runtime/control/tls.h"

namespace perigee {

// ResourceExhausted when a message is longer than kMessageBytesMax.
absl::Status CheckLength(size_t bytes);

class Gate {
 public:
  // `loop` outlives it. Without `mine` there is no TLS: roles and join tokens are not asked for.
  Gate(const std::optional<Credentials>& mine, const ControlLimits& limits, CoordinatorLoop& loop);
  ~Gate();

  // Of a call that has just come. PermissionDenied for the wrong role; ResourceExhausted when it is
  // too long or comes too soon.
  absl::StatusOr<Peer> Admit(Rpc rpc, const grpc::ServerContextBase& context, size_t bytes);
  // Counts and tells a refusal that was found elsewhere; returns `why`.
  absl::Status Refuse(Refusal cause, Rpc rpc, const Peer& peer, const absl::Status& why);

  // Unauthenticated unless `token` was made with the job's key for this stream's nonce.
  absl::Status CheckToken(absl::string_view token, absl::string_view nonce, NodeId node,
                          const Incarnation& incarnation) const;
  bool secure() const { return mine_.has_value(); }
  const ControlLimits& limits() const { return limits_; }
  const std::shared_ptr<Refusals>& refusals() const { return refusals_; }

 private:
  const std::optional<Credentials> mine_;
  const ControlLimits limits_;
  const std::shared_ptr<Refusals> refusals_;

  std::mutex mutex_;  // of what follows
  RateLimit questions_;
  RateLimit attempts_;
};

}  // namespace perigee
