// The packet format, bit by bit. All integers are little-endian. One UDP datagram is one packet:
//
//   header (24 B)  body (length B)  trailer (4 B)
//
//   header
//     0  u8   bits 7..4 version (1), bits 3..0 type: 1 DATA, 2 CONTROL, 3 ACK, 5 FENCED;
//             4 PARITY is reserved
//     1  u8   flags: 0x01 RETRANSMIT (the segment was sent before), 0x02 END (last segment of its
//     message);
//             reserved and refused: 0x04 TAIL (coded tail), 0x08 SEALED (16-byte AEAD tag as the
//             trailer), 0x10..0x80
//     2  u16  length of the body
//     4  u32  floor distance: packet number - floor. Below the floor the sender asks about nothing
//     any more,
//             so the receiver forgets it. 2^32-1 also means "further".
//     8  u64  connection id: ConnectionId(sender, receiver)
//    16  u64  packet number, below 2^62; per connection and direction, from 0 on, never used twice
//   trailer
//     0  u32  CRC32C (Castagnoli, reflected, RFC 3720 B.4) of header and body
//
//   DATA body: one segment of one message. 20 B, then 0..1376 B of the message
//     0  u64  message id, chosen by the receiver and told in its CREDIT; from 1 on
//     8  u32  segment index: the bytes go to 1376 · index. All segments but the last are 1376 B; a
//     message
//             of 0 bytes has one empty segment
//    12  u32  segment count of the message
//    16  u16  block, 18 u8 k, 19 u8 r: reserved for the coded tail, 0
//
//   ACK body: what arrived, newest first. It repeats all that is not below the floor, as far as it
//   fits, so a lost ACK costs nothing.
//     0  u64  largest packet number received; 0 when the count is 0
//     8  u32  hold: microseconds from the arrival of the largest to this ACK, at most 2^32-1. The
//     sender's own
//             record of the departure gives the round trip; no clock of one node is compared to
//             another's
//    12  u16  number of ranges
//    14  varint  length - 1 of the first range, which ends at the largest; then for every further
//    range
//        varint  numbers missing between the ranges - 1, varint  length - 1
//   A varint is LEB128: 7 bits a byte, low first, 0x80 set on all bytes but the last; at most 9
//   bytes.
//
//   FENCED body: nothing. "Your incarnation is out here": the answer to packets of a peer that was
//   removed, which may not know it.
//
//   CONTROL body: one or more frames, each a u8 type and then
//     1 PING     nothing: asks for an ACK at once
//     2 CREDIT   u64 message id, u64 size in bytes, u64 epoch, u64 op, u32 chunk, u8 phase, u8
//     attempt:
//                "this transfer is posted here, send it under this message id"
//     3 MESSAGE  u64 control id, u32 floor distance (control ids below id - distance are all
//     acknowledged),
//                u16 length, bytes: a control message, delivered once
//     4 ACK      an ACK body
//
// DATA and CONTROL packets ask for an ACK; the others do not, but have packet numbers too (a nonce
// must not repeat). What was lost is sent again by content, under a new number. An IPv6 packet at
// MTU 1500 holds 40 + 8 + 24 + 20 + 1376 + 16, so that an AEAD tag changes no segment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "transport/ack_ranges.h"
#include "transport/base/ids.h"
#include "transport/endpoint.h"

