// What operators are shown, taken from the coordinator's state. Runs on the coordinator's thread;
// bounded, so that one question costs the members little.
#pragma once

#include <cstddef>

#include "absl/time/time.h"
#include "proto/control.pb.h"
#include "runtime/control/refusals.h"
#include "runtime/coordinator.h"

namespace perigee {

inline constexpr size_t kViewRowsMax = 100;
inline constexpr size_t kOpRowsMax = 10000;

// The coordinator as its operator started it.
struct CoordinatorInfo {
  std::string listen;
  absl::Time started;
};

proto::StatusReply StatusOf(absl::Time now, const Coordinator& coordinator,
                            const CoordinatorInfo& info);
// Those that have happened.
void SetRefusals(const Refusals::Counts& counts, proto::StatusReply* reply);
proto::NodesReply NodesOf(absl::Time now, const Coordinator& coordinator);
proto::ViewsReply ViewsOf(absl::Time now, const Coordinator& coordinator);
proto::OpsReply OpsOf(absl::Time now, const Coordinator& coordinator);
proto::Event ToProto(const CoordinatorEvent& event);

}  // namespace perigee
