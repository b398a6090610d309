// The real clock of `perigee-bench link`: the sender is this process and the receiver a child of
// it, over loopback UDP; rate, delay and loss come from the channel model on each side's way out.
#pragma once

#include "absl/status/statusor.h"
#include "bench/link.h"

namespace perigee {

// Forks: call it while the process has one thread.
absl::StatusOr<LinkRun> RunLinkReal(const LinkCase& link_case);

}  // namespace perigee
