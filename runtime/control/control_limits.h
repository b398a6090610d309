// How much of the coordinator one peer may ask for. The defaults are for real clusters; tests and
// simulations of many members on one host choose their own.
#pragma once

#include <cstddef>

#include "absl/time/time.h"
#include "runtime/control/rate_limit.h"

namespace perigee {

struct ControlLimits {
  // What one operator (name and host) may ask.
  RateLimit::Rate questions = {.per_second = 100, .burst = 1000};
  // Streams that one host may open: all members may share one, and try about once a second.
  RateLimit::Rate attempts = {.per_second = 1000, .burst = 12000};
  // Streams whose member has not registered yet, and how long it may take.
  size_t unregistered_max = 2048;
  absl::Duration register_within = absl::Seconds(10);
};

}  // namespace perigee
