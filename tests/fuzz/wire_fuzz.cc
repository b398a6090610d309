// Any bytes as a datagram, and the same bytes with a right checksum so that the bodies are read
// too. What the reader takes must be written back to the same meaning.
#include <cstring>
#include <vector>

#include "transport/base/status.h"
#include "transport/wire.h"

namespace perigee::wire {
namespace {

void CheckAck(const AckFrame& ack) {
  // The ranges must be such that a set can hold them: newest first, with gaps.
  for (size_t i = 0; i < ack.ranges.size(); ++i) {
    PERIGEE_CHECK(ack.ranges[i].first <= ack.ranges[i].last);
    if (i > 0) PERIGEE_CHECK(ack.ranges[i].last + 1 < ack.ranges[i - 1].first);
  }
  AckRanges ranges;
  std::vector<PacketRange> added;
  ranges.Merge(ack.ranges, added);
  PERIGEE_CHECK(added == ack.ranges);
}

void ReadControl(Reader reader) {
  AckFrame ack;
  while (reader.ok() && !reader.rest().empty()) {
    switch (static_cast<FrameType>(reader.U8())) {
      case FrameType::kPing:
        break;
      case FrameType::kCredit:
        if (!DecodeCredit(reader).ok()) return;
        break;
      case FrameType::kMessage:
        if (!DecodeMessage(reader).ok()) return;
        break;
      case FrameType::kAck:
        if (!DecodeAck(reader, ack).ok()) return;
        CheckAck(ack);
        break;
      default:
        return;
    }
  }
}

void Read(absl::Span<const uint8_t> datagram) {
  const absl::StatusOr<Packet> packet = DecodePacket(datagram);
  if (!packet.ok()) return;
  PERIGEE_CHECK(packet->header.floor <= packet->header.number);
  Reader reader(packet->body);
  AckFrame ack;
  switch (packet->header.type) {
    case PacketType::kData:
      if (const auto data = DecodeData(packet->body); data.ok()) {
        PERIGEE_CHECK(data->segment < data->segment_count);
        PERIGEE_CHECK(packet->body.size() <= kBodyBytesMax);
      }
      break;
    case PacketType::kControl:
      ReadControl(reader);
      break;
    case PacketType::kAck:
      if (DecodeAck(reader, ack).ok()) CheckAck(ack);
      break;
    case PacketType::kFenced:
      break;
  }
}

}  // namespace
}  // namespace perigee::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace perigee::wire;
  Read({data, size});
  std::vector<uint8_t> sealed(data, data + size);
  if (size >= kHeaderBytes) {
    // The length is a formality that the fuzzer need not guess.
    const uint16_t length = static_cast<uint16_t>(size - kHeaderBytes);
    std::memcpy(sealed.data() + 2, &length, 2);
  }
  const uint32_t checksum = Checksum(sealed);
  for (int shift = 0; shift < 32; shift += 8) {
    sealed.push_back(static_cast<uint8_t>(checksum >> shift));
  }
  Read(sealed);
  return 0;
}
