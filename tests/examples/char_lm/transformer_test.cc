#include "examples/char_lm/transformer.h"

#include <gtest/gtest.h>
#include <Eigen/Core>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "transport/base/rng.h"

namespace perigee::char_lm {
namespace {

constexpr TransformerShape kTinyShape{
    .vocabulary = 7, .context = 5, .d_model = 8, .heads = 2, .layers = 2};
constexpr BatchShape kTinyBatch{.rows = 3, .columns = 5};

TokenBatch RandomBatch(Rng& rng, BatchShape shape, int vocabulary) {
  TokenBatch batch{.shape = shape, .inputs = {}, .targets = {}};
  for (int i = 0; i < shape.rows * shape.columns; ++i) {
    batch.inputs.push_back(static_cast<int32_t>(rng.Below(vocabulary)));
    batch.targets.push_back(static_cast<int32_t>(rng.Below(vocabulary)));
  }
  return batch;
}

// Far from the initial values, so that gains, biases and the softmax matter.
std::vector<double> RandomParameters(Rng& rng, const ParameterLayout& layout) {
  std::vector<double> parameters;
  for (size_t i = 0; i < layout.size; ++i) parameters.push_back(1.4 * rng.Unit() - 0.7);
  return parameters;
}

// The model again, written independently: scalar loops, the C library, one token at a time.
class NaiveModel {
 public:
  using Rows = std::vector<std::vector<double>>;

  NaiveModel(const TransformerShape& shape, std::vector<double> parameters)
      : shape_(shape), layout_(shape), parameters_(std::move(parameters)) {}

  double Loss(const TokenBatch& batch) const {
    double sum = 0;
    for (int row = 0; row < batch.shape.rows; ++row) {
      const size_t first = static_cast<size_t>(row) * batch.shape.columns;
      const Rows logits = Logits(&batch.inputs[first], batch.shape.columns);
      for (int t = 0; t < batch.shape.columns; ++t) {
        double total = 0;
        for (double logit : logits[t]) total += std::exp(logit);
        sum += std::log(total) - logits[t][batch.targets[first + t]];
      }
    }
    return sum / static_cast<double>(batch.targets.size());
  }

 private:
  double At(const ParameterSlice& slice, int row, int column) const {
    return parameters_[slice.offset + static_cast<size_t>(row) * slice.columns + column];
  }

  Rows Logits(const int32_t* tokens, int count) const {
    Rows x(count, std::vector<double>(shape_.d_model));
    for (int t = 0; t < count; ++t) {
      for (int c = 0; c < shape_.d_model; ++c) {
        x[t][c] = At(layout_.token_embedding, tokens[t], c) + At(layout_.position_embedding, t, c);
      }
    }
    for (const BlockSlices& block : layout_.blocks) {
      Add(x, Linear(block.attention_out,
                    Attend(Linear(block.query_key_value, Norm(block.attention_norm, x)))));
      Rows hidden = Linear(block.mlp_in, Norm(block.mlp_norm, x));
      for (auto& row : hidden) {
        for (double& h : row) {
          h = 0.5 * h * (1 + std::tanh(std::sqrt(2 / M_PI) * (h + 0.044715 * std::pow(h, 3))));
        }
      }
      Add(x, Linear(block.mlp_out, hidden));
    }
    return Linear(layout_.head, Norm(layout_.final_norm, x));
  }

  static void Add(Rows& x, const Rows& y) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t c = 0; c < x[t].size(); ++c) x[t][c] += y[t][c];
    }
  }

  Rows Linear(const LinearSlices& slices, const Rows& in) const {
    Rows out(in.size(), std::vector<double>(slices.weight.columns));
    for (size_t t = 0; t < in.size(); ++t) {
      for (int c = 0; c < slices.weight.columns; ++c) {
        out[t][c] = At(slices.bias, 0, c);
        for (int k = 0; k < slices.weight.rows; ++k)
          out[t][c] += in[t][k] * At(slices.weight, k, c);
      }
    }
    return out;
  }

  Rows Norm(const NormSlices& slices, Rows x) const {
    for (auto& row : x) {
      double mean = 0, variance = 0;
      for (double value : row) mean += value / static_cast<double>(row.size());
      for (double value : row)
        variance += std::pow(value - mean, 2) / static_cast<double>(row.size());
      for (size_t c = 0; c < row.size(); ++c) {
        row[c] = (row[c] - mean) / std::sqrt(variance + 1e-5) * At(slices.gain, 0, c) +
                 At(slices.bias, 0, c);
      }
    }
    return x;
  }

  Rows Attend(const Rows& in) const {
    const int d = shape_.d_model, width = d / shape_.heads;
    Rows out(in.size(), std::vector<double>(d));
    for (size_t t = 0; t < in.size(); ++t) {
      for (int c = 0; c < d; ++c) {
        const int first = c / width * width;  // Of this column's head.
        double total = 0;
        for (size_t s = 0; s <= t; ++s) {
          double score = 0;
          for (int k = first; k < first + width; ++k) score += in[t][k] * in[s][d + k];
          const double weight = std::exp(score / std::sqrt(width));
          total += weight;
          out[t][c] += weight * in[s][2 * d + c];
        }
        out[t][c] /= total;
      }
    }
    return out;
  }

  TransformerShape shape_;
  ParameterLayout layout_;
  std::vector<double> parameters_;
};

TEST(TransformerTest, LossEqualsThatOfTheNaiveModel) {
  Transformer<double> model(kTinyShape);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    const std::vector<double> parameters = RandomParameters(rng, model.layout());
    const TokenBatch batch = RandomBatch(rng, kTinyBatch, kTinyShape.vocabulary);
    EXPECT_NEAR(model.Loss(parameters, batch), NaiveModel(kTinyShape, parameters).Loss(batch),
                1e-11)
        << "seed " << seed;
  }
}

