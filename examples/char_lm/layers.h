// The layers of the transformer, each with its forward pass and its hand-written backward pass.
//
//   linear.Forward(parameters, in, out);
//   linear.Backward(parameters, in, d_out, gradient, d_in);   // d_x is the gradient of the loss to
//   x
//
// Activations are matrices of one token a row, all sequences of the microbatch below each other, so
// that each linear layer is one product. `parameters` and `gradient` point to the flat vectors of
// parameter_layout.h; a Backward *writes* its slices of `gradient` (each layer is used once).
// Layers keep what their backward needs, so a Backward belongs to the latest Forward. One thread.
// Scalar: float to train, double to check gradients.
//
// Same bits: sums over rows and columns are plain loops, because Eigen's reductions group their
// terms by the alignment of the memory; products go through Product(), whose blocking is pinned.
#pragma once

#include <cstdint>
#include <vector>

#include "examples/char_lm/corpus.h"
#include "examples/char_lm/parameter_layout.h"
#include "examples/char_lm/product.h"

namespace perigee::char_lm {

// out = in · weight + bias, row by row.
template <typename Scalar>
class Linear {
 public:
  explicit Linear(const LinearSlices& slices) : slices_(slices) {}
  void Forward(const Scalar* parameters, const Matrix<Scalar>& in, Matrix<Scalar>& out) const;
  void Backward(const Scalar* parameters, const Matrix<Scalar>& in, const Matrix<Scalar>& d_out,
                Scalar* gradient, Matrix<Scalar>& d_in) const;

 private:
  LinearSlices slices_;
};

// Each row to mean 0 and variance 1, then times gain plus bias (Ba, Kiros, Hinton 2016).
template <typename Scalar>
class LayerNorm {
 public:
  static constexpr Scalar kEpsilon = static_cast<Scalar>(1e-5);  // Added to the variance.

  explicit LayerNorm(const NormSlices& slices) : slices_(slices) {}
  void Forward(const Scalar* parameters, const Matrix<Scalar>& in, Matrix<Scalar>& out);
  void Backward(const Scalar* parameters, const Matrix<Scalar>& d_out, Scalar* gradient,
                Matrix<Scalar>& d_in) const;

 private:
  NormSlices slices_;
  Matrix<Scalar> normalized_;
  std::vector<Scalar> inverse_deviation_;  // One per row.
};

// gelu(x) = x/2 · (1 + tanh(sqrt(2/pi) · (x + 0.044715 x³))) (Hendrycks, Gimpel 2016), element by
// element.
template <typename Scalar>
class Gelu {
 public:
  void Forward(const Matrix<Scalar>& in, Matrix<Scalar>& out);
  void Backward(const Matrix<Scalar>& in, const Matrix<Scalar>& d_out, Matrix<Scalar>& d_in) const;

 private:
  Matrix<Scalar> tanh_;
};

// Causal multi-head attention inside each sequence. Columns of `query_key_value`: all queries, all
// keys, all values, d_model each; head h has columns [h · head_width, (h + 1) · head_width) of each
// part.
template <typename Scalar>
class Attention {
 public:
  explicit Attention(const TransformerShape& shape) : shape_(shape) {}
  void Forward(const Matrix<Scalar>& query_key_value, BatchShape batch, Matrix<Scalar>& out);
  void Backward(const Matrix<Scalar>& query_key_value, BatchShape batch,
                const Matrix<Scalar>& d_out, Matrix<Scalar>& d_query_key_value);

 private:
  TransformerShape shape_;
  std::vector<Matrix<Scalar>>
      weights_;  // Per (sequence, head): columns x columns, zero above the diagonal.
  Matrix<Scalar> d_weights_;
};

// Replaces the first `count` scores by their softmax and the rest by zero.
template <typename Scalar>
void SoftmaxPrefix(Scalar* scores, int count, int size);

// Mean of -log softmax(logits)[target] over all rows, in nats; `d_logits` may be null.
template <typename Scalar>
double CrossEntropy(const Matrix<Scalar>& logits, const std::vector<int32_t>& targets,
                    Matrix<Scalar>* d_logits);

}  // namespace perigee::char_lm
