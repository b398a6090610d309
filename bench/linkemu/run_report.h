// The JSON of `perigee-linkemu run`: what each link did, and how exact the emulator was.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/status.h"
#include "bench/linkemu/emulator_thread.h"
#include "bench/linkemu/node_namespace.h"
#include "bench/linkemu/run_options.h"
#include "bench/linkemu/supervisor.h"
#include "runtime/cli/report.h"

namespace perigee::linkemu {

struct RunFigures {
  EmulatorFigures emulator;
  const std::vector<NodeNamespace>* namespaces = nullptr;
  const std::vector<Supervisor::Node>* nodes = nullptr;
  const Network* network = nullptr;
};

// One line on stderr when the network was not the one that was asked for: packets lost on the
// machine itself, or 1 in 100 over a millisecond late.
void WarnIfInexact(const RunFigures& figures);

class RunReport {
 public:
  // Starts measuring the machine.
  explicit RunReport(const RunOptions& options);
  absl::Status Write(const RunFigures& figures);

  // Also the answer to a status command.
  static nlohmann::ordered_json Fields(const RunFigures& figures);

 private:
  std::string path_;
  Report report_;
  absl::Time start_;
};

}  // namespace perigee::linkemu
