// The emulated network in virtual time: what comes out of it, against the channel asked packet by
// packet.
#include "bench/linkemu/emulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "tests/bench/linkemu/frames.h"

namespace perigee::linkemu {
namespace {

using Bytes = std::vector<uint8_t>;

absl::Time At(double milliseconds) {
  return absl::UnixEpoch() + absl::Seconds(1) + absl::Milliseconds(milliseconds);
}

Network TwoNodes(const ChannelSettings& channel) { return *MakeTopology("mesh", 2, channel); }

void Send(Emulator& emulator, absl::Time now, int from, const Bytes& frame) {
  std::copy(frame.begin(), frame.end(), emulator.Inbox().begin());
  emulator.OnFrame(now, from, frame.size());
}

struct Out {
  absl::Time at;
  int to = 0;
  Bytes frame;
};

// Everything that is under way, each piece when it is due.
std::vector<Out> Drain(Emulator& emulator) {
  std::vector<Out> all;
  while (emulator.NextTimeout() < absl::InfiniteFuture()) {
    const absl::Time now = emulator.NextTimeout();
    while (const auto arrival = emulator.NextArrival(now)) {
      EXPECT_EQ(arrival->due, now);
      Bytes frame(arrival->head.begin(), arrival->head.end());
      frame.insert(frame.end(), arrival->payload.begin(), arrival->payload.end());
      all.push_back({now, arrival->to, frame});
    }
  }
  EXPECT_EQ(emulator.pieces_under_way(), 0u);
  return all;
}

Flow FullFlow(uint32_t segments, int from = 0, int to = 1) {
  Flow flow{
      .from = from, .to = to, .segment_bytes = 1460, .payload = Bytes(size_t{1460} * segments)};
  for (size_t i = 0; i < flow.payload.size(); ++i) flow.payload[i] = static_cast<uint8_t>(i * 31);
  return flow;
}

TEST(Emulator, ASuperPacketTravelsWhole) {
  Emulator emulator(TwoNodes({.link = {125e6, absl::Milliseconds(5)}}), {});
  const Bytes frame = SuperFrame(FullFlow(44));
  Send(emulator, At(0), 0, frame);
  const std::vector<Out> out = Drain(emulator);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, 1);
  EXPECT_EQ(out[0].frame, frame);
  // 44 packets of 1500 bytes at 12 us each, then 5 ms.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(out[0].at - At(0)), 5.528, 1e-6);
}

TEST(Emulator, ASlowLinkGetsSmallPieces) {
  Emulator emulator(TwoNodes({.link = {12.5e6, absl::Milliseconds(5)}}), {});
  const Flow flow = FullFlow(20);
  Send(emulator, At(0), 0, SuperFrame(flow));
  const std::vector<Out> out = Drain(emulator);
  ASSERT_EQ(out.size(), 4u);  // 2.4 ms of wire time, at most 600 us each
  std::vector<Bytes> packets;
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_NEAR(absl::ToDoubleMilliseconds(out[i].at - At(0)), 5 + 0.6 * static_cast<double>(i + 1),
                1e-6);
    for (const Bytes& packet : WirePacketsOf(out[i].frame)) packets.push_back(packet);
  }
  ASSERT_EQ(packets.size(), 20u);
  for (uint32_t i = 0; i < 20; ++i) EXPECT_EQ(packets[i], WirePacket(flow, i));
}

TEST(Emulator, SendsOverRelays) {
  const Network line = *ParseGraph("0 1 1e9 0.001\n1 2 1e9 0.002\n", "line", {});
  Emulator emulator(line, {});
  const Bytes frame = SuperFrame(FullFlow(2, 0, 2));
  Send(emulator, At(0), 0, frame);
  const std::vector<Out> out = Drain(emulator);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].to, 2);
  EXPECT_EQ(out[0].frame, frame);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(out[0].at - At(0)), 3 + 2 * 0.003, 1e-6);
}

TEST(Emulator, CountsWhatHasNoWay) {
  Emulator emulator(*ParseGraph("0 1 1e9 0\n2 3 1e9 0\n", "islands", {}), {});
  Send(emulator, At(0), 0, SuperFrame(FullFlow(2, 0, 2)));
  Send(emulator, At(0), 0, SuperFrame(FullFlow(2, 0, 9)));
  Send(emulator, At(0), 0, Bytes(30));
  EXPECT_EQ(emulator.counters().unroutable, 2u);
  EXPECT_EQ(emulator.counters().malformed, 1u);
  EXPECT_EQ(emulator.NextTimeout(), absl::InfiniteFuture());
}

TEST(Emulator, ChangesLinks) {
  Emulator emulator(*MakeTopology("ring", 4, {.link = {1e9, absl::Milliseconds(1)}}), {});
  ASSERT_TRUE(emulator.Change(At(0), 0, 1, {.down = true}).ok());
  Send(emulator, At(0), 0, SuperFrame(FullFlow(2, 0, 1)));
  Send(emulator, At(0), 1, SuperFrame(FullFlow(2, 1, 0)));
  EXPECT_EQ(Drain(emulator).size(), 1u);
  ASSERT_TRUE(emulator.Change(At(10), Emulator::kAny, Emulator::kAny, {.down = false}).ok());
  Send(emulator, At(10), 0, SuperFrame(FullFlow(2, 0, 1)));
  EXPECT_EQ(Drain(emulator).size(), 1u);
  const absl::Status none = emulator.Change(At(20), 0, 2, {.down = true});
  EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(none.message(), "there is no link from 0 to 2");
}

