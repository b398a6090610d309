// Cutting super-packets, against packets that were made field by field (frames.h).
#include "bench/linkemu/segment_split.h"

#include <gtest/gtest.h>

#include <bit>

#include "tests/bench/linkemu/frames.h"

namespace perigee::linkemu {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Join(absl::Span<const uint8_t> head, absl::Span<const uint8_t> payload) {
  Bytes bytes(head.begin(), head.end());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

TEST(SegmentSplit, Example) {
  // Ten bytes of TCP in segments of four: 4, 4, 2.
  Flow flow{.flags = 0x19, .segment_bytes = 4, .payload = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
  const Bytes frame = SuperFrame(flow);
  const std::optional<PacketShape> shape = ParsePacket(frame);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->segment_count, 3u);
  EXPECT_EQ(shape->WireBytes(0), 44u);
  EXPECT_EQ(shape->WireBytes(2), 42u);
  const PieceHead head = HeadOfPiece(frame, *shape, 2, 1);
  const Bytes last = Join(head.bytes(), PayloadOfPiece(frame, *shape, 2, 1));
  EXPECT_EQ(ReadVnetHeader(last).gso_type, VnetHeader::kGsoNone);
  EXPECT_EQ(Load32(&last[kVnetBytes + 24]), flow.sequence + 8);
  EXPECT_EQ(last[kVnetBytes + 33], 0x19);  // FIN and PSH belong to the last
  EXPECT_EQ(Bytes(last.end() - 2, last.end()), (Bytes{8, 9}));
}

TEST(SegmentSplit, EveryRunOfSegmentsIsWhatTheSenderWouldHaveSent) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    const Flow flow = RandomFlow(rng);
    const Bytes frame = SuperFrame(flow);
    const std::optional<PacketShape> shape = ParsePacket(frame);
    ASSERT_TRUE(shape);
    ASSERT_EQ(shape->segment_count, flow.segment_count());
    const auto first = static_cast<uint32_t>(rng.Below(shape->segment_count));
    const auto count = static_cast<uint32_t>(rng.Between(1, shape->segment_count - first));
    const PieceHead head = HeadOfPiece(frame, *shape, first, count);
    const Bytes piece = Join(head.bytes(), PayloadOfPiece(frame, *shape, first, count));
    // The emulator takes pieces apart again at the next hop.
    ASSERT_TRUE(ParsePacket(piece));
    EXPECT_EQ(ParsePacket(piece)->segment_count, count);
    const std::vector<Bytes> packets = WirePacketsOf(piece);
    ASSERT_EQ(packets.size(), count);
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(packets[i], WirePacket(flow, first + i)) << "segment " << first + i;
      ASSERT_EQ(packets[i].size(), shape->WireBytes(first + i));
    }
    const bool has_cwr = flow.tcp && (flow.flags & 0x80) != 0;
    const bool says_cwr = (ReadVnetHeader(piece).gso_type & VnetHeader::kGsoEcn) != 0;
    EXPECT_EQ(says_cwr, has_cwr && first == 0 && count > 1);
  }
}

TEST(SegmentSplit, ADetectedFlipIsOneBitUnderTheChecksumsOfTheSender) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    const Flow flow = RandomFlow(rng);
    const Bytes frame = SuperFrame(flow);
    const PacketShape shape = *ParsePacket(frame);
    const auto index = static_cast<uint32_t>(rng.Below(shape.segment_count));
    const Bytes flipped = FlippedSegment(frame, shape, index, rng.Next(), FlipMode::kDetected);
    EXPECT_EQ(Bytes(flipped.begin(), flipped.begin() + kVnetBytes), Bytes(kVnetBytes));
    const Bytes packet(flipped.begin() + kVnetBytes, flipped.end());
    const Bytes sent = WirePacket(flow, index);
    ASSERT_EQ(packet.size(), sent.size());
    int bits = 0;
    for (size_t i = 0; i < sent.size(); ++i) bits += std::popcount(uint8_t(packet[i] ^ sent[i]));
    EXPECT_EQ(bits, 1);
  }
}

