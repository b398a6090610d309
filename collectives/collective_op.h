// One running collective at one rank: executes the rank's steps of a Schedule. A core without I/O:
// it is told what arrived and asked what to do.
//
//   CollectiveOp op(context, schedule, request);
//   while (auto action = op.NextAction()) ...        // post receives, send, reduce
//   op.OnDelivered(peer, key);  op.OnSent(peer, key);  op.OnReduced(ticket);
//   if (op.finished()) Use(op.result(), op.contributions());
//
// The op never writes to the caller's input and never sends from it: everything that travels lives
// in memory of the op, so the caller's buffers are free as soon as the op is finished, and the op
// can be repeated from its input in another view. The op must outlive its sends: destroy it only
// after all of them are reported (sends_pending() == 0) or cancelled at the endpoint.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "collectives/buffer.h"
#include "collectives/contribution_set.h"
#include "collectives/frame.h"
#include "collectives/reduce_kernels.h"
#include "collectives/schedule.h"
#include "collectives/step_graph.h"
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
  // Digest of (kind, dtype, count, reduce op, root, universe): members that call different things
  // must not meet.
  uint64_t call_digest = 0;
  // All ops up to this one are finished here. The minimum over all members comes back with the
  // finals.
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
  // `schedule` must be valid and outlive the op (the Node caches it). For kBroadcast the data of
  // the root is sent verbatim with its contributions; of other ranks' input only dtype and
  // call_digest matter. A rank without steps is finished at once, with an empty result.
  CollectiveOp(OpContext context, const Schedule& schedule, const OpInput& input);

  // From now on the same input is read at `data` (the caller wants its buffer back). Reductions
  // that were handed out before still name the old place.
  void MoveInput(const void* data) { input_.data.data = data; }

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

  // For people: the nodes whose messages are not here yet, in order of rank.
  std::vector<NodeId> WaitingFor() const;
  double Progress() const;  // finals here / chunks
  const OpContext& context() const { return context_; }

 private:
  enum class StepStage : uint8_t { kWaiting, kQueued, kActive, kDone };
  struct StepState {
    uint32_t waits_for = 0;
    StepStage stage = StepStage::kWaiting;
    bool arrived = false;                // receives: the message is here
    std::unique_ptr<uint8_t[]> staging;  // a received partial that is kept apart from the chunk's
  };
  struct ChunkState {
    Frame frame;  // of the partial, once own input counts as in
    bool own_in = false;
    std::unique_ptr<uint8_t[]>
        partial;  // until it is sent; at the root the partial lives in the result
  };

  const std::vector<Step>& steps() const { return schedule_.by_rank[context_.self.value()]; }
  const ChunkRange& range(ChunkId chunk) const { return schedule_.chunks[chunk.value()]; }
  size_t BytesOf(ChunkId chunk) const { return range(chunk).count * element_bytes_; }
  const uint8_t* InputOf(ChunkId chunk) const;
  uint8_t* ResultOf(ChunkId chunk) const;
  uint8_t* PartialOf(ChunkId chunk) const;  // in the result at the root
  bool IsRootOf(ChunkId chunk) const;
  absl::Span<uint8_t> TrailerOf(uint32_t step) const;
  TransferKey KeyOf(const Step& step) const;
  NodeId PeerOf(const Step& step) const { return context_.nodes[step.peer.value()]; }

  void PrepareMemory();
  MutableRegion ReceiveRegion(uint32_t step) const;
  ConstRegion SendRegion(uint32_t step) const;
  ReduceTask TaskOf(uint32_t step) const;

  // The step that `key` from or to `peer` belongs to; kNone if it is not of this op.
  uint32_t FindStep(NodeId peer, const TransferKey& key, bool receive) const;
  void Satisfy(uint32_t step);  // one of the things that the step waits for is there
  void RunReady();
  void Start(uint32_t step);
  void StartSend(uint32_t step);
  void Finalize(uint32_t step);
  void Complete(uint32_t step);

  Frame& PartialFrame(ChunkId chunk);  // begins with the own input
  void TakeFrame(uint32_t step);
  void TakePartial(uint32_t step, const Frame& frame);
  void TakeFinal(uint32_t step, const Frame& frame);
  std::string Where(const Step& step) const;  // "op 5.0 chunk 3 from node 2"
  void Fail(absl::Status status);

  OpContext context_;
  const Schedule& schedule_;
  OpInput input_;
  StepGraph graph_;
  size_t element_bytes_;
  size_t trailer_bytes_;
  absl::Status status_;
  size_t sends_pending_ = 0;  // queued or handed out, and not reported as sent
  size_t finals_expected_ = 0;
  size_t finals_here_ = 0;

  std::vector<StepState> states_;
  std::vector<ChunkState> chunks_;
  std::unique_ptr<uint8_t[]> trailers_;  // one slot per step
  std::unique_ptr<uint8_t[]> result_;    // null if no final comes to this rank
  std::vector<uint32_t> ready_;          // steps whose conditions are met, not yet started
  uint32_t next_post_ = 0;               // receives before this step are posted
  std::deque<uint32_t> queue_;  // sends and reductions to hand out; each step is in it at most once

  ContributionSet contributions_;
  uint32_t flags_ = 0;
  OpId done_through_all_;
};

}  // namespace perigee
