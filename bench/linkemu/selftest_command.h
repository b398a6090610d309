// perigee-linkemu selftest: is the emulated network the one that was asked for?
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "runtime/cli/flags.h"

namespace perigee::linkemu {

struct SelftestOptions {
  uint64_t seed = 1;
  std::string json;
  // A second instead of a minute; only what does not depend on time is judged.
  bool tiny = false;
};

void AddSelftestFlags(CLI::App& app, SelftestOptions& options);

// FailedPrecondition names what missed its bound (bench/linkemu/README.md).
absl::Status RunSelftest(const SelftestOptions& options);

}  // namespace perigee::linkemu
