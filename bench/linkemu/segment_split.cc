#include "bench/linkemu/segment_split.h"

#include <cstring>

#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

constexpr size_t kIp4TotalLength = 2;
constexpr size_t kIp4Id = 4;
constexpr size_t kIp4Checksum = 10;
constexpr size_t kIp4Addresses = 12;
constexpr size_t kIp6PayloadLength = 4;
constexpr size_t kIp6Addresses = 8;
constexpr size_t kIp6HeaderBytes = 40;
constexpr size_t kTcpSequence = 4;
constexpr size_t kTcpFlags = 13;
constexpr size_t kTcpChecksum = 16;
constexpr size_t kUdpLength = 4;
constexpr size_t kUdpChecksum = 6;
constexpr uint8_t kTcpFin = 0x01;
constexpr uint8_t kTcpPsh = 0x08;
constexpr uint8_t kTcpCwr = 0x80;
constexpr uint8_t kProtocolTcp = 6;
constexpr uint8_t kProtocolUdp = 17;

// Which segments of which super-packet.
struct Run {
  const PacketShape& shape;
  uint32_t first;
  uint32_t count;

  bool is_first() const { return first == 0; }
  bool is_last() const { return first + count == shape.segment_count; }
  uint32_t packet_bytes() const { return shape.header_bytes + shape.PayloadBytes(first, count); }
  uint32_t transport_bytes() const { return packet_bytes() - shape.transport_offset; }
};

void WriteIpHeader(const Run& run, uint8_t* ip) {
  if (run.shape.ip_version == 6) {
    Store16(ip + kIp6PayloadLength, static_cast<uint16_t>(run.packet_bytes() - kIp6HeaderBytes));
    return;
  }
  Store16(ip + kIp4TotalLength, static_cast<uint16_t>(run.packet_bytes()));
  Store16(ip + kIp4Id, static_cast<uint16_t>(Load16(ip + kIp4Id) + run.first));
  Store16(ip + kIp4Checksum, 0);
  const size_t ip_bytes = (ip[0] & 0x0f) * size_t{4};
  Store16(ip + kIp4Checksum, static_cast<uint16_t>(~InternetSum({ip, ip_bytes})));
}

// The sum over addresses, protocol and length that begins every TCP and UDP checksum (RFC 9293
// 3.1, RFC 768, RFC 8200 8.1): what a packet carries whose checksum is left to the device.
uint16_t PseudoHeaderSum(const Run& run, const uint8_t* ip) {
  const uint32_t length = run.transport_bytes();
  uint32_t sum = run.shape.tcp ? kProtocolTcp : kProtocolUdp;
  sum += length & 0xffff;
  sum += length >> 16;
  if (run.shape.ip_version == 6) return InternetSum({ip + kIp6Addresses, 32}, sum);
  return InternetSum({ip + kIp4Addresses, 8}, sum);
}

void WriteTransportHeader(const Run& run, const uint8_t* ip, uint8_t* transport) {
  if (run.shape.tcp) {
    Store32(transport + kTcpSequence,
            Load32(transport + kTcpSequence) + run.first * run.shape.segment_bytes);
    if (!run.is_first()) transport[kTcpFlags] &= static_cast<uint8_t>(~kTcpCwr);
    if (!run.is_last()) transport[kTcpFlags] &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
    Store16(transport + kTcpChecksum, PseudoHeaderSum(run, ip));
  } else {
    Store16(transport + kUdpLength, static_cast<uint16_t>(run.transport_bytes()));
    Store16(transport + kUdpChecksum, PseudoHeaderSum(run, ip));
  }
}

VnetHeader VnetOfPiece(const VnetHeader& whole, const Run& run) {
  VnetHeader vnet = whole;
  if (run.count == 1) {
    vnet.gso_type = VnetHeader::kGsoNone;
    vnet.gso_size = 0;
  } else if (!run.is_first()) {
    vnet.gso_type &= static_cast<uint8_t>(~VnetHeader::kGsoEcn);
  }
  vnet.header_bytes = static_cast<uint16_t>(run.shape.header_bytes);
  return vnet;
}

