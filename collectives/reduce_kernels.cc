// Loops that the compiler vectorises (this file is compiled with -O3): elements are read and
// written through memcpy, which is one unaligned load or store, and the regions are declared not to
// overlap.

#include "collectives/reduce_kernels.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "transport/base/status.h"

namespace perigee {
namespace {

// An unsigned type in which arithmetic wraps around and which integer promotion does not make
// signed.
template <typename T>
using Wrapping = std::conditional_t<(sizeof(T) < 8), uint32_t, uint64_t>;

// The representation of a float as an integer.
template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <typename To, typename From>
To BitCast(From from) {
  To to;
  static_assert(sizeof(to) == sizeof(from));
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

struct Sum {
  template <typename T>
  static T Apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a + b;
    } else {
      return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
    }
  }
};

struct Product {
  template <typename T>
  static T Apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a * b;
    } else {
      return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
    }
  }
};

// `minimum` of IEEE 754-2019 (9.6): -0 is less than +0, and not-a-number wins. Operands that
// compare equal are the same bits or zeros of two signs, so OR-ing their bits gives the smaller.
struct Min {
  template <typename T>
  static T Apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      using Bits = BitsOf<T>;
      const T equal = BitCast<T>(static_cast<Bits>(BitCast<Bits>(a) | BitCast<Bits>(b)));
      const T less = b < a ? b : a;
      const T number = a == b ? equal : less;
      const T not_a_number = a != a ? a : b;
      const bool ordered = (a == a) & (b == b);
      return ordered ? number : not_a_number;
    } else {
      return std::min(a, b);
    }
  }
};

struct Max {
  template <typename T>
  static T Apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      using Bits = BitsOf<T>;
      const T equal = BitCast<T>(static_cast<Bits>(BitCast<Bits>(a) & BitCast<Bits>(b)));
      const T greater = b > a ? b : a;
      const T number = a == b ? equal : greater;
      const T not_a_number = a != a ? a : b;
      const bool ordered = (a == a) & (b == b);
      return ordered ? number : not_a_number;
    } else {
      return std::max(a, b);
    }
  }
};

template <typename T, typename Op>
void Loop(uint8_t* __restrict dst, const uint8_t* __restrict src, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    T a;
    T b;
    std::memcpy(&a, dst + i * sizeof(T), sizeof(T));
    std::memcpy(&b, src + i * sizeof(T), sizeof(T));
    a = Op::template Apply<T>(a, b);
    std::memcpy(dst + i * sizeof(T), &a, sizeof(T));
  }
}

template <typename T>
void ReduceAs(const ReduceTask& task) {
  auto* dst = static_cast<uint8_t*>(task.dst);
  const auto* src = static_cast<const uint8_t*>(task.src);
  switch (task.op) {
    case ReduceOp::kSum:
      return Loop<T, Sum>(dst, src, task.count);
    case ReduceOp::kProduct:
      return Loop<T, Product>(dst, src, task.count);
    case ReduceOp::kMin:
      return Loop<T, Min>(dst, src, task.count);
    case ReduceOp::kMax:
      return Loop<T, Max>(dst, src, task.count);
  }
  PERIGEE_CHECK(false);
}

}  // namespace

void Reduce(const ReduceTask& task) {
  switch (task.dtype) {
    case DType::kF32:
      return ReduceAs<float>(task);
    case DType::kF64:
      return ReduceAs<double>(task);
    case DType::kI8:
      return ReduceAs<int8_t>(task);
    case DType::kI16:
      return ReduceAs<int16_t>(task);
    case DType::kI32:
      return ReduceAs<int32_t>(task);
    case DType::kI64:
      return ReduceAs<int64_t>(task);
    case DType::kU8:
      return ReduceAs<uint8_t>(task);
    case DType::kU16:
      return ReduceAs<uint16_t>(task);
    case DType::kU32:
      return ReduceAs<uint32_t>(task);
    case DType::kU64:
      return ReduceAs<uint64_t>(task);
  }
  PERIGEE_CHECK(false);
}

}  // namespace perigee
