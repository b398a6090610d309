#include "bench/linkemu/packet.h"

#include <algorithm>
#include <cstring>

namespace perigee::linkemu {
namespace {

constexpr size_t kIp4HeaderBytesMin = 20;
constexpr size_t kIp6HeaderBytes = 40;
constexpr size_t kTcpHeaderBytesMin = 20;
constexpr size_t kUdpHeaderBytes = 8;

// The length that the IP header says; 0 when it says nonsense.
size_t PacketBytes(absl::Span<const uint8_t> packet) {
  if (packet.empty()) return 0;
  const int version = packet[0] >> 4;
  if (version == 4 && packet.size() >= kIp4HeaderBytesMin) return Load16(&packet[2]);
  if (version == 6 && packet.size() >= kIp6HeaderBytes) {
    return kIp6HeaderBytes + Load16(&packet[4]);
  }
  return 0;
}

bool IsSuperPacket(uint8_t gso_type) {
  return gso_type == VnetHeader::kGsoTcp4 || gso_type == VnetHeader::kGsoTcp6 ||
         gso_type == VnetHeader::kGsoUdpL4;
}

// Fills in where the payload of a super-packet begins and how it is divided.
std::optional<PacketShape> ParseSuperPacket(const VnetHeader& vnet, PacketShape shape,
                                            absl::Span<const uint8_t> packet) {
  const uint8_t type = vnet.gso_type & ~VnetHeader::kGsoEcn;
  shape.tcp = type != VnetHeader::kGsoUdpL4;
  // A super-packet comes without its checksum, so the kernel says where TCP or UDP begins, behind
  // whatever extension headers IPv6 has.
  shape.transport_offset = vnet.checksum_start;
  const bool has_checksum_start = (vnet.flags & VnetHeader::kNeedsChecksum) != 0;
  const size_t ip_bytes_min = shape.ip_version == 4 ? kIp4HeaderBytesMin : kIp6HeaderBytes;
  const size_t transport_bytes_min = shape.tcp ? kTcpHeaderBytesMin : kUdpHeaderBytes;
  if (!has_checksum_start || vnet.gso_size == 0 || shape.transport_offset < ip_bytes_min ||
      shape.transport_offset + transport_bytes_min > packet.size()) {
    return std::nullopt;
  }
  const size_t transport_bytes =
      shape.tcp ? (packet[shape.transport_offset + 12] >> 4) * size_t{4} : kUdpHeaderBytes;
  shape.header_bytes = shape.transport_offset + transport_bytes;
  if (transport_bytes < transport_bytes_min || shape.header_bytes >= packet.size() ||
      shape.header_bytes > kHeaderBytesMax) {
    return std::nullopt;
  }
  const uint32_t payload = shape.packet_bytes - shape.header_bytes;
  shape.segment_bytes = vnet.gso_size;
  shape.segment_count = (payload + shape.segment_bytes - 1) / shape.segment_bytes;
  return shape;
}

}  // namespace

uint32_t PacketShape::PayloadBytes(uint32_t first, uint32_t count) const {
  const uint32_t payload = packet_bytes - header_bytes;
  if (segment_count == 1) return payload;
  return std::min(count * segment_bytes, payload - first * segment_bytes);
}

uint32_t PacketShape::WireBytes(uint32_t index) const {
  return header_bytes + PayloadBytes(index, 1);
}

VnetHeader ReadVnetHeader(absl::Span<const uint8_t> frame) {
  VnetHeader vnet;
  std::memcpy(&vnet, frame.data(), kVnetBytes);
  return vnet;
}

std::optional<PacketShape> ParsePacket(absl::Span<const uint8_t> frame) {
  if (frame.size() <= kVnetBytes) return std::nullopt;
  const VnetHeader vnet = ReadVnetHeader(frame);
  const absl::Span<const uint8_t> packet = frame.subspan(kVnetBytes);
  const size_t bytes = PacketBytes(packet);
  // TUN hands over whole packets: what the header says is what is there.
  if (bytes == 0 || bytes != packet.size()) return std::nullopt;
  PacketShape shape;
  shape.ip_version = packet[0] >> 4;
  shape.packet_bytes = static_cast<uint32_t>(bytes);
  if (IsSuperPacket(vnet.gso_type & ~VnetHeader::kGsoEcn)) {
    return ParseSuperPacket(vnet, shape, packet);
  }
  return shape;
}

uint16_t Load16(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]); }

uint32_t Load32(const uint8_t* bytes) {
  return static_cast<uint32_t>(Load16(bytes)) << 16 | Load16(bytes + 2);
}

void Store16(uint8_t* bytes, uint16_t value) {
  bytes[0] = static_cast<uint8_t>(value >> 8);
  bytes[1] = static_cast<uint8_t>(value);
}

void Store32(uint8_t* bytes, uint32_t value) {
  Store16(bytes, static_cast<uint16_t>(value >> 16));
  Store16(bytes + 2, static_cast<uint16_t>(value));
}

}  // namespace perigee::linkemu
