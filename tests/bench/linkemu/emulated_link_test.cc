#include "bench/linkemu/emulated_link.h"

#include <gtest/gtest.h>

namespace perigee::linkemu {
namespace {

constexpr size_t kPacketBytes = 1000;

absl::Time At(int milliseconds) {
  return absl::UnixEpoch() + absl::Milliseconds(1000 + milliseconds);
}

LinkSettings Settings() {
  // One packet takes 1 ms, then travels for 10 ms.
  LinkSettings settings{.from = 0, .to = 1};
  settings.channel.link = {1e6, absl::Milliseconds(10)};
  return settings;
}

// When a packet that is sent at `at` arrives; nothing when it does not.
std::optional<absl::Time> Arrives(EmulatedLink& link, absl::Time at) {
  const auto arrivals = link.Send(at, kPacketBytes);
  if (arrivals.empty()) return std::nullopt;
  return arrivals.front().at;
}

TEST(EmulatedLink, PacketsQueueForTheWire) {
  EmulatedLink link(Settings(), Rng(1));
  EXPECT_EQ(Arrives(link, At(0)), At(11));
  EXPECT_EQ(Arrives(link, At(0)), At(12));
  EXPECT_EQ(Arrives(link, At(5)), At(16));
  EXPECT_EQ(link.counters().packets, 3u);
  EXPECT_EQ(link.counters().bytes, 3 * kPacketBytes);
}

TEST(EmulatedLink, GoesDownAndUp) {
  EmulatedLink link(Settings(), Rng(1));
  ASSERT_TRUE(link.Change(At(0), {.down = true}).ok());
  EXPECT_FALSE(Arrives(link, At(1)));
  EXPECT_EQ(link.counters().down_dropped, 1u);
  ASSERT_TRUE(link.Change(At(2), {.down = false}).ok());
  EXPECT_EQ(Arrives(link, At(3)), At(14));
}

TEST(EmulatedLink, AChangeOfRateWaitsForTheWire) {
  EmulatedLink link(Settings(), Rng(1));
  for (int i = 0; i < 5; ++i) Arrives(link, At(0));  // the wire is free again at 5 ms
  ASSERT_TRUE(link.Change(At(1), {.bytes_per_second = 2e6, .delay = absl::Milliseconds(20)}).ok());
  EXPECT_EQ(Arrives(link, At(1)), At(25) + absl::Microseconds(500));
  EXPECT_EQ(link.WireTime(kPacketBytes), absl::Microseconds(500));
}

TEST(EmulatedLink, RefusesAChangeThatDoesNotFit) {
  EmulatedLink link(Settings(), Rng(1));
  const absl::Status changed = link.Change(
      At(0), {.down = true, .loss = 0.9, .burst_mean = absl::Seconds(1), .burst_loss = 0.5});
  EXPECT_EQ(changed.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(link.down());
  EXPECT_EQ(link.channel_settings().loss, 0);
}

TEST(EmulatedLink, OpensAndClosesByItsWindows) {
  LinkSettings settings = Settings();
  settings.windows = {{At(10), At(20), {1e6, absl::Milliseconds(10)}},
                      {At(30), At(40), {2e6, absl::Milliseconds(5)}}};
  EmulatedLink link(settings, Rng(1));
  EXPECT_FALSE(Arrives(link, At(9)));
  EXPECT_EQ(Arrives(link, At(10)), At(21));
  EXPECT_EQ(Arrives(link, At(18)), At(29));
  EXPECT_EQ(Arrives(link, At(18)), At(30));  // leaves just as the window closes
  EXPECT_FALSE(Arrives(link, At(18)));       // would leave after it
  EXPECT_FALSE(Arrives(link, At(25)));
  EXPECT_EQ(Arrives(link, At(31)), At(36) + absl::Microseconds(500));
  EXPECT_FALSE(Arrives(link, At(41)));
  EXPECT_EQ(link.counters().lost, 1u);
  EXPECT_EQ(link.counters().down_dropped, 3u);
}

TEST(EmulatedLink, ManyWindowsMayPassUnused) {
  LinkSettings settings = Settings();
  for (int i = 0; i < 1000; ++i) {
    settings.windows.push_back({At(20 * i), At(20 * i + 10), settings.channel.link});
  }
  EmulatedLink link(settings, Rng(1));
  EXPECT_EQ(Arrives(link, At(20 * 900 + 1)), At(20 * 900 + 12));
}

TEST(EmulatedLink, TimeThatRunsBackwardsIsHeld) {
  LinkSettings settings = Settings();
  settings.windows = {{At(90), At(200), settings.channel.link}};
  EmulatedLink link(settings, Rng(1));
  EXPECT_EQ(Arrives(link, At(100)), At(111));
  EXPECT_EQ(Arrives(link, At(50)), At(112));
}

TEST(EmulatedLink, CountsWhatTheChannelDoes) {
  LinkSettings settings = Settings();
  settings.channel.loss = 0.2;
  settings.channel.duplicate = 0.1;
  settings.channel.bit_flip = 0.1;
  settings.channel.queue_bytes_max = 5 * kPacketBytes;
  EmulatedLink link(settings, Rng(1));
  uint64_t arrived = 0;
  uint64_t flipped = 0;
  for (int i = 0; i < 10'000; ++i) {
    for (const Arrival& arrival : link.Send(At(i / 2), kPacketBytes)) {  // twice the rate
      ++arrived;
      flipped += arrival.flipped_bit.has_value();
    }
  }
  const LinkCounters& counters = link.counters();
  EXPECT_EQ(arrived,
            counters.packets - counters.lost - counters.queue_dropped + counters.duplicated);
  EXPECT_EQ(flipped, counters.flipped);
  EXPECT_NEAR(static_cast<double>(counters.queue_dropped), 5000, 100);
  EXPECT_NEAR(static_cast<double>(counters.lost), 1000, 120);
  EXPECT_NEAR(static_cast<double>(counters.duplicated), 400, 80);
}

}  // namespace
}  // namespace perigee::linkemu
