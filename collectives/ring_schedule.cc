#include <algorithm>

#include "collectives/schedule.h"
#include "collectives/schedule_building.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// A chunk and the segment that it is a piece of. The segment's number is also the rank of the
// chunk's root.
struct Piece {
  ChunkRange range;
  uint32_t segment = 0;
};

// Piece by piece over all segments: low chunk ids, which links prefer, start at every rank at once.
// Empty pieces are left out, but for the only one of an empty vector.
std::vector<Piece> CutIntoPieces(const ScheduleShape& shape) {
  const ChunkRange whole = {0, shape.element_count};
  const ChunkRange longest = PartOf(whole, shape.rank_count, 0);
  const size_t piece_count = CutEvenly(longest.count, shape.chunk_elements).size();
  std::vector<Piece> pieces;
  for (size_t piece = 0; piece < piece_count; ++piece) {
    for (uint32_t segment = 0; segment < shape.rank_count; ++segment) {
      const ChunkRange range = PartOf(PartOf(whole, shape.rank_count, segment), piece_count, piece);
      const bool only = piece == 0 && segment == 0;
      if (range.count > 0 || only) pieces.push_back({range, segment});
    }
  }
  return pieces;
}

class RingRank {
 public:
  RingRank(Rank self, uint32_t rank_count) : self_(self.value()), rank_count_(rank_count) {}

  void AddSteps(ChunkId chunk, uint32_t root, std::vector<Step>& steps) const {
    const uint32_t partial = AddReceive(chunk, root, steps);
    const uint32_t final =
        self_ == root ? AddFinalize(chunk, partial, steps) : AddPassing(chunk, partial, steps);
    if (Right(self_) == root) return;
    const uint32_t send =
        AddStep(steps, Step::Kind::kSend, Rank(Right(self_)), chunk, Phase::kBroadcast);
    steps[send].after.push_back(final);
  }

 private:
  static constexpr uint32_t kNothing = UINT32_MAX;

  // Nothing is received where the chunk sets out.
  uint32_t AddReceive(ChunkId chunk, uint32_t root, std::vector<Step>& steps) const {
    if (self_ == Right(root)) return kNothing;
    return AddStep(steps, Step::Kind::kReceiveReduce, Left(), chunk, Phase::kReduce);
  }

  uint32_t AddFinalize(ChunkId chunk, uint32_t partial, std::vector<Step>& steps) const {
    const uint32_t finalize =
        AddStep(steps, Step::Kind::kFinalize, Rank(self_), chunk, Phase::kBroadcast);
    if (partial != kNothing) steps[finalize].after.push_back(partial);
    return finalize;
  }

  // The partial goes on to the right, the final comes from the left.
  uint32_t AddPassing(ChunkId chunk, uint32_t partial, std::vector<Step>& steps) const {
    const uint32_t send =
        AddStep(steps, Step::Kind::kSend, Rank(Right(self_)), chunk, Phase::kReduce);
    if (partial != kNothing) steps[send].after.push_back(partial);
    return AddStep(steps, Step::Kind::kReceiveCopy, Left(), chunk, Phase::kBroadcast);
  }

  uint32_t Right(uint32_t rank) const { return (rank + 1) % rank_count_; }
  Rank Left() const { return Rank((self_ + rank_count_ - 1) % rank_count_); }

  uint32_t self_;
  uint32_t rank_count_;
};

}  // namespace

Schedule RingAllReduce(const ScheduleShape& shape) {
  PERIGEE_CHECK(shape.rank_count > 0);
  PERIGEE_CHECK(shape.chunk_elements > 0);
  const std::vector<Piece> pieces = CutIntoPieces(shape);
  Schedule schedule = {.kind = CollectiveKind::kAllReduce,
                       .algorithm = "ring",
                       .rank_count = shape.rank_count,
                       .element_count = shape.element_count,
                       .chunks = {},
                       .by_rank = {}};
  schedule.by_rank.resize(shape.rank_count);
  schedule.chunks.reserve(pieces.size());
  for (const Piece& piece : pieces) schedule.chunks.push_back(piece.range);
  for (uint32_t rank = 0; rank < shape.rank_count; ++rank) {
    const RingRank ring_rank(Rank(rank), shape.rank_count);
    std::vector<Step>& steps = schedule.by_rank[rank];
    steps.reserve(pieces.size() * 4);
    for (uint32_t chunk = 0; chunk < pieces.size(); ++chunk) {
      ring_rank.AddSteps(ChunkId(chunk), pieces[chunk].segment, steps);
    }
  }
  return schedule;
}

}  // namespace perigee
