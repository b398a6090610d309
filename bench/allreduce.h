// `perigee-bench allreduce`: many allreduces over emulated links, each checked against an oracle.
// Flags and fields: bench/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/cli/flags.h"
#include "transport/endpoint.h"
#include "transport/sim/channel.h"

namespace perigee {

struct AllReduceOptions {
  uint32_t nodes = 4;
  uint64_t bytes = uint64_t{16} << 20;
  uint64_t iterations = 10;
  double bytes_per_second =
      0;  // 0: no model, as fast as the machine goes (real clock); 1 Gbit/s in virtual time
  absl::Duration delay = absl::ZeroDuration();
  double loss = 0;
  double burst_ms = 0;
  double burst_loss = 1;
  bool reproducible = false;
  std::string dtype = "f32";
  std::string algorithm = "auto";
  std::string topology = "mesh";
  std::string clock = "virtual";
  uint64_t seed = 1;
  std::string json;
  // Of a process that the command starts: its node, and the coordinator's address.
  int worker = -1;
  std::string coordinator;

  bool emulates() const { return bytes_per_second > 0 || delay > absl::ZeroDuration() || loss > 0; }
  Link link() const { return {bytes_per_second, delay}; }
  ChannelSettings channel() const;
};

// What one member saw.
struct AllReduceMember {
  std::vector<double> seconds;  // per iteration, from its call to its result
  std::string digest;           // over all results
  bool oracle_equal = true;
  uint64_t wire_bytes = 0;
  uint64_t retransmitted_bytes = 0;
  double cpu_seconds = 0;  // not measured in virtual time
};

// `options` must outlive the program.
void AddAllReduceCommand(Program& program, AllReduceOptions& options);

// One row per member. Virtual time (allreduce_virtual.cc) and processes (allreduce_real.cc).
absl::StatusOr<std::vector<AllReduceMember>> RunAllReduceVirtual(const AllReduceOptions& options);
absl::StatusOr<std::vector<AllReduceMember>> RunAllReduceProcesses(const AllReduceOptions& options);
// Runs as one of those processes, and prints its row as a line of JSON.
absl::Status RunAllReduceWorker(const AllReduceOptions& options);

}  // namespace perigee
