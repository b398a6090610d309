#include "runtime/control/rate_limit.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(RateLimit, ABurstPassesAndThenTheRateDoes) {
  RateLimit limit({.per_second = 2, .burst = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limit.Take(kStart, "a"));
  EXPECT_FALSE(limit.Take(kStart, "a"));
  EXPECT_TRUE(limit.Take(kStart, "b"));  // others are not held up
  EXPECT_FALSE(limit.Take(kStart + absl::Milliseconds(499), "a"));
  EXPECT_TRUE(limit.Take(kStart + absl::Milliseconds(501), "a"));
  EXPECT_FALSE(limit.Take(kStart + absl::Milliseconds(502), "a"));
}

TEST(RateLimit, AClockThatStepsBackGivesNothingAndTakesNothing) {
  RateLimit limit({.per_second = 1, .burst = 1});
  EXPECT_TRUE(limit.Take(kStart, "a"));
  EXPECT_FALSE(limit.Take(kStart - absl::Hours(1), "a"));
  EXPECT_TRUE(limit.Take(kStart - absl::Hours(1) + absl::Seconds(1), "a"));
}

// In any stretch of time at most burst + rate x time pass, and somebody who is slower always does.
TEST(RateLimit, NoStretchOfTimePassesMoreThanItShould) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const RateLimit::Rate rate{.per_second = 1 + 10 * rng.Unit(), .burst = 2 + 5 * rng.Unit()};
    RateLimit limit(rate);
    absl::Time now = kStart;
    double passed = 0;
    for (int i = 0; i < 1000; ++i) {
      now += absl::Seconds(0.3 * rng.Unit() / rate.per_second);
      passed += limit.Take(now, "a");
      EXPECT_LE(passed, rate.burst + rate.per_second * absl::ToDoubleSeconds(now - kStart) + 1e-6);
    }
    EXPECT_GT(passed, rate.per_second * absl::ToDoubleSeconds(now - kStart) - 1);
    for (int i = 0; i < 100; ++i) {
      now += absl::Seconds(1.001 / rate.per_second);
      EXPECT_TRUE(limit.Take(now, "a"));
    }
  }
}

TEST(RateLimit, NamesAreForgottenWhenTheySayNothingAndSharedWhenThereAreTooMany) {
  RateLimit limit({.per_second = 1, .burst = 2});
  for (size_t i = 0; i < RateLimit::kNamesMax; ++i) {
    EXPECT_TRUE(limit.Take(kStart, absl::StrCat("n", i)));
  }
  EXPECT_TRUE(limit.Take(kStart, "late 1"));
  EXPECT_TRUE(limit.Take(kStart, "late 2"));
  EXPECT_FALSE(limit.Take(kStart, "late 3"));  // they share one bucket
  EXPECT_TRUE(limit.Take(kStart, "n0"));       // who was there has its own
  EXPECT_EQ(limit.name_count(), RateLimit::kNamesMax + 1);
  EXPECT_TRUE(limit.Take(kStart + absl::Seconds(2), "late 4"));
  EXPECT_EQ(limit.name_count(), 1u);
}

}  // namespace
}  // namespace perigee
