#include "transport/wire.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <numeric>
#include <string>

#include "absl/strings/escaping.h"
#include "transport/base/rng.h"

namespace perigee::wire {
namespace {

constexpr Incarnation kSender{0x0123456789abcdef, 0x1122334455667788};
constexpr Incarnation kReceiver{0xfedcba9876543210, 0x8877665544332211};
const TransferKey kKey{.epoch = Epoch(3),
                       .op = OpId::Of(StepId(17), 2),
                       .chunk = ChunkId(5),
                       .phase = Phase::kBroadcast,
                       .attempt = 1};

// The packets of wire_golden.txt, which wire_decode.py reads without this code.
std::map<std::string, std::vector<uint8_t>> MakeGoldenPackets() {
  std::map<std::string, std::vector<uint8_t>> packets;
  const auto make = [&](const char* name, const Header& header, auto write) {
    std::vector<uint8_t> bytes(kPacketBytesMax);
    PacketWriter writer(absl::MakeSpan(bytes), header);
    write(writer);
    bytes.resize(writer.Finish());
    packets[name] = bytes;
  };
  const uint64_t connection = ConnectionId(kSender, kReceiver);
  make("data", {PacketType::kData, kFlagRetransmit | kFlagEnd, connection, 1000, 900},
       [](PacketWriter& writer) {
         absl::Span<uint8_t> place =
             writer.Data({.message = 7, .segment = 2, .segment_count = 3}, 5);
         std::iota(place.begin(), place.end(), 1);
       });
  make("data_empty", {PacketType::kData, kFlagEnd, connection, 0, 0}, [](PacketWriter& writer) {
    writer.Data({.message = 8, .segment = 0, .segment_count = 1}, 0);
  });
  make("ack", {PacketType::kAck, 0, connection, 5, 5}, [](PacketWriter& writer) {
    AckRanges received;
    for (uint64_t n : {1, 2, 3, 200, 201, 1000}) received.Add(n);
    writer.Ack(received, absl::Microseconds(750), false);
  });
  make("ack_nothing", {PacketType::kAck, 0, connection, 6, 6},
       [](PacketWriter& writer) { writer.Ack(AckRanges(), absl::ZeroDuration(), false); });
  make("control", {PacketType::kControl, 0, connection, uint64_t{1} << 40, 0},
       [](PacketWriter& writer) {
         const std::vector<uint8_t> bytes = {'h', 'i'};
         AckRanges received;
         received.Add(4);
         writer.Ping();
         writer.Credit({.message = 9, .size = uint64_t{1} << 33, .key = kKey});
         writer.Message({.id = 12, .floor = 10, .bytes = bytes});
         writer.Ack(received, absl::Microseconds(1), true);
       });
  make("fenced", {PacketType::kFenced, 0, connection, 7, 7}, [](PacketWriter&) {});
  return packets;
}

TEST(WireTest, GoldenPackets) {
  std::map<std::string, std::string> golden;
  std::ifstream file("tests/transport/wire_golden.txt");
  ASSERT_TRUE(file) << "run from the root of the source tree";
  for (std::string name, hex, json; file >> name >> hex && std::getline(file, json);) {
    golden[name] = hex;
  }
  for (const auto& [name, bytes] : MakeGoldenPackets()) {
    const std::string hex =
        absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    EXPECT_EQ(golden[name], hex) << name;
    EXPECT_TRUE(DecodePacket(bytes).ok()) << name;
  }
  EXPECT_EQ(golden.size(), MakeGoldenPackets().size());
}

TEST(WireTest, ControlFramesComeBack) {
  const std::vector<uint8_t> bytes = MakeGoldenPackets()["control"];
  const absl::StatusOr<Packet> packet = DecodePacket(bytes);
  ASSERT_TRUE(packet.ok()) << packet.status();
  EXPECT_EQ(packet->header.number, uint64_t{1} << 40);
  EXPECT_EQ(packet->header.floor, 0) << "2^32-1 means: further";

  Reader reader(packet->body);
  EXPECT_EQ(reader.U8(), static_cast<uint8_t>(FrameType::kPing));
  EXPECT_EQ(reader.U8(), static_cast<uint8_t>(FrameType::kCredit));
  const absl::StatusOr<CreditFrame> credit = DecodeCredit(reader);
  ASSERT_TRUE(credit.ok());
  EXPECT_EQ(credit->key, kKey);
  EXPECT_EQ(credit->size, uint64_t{1} << 33);
  EXPECT_EQ(reader.U8(), static_cast<uint8_t>(FrameType::kMessage));
  const absl::StatusOr<MessageFrame> message = DecodeMessage(reader);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->id, 12);
  EXPECT_EQ(message->floor, 10);
  EXPECT_EQ(message->bytes, (std::vector<uint8_t>{'h', 'i'}));
  EXPECT_EQ(reader.U8(), static_cast<uint8_t>(FrameType::kAck));
  AckFrame ack;
  ASSERT_TRUE(DecodeAck(reader, ack).ok());
  EXPECT_EQ(ack.ranges, (std::vector<PacketRange>{{4, 4}}));
  EXPECT_TRUE(reader.rest().empty());
}

TEST(WireTest, EveryFlippedBitIsFound) {
  for (const auto& [name, bytes] : MakeGoldenPackets()) {
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::vector<uint8_t> flipped = bytes;
      flipped[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      EXPECT_EQ(DecodePacket(flipped).status().code(), absl::StatusCode::kDataLoss);
    }
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(DecodePacket(absl::MakeSpan(bytes).first(size)).ok()) << "truncated";
    }
  }
}

