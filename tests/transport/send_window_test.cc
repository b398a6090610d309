#include "transport/send_window.h"

#include <gtest/gtest.h>

#include <vector>

namespace perigee {
namespace {

TransferKey Key(uint32_t chunk) { return {.epoch = Epoch(1), .chunk = ChunkId(chunk)}; }

SentPacket PacketOf(const SendWindow::Segment& segment) {
  return {.message = segment.header.message,
          .slot = segment.slot,
          .segment = segment.header.segment,
          .content = SentPacket::Content::kSegment};
}

class SendWindowTest : public testing::Test {
 protected:
  void Offer(uint32_t chunk, size_t bytes) {
    ASSERT_TRUE(
        window_.Offer(Key(chunk), {.body = absl::MakeSpan(data_).first(bytes)}, TrafficClass{})
            .ok());
  }
  void Credit(uint64_t message, uint32_t chunk, size_t bytes) {
    window_.OnCredit({message, bytes, Key(chunk)});
  }

  const std::vector<uint8_t> data_ = std::vector<uint8_t>(100'000);
  SendWindow window_{8};
};

TEST_F(SendWindowTest, Example) {
  Offer(0, 3000);
  EXPECT_FALSE(window_.HasSegment()) << "no credit yet";
  Credit(7, 0, 3000);
  const SendWindow::Segment a = *window_.NextSegment();
  const SendWindow::Segment b = *window_.NextSegment();
  const SendWindow::Segment c = *window_.NextSegment();
  EXPECT_EQ(a.header.message, 7);
  EXPECT_EQ(b.offset, 1376);
  EXPECT_EQ(c.bytes, 3000 - 2 * 1376);
  EXPECT_TRUE(c.is_last_index);
  EXPECT_FALSE(window_.HasSegment());

  window_.OnLost(PacketOf(b));
  const SendWindow::Segment again = *window_.NextSegment();
  EXPECT_TRUE(again.is_repeat);
  EXPECT_EQ(again.header.segment, 1);
  EXPECT_FALSE(window_.OnAcked(PacketOf(a)).has_value());
  EXPECT_FALSE(window_.OnAcked(PacketOf(c)).has_value());
  EXPECT_FALSE(window_.OnAcked(PacketOf(c)).has_value()) << "counted once";
  EXPECT_EQ(window_.OnAcked(PacketOf(again)), Key(0));
  EXPECT_EQ(window_.offered_count(), 0);
}

TEST_F(SendWindowTest, ALostSegmentThatArrivedIsNotRepeated) {
  Offer(0, 3000);
  Credit(1, 0, 3000);
  const SendWindow::Segment a = *window_.NextSegment();
  while (window_.NextSegment()) {
  }
  window_.OnLost(PacketOf(a));
  window_.OnAcked(PacketOf(a));
  EXPECT_FALSE(window_.NextSegment().has_value());
}

TEST_F(SendWindowTest, ALaterCreditStartsAnew) {
  Offer(0, 3000);
  Credit(1, 0, 3000);
  const SendWindow::Segment old = *window_.NextSegment();
  Credit(2, 0, 3000);
  EXPECT_EQ(window_.NextSegment()->header.message, 2);
  EXPECT_FALSE(window_.OnAcked(PacketOf(old)).has_value());
  Credit(1, 0, 3000);
  EXPECT_EQ(window_.NextSegment()->header.message, 2) << "an old credit changes nothing";
}

TEST_F(SendWindowTest, ACreditIsSpentOnceBytesWentOut) {
  Credit(1, 0, 3000);
  Offer(0, 3000);
  window_.Cancel(Key(0));
  Offer(0, 3000);
  EXPECT_TRUE(window_.NextSegment().has_value()) << "nothing had gone out";
  window_.Cancel(Key(0));
  Offer(0, 3000);
  EXPECT_FALSE(window_.HasSegment());
}

TEST_F(SendWindowTest, ARepeatedCreditAfterTheEndIsIgnored) {
  Offer(0, 10);
  Credit(1, 0, 10);
  EXPECT_TRUE(window_.OnAcked(PacketOf(*window_.NextSegment())).has_value());
  Credit(1, 0, 10);
  Offer(0, 10);
  EXPECT_FALSE(window_.HasSegment());
}

TEST_F(SendWindowTest, WaitingCreditsAreBounded) {
  for (uint32_t i = 0; i < 9; ++i) Credit(i + 1, i, 10);
  Offer(0, 10);
  EXPECT_FALSE(window_.HasSegment()) << "the smallest key was forgotten";
  Offer(8, 10);
  EXPECT_TRUE(window_.HasSegment());
}

}  // namespace
}  // namespace perigee
