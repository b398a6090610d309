#include "examples/char_lm/char_lm_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "transport/base/rng.h"

namespace perigee::char_lm {
namespace {

using ::testing::HasSubstr;

// A text that is learned fast: sentences of a small grammar, always the same.
class CharLmTaskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const kSubjects[] = {"the node", "a link", "the plan"};
    const char* const kVerbs[] = {" sends ", " keeps ", " closes "};
    Rng rng(1);
    std::ofstream file(path_, std::ios::binary);
    for (int i = 0; i < 500; ++i) {
      file << kSubjects[rng.Below(3)] << kVerbs[rng.Below(3)] << kSubjects[rng.Below(3)] << ".\n";
    }
    options_.text_path = path_;
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::unique_ptr<CharLmTask> NewTask() { return CharLmTask::Create(options_).value(); }

  const std::string path_ = ::testing::TempDir() + "perigee_char_lm_task_text";
  CharLmTask::Options options_{
      .seed = 9, .d_model = 16, .heads = 2, .layers = 1, .context = 16, .batch = 2, .steps = 40};
};

std::vector<uint8_t> StateOf(CharLmTask& task) {
  std::vector<uint8_t> state;
  for (const absl::Span<uint8_t> part : task.MutableState()) {
    state.insert(state.end(), part.begin(), part.end());
  }
  return state;
}

// One step with the microbatches in order; returns their mean loss.
double Train(CharLmTask& task, StepId step, uint32_t microbatches) {
  std::vector<float> gradient(task.GradientSize()), mean(task.GradientSize());
  double loss_sum = 0;
  for (uint32_t i = 0; i < microbatches; ++i) {
    loss_sum += task.ComputeGradient(step, MicrobatchId(i), absl::MakeSpan(gradient)).value();
    for (size_t k = 0; k < mean.size(); ++k) {
      mean[k] += gradient[k] / static_cast<float>(microbatches);
    }
  }
  EXPECT_TRUE(task.Apply(step, mean).ok());
  return loss_sum / microbatches;
}

TEST_F(CharLmTaskTest, LossFalls) {
  const std::unique_ptr<CharLmTask> task = NewTask();
  const double first = Train(*task, StepId(0), 4);
  double last = first;
  for (uint64_t step = 1; step < options_.steps; ++step) last = Train(*task, StepId(step), 4);
  // 20 symbols are ln 20 = 3.0 nats at the start.
  EXPECT_GT(first, 2.5);
  EXPECT_LT(last, 1.5);
}

TEST_F(CharLmTaskTest, SameMicrobatchHasTheSameBitsInAnyOrderAndChangesNoState) {
  const std::unique_ptr<CharLmTask> task = NewTask();
  Train(*task, StepId(0), 2);
  const std::vector<uint8_t> state = StateOf(*task);
  std::vector<std::vector<float>> gradients(5, std::vector<float>(task->GradientSize()));
  std::vector<double> losses(5);
  for (uint32_t i = 0; i < 5; ++i) {
    losses[i] =
        task->ComputeGradient(StepId(1), MicrobatchId(i), absl::MakeSpan(gradients[i])).value();
  }
  EXPECT_NE(gradients[0], gradients[1]);
  std::vector<float> again(task->GradientSize());
  for (uint32_t i : {3u, 0u, 4u, 4u, 1u, 2u}) {
    EXPECT_EQ(losses[i],
              task->ComputeGradient(StepId(1), MicrobatchId(i), absl::MakeSpan(again)).value());
    EXPECT_EQ(gradients[i], again) << i;
  }
  EXPECT_EQ(StateOf(*task), state);
}

TEST_F(CharLmTaskTest, TwoTasksHaveTheSameBitsAfterThreeSteps) {
  const std::unique_ptr<CharLmTask> one = NewTask(), other = NewTask();
  for (uint64_t step = 0; step < 3; ++step) {
    EXPECT_EQ(Train(*one, StepId(step), 3), Train(*other, StepId(step), 3));
  }
  EXPECT_EQ(StateOf(*one), StateOf(*other));
}

// What a joiner does: it starts with other bits and gets the whole state from a peer.
TEST_F(CharLmTaskTest, StateOfAPeerIsAllThatAJoinerNeeds) {
  const std::unique_ptr<CharLmTask> peer = NewTask(), joiner = NewTask();
  for (uint64_t step = 0; step < 3; ++step) Train(*peer, StepId(step), 2);
  Train(*joiner, StepId(17), 1);
  ASSERT_NE(StateOf(*joiner), StateOf(*peer));
  const std::vector<absl::Span<uint8_t>> from = peer->MutableState(), to = joiner->MutableState();
  ASSERT_EQ(from.size(), 3);
  for (size_t i = 0; i < from.size(); ++i) {
    ASSERT_EQ(from[i].size(), to[i].size());
    std::memcpy(to[i].data(), from[i].data(), from[i].size());
  }
  EXPECT_EQ(Train(*peer, StepId(3), 2), Train(*joiner, StepId(3), 2));
  EXPECT_EQ(StateOf(*joiner), StateOf(*peer));
}

TEST_F(CharLmTaskTest, SeedDecidesParametersAndSamples) {
  const std::unique_ptr<CharLmTask> one = NewTask();
  options_.seed = 10;
  const std::unique_ptr<CharLmTask> other = NewTask();
  EXPECT_NE(StateOf(*one), StateOf(*other));
}

TEST_F(CharLmTaskTest, WrongGradientSizeIsRefusedAndChangesNothing) {
  const std::unique_ptr<CharLmTask> task = NewTask();
  const std::vector<uint8_t> state = StateOf(*task);
  std::vector<float> gradient(task->GradientSize() + 1, 1.0f);
  EXPECT_EQ(
      task->ComputeGradient(StepId(0), MicrobatchId(0), absl::MakeSpan(gradient)).status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(task->Apply(StepId(0), gradient).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StateOf(*task), state);
}

TEST_F(CharLmTaskTest, DivergedTrainingIsAnError) {
  const std::unique_ptr<CharLmTask> task = NewTask();
  std::vector<float> gradient(task->GradientSize(), std::numeric_limits<float>::quiet_NaN());
  ASSERT_TRUE(task->Apply(StepId(0), gradient).ok());
  const absl::Status status =
      task->ComputeGradient(StepId(1), MicrobatchId(2), absl::MakeSpan(gradient)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("step 1 microbatch 2: the loss is nan"));
}

TEST_F(CharLmTaskTest, BadOptionsAreRefused) {
  const auto code = [](const CharLmTask::Options& options) {
    return CharLmTask::Create(options).status().code();
  };
  CharLmTask::Options options = options_;
  options.text_path = "/nonexistent/text";
  EXPECT_EQ(code(options), absl::StatusCode::kNotFound);
  options = options_;
  options.heads = 3;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = options_;
  options.batch = 0;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = options_;
  options.learning_rate = -1;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = options_;
  options.steps = 0;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  std::ofstream(path_) << "too small";
  EXPECT_THAT(std::string(CharLmTask::Create(options_).status().message()),
              HasSubstr("needs at least 17"));
}

}  // namespace
}  // namespace perigee::char_lm
