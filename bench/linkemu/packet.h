// The shape of what a TUN device with offloads hands over: one IP packet, or a super-packet of up
// to 64 KiB that stands for many wire packets ("segments") with the same headers. Pure.
//
//   std::optional<PacketShape> shape = ParsePacket(frame);   // frame = vnet header + IP packet
//   for (uint32_t i = 0; i < shape->segment_count; ++i) Offer(shape->WireBytes(i));
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace perigee::linkemu {

// struct virtio_net_hdr (virtio 1.2, 5.1.6, without num_buffers), native byte order: what
// IFF_VNET_HDR puts in front of every packet.
struct VnetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;  // flags
  static constexpr uint8_t kGsoNone = 0;        // gso_type
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoUdpL4 = 5;  // Debian 12's headers lack it
  static constexpr uint8_t kGsoEcn = 0x80;

  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t header_bytes = 0;
  uint16_t gso_size = 0;
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10);

inline constexpr size_t kVnetBytes = sizeof(VnetHeader);
inline constexpr size_t kMtuBytes = 1500;
// A frame is at most this long: 64 KiB of IP packet behind its vnet header.
inline constexpr size_t kFrameBytesMax = kVnetBytes + 65536;
// IP and TCP headers with every option they can have, and some IPv6 extension headers.
inline constexpr size_t kHeaderBytesMax = 256;

struct PacketShape {
  uint8_t ip_version = 0;
  bool tcp = false;               // of a super-packet: TCP, else UDP
  uint32_t transport_offset = 0;  // where TCP or UDP begins; super-packets only
  uint32_t header_bytes = 0;      // all headers; 0 for a packet that is not split
  uint32_t packet_bytes = 0;      // the IP packet, headers included
  uint32_t segment_bytes = 0;     // payload of every segment but the last
  uint32_t segment_count = 1;

  // Length of segment `index` as the IP packet that it is on the wire.
  uint32_t WireBytes(uint32_t index) const;
  // Payload of the segments [first, first + count).
  uint32_t PayloadBytes(uint32_t first, uint32_t count) const;
};

VnetHeader ReadVnetHeader(absl::Span<const uint8_t> frame);

// Nothing when `frame` is neither an IPv4 nor an IPv6 packet, is cut short, or contradicts itself.
std::optional<PacketShape> ParsePacket(absl::Span<const uint8_t> frame);

// Big-endian numbers inside packets.
uint16_t Load16(const uint8_t* bytes);
uint32_t Load32(const uint8_t* bytes);
void Store16(uint8_t* bytes, uint16_t value);
void Store32(uint8_t* bytes, uint32_t value);

}  // namespace perigee::linkemu