TEST(WireTest, AckHoldsTheNewestThatFit) {
  AckRanges received;
  for (uint64_t n = 0; n < 4000; ++n) received.Add(n * 300);  // 3 bytes a range
  std::vector<uint8_t> bytes(kPacketBytesMax);
  PacketWriter writer(absl::MakeSpan(bytes), {PacketType::kAck, 0, 1, 0, 0});
  writer.Ack(received, absl::ZeroDuration(), false);
  bytes.resize(writer.Finish());
  const absl::StatusOr<Packet> packet = DecodePacket(bytes);
  ASSERT_TRUE(packet.ok());
  Reader reader(packet->body);
  AckFrame ack;
  ASSERT_TRUE(DecodeAck(reader, ack).ok());
  EXPECT_EQ(ack.ranges.size(), 1 + (kBodyBytesMax - kAckHeaderBytes - 1) / 3);
  for (size_t i = 0; i < ack.ranges.size(); ++i) EXPECT_EQ(ack.ranges[i], received.Newest(i));
}

TEST(WireTest, RandomAcksComeBack) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    AckRanges received;
    for (int i = 0; i < 60; ++i) received.Add(rng.Below(uint64_t{1} << rng.Below(62)));
    std::vector<uint8_t> bytes(kPacketBytesMax);
    PacketWriter writer(absl::MakeSpan(bytes), {PacketType::kAck, 0, 1, 0, 0});
    writer.Ack(received, absl::Microseconds(rng.Below(1000)), false);
    bytes.resize(writer.Finish());
    Reader reader(DecodePacket(bytes)->body);
    AckFrame ack;
    ASSERT_TRUE(DecodeAck(reader, ack).ok());
    ASSERT_EQ(ack.ranges.size(), received.size());
    for (size_t i = 0; i < received.size(); ++i) ASSERT_EQ(ack.ranges[i], received.Newest(i));
  }
}

TEST(WireTest, ConnectionIdsHaveADirection) {
  EXPECT_NE(ConnectionId(kSender, kReceiver), ConnectionId(kReceiver, kSender));
}

TEST(WireTest, EmptyMessagesHaveOneSegment) {
  EXPECT_EQ(SegmentCount(0), 1);
  EXPECT_EQ(SegmentCount(1), 1);
  EXPECT_EQ(SegmentCount(1376), 1);
  EXPECT_EQ(SegmentCount(1377), 2);
  EXPECT_EQ(SegmentCount(kMessageBytesMax), 49941481);
}

}  // namespace
}  // namespace perigee::wire
