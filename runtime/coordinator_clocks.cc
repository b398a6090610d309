// Calendar time, at the coordinator and at a member that acts for it: the median of the own clock
// and those of the view's members, so that one wrong clock, the own one included, moves nothing.
// Clocks that are known badly do not count; neither do those that are far from what most say, which
// people are told of. The calendar is used once every member of the view that is here, and a
// majority, has told its clock, or has had a lease's time to; from then on members come and go
// without a pause, and while only a minority is known (they sleep) it goes on as it was.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/coordinator.h"

namespace perigee {
namespace {

// Smaller differences are noise of the measurement: the calendar stays as it is.
constexpr absl::Duration kCalendarStep = absl::Milliseconds(20);
// A clock that was off is used again when it is this much better than it must be.
constexpr double kUsedAgain = 0.75;

std::string Seconds(absl::Duration time) {
  return absl::StrFormat("%.1fs", absl::ToDoubleSeconds(time));
}

std::string WhyUnused(const ClockOffset& clock) {
  if (clock.bound > Coordinator::kClockBoundMax) {
    return absl::StrCat("is known to ", Seconds(clock.bound), " only");
  }
  const char* which = clock.ahead > absl::ZeroDuration() ? " ahead of" : " behind";
  return absl::StrCat("is ", Seconds(absl::AbsDuration(clock.ahead)), which, " the others");
}

bool IsUnused(const ClockOffset& clock, bool before) {
  const double limit = before ? kUsedAgain : 1;
  return clock.bound > limit * Coordinator::kClockBoundMax ||
         absl::AbsDuration(clock.ahead) > limit * Coordinator::kClockAheadMax;
}

// Those far off count to find out what most clocks say, and not beyond.
absl::Duration WithoutOutliers(std::vector<absl::Duration> ahead) {
  const absl::Duration most = MedianAhead(ahead);
  std::erase_if(ahead, [&](absl::Duration clock) {
    return absl::AbsDuration(clock - most) > Coordinator::kClockAheadMax;
  });
  return MedianAhead(std::move(ahead));
}

}  // namespace

std::optional<ClockOffset> Coordinator::ClockOf(absl::Time now, const MemberRecord& record) const {
  std::optional<ClockOffset> clock = record.clock.At(now);
  if (state_.calendar_unknown || !clock) return std::nullopt;
  clock->ahead -= state_.calendar_ahead;
  return clock;
}

void Coordinator::FollowClocks(absl::Time now) {
  if (now < clocks_at_ || CurrentView() == nullptr) return;
  clocks_at_ = now + options_.beat_interval;
  std::vector<absl::Duration> ahead;
  bool all_known = true;
  // A member that acts is in the view itself.
  const bool own = CurrentView()->Find(options_.self) == nullptr;
  if (own) ahead.push_back(absl::ZeroDuration());
  for (const auto& [node, record] : state_.members) {
    if (!InView(record)) continue;
    const std::optional<ClockOffset> clock = record.clock.At(now);
    if (clock && clock->bound <= kClockBoundMax) ahead.push_back(clock->ahead);
    if (!clock && record.stream) all_known = false;
  }
  const bool majority = 2 * ahead.size() > CurrentView()->size() + (own ? 1 : 0);
  if (state_.view) calendar_by_ = std::min(calendar_by_, now + options_.lease);
  if ((all_known && majority) || now >= calendar_by_) calendar_settled_ = true;
  if (calendar_settled_ && (majority || state_.calendar_unknown)) {
    SetCalendar(WithoutOutliers(std::move(ahead)));
  }
  FollowSteps();
  FlagClocks(now);
}

void Coordinator::SetCalendar(absl::Duration ahead) {
  const bool noise = absl::AbsDuration(ahead - state_.calendar_ahead) < kCalendarStep;
  if (noise && !state_.calendar_unknown) return;
  state_.calendar_ahead = ahead;
  state_.calendar_unknown = false;
  changed_ = true;
}

void Coordinator::FollowSteps() {
  absl::Duration step, op;
  for (const auto& [node, record] : state_.members) {
    if (!InView(record) || !record.stream) continue;
    step = std::max(step, record.beat.step_interval);
    op = std::max(op, record.beat.op_length);
  }
  state_.departure_time = DepartureTime(step, op, options_.steps_ahead);
}

void Coordinator::FlagClocks(absl::Time now) {
  if (state_.calendar_unknown) return;
  const auto flag = [&](const ClockOffset& clock, std::optional<NodeId> node, bool* unused) {
    if (IsUnused(clock, *unused) == *unused) return;
    *unused = !*unused;
    const char* whose = node ? "its clock " : "the coordinator's clock ";
    AddEvent(now, "clock", node,
             *unused ? absl::StrCat(whose, WhyUnused(clock), "; the calendar does not use it")
                     : absl::StrCat(whose, "agrees with the others again"));
  };
  for (auto& [node, record] : state_.members) {
    const std::optional<ClockOffset> clock = ClockOf(now, record);
    if (clock && record.stream) flag(*clock, node, &record.clock_unused);
  }
  if (CurrentView()->Find(options_.self) != nullptr) return;
  flag({.ahead = -state_.calendar_ahead}, std::nullopt, &own_clock_unused_);
}

}  // namespace perigee
