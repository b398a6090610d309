#include "collectives/device/cpu_reducer.h"

namespace perigee {

void CpuReducer::Submit(const ReduceTask& task) {
  Reduce(task);
  done_.push_back(task.ticket);
}

std::optional<uint64_t> CpuReducer::NextDone() {
  if (done_.empty()) return std::nullopt;
  const uint64_t ticket = done_.front();
  done_.pop_front();
  return ticket;
}

}  // namespace perigee
