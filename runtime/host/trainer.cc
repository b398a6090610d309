#include "runtime/host/trainer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {
namespace {

constexpr absl::Duration kStateDeadline = absl::Seconds(60);
constexpr absl::Duration kLeaveDeadline = absl::Seconds(10);

}  // namespace

Trainer::Trainer(const TrainerOptions& options, TrainingTask& task, StepFunction on_step,
                 NoticeFunction on_notice)
    : options_(options),
      task_(task),
      on_step_(std::move(on_step)),
      on_notice_(std::move(on_notice)),
      fixed_point_{.scale_bits = options.scale_bits, .contributions_max = options.microbatches},
      sum_(std::make_unique<FixedPointSum>(task.GradientSize() + 1, fixed_point_)),
      reduced_(task.GradientSize() + 1),
      gradient_(task.GradientSize() + 1),
      dealer_(options.microbatches) {
  options_.communicator.needs_state = true;
}

// ---- Joining. ----

absl::Status Trainer::Join() {
  dealer_ = MicrobatchDealer(options_.microbatches);
  joining_.clear();
  states_out_.clear();
  state_received_.reset();
  left_.reset();
  commit_.reset();
  const std::optional<Sleep> sleep = std::exchange(sleep_, std::nullopt);
  if (sleep) {
    // From here on there is no way back into that life.
    if (!options_.state_dir.empty()) PERIGEE_RETURN_IF_ERROR(EndSleep(options_.state_dir, node()));
    options_.communicator.resumption = sleep->resumption;
  }
  woken_ = sleep.has_value();
  absl::StatusOr<std::unique_ptr<Communicator>> comm = Communicator::Create(options_.communicator);
  options_.communicator.resumption.reset();
  PERIGEE_RETURN_IF_ERROR(comm.status());
  comm_ = *std::move(comm);
  plan_ = comm_->plan();
  std::optional<View> joined;
  while (!joined && !left_) {
    const std::optional<MemberChange> change = comm_->WaitForChange(kStateDeadline);
    if (!change) return absl::InternalError("a member without a view");
    if (const auto* changed = std::get_if<ViewChanged>(&*change)) joined = changed->proposal.view;
    OnChange(*change);
  }
  if (left_) return absl::OkStatus();
  if (joined->epoch == Epoch(1)) {
    step_ = StepId(0);
  } else if (sleep) {
    PERIGEE_RETURN_IF_ERROR(UnpackState(sleep->state));
  } else {
    PERIGEE_RETURN_IF_ERROR(FetchState(*joined));
    if (left_) return absl::OkStatus();
  }
  comm_->SetActive();
  return absl::OkStatus();
}

absl::Status Trainer::FetchState(const View& joined) {
  const auto source = std::find_if(joined.members.begin(), joined.members.end(),
                                   [](const Member& member) { return member.votes > 0; });
  if (source == joined.members.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat(ToString(joined), " has nobody who holds the state"));
  }
  const absl::Time begin = absl::Now();
  std::vector<uint8_t> bytes(PackState().size());
  absl::Status status = comm_->ReceiveState(source->node, absl::MakeSpan(bytes));
  while (status.ok() && !left_ && !state_received_) {
    const std::optional<MemberChange> change = comm_->WaitForChange(kStateDeadline);
    if (!change) {
      status =
          absl::DeadlineExceededError(absl::StrCat("no state from node ", source->node.value(),
                                                   " for ", absl::FormatDuration(kStateDeadline)));
    } else {
      OnChange(*change);
    }
  }
  if (left_) return absl::OkStatus();
  if (status.ok()) status = *state_received_;
  if (status.ok()) status = UnpackState(bytes);
  if (status.ok() && step_ != joined.first_step) {
    status =
        absl::InternalError(absl::StrCat("node ", source->node.value(), " sent the state of step ",
                                         step_.value(), ", not ", joined.first_step.value()));
  }
  if (!status.ok()) {
    // The transfer still writes into `bytes` until the loop has ended.
    EndIncarnation();
    return status;
  }
  on_notice_("state",
             absl::StrCat("step ", step_.value(), " from node ", source->node.value(), ", ",
                          bytes.size(), " bytes in ", absl::FormatDuration(absl::Now() - begin)));
  return absl::OkStatus();
}

absl::Status Trainer::ServeNewcomers() {
  for (auto it = joining_.begin(); it != joining_.end();) {
    if (it->first_step > step_) {
      ++it;
      continue;
    }
    std::vector<uint8_t>& bytes = states_out_[it->node] = PackState();
    PERIGEE_RETURN_IF_ERROR(comm_->SendState(it->node, bytes));
    it = joining_.erase(it);
  }
  return absl::OkStatus();
}

// ---- Changes. ----

