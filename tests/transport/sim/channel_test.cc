#include "transport/sim/channel.h"

#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace perigee {
namespace {

using ::testing::HasSubstr;

constexpr size_t kPacketBytes = 1500;
constexpr int kPackets = 100'000;
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);
const std::vector<uint64_t> kSeeds = {1, 2, 3, 17, 99};

TEST(ChannelTest, ExampleOfOneLink) {
  // 1.5 MB/s and 10 ms: a packet of 1500 bytes takes 1 ms on the wire.
  Channel channel({.link = {1.5e6, absl::Milliseconds(10)}}, Rng(1));

  // Two packets at once: the second waits for the wire.
  const auto first = channel.Send(kStart, kPacketBytes);
  const auto second = channel.Send(kStart, kPacketBytes);
  ASSERT_EQ(first.size(), 1);
  ASSERT_EQ(second.size(), 1);
  EXPECT_EQ(first[0].at, kStart + absl::Milliseconds(11));
  EXPECT_EQ(second[0].at, kStart + absl::Milliseconds(12));
  EXPECT_FALSE(first[0].flipped_bit.has_value());

  channel.SetDown(true);
  EXPECT_TRUE(channel.Send(kStart + absl::Seconds(1), kPacketBytes).empty());
  EXPECT_EQ(channel.packets_lost(), 1);
}

TEST(ChannelTest, AnUnlimitedLinkHasNoQueue) {
  Channel channel({.link = {0, absl::Milliseconds(3)}}, Rng(1));
  for (int i = 0; i < 1000; ++i) {
    const auto arrivals = channel.Send(kStart, kPacketBytes);
    ASSERT_EQ(arrivals.size(), 1);
    EXPECT_EQ(arrivals[0].at, kStart + absl::Milliseconds(3));
  }
}

TEST(ChannelTest, IndependentLossIsWithinFiveSigma) {
  for (uint64_t seed : kSeeds) {
    for (double loss : {0.0, 0.001, 0.01, 0.05, 0.5, 1.0}) {
      Channel channel({.loss = loss}, Rng(seed));
      int both_lost = 0;
      bool last_lost = false;
      for (int i = 0; i < kPackets; ++i) {
        const bool lost = channel.Send(kStart, kPacketBytes).empty();
        both_lost += lost && last_lost;
        last_lost = lost;
      }
      const double sigma = std::sqrt(kPackets * loss * (1 - loss));
      EXPECT_NEAR(channel.packets_lost(), kPackets * loss, 5 * sigma + 1e-9)
          << "seed " << seed << " loss " << loss;
      const double pairs = kPackets * loss * loss;
      EXPECT_NEAR(both_lost, pairs, 8 * std::sqrt(pairs) + 2)
          << "seed " << seed << " loss " << loss;
    }
  }
}

struct BurstStatistics {
  double lost_fraction = 0;
  double burst_mean_ms = 0;
};

BurstStatistics MeasureBursts(const ChannelSettings& settings, uint64_t seed, absl::Duration gap,
                              int packets) {
  Channel channel(settings, Rng(seed));
  int lost = 0;
  int bursts = 0;
  bool last_lost = false;
  for (int i = 0; i < packets; ++i) {
    const bool is_lost = channel.Send(kStart + i * gap, kPacketBytes).empty();
    lost += is_lost;
    bursts += is_lost && !last_lost;
    last_lost = is_lost;
  }
  return {.lost_fraction = lost / static_cast<double>(packets),
          .burst_mean_ms = lost * absl::ToDoubleMilliseconds(gap) / bursts};
}

TEST(ChannelTest, BurstsLastAsLongAtAnyPacketRate) {
  const ChannelSettings settings = {.loss = 0.1, .burst_mean = absl::Milliseconds(5)};
  for (uint64_t seed : kSeeds) {
    // The same 200 s, about 4,000 bursts; the second sender backs off to a quarter of the rate.
    const auto fast = MeasureBursts(settings, seed, absl::Microseconds(500), 4 * kPackets);
    const auto slow = MeasureBursts(settings, seed, absl::Microseconds(2000), kPackets);
    EXPECT_NEAR(fast.lost_fraction, 0.1, 0.012) << "seed " << seed;
    EXPECT_NEAR(slow.lost_fraction, 0.1, 0.012) << "seed " << seed;
    // Sampling at gaps g misses bursts that fall between two packets: the mean of the seen ones is
    // then g / (1 - exp(-g/5 ms)), 5.25 ms and 6.07 ms.
    EXPECT_NEAR(fast.burst_mean_ms, 5.25, 0.5) << "seed " << seed;
    EXPECT_NEAR(slow.burst_mean_ms, 6.07, 0.6) << "seed " << seed;
  }
}

