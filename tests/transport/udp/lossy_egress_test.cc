#include "transport/udp/lossy_egress.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace perigee {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

std::vector<uint8_t> Numbered(uint32_t number, size_t size) {
  std::vector<uint8_t> bytes(size, 0x5a);
  std::memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}

uint32_t NumberOf(absl::Span<const uint8_t> bytes) {
  uint32_t number;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return number;
}

TEST(LossyEgressTest, ExampleOfOneLink) {
  LossyEgress egress({}, Rng(1));
  // 1 MB/s: 972 bytes and the headers are 1000 on the wire, so 1 ms; then 10 ms to the other end.
  const size_t to = egress.AddDestination({.link = {1e6, absl::Milliseconds(10)}});
  EXPECT_EQ(egress.NextDue(), absl::InfiniteFuture());

  ASSERT_TRUE(egress.Push(kStart, to, Numbered(7, 972)).ok());
  EXPECT_EQ(egress.NextDue(), kStart + absl::Milliseconds(11));
  EXPECT_FALSE(egress.PopDue(kStart + absl::Milliseconds(10)).has_value());

  const auto due = egress.PopDue(kStart + absl::Milliseconds(11));
  ASSERT_TRUE(due.has_value());
  EXPECT_EQ(due->to, to);
  EXPECT_EQ(due->bytes, absl::MakeConstSpan(Numbered(7, 972)));
  EXPECT_FALSE(egress.PopDue(kStart + absl::Hours(1)).has_value());
}

TEST(LossyEgressTest, LossAndOrderInVirtualTime) {
  for (uint64_t seed : {1, 2, 3}) {
    constexpr int kPackets = 100'000;
    LossyEgress egress({}, Rng(seed));
    const size_t to = egress.AddDestination({.link = {0, absl::Milliseconds(5)}, .loss = 0.03});
    int64_t last = -1;
    int received = 0;
    const auto Drain = [&](absl::Time now) {
      while (const auto due = egress.PopDue(now)) {
        const uint32_t number = NumberOf(due->bytes);
        ASSERT_EQ(due->bytes.size(), 4 + number % 1000);
        ASSERT_GT(number, last) << "seed " << seed;
        last = number;
        ++received;
      }
    };
    for (uint32_t i = 0; i < kPackets; ++i) {
      const absl::Time now = kStart + i * absl::Microseconds(100);
      ASSERT_TRUE(egress.Push(now, to, Numbered(i, 4 + i % 1000)).ok());
      Drain(now);
      ASSERT_LE(egress.under_way_count(), 51u);  // 5 ms at one packet per 100 us
    }
    Drain(kStart + absl::Hours(1));
    EXPECT_NEAR(received, 0.97 * kPackets, 5 * std::sqrt(kPackets * 0.03 * 0.97))
        << "seed " << seed;
    EXPECT_EQ(egress.counters().lost + received, kPackets);
    EXPECT_EQ(egress.counters().released, received);
    EXPECT_EQ(egress.counters().pushed, kPackets);
    EXPECT_EQ(egress.under_way_count(), 0);
  }
}

