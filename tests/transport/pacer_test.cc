#include "transport/pacer.h"

#include <gtest/gtest.h>

namespace perigee {
namespace {

constexpr size_t kBytes = Pacer::kPacketBytes;
constexpr double kRate = 125e6;
const absl::Time kBegin = absl::UnixEpoch();

// Sends whenever it may until `end`; the number of packets.
int SendUntil(Pacer& pacer, absl::Time now, absl::Time end) {
  int packets = 0;
  while (now < end) {
    while (pacer.MaySend(now)) {
      pacer.OnSent(now, kBytes);
      ++packets;
    }
    EXPECT_GT(pacer.NextSend(), now);
    now = pacer.NextSend();
  }
  return packets;
}

TEST(PacerTest, SendsAtThePlannedRateInBursts) {
  Pacer pacer;
  pacer.SetPlan({kRate, absl::Milliseconds(10)});
  int burst = 0;
  for (; pacer.MaySend(kBegin); ++burst) pacer.OnSent(kBegin, kBytes);
  EXPECT_EQ(burst, Pacer::kBurstPacketsMax + 1);
  const int packets = burst + SendUntil(pacer, pacer.NextSend(), kBegin + absl::Seconds(1));
  EXPECT_NEAR(packets, kRate / kBytes, 2 * Pacer::kBurstPacketsMax);
}

TEST(PacerTest, WithoutARateTheWindowIsTheOnlyLimit) {
  Pacer pacer;
  pacer.SetPlan({0, absl::Milliseconds(10)});
  for (int i = 0; i < 1000; ++i) pacer.OnSent(kBegin, kBytes);
  EXPECT_TRUE(pacer.MaySend(kBegin));
  EXPECT_EQ(pacer.WindowBytes(absl::Milliseconds(20), absl::Milliseconds(1)), 256 * kBytes);
}

TEST(PacerTest, ASlowLinkSendsPacketByPacket) {
  Pacer pacer;
  pacer.SetPlan({1452, absl::Milliseconds(10)});  // one packet a second
  EXPECT_NEAR(SendUntil(pacer, kBegin, kBegin + absl::Seconds(20)), 22, 1);
}

Pacer::Feedback Loss(uint32_t acked, uint32_t lost) {
  return {.acked_count = acked, .lost_count = lost, .round_trip = absl::Milliseconds(20)};
}

TEST(PacerTest, RandomLossDoesNotCutTheRate) {
  Pacer pacer;
  pacer.SetPlan({kRate, absl::Milliseconds(10)});
  for (int i = 0; i < 100; ++i) {
    pacer.OnFeedback(kBegin + i * absl::Milliseconds(50), Loss(800, 200));
  }
  EXPECT_EQ(pacer.bytes_per_second(), kRate);
}

TEST(PacerTest, MostlyLostCutsAndComesBack) {
  Pacer pacer;
  pacer.SetPlan({kRate, absl::Milliseconds(10)});
  absl::Time now = kBegin;
  for (int i = 0; i < 100; ++i) pacer.OnFeedback(now += absl::Milliseconds(50), Loss(500, 500));
  EXPECT_DOUBLE_EQ(pacer.bytes_per_second(), kRate / 64);
  for (int i = 0; i < 100; ++i) pacer.OnFeedback(now += absl::Milliseconds(50), Loss(1000, 0));
  EXPECT_DOUBLE_EQ(pacer.bytes_per_second(), kRate);
}

TEST(PacerTest, ADeadLinkIsNotAFullOne) {
  Pacer pacer;
  pacer.SetPlan({kRate, absl::Milliseconds(10)});
  for (int i = 0; i < 9; ++i) {
    pacer.OnFeedback(kBegin + i * absl::Milliseconds(50), Loss(0, 1000));
  }
  EXPECT_EQ(pacer.bytes_per_second(), kRate);
}

TEST(PacerTest, AQueueCutsTheRateAndARestartForgetsIt) {
  Pacer pacer;
  pacer.SetPlan({kRate, absl::Milliseconds(10)});
  for (int i = 0; i < 9; ++i) {
    pacer.OnFeedback(kBegin + i * absl::Milliseconds(200), {.acked_count = 100,
                                                            .round_trip = absl::Milliseconds(20),
                                                            .queueing = absl::Milliseconds(50)});
  }
  EXPECT_LT(pacer.bytes_per_second(), kRate / 2);
  pacer.Restart();
  EXPECT_EQ(pacer.bytes_per_second(), kRate);
}

}  // namespace
}  // namespace perigee