TEST(ChannelTest, BadPeriodsDoNotDependOnTraffic) {
  const ChannelSettings settings = {.loss = 0.2, .burst_mean = absl::Milliseconds(3)};
  Channel dense(settings, Rng(7));
  Channel sparse(settings, Rng(7));
  for (int ms = 0; ms < 20'000; ++ms) {
    const absl::Time now = kStart + absl::Milliseconds(ms);
    const bool lost = dense.Send(now, kPacketBytes).empty();
    if (ms % 10 == 0) {
      EXPECT_EQ(sparse.Send(now, 40).empty(), lost) << ms;
    }
  }
}

TEST(ChannelTest, PartialLossInsideBurstsKeepsTheMean) {
  const ChannelSettings settings = {
      .loss = 0.05, .burst_mean = absl::Milliseconds(2), .burst_loss = 0.25};
  for (uint64_t seed : kSeeds) {
    const auto measured = MeasureBursts(settings, seed, absl::Milliseconds(1), kPackets);
    EXPECT_NEAR(measured.lost_fraction, 0.05, 0.005) << "seed " << seed;
  }
}

TEST(ChannelTest, BurstsSurviveLongSilence) {
  // An hour between two packets is 180,000 cycles: the state is drawn afresh, with the same shares.
  const auto measured =
      MeasureBursts({.loss = 0.1, .burst_mean = absl::Milliseconds(2)}, 5, absl::Hours(1), 500);
  EXPECT_NEAR(measured.lost_fraction, 0.1, 0.07);
  const auto always = MeasureBursts({.loss = 1, .burst_mean = absl::Milliseconds(2)}, 5,
                                    absl::Milliseconds(7), 1000);
  EXPECT_EQ(always.lost_fraction, 1);
}

TEST(ChannelTest, FirstInFirstOutWithoutReorder) {
  for (uint64_t seed : kSeeds) {
    Rng traffic(seed);
    Channel channel(
        {.link = {12.5e6, absl::Milliseconds(5)}, .loss = 0.1, .duplicate = 0.1, .bit_flip = 0.1},
        Rng(seed));
    absl::Time now = kStart;
    absl::Time last = kStart;
    for (int i = 0; i < 20'000; ++i) {
      now += absl::Microseconds(traffic.Below(250));
      for (const Arrival& arrival : channel.Send(now, 40 + traffic.Below(1460))) {
        ASSERT_GE(arrival.at, last) << "seed " << seed;
        ASSERT_GE(arrival.at, now + absl::Milliseconds(5)) << "seed " << seed;
        last = arrival.at;
      }
    }
  }
}

