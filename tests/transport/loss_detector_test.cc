#include "transport/loss_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "transport/base/rng.h"

namespace perigee {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr absl::Duration kRoundTrip = absl::Milliseconds(32);  // T/32 is 1 ms

class LossDetectorTest : public testing::Test {
 protected:
  LossDetectorTest() {
    detector_.SetPlan({.bytes_per_second = 1e6, .delay = kRoundTrip / 2}, absl::Milliseconds(1),
                      absl::ZeroDuration());
  }
  absl::Time At(double ms) { return absl::UnixEpoch() + absl::Milliseconds(ms); }
  void Send(double ms) {
    // `segment` carries the packet number to the callbacks.
    detector_.OnSent(At(ms),
                     {.segment = static_cast<uint32_t>(detector_.next_number()), .wire_bytes = 100},
                     [](const SentPacket&) {});
  }
  LossDetector::AckResult Ack(double ms, std::vector<PacketRange> ranges) {
    acked_.clear();
    wire::AckFrame ack{ranges.front().last, absl::ZeroDuration(), ranges};
    return detector_.OnAck(At(ms), ack,
                           [this](const SentPacket& p) { acked_.push_back(p.segment); });
  }
  std::vector<uint32_t> Lost(double ms) {
    std::vector<uint32_t> lost;
    detector_.DetectLosses(At(ms), [&](const SentPacket& p) { lost.push_back(p.segment); });
    return lost;
  }

  LossDetector detector_;
  std::vector<uint32_t> acked_;
};

TEST_F(LossDetectorTest, AGapIsALoss) {
  for (double ms : {0.0, 0.2, 0.4, 2.0}) Send(ms);
  Ack(34, {{3, 3}, {0, 0}});
  EXPECT_THAT(acked_, ElementsAre(3, 0));
  EXPECT_THAT(Lost(34), ElementsAre(1, 2)) << "packet 3 left more than T/32 after both";
  EXPECT_EQ(detector_.in_flight_bytes(), 0);
}

TEST_F(LossDetectorTest, AGapAtTheEndOfABurstWaitsForTheReorderWindowOnly) {
  for (double ms : {0.0, 0.0, 0.0}) Send(ms);
  Ack(32, {{2, 2}, {0, 0}});
  EXPECT_THAT(Lost(32.5), IsEmpty());
  EXPECT_EQ(detector_.NextTimeout(), At(33));
  EXPECT_THAT(Lost(33), ElementsAre(1));
}

TEST_F(LossDetectorTest, TheTimerComesFromThePlan) {
  Send(0);
  // 32 ms + 1 ms ack delay + 1 ms
  EXPECT_EQ(detector_.NextTimeout(), At(34));
  EXPECT_THAT(Lost(33.9), IsEmpty());
  EXPECT_THAT(Lost(34), ElementsAre(0));
  Send(34);
  EXPECT_EQ(detector_.NextTimeout(), At(68)) << "no back-off";
}

TEST_F(LossDetectorTest, ALateAckIsSeenAndWidensTheWindow) {
  for (double ms : {0.0, 2.0}) Send(ms);
  Ack(34, {{1, 1}});
  EXPECT_THAT(Lost(34), ElementsAre(0));
  EXPECT_EQ(detector_.floor(), 0) << "still on record";
  EXPECT_EQ(Ack(35, {{0, 1}}).spurious_count, 1);
  EXPECT_THAT(acked_, ElementsAre(0));
  EXPECT_EQ(detector_.floor(), 2);

  for (double ms : {40.0, 41.5}) Send(ms);
  Ack(74, {{3, 3}});
  EXPECT_THAT(Lost(74), IsEmpty()) << "1.5 ms are less than 2 T/32";
}

TEST_F(LossDetectorTest, ALostPacketIsForgottenOnceALaterOneIsAcked) {
  Send(0);
  EXPECT_THAT(Lost(40), ElementsAre(0));
  Send(50);
  EXPECT_EQ(detector_.floor(), 0);
  Ack(82, {{1, 1}});
  EXPECT_EQ(detector_.floor(), 2);
}

TEST_F(LossDetectorTest, AnAckOfTheFutureIsRefused) {
  Send(0);
  EXPECT_FALSE(Ack(32, {{1, 1}}).valid);
  EXPECT_EQ(detector_.in_flight_bytes(), 100);
}

// Random losses and lost ACKs: every packet is acknowledged or lost exactly once, none twice, and
// the bytes in flight are what is neither.
TEST_F(LossDetectorTest, EveryPacketIsSettledOnce) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    detector_ = LossDetector();
    detector_.SetPlan({.bytes_per_second = 1e6, .delay = kRoundTrip / 2}, absl::Milliseconds(1),
                      absl::ZeroDuration());
    AckRanges arrived;
    std::set<uint32_t> acked, lost;
    size_t settled = 0;
    for (double ms = 0; ms < 200 || detector_.in_flight_bytes() > 0; ms += 0.25) {
      ASSERT_LT(ms, 400);
      if (ms < 200) {
        if (rng.Bernoulli(0.8)) arrived.Add(detector_.next_number());
        Send(ms);
      }
      arrived.RaiseFloor(detector_.floor());
      if (rng.Bernoulli(0.2) && !arrived.empty()) {
        std::vector<PacketRange> ranges;
        for (size_t i = 0; i < arrived.size(); ++i) ranges.push_back(arrived.Newest(i));
        EXPECT_TRUE(Ack(ms, ranges).valid);
        for (uint32_t n : acked_) {
          EXPECT_TRUE(acked.insert(n).second);
          settled += lost.contains(n) ? 0 : 1;
        }
      }
      for (uint32_t n : Lost(ms)) {
        EXPECT_TRUE(lost.insert(n).second && !acked.contains(n));
        ++settled;
      }
      ASSERT_EQ(detector_.in_flight_bytes(), 100 * (detector_.next_number() - settled));
    }
  }
}

}  // namespace
}  // namespace perigee
