// Between the structs of control_message.h and the messages of proto/control.proto. What comes in
// is checked here, field by field: the cores behind it may rely on what their headers say.
//
//   proto::MemberMessage message = ToProto(MemberMessage(Leave{"done"}));
//   PERIGEE_ASSIGN_OR_RETURN(MemberMessage back, FromProto(message));
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"
#include "runtime/control_message.h"
#include "transport/view.h"

namespace perigee {

// Limits of one message, on both sides. gRPC refuses longer ones before they are read into memory.
inline constexpr size_t kMessageBytesMax = size_t{1} << 20;
inline constexpr size_t kMembersMax = 10000;     // of a view
inline constexpr size_t kOpsMax = 4096;          // in one message: reports, status or decisions
inline constexpr size_t kLinksMax = 4096;        // in one message: one per session
inline constexpr size_t kAddressBytesMax = 261;  // a DNS name (253), brackets, colon, port
inline constexpr size_t kVersionBytesMax = 64;
inline constexpr size_t kReasonBytesMax = 4096;
inline constexpr uint32_t kVotesMax = 1'000'000;  // of one member: sums cannot overflow
// The contact plan travels in one Welcome, beside a few small fields.
inline constexpr size_t kPlanTextBytesMax = kMessageBytesMax - 4096;

// Reasons longer than kReasonBytesMax are cut.
proto::MemberMessage ToProto(const MemberMessage& message);
proto::CoordinatorMessage ToProto(const CoordinatorMessage& message);
proto::View ToProto(const View& view);
proto::Id128 ToProto(const Incarnation& id);
proto::Beat ToProto(const Beat& beat);
proto::OpReport ToProto(const OpReport& report);
proto::MemberStats ToProto(const MemberStats& stats);

// InvalidArgument, naming the field: a limit above is passed, a view is not sorted by node, a kind
// is unknown, an incarnation is missing. Statistics that are not finite become 0: they are only
// shown to people.
absl::StatusOr<MemberMessage> FromProto(const proto::MemberMessage& message);
absl::StatusOr<CoordinatorMessage> FromProto(const proto::CoordinatorMessage& message);
absl::StatusOr<Beat> FromProto(const proto::Beat& beat);
Incarnation FromProto(const proto::Id128& id);

}  // namespace perigee
