// `perigee-bench compare`: Perigee beside its peers, the same allreduces over the same emulated
// links, in alternation. Flags and fields: bench/README.md; the programs that it drives:
// bench/peers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/cli/flags.h"

namespace perigee {

struct CompareOptions {
  std::string peers = "all";
  std::string congestion = "bbr,cubic";
  std::string loss = "0,0.1%,1%,5%";
  std::string round_trip = "10ms,40ms";
  std::string sizes = "1MiB,16MiB,64MiB";
  std::string iterations = "8,3,2";
  uint64_t rounds = 2;
  uint32_t nodes = 4;
  double bytes_per_second = 125e6;
  absl::Duration limit = absl::Seconds(20);  // of one op
  absl::Duration budget = absl::Seconds(3);  // of one size in one launch
  absl::Duration time_limit = absl::InfiniteDuration();
  bool tiny = false;
  bool faults = false;
  std::string scenes = "kill,stop,blackhole,outage";
  bool loopback = false;
  uint64_t seed = 1;
  std::string json;
};

// One point of the grid, and everything that the peers are given there.
struct ComparePoint {
  double loss = 0;
  absl::Duration round_trip;

  friend bool operator==(const ComparePoint&, const ComparePoint&) = default;
};

struct CompareGrid {
  std::vector<ComparePoint> points;
  std::vector<uint64_t> sizes;       // ascending
  std::vector<uint64_t> iterations;  // per size
};

// `options` must outlive the program.
void AddCompareCommand(Program& program, CompareOptions& options);

}  // namespace perigee
