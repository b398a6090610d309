// A Trainer's step: the members compute, their sum goes around with the digests of the states that
// it was computed from, and where those are equal everybody applies it.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/host/trainer.h"
#include "transport/base/status.h"

namespace perigee {

absl::StatusOr<Trainer::Outcome> Trainer::RunStep() {
  const absl::Time begin = Now();
  report_ = {.step = step_};
  ReadChanges();
  if (left_) return Outcome::kLeft;
  PERIGEE_RETURN_IF_ERROR(ServeNewcomers());
  sum_->Reset();
  PERIGEE_ASSIGN_OR_RETURN(const Outcome reduced, Reduce());
  if (reduced == Outcome::kLeft) return reduced;
  PERIGEE_RETURN_IF_ERROR(ApplyMean());
  const SessionCounters counters = comm_->counters();
  report_.packets_lost = counters.packets_lost;
  report_.packets_repaired = counters.segments_retransmitted;
  report_.bytes = sum_->size() * sizeof(int64_t);
  report_.total = Now() - begin;
  on_step_(report_);
  comm_->SetStats({.training_loss = report_.loss,
                   .allreduce_seconds = absl::ToDoubleSeconds(report_.allreduce),
                   .goodput_bps = 8.0 * static_cast<double>(report_.bytes) /
                                  absl::ToDoubleSeconds(report_.allreduce),
                   .packets_lost = report_.packets_lost,
                   .packets_repaired = report_.packets_repaired});
  step_ = step_.Next();
  woken_ = false;
  dealer_.ForgetBefore(OpStep());
  return Outcome::kFinished;
}

// Nothing is computed from the state after the last step: its digests travel alone.
absl::StatusOr<Trainer::Outcome> Trainer::CommitLast() {
  sum_ = MakeSum();
  PERIGEE_ASSIGN_OR_RETURN(const Outcome reduced, Reduce());
  if (reduced == Outcome::kFinished) comm_->StepDone(OpStep());
  return reduced;
}

// The commit after the last step belongs to that step: its members are there for it.
StepId Trainer::OpStep() const { return StepId(std::min(step_.value(), options_.steps - 1)); }

std::unique_ptr<FixedPointSum> Trainer::MakeSum() const {
  const size_t values = step_.value() < options_.steps ? task_.GradientSize() + 1 : 0;
  return std::make_unique<FixedPointSum>(values, fixed_point_,
                                         FixedPointSum::Words::kPerContribution);
}

// ---- Computing. ----

absl::Status Trainer::ComputeMine() {
  const absl::Time begin = Now();
  absl::Status status = AddMine();
  if (!status.ok()) {
    // It may be the state that is broken, not the task.
    PERIGEE_ASSIGN_OR_RETURN(const bool changed, ApplyAgain());
    if (changed) {
      on_notice_("differs",
                 absl::StrCat("node ", options_.communicator.node.value(), " had other bits than ",
                              AfterStep(), ", which it applied again: ", status.message()));
      status = AddMine();
    }
  }
  report_.compute += Now() - begin;
  return status;
}

absl::Status Trainer::AddMine() {
  const std::vector<MicrobatchId> mine = dealer_.For(OpStep()).Of(options_.communicator.node);
  uint32_t kept = 0;
  for (MicrobatchId m : mine) kept += sum_->contributions().Contains(m.value()) ? 1 : 0;
  if (kept != sum_->contributions().Count()) sum_->Reset();  // the step was dealt anew
  std::vector<MicrobatchId> added;
  for (MicrobatchId m : mine) {
    if (sum_->contributions().Contains(m.value())) continue;
    PERIGEE_RETURN_IF_ERROR(Add(m));
    added.push_back(m);
  }
  // After the computing: bits that flip meanwhile are in the digest, or in the next one.
  if (!added.empty() || mine.empty()) digest_ = state_.Digest();
  for (MicrobatchId m : added) sum_->SetWord(m, digest_);
  return absl::OkStatus();
}

absl::Status Trainer::Add(MicrobatchId microbatch) {
  const size_t size = sum_->value_count() > 0 ? task_.GradientSize() : 0;
  if (size > 0) {
    const absl::Span<float> gradient = absl::MakeSpan(gradient_).first(size);
    PERIGEE_ASSIGN_OR_RETURN(const double loss, task_.ComputeGradient(step_, microbatch, gradient));
    gradient_[size] = static_cast<float>(loss);
    ++report_.computed;
  }
  sum_->Add(microbatch, absl::MakeConstSpan(gradient_).first(sum_->value_count()));
  return absl::OkStatus();
}

// ---- Adding up. ----

CollectiveRequest Trainer::SumRequest() {
  return {.input = {sum_->data().data(), sum_->size(), DType::kI64},
          .output = {reduced_.data(), sum_->size(), DType::kI64},
          .step = OpStep(),
          .contributions = sum_->contributions(),
          .flags = sum_->flags(),
          .policy = FailurePolicy::kFullSet,
          .dealt_in = dealer_.For(OpStep()).epoch};
}

// Until all of the sum comes from equal states, at a scale that it fits into. What happens depends
// on results that all members have, so all of them make the same calls.
absl::StatusOr<Trainer::Outcome> Trainer::Reduce() {
  for (int differing = 0;;) {
    PERIGEE_RETURN_IF_ERROR(ComputeMine());
    const absl::Time begin = Now();
    const absl::StatusOr<OpId> op = comm_->Start(SumRequest());
    if (!op.ok()) return LeftOr(op.status());
    const absl::Duration computed_before = report_.compute;
    absl::StatusOr<Outcome> outcome = WaitForSum(*op);
    if (!outcome.ok() || *outcome == Outcome::kLeft) return outcome;
    report_.allreduce = Now() - begin - (report_.compute - computed_before);
    const StepVerdict verdict = Verdict();
    const bool equal = verdict.kind == StepVerdict::Kind::kEqual;
    outcome = equal ? FollowOthers(verdict) : OnDiffering(verdict, ++differing);
    if (!outcome.ok() || *outcome == Outcome::kLeft) return outcome;
    // What a broken state makes overflow says nothing about the scale.
    if (!equal) continue;
    PERIGEE_ASSIGN_OR_RETURN(const bool again, Overflowed());
    if (!again) return Outcome::kFinished;
  }
}

absl::StatusOr<Trainer::Outcome> Trainer::WaitForSum(OpId op) {
  for (;;) {
    const absl::StatusOr<OpResult> result = comm_->Wait(op, StepDeadline());
    if (!result.ok()) return LeftOr(result.status());
    if (!result->needs_input_in) {
      report_.epoch = result->epoch;
      report_.contributions = result->contributions.Count();
      flags_ = result->flags;
      break;
    }
    ReadChanges();
    if (left_) return Outcome::kLeft;
    PERIGEE_RETURN_IF_ERROR(ServeNewcomers());
    PERIGEE_RETURN_IF_ERROR(ComputeMine());
    const absl::Status status = comm_->Resume(op, SumRequest());
    if (!status.ok()) return LeftOr(status);
  }
  if (const View* view = dealer_.ViewFor(OpStep())) {
    report_.members = static_cast<uint32_t>(view->size());
    report_.view_digest = Digest(*view);
  }
  return Outcome::kFinished;
}

// Whether the sum must be made again at a coarser scale.
absl::StatusOr<bool> Trainer::Overflowed() {
  if ((flags_ & kFlagNan) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "step ", step_.value(), ": a gradient is not a number: lower the learning rate"));
  }
  if ((flags_ & kFlagRange) == 0) return false;
  fixed_point_ = CoarserScale(fixed_point_);
  sum_ = MakeSum();
  on_notice_("scale",
             absl::StrCat("step ", step_.value(), " overflows the fixed point: again with ",
                          fixed_point_.scale_bits, " fraction bits"));
  return true;
}

