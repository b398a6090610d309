// What the coordinator knows, as explain.h reasons about it.
#pragma once

#include "absl/time/time.h"
#include "runtime/coordinator.h"
#include "runtime/explain.h"

namespace perigee {

// Every member with all its links that the coordinator keeps; without the plan, which may be large
// (coordinator.state().plan). Its `now` is calendar time.
Situation SituationOf(absl::Time now, const Coordinator& coordinator);

}  // namespace perigee
