// The trailer of every transfer of a collective: what the body holds and how to check it. It
// travels behind the body in the same message (transport/region.h).
//
// Layout, little endian, with W = ceil(universe_max / 64):
//
//   bytes            field
//   0  .. 3          version, kFrameVersion
//   4  .. 7          flags, OR-ed over the contributions
//   8  .. 15         done_through (OpId), the minimum over the members in the body
//   16 .. 23         call_digest
//   24 .. 27         universe of the contribution set, at most universe_max
//   28 .. 31         zero
//   32 .. 32+8W-1    contributions: index i is bit (i mod 64) of the 64-bit word i / 64
//   32+8W .. +7      digest: XXH3-64 of all bytes of the trailer before it, with XXH3-64(body) as
//   seed
//
// The size depends only on universe_max, so that a receiver can post its region before the message
// is made. The digest is made where the body is made and checked at every receiver: it also finds
// what memory, not the wire, has changed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "collectives/contribution_set.h"
#include "transport/base/ids.h"

namespace perigee {

inline constexpr uint32_t kFrameVersion = 0x50470001;

struct Frame {
  ContributionSet contributions;
  uint32_t flags = 0;
  OpId done_through;
  uint64_t call_digest = 0;

  friend bool operator==(const Frame&, const Frame&) = default;
};

// Size of a trailer with room for universes up to `universe_max`.
size_t FrameBytes(uint32_t universe_max);

// Writes the trailer of `body`; trailer.size() is FrameBytes of at least the frame's universe.
void EncodeFrame(const Frame& frame, absl::Span<const uint8_t> body, absl::Span<uint8_t> trailer);

// DataLoss, saying what is wrong: the digest, the version, the universe, or bits outside the
// universe.
absl::StatusOr<Frame> DecodeFrame(absl::Span<const uint8_t> body,
                                  absl::Span<const uint8_t> trailer);

}  // namespace perigee
