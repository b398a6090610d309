#include "runtime/host/trainer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr absl::Duration kStateDeadline = absl::Seconds(60);
constexpr absl::Duration kLeaveDeadline = absl::Seconds(10);
// Before the state on its way: the step at whose beginning it holds, and scale_bits.
constexpr size_t kHeaderBytes = 2 * sizeof(uint64_t);

}  // namespace

Trainer::Trainer(const TrainerOptions& options, TrainingTask& task, StepFunction on_step,
                 NoticeFunction on_notice)
    : options_(options),
      task_(task),
      on_step_(std::move(on_step)),
      on_notice_(std::move(on_notice)),
      fixed_point_{.scale_bits = options.scale_bits, .contributions_max = options.microbatches},
      sum_(MakeSum()),
      reduced_(sum_->size()),
      gradient_(task.GradientSize() + 1),
      mean_(task.GradientSize() + 1),
      state_(task),
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
  state_.DropKept();
  const std::optional<Sleep> sleep = std::exchange(sleep_, std::nullopt);
  if (sleep) PERIGEE_RETURN_IF_ERROR(BeginNextLife(*sleep));
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
    sum_ = MakeSum();
  } else if (sleep) {
    UnpackState(sleep->state);
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
  const absl::Time begin = Now();
  std::vector<uint8_t> bytes(kHeaderBytes + state_.bytes());
  absl::Status status = comm_->ReceiveState(source->node, joined.epoch, absl::MakeSpan(bytes));
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
  if (status.ok()) UnpackState(bytes);
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
                          bytes.size(), " bytes in ", absl::FormatDuration(Now() - begin)));
  return absl::OkStatus();
}

absl::Status Trainer::ServeNewcomers() {
  // After the last step there is nothing left to take part in.
  if (step_.value() >= options_.steps) return absl::OkStatus();
  for (auto it = joining_.begin(); it != joining_.end();) {
    if (it->first_step > step_) {
      ++it;
      continue;
    }
    std::vector<uint8_t>& bytes = states_out_[it->node] = PackState();
    PERIGEE_RETURN_IF_ERROR(comm_->SendState(it->node, it->taken_in, bytes));
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
        joining_.push_back({view.first_step, view.epoch, newcomer});
      }
    }
  }
}

// An error of an op that only says that this member is out is no error of the training.
absl::StatusOr<Trainer::Outcome> Trainer::LeftOr(const absl::Status& status) {
  const absl::Time deadline = Now() + kLeaveDeadline;
  const bool may_leave = absl::IsAborted(status) || absl::IsFailedPrecondition(status);
  while (may_leave && !left_ && Now() < deadline) {
    if (const auto change = comm_->WaitForChange(deadline - Now())) OnChange(*change);
  }
  if (left_) return Outcome::kLeft;
  return status;
}

// ---- State. ----

std::vector<uint8_t> Trainer::PackState() const {
  const uint64_t header[2] = {step_.value(), static_cast<uint64_t>(fixed_point_.scale_bits)};
  static_assert(sizeof(header) == kHeaderBytes);
  std::vector<uint8_t> bytes(kHeaderBytes);
  std::memcpy(bytes.data(), header, kHeaderBytes);
  state_.AppendTo(bytes);
  return bytes;
}

void Trainer::UnpackState(absl::Span<const uint8_t> bytes) {
  uint64_t header[2];
  std::memcpy(header, bytes.data(), kHeaderBytes);
  step_ = StepId(header[0]);
  fixed_point_.scale_bits = static_cast<int>(header[1]);
  sum_ = MakeSum();
  state_.Overwrite(bytes.subspan(kHeaderBytes));
}

}  // namespace perigee