// ---- Applying, and going back. ----

absl::Status Trainer::ApplyMean() {
  const size_t values = sum_->value_count();
  Decode(absl::MakeConstSpan(reduced_).first(values), fixed_point_, options_.microbatches,
         absl::MakeSpan(mean_));
  report_.loss = mean_.back();
  state_.Keep();
  PERIGEE_RETURN_IF_ERROR(task_.Apply(step_, absl::MakeConstSpan(mean_).first(values - 1)));
  ++steps_applied_;
  if (steps_applied_ - given_up_at_ >= kTrustedAfter) given_up_ = 0;
  // The commit after the last step is still to come.
  if (step_.Next().value() < options_.steps) comm_->StepDone(step_);
  return absl::OkStatus();
}

// Back to the version before the last step, and forward again. Whether that gave other bits; what
// was computed before is dropped. A state that was fetched has nothing to go back to.
absl::StatusOr<bool> Trainer::ApplyAgain() {
  if (!state_.has_kept()) return false;
  const uint64_t before = state_.Digest();
  state_.GoBack();
  const absl::Span<const float> mean = absl::MakeConstSpan(mean_).first(task_.GradientSize());
  PERIGEE_RETURN_IF_ERROR(task_.Apply(StepId(step_.value() - 1), mean));
  sum_->Reset();
  return state_.Digest() != before;
}

