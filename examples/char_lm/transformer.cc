#include "examples/char_lm/transformer.h"

#include "transport/base/status.h"

namespace perigee::char_lm {

template <typename Scalar>
Transformer<Scalar>::Block::Block(const BlockSlices& slices, const TransformerShape& shape)
    : attention_norm(slices.attention_norm),
      mlp_norm(slices.mlp_norm),
      query_key_value(slices.query_key_value),
      attention_out(slices.attention_out),
      mlp_in(slices.mlp_in),
      mlp_out(slices.mlp_out),
      attention(shape) {}

template <typename Scalar>
void Transformer<Scalar>::Block::Forward(const Scalar* parameters, BatchShape batch,
                                         Matrix<Scalar>& x) {
  attention_norm.Forward(parameters, x, attention_normed);
  query_key_value.Forward(parameters, attention_normed, projected);
  attention.Forward(projected, batch, attended);
  attention_out.Forward(parameters, attended, branch);
  x += branch;
  mlp_norm.Forward(parameters, x, mlp_normed);
  mlp_in.Forward(parameters, mlp_normed, hidden);
  gelu.Forward(hidden, activated);
  mlp_out.Forward(parameters, activated, branch);
  x += branch;
}

template <typename Scalar>
void Transformer<Scalar>::Block::Backward(const Scalar* parameters, BatchShape batch,
                                          Scalar* gradient, Matrix<Scalar>& d_x) {
  // The residual path hands d_x on unchanged; each branch adds what comes back through it.
  mlp_out.Backward(parameters, activated, d_x, gradient, d_wide);
  gelu.Backward(hidden, d_wide, d_wide_in);
  mlp_in.Backward(parameters, mlp_normed, d_wide_in, gradient, d_narrow);
  mlp_norm.Backward(parameters, d_narrow, gradient, branch);
  d_x += branch;
  attention_out.Backward(parameters, attended, d_x, gradient, d_narrow);
  attention.Backward(projected, batch, d_narrow, d_wide);
  query_key_value.Backward(parameters, attention_normed, d_wide, gradient, d_narrow);
  attention_norm.Backward(parameters, d_narrow, gradient, branch);
  d_x += branch;
}

template <typename Scalar>
Transformer<Scalar>::Transformer(const TransformerShape& shape)
    : shape_(shape), layout_(shape), final_norm_(layout_.final_norm), head_(layout_.head) {
  for (const BlockSlices& slices : layout_.blocks) blocks_.emplace_back(slices, shape);
}

template <typename Scalar>
void Transformer<Scalar>::CheckBatch(absl::Span<const Scalar> parameters,
                                     const TokenBatch& batch) const {
  const size_t count = static_cast<size_t>(batch.shape.rows) * batch.shape.columns;
  PERIGEE_CHECK(parameters.size() == layout_.size);
  PERIGEE_CHECK(count > 0 && batch.shape.columns <= shape_.context);
  PERIGEE_CHECK(batch.inputs.size() == count && batch.targets.size() == count);
  for (size_t i = 0; i < count; ++i) {
    PERIGEE_CHECK(batch.inputs[i] >= 0 && batch.inputs[i] < shape_.vocabulary);
    PERIGEE_CHECK(batch.targets[i] >= 0 && batch.targets[i] < shape_.vocabulary);
  }
}

template <typename Scalar>
void Transformer<Scalar>::ForwardToLogits(const Scalar* parameters, const TokenBatch& batch) {
  const ConstMatrixMap<Scalar> tokens(parameters + layout_.token_embedding.offset,
                                      shape_.vocabulary, shape_.d_model);
  const ConstMatrixMap<Scalar> positions(parameters + layout_.position_embedding.offset,
                                         shape_.context, shape_.d_model);
  const Eigen::Index count = static_cast<Eigen::Index>(batch.inputs.size());
  x_.resize(count, shape_.d_model);
  for (Eigen::Index i = 0; i < count; ++i) {
    x_.row(i) = tokens.row(batch.inputs[i]) + positions.row(i % batch.shape.columns);
  }
  for (Block& block : blocks_) block.Forward(parameters, batch.shape, x_);
  final_norm_.Forward(parameters, x_, normed_);
  head_.Forward(parameters, normed_, logits_);
}

template <typename Scalar>
void Transformer<Scalar>::EmbedBackward(const TokenBatch& batch, Scalar* gradient) const {
  MatrixMap<Scalar> d_tokens(gradient + layout_.token_embedding.offset, shape_.vocabulary,
                             shape_.d_model);
  MatrixMap<Scalar> d_positions(gradient + layout_.position_embedding.offset, shape_.context,
                                shape_.d_model);
  d_tokens.setZero();
  d_positions.setZero();
  for (Eigen::Index i = 0; i < d_x_.rows(); ++i) {
    d_tokens.row(batch.inputs[i]) += d_x_.row(i);
    d_positions.row(i % batch.shape.columns) += d_x_.row(i);
  }
}

template <typename Scalar>
double Transformer<Scalar>::Loss(absl::Span<const Scalar> parameters, const TokenBatch& batch) {
  CheckBatch(parameters, batch);
  ForwardToLogits(parameters.data(), batch);
  return CrossEntropy<Scalar>(logits_, batch.targets, nullptr);
}

template <typename Scalar>
double Transformer<Scalar>::LossAndGradient(absl::Span<const Scalar> parameters,
                                            const TokenBatch& batch, absl::Span<Scalar> gradient) {
  CheckBatch(parameters, batch);
  PERIGEE_CHECK(gradient.size() == layout_.size);
  ForwardToLogits(parameters.data(), batch);
  const double loss = CrossEntropy<Scalar>(logits_, batch.targets, &d_logits_);
  head_.Backward(parameters.data(), normed_, d_logits_, gradient.data(), d_normed_);
  final_norm_.Backward(parameters.data(), d_normed_, gradient.data(), d_x_);
  for (size_t i = blocks_.size(); i-- > 0;) {
    blocks_[i].Backward(parameters.data(), batch.shape, gradient.data(), d_x_);
  }
  EmbedBackward(batch, gradient.data());
  return loss;
}

template class Transformer<float>;
template class Transformer<double>;

}  // namespace perigee::char_lm
