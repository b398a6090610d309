#include "examples/char_lm/product.h"

#include <cstddef>

namespace perigee::char_lm {
namespace {

void PinBlocking() {
  constexpr std::ptrdiff_t kL1Bytes = 32 << 10, kL2Bytes = 256 << 10, kL3Bytes = 2 << 20;
  Eigen::setCpuCacheSizes(kL1Bytes, kL2Bytes, kL3Bytes);
}

}  // namespace

template <typename Scalar>
void Product(ConstMatrixRef<Scalar> left, ConstMatrixRef<Scalar> right, MatrixRef<Scalar> out) {
  PinBlocking();
  out.noalias() = left * right;
}

template <typename Scalar>
void ProductTransposedLeft(ConstMatrixRef<Scalar> left, ConstMatrixRef<Scalar> right,
                           MatrixRef<Scalar> out) {
  PinBlocking();
  out.noalias() = left.transpose() * right;
}

template <typename Scalar>
void ProductTransposedRight(ConstMatrixRef<Scalar> left, ConstMatrixRef<Scalar> right,
                            MatrixRef<Scalar> out) {
  PinBlocking();
  out.noalias() = left * right.transpose();
}

template void Product<float>(ConstMatrixRef<float>, ConstMatrixRef<float>, MatrixRef<float>);
template void Product<double>(ConstMatrixRef<double>, ConstMatrixRef<double>, MatrixRef<double>);
template void ProductTransposedLeft<float>(ConstMatrixRef<float>, ConstMatrixRef<float>,
                                           MatrixRef<float>);
template void ProductTransposedLeft<double>(ConstMatrixRef<double>, ConstMatrixRef<double>,
                                            MatrixRef<double>);
template void ProductTransposedRight<float>(ConstMatrixRef<float>, ConstMatrixRef<float>,
                                            MatrixRef<float>);
template void ProductTransposedRight<double>(ConstMatrixRef<double>, ConstMatrixRef<double>,
                                             MatrixRef<double>);

}  // namespace perigee::char_lm
