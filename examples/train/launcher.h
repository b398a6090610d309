// Runs the example's job twice, with the faults of the scene and without, and compares what came
// out.
#pragma once

#include "absl/status/status.h"
#include "examples/train/options.h"

namespace perigee {

// OK only if everything holds: equal digests on all members, the same final state with and without
// faults, no step and no sample lost, and the faults of the scene really happened. Internal names
// what does not hold.
absl::Status RunLauncher(const TrainOptions& options);

}  // namespace perigee
