// The cluster of one random run: its size, its network, how often something breaks.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "runtime/sim/cluster.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"
#include "transport/sim/channel.h"

namespace perigee {

constexpr uint32_t kSmallNodesMax = 9;
constexpr uint32_t kNodesMax = 40;

struct ChaosWorld {
  uint32_t nodes = 2;
  uint32_t founders = 2;  // the others join later
  absl::Duration delay_max;
  absl::Duration faults_for;
  absl::Duration fault_every;
  ChannelSettings channel;
  bool doomed = false;   // a majority dies at the end
  bool durable = false;  // a coordinator that starts again knows what the last one wrote
  // It dies when the job runs, and the members go on without it.
  bool coordinator_stays_away = false;
  // In most worlds the clocks differ by fractions of a second, and one is an hour off.
  ClusterClocks clocks;
  // The last fault: a minority is cut off with the coordinator, until the others have shown that
  // they go on.
  bool ends_cut = false;
};

ChaosWorld DrawWorld(Rng& rng);
// In some worlds nodes go dark by plan, one to three times and one after the other.
ContactPlan DrawPlan(const ChaosWorld& world, Rng& rng);
std::string ToString(const ChaosWorld& world);

}  // namespace perigee