StepVerdict Trainer::Verdict() {
  const Deal& deal = dealer_.For(OpStep());
  const View* view = dealer_.ViewFor(OpStep());
  // The sum was begun with this deal (SumRequest), or it would have come back for another one.
  PERIGEE_CHECK(view != nullptr && view->epoch == deal.epoch && deal.epoch == report_.epoch);
  const auto words = reduced_.begin() + static_cast<ptrdiff_t>(sum_->value_count());
  return JudgeStates(*view, deal, std::vector<uint64_t>(words, words + options_.microbatches));
}

// What has come of it so often in this step: first everybody goes back; then the minority is out,
// and the sum goes on without it.
absl::StatusOr<Trainer::Outcome> Trainer::OnDiffering(const StepVerdict& verdict, int results) {
  const std::string what =
      absl::StrCat("the members' states differ after ", AfterStep(), ": ", verdict.text);
  if (results == 1) {
    on_notice_("differs", absl::StrCat(what, ": it is applied again"));
    PERIGEE_RETURN_IF_ERROR(ApplyAgain().status());
    return Outcome::kFinished;
  }
  on_notice_("differs", what);
  if (results == 2 && verdict.kind == StepVerdict::Kind::kMajority) {
    if (digest_ == verdict.digest) return Outcome::kFinished;
    return GiveUp(what);
  }
  comm_->Close(kCloseDeadline).IgnoreError();
  return absl::InternalError(
      absl::StrCat(what, results == 2 ? "; no majority agrees" : "; and that for the third time",
                   ": the task does not compute the same bits everywhere"));
}

// A member without a microbatch in this step compares for itself: nobody else has its digest.
absl::StatusOr<Trainer::Outcome> Trainer::FollowOthers(const StepVerdict& verdict) {
  if (digest_ == verdict.digest) return Outcome::kFinished;
  const std::string what =
      absl::StrCat("node ", options_.communicator.node.value(), " has ",
                   absl::Hex(digest_, absl::kZeroPad16), " after ", AfterStep(),
                   " where all others have ", absl::Hex(verdict.digest, absl::kZeroPad16));
  on_notice_("differs", absl::StrCat(what, ": it is applied again"));
  PERIGEE_RETURN_IF_ERROR(ApplyAgain().status());
  if (state_.Digest() == verdict.digest) return Outcome::kFinished;
  return GiveUp(what);
}

absl::StatusOr<Trainer::Outcome> Trainer::GiveUp(const std::string& why) {
  on_notice_("corrupt", why);
  given_up_at_ = steps_applied_;
  if (++given_up_ >= kGivenUpMax) {
    return absl::InternalError(absl::StrCat(
        why, "; node ", options_.communicator.node.value(), " was wrong ", given_up_,
        " times within ", kTrustedAfter, " steps: look for broken memory or another processor"));
  }
  left_ = LeftView{.reason = absl::StrCat("its state is wrong: ", why)};
  return Outcome::kLeft;
}

std::string Trainer::AfterStep() const {
  return step_.value() == 0 ? "the start" : absl::StrCat("step ", step_.value() - 1);
}

}  // namespace perigee