TEST(SegmentSplit, ASilentFlipIsInThePayloadUnderChecksumsThatFit) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    const Flow flow = RandomFlow(rng);
    const Bytes frame = SuperFrame(flow);
    const PacketShape shape = *ParsePacket(frame);
    const auto index = static_cast<uint32_t>(rng.Below(shape.segment_count));
    const Bytes flipped = FlippedSegment(frame, shape, index, rng.Next(), FlipMode::kSilent);
    const Bytes packet(flipped.begin() + kVnetBytes, flipped.end());
    EXPECT_EQ(ChecksumError(packet), "");
    const Bytes sent = WirePacket(flow, index);
    int bits = 0;
    for (size_t i = shape.header_bytes; i < sent.size(); ++i) {
      bits += std::popcount(uint8_t(packet[i] ^ sent[i]));
    }
    EXPECT_EQ(bits, 1);
  }
}

TEST(SegmentSplit, APacketWithItsChecksumMadeIsFlippedAsItIs) {
  const Flow flow{.segment_bytes = 10, .payload = Bytes(10, 5)};
  const Bytes packet = WirePacket(flow, 0);
  Bytes frame(kVnetBytes + packet.size());
  std::copy(packet.begin(), packet.end(), frame.begin() + kVnetBytes);
  const PacketShape shape = *ParsePacket(frame);
  EXPECT_EQ(shape.segment_count, 1u);
  const Bytes flipped = FlippedSegment(frame, shape, 0, 8 * 45 + 7, FlipMode::kSilent);
  frame[kVnetBytes + 45] ^= 1;
  EXPECT_EQ(flipped, frame);
}

TEST(SegmentSplit, AUdpChecksumOfZeroIsSentAsAllOnes) {
  Flow flow{.tcp = false, .segment_bytes = 2, .payload = {0, 0, 1, 1}};
  const Bytes before = WirePacket(flow, 0);
  flow.payload[0] = before[26];  // the checksum so far: with it, the sum is complete
  flow.payload[1] = before[27];
  const Bytes sent = WirePacket(flow, 0);
  ASSERT_EQ(Load16(&sent[26]), 0xffff);
  const Bytes frame = SuperFrame(flow);
  const Bytes flipped = FlippedSegment(frame, *ParsePacket(frame), 0, 0, FlipMode::kDetected);
  EXPECT_EQ(Load16(&flipped[kVnetBytes + 26]), 0xffff);
}

TEST(ParsePacket, RefusesWhatIsNoPacket) {
  const Bytes frame = SuperFrame({.segment_bytes = 4, .payload = Bytes(10)});
  EXPECT_FALSE(ParsePacket({}));
  EXPECT_FALSE(ParsePacket(Bytes(kVnetBytes)));
  for (const size_t cut : {size_t{1}, size_t{20}, frame.size() - 11}) {
    EXPECT_FALSE(ParsePacket(Bytes(frame.begin(), frame.end() - static_cast<ptrdiff_t>(cut))));
  }
  const auto Broken = [&frame](size_t at, uint8_t value) {
    Bytes broken = frame;
    broken[at] = value;
    return ParsePacket(broken).has_value();
  };
  EXPECT_TRUE(Broken(4, 5));                  // segments of five are fine
  EXPECT_FALSE(Broken(4, 0));                 // a super-packet without segment size
  EXPECT_FALSE(Broken(0, 0));                 // or with its checksum made
  EXPECT_FALSE(Broken(6, 255));               // TCP behind the end
  EXPECT_FALSE(Broken(kVnetBytes, 0x35));     // IP version 3
  EXPECT_FALSE(Broken(kVnetBytes + 32, 16));  // a TCP header of 4 bytes
}

// Whatever bytes come, reading them is safe: run under sanitizers.
TEST(ParsePacket, SurvivesAnything) {
  Rng rng(1);
  for (int i = 0; i < 20'000; ++i) {
    Bytes frame = SuperFrame({.ip6 = rng.Bernoulli(0.5),
                              .tcp = rng.Bernoulli(0.5),
                              .segment_bytes = static_cast<uint32_t>(rng.Between(1, 50)),
                              .payload = Bytes(rng.Below(100) + 1)});
    for (uint64_t changes = rng.Below(4); changes > 0; --changes) {
      frame[rng.Below(std::min<uint64_t>(frame.size(), 60))] = static_cast<uint8_t>(rng.Next());
    }
    const std::optional<PacketShape> shape = ParsePacket(frame);
    if (!shape) continue;
    const auto index = static_cast<uint32_t>(rng.Below(shape->segment_count));
    for (const FlipMode mode : {FlipMode::kDetected, FlipMode::kSilent}) {
      EXPECT_EQ(FlippedSegment(frame, *shape, index, rng.Next(), mode).size(),
                kVnetBytes + shape->WireBytes(index));
    }
  }
}

}  // namespace
}  // namespace perigee::linkemu
