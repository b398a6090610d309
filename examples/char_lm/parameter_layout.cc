#include "examples/char_lm/parameter_layout.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/char_lm/philox.h"
#include "transport/base/status.h"

namespace perigee::char_lm {
namespace {

// Large token embeddings and a small head: measured, the first hundred steps learn fastest so
// (README.md).
constexpr float kTokenDeviation = 0.5f;
constexpr float kPositionDeviation = 0.1f;
constexpr float kHeadScale = 0.5f;

absl::Status ValidateRange(const char* name, int value, int min, int max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, "; it must be from ", min, " to ", max));
}

// Gives out consecutive slices of the flat vector.
class Allocator {
 public:
  ParameterSlice Matrix(std::string name, int rows, int columns, float deviation) {
    ParameterSlice slice{.name = std::move(name),
                         .offset = size_,
                         .rows = rows,
                         .columns = columns,
                         .initial_mean = 0,
                         .initial_deviation = deviation,
                         .decays = false};
    size_ += slice.size();
    return slice;
  }

  NormSlices Norm(const std::string& name, int width) {
    NormSlices norm{.gain = Matrix(name + ".gain", 1, width, 0),
                    .bias = Matrix(name + ".bias", 1, width, 0)};
    norm.gain.initial_mean = 1;
    return norm;
  }

  // Deviation scale/sqrt(inputs) keeps the variance of the activations, times scale².
  LinearSlices Linear(const std::string& name, int inputs, int outputs, float scale) {
    const float deviation = scale / std::sqrt(static_cast<float>(inputs));
    LinearSlices linear{.weight = Matrix(name + ".weight", inputs, outputs, deviation),
                        .bias = Matrix(name + ".bias", 1, outputs, 0)};
    linear.weight.decays = true;
    return linear;
  }

  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
};

}  // namespace

absl::Status ValidateShape(const TransformerShape& shape) {
  PERIGEE_RETURN_IF_ERROR(ValidateRange("vocabulary", shape.vocabulary, 2, 256));
  PERIGEE_RETURN_IF_ERROR(ValidateRange("context", shape.context, 2, 4096));
  PERIGEE_RETURN_IF_ERROR(ValidateRange("d_model", shape.d_model, 4, 1024));
  PERIGEE_RETURN_IF_ERROR(ValidateRange("heads", shape.heads, 1, 64));
  PERIGEE_RETURN_IF_ERROR(ValidateRange("layers", shape.layers, 1, 64));
  if (shape.d_model % shape.heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("d_model ", shape.d_model, " is not a multiple of heads ", shape.heads));
  }
  return absl::OkStatus();
}

ParameterLayout::ParameterLayout(const TransformerShape& shape) {
  PERIGEE_CHECK(ValidateShape(shape).ok());
  const int d = shape.d_model;
  // Each layer adds two branches to the residual stream: smaller ones keep its variance at any
  // depth (GPT-2).
  const float branch_scale = 1.0f / std::sqrt(2.0f * static_cast<float>(shape.layers));
  Allocator allocate;
  token_embedding = allocate.Matrix("token_embedding", shape.vocabulary, d, kTokenDeviation);
  position_embedding = allocate.Matrix("position_embedding", shape.context, d, kPositionDeviation);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string name = absl::StrCat("block", layer, ".");
    blocks.push_back(BlockSlices{
        .attention_norm = allocate.Norm(name + "attention_norm", d),
        .query_key_value = allocate.Linear(name + "query_key_value", d, 3 * d, 1),
        .attention_out = allocate.Linear(name + "attention_out", d, d, branch_scale),
        .mlp_norm = allocate.Norm(name + "mlp_norm", d),
        .mlp_in = allocate.Linear(name + "mlp_in", d, shape.hidden_width(), 1),
        .mlp_out = allocate.Linear(name + "mlp_out", shape.hidden_width(), d, branch_scale)});
  }
  final_norm = allocate.Norm("final_norm", d);
  head = allocate.Linear("head", d, shape.vocabulary, kHeadScale);
  size = allocate.size();
}

std::vector<ParameterSlice> ParameterLayout::Slices() const {
  std::vector<ParameterSlice> slices = {token_embedding, position_embedding};
  const auto add_norm = [&slices](const NormSlices& norm) {
    slices.push_back(norm.gain);
    slices.push_back(norm.bias);
  };
  const auto add_linear = [&slices](const LinearSlices& linear) {
    slices.push_back(linear.weight);
    slices.push_back(linear.bias);
  };
  for (const BlockSlices& block : blocks) {
    add_norm(block.attention_norm);
    add_linear(block.query_key_value);
    add_linear(block.attention_out);
    add_norm(block.mlp_norm);
    add_linear(block.mlp_in);
    add_linear(block.mlp_out);
  }
  add_norm(final_norm);
  add_linear(head);
  return slices;
}

std::vector<float> ParameterLayout::InitialParameters(uint64_t seed) const {
  const PhiloxKey key = StreamKey(seed, Stream::kParameters);
  const float half_width_per_deviation =
      std::sqrt(3.0f);  // Uniform in [-a, a] has deviation a / sqrt 3.
  std::vector<float> parameters(size);
  for (const ParameterSlice& slice : Slices()) {
    const float half_width = slice.initial_deviation * half_width_per_deviation;
    for (size_t i = slice.offset; i < slice.offset + slice.size(); ++i) {
      const uint64_t block = i / 4;
      const PhiloxBlock draw =
          Philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}, key);
      parameters[i] = slice.initial_mean + half_width * (2 * UnitFloat(draw[i % 4]) - 1);
    }
  }
  return parameters;
}

}  // namespace perigee::char_lm
