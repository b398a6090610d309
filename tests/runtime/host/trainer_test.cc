// The trainer with a tiny task, over real sockets and a real coordinator: whatever happens, the
// final state is that of the run in which nothing happened. States that differ:
// trainer_commit_test.cc. Real processes and real kills: examples/demo.sh.
#include "runtime/host/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/runtime/host/trainer_job.h"

namespace perigee {
namespace {

TEST(Trainer, FourMembersEndWithTheBitsOfOne) {
  Job job;
  const auto results = job.RunMembers(4);
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->digest, DigestOfOne(job));
    EXPECT_EQ(result->steps, job.steps);
  }
}

TEST(Trainer, AStepThatOverflowsIsRedoneWithACoarserScale) {
  Job job;
  job.steps = 3;
  const auto results = job.RunMembers(2, [](uint32_t, PullTask& task) { task.set_scale(1e9f); });
  for (const auto& result : results) ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(results[0]->digest, results[1]->digest);
  EXPECT_THAT(job.notices, testing::Contains(testing::HasSubstr("overflows the fixed point")));
}

}  // namespace
}  // namespace perigee