void Trainer::ReadChanges() {
  while (std::optional<MemberChange> change = comm_->NextChange()) OnChange(*change);
}

void Trainer::OnChange(const MemberChange& change) {
  if (const auto* left = std::get_if<LeftView>(&change)) {
    left_ = *left;
  } else if (const auto* received = std::get_if<StateReceived>(&change)) {
    state_received_ = received->status;
  } else if (const auto* sent = std::get_if<StateSent>(&change)) {
    states_out_.erase(sent->peer);
  } else if (const auto* changed = std::get_if<ViewChanged>(&change)) {
    const Proposal& proposal = changed->proposal;
    const View& view = proposal.view;
    dealer_.OnView(proposal);
    on_notice_("view", absl::StrCat(ToString(view), ": ", proposal.reason));
    if (!proposal.planned) {
      joining_.clear();
      states_out_.clear();  // an unplanned view ends transfers
    }
    const auto source = std::find_if(view.members.begin(), view.members.end(),
                                     [](const Member& member) { return member.votes > 0; });
    const bool is_source =
        source != view.members.end() && source->node == options_.communicator.node;
    for (NodeId newcomer : changed->newcomers) {
      if (is_source && view.epoch > Epoch(1) && newcomer != options_.communicator.node) {
        joining_.push_back({view.first_step, newcomer});
      }
    }
  }
}

// An error of an op that only says that this member is out is no error of the training.
absl::StatusOr<Trainer::Outcome> Trainer::LeftOr(const absl::Status& status) {
  const absl::Time deadline = absl::Now() + kLeaveDeadline;
  const bool may_leave = absl::IsAborted(status) || absl::IsFailedPrecondition(status);
  while (may_leave && !left_ && absl::Now() < deadline) {
    if (const auto change = comm_->WaitForChange(deadline - absl::Now())) OnChange(*change);
  }
  if (left_) return Outcome::kLeft;
  return status;
}

// ---- A step. ----

absl::StatusOr<Trainer::Outcome> Trainer::RunStep() {
  const absl::Time begin = absl::Now();
  report_ = {.step = step_};
  ReadChanges();
  if (left_) return Outcome::kLeft;
  PERIGEE_RETURN_IF_ERROR(ServeNewcomers());
  sum_->Reset();
  PERIGEE_ASSIGN_OR_RETURN(const Outcome reduced, ReduceGradient());
  if (reduced == Outcome::kLeft) return reduced;
  PERIGEE_ASSIGN_OR_RETURN(const Outcome committed, WaitForCommit());
  if (committed == Outcome::kLeft) return committed;
  PERIGEE_RETURN_IF_ERROR(ApplyAndCommit());
  const SessionCounters counters = comm_->counters();
  report_.packets_lost = counters.packets_lost;
  report_.packets_repaired = counters.segments_retransmitted;
  report_.bytes = reduced_.size() * sizeof(int64_t);
  report_.total = absl::Now() - begin;
  on_step_(report_);
  comm_->SetStats({.training_loss = report_.loss,
                   .allreduce_seconds = absl::ToDoubleSeconds(report_.allreduce),
                   .goodput_bps = 8.0 * static_cast<double>(report_.bytes) /
                                  absl::ToDoubleSeconds(report_.allreduce),
                   .packets_lost = report_.packets_lost,
                   .packets_repaired = report_.packets_repaired});
  step_ = step_.Next();
  woken_ = false;
  dealer_.ForgetBefore(step_);
  return Outcome::kFinished;
}

absl::Status Trainer::ComputeMine() {
  const absl::Time begin = absl::Now();
  const std::vector<MicrobatchId> mine = dealer_.For(step_).Of(options_.communicator.node);
  uint32_t kept = 0;
  for (MicrobatchId m : mine) kept += sum_->contributions().Contains(m.value()) ? 1 : 0;
  if (kept != sum_->contributions().Count()) sum_->Reset();  // the step was dealt anew
  const size_t size = task_.GradientSize();
  for (MicrobatchId m : mine) {
    if (sum_->contributions().Contains(m.value())) continue;
    PERIGEE_ASSIGN_OR_RETURN(
        const double loss, task_.ComputeGradient(step_, m, absl::MakeSpan(gradient_).first(size)));
    gradient_[size] = static_cast<float>(loss);
    sum_->Add(m, gradient_);
    ++report_.computed;
  }
  report_.compute += absl::Now() - begin;
  return absl::OkStatus();
}

CollectiveRequest Trainer::GradientRequest() {
  return {.input = {sum_->data().data(), sum_->size(), DType::kI64},
          .output = {reduced_.data(), reduced_.size(), DType::kI64},
          .step = step_,
          .contributions = sum_->contributions(),
          .flags = sum_->flags(),
          .policy = FailurePolicy::kFullSet,
          .dealt_in = dealer_.For(step_).epoch};
}

