// Typed, non-owning views of tensors in memory, and the element types and operations of
// collectives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace perigee {

enum class DType : uint8_t { kF32, kF64, kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64 };
enum class ReduceOp : uint8_t { kSum, kProduct, kMin, kMax };

size_t SizeOf(DType dtype);           // bytes per element
absl::string_view Name(DType dtype);  // "f32"
absl::string_view Name(ReduceOp op);  // "sum"

template <typename T>
constexpr DType DTypeOf();
template <>
constexpr DType DTypeOf<float>() {
  return DType::kF32;
}
template <>
constexpr DType DTypeOf<double>() {
  return DType::kF64;
}
template <>
constexpr DType DTypeOf<int8_t>() {
  return DType::kI8;
}
template <>
constexpr DType DTypeOf<int16_t>() {
  return DType::kI16;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType DTypeOf<int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType DTypeOf<uint8_t>() {
  return DType::kU8;
}
template <>
constexpr DType DTypeOf<uint16_t>() {
  return DType::kU16;
}
template <>
constexpr DType DTypeOf<uint32_t>() {
  return DType::kU32;
}
template <>
constexpr DType DTypeOf<uint64_t>() {
  return DType::kU64;
}

// `count` elements of `dtype` at `data`, which need not be aligned to the element size.
struct ConstBuffer {
  const void* data = nullptr;
  size_t count = 0;
  DType dtype = DType::kF32;

  size_t bytes() const { return count * SizeOf(dtype); }
  absl::Span<const uint8_t> span() const { return {static_cast<const uint8_t*>(data), bytes()}; }
};

struct Buffer {
  void* data = nullptr;
  size_t count = 0;
  DType dtype = DType::kF32;

  size_t bytes() const { return count * SizeOf(dtype); }
  absl::Span<uint8_t> span() const { return {static_cast<uint8_t*>(data), bytes()}; }
};

}  // namespace perigee
