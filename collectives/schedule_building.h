// What the makers of schedules share: cutting a vector into chunks, and appending steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "collectives/schedule.h"

namespace perigee {

// Part `index` of `range` cut into `parts`; parts differ by at most one element, the longer ones
// come first, and some are empty when there are more parts than elements.
ChunkRange PartOf(const ChunkRange& range, size_t parts, size_t index);

// Chunks of at most `chunk_elements` in order. An empty vector is one empty chunk, so that an op
// over nothing still travels and synchronises its members.
std::vector<ChunkRange> CutEvenly(size_t element_count, size_t chunk_elements);

// Appends a step that waits for nothing yet, and returns its index.
uint32_t AddStep(std::vector<Step>& steps, Step::Kind kind, Rank peer, ChunkId chunk, Phase phase);

}  // namespace perigee
