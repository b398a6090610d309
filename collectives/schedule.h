// A collective as data: per rank, an ordered list of steps over chunks. One engine
// (collective_op.h) executes it for every algorithm; Validate runs it on symbolic contributor sets
// before anything is sent.
//
//   Schedule schedule = RingAllReduce({.rank_count = 6, .element_count = n, .chunk_elements = c});
//   PERIGEE_RETURN_IF_ERROR(Validate(schedule));
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "transport/base/ids.h"
#include "transport/endpoint.h"

namespace perigee {

// One action of one rank (steps of the training are StepId).
struct Step {
  enum class Kind : uint8_t {
    kSend,           // phase kReduce: the partial of the chunk; phase kBroadcast: its final
    kReceiveReduce,  // partial = received + partial (own input first, if it is not in yet)
    kReceiveCopy,    // the final arrives
    kFinalize,  // the partial (own input, if nothing was received) becomes the final: only at the
                // chunk's root
  };
  Kind kind = Kind::kSend;
  Rank peer;  // unused by kFinalize
  ChunkId chunk;
  Phase phase = Phase::kReduce;
  // Indexes of steps of the same rank that must be done before this one starts: at least the one
  // that makes what this one sends or finalizes. Receives are posted at once; a send is done when
  // the peer has it all.
  absl::InlinedVector<uint32_t, 2> after;
};

struct ChunkRange {
  size_t offset = 0;  // in elements
  size_t count = 0;
};

enum class CollectiveKind : uint8_t { kAllReduce, kBroadcast };

struct Schedule {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  std::string algorithm;  // "ring"
  uint32_t rank_count = 0;
  size_t element_count = 0;
  std::vector<ChunkRange> chunks;
  std::vector<std::vector<Step>> by_rank;

  // Upper bound of the engine's own tensor memory at one rank, in bytes: the result, one staged
  // partial per chunk that passes through (and per further child), and the trailers of its
  // transfers.
  size_t MemoryBytes(Rank rank, size_t element_bytes) const;
};

struct ScheduleShape {
  uint32_t rank_count = 1;
  size_t element_count = 0;
  size_t chunk_elements = 1;  // aimed at; at least 1
};

// Segment s of the vector travels s+1, s+2, ..., s while it is reduced and from s around again as
// the final; every segment is cut into chunks that follow each other in a pipeline. 2(N-1) hops,
// 2(N-1)/N of the bytes per link.
Schedule RingAllReduce(const ScheduleShape& shape);
// root -> root+1 -> ... in a pipeline of chunks.
Schedule ChainBroadcast(const ScheduleShape& shape, Rank root);
// root -> each of `receivers`: a result is handed to those who miss it.
Schedule StarBroadcast(const ScheduleShape& shape, Rank root, const std::vector<Rank>& receivers);

// Executes the schedule on contributor sets, with every interleaving reduced to dependency order:
// each send meets exactly one receive of the same (chunk, phase), sets are disjoint when merged,
// finals hold all ranks (kAllReduce) or the root's data (kBroadcast), `after` has no cycle, chunks
// tile [0, element_count). `complete_at` lists the ranks that must end with every final; empty
// means all.
absl::Status Validate(const Schedule& schedule, const std::vector<Rank>& complete_at = {});

// One line per step, to read and diff: "rank 2: 5 send reduce chunk 3 -> 4 after 4".
std::string ToText(const Schedule& schedule);

}  // namespace perigee
