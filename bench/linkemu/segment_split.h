// Cuts super-packets: writes the headers that a run of segments would have had if the kernel had
// sent it on its own, and makes single wire packets with one bit flipped. Pure.
//
//   PieceHead head = HeadOfPiece(frame, shape, 3, 2);      // segments 3 and 4 as a super-packet
//   writev(tun, {head.bytes(), PayloadOfPiece(frame, shape, 3, 2)});
//
// What a piece has of its own: the length fields, the IPv4 id (+1 per segment) and header checksum,
// the TCP sequence number, FIN and PSH only with the last segment and CWR only with the first (as
// segmentation offload defines it), the pseudo-header checksum, and the vnet header.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "bench/linkemu/packet.h"

namespace perigee::linkemu {

struct PieceHead {
  std::array<uint8_t, kVnetBytes + kHeaderBytesMax> storage;
  size_t size = 0;

  absl::Span<const uint8_t> bytes() const { return {storage.data(), size}; }
};

// `shape` is of `frame` and has more than one segment or header_bytes > 0; the run is inside it.
PieceHead HeadOfPiece(absl::Span<const uint8_t> frame, const PacketShape& shape, uint32_t first,
                      uint32_t count);
absl::Span<const uint8_t> PayloadOfPiece(absl::Span<const uint8_t> frame, const PacketShape& shape,
                                         uint32_t first, uint32_t count);

// What a flipped bit looks like to the receiver.
enum class FlipMode {
  // The checksums are those of the packet that was sent: the receiving kernel finds the damage,
  // drops the packet and counts it (a residual bit error of a link).
  kDetected,
  // A bit of the payload behind the transport header, under a checksum that fits: the application
  // gets wrong bytes (what slips through the 16-bit sum, or breaks in a router's memory). Packets
  // that came with their checksum already made are left to kDetected.
  kSilent,
};

// Segment `index` as a frame of its own: a complete packet with complete checksums in which the
// bit `flipped_bit` (modulo what can be hit) has changed.
std::vector<uint8_t> FlippedSegment(absl::Span<const uint8_t> frame, const PacketShape& shape,
                                    uint32_t index, uint64_t flipped_bit, FlipMode mode);

// Ones' complement sum of `bytes` as 16-bit words, folded (RFC 1071), added to `sum`.
uint16_t InternetSum(absl::Span<const uint8_t> bytes, uint32_t sum = 0);

}  // namespace perigee::linkemu
