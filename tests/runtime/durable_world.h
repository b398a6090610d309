// A CoordinatorWorld whose coordinator writes down what it does, and can be killed in between.
#pragma once

#include "tests/runtime/coordinator_world.h"

namespace perigee {

class DurableWorld : public CoordinatorWorld {
 public:
  explicit DurableWorld(uint64_t seed = 1) : CoordinatorWorld({}, seed) {
    options.durable = true;
    StartCoordinator();
  }
  // Whether the operator got its answer: the coordinator was not killed before.
  bool Drain(uint32_t node, absl::Time at) {
    const Coordinator* asked = coordinator.get();
    const bool ok = coordinator->Drain(now, NodeId(node), at, "an operator").ok();
    Deliver();
    return ok && coordinator.get() == asked;
  }
  bool Undrain(uint32_t node) {
    const Coordinator* asked = coordinator.get();
    const bool ok = coordinator->Undrain(now, NodeId(node), "an operator").ok();
    Deliver();
    return ok && coordinator.get() == asked;
  }
  bool Evict(uint32_t node, bool force = false) {
    const Coordinator* asked = coordinator.get();
    const bool ok = coordinator->Evict(now, NodeId(node), force, "an operator").ok();
    Deliver();
    return ok && coordinator.get() == asked;
  }
};

}  // namespace perigee
