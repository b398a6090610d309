// How fast back-to-back messages go over one link, in virtual time: 1 Gbit/s, 10 ms each way.
#include <gtest/gtest.h>

#include <cstdio>
#include <vector>

#include "absl/time/clock.h"
#include "tests/transport/endpoint_world.h"

namespace perigee {
namespace {

constexpr double kBytesPerSecond = 125e6;
constexpr double kSegmentFraction = 1376.0 / 1452.0;  // message bytes of an IP packet

struct Outcome {
  double goodput_fraction = 0;
  SessionCounters sender;
};

// `count` messages of `bytes`, all receives posted ahead.
Outcome SendBackToBack(double loss, size_t bytes, int count, uint64_t seed) {
  ChannelSettings forth{.link = {kBytesPerSecond, absl::Milliseconds(10)}, .loss = loss};
  EndpointWorld world(forth, forth, seed);
  const std::vector<uint8_t> data(bytes, 0x5a);
  std::vector<std::vector<uint8_t>> received(count, std::vector<uint8_t>(bytes));
  int delivered = 0;
  world.on_event = [&](int, const TransportEvent& event) {
    delivered += std::holds_alternative<TransferDelivered>(event);
  };
  for (int i = 0; i < count; ++i) {
    const TransferKey key{.epoch = Epoch(1), .chunk = ChunkId(i)};
    EXPECT_TRUE(
        world.end(1)
            .PostReceive(world.now(), world.node(0), key, {.body = absl::MakeSpan(received[i])})
            .ok());
    EXPECT_TRUE(
        world.end(0)
            .Send(world.now(), world.node(1), key, {.body = data}, TrafficClass::kCollective)
            .ok());
  }
  const absl::Time begin = world.now();
  EXPECT_TRUE(world.RunUntil(begin + absl::Minutes(1), [&] { return delivered == count; }));
  for (const auto& message : received) EXPECT_EQ(message, data);
  const double seconds = absl::ToDoubleSeconds(world.now() - begin);
  const double ideal = (1 - loss) * kBytesPerSecond * kSegmentFraction;
  return {static_cast<double>(bytes) * count / seconds / ideal,
          *world.end(0).Counters(world.node(1))};
}

TEST(LinkGoodputTest, LossyLinksRunAtTheirCapacity) {
  for (double loss : {0.0, 0.001, 0.01, 0.05}) {
    const absl::Time wall = absl::Now();
    const Outcome outcome = SendBackToBack(loss, size_t{64} << 20, 4, 1);
    const double us = absl::ToDoubleMicroseconds(absl::Now() - wall);
    std::printf(
        "loss %.3f: goodput %.4f of the ideal, %llu of %llu packets lost, %llu spuriously; "
        "%.2f us per packet\n",
        loss, outcome.goodput_fraction,
        static_cast<unsigned long long>(outcome.sender.packets_lost),
        static_cast<unsigned long long>(outcome.sender.packets_sent),
        static_cast<unsigned long long>(outcome.sender.packets_spuriously_lost),
        us / static_cast<double>(outcome.sender.packets_sent));
    EXPECT_GE(outcome.goodput_fraction, 0.95) << "loss " << loss;
    if (loss == 0) {
      EXPECT_LE(outcome.sender.segments_retransmitted, outcome.sender.packets_sent / 1000);
    }
  }
}

}  // namespace
}  // namespace perigee
