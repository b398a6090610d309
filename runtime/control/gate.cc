#include "runtime/control/gate.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/control/convert.h"
#include "runtime/control/join_token.h"

namespace perigee {

absl::Status CheckLength(size_t bytes) {
  if (bytes <= kMessageBytesMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("a message of ", bytes, " bytes; at most ", kMessageBytesMax, " are taken"));
}

Gate::Gate(const std::optional<Credentials>& mine, const ControlLimits& limits,
           CoordinatorLoop& loop)
    : mine_(mine),
      limits_(limits),
      refusals_(std::make_shared<Refusals>([&loop](const std::string& line) {
        loop.Post([line](absl::Time now, Coordinator& coordinator) {
          coordinator.Audit(now, std::nullopt, line);
        });
      })),
      questions_(limits.questions),
      attempts_(limits.attempts) {}

Gate::~Gate() { refusals_->StopTelling(); }

absl::StatusOr<Peer> Gate::Admit(Rpc rpc, const grpc::ServerContextBase& context, size_t bytes) {
  const Peer peer = PeerOf(context);
  if (secure()) {
    const absl::Status allowed = Authorize(rpc, peer.role);
    if (!allowed.ok()) return Refuse(Refusal::kWrongRole, rpc, peer, allowed);
  }
  if (const absl::Status fits = CheckLength(bytes); !fits.ok()) {
    return Refuse(Refusal::kTooLong, rpc, peer, fits);
  }
  bool soon = false;
  {
    std::lock_guard lock(mutex_);
    soon = rpc == Rpc::kAttach ? !attempts_.Take(absl::Now(), peer.host)
                               : !questions_.Take(absl::Now(), ToString(peer));
  }
  if (!soon) return peer;
  return Refuse(Refusal::kTooFast, rpc, peer,
                absl::ResourceExhaustedError("too many requests: try again a little later"));
}

absl::Status Gate::Refuse(Refusal cause, Rpc rpc, const Peer& peer, const absl::Status& why) {
  refusals_->Add(absl::Now(), cause,
                 absl::StrCat(Name(rpc), " by ", ToString(peer), ": ", why.message()));
  return why;
}

absl::Status Gate::CheckToken(absl::string_view token, absl::string_view nonce, NodeId node,
                              const Incarnation& incarnation) const {
  if (!secure()) return absl::OkStatus();
  return CheckJoinToken(token, JoinToken(mine_->join_key, nonce, node, incarnation));
}

}  // namespace perigee
