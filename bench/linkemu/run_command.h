// perigee-linkemu run: a command per node, over emulated links.
#pragma once

#include "absl/status/status.h"
#include "bench/linkemu/run_options.h"

namespace perigee::linkemu {

// Blocks until all nodes have ended. InvalidArgument for what the user can correct.
absl::Status RunNodes(const RunOptions& options);

}  // namespace perigee::linkemu
