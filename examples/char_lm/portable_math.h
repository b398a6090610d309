// Exp, Tanh, Log and CosPi from additions, multiplications and divisions only, which IEEE 754 fixes
// to the last bit. The C library's versions choose instructions by processor (fused multiply-add or
// not), so two members of a job would get different bits and the reproducible mode would refuse one
// of them.
//
// Errors: a few units in the last place; the arguments are those of a small neural network.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <type_traits>

namespace perigee::char_lm {

namespace portable_math_internal {

template <typename Scalar>
struct Format;

template <>
struct Format<float> {
  using Bits = int32_t;
  static constexpr int kMantissaBits = 23, kBias = 127, kExpDegree = 7;
  static constexpr float kExpMax = 87.0f;          // exp(88.8) overflows
  static constexpr float kRound = 12582912.0f;     // 1.5 · 2^23: adding it rounds to an integer
  static constexpr float kLn2High = 0.693359375f;  // 10 bits: n · kLn2High is exact
  static constexpr float kLn2Low = -2.12194440e-4f;
};

template <>
struct Format<double> {
  using Bits = int64_t;
  static constexpr int kMantissaBits = 52, kBias = 1023, kExpDegree = 13;
  static constexpr double kExpMax = 708.0;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 · 2^52
  static constexpr double kLn2High = 6.93145751953125e-1;
  static constexpr double kLn2Low = 1.42860682030941723212e-6;
};

}  // namespace portable_math_internal

// exp(x); x is clamped to the range of normal results. NaN stays NaN.
template <typename Scalar>
inline Scalar Exp(Scalar x) {
  using F = portable_math_internal::Format<Scalar>;
  using Bits = typename F::Bits;
  x = x < -F::kExpMax ? -F::kExpMax : x;
  x = x > F::kExpMax ? F::kExpMax : x;
  if (x != x) return x;
  // x = n · ln 2 + r with |r| <= ln 2 / 2; exp(r) is its Taylor series, evaluated from the end.
  const Scalar n = (x * std::numbers::log2e_v<Scalar> + F::kRound) - F::kRound;
  const Scalar r = (x - n * F::kLn2High) - n * F::kLn2Low;
  Scalar series = 1;
  for (int k = F::kExpDegree; k > 0; --k) series = 1 + series * r / static_cast<Scalar>(k);
  const Bits exponent = static_cast<Bits>(n) + F::kBias;
  return series * std::bit_cast<Scalar>(static_cast<Bits>(exponent << F::kMantissaBits));
}

template <typename Scalar>
inline Scalar Tanh(Scalar x) {
  return 1 - 2 / (Exp(2 * x) + 1);
}

// Natural logarithm of a positive normal number.
inline double Log(double x) {
  // x = m · 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(z) with z = (m - 1) / (m + 1), |z|
  // < 0.172.
  constexpr int kTerms = 11;
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // Exact by definition.
  if (m < std::numbers::sqrt2 / 2) {
    m *= 2;
    --exponent;
  }
  const double z = (m - 1) / (m + 1);
  double series = 0;
  for (int k = kTerms; k >= 0; --k) series = 1.0 / (2 * k + 1) + z * z * series;
  return exponent * std::numbers::ln2 + 2 * z * series;
}

// cos(pi · x) for x in [0, 1].
inline double CosPi(double x) {
  // By symmetry the Taylor series is needed on [0, pi/2] only.
  constexpr int kTerms = 12;
  const bool mirrored = x > 0.5;
  const double angle = std::numbers::pi * (mirrored ? 1 - x : x);
  double series = 1;
  for (int k = kTerms; k > 0; --k)
    series = 1 - series * angle * angle / ((2.0 * k) * (2.0 * k - 1));
  return mirrored ? -series : series;
}

// base^exponent by repeated squaring.
inline double Power(double base, uint64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return result;
}

}  // namespace perigee::char_lm
