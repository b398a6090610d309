#include "examples/char_lm/layers.h"

#include <algorithm>
#include <cmath>

#include "examples/char_lm/portable_math.h"
#include "transport/base/status.h"

namespace perigee::char_lm {
namespace {

template <typename Scalar>
ConstMatrixMap<Scalar> View(const Scalar* parameters, const ParameterSlice& slice) {
  return ConstMatrixMap<Scalar>(parameters + slice.offset, slice.rows, slice.columns);
}

template <typename Scalar>
MatrixMap<Scalar> MutableView(Scalar* parameters, const ParameterSlice& slice) {
  return MatrixMap<Scalar>(parameters + slice.offset, slice.rows, slice.columns);
}

}  // namespace

template <typename Scalar>
void Linear<Scalar>::Forward(const Scalar* parameters, const Matrix<Scalar>& in,
                             Matrix<Scalar>& out) const {
  out.resize(in.rows(), slices_.weight.columns);
  Product<Scalar>(in, View(parameters, slices_.weight), out);
  out.rowwise() += View(parameters, slices_.bias).row(0);
}

template <typename Scalar>
void Linear<Scalar>::Backward(const Scalar* parameters, const Matrix<Scalar>& in,
                              const Matrix<Scalar>& d_out, Scalar* gradient,
                              Matrix<Scalar>& d_in) const {
  ProductTransposedLeft<Scalar>(in, d_out, MutableView(gradient, slices_.weight));
  auto d_bias = MutableView(gradient, slices_.bias);
  d_bias.setZero();
  for (Eigen::Index row = 0; row < d_out.rows(); ++row) d_bias.row(0) += d_out.row(row);
  d_in.resize(in.rows(), in.cols());
  ProductTransposedRight<Scalar>(d_out, View(parameters, slices_.weight), d_in);
}

template <typename Scalar>
void LayerNorm<Scalar>::Forward(const Scalar* parameters, const Matrix<Scalar>& in,
                                Matrix<Scalar>& out) {
  const auto gain = View(parameters, slices_.gain).row(0);
  const auto bias = View(parameters, slices_.bias).row(0);
  const Scalar width = static_cast<Scalar>(in.cols());
  normalized_.resize(in.rows(), in.cols());
  out.resize(in.rows(), in.cols());
  inverse_deviation_.resize(in.rows());
  for (Eigen::Index row = 0; row < in.rows(); ++row) {
    Scalar sum = 0;
    for (Eigen::Index c = 0; c < in.cols(); ++c) sum += in(row, c);
    const Scalar mean = sum / width;
    Scalar squares = 0;
    for (Eigen::Index c = 0; c < in.cols(); ++c) {
      const Scalar centered = in(row, c) - mean;
      squares += centered * centered;
    }
    inverse_deviation_[row] = 1 / std::sqrt(squares / width + kEpsilon);
    normalized_.row(row) = (in.row(row).array() - mean) * inverse_deviation_[row];
    out.row(row) = normalized_.row(row).cwiseProduct(gain) + bias;
  }
}

// With y = gain · n + bias, n = (x - mean) / deviation and g = d_y · gain:
//   d_x = (g - mean(g) - n · mean(g · n)) / deviation.
template <typename Scalar>
void LayerNorm<Scalar>::Backward(const Scalar* parameters, const Matrix<Scalar>& d_out,
                                 Scalar* gradient, Matrix<Scalar>& d_in) const {
  const auto gain = View(parameters, slices_.gain).row(0);
  auto d_gain = MutableView(gradient, slices_.gain);
  auto d_bias = MutableView(gradient, slices_.bias);
  const Scalar width = static_cast<Scalar>(d_out.cols());
  d_gain.setZero();
  d_bias.setZero();
  d_in.resize(d_out.rows(), d_out.cols());
  for (Eigen::Index row = 0; row < d_out.rows(); ++row) {
    const auto normalized = normalized_.row(row);
    d_gain.row(0) += d_out.row(row).cwiseProduct(normalized);
    d_bias.row(0) += d_out.row(row);
    d_in.row(row) = d_out.row(row).cwiseProduct(gain);
    Scalar sum = 0, product_sum = 0;
    for (Eigen::Index c = 0; c < d_out.cols(); ++c) {
      sum += d_in(row, c);
      product_sum += d_in(row, c) * normalized(c);
    }
    d_in.row(row) =
        (d_in.row(row).array() - sum / width - normalized.array() * (product_sum / width)) *
        inverse_deviation_[row];
  }
}

template <typename Scalar>
void Gelu<Scalar>::Forward(const Matrix<Scalar>& in, Matrix<Scalar>& out) {
  constexpr Scalar kSlope = static_cast<Scalar>(0.79788456080286535588);  // sqrt(2/pi)
  constexpr Scalar kCubic = static_cast<Scalar>(0.044715);
  tanh_.resize(in.rows(), in.cols());
  out.resize(in.rows(), in.cols());
  for (Eigen::Index i = 0; i < in.size(); ++i) {
    const Scalar x = in.data()[i];
    const Scalar tanh = Tanh(kSlope * (x + kCubic * x * x * x));
    tanh_.data()[i] = tanh;
    out.data()[i] = x / 2 * (1 + tanh);
  }
}

template <typename Scalar>
void Gelu<Scalar>::Backward(const Matrix<Scalar>& in, const Matrix<Scalar>& d_out,
                            Matrix<Scalar>& d_in) const {
  constexpr Scalar kSlope = static_cast<Scalar>(0.79788456080286535588);
  constexpr Scalar kCubic = static_cast<Scalar>(0.044715);
  d_in.resize(in.rows(), in.cols());
  for (Eigen::Index i = 0; i < in.size(); ++i) {
    const Scalar x = in.data()[i];
    const Scalar tanh = tanh_.data()[i];
    const Scalar d_inner = kSlope * (1 + 3 * kCubic * x * x);
    const Scalar slope = (1 + tanh) / 2 + x / 2 * (1 - tanh * tanh) * d_inner;
    d_in.data()[i] = d_out.data()[i] * slope;
  }
}

template <typename Scalar>
void SoftmaxPrefix(Scalar* scores, int count, int size) {
  // exp(s - max) cannot overflow.
  const Scalar max = *std::max_element(scores, scores + count);
  for (int i = 0; i < count; ++i) scores[i] = Exp(scores[i] - max);
  Scalar sum = 0;
  for (int i = 0; i < count; ++i) sum += scores[i];
  const Scalar factor = 1 / sum;
  for (int i = 0; i < count; ++i) scores[i] *= factor;
  std::fill(scores + count, scores + size, Scalar{0});
}

template <typename Scalar>
void Attention<Scalar>::Forward(const Matrix<Scalar>& query_key_value, BatchShape batch,
                                Matrix<Scalar>& out) {
  const int tokens = batch.columns, width = shape_.head_width(), d = shape_.d_model;
  const Scalar scale = 1 / std::sqrt(static_cast<Scalar>(width));
  out.resize(query_key_value.rows(), d);
  weights_.resize(static_cast<size_t>(batch.rows) * shape_.heads);
  for (int row = 0; row < batch.rows; ++row) {
    for (int head = 0; head < shape_.heads; ++head) {
      const int top = row * tokens, left = head * width;
      const auto query = query_key_value.block(top, left, tokens, width);
      const auto key = query_key_value.block(top, d + left, tokens, width);
      const auto value = query_key_value.block(top, 2 * d + left, tokens, width);
      Matrix<Scalar>& weights = weights_[row * shape_.heads + head];
      weights.resize(tokens, tokens);
      ProductTransposedRight<Scalar>(query, key, weights);
      weights *= scale;
      for (int t = 0; t < tokens; ++t) SoftmaxPrefix(weights.row(t).data(), t + 1, tokens);
      Product<Scalar>(weights, value, out.block(top, left, tokens, width));
    }
  }
}

// With P = softmax(S) and S = scale · Q Kᵀ:  d_S = P · (d_P - rowsum(d_P · P)).
template <typename Scalar>
void Attention<Scalar>::Backward(const Matrix<Scalar>& query_key_value, BatchShape batch,
                                 const Matrix<Scalar>& d_out, Matrix<Scalar>& d_query_key_value) {
  const int tokens = batch.columns, width = shape_.head_width(), d = shape_.d_model;
  const Scalar scale = 1 / std::sqrt(static_cast<Scalar>(width));
  d_query_key_value.resize(query_key_value.rows(), query_key_value.cols());
  d_weights_.resize(tokens, tokens);
  for (int row = 0; row < batch.rows; ++row) {
    for (int head = 0; head < shape_.heads; ++head) {
      const int top = row * tokens, left = head * width;
      const auto query = query_key_value.block(top, left, tokens, width);
      const auto key = query_key_value.block(top, d + left, tokens, width);
      const auto value = query_key_value.block(top, 2 * d + left, tokens, width);
      const auto d_context = d_out.block(top, left, tokens, width);
      const Matrix<Scalar>& weights = weights_[row * shape_.heads + head];
      ProductTransposedRight<Scalar>(d_context, value, d_weights_);
      for (int t = 0; t < tokens; ++t) {
        Scalar dot = 0;
        for (int s = 0; s <= t; ++s) dot += d_weights_(t, s) * weights(t, s);
        d_weights_.row(t) = (d_weights_.row(t).array() - dot) * weights.row(t).array() * scale;
      }
      auto d_query = d_query_key_value.block(top, left, tokens, width);
      auto d_key = d_query_key_value.block(top, d + left, tokens, width);
      auto d_value = d_query_key_value.block(top, 2 * d + left, tokens, width);
      Product<Scalar>(d_weights_, key, d_query);
      ProductTransposedLeft<Scalar>(d_weights_, query, d_key);
      ProductTransposedLeft<Scalar>(weights, d_context, d_value);
    }
  }
}

template <typename Scalar>
double CrossEntropy(const Matrix<Scalar>& logits, const std::vector<int32_t>& targets,
                    Matrix<Scalar>* d_logits) {
  PERIGEE_CHECK(static_cast<size_t>(logits.rows()) == targets.size());
  const int classes = static_cast<int>(logits.cols());
  const Scalar factor = 1 / static_cast<Scalar>(logits.rows());
  if (d_logits != nullptr) d_logits->resize(logits.rows(), classes);
  double loss_sum = 0;
  for (Eigen::Index row = 0; row < logits.rows(); ++row) {
    const int32_t target = targets[row];
    const Scalar* scores = logits.row(row).data();
    const Scalar max = *std::max_element(scores, scores + classes);
    double sum = 0;
    for (int c = 0; c < classes; ++c) sum += static_cast<double>(Exp(scores[c] - max));
    loss_sum += Log(sum) - static_cast<double>(scores[target] - max);
    if (d_logits == nullptr) continue;
    const Scalar weight = static_cast<Scalar>(1 / sum);
    Scalar* d_scores = d_logits->row(row).data();
    for (int c = 0; c < classes; ++c) d_scores[c] = Exp(scores[c] - max) * weight * factor;
    d_scores[target] -= factor;
  }
  return loss_sum / static_cast<double>(logits.rows());
}

template class Linear<float>;
template class Linear<double>;
template class LayerNorm<float>;
template class LayerNorm<double>;
template class Gelu<float>;
template class Gelu<double>;
template class Attention<float>;
template class Attention<double>;
template void SoftmaxPrefix<float>(float*, int, int);
template void SoftmaxPrefix<double>(double*, int, int);
template double CrossEntropy<float>(const Matrix<float>&, const std::vector<int32_t>&,
                                    Matrix<float>*);
template double CrossEntropy<double>(const Matrix<double>&, const std::vector<int32_t>&,
                                     Matrix<double>*);

}  // namespace perigee::char_lm
