// Where each parameter of the transformer lies in the one flat vector that holds all of them. The
// gradient and Adam's moments have the same layout, so a collective, a digest or a state transfer
// sees one array.
//
//   ParameterLayout layout(shape);
//   const ParameterSlice& weight = layout.blocks[0].query_key_value.weight;
//   parameters[weight.offset + row * weight.columns + column]
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace perigee::char_lm {

struct TransformerShape {
  int vocabulary = 0;
  int context = 64;
  int d_model = 64;
  int heads = 4;
  int layers = 2;

  int head_width() const { return d_model / heads; }
  int hidden_width() const { return 4 * d_model; }
};

// InvalidArgument, naming the field, unless every field is in the range that this example is made
// for and d_model is a multiple of heads.
absl::Status ValidateShape(const TransformerShape& shape);

// A matrix, row-major; a vector is a matrix of one row.
struct ParameterSlice {
  std::string name;
  size_t offset = 0;
  int rows = 0;
  int columns = 0;
  float initial_mean = 0;
  float initial_deviation = 0;
  bool decays = false;  // Weight decay: for the weights of linear layers, not for embeddings, gains
                        // and biases.

  size_t size() const { return static_cast<size_t>(rows) * columns; }
};

struct LinearSlices {
  ParameterSlice weight;  // inputs x outputs
  ParameterSlice bias;
};

struct NormSlices {
  ParameterSlice gain;
  ParameterSlice bias;
};

struct BlockSlices {
  NormSlices attention_norm;
  LinearSlices query_key_value;
  LinearSlices attention_out;
  NormSlices mlp_norm;
  LinearSlices mlp_in;
  LinearSlices mlp_out;
};

struct ParameterLayout {
  // `shape` has passed ValidateShape.
  explicit ParameterLayout(const TransformerShape& shape);

  // Every slice, in the order of offsets; together they cover [0, size) without a gap.
  std::vector<ParameterSlice> Slices() const;

  // The parameters at step 0: each a pure function of (seed, offset), uniform around its slice's
  // mean with its slice's deviation. Uniform and not normal, because a normal draw needs the C
  // library's log and cos.
  std::vector<float> InitialParameters(uint64_t seed) const;

  ParameterSlice token_embedding;     // vocabulary x d_model
  ParameterSlice position_embedding;  // context x d_model
  std::vector<BlockSlices> blocks;
  NormSlices final_norm;
  LinearSlices head;  // d_model x vocabulary
  size_t size = 0;    // Elements of the flat vector.
};

}  // namespace perigee::char_lm
