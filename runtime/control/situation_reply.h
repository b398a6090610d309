// What `perigeectl explain` reasons about (runtime/explain.h), as the coordinator tells it.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"
#include "runtime/explain.h"

namespace perigee {

// Links of one reply; where all members have more, those of the last members are left out.
inline constexpr size_t kLinkRowsMax = 100'000;

proto::SituationReply ToProto(const Situation& situation);
// Without the plan. The errors of convert.h.
absl::StatusOr<Situation> FromProto(const proto::SituationReply& reply);
absl::StatusOr<MemberAccount> FromProto(const proto::MemberAccount& account);
proto::MemberAccount ToProto(const MemberAccount& account);

}  // namespace perigee
