// One running collective at one rank: executes the rank's steps of a Schedule. A core without I/O: it is told
// what arrived and asked what to do.
//
//   CollectiveOp op(context, schedule, request);
//   while (auto action = op.NextAction()) ...        // post receives, send, reduce
//   op.OnDelivered(peer, key);  op.OnSent(peer, key);  op.OnReduced(ticket);
//   if (op.finished()) Use(op.result(), op.contributions());
//
// The op never writes to the caller's input and never sends from it: everything that travels lives in memory of
// the op, so the caller's buffers are free as soon as the op is finished, and the op can be repeated from its
// input in another view. The op must outlive its sends: destroy it only after all of them are reported
// (sends_pending() == 0) or cancelled at the endpoint.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "collectives/buffer.h"
#include "collectives/contribution_set.h"
#include "collectives/reduce_kernels.h"
#include "collectives/schedule.h"
#include "transport/endpoint.h"
#include "transport/region.h"

namespace perigee {

// What a member puts into an op.
struct OpInput {
  DType dtype = DType::kF32;
  ReduceOp reduce_op = ReduceOp::kSum;
  ConstBuffer data;               // must stay valid and unchanged until finished() or the op's end
  ContributionSet contributions;  // what `data` holds; empty universe on ranks that only receive
  uint32_t flags = 0;             // OR-ed over all members (FixedPointFlag for training)
  // Digest of (kind, dtype, count, reduce op, root, universe): members that call different things must not meet.
  uint64_t call_digest = 0;
  // All ops up to this one are finished here. The minimum over all members comes back with the finals.
  OpId done_through;
};

struct OpContext {
  OpId op;
  Epoch epoch;
  uint8_t attempt = 0;
  Rank self;
  std::vector<NodeId> nodes;  // by rank
};

struct PostReceiveAction {
  NodeId peer;
  TransferKey key;
  MutableRegion region;
};
struct SendAction {
  NodeId peer;
  TransferKey key;
  ConstRegion region;
};
struct ReduceAction {
  ReduceTask task;  // ticket: unique inside this op
};
using OpAction = std::variant<PostReceiveAction, SendAction, ReduceAction>;

class CollectiveOp {
 public:
  // `schedule` must be valid and outlive the op (the Node caches it). For kBroadcast the data of the root is sent
  // verbatim with its contributions; other ranks' input is ignored.
  CollectiveOp(OpContext context, const Schedule& schedule, const OpInput& input);

  std::optional<OpAction> NextAction();
  void OnDelivered(NodeId peer, const TransferKey& key);
  void OnSent(NodeId peer, const TransferKey& key);
  void OnReduced(uint64_t ticket);

  // All finals are here. Never true together with a failure.
  bool finished() const;
  // DataLoss: a digest did not match. Internal: sets overlap or are incomplete (ours to fix).
  // FailedPrecondition: the members called different things. Names op, chunk and node.
  const absl::Status& status() const { return status_; }
  size_t sends_pending() const { return sends_pending_; }

  // Valid once finished.
  absl::Span<const uint8_t> result() const;
  const ContributionSet& contributions() const;
  uint32_t flags() const;
  // The least `done_through` of all members; OpId() where the op does not tell (broadcasts).
  OpId done_through_all() const;

  // For people: "chunks 3/8, waiting for node 4 (2), node 5 (1)". Nodes in order of rank.
  std::vector<NodeId> WaitingFor() const;
  double Progress() const;  // finals here / chunks
  const OpContext& context() const { return context_; }

 private:
  OpContext context_;
  const Schedule& schedule_;
  OpInput input_;
  absl::Status status_;
  size_t sends_pending_ = 0;
  // ... (chunk states, trailers, staged partials, result)
};

}  // namespace perigee
