// `perigee-bench reduce`: how fast the CPU adds what arrives, beside a plain copy in the same run.
// Flags and fields: bench/README.md.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/cli/flags.h"

namespace perigee {

struct ReduceOptions {
  uint64_t bytes = uint64_t{64} << 20;  // of each vector
  uint64_t iterations = 20;
  uint64_t seed = 1;
  std::string json;
};

// `options` must outlive the program.
void AddReduceCommand(Program& program, ReduceOptions& options);

}  // namespace perigee
