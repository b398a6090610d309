// Control messages as bytes, for members that carry them to each other (peer_stream.h); towards the
// coordinator they travel as protobuf (runtime/control). Integers are 64-bit little-endian words,
// lists and texts have their length before them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/control_message.h"
#include "runtime/hibernation.h"

namespace perigee {

std::vector<uint8_t> Encode(MemberMessage message);
std::vector<uint8_t> Encode(CoordinatorMessage message);
// Of a sleeping member's disk.
std::vector<uint8_t> Encode(Resumption resumption);

// InvalidArgument for bytes that are cut short, too long or out of range, for a view without
// members or with members out of order, and for an accepted value without its ballot.
absl::StatusOr<MemberMessage> DecodeMemberMessage(absl::Span<const uint8_t> bytes);
absl::StatusOr<CoordinatorMessage> DecodeCoordinatorMessage(absl::Span<const uint8_t> bytes);
absl::StatusOr<Resumption> DecodeResumption(absl::Span<const uint8_t> bytes);

}  // namespace perigee
