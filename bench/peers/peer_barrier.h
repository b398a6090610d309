// All members of a comparison run on one machine: before an op they wait for each other in a shared
// file, so that no op's time contains how long another member took to make or check its numbers. In
// the same file they agree when to stop. The links carry nothing for it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace perigee {

class PeerBarrier {
 public:
  // The file `path` has 24 bytes per member: how often it has arrived, and its votes of the last
  // two times. A member can be ahead of another by one time, so the votes being read are never
  // overwritten.
  static absl::StatusOr<std::unique_ptr<PeerBarrier>> Open(const std::string& path, uint32_t rank,
                                                           uint32_t nodes);
  ~PeerBarrier();

  // Returns when all members have called it as often: what any of them voted for.
  uint64_t Agree(uint64_t votes);

 private:
  PeerBarrier(uint64_t* memory, uint32_t rank, uint32_t nodes)
      : memory_(memory), rank_(rank), nodes_(nodes) {}
  uint64_t& arrivals(uint32_t rank) { return memory_[rank]; }
  uint64_t& votes(uint32_t rank) { return memory_[(1 + times_ % 2) * nodes_ + rank]; }

  uint64_t* memory_;  // mapped
  uint32_t rank_;
  uint32_t nodes_;
  uint64_t times_ = 0;
};

}  // namespace perigee
