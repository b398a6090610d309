// Element-wise reduction: the task that the engine hands out, and its reference execution on the
// CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "collectives/buffer.h"

namespace perigee {

// dst[i] = op(dst[i], src[i]) for i < count. Regions do not overlap; no alignment is assumed.
struct ReduceTask {
  uint64_t ticket = 0;
  DType dtype = DType::kF32;
  ReduceOp op = ReduceOp::kSum;
  void* dst = nullptr;
  const void* src = nullptr;
  size_t count = 0;
};

// Executes a task. Integers wrap around modulo 2^bits (two's complement), so sums are exact modulo
// 2^bits and do not depend on order; floating point follows IEEE 754, one operation per element, in
// the order of tasks.
void Reduce(const ReduceTask& task);

}  // namespace perigee
