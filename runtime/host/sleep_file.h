// What a member leaves on its disk while the whole job sleeps (hibernation.h): how its next life
// begins, and the training state. Without it a process that is started after the dark is a newcomer
// like any other; if all were, the job would be lost.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/hibernation.h"
#include "transport/base/ids.h"

namespace perigee {

struct Sleep {
  Resumption resumption;
  std::vector<uint8_t> state;  // after all steps before the first one of the view
};

// `folder`/node-7.sleep.
std::string SleepPath(const std::string& folder, NodeId node);
// On the disk when it returns, whole or not at all. Unavailable, naming the file and the cause.
absl::Status WriteSleep(const std::string& folder, NodeId node, const Sleep& sleep);
// Nothing where there is none. DataLoss where the file is damaged or of another node; Unavailable
// where it cannot be read.
absl::StatusOr<std::optional<Sleep>> ReadSleep(const std::string& folder, NodeId node);
// Takes it off the disk, for good: before the next life says a word, so that none begins twice.
// Fine where there is none.
absl::Status EndSleep(const std::string& folder, NodeId node);

}  // namespace perigee
