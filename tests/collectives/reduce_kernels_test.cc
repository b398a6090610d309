#include "collectives/reduce_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "collectives/device/cpu_reducer.h"
#include "tests/oracle/oracle.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

constexpr DType kTypes[] = {DType::kF32, DType::kF64, DType::kI8,  DType::kI16, DType::kI32,
                            DType::kI64, DType::kU8,  DType::kU16, DType::kU32, DType::kU64};
constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kProduct, ReduceOp::kMin, ReduceOp::kMax};

template <typename T>
T Once(ReduceOp op, T a, T b) {
  Reduce({.dtype = DTypeOf<T>(), .op = op, .dst = &a, .src = &b, .count = 1});
  return a;
}

TEST(Reduce, Example) {
  std::vector<float> sum = {1, 2, 3};
  const std::vector<float> next = {10, 20, 30};
  Reduce({.dtype = DType::kF32,
          .op = ReduceOp::kSum,
          .dst = sum.data(),
          .src = next.data(),
          .count = sum.size()});
  EXPECT_EQ(sum, (std::vector<float>{11, 22, 33}));
}

TEST(Reduce, IntegersWrapAround) {
  EXPECT_EQ(Once<int8_t>(ReduceOp::kSum, 127, 1), -128);
  EXPECT_EQ(Once<uint16_t>(ReduceOp::kProduct, 65535, 65535), 1);
  EXPECT_EQ(Once<int64_t>(ReduceOp::kSum, std::numeric_limits<int64_t>::max(), 1),
            std::numeric_limits<int64_t>::min());
  EXPECT_EQ(Once<int32_t>(ReduceOp::kProduct, std::numeric_limits<int32_t>::min(), -1),
            std::numeric_limits<int32_t>::min());
}

TEST(Reduce, MinAndMaxOrderZerosAndPassOnNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (auto [a, b] : {std::pair{0.0f, -0.0f}, std::pair{-0.0f, 0.0f}}) {
    EXPECT_TRUE(std::signbit(Once(ReduceOp::kMin, a, b)));
    EXPECT_FALSE(std::signbit(Once(ReduceOp::kMax, a, b)));
  }
  for (ReduceOp op : {ReduceOp::kMin, ReduceOp::kMax}) {
    EXPECT_TRUE(std::isnan(Once(op, nan, 1.0f)));
    EXPECT_TRUE(std::isnan(Once(op, 1.0f, nan)));
  }
}

std::vector<uint8_t> RandomElements(DType dtype, size_t count, Rng& rng) {
  std::vector<uint8_t> bytes(count * SizeOf(dtype));
  for (size_t i = 0; i < count; ++i) {
    uint8_t* at = bytes.data() + i * SizeOf(dtype);
    const uint64_t bits = rng.Next();
    const double value = std::ldexp(rng.Unit() - 0.5, static_cast<int>(rng.Between(-20, 20)));
    const auto single = static_cast<float>(value);
    if (dtype == DType::kF32) {
      std::memcpy(at, &single, sizeof(single));
    } else if (dtype == DType::kF64) {
      std::memcpy(at, &value, sizeof(value));
    } else {
      std::memcpy(at, &bits, SizeOf(dtype));
    }
  }
  return bytes;
}

TEST(Reduce, AgreesWithTheOracleAtAnyAlignment) {
  const uint64_t seed = 5;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (DType dtype : kTypes) {
    for (ReduceOp op : kOps) {
      for (size_t count : {0, 1, 3, 16, 257}) {
        const std::vector<uint8_t> a = RandomElements(dtype, count, rng);
        const std::vector<uint8_t> b = RandomElements(dtype, count, rng);
        const size_t shift_a = rng.Below(9);
        const size_t shift_b = rng.Below(9);
        std::vector<uint8_t> dst(a.size() + 16, 0xee);
        std::vector<uint8_t> src(b.size() + 16, 0xee);
        std::copy(a.begin(), a.end(), dst.begin() + shift_a);
        std::copy(b.begin(), b.end(), src.begin() + shift_b);
        Reduce({.dtype = dtype,
                .op = op,
                .dst = dst.data() + shift_a,
                .src = src.data() + shift_b,
                .count = count});
        const auto result = absl::MakeConstSpan(dst).subspan(shift_a, a.size());
        EXPECT_EQ(FirstDifference({dtype, op, count}, {a, b}, {0, 1}, result), "")
            << Name(dtype) << " " << Name(op) << " " << count;
        EXPECT_EQ(dst[shift_a + a.size()], 0xee) << "wrote past the end";
      }
    }
  }
}

TEST(CpuReducer, ReportsTicketsInOrder) {
  CpuReducer reducer;
  std::vector<int32_t> dst = {1, 2};
  const std::vector<int32_t> src = {5, 6};
  for (uint64_t ticket : {7, 3}) {
    reducer.Submit({.ticket = ticket,
                    .dtype = DType::kI32,
                    .op = ReduceOp::kSum,
                    .dst = dst.data(),
                    .src = src.data(),
                    .count = 2});
  }
  EXPECT_EQ(reducer.NextDone(), 7u);
  EXPECT_EQ(reducer.NextDone(), 3u);
  EXPECT_EQ(reducer.NextDone(), std::nullopt);
  EXPECT_EQ(dst, (std::vector<int32_t>{11, 14}));
}

}  // namespace
}  // namespace perigee
