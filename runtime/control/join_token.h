// Shows that a member has the job's key, without sending it. The coordinator opens every stream
// with a nonce of its own, and the member answers in Register:
//
//   HMAC-SHA256(join key, "perigee join v1" | nonce | node | incarnation)
//
// A token that was seen elsewhere fits no other stream, so a replay is refused without a clock and
// without a memory of the tokens that were used.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "transport/base/ids.h"

namespace perigee {

inline constexpr size_t kJoinKeyBytes = 32;
inline constexpr size_t kJoinNonceBytes = 32;
// Where the nonce travels: the metadata with which the coordinator opens a stream ("-bin": bytes).
inline constexpr char kJoinNonceMetadata[] = "perigee-join-nonce-bin";

// 32 random bytes; for a key and for a nonce.
std::string RandomBytes32();

std::string JoinToken(absl::string_view join_key, absl::string_view nonce, NodeId node,
                      const Incarnation& incarnation);
// Unauthenticated when `token` is another one. Takes the same time for all wrong ones.
absl::Status CheckJoinToken(absl::string_view token, absl::string_view expected);

}  // namespace perigee
