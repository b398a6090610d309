// How far other clocks are ahead of the own one, from time stamps that go to and fro, and what most
// clocks say. Pure.
//
//   heard.OnMessage(now, waiting);  beat.clock = heard.Report(now);     // at a member
//   estimate.OnReport(now, *beat.clock);                                // at the coordinator
//   estimate.At(now)->ahead == absl::Hours(1)  // give or take estimate.At(now)->bound
//
// With t1 the coordinator's clock when it sent, t2 and t3 the member's when that arrived and when
// it answered, t4 the coordinator's when the answer came (RFC 5905, 8): the round trip without the
// member's pause is r = (t4 - t1) - (t3 - t2), the member's clock is ahead by t3 - (t4 - r / 2),
// and that is wrong by r / 2 at most, however uneven the two ways are.
#pragma once

#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "runtime/control_message.h"

namespace perigee {

struct ClockOffset {
  absl::Duration ahead;  // of the other clock, before the own one
  absl::Duration bound;  // the truth is between ahead - bound and ahead + bound
};

// At a member: the last time that one coordinator, or one that acts for it, told.
class HeardClock {
 public:
  void OnMessage(absl::Time now, const CoordinatorMessage& message);
  // Nothing before a time was told.
  std::optional<ClockReport> Report(absl::Time now) const;

 private:
  std::optional<absl::Time> clock_;
  absl::Time at_;
};

// At the coordinator: one member's clock. The best sample stays until a newer one is as good, for
// two clocks drift apart; and it goes at once when a newer one contradicts it.
class ClockEstimate {
 public:
  static constexpr double kDrift = 100e-6;
  // Time stamps are those of a turn of a loop.
  static constexpr absl::Duration kResolution = absl::Milliseconds(1);

  // Reports that make no sense, as of time stamps that another coordinator told, change nothing.
  void OnReport(absl::Time now, const ClockReport& report);
  // Nothing before the first report.
  std::optional<ClockOffset> At(absl::Time now) const;

 private:
  ClockOffset best_;
  std::optional<absl::Time> best_at_;
};

// How far calendar time is ahead of the own clock, where clocks are ahead of it by these: the
// median; of an even count the lower of the middle two, so that it is one of the clocks in any
// case. Wrong clocks, fewer than half of them, move it by no more than the right ones differ. None:
// zero.
absl::Duration MedianAhead(std::vector<absl::Duration> ahead);

}  // namespace perigee
