// The trainer with a tiny task, over real sockets and a real coordinator: whatever happens, the
// final state is that of the run in which nothing happened. States that differ:
// trainer_commit_test.cc. Real processes and real kills: examples/demo.sh.
#include "runtime/host/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
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

// While nobody gets on, one newcomer after the other is taken in: by two views that begin with the
// same step.
TEST(Trainer, NewcomersOfTwoViewsBothGetTheState) {
  Job job;
  job.steps = 40;
  std::vector<absl::StatusOr<TrainingResult>> results(4, absl::UnknownError("not run"));
  std::vector<std::thread> threads;
  for (uint32_t node = 0; node < 4; ++node) {
    threads.emplace_back([&, node] {
      PullTask task;
      if (node < 2) {
        task.before_compute = [&](StepId step, MicrobatchId) {
          if (step != StepId(5)) return absl::OkStatus();
          job.Note("in step 5");
          job.WaitForNotices("3 view", 1);
          return absl::OkStatus();
        };
      }
      if (node == 2) job.WaitForNotices("in step 5", 2);
      if (node == 3) job.WaitForNotices("2 view", 1);
      results[node] = job.RunMember(node, node < 2 ? 2 : 0, task);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->digest, DigestOfOne(job));
  }
}

}  // namespace
}  // namespace perigee
