// Bits that flip in the members' states: the job ends with the state of the run without, or says
// who has what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "tests/runtime/host/trainer_job.h"

namespace perigee {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::function<void(StepId)> FlipOnce(PullTask& task, uint64_t step) {
  return [&task, step, done = false](StepId applied) mutable {
    if (done || applied != StepId(step)) return;
    done = true;
    task.FlipABit();
  };
}

void ExpectTheRightState(const Job& job,
                         const std::vector<absl::StatusOr<TrainingResult>>& results) {
  const uint64_t right = DigestOfOne(job);
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->digest, right);
    EXPECT_EQ(result->steps, job.steps);
  }
}

TEST(TrainerCommit, AFlipAfterAStepIsUndone) {
  Job job;
  const auto results = job.RunMembers(3, [](uint32_t node, PullTask& task) {
    if (node == 1) task.after_apply = FlipOnce(task, 7);
  });
  ExpectTheRightState(job, results);
  for (uint32_t node = 0; node < 3; ++node) {
    EXPECT_EQ(job.Count(absl::StrCat(node, " differs")), 1u);
  }
  EXPECT_THAT(job.notices,
              Contains(AllOf(StartsWith("0 differs"), HasSubstr("after step 7: nodes 0,2"),
                             HasSubstr("; node 1: "))));
  EXPECT_THAT(job.notices, Not(Contains(HasSubstr("corrupt"))));
}

TEST(TrainerCommit, AFlipAfterTheLastStepIsUndone) {
  Job job;
  const auto results = job.RunMembers(3, [&](uint32_t node, PullTask& task) {
    if (node == 2) task.after_apply = FlipOnce(task, job.steps - 1);
  });
  ExpectTheRightState(job, results);
  EXPECT_THAT(job.notices, Contains(AllOf(HasSubstr("after step 19"), HasSubstr("; node 2: "))));
}

// The gradients that came from the flipped state are thrown away.
TEST(TrainerCommit, AFlipWhileGradientsAreComputedIsUndone) {
  Job job;
  const auto results = job.RunMembers(3, [](uint32_t node, PullTask& task) {
    if (node != 1) return;
    task.before_compute = [&task, done = false](StepId step, MicrobatchId microbatch) mutable {
      // The second of those that node 1 computes.
      if (!done && step == StepId(9) && microbatch == MicrobatchId(4)) {
        done = true;
        task.FlipABit();
      }
      return absl::OkStatus();
    };
  });
  ExpectTheRightState(job, results);
  EXPECT_THAT(job.notices, Contains(AllOf(HasSubstr("after step 8"), HasSubstr("; node 1: "))));
}

TEST(TrainerCommit, AStateFromWhichNothingCanBeComputedIsMadeAgain) {
  Job job;
  const auto results = job.RunMembers(2, [](uint32_t node, PullTask& task) {
    if (node != 0) return;
    task.after_apply = [&task, done = false](StepId step) mutable {
      if (!done && step == StepId(4)) task.x()[3] = 1e30f;
      done = done || step == StepId(4);
    };
    task.before_compute = [&task](StepId, MicrobatchId) {
      return task.x()[3] < 1e20f ? absl::OkStatus() : absl::OutOfRangeError("the loss is inf");
    };
  });
  ExpectTheRightState(job, results);
  EXPECT_EQ(job.Count("0 differs: node 0 had other bits than step 4"), 1u);
}

TEST(TrainerCommit, TwoMembersWithDifferentStatesBothGoBack) {
  Job job;
  const auto results = job.RunMembers(2, [](uint32_t node, PullTask& task) {
    if (node == 1) task.after_apply = FlipOnce(task, 3);
  });
  ExpectTheRightState(job, results);
  EXPECT_EQ(job.Count("0 differs"), 1u);
  EXPECT_EQ(job.Count("1 differs"), 1u);
}

TEST(TrainerCommit, AMemberWithoutAMicrobatchFollowsTheOthers) {
  Job job;
  job.microbatches = 2;
  const auto results = job.RunMembers(3, [](uint32_t node, PullTask& task) {
    if (node == 2) task.after_apply = FlipOnce(task, 5);
  });
  ExpectTheRightState(job, results);
  EXPECT_EQ(job.Count("0 differs"), 0u);
  EXPECT_EQ(job.Count("2 differs: node 2 has "), 1u);
}

// Nodes 0 and 1 wait in step 5 until node 2 is taken in again: they would be done before.
std::function<absl::Status(StepId, MicrobatchId)> WaitForNode2(Job& job) {
  return [&job](StepId step, MicrobatchId) {
    if (step == StepId(5)) job.WaitForNotices("2 view", 2);
    return absl::OkStatus();
  };
}

TEST(TrainerCommit, AMemberThatIsWrongAgainAndAgainFallsOut) {
  Job job;
  job.steps = 40;
  const auto results = job.RunMembers(3, [&](uint32_t node, PullTask& task) {
    if (node != 2) {
      task.before_compute = WaitForNode2(job);
    } else {
      task.after_apply = [&task](StepId) { task.FlipABit(); };
    }
  });
  ExpectTheRightState(job, {results[0], results[1]});
  EXPECT_TRUE(absl::IsInternal(results[2].status())) << results[2].status();
  EXPECT_THAT(std::string(results[2].status().message()), HasSubstr("node 2 was wrong 2 times"));
  EXPECT_EQ(job.Count("2 corrupt"), 2u);
  EXPECT_EQ(job.Count("0 corrupt"), 0u);
  EXPECT_THAT(job.notices, Contains(AllOf(StartsWith("0 differs"), HasSubstr("after step 0"),
                                          HasSubstr("; node 2: "))));
}

TEST(TrainerCommit, AMemberThatStartsFromAnotherStateFetchesTheRightOne) {
  Job job;
  job.steps = 40;
  const auto results = job.RunMembers(3, [&](uint32_t node, PullTask& task) {
    if (node == 2) task.FlipABit();
    if (node != 2) task.before_compute = WaitForNode2(job);
  });
  const uint64_t right = DigestOfOne(job);
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->digest, right);
  }
  EXPECT_EQ(job.Count("2 corrupt"), 1u);
}

TEST(TrainerCommit, WithoutAMajorityTheRunEndsAndNamesBoth) {
  Job job;
  const auto results = job.RunMembers(2, [](uint32_t node, PullTask& task) {
    if (node == 1) task.after_apply = [&task](StepId) { task.FlipABit(); };
  });
  for (const auto& result : results) {
    ASSERT_TRUE(absl::IsInternal(result.status())) << result.status();
    EXPECT_THAT(std::string(result.status().message()),
                testing::ContainsRegex(
                    "after step 0: node 0: [0-9a-f]{16}; node 1: [0-9a-f]{16}; no majority"));
  }
}

}  // namespace
}  // namespace perigee
