#include "tests/oracle/oracle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

struct IntegerType {
  int bytes = 0;
  bool is_signed = false;
};

bool IsFloat(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF64; }

IntegerType IntegerTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kI8:
      return {1, true};
    case DType::kI16:
      return {2, true};
    case DType::kI32:
      return {4, true};
    case DType::kI64:
      return {8, true};
    case DType::kU8:
      return {1, false};
    case DType::kU16:
      return {2, false};
    case DType::kU32:
      return {4, false};
    default:
      return {8, false};
  }
}

// Wide enough for every value of every integer type.
using Wide = __int128;

Wide LoadInteger(absl::Span<const uint8_t> input, const IntegerType& type, size_t index) {
  Wide value = 0;
  for (int i = 0; i < type.bytes; ++i) {
    value += Wide{input[index * type.bytes + i]} << (8 * i);
  }
  const Wide half = Wide{1} << (8 * type.bytes - 1);
  return type.is_signed && value >= half ? value - 2 * half : value;
}

void StoreInteger(std::vector<uint8_t>& out, const IntegerType& type, size_t index, Wide value) {
  for (int i = 0; i < type.bytes; ++i) {
    out[index * type.bytes + i] =
        static_cast<uint8_t>(static_cast<unsigned __int128>(value) >> (8 * i));
  }
}

// Values fit in 64 bits, so that products and sums of two fit in Wide.
Wide Combine(ReduceOp op, Wide a, Wide b) {
  switch (op) {
    case ReduceOp::kSum:
      return a + b;
    case ReduceOp::kProduct:
      return static_cast<Wide>(static_cast<unsigned __int128>(a) *
                               static_cast<unsigned __int128>(b));
    case ReduceOp::kMin:
      return std::min(a, b);
    case ReduceOp::kMax:
      return std::max(a, b);
  }
  return 0;
}

long double LoadFloat(absl::Span<const uint8_t> input, DType dtype, size_t index) {
  if (dtype == DType::kF32) {
    float value = 0;
    std::memcpy(&value, input.data() + index * sizeof(value), sizeof(value));
    return value;
  }
  double value = 0;
  std::memcpy(&value, input.data() + index * sizeof(value), sizeof(value));
  return value;
}

struct FloatLimits {
  long double unit_roundoff = 0;
  long double value_max = 0;
  long double value_min = 0;  // smallest subnormal
};

FloatLimits LimitsOf(DType dtype) {
  if (dtype == DType::kF32) {
    return {0x1p-24L, std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min()};
  }
  return {0x1p-53L, std::numeric_limits<double>::max(), std::numeric_limits<double>::denorm_min()};
}

OracleValue ExactSum(const std::vector<long double>& terms, const FloatLimits& limits) {
  OracleValue result;
  long double magnitude = 0;
  for (long double term : terms) {
    result.value += term;
    magnitude += std::fabs(term);
  }
  const long double steps = terms.size() - 1;
  const long double gamma = steps * limits.unit_roundoff / (1 - steps * limits.unit_roundoff);
  // The second term is what this function itself may be wrong by.
  result.error_max = (gamma + terms.size() * 0x1p-63L) * magnitude;
  if (magnitude > limits.value_max) result.error_max = INFINITY;
  if (terms.size() == 1) result.error_max = 0;
  return result;
}

OracleValue ExactProduct(const std::vector<long double>& terms, const FloatLimits& limits) {
  OracleValue result = {.value = 1, .error_max = 0};
  long double growth = 1;
  for (long double term : terms) {
    result.value *= term;
    growth *= std::max(1.0L, std::fabs(term));
  }
  const long double steps = terms.size() - 1;
  const long double gamma = steps * limits.unit_roundoff / (1 - steps * limits.unit_roundoff);
  result.error_max = (gamma + terms.size() * 0x1p-63L) * std::fabs(result.value) +
                     terms.size() * limits.value_min * growth;
  if (growth > limits.value_max) result.error_max = INFINITY;
  if (terms.size() == 1) result.error_max = 0;
  return result;
}

