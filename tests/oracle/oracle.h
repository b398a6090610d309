// What a reduction must give, computed in the plainest way from all inputs, independently of the
// code under test: it shares the enums DType and ReduceOp with it and nothing else.
//
//   OracleCall call = {DType::kF32, ReduceOp::kSum, count};
//   EXPECT_EQ(FirstDifference(call, inputs, {0, 1, 3}, result), "");
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "collectives/buffer.h"

namespace perigee {

struct OracleCall {
  DType dtype = DType::kF32;
  ReduceOp op = ReduceOp::kSum;
  size_t count = 0;  // elements per input
};

using OracleInputs = std::vector<absl::Span<const uint8_t>>;  // raw bytes, by member

// The result over the members in `contributors` (at least one), as raw bytes: exact modulo
// 2^bits. Integer types only.
std::vector<uint8_t> ExactIntegers(const OracleCall& call, const OracleInputs& inputs,
                                   const std::vector<uint32_t>& contributors);

// The exact value, and how far a floating-point result may be from it in whatever order it was
// computed: (n-1)·u/(1-(n-1)·u) times the sum of magnitudes (Higham, "Accuracy and Stability of
// Numerical Algorithms", 4.2) for sums, times the product's magnitude for products, 0 for min and
// max. Infinite where an intermediate result may overflow.
struct OracleValue {
  long double value = 0;
  long double error_max = 0;
};
// Floating-point types only.
std::vector<OracleValue> ExactFloats(const OracleCall& call, const OracleInputs& inputs,
                                     const std::vector<uint32_t>& contributors);

// Empty when `result` is right, else the first wrong element: "element 7: 3.5, expected 3.25 +-
// 1e-07".
std::string FirstDifference(const OracleCall& call, const OracleInputs& inputs,
                            const std::vector<uint32_t>& contributors,
                            absl::Span<const uint8_t> result);

}  // namespace perigee
