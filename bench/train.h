// `perigee-bench train`: samples per second of the example's training against loss and faults, each
// point beside its twin without faults. Flags and fields: bench/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "runtime/cli/flags.h"

namespace perigee {

struct TrainSweepOptions {
  std::vector<std::string> losses = {"0", "0.1%", "1%", "5%"};
  std::string faults = "none";
  uint32_t nodes = 6;
  uint64_t steps = 100;
  uint32_t microbatches = 24;
  std::string rate = "200Mbit";
  std::string delay = "10ms";
  double burst_ms = 0;
  bool netns = false;
  uint64_t seed = 1;
  std::string json;
};

// `options` must outlive the program.
void AddTrainCommand(Program& program, TrainSweepOptions& options);

}  // namespace perigee
