#include "runtime/clock_offset.h"

#include <algorithm>
#include <cstddef>

namespace perigee {

void HeardClock::OnMessage(absl::Time now, const CoordinatorMessage& message) {
  std::optional<absl::Time> told;
  if (const auto* welcome = std::get_if<Welcome>(&message)) told = welcome->clock;
  if (const auto* waiting = std::get_if<Waiting>(&message)) told = waiting->clock;
  if (!told) return;
  clock_ = told;
  at_ = now;
}

std::optional<ClockReport> HeardClock::Report(absl::Time now) const {
  if (!clock_) return std::nullopt;
  return ClockReport{.clock = now, .heard = *clock_, .heard_for = now - at_};
}

void ClockEstimate::OnReport(absl::Time now, const ClockReport& report) {
  absl::Duration round_trip = now - report.heard - report.heard_for;
  // Two clocks measure the pause, so a short way may look as if it took less than no time.
  if (report.heard_for < absl::ZeroDuration() || round_trip < -kResolution) return;
  round_trip = std::max(round_trip, absl::ZeroDuration());
  const ClockOffset sample{.ahead = report.clock - (now - round_trip / 2),
                           .bound = std::max(round_trip / 2, kResolution)};
  if (const std::optional<ClockOffset> best = At(now)) {
    const bool contradicts =
        absl::AbsDuration(sample.ahead - best->ahead) > sample.bound + best->bound;
    if (sample.bound > best->bound && !contradicts) return;
  }
  best_ = sample;
  best_at_ = now;
}

std::optional<ClockOffset> ClockEstimate::At(absl::Time now) const {
  if (!best_at_) return std::nullopt;
  return ClockOffset{.ahead = best_.ahead, .bound = best_.bound + kDrift * (now - *best_at_)};
}

absl::Duration MedianAhead(std::vector<absl::Duration> ahead) {
  if (ahead.empty()) return absl::ZeroDuration();
  const auto middle = ahead.begin() + static_cast<ptrdiff_t>((ahead.size() - 1) / 2);
  std::nth_element(ahead.begin(), middle, ahead.end());
  return *middle;
}

}  // namespace perigee
