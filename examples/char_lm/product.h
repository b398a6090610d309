// Matrix products, in one place: the same bits on every processor, and Eigen's kernels compiled
// once.
//
//   Product<float>(in, weight, out);                 // out = in · weight
//   ProductTransposedLeft<float>(in, d_out, d_weight);   // d_weight = inᵀ · d_out
//
// Eigen cuts a long sum into blocks by the cache sizes of the processor it runs on, and the cut
// decides how the sum is rounded. Each product therefore first sets Eigen's cache sizes, which are
// the process's, to constants.
#pragma once

#include <Eigen/Core>

namespace perigee::char_lm {

template <typename Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <typename Scalar>
using MatrixMap = Eigen::Map<Matrix<Scalar>>;
template <typename Scalar>
using ConstMatrixMap = Eigen::Map<const Matrix<Scalar>>;

// A matrix or a block of one, borrowed.
template <typename Scalar>
using MatrixRef = Eigen::Ref<Matrix<Scalar>, 0, Eigen::OuterStride<>>;
template <typename Scalar>
using ConstMatrixRef = Eigen::Ref<const Matrix<Scalar>, 0, Eigen::OuterStride<>>;

// `out` has the product's shape already and shares no memory with the factors. Scalar: float or
// double.
template <typename Scalar>
void Product(ConstMatrixRef<Scalar> left, ConstMatrixRef<Scalar> right, MatrixRef<Scalar> out);
// leftᵀ · right
template <typename Scalar>
void ProductTransposedLeft(ConstMatrixRef<Scalar> left, ConstMatrixRef<Scalar> right,
                           MatrixRef<Scalar> out);
// left · rightᵀ
template <typename Scalar>
void ProductTransposedRight(ConstMatrixRef<Scalar> left, ConstMatrixRef<Scalar> right,
                            MatrixRef<Scalar> out);

}  // namespace perigee::char_lm
