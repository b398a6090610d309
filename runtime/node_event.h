// What a Node (node.h) is asked to compute, and what it tells its driver.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "collectives/buffer.h"
#include "collectives/contribution_set.h"
#include "collectives/reduce_kernels.h"
#include "collectives/schedule.h"
#include "runtime/control_message.h"
#include "runtime/hibernation.h"
#include "transport/base/ids.h"

namespace perigee {

// What happens to an op whose view loses a member before the result is decided.
enum class FailurePolicy : uint8_t {
  // Repeat from the same input among the members that are left.
  kAllOrNothing,
  // Ask the caller first (OpNeedsInput): it takes over the lost contributions and calls Resume.
  kFullSet,
};

// Buffers stay valid until OpFinished; `input` unchanged. They may be the same memory.
struct CollectiveRequest {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  ReduceOp reduce_op = ReduceOp::kSum;
  ConstBuffer input;
  Buffer output;
  NodeId root;  // kBroadcast
  std::optional<StepId>
      step;  // not decreasing from call to call; by default every call is a step of its own
  // kFullSet: what `input` holds, over the contributions of the step. kAllOrNothing: left empty,
  // the ranks count.
  ContributionSet contributions;
  uint32_t flags = 0;
  FailurePolicy policy = FailurePolicy::kAllOrNothing;
  // kFullSet: the view among whose members the contributions were dealt. Where the op is about to
  // begin in another one, OpNeedsInput comes first. Epoch 0: whichever view it begins in.
  Epoch dealt_in;
};

struct OpFinished {
  OpId op;
  absl::Status status;
  Epoch epoch;                    // the view whose members it sums over
  ContributionSet contributions;  // ranks of that view, or contributions of the step
  uint32_t flags = 0;
};
struct OpNeedsInput {
  OpId op;
  Epoch epoch;  // of the view in which it will go on
};
struct ViewChanged {
  Proposal proposal;
  std::vector<NodeId> newcomers;  // members that the view before did not have: they need the state
};
// This incarnation is out of the job. Planned: everything it took part in is stable.
struct LeftView {
  bool planned = false;
  bool may_rejoin = true;
  std::string reason;
  // The job sleeps: keep it, with the state after all steps before that of its view, and begin the
  // next life with it (Node::Wake) when the view's time to wake has come.
  std::optional<Resumption> resumption = {};
};
struct PlanReceived {
  std::string text;
};
struct StateSent {
  NodeId peer;
};
struct StateReceived {
  absl::Status status;
};
using NodeEvent = std::variant<OpFinished, OpNeedsInput, ViewChanged, LeftView, PlanReceived,
                               StateSent, StateReceived>;

}  // namespace perigee
