#include "runtime/step_times.h"

#include <gtest/gtest.h>

namespace perigee {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST(StepTimes, StepsAreMeasuredFromFirstOpToFirstOp) {
  StepTimes times;
  EXPECT_EQ(times.step(), absl::ZeroDuration());
  times.OnOpStarted(kNow, OpId::Of(StepId(7), 1));
  times.OnOpStarted(kNow + absl::Seconds(1), OpId::Of(StepId(7), 2));
  EXPECT_EQ(times.step(), absl::ZeroDuration()) << "one step has begun, none has ended";
  times.OnOpStarted(kNow + absl::Seconds(4), OpId::Of(StepId(8), 1));
  EXPECT_EQ(times.step(), absl::Seconds(4));
  // A step without an op: what is between counts for two.
  times.OnOpStarted(kNow + absl::Seconds(14), OpId::Of(StepId(10), 1));
  times.OnOpStarted(kNow + absl::Seconds(18), OpId::Of(StepId(11), 1));
  EXPECT_EQ(times.step(), absl::Seconds(4)) << "of 4 s, 5 s and 4 s";
}

TEST(StepTimes, OneThatWasHeldUpDoesNotCount) {
  StepTimes times;
  for (int i = 0; i < 5; ++i) times.OnOpFinished(absl::Seconds(2));
  times.OnOpFinished(absl::Minutes(3));
  EXPECT_EQ(times.op(), absl::Seconds(2));
  times.OnOpFinished(absl::Seconds(60));
  EXPECT_EQ(times.op(), absl::Seconds(60)) << "two are no accident";
  for (size_t i = 0; i + 1 < StepTimes::kKept; ++i) times.OnOpFinished(absl::Seconds(2));
  EXPECT_EQ(times.op(), absl::Seconds(2)) << "they were long ago";
}

}  // namespace
}  // namespace perigee
