#include "tests/bench/linkemu/frames.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace perigee::linkemu {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;

void Put16(Bytes& bytes, uint32_t value) {
  bytes.push_back(static_cast<uint8_t>(value >> 8));
  bytes.push_back(static_cast<uint8_t>(value));
}

void Put32(Bytes& bytes, uint32_t value) {
  Put16(bytes, value >> 16);
  Put16(bytes, value & 0xffff);
}

uint32_t Get16(const Bytes& bytes, size_t at) { return bytes[at] * 256u + bytes[at + 1]; }

// Ones' complement sum, the long way: carry by carry.
uint32_t Sum(const Bytes& bytes, size_t begin, size_t end, uint32_t sum) {
  for (size_t i = begin; i < end; i += 2) {
    sum += bytes[i] * 256u + (i + 1 < end ? bytes[i + 1] : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

struct Layout {
  bool ip6;
  bool tcp;
  size_t transport;  // offset
  size_t payload;    // offset
};

Layout LayoutOf(const Bytes& packet) {
  Layout layout{};
  layout.ip6 = packet[0] >> 4 == 6;
  layout.transport = layout.ip6 ? 40 : (packet[0] & 15) * 4u;
  layout.tcp = packet[layout.ip6 ? 6 : 9] == 6;
  layout.payload = layout.transport + (layout.tcp ? (packet[layout.transport + 12] >> 4) * 4u : 8u);
  return layout;
}

uint32_t PseudoSum(const Bytes& packet, const Layout& layout, size_t transport_bytes) {
  const uint32_t start = (layout.tcp ? 6 : 17) + static_cast<uint32_t>(transport_bytes);
  return layout.ip6 ? Sum(packet, 8, 40, start) : Sum(packet, 12, 20, start);
}

size_t ChecksumAt(const Layout& layout) { return layout.transport + (layout.tcp ? 16 : 6); }

void Store(Bytes& bytes, size_t at, uint32_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}

// The checksum fields of a packet whose other fields are right.
void FinishIp(Bytes& packet) {
  const Layout layout = LayoutOf(packet);
  if (layout.ip6) return;
  Store(packet, 10, 0);
  Store(packet, 10, 0xffff - Sum(packet, 0, layout.transport, 0));
}

void FinishTransport(Bytes& packet) {
  const Layout layout = LayoutOf(packet);
  Store(packet, ChecksumAt(layout), 0);
  const size_t bytes = packet.size() - layout.transport;
  const uint32_t sum =
      0xffff - Sum(packet, layout.transport, packet.size(), PseudoSum(packet, layout, bytes));
  Store(packet, ChecksumAt(layout), sum == 0 && !layout.tcp ? 0xffff : sum);
}

void PutAddress(Bytes& bytes, bool ip6, int node) {
  if (ip6) {
    Put16(bytes, 0xfd77);
    for (int i = 0; i < 6; ++i) Put16(bytes, 0);
    Put16(bytes, static_cast<uint32_t>(node + 1));
  } else {
    Put16(bytes, 10 * 256 + 77);
    Put16(bytes, static_cast<uint32_t>(node + 1));
  }
}

// Where a packet lies in its flow.
struct Part {
  uint32_t first;
  uint32_t count;
};

Bytes Headers(const Flow& flow, Part part, size_t payload_bytes) {
  Bytes bytes;
  const size_t transport_bytes =
      (flow.tcp ? 20 + 4u * static_cast<unsigned>(flow.option_words) : 8) + payload_bytes;
  if (flow.ip6) {
    Put32(bytes, 0x60012345);
    Put16(bytes, static_cast<uint32_t>(transport_bytes));
    Put16(bytes, (flow.tcp ? 6u : 17u) * 256 + 64);
  } else {
    const auto ip_bytes = 20 + 4u * static_cast<unsigned>(flow.ip_option_words);
    Put16(bytes, (0x40u + ip_bytes / 4) * 256);
    Put16(bytes, static_cast<uint32_t>(ip_bytes + transport_bytes));
    Put16(bytes, flow.id + part.first);
    Put16(bytes, 0x4000);
    Put16(bytes, 64 * 256 + (flow.tcp ? 6u : 17u));
    Put16(bytes, 0);
  }
  PutAddress(bytes, flow.ip6, flow.from);
  PutAddress(bytes, flow.ip6, flow.to);
  for (int i = 0; !flow.ip6 && i < flow.ip_option_words; ++i) Put32(bytes, 0x01010101);
  Put16(bytes, 4000);
  Put16(bytes, 5000);
  if (flow.tcp) {
    uint8_t flags = flow.flags;
    if (part.first > 0) flags &= static_cast<uint8_t>(~kCwr);
    if (part.first + part.count < flow.segment_count()) {
      flags &= static_cast<uint8_t>(~(kFin | kPsh));
    }
    Put32(bytes, flow.sequence + part.first * flow.segment_bytes);
    Put32(bytes, 77);
    Put16(bytes, (5u + static_cast<unsigned>(flow.option_words)) * 4096 + flags);
    Put16(bytes, 501);
    Put32(bytes, 0);
    for (int i = 0; i < flow.option_words; ++i)
      Put32(bytes, 0x01010100u + static_cast<unsigned>(i));
  } else {
    Put16(bytes, static_cast<uint32_t>(transport_bytes));
    Put16(bytes, 0);
  }
  return bytes;
}

}  // namespace

Flow RandomFlow(Rng& rng) {
  Flow flow;
  flow.ip6 = rng.Bernoulli(0.5);
  flow.tcp = rng.Bernoulli(0.5);
  flow.id = static_cast<uint16_t>(rng.Next());
  flow.sequence = static_cast<uint32_t>(rng.Next());
  flow.flags = static_cast<uint8_t>(0x10 | (rng.Next() & (kFin | kPsh | kCwr)));
  flow.option_words = static_cast<int>(rng.Below(11));
  flow.ip_option_words = static_cast<int>(rng.Below(4));
  flow.segment_bytes = static_cast<uint32_t>(rng.Between(1, 1448));
  flow.payload.resize(static_cast<size_t>(rng.Between(
      flow.segment_bytes + 1, std::min<int64_t>(60'000, int64_t{50} * flow.segment_bytes))));
  for (uint8_t& byte : flow.payload) byte = static_cast<uint8_t>(rng.Next());
  return flow;
}

Bytes WirePacket(const Flow& flow, uint32_t index) {
  const size_t begin = size_t{index} * flow.segment_bytes;
  const size_t end = std::min<size_t>(begin + flow.segment_bytes, flow.payload.size());
  Bytes packet = Headers(flow, {index, 1}, end - begin);
  packet.insert(packet.end(), flow.payload.begin() + static_cast<ptrdiff_t>(begin),
                flow.payload.begin() + static_cast<ptrdiff_t>(end));
  FinishIp(packet);
  FinishTransport(packet);
  return packet;
}

Bytes SuperFrame(const Flow& flow) {
  Bytes packet = Headers(flow, {0, flow.segment_count()}, flow.payload.size());
  const size_t header_bytes = packet.size();
  packet.insert(packet.end(), flow.payload.begin(), flow.payload.end());
  FinishIp(packet);
  const Layout layout = LayoutOf(packet);
  Store(packet, ChecksumAt(layout), PseudoSum(packet, layout, packet.size() - layout.transport));
  const bool ecn = flow.tcp && (flow.flags & kCwr) != 0;
  const int type = (flow.tcp ? (flow.ip6 ? 4 : 1) : 5) | (ecn ? 0x80 : 0);
  // struct virtio_net_hdr, in this machine's byte order.
  const uint16_t words[4] = {static_cast<uint16_t>(header_bytes),
                             static_cast<uint16_t>(flow.segment_bytes),
                             static_cast<uint16_t>(layout.transport),
                             static_cast<uint16_t>(ChecksumAt(layout) - layout.transport)};
  Bytes frame(10 + packet.size());
  frame[0] = 1;
  frame[1] = static_cast<uint8_t>(type);
  std::memcpy(&frame[2], words, sizeof(words));
  std::copy(packet.begin(), packet.end(), frame.begin() + 10);
  return frame;
}

std::vector<Bytes> WirePacketsOf(const Bytes& frame) {
  uint16_t words[4];
  std::memcpy(words, &frame[2], sizeof(words));
  const Bytes packet(frame.begin() + 10, frame.end());
  if (frame[0] == 0) return {packet};  // complete
  const Layout layout = LayoutOf(packet);
  const size_t step = frame[1] == 0 ? packet.size() : words[1];
  std::vector<Bytes> packets;
  for (size_t begin = layout.payload; begin < packet.size(); begin += step) {
    const size_t end = std::min(begin + step, packet.size());
    Bytes part(packet.begin(), packet.begin() + static_cast<ptrdiff_t>(layout.payload));
    part.insert(part.end(), packet.begin() + static_cast<ptrdiff_t>(begin),
                packet.begin() + static_cast<ptrdiff_t>(end));
    const auto index = static_cast<uint32_t>(packets.size());
    const auto bytes = static_cast<uint32_t>(part.size());
    if (layout.ip6) {
      Store(part, 4, bytes - 40);
    } else {
      Store(part, 2, bytes);
      Store(part, 4, Get16(part, 4) + index);
    }
    if (layout.tcp) {
      const size_t at = layout.transport + 4;
      const uint32_t sequence = (Get16(part, at) << 16 | Get16(part, at + 2)) +
                                static_cast<uint32_t>(begin - layout.payload);
      Store(part, at, sequence >> 16);
      Store(part, at + 2, sequence);
      uint8_t& flags = part[layout.transport + 13];
      if (index > 0) flags &= static_cast<uint8_t>(~kCwr);
      if (end < packet.size()) flags &= static_cast<uint8_t>(~(kFin | kPsh));
    } else {
      Store(part, layout.transport + 4, bytes - static_cast<uint32_t>(layout.transport));
    }
    FinishIp(part);
    FinishTransport(part);
    packets.push_back(part);
  }
  return packets;
}

std::string ChecksumError(const Bytes& packet) {
  const Layout layout = LayoutOf(packet);
  if (!layout.ip6 && Sum(packet, 0, layout.transport, 0) != 0xffff) return "IP header";
  const uint32_t pseudo = PseudoSum(packet, layout, packet.size() - layout.transport);
  return Sum(packet, layout.transport, packet.size(), pseudo) == 0xffff ? "" : "transport";
}

}  // namespace perigee::linkemu
