#include "tests/runtime/sim/member_application.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace perigee {
namespace {

constexpr uint8_t kGuard = 0xa5;
constexpr size_t kGuardBytes = 16;

// Room for `bytes` behind guard bytes, not aligned to anything.
std::vector<uint8_t> Guarded(size_t bytes, size_t offset) {
  return std::vector<uint8_t>(offset + bytes + kGuardBytes, kGuard);
}

bool GuardsIntact(const std::vector<uint8_t>& memory, size_t offset, size_t bytes) {
  const auto intact = [](uint8_t byte) { return byte == kGuard; };
  return std::all_of(memory.begin(), memory.begin() + offset, intact) &&
         std::all_of(memory.begin() + offset + bytes, memory.end(), intact);
}

std::vector<uint8_t> StateOf(uint64_t seed, Epoch epoch, size_t bytes) {
  std::vector<uint8_t> state(bytes);
  Rng rng(seed * 31 + epoch.value());
  for (uint8_t& byte : state) byte = static_cast<uint8_t>(rng.Next());
  return state;
}

}  // namespace

MemberApplication::MemberApplication(Job& job, NodeId self, Node& node, Rng rng)
    : job_(job), self_(self), node_(node), rng_(rng) {}

MemberApplication::~MemberApplication() = default;

std::string MemberApplication::Name(OpId op) const {
  return absl::StrCat("node ", self_.value(), " op ", ToString(op));
}

void MemberApplication::OnEvent(absl::Time now, const NodeEvent& event) {
  if (const auto* changed = std::get_if<ViewChanged>(&event)) {
    OnView(now, *changed);
  } else if (const auto* finished = std::get_if<OpFinished>(&event)) {
    OnFinished(now, *finished);
  } else if (const auto* needs = std::get_if<OpNeedsInput>(&event)) {
    auto it = running_.find(needs->op);
    if (it != running_.end()) {
      ++job_.dealt_again;
      it->second->dealt_in = needs->epoch;
      it->second->resume_at = now + rng_.Unit() * job_.deal_max;
    }
  } else if (const auto* left = std::get_if<LeftView>(&event)) {
    out_ = true;
    if (!left->planned) job_.judge->OnLeft(node_.options().incarnation);
    if (job_.on_left) job_.on_left(self_, *left);
  } else if (const auto* received = std::get_if<StateReceived>(&event)) {
    if (!received->status.ok()) {
      job_.judge->AddError(
          absl::StrCat("node ", self_.value(), " state: ", received->status.ToString()));
    } else if (state_in_ != StateOf(job_.workload.seed, state_epoch_, job_.state_bytes)) {
      job_.judge->AddError(
          absl::StrCat("node ", self_.value(), ": the state arrived with wrong bytes"));
    }
    ++job_.states_received;
    node_.SetActive(now);
  }
  StartSteps(now);
}

void MemberApplication::OnTimeout(absl::Time now) {
  if (out_) return;
  for (OpId op : RunningOps()) {
    Running& running = *running_.at(op);
    if (now >= running.cancel_at) {
      Cancel(now, op);
    } else if (now >= running.resume_at) {
      running.resume_at = absl::InfiniteFuture();
      Deal(running, op, running.dealt_in);
      // An op that was decided meanwhile does not wait any more: NotFound, FailedPrecondition are
      // fine.
      node_.Resume(now, op, RequestOf(running, op.step())).IgnoreError();
    }
  }
  StartSteps(now);
}

absl::Time MemberApplication::NextTimeout() const {
  if (out_ || !in_view_) return absl::InfiniteFuture();
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [op, running] : running_) {
    next = std::min({next, running->cancel_at, running->resume_at});
  }
  const bool room =
      running_.empty() ||
      next_step_.value() - running_.begin()->first.step().value() < job_.steps_in_flight_max;
  if (room && next_step_ <= job_.stop_after) next = std::min(next, next_start_at_);
  return next;
}

// Out, or about to go by plan: what it started too late ends with an error.
bool MemberApplication::Leaving() const {
  return node_.out() || !node_.view()->Contains(self_, node_.options().incarnation);
}

std::vector<OpId> MemberApplication::RunningOps() const {
  std::vector<OpId> ops;
  for (const auto& [op, running] : running_) ops.push_back(op);
  return ops;
}

void MemberApplication::CancelAll(absl::Time now) {
  for (OpId op : RunningOps()) Cancel(now, op);
}

void MemberApplication::Cancel(absl::Time now, OpId op) {
  ++job_.cancelled;
  cancelled_[op] = false;
  CheckMemory(*running_.at(op), op);
  node_.Cancel(now, op);
  // From here on the buffers are the caller's: they may go at once.
  running_.erase(op);
}

// ---- Views. ----

