#include "transport/wire.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "transport/base/status.h"

namespace perigee::wire {
namespace {

static_assert(std::endian::native == std::endian::little, "the wire format is read by memcpy");

constexpr uint8_t kFlagsKnown = kFlagRetransmit | kFlagEnd;
constexpr size_t kVarintBytesMax = 9;

uint64_t Splitmix(uint64_t z) {
  z += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

size_t VarintBytes(uint64_t value) {
  return std::max<size_t>(1, (static_cast<size_t>(std::bit_width(value)) + 6) / 7);
}

absl::Status Malformed(absl::string_view what) { return absl::InvalidArgumentError(what); }

}  // namespace

uint64_t ConnectionId(const Incarnation& sender, const Incarnation& receiver) {
  uint64_t id = Splitmix(sender.high);
  id = Splitmix(id ^ sender.low);
  id = Splitmix(id ^ receiver.high);
  return Splitmix(id ^ receiver.low);
}

uint32_t Checksum(absl::Span<const uint8_t> bytes) {
  // crc32_iscsi wants a pointer to non-const but does not write.
  return ~crc32_iscsi(const_cast<uint8_t*>(bytes.data()), static_cast<int>(bytes.size()),
                      0xffffffffu);
}

uint64_t Reader::Varint() {
  uint64_t value = 0;
  for (size_t i = 0; i < kVarintBytesMax; ++i) {
    const uint8_t byte = U8();
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) return value;
  }
  Fail();
  return 0;
}

absl::Span<const uint8_t> Reader::Bytes(size_t size) {
  if (rest_.size() < size) {
    Fail();
    return {};
  }
  absl::Span<const uint8_t> bytes = rest_.first(size);
  rest_.remove_prefix(size);
  return bytes;
}

PacketWriter::PacketWriter(absl::Span<uint8_t> out, const Header& header)
    : out_(out), header_(header) {
  PERIGEE_CHECK(out.size() >= kPacketBytesMax);
  PERIGEE_CHECK(header.floor <= header.number && header.number <= kPacketNumberMax);
}

void PacketWriter::Fixed(uint64_t value, size_t size) {
  PERIGEE_CHECK(body_room() >= size);
  std::memcpy(out_.data() + size_, &value, size);
  size_ += size;
}

void PacketWriter::Varint(uint64_t value) {
  while (value >= 0x80) {
    Fixed((value & 0x7f) | 0x80, 1);
    value >>= 7;
  }
  Fixed(value, 1);
}

absl::Span<uint8_t> PacketWriter::Data(const DataHeader& data, size_t segment_bytes) {
  PERIGEE_CHECK(body_room() >= kDataHeaderBytes + segment_bytes);
  Fixed(data.message, 8);
  Fixed(data.segment, 4);
  Fixed(data.segment_count, 4);
  Fixed(0, 4);
  absl::Span<uint8_t> place = out_.subspan(size_, segment_bytes);
  size_ += segment_bytes;
  return place;
}

void PacketWriter::Ping() { Fixed(static_cast<uint8_t>(FrameType::kPing), 1); }

void PacketWriter::Credit(const CreditFrame& credit) {
  Fixed(static_cast<uint8_t>(FrameType::kCredit), 1);
  Fixed(credit.message, 8);
  Fixed(credit.size, 8);
  Fixed(credit.key.epoch.value(), 8);
  Fixed(credit.key.op.value(), 8);
  Fixed(credit.key.chunk.value(), 4);
  Fixed(static_cast<uint8_t>(credit.key.phase), 1);
  Fixed(credit.key.attempt, 1);
}

void PacketWriter::Message(const MessageFrame& message) {
  Fixed(static_cast<uint8_t>(FrameType::kMessage), 1);
  Fixed(message.id, 8);
  Fixed(message.id - message.floor, 4);
  Fixed(message.bytes.size(), 2);
  PERIGEE_CHECK(body_room() >= message.bytes.size());
  if (!message.bytes.empty()) {
    std::memcpy(out_.data() + size_, message.bytes.data(), message.bytes.size());
  }
  size_ += message.bytes.size();
}

void PacketWriter::Ack(const AckRanges& received, absl::Duration hold, bool with_type) {
  if (with_type) Fixed(static_cast<uint8_t>(FrameType::kAck), 1);
  const int64_t hold_us =
      std::clamp<int64_t>(absl::ToInt64Microseconds(hold), 0, std::numeric_limits<uint32_t>::max());
  Fixed(received.empty() ? 0 : received.Newest(0).last, 8);
  Fixed(static_cast<uint64_t>(hold_us), 4);
  const size_t count_at = size_;
  Fixed(0, 2);
  static_assert(AckRanges::kRangesMax <= std::numeric_limits<uint16_t>::max());
  const auto range_count = static_cast<uint16_t>(received.size());
  uint16_t count = 0;
  for (; count < range_count; ++count) {
    const PacketRange& range = received.Newest(count);
    const uint64_t length = range.last - range.first;
    const uint64_t gap = count == 0 ? 0 : received.Newest(count - 1).first - range.last - 2;
    if (body_room() < VarintBytes(length) + (count == 0 ? 0 : VarintBytes(gap))) break;
    if (count > 0) Varint(gap);
    Varint(length);
  }
  std::memcpy(out_.data() + count_at, &count, 2);
}

size_t PacketWriter::Finish() {
  uint8_t* out = out_.data();
  const uint16_t length = static_cast<uint16_t>(body_bytes());
  const uint32_t distance = static_cast<uint32_t>(
      std::min<uint64_t>(header_.number - header_.floor, std::numeric_limits<uint32_t>::max()));
  out[0] = static_cast<uint8_t>(kVersion << 4 | static_cast<uint8_t>(header_.type));
  out[1] = header_.flags;
  std::memcpy(out + 2, &length, 2);
  std::memcpy(out + 4, &distance, 4);
  std::memcpy(out + 8, &header_.connection, 8);
  std::memcpy(out + 16, &header_.number, 8);
  const uint32_t crc = Checksum({out, size_});
  std::memcpy(out + size_, &crc, 4);
  return size_ + kTrailerBytes;
}

absl::StatusOr<Packet> DecodePacket(absl::Span<const uint8_t> datagram) {
  if (datagram.size() < kHeaderBytes + kTrailerBytes || datagram.size() > kPacketBytesMax) {
    return Malformed("packet: size");
  }
  const size_t checked = datagram.size() - kTrailerBytes;
  uint32_t crc;
  std::memcpy(&crc, datagram.data() + checked, 4);
  if (crc != Checksum(datagram.first(checked))) return absl::DataLossError("packet: checksum");

  Reader reader(datagram);
  Packet packet;
  const uint8_t version_type = reader.U8();
  packet.header.flags = reader.U8();
  const uint16_t length = reader.U16();
  const uint32_t distance = reader.U32();
  packet.header.connection = reader.U64();
  packet.header.number = reader.U64();
  const uint8_t type = version_type & 0x0f;
  if (version_type >> 4 != kVersion) return Malformed("packet: version");
  if (type < 1 || type == 4 || type > 5) return Malformed("packet: type");
  packet.header.type = static_cast<PacketType>(type);
  if ((packet.header.flags & ~kFlagsKnown) != 0) return Malformed("packet: flags");
  if (length != checked - kHeaderBytes) return Malformed("packet: length");
  if (packet.header.number > kPacketNumberMax) return Malformed("packet: number");
  if (distance == std::numeric_limits<uint32_t>::max()) {
    packet.header.floor = 0;
  } else {
    if (distance > packet.header.number) return Malformed("packet: floor");
    packet.header.floor = packet.header.number - distance;
  }
  packet.body = datagram.subspan(kHeaderBytes, length);
  return packet;
}

absl::StatusOr<DataHeader> DecodeData(absl::Span<const uint8_t> body) {
  Reader reader(body);
  DataHeader data;
  data.message = reader.U64();
  data.segment = reader.U32();
  data.segment_count = reader.U32();
  const uint32_t reserved = reader.U32();
  if (!reader.ok() || reserved != 0) return Malformed("data: header");
  if (data.segment >= data.segment_count) return Malformed("data: segment");
  return data;
}

absl::StatusOr<CreditFrame> DecodeCredit(Reader& reader) {
  CreditFrame credit;
  credit.message = reader.U64();
  credit.size = reader.U64();
  credit.key.epoch = Epoch(reader.U64());
  credit.key.op = OpId(reader.U64());
  credit.key.chunk = ChunkId(reader.U32());
  const uint8_t phase = reader.U8();
  credit.key.attempt = reader.U8();
  if (!reader.ok()) return Malformed("credit: size");
  if (credit.message == 0 || credit.message > kPacketNumberMax) return Malformed("credit: message");
  if (credit.size > kMessageBytesMax) return Malformed("credit: message size");
  if (phase > static_cast<uint8_t>(Phase::kBroadcast)) return Malformed("credit: phase");
  credit.key.phase = static_cast<Phase>(phase);
  return credit;
}

absl::StatusOr<MessageFrame> DecodeMessage(Reader& reader) {
  MessageFrame message;
  message.id = reader.U64();
  const uint32_t distance = reader.U32();
  message.bytes = reader.Bytes(reader.U16());
  if (!reader.ok()) return Malformed("message: size");
  if (message.id > kPacketNumberMax || distance > message.id) return Malformed("message: id");
  message.floor = message.id - distance;
  return message;
}

absl::Status DecodeAck(Reader& reader, AckFrame& ack) {
  ack.ranges.clear();
  ack.largest = reader.U64();
  ack.hold = absl::Microseconds(reader.U32());
  const uint16_t count = reader.U16();
  if (!reader.ok() || ack.largest > kPacketNumberMax) return Malformed("ack: header");
  if (count == 0 && ack.largest != 0) return Malformed("ack: largest without a range");
  uint64_t last = ack.largest;
  for (uint16_t i = 0; i < count; ++i) {
    if (i > 0) {
      const uint64_t gap = reader.Varint();
      const uint64_t first_above = ack.ranges.back().first;
      if (gap > kPacketNumberMax || first_above < gap + 2) return Malformed("ack: gap");
      last = first_above - gap - 2;
    }
    const uint64_t length = reader.Varint();
    if (!reader.ok() || length > last) return Malformed("ack: range");
    ack.ranges.push_back({last - length, last});
  }
  return absl::OkStatus();
}

}  // namespace perigee::wire
