// The numbers that peers reduce, and what must come out. Small integers, so that a sum of floats is
// exact in any order, one wrong element is found, and the result shows whose inputs it holds.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace perigee {

// Which inputs: the same on every member but for `rank`.
struct PeerInput {
  uint64_t seed = 1;
  uint64_t op = 0;  // counted over all sizes
};

void FillPeerInput(const PeerInput& input, uint32_t rank, absl::Span<float> values);

// The set of members (bit r: rank r) whose inputs `result` sums, with every element right. 0 when
// there is none. At most 16 members.
uint32_t PeersInSum(const PeerInput& input, uint32_t nodes, absl::Span<const float> result);

// Over the bits and their places: equal on all members when the results are.
uint64_t PeerChecksum(absl::Span<const float> result);

}  // namespace perigee
