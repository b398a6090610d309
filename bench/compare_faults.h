// `perigee-bench compare --faults`: each peer allreduces without end, a member is struck in the
// middle of an op, and the others are watched.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "bench/compare.h"
#include "bench/compare_peers.h"

namespace perigee {

// Over the first point's round trip and the largest size of `options`, without loss.
absl::Status RunFaults(const CompareOptions& options, const std::vector<CompareRow>& rows,
                       const CompareGrid& grid);

}  // namespace perigee