TEST(ChannelTest, SharesOfReorderedDuplicatedAndFlippedPackets) {
  const absl::Duration delay = absl::Milliseconds(10);
  Channel channel({.link = {0, delay},
                   .reorder = 0.1,
                   .reorder_delay_max = absl::Milliseconds(4),
                   .duplicate = 0.02,
                   .bit_flip = 0.05},
                  Rng(3));
  int arrived = 0, late = 0, flipped = 0;
  absl::Duration lateness;
  for (int i = 0; i < kPackets; ++i) {
    for (const Arrival& arrival : channel.Send(kStart, kPacketBytes)) {
      ++arrived;
      const absl::Duration extra = arrival.at - (kStart + delay);
      ASSERT_GE(extra, absl::ZeroDuration());
      ASSERT_LE(extra, absl::Milliseconds(4));
      late += extra > absl::ZeroDuration();
      lateness += extra;
      flipped += arrival.flipped_bit.has_value();
      ASSERT_LT(arrival.flipped_bit.value_or(0), kPacketBytes * 8);
    }
  }
  EXPECT_NEAR(arrived, 102'000, 250);
  EXPECT_NEAR(late, 10'200, 500);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(lateness / late), 2, 0.1);
  EXPECT_NEAR(flipped, 5'100, 400);
}

TEST(ChannelTest, SameSeedSameFate) {
  const ChannelSettings settings = {.link = {12.5e6, absl::Milliseconds(5)},
                                    .loss = 0.1,
                                    .burst_mean = absl::Milliseconds(1),
                                    .burst_loss = 0.7,
                                    .reorder = 0.1,
                                    .duplicate = 0.1,
                                    .bit_flip = 0.1};
  auto Run = [&settings](uint64_t seed) {
    Channel channel(settings, Rng(seed));
    std::vector<std::tuple<int, absl::Time, uint64_t>> fates;
    for (int i = 0; i < 5'000; ++i) {
      for (const Arrival& a : channel.Send(kStart + i * absl::Microseconds(100), kPacketBytes)) {
        fates.emplace_back(i, a.at, a.flipped_bit.value_or(~uint64_t{0}));
      }
    }
    return fates;
  };
  EXPECT_EQ(Run(42), Run(42));
  EXPECT_NE(Run(42), Run(43));
}

TEST(ChannelTest, TheQueueIsBounded) {
  Channel channel({.link = {1.5e6, absl::Milliseconds(10)}, .queue_bytes_max = 15'000}, Rng(1));
  int passed = 0;
  for (int i = 0; i < 100; ++i) passed += !channel.Send(kStart, kPacketBytes).empty();
  EXPECT_EQ(passed, 10);
  EXPECT_EQ(channel.packets_dropped(), 90);
  EXPECT_EQ(channel.packets_lost(), 90);
  // One packet time later there is room for one more.
  EXPECT_FALSE(channel.Send(kStart + absl::Milliseconds(1), kPacketBytes).empty());
  EXPECT_TRUE(channel.Send(kStart + absl::Milliseconds(1), kPacketBytes).empty());
}

TEST(ChannelTest, DefaultQueueIsTwoBandwidthDelayProducts) {
  // 100 MB/s and a round trip of 20 ms: 2 MB, so 4 MB wait.
  Channel channel({.link = {100e6, absl::Milliseconds(10)}}, Rng(1));
  int passed = 0;
  for (int i = 0; i < 10'000; ++i) passed += !channel.Send(kStart, 1000).empty();
  EXPECT_EQ(passed, 4000);

  Channel slow({.link = {1e3, absl::ZeroDuration()}}, Rng(1));
  passed = 0;
  for (int i = 0; i < 10'000; ++i) passed += !slow.Send(kStart, 1024).empty();
  EXPECT_EQ(passed, 128);
}

TEST(ChannelTest, APacketLargerThanTheQueuePassesAnIdleWire) {
  Channel channel({.link = {1e6, absl::ZeroDuration()}, .queue_bytes_max = 100}, Rng(1));
  EXPECT_FALSE(channel.Send(kStart, kPacketBytes).empty());
  EXPECT_TRUE(channel.Send(kStart, kPacketBytes).empty());
  EXPECT_FALSE(channel.Send(kStart + absl::Seconds(1), kPacketBytes).empty());
}

TEST(ChannelTest, NothingPassesADownWindow) {
  const auto At = [](int ms) { return kStart + absl::Milliseconds(ms); };
  Channel channel(
      {.link = {1.5e6, absl::Milliseconds(10)}, .down = {{At(5), At(10)}, {At(20), At(21)}}},
      Rng(1));
  EXPECT_FALSE(channel.Send(At(4), kPacketBytes).empty());  // leaves at 5 ms, just in time
  EXPECT_TRUE(channel.Send(At(5), kPacketBytes).empty());
  EXPECT_TRUE(channel.Send(At(9), kPacketBytes).empty());
  EXPECT_FALSE(channel.Send(At(10), kPacketBytes).empty());
  // Four at once at 17 ms: the last one would be on the wire from 20 ms on.
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(channel.Send(At(17), kPacketBytes).empty()) << i;
  EXPECT_TRUE(channel.Send(At(17), kPacketBytes).empty());
  EXPECT_TRUE(channel.Send(At(20), kPacketBytes).empty());
  EXPECT_FALSE(channel.Send(At(21), kPacketBytes).empty());
  EXPECT_EQ(channel.packets_lost(), 4);
  EXPECT_EQ(channel.packets_dropped(), 0);
}

TEST(ChannelTest, SetDownTakesEffectAtOnceAndEnds) {
  Channel channel({}, Rng(1));
  EXPECT_FALSE(channel.Send(kStart, kPacketBytes).empty());
  channel.SetDown(true);
  EXPECT_TRUE(channel.Send(kStart, kPacketBytes).empty());
  channel.SetDown(false);
  EXPECT_FALSE(channel.Send(kStart, kPacketBytes).empty());
}

TEST(ChannelTest, ValidateNamesTheField) {
  const auto Expect = [](const ChannelSettings& settings, const char* field) {
    const absl::Status status = Validate(settings);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  };
  EXPECT_TRUE(Validate({}).ok());
  Expect({.link = {-1, absl::ZeroDuration()}}, "bytes_per_second");
  Expect({.link = {std::nan(""), absl::ZeroDuration()}}, "bytes_per_second");
  Expect({.link = {1, -absl::Seconds(1)}}, "link.delay");
  Expect({.link = {1, absl::InfiniteDuration()}}, "link.delay");
  Expect({.loss = 1.5}, "loss");
  Expect({.loss = std::nan("")}, "loss");
  Expect({.burst_mean = -absl::Seconds(1)}, "burst_mean");
  Expect({.loss = 0.5, .burst_mean = absl::Seconds(1), .burst_loss = 0.4}, "burst_loss");
  Expect({.burst_mean = absl::Seconds(1), .burst_loss = 0}, "burst_loss");
  Expect({.reorder = -0.1}, "reorder");
  Expect({.reorder_delay_max = absl::InfiniteDuration()}, "reorder_delay_max");
  Expect({.duplicate = 2}, "duplicate");
  Expect({.bit_flip = 2}, "bit_flip");
  const absl::Time later = kStart + absl::Seconds(1);
  Expect({.down = {{kStart, kStart}}}, "down[0]");
  Expect({.down = {{kStart, later}, {kStart, later}}}, "down[1]");
}

}  // namespace
}  // namespace perigee