void MemberApplication::OnView(absl::Time now, const ViewChanged& changed) {
  const Proposal& proposal = changed.proposal;
  job_.judge->OnView(self_, proposal);
  if (!in_view_) next_step_ = proposal.view.first_step;
  in_view_ = true;
  views_[proposal.view.epoch] = proposal;
  ExchangeState(now, changed);
}

void MemberApplication::ExchangeState(absl::Time now, const ViewChanged& changed) {
  const View& view = changed.proposal.view;
  if (job_.state_bytes == 0 || !view.Contains(self_, node_.options().incarnation)) return;
  const auto is_new = [&](NodeId node) {
    return std::find(changed.newcomers.begin(), changed.newcomers.end(), node) !=
           changed.newcomers.end();
  };
  const bool has_state = view.epoch == Epoch(1) || changed.proposal.wakes.has_value();
  if (views_.size() == 1 && has_state) return node_.SetActive(now);
  if (views_.size() == 1) {
    // A newcomer cannot tell who else is new; members with votes have the state.
    for (const Member& member : view.members) {
      if (member.votes == 0 || member.node == self_) continue;
      state_in_.assign(job_.state_bytes, 0);
      state_epoch_ = view.epoch;
      const absl::Status status =
          node_.ReceiveState(now, member.node, view.epoch, absl::MakeSpan(state_in_));
      if (!status.ok()) job_.judge->AddError(absl::StrCat("ReceiveState: ", status.ToString()));
      return;
    }
    return;
  }
  const auto source = std::find_if(view.members.begin(), view.members.end(),
                                   [&](const Member& member) { return member.votes > 0; });
  if (source == view.members.end() || source->node != self_ || is_new(self_)) return;
  for (NodeId node : changed.newcomers) {
    states_.push_back(StateOf(job_.workload.seed, view.epoch, job_.state_bytes));
    const absl::Status status = node_.SendState(now, node, view.epoch, states_.back());
    if (!status.ok()) job_.judge->AddError(absl::StrCat("SendState: ", status.ToString()));
  }
}

// The view in which the ops of a step run, as far as it is decided.
Epoch MemberApplication::EpochForStep(StepId step) const {
  for (auto it = views_.rbegin(); it != views_.rend(); ++it) {
    if (!it->second.planned || it->second.view.first_step <= step) return it->first;
  }
  return Epoch();
}

// ---- Calls. ----

void MemberApplication::StartSteps(absl::Time now) {
  if (!in_view_ || out_) return;
  while (next_step_ <= job_.stop_after && now >= next_start_at_) {
    if (!running_.empty() &&
        next_step_.value() - running_.begin()->first.step().value() >= job_.steps_in_flight_max) {
      return;
    }
    if (!StartNext(now)) return;
  }
}

// Starts one call; false when it must be tried again later.
bool MemberApplication::StartNext(absl::Time now) {
  const std::vector<Call> calls = CallsOf(job_.workload, next_step_);
  const OpId op = OpId::Of(next_step_, static_cast<uint32_t>(next_call_ + 1));
  std::unique_ptr<Running> running = Prepare(calls[next_call_], op);
  if (rng_.Bernoulli(job_.cancel)) running->cancel_at = now + rng_.Unit() * absl::Seconds(1);
  const absl::StatusOr<OpId> started = node_.Start(now, RequestOf(*running, next_step_));
  if (!started.ok()) {
    if (absl::IsInvalidArgument(started.status())) {
      job_.judge->AddError(absl::StrCat(Name(op), ": ", started.status().ToString()));
    }
    next_start_at_ = now + absl::Milliseconds(10);
    return false;
  }
  if (*started != op) {
    job_.judge->AddError(absl::StrCat(Name(op), " was started as ", ToString(*started)));
  }
  ++job_.started;
  job_.furthest = std::max(job_.furthest, next_step_);
  running_[op] = std::move(running);
  if (++next_call_ < calls.size()) return true;
  next_call_ = 0;
  node_.StepDone(now, next_step_);
  next_step_ = next_step_.Next();
  next_start_at_ = now + rng_.Unit() * job_.think_max;
  return true;
}

std::unique_ptr<MemberApplication::Running> MemberApplication::Prepare(const Call& call, OpId op) {
  auto running = std::make_unique<Running>();
  running->call = call;
  const size_t bytes = call.count * SizeOf(call.dtype);
  running->input_offset = kGuardBytes + rng_.Below(8);
  running->output_offset = kGuardBytes + rng_.Below(8);
  running->output = Guarded(bytes, running->output_offset);
  if (call.policy == FailurePolicy::kFullSet) {
    Deal(*running, op, EpochForStep(op.step()));
    return running;
  }
  running->in_place = rng_.Bernoulli(0.3);
  running->input_copy = InputOf(job_.workload, call, op, self_.value());
  if (running->in_place) running->input_offset = running->output_offset;
  running->input = Guarded(bytes, running->input_offset);
  std::copy(running->input_copy.begin(), running->input_copy.end(),
            running->input.begin() + running->input_offset);
  return running;
}

