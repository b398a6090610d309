// Network namespaces for a job, joined by perigee-linkemu: every process has a kernel's network
// stack of its own, and all traffic, that of gRPC included, crosses lossy links.
//
//   PERIGEE_ASSIGN_OR_RETURN(LossyNetwork network, LossyNetwork::Start(options));
//   ChildProcess::Start(network.Inside(2, {"/bin/program", network.address(2)}));
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/train/options.h"
#include "runtime/cli/child_process.h"

namespace perigee {

class LossyNetwork {
 public:
  // One node per member, and node `options.nodes` for the coordinator. Errors: those of
  // perigee-linkemu, which says itself what the machine does not allow.
  static absl::StatusOr<LossyNetwork> Start(const TrainOptions& options);

  // The command that runs `argv` in the namespace of `node`.
  std::vector<std::string> Inside(uint32_t node, const std::vector<std::string>& argv) const;
  const std::string& address(uint32_t node) const { return nodes_[node].address; }

 private:
  struct Place {
    std::string address;
    std::string pid;  // of a process inside
  };

  explicit LossyNetwork(ChildProcess emulator) : emulator_(std::move(emulator)) {}
  absl::Status ReadPlaces(const std::string& control);

  ChildProcess emulator_;  // ends all namespaces when it ends
  std::vector<Place> nodes_;
};

}  // namespace perigee
