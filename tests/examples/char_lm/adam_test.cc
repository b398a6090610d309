#include "examples/char_lm/adam.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace perigee::char_lm {
namespace {

constexpr TransformerShape kShape{
    .vocabulary = 3, .context = 2, .d_model = 4, .heads = 1, .layers = 1};

TEST(AdamTest, LearningRateWarmsUpAndDecaysAlongACosine) {
  const AdamOptions options{
      .learning_rate = 1, .learning_rate_fraction = 0.2, .warmup_steps = 4, .total_steps = 12};
  EXPECT_DOUBLE_EQ(LearningRate(options, StepId(0)), 0.25);
  EXPECT_DOUBLE_EQ(LearningRate(options, StepId(3)), 1);
  EXPECT_DOUBLE_EQ(LearningRate(options, StepId(4)), 1);
  EXPECT_DOUBLE_EQ(LearningRate(options, StepId(8)), 0.6);  // Halfway between 1 and 0.2.
  EXPECT_DOUBLE_EQ(LearningRate(options, StepId(12)), 0.2);
  EXPECT_DOUBLE_EQ(LearningRate(options, StepId(1000)), 0.2);
}

TEST(AdamTest, WithoutWarmUpTheFirstStepHasThePeak) {
  EXPECT_DOUBLE_EQ(
      LearningRate({.learning_rate = 0.5, .warmup_steps = 0, .total_steps = 1}, StepId(0)), 0.5);
}

// Against the update of the paper in double, for three steps: moments, corrections and decay.
TEST(AdamTest, FollowsThePaper) {
  const ParameterLayout layout(kShape);
  const AdamOptions options{
      .learning_rate = 0.1, .warmup_steps = 2, .total_steps = 5, .weight_decay = 0.5f};
  Adam adam(layout, options);
  std::vector<float> parameters(layout.size, 2.0f);
  const size_t decayed = layout.head.weight.offset, kept = layout.head.bias.offset;
  double m = 0, v = 0, expected_decayed = 2, expected_kept = 2;
  for (uint64_t step = 0; step < 3; ++step) {
    const double g = 0.3 - 0.2 * static_cast<double>(step);
    adam.Apply(StepId(step), std::vector<float>(layout.size, static_cast<float>(g)),
               absl::MakeSpan(parameters));
    const double rate = LearningRate(options, StepId(step));
    const double count = static_cast<double>(step) + 1;
    m = 0.9 * m + 0.1 * g;
    v = 0.95 * v + 0.05 * g * g;
    const double update = rate * (m / (1 - std::pow(0.9, count))) /
                          (std::sqrt(v / (1 - std::pow(0.95, count))) + 1e-8);
    expected_kept -= update;
    expected_decayed = expected_decayed * (1 - rate * 0.5) - update;
    EXPECT_NEAR(parameters[kept], expected_kept, 1e-6) << step;
    EXPECT_NEAR(parameters[decayed], expected_decayed, 1e-6) << step;
    EXPECT_NEAR(adam.first_moment()[kept], m, 1e-7) << step;
    EXPECT_NEAR(adam.second_moment()[kept], v, 1e-7) << step;
  }
}

TEST(AdamTest, OptionsOutOfRangeAreRefused) {
  EXPECT_TRUE(ValidateAdamOptions({}).ok());
  EXPECT_FALSE(ValidateAdamOptions({.learning_rate = 0}).ok());
  EXPECT_FALSE(ValidateAdamOptions({.learning_rate = NAN}).ok());
  EXPECT_FALSE(ValidateAdamOptions({.learning_rate_fraction = 2}).ok());
  EXPECT_FALSE(ValidateAdamOptions({.total_steps = 0}).ok());
  EXPECT_FALSE(ValidateAdamOptions({.beta2 = 1}).ok());
  EXPECT_FALSE(ValidateAdamOptions({.epsilon = 0}).ok());
  EXPECT_FALSE(ValidateAdamOptions({.weight_decay = -1}).ok());
}

}  // namespace
}  // namespace perigee::char_lm
