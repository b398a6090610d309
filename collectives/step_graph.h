// What the step list of one rank implies: who waits for whom inside the rank, which steps make and
// use the partial and the final of a chunk, and which step a transfer belongs to. Built once, in
// one pass; afterwards every event of an op costs a vector access.
//
// Beyond Step::after, the kReceiveReduce steps of one chunk follow each other in list order, so
// that floating-point partials are folded in an order that does not depend on arrival.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "collectives/schedule.h"

namespace perigee {

class StepGraph {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Indexes into the rank's step list, or kNone.
  struct ChunkSteps {
    uint32_t first_receive_reduce = kNone;
    uint32_t last_receive_reduce = kNone;
    uint32_t partial_user = kNone;  // the kSend of phase kReduce, or kFinalize
    uint32_t final_maker = kNone;   // kReceiveCopy or kFinalize
  };
  struct Transfer {
    Rank peer;
    uint32_t step = kNone;
  };

  // Chunk ids and `after` must be in range (Validate); `steps` must outlive the graph.
  StepGraph(const std::vector<Step>& steps, size_t chunk_count);

  // Steps, plus one for a receive's arrival, that must be done before the step starts.
  uint32_t WaitsFor(uint32_t step) const { return waits_for_[step]; }
  absl::Span<const uint32_t> Dependents(uint32_t step) const {
    return absl::MakeConstSpan(dependents_)
        .subspan(dependents_begin_[step], dependents_begin_[step + 1] - dependents_begin_[step]);
  }
  const ChunkSteps& chunk(ChunkId chunk) const { return chunks_[chunk.value()]; }
  // One entry per peer: in rings and trees a few.
  absl::Span<const Transfer> Receives(ChunkId chunk, Phase phase) const {
    return Bucket(2 * Slot(chunk, phase));
  }
  absl::Span<const Transfer> Sends(ChunkId chunk, Phase phase) const {
    return Bucket(2 * Slot(chunk, phase) + 1);
  }

 private:
  void IndexChunks(const std::vector<Step>& steps);
  void IndexDependents(const std::vector<Step>& steps);
  void IndexTransfers(const std::vector<Step>& steps);
  static size_t Slot(ChunkId chunk, Phase phase) {
    return size_t{chunk.value()} * 2 + static_cast<size_t>(phase);
  }
  absl::Span<const Transfer> Bucket(size_t bucket) const {
    return absl::MakeConstSpan(transfers_)
        .subspan(transfers_begin_[bucket], transfers_begin_[bucket + 1] - transfers_begin_[bucket]);
  }

  std::vector<ChunkSteps> chunks_;
  std::vector<uint32_t>
      reduce_before_;  // the kReceiveReduce of the same chunk before this one, or kNone
  std::vector<uint32_t> waits_for_;
  std::vector<uint32_t> dependents_begin_;
  std::vector<uint32_t> dependents_;
  std::vector<uint32_t> transfers_begin_;  // by bucket (chunk, phase, direction)
  std::vector<Transfer> transfers_;
};

inline bool IsReceive(const Step& step) {
  return step.kind == Step::Kind::kReceiveReduce || step.kind == Step::Kind::kReceiveCopy;
}

}  // namespace perigee
