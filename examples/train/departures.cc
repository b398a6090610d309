#include "examples/train/departures.h"

namespace perigee {

Departures::Departures(uint32_t nodes, uint64_t steps, Rng rng)
    : nodes_(nodes), steps_(steps - steps / 4), rng_(rng) {}

std::optional<DrainRequest> Departures::Next(absl::Time now, const JobState& state) {
  if (!state.step) return std::nullopt;
  const bool whole = state.members == nodes_;
  if (whole && (phase_ == Phase::kUndraining || phase_ == Phase::kReturning)) {
    ++count_;
    phase_ = Phase::kWhole;
    due_ = now + rng_.Unit() * kPauseMax;
  }
  if (phase_ == Phase::kWhole && whole && now >= due_ && *state.step < steps_) {
    phase_ = Phase::kDraining;
    node_ = static_cast<uint32_t>(rng_.Below(nodes_));
  } else if (phase_ == Phase::kOut && !whole && now >= due_) {
    // The steps show it, too: from now on, whole means that it is back.
    phase_ = Phase::kUndraining;
  }
  if (phase_ != Phase::kDraining && phase_ != Phase::kUndraining) return std::nullopt;
  if (now < due_) return std::nullopt;
  due_ = now + kAgain;
  return DrainRequest{.drain = phase_ == Phase::kDraining, .node = node_};
}

void Departures::OnAnswer(absl::Time now, bool ok) {
  if (!ok) {
    due_ = now + kAgain;
  } else if (phase_ == Phase::kDraining) {
    phase_ = Phase::kLeaving;
  } else if (phase_ == Phase::kUndraining) {
    phase_ = Phase::kReturning;
  }
}

void Departures::OnLeft(absl::Time now, uint32_t node) {
  if (node != node_ || (phase_ != Phase::kDraining && phase_ != Phase::kLeaving)) return;
  phase_ = Phase::kOut;
  due_ = now + rng_.Unit() * kPauseMax;
}

}  // namespace perigee
