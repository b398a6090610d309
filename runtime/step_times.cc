#include "runtime/step_times.h"

#include <algorithm>

namespace perigee {

void StepTimes::OnOpStarted(absl::Time now, OpId op) {
  if (first_op_ && op.step() <= first_op_->step()) return;
  if (first_op_) {
    const auto steps = static_cast<double>(op.step().value() - first_op_->step().value());
    steps_.Add((now - first_op_at_) / steps);
  }
  first_op_ = op;
  first_op_at_ = now;
}

void StepTimes::Kept::Add(absl::Duration time) { times[count++ % kKept] = time; }

absl::Duration StepTimes::Kept::LongestButOne() const {
  absl::Duration longest, next;
  for (size_t i = 0; i < std::min(count, kKept); ++i) {
    next = std::max(next, std::min(times[i], longest));
    longest = std::max(longest, times[i]);
  }
  return count == 1 ? longest : next;
}

}  // namespace perigee
