// The seam behind which element-wise work runs: the CPU now, CUDA later. Work is submitted with a
// ticket and completion comes back as an event, so that both look alike to the engine.
#pragma once

#include <cstdint>
#include <optional>

#include "collectives/reduce_kernels.h"

namespace perigee {

// Used from one thread. Memory named by a task stays valid until its ticket is done.
class Reducer {
 public:
  virtual ~Reducer() = default;
  virtual void Submit(const ReduceTask& task) = 0;
  virtual std::optional<uint64_t> NextDone() = 0;  // in order of submission
};

}  // namespace perigee
