#include "collectives/schedule_building.h"

#include <algorithm>

#include "transport/base/status.h"

namespace perigee {

ChunkRange PartOf(const ChunkRange& range, size_t parts, size_t index) {
  PERIGEE_CHECK(index < parts);
  const size_t length = range.count / parts;
  const size_t longer = range.count % parts;
  return {.offset = range.offset + index * length + std::min(index, longer),
          .count = length + (index < longer ? 1 : 0)};
}

std::vector<ChunkRange> CutEvenly(size_t element_count, size_t chunk_elements) {
  PERIGEE_CHECK(chunk_elements > 0);
  const size_t parts =
      std::max<size_t>(1, element_count / chunk_elements + (element_count % chunk_elements != 0));
  std::vector<ChunkRange> chunks;
  chunks.reserve(parts);
  for (size_t i = 0; i < parts; ++i) chunks.push_back(PartOf({0, element_count}, parts, i));
  return chunks;
}

uint32_t AddStep(std::vector<Step>& steps, Step::Kind kind, Rank peer, ChunkId chunk, Phase phase) {
  Step& step = steps.emplace_back();
  step.kind = kind;
  step.peer = peer;
  step.chunk = chunk;
  step.phase = phase;
  return static_cast<uint32_t>(steps.size() - 1);
}

}  // namespace perigee