// Central differences: (loss(p + h) - loss(p - h)) / 2h, with an error of h² · third derivative.
TEST(TransformerTest, GradientOfEveryParameterEqualsCentralDifferences) {
  constexpr double kStep = 1e-5;
  Transformer<double> model(kTinyShape);
  constexpr uint64_t kSeed = 5;
  Rng rng(kSeed);
  std::vector<double> parameters = RandomParameters(rng, model.layout());
  const TokenBatch batch = RandomBatch(rng, kTinyBatch, kTinyShape.vocabulary);
  std::vector<double> gradient(model.layout().size, NAN);  // Every element must be written.
  const double loss = model.LossAndGradient(parameters, batch, absl::MakeSpan(gradient));
  EXPECT_EQ(loss, model.Loss(parameters, batch));
  for (const ParameterSlice& slice : model.layout().Slices()) {
    double largest = 0;
    for (size_t i = slice.offset; i < slice.offset + slice.size(); ++i) {
      const double kept = parameters[i];
      parameters[i] = kept + kStep;
      const double above = model.Loss(parameters, batch);
      parameters[i] = kept - kStep;
      const double below = model.Loss(parameters, batch);
      parameters[i] = kept;
      ASSERT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-8)
          << slice.name << " element " << i - slice.offset << " seed " << kSeed;
      largest = std::max(largest, std::abs(gradient[i]));
    }
    EXPECT_GT(largest, 1e-4) << slice.name << ": the check has nothing to see here";
  }
}

TEST(TransformerTest, FloatGradientIsCloseToTheDoubleOne) {
  const TransformerShape shape{.vocabulary = 76};
  Transformer<float> model(shape);
  Transformer<double> exact_model(shape);
  const std::vector<float> parameters = model.layout().InitialParameters(3);
  const std::vector<double> exact_parameters(parameters.begin(), parameters.end());
  Rng rng(3);
  const TokenBatch batch = RandomBatch(rng, {.rows = 2, .columns = 64}, 76);
  std::vector<float> gradient(parameters.size());
  std::vector<double> exact(parameters.size());
  EXPECT_NEAR(model.LossAndGradient(parameters, batch, absl::MakeSpan(gradient)),
              exact_model.LossAndGradient(exact_parameters, batch, absl::MakeSpan(exact)), 1e-5);
  double error = 0, norm = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(gradient[i] - exact[i], 2);
    norm += exact[i] * exact[i];
  }
  EXPECT_LT(std::sqrt(error / norm), 1e-5);
}

// The bits may depend neither on where the gradient lies in memory nor on the caches of the
// processor.
TEST(TransformerTest, BitsDependNeitherOnAlignmentNorOnCacheSizes) {
  const TransformerShape shape{.vocabulary = 75, .context = 300, .d_model = 36, .heads = 3};
  Transformer<float> model(shape);
  const std::vector<float> parameters = model.layout().InitialParameters(4);
  Rng rng(4);
  const TokenBatch batch = RandomBatch(rng, {.rows = 1, .columns = 300}, 75);
  std::vector<float> expected(parameters.size());
  const double loss = model.LossAndGradient(parameters, batch, absl::MakeSpan(expected));
  for (size_t shift = 1; shift < 4; ++shift) {
    Eigen::setCpuCacheSizes(4096 << shift, 65536 << shift, 1 << 20);
    std::vector<float> parameter_space(parameters.size() + shift), space(parameters.size() + shift);
    std::copy(parameters.begin(), parameters.end(), parameter_space.begin() + shift);
    EXPECT_EQ(loss, Transformer<float>(shape).LossAndGradient(
                        absl::MakeSpan(parameter_space).subspan(shift), batch,
                        absl::MakeSpan(space).subspan(shift)));
    EXPECT_EQ(0, std::memcmp(space.data() + shift, expected.data(), 4 * expected.size())) << shift;
  }
}

TEST(TransformerTest, SlicesCoverTheFlatVectorWithoutAGap) {
  const ParameterLayout layout(kTinyShape);
  size_t end = 0;
  for (const ParameterSlice& slice : layout.Slices()) {
    EXPECT_EQ(slice.offset, end) << slice.name;
    end += slice.size();
  }
  EXPECT_EQ(end, layout.size);
}

TEST(TransformerTest, InitialParametersHaveTheDeviationOfTheirSlice) {
  const ParameterLayout layout(TransformerShape{.vocabulary = 76});
  const std::vector<float> parameters = layout.InitialParameters(1);
  EXPECT_EQ(parameters, layout.InitialParameters(1));
  EXPECT_NE(parameters, layout.InitialParameters(2));
  for (const ParameterSlice& slice : layout.Slices()) {
    double squares = 0;
    for (size_t i = slice.offset; i < slice.offset + slice.size(); ++i) {
      squares += std::pow(parameters[i] - slice.initial_mean, 2);
    }
    const double deviation = std::sqrt(squares / static_cast<double>(slice.size()));
    EXPECT_NEAR(deviation, slice.initial_deviation, 0.05 * slice.initial_deviation) << slice.name;
  }
}

TEST(TransformerTest, ShapesOutOfRangeAreNamed) {
  EXPECT_TRUE(ValidateShape(kTinyShape).ok());
  TransformerShape shape = kTinyShape;
  shape.heads = 3;
  EXPECT_EQ(ValidateShape(shape).message(), "d_model 8 is not a multiple of heads 3");
  shape = kTinyShape;
  shape.layers = 0;
  EXPECT_EQ(ValidateShape(shape).message(), "layers is 0; it must be from 1 to 64");
  shape = kTinyShape;
  shape.vocabulary = 257;
  EXPECT_EQ(ValidateShape(shape).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace perigee::char_lm