// A frame with the one segment, its checksum still to be made where the vnet header says so.
std::vector<uint8_t> CopySegment(absl::Span<const uint8_t> frame, const PacketShape& shape,
                                 uint32_t index) {
  if (shape.header_bytes == 0) return {frame.begin(), frame.end()};
  const PieceHead head = HeadOfPiece(frame, shape, index, 1);
  std::vector<uint8_t> copy(head.bytes().begin(), head.bytes().end());
  const absl::Span<const uint8_t> payload = PayloadOfPiece(frame, shape, index, 1);
  copy.insert(copy.end(), payload.begin(), payload.end());
  return copy;
}

// Replaces the pseudo-header sum by the checksum of the whole.
void MakeChecksum(const VnetHeader& vnet, absl::Span<uint8_t> packet) {
  const size_t at = size_t{vnet.checksum_start} + vnet.checksum_offset;
  if (at + 2 > packet.size()) return;
  auto sum = static_cast<uint16_t>(~InternetSum(packet.subspan(vnet.checksum_start)));
  // UDP says "no checksum" with 0, and all ones for a sum that is 0 (RFC 768). Both are 0 to TCP.
  if (sum == 0 && vnet.checksum_offset == kUdpChecksum) sum = 0xffff;
  Store16(&packet[at], sum);
}

// Where the payload begins in a packet whose checksum is still to be made; its end where unknown.
size_t PayloadOffset(const VnetHeader& vnet, absl::Span<const uint8_t> packet) {
  const size_t transport = vnet.checksum_start;
  if (vnet.checksum_offset == kUdpChecksum) return transport + 8;
  if (vnet.checksum_offset != kTcpChecksum || transport + 13 > packet.size()) return packet.size();
  return transport + (packet[transport + 12] >> 4) * size_t{4};
}

void FlipBit(absl::Span<uint8_t> bytes, uint64_t bit) {
  bit %= bytes.size() * 8;
  bytes[bit / 8] ^= static_cast<uint8_t>(0x80 >> (bit % 8));
}

}  // namespace

uint16_t InternetSum(absl::Span<const uint8_t> bytes, uint32_t sum) {
  size_t i = 0;
  for (; i + 1 < bytes.size(); i += 2) sum += Load16(&bytes[i]);
  if (i < bytes.size()) sum += static_cast<uint32_t>(bytes[i]) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

PieceHead HeadOfPiece(absl::Span<const uint8_t> frame, const PacketShape& shape, uint32_t first,
                      uint32_t count) {
  PERIGEE_CHECK(shape.header_bytes > 0 && count > 0 && first + count <= shape.segment_count);
  const Run run{shape, first, count};
  PieceHead head;
  head.size = kVnetBytes + shape.header_bytes;
  std::memcpy(head.storage.data(), frame.data(), head.size);
  const VnetHeader vnet = VnetOfPiece(ReadVnetHeader(frame), run);
  std::memcpy(head.storage.data(), &vnet, kVnetBytes);
  uint8_t* const ip = head.storage.data() + kVnetBytes;
  WriteIpHeader(run, ip);
  WriteTransportHeader(run, ip, ip + shape.transport_offset);
  return head;
}

absl::Span<const uint8_t> PayloadOfPiece(absl::Span<const uint8_t> frame, const PacketShape& shape,
                                         uint32_t first, uint32_t count) {
  const size_t begin = kVnetBytes + shape.header_bytes + size_t{first} * shape.segment_bytes;
  return frame.subspan(begin, shape.PayloadBytes(first, count));
}

std::vector<uint8_t> FlippedSegment(absl::Span<const uint8_t> frame, const PacketShape& shape,
                                    uint32_t index, uint64_t flipped_bit, FlipMode mode) {
  std::vector<uint8_t> copy = CopySegment(frame, shape, index);
  const VnetHeader vnet = ReadVnetHeader(copy);
  const VnetHeader plain;
  std::memcpy(copy.data(), &plain, kVnetBytes);
  const absl::Span<uint8_t> packet = absl::MakeSpan(copy).subspan(kVnetBytes);
  const bool to_make = (vnet.flags & VnetHeader::kNeedsChecksum) != 0;
  const size_t payload = to_make ? PayloadOffset(vnet, packet) : packet.size();
  const bool silent = mode == FlipMode::kSilent && payload < packet.size();
  if (silent) FlipBit(packet.subspan(payload), flipped_bit);
  if (to_make) MakeChecksum(vnet, packet);
  if (!silent) FlipBit(packet, flipped_bit);
  return copy;
}

}  // namespace perigee::linkemu
