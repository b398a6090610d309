#include <algorithm>

#include "collectives/schedule.h"
#include "collectives/schedule_building.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

using Kind = Step::Kind;

Schedule EmptyBroadcast(const ScheduleShape& shape, Rank root, const std::string& algorithm) {
  PERIGEE_CHECK(root.value() < shape.rank_count);
  Schedule schedule = {.kind = CollectiveKind::kBroadcast,
                       .algorithm = algorithm,
                       .rank_count = shape.rank_count,
                       .element_count = shape.element_count,
                       .chunks = CutEvenly(shape.element_count, shape.chunk_elements),
                       .by_rank = {}};
  schedule.by_rank.resize(shape.rank_count);
  return schedule;
}

// The step that makes the final at a rank: own data at the root, a copy from `from` elsewhere.
uint32_t AddFinal(std::vector<Step>& steps, ChunkId chunk, Rank self, Rank from) {
  const Kind kind = self == from ? Kind::kFinalize : Kind::kReceiveCopy;
  return AddStep(steps, kind, from, chunk, Phase::kBroadcast);
}

void AddSend(std::vector<Step>& steps, ChunkId chunk, Rank to, uint32_t after) {
  const uint32_t send = AddStep(steps, Kind::kSend, to, chunk, Phase::kBroadcast);
  steps[send].after.push_back(after);
}

}  // namespace

Schedule ChainBroadcast(const ScheduleShape& shape, Rank root) {
  Schedule schedule = EmptyBroadcast(shape, root, "chain");
  const uint32_t rank_count = shape.rank_count;
  for (uint32_t hop = 0; hop < rank_count; ++hop) {
    const Rank self((root.value() + hop) % rank_count);
    const Rank from(hop == 0 ? self.value() : (root.value() + hop - 1) % rank_count);
    const Rank to((root.value() + hop + 1) % rank_count);
    std::vector<Step>& steps = schedule.by_rank[self.value()];
    for (uint32_t chunk = 0; chunk < schedule.chunks.size(); ++chunk) {
      const uint32_t made = AddFinal(steps, ChunkId(chunk), self, from);
      if (hop + 1 == rank_count) continue;
      AddSend(steps, ChunkId(chunk), to, made);
    }
  }
  return schedule;
}

Schedule StarBroadcast(const ScheduleShape& shape, Rank root, const std::vector<Rank>& receivers) {
  Schedule schedule = EmptyBroadcast(shape, root, "star");
  std::vector<Rank> others = receivers;
  std::sort(others.begin(), others.end());
  others.erase(std::unique(others.begin(), others.end()), others.end());
  others.erase(std::remove(others.begin(), others.end(), root), others.end());
  std::vector<Step>& root_steps = schedule.by_rank[root.value()];
  for (uint32_t chunk = 0; chunk < schedule.chunks.size(); ++chunk) {
    const uint32_t made = AddFinal(root_steps, ChunkId(chunk), root, root);
    for (Rank receiver : others) {
      PERIGEE_CHECK(receiver.value() < shape.rank_count);
      AddSend(root_steps, ChunkId(chunk), receiver, made);
      AddFinal(schedule.by_rank[receiver.value()], ChunkId(chunk), receiver, root);
    }
  }
  return schedule;
}

}  // namespace perigee