TEST(Emulator, LosesWhatMemoryCannotHold) {
  Emulator emulator(TwoNodes({.link = {0, absl::Seconds(1)}}), {.memory_bytes_max = 1 << 20});
  for (int i = 0; i < 100; ++i) Send(emulator, At(i), 0, SuperFrame(FullFlow(40)));
  const LinkCounters& counters = emulator.links()[0].counters();
  EXPECT_GT(counters.overflowed, 0u);
  const std::vector<Out> out = Drain(emulator);
  EXPECT_EQ(out.size() * 40 + counters.overflowed, 4000u);
  // And takes packets again when there is room.
  Send(emulator, At(5000), 0, SuperFrame(FullFlow(40)));
  EXPECT_EQ(Drain(emulator).size(), 1u);
}

// What can happen on a link, all at once.
ChannelSettings RandomChannel(Rng& rng) {
  ChannelSettings channel;
  channel.link = {rng.Bernoulli(0.2) ? 0 : 1e6 * static_cast<double>(rng.Between(1, 200)),
                  absl::Microseconds(rng.Between(0, 20'000))};
  const auto Maybe = [&rng](double most) { return rng.Bernoulli(0.5) ? rng.Unit() * most : 0.0; };
  channel.loss = Maybe(0.3);
  channel.reorder = Maybe(0.1);
  channel.duplicate = Maybe(0.1);
  channel.bit_flip = Maybe(0.1);
  if (rng.Bernoulli(0.3)) channel.burst_mean = absl::Milliseconds(2);
  if (rng.Bernoulli(0.3)) channel.queue_bytes_max = 100'000;
  return channel;
}

struct Copy {
  absl::Time at;
  Bytes packet;

  // Twins are told apart by their times.
  std::pair<std::string, absl::Time> Key() const { return {{packet.begin(), packet.end()}, at}; }
};

// The same frames through the channel alone, one wire packet after the other.
std::vector<Copy> Expected(const ChannelSettings& settings, uint64_t seed,
                           const std::vector<std::pair<absl::Time, Flow>>& flows) {
  // As the emulator deals them: a generator per link, and in it one for the first channel.
  Channel channel(settings, Rng(seed).Fork().Fork());
  std::vector<Copy> copies;
  for (const auto& [now, flow] : flows) {
    for (uint32_t i = 0; i < flow.segment_count(); ++i) {
      Bytes packet = WirePacket(flow, i);
      for (const Arrival& arrival : channel.Send(now, packet.size())) {
        Bytes copy = packet;
        if (arrival.flipped_bit) {
          copy[*arrival.flipped_bit / 8] ^=
              static_cast<uint8_t>(0x80 >> (*arrival.flipped_bit % 8));
        }
        copies.push_back({arrival.at, copy});
      }
    }
  }
  return copies;
}

TEST(Emulator, DoesToEveryWirePacketWhatTheChannelSays) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    const ChannelSettings channel = RandomChannel(rng);
    const Emulator::Options options{.seed = seed};
    Emulator emulator(TwoNodes(channel), options);
    std::vector<std::pair<absl::Time, Flow>> flows;
    std::vector<Copy> got;
    absl::Time now = At(0);
    for (int i = 0; i < 20; ++i) {
      now += absl::Microseconds(rng.Between(0, 1000));
      Flow flow = RandomFlow(rng);
      flow.sequence = static_cast<uint32_t>(i);  // no two packets are alike
      flows.emplace_back(now, flow);
      Send(emulator, now, 0, SuperFrame(flow));
    }
    for (const Out& out : Drain(emulator)) {
      for (const Bytes& packet : WirePacketsOf(out.frame)) got.push_back({out.at, packet});
    }
    std::vector<Copy> expected = Expected(channel, seed, flows);
    const auto ByKey = [](const Copy& a, const Copy& b) { return a.Key() < b.Key(); };
    std::sort(expected.begin(), expected.end(), ByKey);
    std::sort(got.begin(), got.end(), ByKey);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].packet, expected[i].packet);
      // Never early, and late by no more than the pieces' span and what cannot be divided.
      EXPECT_GE(got[i].at, expected[i].at);
      EXPECT_LE(got[i].at, expected[i].at + options.piece_span);
    }
    const LinkCounters& counters = emulator.links()[0].counters();
    EXPECT_EQ(got.size() - counters.duplicated + counters.lost + counters.queue_dropped,
              counters.packets);
  }
}

TEST(Emulator, SameSeedSameArrivals) {
  const auto Run = [](uint64_t seed) {
    Emulator emulator(*MakeTopology("ring", 4,
                                    {.link = {25e6, absl::Milliseconds(3)},
                                     .loss = 0.1,
                                     .reorder = 0.05,
                                     .duplicate = 0.05,
                                     .bit_flip = 0.05}),
                      {.seed = seed});
    for (int i = 0; i < 50; ++i) {
      Send(emulator, At(i), i % 4, SuperFrame(FullFlow(30, i % 4, (i + 2) % 4)));
    }
    std::vector<std::pair<absl::Time, Bytes>> all;
    for (Out& out : Drain(emulator)) all.emplace_back(out.at, std::move(out.frame));
    return all;
  };
  EXPECT_EQ(Run(1), Run(1));
  EXPECT_NE(Run(1), Run(2));
}

}  // namespace
}  // namespace perigee::linkemu
