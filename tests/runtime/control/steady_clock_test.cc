#include "runtime/control/steady_clock.h"

#include <gtest/gtest.h>

namespace perigee {
namespace {

// The machine's wall clock is out of it: one that was set to long ago goes on from there.
TEST(SteadyClock, GoesOnFromWhereItBegan) {
  const absl::Time began = absl::FromUnixSeconds(1000);
  const SteadyClock clock(began);
  absl::Time last = clock.Now();
  EXPECT_GE(last, began);
  for (int i = 0; i < 1000; ++i) {
    const absl::Time now = clock.Now();
    EXPECT_GE(now, last);
    last = now;
  }
  EXPECT_LT(last, began + absl::Hours(10));
}

TEST(SteadyClock, AheadIsTheSameTimeLineFurtherOn) {
  const SteadyClock clock(absl::FromUnixSeconds(1000));
  const SteadyClock ahead = clock.Ahead(absl::Hours(1));
  const absl::Time before = clock.Now();
  const absl::Time there = ahead.Now();
  const absl::Time after = clock.Now();
  EXPECT_GE(there, before + absl::Hours(1));
  EXPECT_LE(there, after + absl::Hours(1));
}

}  // namespace
}  // namespace perigee
