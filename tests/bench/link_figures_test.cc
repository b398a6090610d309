#include "bench/link_figures.h"

#include <gtest/gtest.h>

#include <vector>

#include "bench/link_traffic.h"

namespace perigee {
namespace {

constexpr double kTolerance = 1e-9;

// One million messages' bytes per second after headers: a full packet is 1376 bytes of 1452.
LinkModel Model() {
  return {.link = {.bytes_per_second = 1452e3, .delay = absl::Milliseconds(10)}, .loss = 0.5};
}

// Two messages of 1376 · 688 bytes in each phase: at 1376e3 / 2 useful bytes per second each
// takes 1.376 s.
struct Example {
  LinkTraffic traffic{.seed = 1, .bytes = uint64_t{1376} * 688, .messages = 2};
  LinkRun run;

  Example() {
    const absl::Time t = absl::UnixEpoch();
    run.offered_at = {t, t, t + absl::Seconds(10), t + absl::Seconds(20)};
    run.delivered_at = {t + absl::Seconds(2), t + absl::Milliseconds(2762),
                        t + absl::Milliseconds(11396), t + absl::Milliseconds(21406)};
    run.intact = true;
    run.sender.data_bytes_sent = 8 * traffic.bytes;
    run.sender.segments_retransmitted = uint64_t{4} * 688;
    run.receiver.duplicates_received = 688;
  }
};

TEST(LinkFiguresTest, FiguresAreThoseOfTheDefinitions) {
  const Example example;
  const LinkFigures figures = ComputeFigures(example.traffic, Model(), example.run);
  // The last of two messages arrived 2.762 s after the offer, and 10 ms of it are the way.
  EXPECT_NEAR(figures.goodput_bps, 8 * 2 * 1376 * 688 / 2.752, 1);
  EXPECT_NEAR(*figures.goodput_fraction, 1.0, kTolerance);
  // 1.376 s + 10 ms is the ideal; one message took 10 ms more, half of T, the other 20 ms.
  EXPECT_NEAR(*figures.extra_rtt_mean, 0.75, kTolerance);
  EXPECT_NEAR(*figures.extra_rtt_p99, 1.0, kTolerance);
  EXPECT_NEAR(figures.wire_overhead, 1.0, kTolerance);
  EXPECT_NEAR(figures.retransmitted_fraction, 0.5, kTolerance);
  EXPECT_NEAR(figures.spurious_retransmit_fraction, 0.125, kTolerance);
}

TEST(LinkFiguresTest, WhatWasNotMeasuredIsAbsent) {
  const Example example;
  LinkModel model = Model();
  model.link.bytes_per_second = 0;
  const LinkFigures figures = ComputeFigures(example.traffic, model, example.run);
  EXPECT_FALSE(figures.goodput_fraction);
  EXPECT_FALSE(figures.extra_rtt_mean);
  EXPECT_FALSE(figures.resume_ms);
  EXPECT_FALSE(figures.cpu_seconds_send);
}

TEST(LinkTrafficTest, EveryWrongByteShows) {
  for (size_t size : {1, 7, 8, 9, 100}) {
    std::vector<uint8_t> content(size);
    FillContent(5, 3, absl::MakeSpan(content));
    EXPECT_TRUE(HasContent(5, 3, content));
    for (size_t i = 0; i < size; ++i) {
      content[i] ^= 1;
      EXPECT_FALSE(HasContent(5, 3, content)) << size << " bytes, byte " << i;
      content[i] ^= 1;
    }
  }
  std::vector<uint8_t> content(100);
  FillContent(5, 3, absl::MakeSpan(content));
  EXPECT_FALSE(HasContent(5, 4, content));
  EXPECT_FALSE(HasContent(6, 3, content));
}

}  // namespace
}  // namespace perigee
