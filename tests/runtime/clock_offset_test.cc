#include "runtime/clock_offset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "transport/base/rng.h"

namespace perigee {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

constexpr absl::Duration Ms(int64_t n) { return absl::Milliseconds(n); }

// A member whose clock is `ahead`: hears the coordinator's clock after `down`, answers after
// `pause`, and the answer takes `up`.
struct Exchange {
  absl::Duration ahead;
  absl::Duration down;
  absl::Duration pause;
  absl::Duration up;
};
// The coordinator has sent at `sent`; returns when the answer was there.
absl::Time RoundTrip(const Exchange& exchange, absl::Time sent, ClockEstimate* estimate) {
  HeardClock heard;
  const absl::Time arrived = sent + exchange.down + exchange.ahead;
  heard.OnMessage(arrived, Waiting{.clock = sent});
  const absl::Time back = sent + exchange.down + exchange.pause + exchange.up;
  estimate->OnReport(back, *heard.Report(arrived + exchange.pause));
  return back;
}

TEST(ClockOffset, AnHourIsFoundInOneRoundTrip) {
  ClockEstimate estimate;
  EXPECT_FALSE(estimate.At(kNow).has_value());
  const absl::Time back = RoundTrip({absl::Hours(1), Ms(10), Ms(70), Ms(10)}, kNow, &estimate);
  const ClockOffset offset = *estimate.At(back);
  EXPECT_EQ(offset.ahead, absl::Hours(1));
  EXPECT_EQ(offset.bound, Ms(10));
  EXPECT_EQ(estimate.At(back + absl::Seconds(100))->bound, Ms(20)) << "100 ppm of 100 s";
}

TEST(ClockOffset, NothingIsReportedBeforeAClockWasTold) {
  HeardClock heard;
  EXPECT_FALSE(heard.Report(kNow).has_value());
  heard.OnMessage(kNow, Waiting{"votes"});
  heard.OnMessage(kNow, Prepare{});
  EXPECT_FALSE(heard.Report(kNow).has_value());
  heard.OnMessage(kNow, Welcome{.clock = kNow - Ms(5)});
  EXPECT_EQ(heard.Report(kNow + Ms(30))->heard, kNow - Ms(5));
  EXPECT_EQ(heard.Report(kNow + Ms(30))->heard_for, Ms(30));
}

TEST(ClockOffset, ASlowAnswerDoesNotReplaceAGoodOne) {
  ClockEstimate estimate;
  absl::Time at = RoundTrip({Ms(40), Ms(5), Ms(50), Ms(5)}, kNow, &estimate);
  at = RoundTrip({Ms(40), Ms(5), Ms(50), Ms(900)}, at, &estimate);
  EXPECT_EQ(estimate.At(at)->ahead, Ms(40));
  EXPECT_LT(estimate.At(at)->bound, Ms(6));
}

TEST(ClockOffset, AClockThatWasSetIsFollowedAtOnce) {
  ClockEstimate estimate;
  absl::Time at = RoundTrip({Ms(40), Ms(5), Ms(50), Ms(5)}, kNow, &estimate);
  at = RoundTrip({absl::Hours(-1), Ms(5), Ms(50), Ms(80)}, at, &estimate);
  EXPECT_LT(estimate.At(at)->ahead, -Ms(1000));
}

TEST(ClockOffset, ReportsThatMakeNoSenseChangeNothing) {
  ClockEstimate estimate;
  const absl::Time back = RoundTrip({Ms(40), Ms(5), Ms(50), Ms(5)}, kNow, &estimate);
  const ClockReport garbage[] = {
      {.clock = back, .heard = back + Ms(500)},                       // not told yet
      {.clock = back, .heard = back, .heard_for = Ms(500)},           // answered before that
      {.clock = back, .heard = back - Ms(50), .heard_for = -Ms(20)},  // a pause below zero
      {.clock = back, .heard = absl::FromUnixNanos(INT64_MIN)},       // an age ago
      {.clock = back, .heard = absl::FromUnixNanos(INT64_MAX)},
      {.clock = back, .heard = back, .heard_for = absl::Nanoseconds(INT64_MIN)},
  };
  for (const ClockReport& report : garbage) estimate.OnReport(back, report);
  EXPECT_EQ(estimate.At(back)->ahead, Ms(40));
  EXPECT_EQ(estimate.At(back)->bound, Ms(5));
}

// However the round trip is divided, the truth is within the bound.
TEST(ClockOffset, TheBoundHolds) {
  const uint64_t seed = 4;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Rng rng(seed);
  for (int round = 0; round < 1000; ++round) {
    const absl::Duration ahead = Ms(rng.Between(-5'000'000, 5'000'000));
    ClockEstimate estimate;
    absl::Time at = kNow;
    for (int i = 0; i < 10; ++i) {
      const auto way = [&] { return rng.Unit() * Ms(300); };
      at = RoundTrip({ahead, way(), way(), way()}, at, &estimate);
      const ClockOffset offset = *estimate.At(at);
      ASSERT_LE(absl::AbsDuration(offset.ahead - ahead), offset.bound + absl::Nanoseconds(2));
    }
  }
}

TEST(MedianAhead, IsTheLowerMiddleOne) {
  EXPECT_EQ(MedianAhead({}), absl::ZeroDuration());
  EXPECT_EQ(MedianAhead({Ms(7)}), Ms(7));
  EXPECT_EQ(MedianAhead({Ms(9), Ms(7)}), Ms(7));
  EXPECT_EQ(MedianAhead({Ms(9), Ms(-3), Ms(7)}), Ms(7));
  EXPECT_EQ(MedianAhead({Ms(9), Ms(-3), Ms(7), Ms(8)}), Ms(7));
}

// A minority of clocks, wherever they are, leaves the median between the right ones.
TEST(MedianAhead, AMinorityMovesNothing) {
  const uint64_t seed = 5;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Rng rng(seed);
  for (int round = 0; round < 1000; ++round) {
    const auto right = static_cast<size_t>(rng.Between(1, 9));
    std::vector<absl::Duration> clocks;
    for (size_t i = 0; i < right; ++i) clocks.push_back(Ms(rng.Between(-200, 200)));
    const auto [low, high] = std::minmax_element(clocks.begin(), clocks.end());
    const absl::Duration lowest = *low, highest = *high;
    for (uint64_t wrong = rng.Below(right); wrong > 0; --wrong) {
      clocks.insert(clocks.begin(), absl::Hours(rng.Between(-3, 3)));
    }
    ASSERT_GE(MedianAhead(clocks), lowest);
    ASSERT_LE(MedianAhead(clocks), highest);
  }
}

}  // namespace
}  // namespace perigee
