// The loop that every peer runs: warm-up and timed allreduces of each size, each checked.
//
// With a barrier, members agree after each op whether the size goes on: it ends for all after the
// same one. Without, each runs all that was asked for.
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
  // Votes are sets of these.
  static constexpr uint64_t kStop = 1;
  static constexpr uint64_t kNextIsTooLong = 2;
  static constexpr uint64_t kNextIsSlow = 4;  // one op of it uses up the budget

  absl::Status RunSize(size_t index);
  absl::Status RunOp(bool timed, absl::Span<float> input, absl::Span<float> output);
  uint64_t Votes(size_t index, absl::Time begin) const;

  const PeerOptions& options_;
  Collective& collective_;
  std::unique_ptr<PeerBarrier> barrier_;  // null without --barrier
  uint64_t op_ = 0;
  absl::Duration fastest_;  // op of the present size
  bool next_is_too_long_ = false;
  bool next_is_slow_ = false;
};

}  // namespace perigee
