// Planned departures by an operator's hand: one member after the other is drained and, when it is
// out, taken back. Says what to ask for next, and asks nobody itself: an answer may be lost
// together with the coordinator that gave it, so what the job shows counts more.
//
//   Departures departures(nodes, steps, rng);
//   if (std::optional<DrainRequest> request = departures.Next(now, state)) { ... }
//   departures.OnAnswer(now, /*ok=*/true);
//   departures.OnLeft(now, node);
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "examples/train/faults.h"
#include "transport/base/rng.h"

namespace perigee {

struct DrainRequest {
  bool drain = true;  // or undrain
  uint32_t node = 0;
};

class Departures {
 public:
  // Leaves the last quarter of the steps in peace, but for taking back who is out.
  Departures(uint32_t nodes, uint64_t steps, Rng rng);

  // What to ask for now. The same again, every kAgain, until it is answered with success or is
  // seen to have come true.
  std::optional<DrainRequest> Next(absl::Time now, const JobState& state);
  void OnAnswer(absl::Time now, bool ok);
  // The member said that it is out, by plan or because it was taken for lost while it left.
  void OnLeft(absl::Time now, uint32_t node);

  uint32_t count() const { return count_; }  // of members that were out and came back

 private:
  static constexpr absl::Duration kAgain = absl::Milliseconds(200);
  static constexpr absl::Duration kPauseMax = absl::Seconds(2);  // in the job, and out of it

  // In this order, around and around.
  enum class Phase : uint8_t { kWhole, kDraining, kLeaving, kOut, kUndraining, kReturning };

  uint32_t nodes_;
  uint64_t steps_;
  Rng rng_;
  Phase phase_ = Phase::kWhole;
  uint32_t node_ = 0;
  absl::Time due_ = absl::InfinitePast();
  uint32_t count_ = 0;
};

}  // namespace perigee
