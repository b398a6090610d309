// A decoder-only, pre-norm transformer (GPT-2's form) with a hand-written backward pass:
//
//   x = token_embedding[input] + position_embedding[position]
//   for each block:  x += attention_out(attention(query_key_value(norm(x))))
//                    x += mlp_out(gelu(mlp_in(norm(x))))
//   loss = cross_entropy(head(norm(x)), target)
//
//   Transformer<float> model(shape);
//   double loss = model.LossAndGradient(parameters, batch, gradient);
//
// The model holds no parameters, only activations of the latest call: loss and gradient are a pure
// function of (parameters, batch), with the same bits in every process that runs the same binary.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "examples/char_lm/corpus.h"
#include "examples/char_lm/layers.h"
#include "examples/char_lm/parameter_layout.h"

namespace perigee::char_lm {

// One thread. Scalar: float to train, double to check gradients.
template <typename Scalar>
class Transformer {
 public:
  // `shape` has passed ValidateShape.
  explicit Transformer(const TransformerShape& shape);

  const ParameterLayout& layout() const { return layout_; }

  // Mean loss in nats per token. `parameters` has layout().size elements; `batch` has at most the
  // context of the shape as columns, and tokens below its vocabulary.
  double Loss(absl::Span<const Scalar> parameters, const TokenBatch& batch);
  // Loss, and writes every element of `gradient` (layout().size elements).
  double LossAndGradient(absl::Span<const Scalar> parameters, const TokenBatch& batch,
                         absl::Span<Scalar> gradient);

 private:
  struct Block {
    Block(const BlockSlices& slices, const TransformerShape& shape);
    // x is replaced by the block's output.
    void Forward(const Scalar* parameters, BatchShape batch, Matrix<Scalar>& x);
    // d_x, the gradient to the output, is replaced by that to the input.
    void Backward(const Scalar* parameters, BatchShape batch, Scalar* gradient,
                  Matrix<Scalar>& d_x);

    LayerNorm<Scalar> attention_norm, mlp_norm;
    Linear<Scalar> query_key_value, attention_out, mlp_in, mlp_out;
    Attention<Scalar> attention;
    Gelu<Scalar> gelu;
    // Activations by the layer that made them; `branch` and the d_ ones are scratch.
    Matrix<Scalar> attention_normed, projected, attended, mlp_normed, hidden, activated, branch;
    Matrix<Scalar> d_wide, d_wide_in, d_narrow;
  };

  void CheckBatch(absl::Span<const Scalar> parameters, const TokenBatch& batch) const;
  void ForwardToLogits(const Scalar* parameters, const TokenBatch& batch);
  void EmbedBackward(const TokenBatch& batch, Scalar* gradient) const;

  TransformerShape shape_;
  ParameterLayout layout_;
  std::vector<Block> blocks_;
  LayerNorm<Scalar> final_norm_;
  Linear<Scalar> head_;
  Matrix<Scalar> x_, normed_, logits_;
  Matrix<Scalar> d_x_, d_normed_, d_logits_;
};

}  // namespace perigee::char_lm
