// How a vector is cut: into parts as even as possible, the longer ones first.
#pragma once

#include <cstddef>
#include <vector>

#include "collectives/schedule.h"

namespace perigee {

// Part `index` of `range` cut into `parts`; parts differ by at most one element and may be empty.
ChunkRange PartOf(const ChunkRange& range, size_t parts, size_t index);

// Chunks of about `chunk_elements` in order. An empty vector is one empty chunk, so that an op over
// nothing still travels and synchronises its members.
std::vector<ChunkRange> CutEvenly(size_t element_count, size_t chunk_elements);

}  // namespace perigee
