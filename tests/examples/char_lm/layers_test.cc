#include "examples/char_lm/layers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace perigee::char_lm {
namespace {

TEST(LayersTest, SoftmaxPrefixByHand) {
  // exp of log(1), log(2), log(5), over their sum 8; what lies behind the prefix becomes zero.
  std::vector<double> scores = {std::log(1.0), std::log(2.0), std::log(5.0), 9, -9};
  SoftmaxPrefix(scores.data(), 3, 5);
  EXPECT_NEAR(scores[0], 1.0 / 8, 1e-15);
  EXPECT_NEAR(scores[1], 2.0 / 8, 1e-15);
  EXPECT_NEAR(scores[2], 5.0 / 8, 1e-15);
  EXPECT_EQ(scores[3], 0);
  EXPECT_EQ(scores[4], 0);
}

TEST(LayersTest, SoftmaxOfLargeScoresIsFinite) {
  std::vector<float> scores = {1e30f, 1e30f, -1e30f};
  SoftmaxPrefix(scores.data(), 3, 3);
  EXPECT_EQ(scores[0], 0.5f);
  EXPECT_EQ(scores[1], 0.5f);
  EXPECT_LT(scores[2], 1e-30f);
}

TEST(LayersTest, LayerNormByHand) {
  const NormSlices slices{.gain = {.name = "gain", .offset = 0, .rows = 1, .columns = 4},
                          .bias = {.name = "bias", .offset = 4, .rows = 1, .columns = 4}};
  const std::vector<double> parameters = {1, 2, 1, 1, 0, 0, 10, 0};
  LayerNorm<double> norm(slices);
  Matrix<double> in(1, 4), out;
  in << 1, 2, 3, 4;
  norm.Forward(parameters.data(), in, out);
  const double deviation = std::sqrt(1.25 + 1e-5);  // Mean 2.5, variance (2.25 + 0.25) / 2.
  EXPECT_NEAR(out(0, 0), -1.5 / deviation, 1e-14);
  EXPECT_NEAR(out(0, 1), 2 * -0.5 / deviation, 1e-14);
  EXPECT_NEAR(out(0, 2), 0.5 / deviation + 10, 1e-14);
  EXPECT_NEAR(out(0, 3), 1.5 / deviation, 1e-14);
}

TEST(LayersTest, LinearByHand) {
  const LinearSlices slices{.weight = {.name = "weight", .offset = 1, .rows = 2, .columns = 3},
                            .bias = {.name = "bias", .offset = 7, .rows = 1, .columns = 3}};
  const std::vector<double> parameters = {99, 1, 2, 3, 4, 5, 6, 10, 20, 30};
  std::vector<double> gradient(10, -1);
  Matrix<double> in(2, 2), out, d_out(2, 3), d_in;
  in << 1, 0, 1, 1;
  d_out << 1, 0, 0, 0, 1, 0;
  const Linear<double> linear(slices);
  linear.Forward(parameters.data(), in, out);
  EXPECT_EQ(out, (Matrix<double>(2, 3) << 11, 22, 33, 15, 27, 39).finished());
  linear.Backward(parameters.data(), in, d_out, gradient.data(), d_in);
  EXPECT_EQ(d_in, (Matrix<double>(2, 2) << 1, 4, 2, 5).finished());
  EXPECT_EQ(gradient, (std::vector<double>{-1, 1, 1, 0, 0, 1, 0, 1, 1, 0}));
}

TEST(LayersTest, GeluByHand) {
  Matrix<double> in(1, 3), out;
  in << 0, 1, -20;
  Gelu<double> gelu;
  gelu.Forward(in, out);
  EXPECT_EQ(out(0, 0), 0);
  EXPECT_NEAR(out(0, 1), 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * 1.044715)), 1e-15);
  EXPECT_NEAR(out(0, 2), 0, 1e-15);
}

TEST(LayersTest, CrossEntropyByHand) {
  Matrix<double> logits(2, 2), d_logits;
  logits << std::log(1.0), std::log(3.0), 0, 0;
  const double loss = CrossEntropy(logits, {1, 0}, &d_logits);
  EXPECT_NEAR(loss, (std::log(4.0 / 3) + std::log(2.0)) / 2, 1e-15);
  EXPECT_NEAR(d_logits(0, 0), 0.25 / 2, 1e-15);
  EXPECT_NEAR(d_logits(0, 1), -0.25 / 2, 1e-15);
  EXPECT_NEAR(d_logits(1, 0), -0.5 / 2, 1e-15);
  EXPECT_NEAR(d_logits(1, 1), 0.5 / 2, 1e-15);
}

// A token sees itself and what is before it, in its own sequence only.
TEST(LayersTest, AttentionIsCausalAndStaysInsideItsSequence) {
  const TransformerShape shape{
      .vocabulary = 2, .context = 4, .d_model = 8, .heads = 2, .layers = 1};
  const BatchShape batch{.rows = 2, .columns = 4};
  Attention<double> attention(shape);
  Matrix<double> in(8, 24), out, changed_out;
  for (Eigen::Index i = 0; i < in.size(); ++i)
    in.data()[i] = std::sin(0.7 * static_cast<double>(i));
  attention.Forward(in, batch, out);
  Matrix<double> changed = in;
  changed.row(6).array() += 1;  // The third token of the second sequence.
  attention.Forward(changed, batch, changed_out);
  for (int row : {0, 1, 2, 3, 4, 5}) EXPECT_EQ(out.row(row), changed_out.row(row)) << row;
  for (int row : {6, 7}) EXPECT_NE(out.row(row), changed_out.row(row)) << row;
}

}  // namespace
}  // namespace perigee::char_lm
