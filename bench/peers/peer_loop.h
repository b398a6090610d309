// The loop that every peer runs: warm-up and timed allreduces of each size, each checked.
//
// Members must agree when to stop, and one that is late must not wait for one that has gone on.
// They vote inside the data: an element of the sum is above zero when anybody wants to stop, and
// all members see the same sum. So a size ends for all after the same op.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "bench/peers/peer.h"
#include "bench/peers/peer_barrier.h"
#include "bench/peers/peer_vector.h"

namespace perigee {

class PeerLoop {
 public:
  PeerLoop(const PeerOptions& options, Collective& collective);

  // All sizes, ascending. Ends at the first error; it is printed.
  absl::Status Run();

 private:
  enum Vote : size_t { kStop, kNextIsTooLong };

  absl::Status RunSize(size_t index);
  absl::Status RunOp(bool timed, absl::Span<float> input, absl::Span<float> output);
  void CastVotes(size_t index, absl::Time begin, absl::Span<float> input) const;

  const PeerOptions& options_;
  Collective& collective_;
  std::unique_ptr<PeerBarrier> barrier_;  // null without --barrier
  uint64_t op_ = 0;
  absl::Duration fastest_;  // op of the present size
  bool next_is_too_long_ = false;
};

}  // namespace perigee
