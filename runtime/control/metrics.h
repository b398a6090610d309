// What the coordinator knows as numbers with stable names, for Prometheus. README.md lists them; a
// test compares the list with what a server shows.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "runtime/coordinator.h"

namespace perigee {

struct MetricSample {
  std::vector<std::pair<std::string, std::string>> labels;
  double value = 0;
};
struct Metric {
  std::string name;
  std::string help;
  bool counter = false;  // only grows while its process lives; else a gauge
  std::vector<MetricSample> samples;
};

// What the loop around the coordinator knows.
struct LoopHealth {
  size_t stream_count = 0;
  absl::Duration lateness;
};

// Always the same names in the same order; numbers of members only for those that have told any.
std::vector<Metric> MetricsOf(absl::Time now, const Coordinator& coordinator,
                              const LoopHealth& health);

}  // namespace perigee
