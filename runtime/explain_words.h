// The words that explain.cc and explain_causes.cc share. Private to them.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "transport/base/ids.h"

namespace perigee::explain {

// "2.3s", "120ms", "40s": as exact as a person wants it.
std::string Ago(absl::Duration duration);
// "node 2", "nodes 1 and 3", "nodes 0, 1, 3"; after kNodesMax "... and 72 more".
inline constexpr size_t kNodesMax = 8;
std::string Nodes(const std::vector<NodeId>& nodes);

}  // namespace perigee::explain
