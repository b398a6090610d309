// The reducer of hosts without an accelerator: executes each task at its submission, on the
// caller's thread, with the reference kernels.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "collectives/device/reducer.h"

namespace perigee {

class CpuReducer : public Reducer {
 public:
  void Submit(const ReduceTask& task) override;
  std::optional<uint64_t> NextDone() override;

 private:
  // At most one entry per step of the running ops: an op submits a step once.
  std::deque<uint64_t> done_;
};

}  // namespace perigee
