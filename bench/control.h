// `perigee-bench control`: how long after a member's death all others have the view without it,
// with real processes on this machine. Flags and fields: bench/README.md.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/cli/flags.h"

namespace perigee {

struct ControlOptions {
  uint32_t nodes = 8;
  uint32_t kills = 20;
  bool coordinator_away = false;
  uint64_t seed = 1;
  std::string json;
  // Of a member's process.
  int64_t worker = -1;
  std::string coordinator;
  uint32_t start_members = 0;
};

// `options` must outlive the program.
void AddControlCommand(Program& program, ControlOptions& options);

}  // namespace perigee