// An oracle that keeps everything in a sorted map, against the heap and its pool.
TEST(LossyEgressTest, AgreesWithTheChannelsAndASortedMap) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const ChannelSettings settings = {.link = {5e6, absl::Milliseconds(2)},
                                      .loss = 0.1,
                                      .burst_mean = absl::Milliseconds(1),
                                      .reorder = 0.2,
                                      .duplicate = 0.1,
                                      .bit_flip = 0.1};
    LossyEgress egress({}, Rng(seed));
    Rng rng(seed);
    std::vector<Channel> channels;
    for (size_t i = 0; i < 3; ++i) {
      ASSERT_EQ(egress.AddDestination(settings), i);
      channels.emplace_back(settings, rng.Fork());
    }
    std::map<std::pair<absl::Time, int>, std::pair<size_t, std::vector<uint8_t>>> expected;
    Rng traffic(seed + 1000);
    absl::Time now = kStart;
    int sequence = 0;
    for (uint32_t i = 0; i < 3000; ++i) {
      now += absl::Microseconds(traffic.Below(400));
      const size_t to = traffic.Below(3);
      const auto bytes = Numbered(i, 4 + traffic.Below(LossyEgress::kDatagramBytesMax - 3));
      ASSERT_TRUE(egress.Push(now, to, bytes).ok());
      for (const Arrival& arrival : channels[to].Send(now, bytes.size() + 28)) {
        auto copy = bytes;
        if (arrival.flipped_bit) {
          const size_t bit = *arrival.flipped_bit % (8 * copy.size());
          copy[bit / 8] ^= 1 << (bit % 8);
        }
        expected[{arrival.at, sequence++}] = {to, copy};
      }
      while (const auto due = egress.PopDue(now)) {
        ASSERT_FALSE(expected.empty()) << "seed " << seed;
        const auto first = expected.begin();
        ASSERT_LE(first->first.first, now) << "seed " << seed;
        ASSERT_EQ(due->to, first->second.first) << "seed " << seed;
        ASSERT_EQ(due->bytes, absl::MakeConstSpan(first->second.second)) << "seed " << seed;
        expected.erase(first);
      }
      ASSERT_EQ(egress.NextDue(),
                expected.empty() ? absl::InfiniteFuture() : expected.begin()->first.first)
          << "seed " << seed;
    }
    EXPECT_GT(egress.counters().duplicated, 0);
    EXPECT_GT(egress.counters().flipped, 0);
    EXPECT_GT(egress.counters().lost, 0);
  }
}

TEST(LossyEgressTest, TheQueueIsBounded) {
  LossyEgress egress({.datagrams_max = 100}, Rng(1));
  const size_t to = egress.AddDestination({.link = {0, absl::Milliseconds(5)}});
  for (uint32_t i = 0; i < 150; ++i) ASSERT_TRUE(egress.Push(kStart, to, Numbered(i, 100)).ok());
  EXPECT_EQ(egress.under_way_count(), 100);
  EXPECT_EQ(egress.counters().overflowed, 50);
  uint32_t expected = 0;
  while (const auto due = egress.PopDue(kStart + absl::Seconds(1))) {
    EXPECT_EQ(NumberOf(due->bytes), expected++);
  }
  EXPECT_EQ(expected, 100);
  EXPECT_TRUE(egress.Push(kStart + absl::Seconds(1), to, Numbered(0, 100)).ok());
  EXPECT_EQ(egress.under_way_count(), 1);
}

TEST(LossyEgressTest, EmptyAndOversizedDatagrams) {
  LossyEgress egress({}, Rng(1));
  const size_t to = egress.AddDestination({.bit_flip = 1});
  const std::vector<uint8_t> oversized(LossyEgress::kDatagramBytesMax + 1);
  const absl::Status refused = egress.Push(kStart, to, oversized);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  EXPECT_EQ(egress.counters().pushed, 0);
  ASSERT_TRUE(egress.Push(kStart, to, {}).ok());
  const auto due = egress.PopDue(kStart);
  ASSERT_TRUE(due.has_value());
  EXPECT_TRUE(due->bytes.empty());
}

TEST(LossyEgressTest, ADownLinkAndAClockThatStepsBack) {
  LossyEgress egress({}, Rng(1));
  const size_t to = egress.AddDestination({.link = {1e6, absl::Milliseconds(1)}});
  egress.channel(to).SetDown(true);
  ASSERT_TRUE(egress.Push(kStart, to, Numbered(1, 972)).ok());
  EXPECT_EQ(egress.counters().lost, 1);
  egress.channel(to).SetDown(false);
  // Held at the last push: due as if the clock stood still.
  ASSERT_TRUE(egress.Push(kStart - absl::Hours(1), to, Numbered(2, 972)).ok());
  EXPECT_EQ(egress.NextDue(), kStart + absl::Milliseconds(2));
}

}  // namespace
}  // namespace perigee
