// A perigeed of one's own, for programs that run a whole job: benchmarks and examples.
//
//   PERIGEE_ASSIGN_OR_RETURN(PerigeedProcess perigeed,
//                            StartPerigeed({SiblingProgram("perigeed"), "--insecure"}, "log",
//                                          absl::Seconds(20)));
//   ... perigeed.address ...;  perigeed.child.Signal(SIGTERM);
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/cli/child_process.h"

namespace perigee {

struct PerigeedProcess {
  ChildProcess child;
  std::string address;  // "host:port" where it listens
};

// Starts it and waits until it says that it is ready; `argv` and `error_path` as in
// ChildProcess::Start. Unavailable when it is not ready within `deadline`.
absl::StatusOr<PerigeedProcess> StartPerigeed(const std::vector<std::string>& argv,
                                              const std::string& error_path,
                                              absl::Duration deadline);

}  // namespace perigee