// Microbatch m belongs to rank m modulo N of the view in which the op runs.
void MemberApplication::Deal(Running& running, OpId op, Epoch epoch) {
  const View& view = views_.at(epoch).view;
  const std::optional<Rank> self = view.RankOf(self_);
  running.dealt_in = epoch;
  if (running.sum == nullptr) {
    running.sum = std::make_unique<FixedPointSum>(running.call.count, FixedPointOf(running.call));
  }
  for (uint32_t m = 0; m < running.call.microbatches; ++m) {
    const bool mine = self.has_value() && m % view.size() == self->value();
    const bool held = running.sum->contributions().Contains(m);
    if (mine == held) continue;
    const std::vector<float> values =
        MicrobatchOf(job_.workload, running.call, op, MicrobatchId(m));
    if (mine) {
      running.sum->Add(MicrobatchId(m), values);
    } else {
      running.sum->Remove(MicrobatchId(m), values);
    }
  }
}

CollectiveRequest MemberApplication::RequestOf(Running& running, StepId step) const {
  const Call& call = running.call;
  CollectiveRequest request;
  request.kind = call.kind;
  request.reduce_op = call.reduce_op;
  request.root = call.root;
  request.step = step;
  request.policy = call.policy;
  request.output = {running.output.data() + running.output_offset, call.count, call.dtype};
  request.input = {running.input.data() + running.input_offset, call.count, call.dtype};
  if (running.in_place) {
    request.output.data = running.input.data() + running.input_offset;
  }
  if (call.policy == FailurePolicy::kFullSet) {
    request.input.data = running.sum->data().data();
    if (call.count == 0) request.input.data = nullptr;
    request.contributions = running.sum->contributions();
    request.flags = running.sum->flags();
    request.dealt_in = running.dealt_in;
  }
  return request;
}

// ---- Results. ----

void MemberApplication::OnFinished(absl::Time now, const OpFinished& finished) {
  const auto cancelled = cancelled_.find(finished.op);
  if (cancelled != cancelled_.end()) {
    if (cancelled->second || !absl::IsCancelled(finished.status)) {
      job_.judge->AddError(
          absl::StrCat(Name(finished.op), " ended after Cancel with ", finished.status.ToString()));
    }
    cancelled->second = true;
    return;
  }
  auto it = running_.find(finished.op);
  if (it == running_.end()) {
    job_.judge->AddError(absl::StrCat(Name(finished.op), " ended twice"));
    return;
  }
  const Running& running = *it->second;
  const Call& call = running.call;
  const std::vector<uint8_t>& memory = running.in_place ? running.input : running.output;
  const size_t bytes = call.count * SizeOf(call.dtype);
  CheckMemory(running, finished.op);
  if (finished.status.ok()) {
    ++job_.finished;
    job_.judge->OnDelivered(self_, node_.options().incarnation, call, finished,
                            absl::MakeConstSpan(memory.data() + running.output_offset, bytes));
  } else if (call.kind == CollectiveKind::kBroadcast &&
             absl::IsFailedPrecondition(finished.status)) {
    ++job_.root_lost;
    job_.judge->OnDelivered(self_, node_.options().incarnation, call, finished, {});
  } else if (!Leaving() && job_.cancel > 0 && call.policy == FailurePolicy::kFullSet &&
             absl::IsAborted(finished.status)) {
    // A member that has given the op up cannot take over contributions: the op ends for all.
    ++job_.given_up;
    job_.judge->OnDelivered(self_, node_.options().incarnation, call, finished, {});
  } else if (!absl::IsAborted(finished.status) || !Leaving()) {
    job_.judge->AddError(absl::StrCat(Name(finished.op), ": ", finished.status.ToString()));
  }
  running_.erase(it);
}

void MemberApplication::CheckMemory(const Running& running, OpId op) {
  const size_t bytes = running.call.count * SizeOf(running.call.dtype);
  const bool guards =
      GuardsIntact(running.output, running.output_offset, bytes) &&
      (running.input.empty() || GuardsIntact(running.input, running.input_offset, bytes));
  if (!guards) job_.judge->AddError(absl::StrCat(Name(op), " wrote beside its buffers"));
  if (!running.input.empty() && !running.in_place &&
      !std::equal(running.input_copy.begin(), running.input_copy.end(),
                  running.input.begin() + running.input_offset)) {
    job_.judge->AddError(absl::StrCat(Name(op), " changed its input"));
  }
}

}  // namespace perigee