OracleValue ExactExtreme(const std::vector<long double>& terms, bool min) {
  OracleValue result = {.value = terms[0], .error_max = 0};
  for (long double term : terms) {
    if (std::isnan(term)) return {.value = NAN, .error_max = 0};
    const bool beats = min ? term < result.value : term > result.value;
    // The zeros are ordered: -0 before +0.
    const bool sign_beats = term == result.value && std::signbit(term) == min;
    if (beats || sign_beats) result.value = term;
  }
  return result;
}

bool Agrees(const OracleValue& expected, long double value) {
  if (std::isnan(expected.value)) return std::isnan(value);
  if (std::isinf(expected.error_max)) return true;
  if (expected.error_max == 0) {
    return value == expected.value && std::signbit(value) == std::signbit(expected.value);
  }
  return std::fabs(value - expected.value) <= expected.error_max;
}

}  // namespace

std::vector<uint8_t> ExactIntegers(const OracleCall& call, const OracleInputs& inputs,
                                   const std::vector<uint32_t>& contributors) {
  const IntegerType type = IntegerTypeOf(call.dtype);
  std::vector<uint8_t> out(call.count * type.bytes);
  for (size_t i = 0; i < call.count; ++i) {
    StoreInteger(out, type, i, LoadInteger(inputs[contributors[0]], type, i));
    for (size_t k = 1; k < contributors.size(); ++k) {
      const Wide so_far = LoadInteger(out, type, i);
      const Wide next = LoadInteger(inputs[contributors[k]], type, i);
      StoreInteger(out, type, i, Combine(call.op, so_far, next));
    }
  }
  return out;
}

std::vector<OracleValue> ExactFloats(const OracleCall& call, const OracleInputs& inputs,
                                     const std::vector<uint32_t>& contributors) {
  const FloatLimits limits = LimitsOf(call.dtype);
  std::vector<OracleValue> out;
  out.reserve(call.count);
  std::vector<long double> terms(contributors.size());
  for (size_t i = 0; i < call.count; ++i) {
    for (size_t k = 0; k < contributors.size(); ++k) {
      terms[k] = LoadFloat(inputs[contributors[k]], call.dtype, i);
    }
    if (call.op == ReduceOp::kSum) {
      out.push_back(ExactSum(terms, limits));
    } else if (call.op == ReduceOp::kProduct) {
      out.push_back(ExactProduct(terms, limits));
    } else {
      out.push_back(ExactExtreme(terms, call.op == ReduceOp::kMin));
    }
  }
  return out;
}

std::string FirstDifference(const OracleCall& call, const OracleInputs& inputs,
                            const std::vector<uint32_t>& contributors,
                            absl::Span<const uint8_t> result) {
  const bool is_float = IsFloat(call.dtype);
  const size_t element_bytes =
      is_float ? (call.dtype == DType::kF32 ? 4 : 8) : IntegerTypeOf(call.dtype).bytes;
  if (result.size() != call.count * element_bytes) {
    return absl::StrCat(result.size(), " bytes, expected ", call.count * element_bytes);
  }
  if (is_float) {
    const std::vector<OracleValue> expected = ExactFloats(call, inputs, contributors);
    for (size_t i = 0; i < call.count; ++i) {
      const long double value = LoadFloat(result, call.dtype, i);
      if (Agrees(expected[i], value)) continue;
      return absl::StrCat("element ", i, ": ", static_cast<double>(value), ", expected ",
                          static_cast<double>(expected[i].value), " +- ",
                          static_cast<double>(expected[i].error_max));
    }
    return "";
  }
  const std::vector<uint8_t> expected = ExactIntegers(call, inputs, contributors);
  const auto [mine, theirs] = std::mismatch(expected.begin(), expected.end(), result.begin());
  if (mine == expected.end()) return "";
  const size_t i = (mine - expected.begin()) / element_bytes;
  const IntegerType type = IntegerTypeOf(call.dtype);
  return absl::StrCat("element ", i, ": ", static_cast<int64_t>(LoadInteger(result, type, i)),
                      ", expected ", static_cast<int64_t>(LoadInteger(expected, type, i)));
}

}  // namespace perigee
