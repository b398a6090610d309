// A trainer's incarnations, one after the other, and how it sleeps with the whole job.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/coordinator.h"
#include "runtime/host/trainer.h"
#include "runtime/orbit/plan_file.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

// A member that was taken out this close to its dark interval was taken out because of it.
constexpr absl::Duration kDarkLeadMax = kDepartureMax;

}  // namespace

absl::StatusOr<TrainingResult> Trainer::Run() {
  absl::Time rejoin_by = absl::InfinitePast();  // the first join is not tried again
  if (!options_.state_dir.empty()) {
    PERIGEE_ASSIGN_OR_RETURN(sleep_, ReadSleep(options_.state_dir, node()));
  }
  if (sleep_) {
    WaitWhileAsleep();
    rejoin_by = Now() + options_.rejoin_deadline;
  }
  for (;;) {
    absl::StatusOr<Outcome> outcome = RunAsMember();
    const bool was_member = comm_ != nullptr;
    if (outcome.ok() && *outcome == Outcome::kLeft && left_->resumption) {
      const absl::Status asleep = FallAsleep();
      if (!asleep.ok()) outcome = asleep;
    }
    EndIncarnation();
    if (!outcome.ok()) {
      const bool may_wait =
          absl::IsUnavailable(outcome.status()) || absl::IsDeadlineExceeded(outcome.status());
      if (was_member || !may_wait || Now() >= rejoin_by) return outcome.status();
      on_notice_("waiting", std::string(outcome.status().message()));
      continue;
    }
    if (*outcome == Outcome::kFinished) break;
    on_notice_(left_->planned ? "left" : "removed", left_->reason);
    if (!left_->may_rejoin) {
      return absl::FailedPreconditionError(
          absl::StrCat("the coordinator does not want this member back: ", left_->reason));
    }
    if (sleep_) {
      WaitWhileAsleep();
    } else if (left_->planned) {
      WaitWhileDark();
    }
    rejoin_by = Now() + options_.rejoin_deadline;
  }
  return TrainingResult{.digest = state_.Digest(), .steps = steps_applied_, .counters = counters_};
}

absl::StatusOr<Trainer::Outcome> Trainer::RunAsMember() {
  PERIGEE_RETURN_IF_ERROR(Join());
  if (left_) return Outcome::kLeft;
  while (step_.value() < options_.steps) {
    PERIGEE_ASSIGN_OR_RETURN(const Outcome outcome, RunStep());
    if (outcome == Outcome::kLeft) return outcome;
  }
  PERIGEE_ASSIGN_OR_RETURN(const Outcome outcome, CommitLast());
  if (outcome == Outcome::kLeft) return outcome;
  // Everybody has every result; what is missing are acknowledgements that nobody waits for.
  comm_->Close(kCloseDeadline).IgnoreError();
  return Outcome::kFinished;
}

void Trainer::EndIncarnation() {
  if (comm_ == nullptr) return;
  calendar_ = comm_->Calendar();
  perigee::Add(counters_, comm_->counters());
  comm_.reset();
}

void Trainer::WaitWhileDark() {
  const absl::Time now = calendar_.Now();
  const std::optional<DarkInterval> dark = plan_.CurrentOrNextDark(options_.communicator.node, now);
  if (!dark || dark->begins - now > kDarkLeadMax) return;
  on_notice_("dark", absl::StrCat("until ", absl::FormatTime(dark->ends, absl::UTCTimeZone())));
  absl::SleepFor(dark->ends - now);
}

// ---- Sleeping with the whole job. ----

absl::Status Trainer::FallAsleep() {
  const View& view = left_->resumption->proposal.view;
  if (step_ != view.first_step) {
    on_notice_("left", absl::StrCat("at step ", step_.value(), ", where ", ToString(view),
                                    " sleeps: this member comes back as a newcomer"));
    return absl::OkStatus();
  }
  sleep_ = Sleep{*left_->resumption, PackState()};
  return options_.state_dir.empty() ? absl::OkStatus()
                                    : WriteSleep(options_.state_dir, node(), *sleep_);
}

absl::Status Trainer::BeginNextLife(const Sleep& sleep) {
  if (sleep.state.size() != PackState().size()) {
    return absl::FailedPreconditionError(absl::StrCat(
        SleepPath(options_.state_dir, node()), ": a state of ", sleep.state.size(), " bytes, not ",
        PackState().size(), ": of another task? Remove it to join as a newcomer"));
  }
  options_.communicator.resumption = sleep.resumption;
  // From here on there is no way back into that life.
  return options_.state_dir.empty() ? absl::OkStatus() : EndSleep(options_.state_dir, node());
}

void Trainer::WaitWhileAsleep() {
  const Resumption& resumption = sleep_->resumption;
  const absl::StatusOr<ContactPlan> plan =
      ParseContactPlan(resumption.welcome.plan_text, "plan of the coordinator", calendar_.Now());
  const absl::Time wakes = WakesAt(resumption, node(), plan.value_or(ContactPlan()));
  on_notice_("asleep", absl::StrCat("until ", absl::FormatTime(wakes, absl::UTCTimeZone())));
  absl::SleepFor(wakes - calendar_.Now());
}

absl::Duration Trainer::StepDeadline() const {
  return woken_ ? std::max(options_.step_deadline, options_.rejoin_deadline)
                : options_.step_deadline;
}

}  // namespace perigee