namespace perigee::wire {

inline constexpr uint8_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 24;
inline constexpr size_t kTrailerBytes = 4;
inline constexpr size_t kDataHeaderBytes = 20;
inline constexpr size_t kSegmentBytes = 1376;
inline constexpr size_t kBodyBytesMax = kDataHeaderBytes + kSegmentBytes;
inline constexpr size_t kPacketBytesMax = kHeaderBytes + kBodyBytesMax + kTrailerBytes;  // 1424
inline constexpr size_t kIpUdpBytes = 28;  // IPv4 and UDP headers, for pacing and for counting
inline constexpr size_t kCreditFrameBytes = 39;
inline constexpr size_t kMessageFrameHeaderBytes = 15;
inline constexpr size_t kAckHeaderBytes = 14;
inline constexpr uint64_t kPacketNumberMax = (uint64_t{1} << 62) - 1;
inline constexpr uint64_t kMessageBytesMax = uint64_t{64} << 30;

enum class PacketType : uint8_t { kData = 1, kControl = 2, kAck = 3, kFenced = 5 };
enum class FrameType : uint8_t { kPing = 1, kCredit = 2, kMessage = 3, kAck = 4 };
inline constexpr uint8_t kFlagRetransmit = 0x01;
inline constexpr uint8_t kFlagEnd = 0x02;

struct Header {
  PacketType type = PacketType::kData;
  uint8_t flags = 0;
  uint64_t connection = 0;
  uint64_t number = 0;
  uint64_t floor = 0;  // at most `number`
};

struct Packet {
  Header header;
  absl::Span<const uint8_t> body;
};

struct DataHeader {
  uint64_t message = 0;
  uint32_t segment = 0;
  uint32_t segment_count = 0;
};

struct CreditFrame {
  uint64_t message = 0;
  uint64_t size = 0;
  TransferKey key;
};

struct MessageFrame {
  uint64_t id = 0;
  uint64_t floor = 0;  // at most `id`
  absl::Span<const uint8_t> bytes;
};

// `ranges` newest first, disjoint, not adjacent; the first ends at `largest`.
struct AckFrame {
  uint64_t largest = 0;
  absl::Duration hold;
  std::vector<PacketRange> ranges;
};

// Segments of a message: at least one, so that an empty message has something to send.
constexpr uint32_t SegmentCount(uint64_t message_bytes) {
  if (message_bytes == 0) return 1;
  return static_cast<uint32_t>((message_bytes + kSegmentBytes - 1) / kSegmentBytes);
}

// The id that packets from `sender` to `receiver` carry. Both ends compute it, so there is no
// handshake. Four rounds of splitmix64 over the words of both; not secret, not a protection against
// forgery.
uint64_t ConnectionId(const Incarnation& sender, const Incarnation& receiver);

// CRC32C of the bytes, as in the trailer.
uint32_t Checksum(absl::Span<const uint8_t> bytes);

// Reads integers from a span. After the first read past the end everything reads as zero and ok()
// is false.
class Reader {
 public:
  explicit Reader(absl::Span<const uint8_t> bytes) : rest_(bytes) {}
  uint8_t U8() { return Fixed<uint8_t>(); }
  uint16_t U16() { return Fixed<uint16_t>(); }
  uint32_t U32() { return Fixed<uint32_t>(); }
  uint64_t U64() { return Fixed<uint64_t>(); }
  uint64_t Varint();
  absl::Span<const uint8_t> Bytes(size_t size);
  absl::Span<const uint8_t> rest() const { return rest_; }
  bool ok() const { return ok_; }

 private:
  template <typename T>
  T Fixed() {
    T value = 0;
    if (rest_.size() < sizeof(T)) {
      Fail();
    } else {
      std::memcpy(&value, rest_.data(), sizeof(T));
      rest_.remove_prefix(sizeof(T));
    }
    return value;
  }
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

  absl::Span<const uint8_t> rest_;
  bool ok_ = true;
};

// Writes one packet: header first, body by appending, Finish() last.
class PacketWriter {
 public:
  // `out` holds at least kPacketBytesMax; Finish() fills in the header and the checksum.
  PacketWriter(absl::Span<uint8_t> out, const Header& header);
  size_t body_room() const { return kHeaderBytes + kBodyBytesMax - size_; }
  size_t body_bytes() const { return size_ - kHeaderBytes; }

  // The place for the segment's bytes. Fits an empty body with any segment.
  absl::Span<uint8_t> Data(const DataHeader& data, size_t segment_bytes);
  // Each of these must fit: body_room() is checked.
  void Ping();
  void Credit(const CreditFrame& credit);
  void Message(const MessageFrame& message);  // wants kMessageFrameHeaderBytes + the bytes
  // As an ACK frame when `with_type`, else as the body of an ACK packet. Writes as many of the
  // newest ranges as fit; wants at least kAckHeaderBytes + 11.
  void Ack(const AckRanges& received, absl::Duration hold, bool with_type);
  size_t Finish();  // the size of the datagram

 private:
  void Fixed(uint64_t value, size_t size);
  void Varint(uint64_t value);

  absl::Span<uint8_t> out_;
  Header header_;
  size_t size_ = kHeaderBytes;
};

// DataLoss for a wrong checksum, InvalidArgument for a wrong format. The body is not looked into.
absl::StatusOr<Packet> DecodePacket(absl::Span<const uint8_t> datagram);
// The bodies, and the frames of a CONTROL body after their type. InvalidArgument where the format
// is wrong.
absl::StatusOr<DataHeader> DecodeData(absl::Span<const uint8_t> body);  // the segment is body[20..]
absl::StatusOr<CreditFrame> DecodeCredit(Reader& reader);
absl::StatusOr<MessageFrame> DecodeMessage(Reader& reader);
absl::Status DecodeAck(Reader& reader, AckFrame& ack);  // reuses the memory of `ack`

}  // namespace perigee::wire
