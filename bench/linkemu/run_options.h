// The flags of `perigee-linkemu run`, and the network that they describe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/linkemu/network.h"
#include "bench/linkemu/segment_split.h"
#include "runtime/cli/flags.h"
#include "transport/sim/channel.h"

namespace perigee::linkemu {

struct RunOptions {
  int nodes = 0;
  std::string topology;  // empty: mesh, or what the contact plan says
  std::string contacts;
  double time_scale = 1;
  ChannelSettings channel = {.link = {25e6, absl::Milliseconds(5)}};
  double burst_ms = 0;
  std::string flip_mode = "detected";
  uint64_t queue_bytes = 0;
  uint64_t seed = 1;
  std::string json;
  std::string congestion;
  std::string coordinator;
  std::vector<std::string> at;
  std::vector<int> until;
  bool keep_going = false;
  bool no_prefix = false;
  bool above_ceiling = false;
  absl::Duration timeout = absl::ZeroDuration();
  std::vector<std::string> command;  // what stands behind --
};

void AddRunFlags(CLI::App& app, RunOptions& options);

// InvalidArgument names the flag. `start`: when the run starts, on the emulator's clock.
absl::StatusOr<Network> MakeNetwork(const RunOptions& options, absl::Time start);
FlipMode FlipModeOf(const RunOptions& options);

}  // namespace perigee::linkemu
