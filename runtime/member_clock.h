// What a member knows of time beside its own clock: the coordinator's, to tell how far apart the
// two are, and the calendar's, which the contact plan is about.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "runtime/clock_offset.h"
#include "runtime/control_message.h"

namespace perigee {

class MemberClock {
 public:
  // A stream to the coordinator begins: it may be another one, with another clock.
  void OnConnected() { coordinator_ = HeardClock(); }
  void OnCoordinator(absl::Time now, const CoordinatorMessage& message) {
    coordinator_.OnMessage(now, message);
  }
  // By the coordinator, or by a member that acts for it.
  void OnWaiting(const Waiting& waiting) {
    if (waiting.calendar_ahead) ahead_ = waiting.calendar_ahead;
  }

  std::optional<ClockReport> Report(absl::Time now) const { return coordinator_.Report(now); }
  // What was told last; before that the own clock.
  absl::Time Calendar(absl::Time now) const { return now + ahead_.value_or(absl::ZeroDuration()); }
  std::optional<absl::Duration> calendar_ahead() const { return ahead_; }

 private:
  HeardClock coordinator_;
  std::optional<absl::Duration> ahead_;
};

}  // namespace perigee
