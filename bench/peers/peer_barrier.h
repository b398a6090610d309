// All members of a comparison run on one machine: before an op they wait for each other in a shared
// file, so that no op's time contains how long another member took to make or check its numbers.
// The links carry nothing for it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace perigee {

class PeerBarrier {
 public:
  // The file `path` has eight bytes per member: the number of the op that it is ready for.
  static absl::StatusOr<std::unique_ptr<PeerBarrier>> Open(const std::string& path, uint32_t rank,
                                                           uint32_t nodes);
  ~PeerBarrier();

  // Returns when all members have called it with `op` or a later one. `op` counts from 1.
  void Wait(uint64_t op);

 private:
  PeerBarrier(uint64_t* ready, uint32_t rank, uint32_t nodes)
      : ready_(ready), rank_(rank), nodes_(nodes) {}

  uint64_t* ready_;  // mapped
  uint32_t rank_;
  uint32_t nodes_;
};

}  // namespace perigee