absl::StatusOr<Trainer::Outcome> Trainer::ReduceGradient() {
  for (;;) {
    PERIGEE_RETURN_IF_ERROR(ComputeMine());
    const absl::Time begin = absl::Now();
    const absl::StatusOr<OpId> op = comm_->Start(GradientRequest());
    if (!op.ok()) return LeftOr(op.status());
    const absl::Duration computed_before = report_.compute;
    absl::StatusOr<Outcome> outcome = WaitForGradient(*op);
    if (!outcome.ok() || *outcome == Outcome::kLeft) return outcome;
    report_.allreduce = absl::Now() - begin - (report_.compute - computed_before);
    if ((flags_ & kFlagNan) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "step ", step_.value(), ": a gradient is not a number: lower the learning rate"));
    }
    if ((flags_ & kFlagRange) == 0) return outcome;
    fixed_point_ = CoarserScale(fixed_point_);
    sum_ = std::make_unique<FixedPointSum>(reduced_.size(), fixed_point_);
    on_notice_("scale",
               absl::StrCat("step ", step_.value(), " overflows the fixed point: again with ",
                            fixed_point_.scale_bits, " fraction bits"));
  }
}

absl::StatusOr<Trainer::Outcome> Trainer::WaitForGradient(OpId op) {
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
    const absl::Status status = comm_->Resume(op, GradientRequest());
    if (!status.ok()) return LeftOr(status);
  }
  if (const View* view = dealer_.ViewFor(step_))
    report_.members = static_cast<uint32_t>(view->size());
  return Outcome::kFinished;
}

absl::Status Trainer::ApplyAndCommit() {
  const double divisor = options_.microbatches;
  Decode(reduced_, fixed_point_, divisor, absl::MakeSpan(gradient_));
  report_.loss = gradient_.back();
  PERIGEE_RETURN_IF_ERROR(
      task_.Apply(step_, absl::MakeConstSpan(gradient_).first(task_.GradientSize())));
  ++steps_applied_;
  commit_in_[0] = StateDigest();
  commit_in_[1] = ~commit_in_[0];
  const absl::StatusOr<OpId> commit = comm_->Start({.reduce_op = ReduceOp::kMin,
                                                    .input = {commit_in_, 2, DType::kU64},
                                                    .output = {commit_out_, 2, DType::kU64},
                                                    .step = step_});
  // Out of the view: the next step finds out. Everything else is an error.
  if (!commit.ok() && !absl::IsFailedPrecondition(commit.status())) return commit.status();
  if (commit.ok()) commit_ = *commit;
  comm_->StepDone(step_);
  return absl::OkStatus();
}

absl::StatusOr<Trainer::Outcome> Trainer::WaitForCommit() {
  if (!commit_) return Outcome::kFinished;
  const absl::StatusOr<OpResult> result = comm_->Wait(*commit_, StepDeadline());
  commit_.reset();
  if (!result.ok()) return LeftOr(result.status());
  if (commit_out_[0] == ~commit_out_[1]) return Outcome::kFinished;
  return absl::InternalError(absl::StrCat(
      "the members' states differ after step ", step_.value(), ": digests from ",
      absl::Hex(commit_out_[0]), " to ", absl::Hex(~commit_out_[1]), ", here ",
      absl::Hex(commit_in_[0]), ": the task does not compute the same bits everywhere"));
}

// ---- State. ----

std::vector<uint8_t> Trainer::PackState() {
  const uint64_t header[2] = {step_.value(), static_cast<uint64_t>(fixed_point_.scale_bits)};
  std::vector<uint8_t> bytes(sizeof(header));
  std::memcpy(bytes.data(), header, sizeof(header));
  for (absl::Span<const uint8_t> part : task_.MutableState()) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  return bytes;
}

absl::Status Trainer::UnpackState(absl::Span<const uint8_t> bytes) {
  uint64_t header[2];
  std::memcpy(header, bytes.data(), sizeof(header));
  step_ = StepId(header[0]);
  fixed_point_.scale_bits = static_cast<int>(header[1]);
  sum_ = std::make_unique<FixedPointSum>(reduced_.size(), fixed_point_);
  bytes.remove_prefix(sizeof(header));
  for (absl::Span<uint8_t> part : task_.MutableState()) {
    std::memcpy(part.data(), bytes.data(), part.size());
    bytes.remove_prefix(part.size());
  }
  return absl::OkStatus();
}

uint64_t Trainer::StateDigest() {
  uint64_t digest = 0;
  for (absl::Span<const uint8_t> part : task_.MutableState()) {
    digest = XXH3_64bits_withSeed(part.data(), part.size(), digest);
  }
  return digest;
}

}  // namespace perigee
