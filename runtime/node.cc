#include "runtime/node.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {

Node::Node(const NodeOptions& options, Rng rng)
    : options_(options),
      endpoint_({.self = options.self, .incarnation = options.incarnation}, rng),
      membership_(options.self, options.incarnation),
      deputy_(options.self, options.incarnation, options.version, rng.Fork()),
      active_(!options.needs_state) {}

Node::~Node() = default;

void Node::Wake(absl::Time now, const Resumption& resumption) {
  const View& woken = resumption.proposal.view;
  PERIGEE_CHECK(view() == nullptr && woken.Contains(options_.self, options_.incarnation));
  welcome_ = resumption.welcome;
  Handle(now, resumption.welcome);
  deputy_.OnWake(now);
  active_ = true;
  OnInstall(now, Install{resumption.proposal});
}

const View* Node::view() const {
  return membership_.installed() ? &membership_.installed()->view : nullptr;
}

// ---- Requests. ----

absl::Status Node::ValidateRequest(const CollectiveRequest& request) const {
  const bool broadcast = request.kind == CollectiveKind::kBroadcast;
  if (request.output.count != request.input.count || request.output.dtype != request.input.dtype) {
    return absl::InvalidArgumentError(
        absl::StrCat("input has ", request.input.count, " elements of ", Name(request.input.dtype),
                     ", output ", request.output.count, " of ", Name(request.output.dtype),
                     ": give both the same count and type"));
  }
  if (request.input.count > 0 &&
      (request.input.data == nullptr || request.output.data == nullptr)) {
    return absl::InvalidArgumentError("a buffer with elements has a null pointer");
  }
  if (request.policy == FailurePolicy::kFullSet && broadcast) {
    return absl::InvalidArgumentError("a broadcast has no full set: use kAllOrNothing");
  }
  if (request.policy == FailurePolicy::kFullSet && request.contributions.universe() == 0) {
    return absl::InvalidArgumentError("kFullSet needs the contributions that the input holds");
  }
  if (request.contributions.universe() > ContributionSet::kUniverseMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(request.contributions.universe(), " contributions in one op, at most ",
                     ContributionSet::kUniverseMax, " are possible: make the microbatches larger"));
  }
  return absl::OkStatus();
}

absl::StatusOr<OpId> Node::Start(absl::Time now, const CollectiveRequest& request) {
  if (out_)
    return absl::FailedPreconditionError("this incarnation is out of the job: rejoin first");
  if (view() == nullptr) return absl::FailedPreconditionError("there is no view yet: wait for one");
  PERIGEE_RETURN_IF_ERROR(ValidateRequest(request));
  if (ops_.size() >= kOpsWindow) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kOpsWindow, " collectives are not stable yet: wait for some of them"));
  }
  const bool first = last_started_ == OpId();
  const StepId first_step = done_floor_.step();
  StepId step = first ? first_step : last_started_.step().Next();
  if (request.step) {
    if (*request.step < (first ? first_step : last_started_.step())) {
      return absl::InvalidArgumentError(
          absl::StrCat("step ", request.step->value(), " is over: steps do not go back"));
    }
    step = *request.step;
  }
  // Indexes begin at 1, so that OpId::Of(step, 0) means "before the step" and OpId() means "none".
  const uint32_t index = !first && step == last_started_.step() ? last_started_.index() + 1 : 1;
  if (index >= (uint32_t{1} << OpId::kIndexBits)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("too many collectives in step ", step.value()));
  }
  const OpId id = OpId::Of(step, index);
  if (leaving_ && step >= view()->first_step) {
    StepDone(now, StepId(view()->first_step.value() - 1));
    // Before a sleep it waits: where one is lost meanwhile, nobody sleeps and it runs after all.
    if (out_ || !SleepsBefore(*view())) {
      return absl::FailedPreconditionError(absl::StrCat("this member leaves by plan before step ",
                                                        step.value(), ": ", leaving_reason_));
    }
  }
  RunningOp& running = ops_[id];
  running.request = request;
  running.started = now;
  running.call_text =
      absl::StrCat(request.kind == CollectiveKind::kBroadcast
                       ? absl::StrCat("broadcast from node ", request.root.value(), " of ")
                       : absl::StrCat("allreduce ", Name(request.reduce_op), " of "),
                   request.input.count, " ", Name(request.input.dtype),
                   request.policy == FailurePolicy::kFullSet
                       ? absl::StrCat(" over ", request.contributions.universe(), " contributions")
                       : "");
  last_started_ = id;
  last_started_at_ = now;
  step_times_.OnOpStarted(now, id);
  if (auto failed = failed_elsewhere_.extract(id)) {
    FailOp(now, id, failed.mapped(), /*tell_others=*/false);
    return id;
  }
  TryBegin(now, id);
  if (!request.step) StepDone(now, step);
  return id;
}

void Node::StepDone(absl::Time now, StepId step) {
  steps_done_ = steps_done_ ? std::max(*steps_done_, step) : step;
  if (leaving_) CheckPlannedLeave(now);
}

absl::Status Node::Resume(absl::Time now, OpId id, const CollectiveRequest& request) {
  auto it = ops_.find(id);
  if (it == ops_.end() || it->second.state != OpState::kNeedsInput) {
    return absl::FailedPreconditionError(
        absl::StrCat("op ", ToString(id), " does not wait for input"));
  }
  PERIGEE_RETURN_IF_ERROR(ValidateRequest(request));
  it->second.request = request;
  it->second.state = OpState::kWaiting;
  TryBegin(now, id);
  return absl::OkStatus();
}

void Node::Cancel(absl::Time now, OpId id) {
  auto it = ops_.find(id);
  if (it == ops_.end() || it->second.handed_out || it->second.cancelled) return;
  RunningOp& running = it->second;
  const absl::Status status =
      absl::CancelledError(absl::StrCat("op ", ToString(id), " was cancelled"));
  const absl::Span<const uint8_t> input = running.request.input.span();
  running.cancelled_memory.assign(input.begin(), input.end());
  running.request.input.data = running.cancelled_memory.data();
  running.request.output.data = nullptr;
  if (running.op != nullptr) running.op->MoveInput(running.cancelled_memory.data());
  // Reductions that the driver has not taken yet still name the caller's memory.
  for (ReduceTask& task : reduces_) {
    const auto* source = static_cast<const uint8_t*>(task.src);
    if (source >= input.data() && source < input.data() + input.size()) {
      task.src = running.cancelled_memory.data() + (source - input.data());
    }
  }
  running.cancelled = true;
  Emit(OpFinished{.op = id, .status = status, .epoch = running.epoch});
  if (running.state == OpState::kNeedsInput) {
    running.state = OpState::kWaiting;
    TryBegin(now, id);
  }
}

absl::Status Node::SendState(absl::Time now, NodeId to, Epoch taken_in,
                             absl::Span<const uint8_t> bytes) {
  if (out_ || view() == nullptr) return absl::FailedPreconditionError("not in a view");
  return state_transfer_.Send(now, endpoint_, taken_in, to, bytes);
}

absl::Status Node::ReceiveState(absl::Time now, NodeId from, Epoch taken_in,
                                absl::Span<uint8_t> bytes) {
  if (out_ || view() == nullptr) return absl::FailedPreconditionError("not in a view");
  return state_transfer_.Receive(now, endpoint_, taken_in, from, bytes);
}

void Node::SetPlan(absl::Time now, ContactPlan plan) {
  deputy_.SetPlan(plan);
  plan_ = std::move(plan);
  UpdatePeers(now, /*fence=*/false);
}

void Node::TellDone(absl::Time now) {
  idle_done_at_ = absl::InfiniteFuture();
  if (out_ || view() == nullptr) return;
  std::vector<NodeId> peers;
  for (const auto& [node, incarnation] : peers_) peers.push_back(node);
  SendDone(now, peers);
}

// ---- Network and control plane. ----

void Node::OnDatagram(absl::Time now, absl::Span<const uint8_t> datagram) {
  if (out_) return;
  endpoint_.OnDatagram(now, datagram);
  DrainEndpoint(now);
  PumpDeputy(now);
}

void Node::OnReduced(absl::Time now, uint64_t ticket) {
  auto it = tickets_.find(ticket);
  PERIGEE_CHECK(it != tickets_.end());
  const Ticket done = it->second;
  tickets_.erase(it);
  auto running = ops_.find(done.id);
  if (running != ops_.end() && running->second.op.get() == done.op) {
    done.op->OnReduced(done.inner);
    PumpOp(now, done.id);
    return;
  }
  retired_.erase(std::remove_if(retired_.begin(), retired_.end(),
                                [this](const Retired& retired) {
                                  return std::none_of(tickets_.begin(), tickets_.end(),
                                                      [&](const auto& ticket) {
                                                        return ticket.second.op == retired.op.get();
                                                      });
                                }),
                 retired_.end());
}

void Node::OnTimeout(absl::Time now) {
  if (now >= next_beat_) SendBeat(now);
  if (out_) return;
  if (now >= idle_done_at_ && RunningOpTellsDone(now)) idle_done_at_ = now + kRestMin;
  if (now >= idle_done_at_) TellDone(now);
  if (leaving_) CheckPlannedLeave(now);
  if (out_) return;
  DropLingering(now);
  endpoint_.OnTimeout(now);
  DrainEndpoint(now);
  if (now >= deputy_.NextTimeout()) deputy_.OnTimeout(now);
  PumpDeputy(now);
}

absl::Time Node::NextTimeout() const {
  if (out_) return absl::InfiniteFuture();
  if (deputy_.HasMessage()) return absl::InfinitePast();
  absl::Time next = std::min(
      {next_beat_, idle_done_at_, leave_deadline_, endpoint_.NextTimeout(), deputy_.NextTimeout()});
  for (const auto& [node, until] : lingering_) next = std::min(next, until);
  return next;
}

std::optional<Endpoint::Transmit> Node::NextTransmit(absl::Time now, absl::Span<uint8_t> out) {
  if (out_) return std::nullopt;
  return endpoint_.NextTransmit(now, out);
}

namespace {

template <typename T>
std::optional<T> PopFront(std::deque<T>& queue) {
  if (queue.empty()) return std::nullopt;
  std::optional<T> item(std::move(queue.front()));
  queue.pop_front();
  return item;
}

}  // namespace

std::optional<MemberMessage> Node::NextControl() { return PopFront(controls_); }
std::optional<ReduceTask> Node::NextReduce() { return PopFront(reduces_); }
std::optional<NodeEvent> Node::NextEvent() { return PopFront(events_); }

void Node::Emit(NodeEvent event) {
  PERIGEE_CHECK(events_.size() < kQueueMax);
  events_.push_back(std::move(event));
}

namespace {

// Whether a member that delivers nothing handles the event all the same.
bool PassesFrozen(const TransportEvent& event) {
  if (const auto* control = std::get_if<ControlDelivered>(&event)) {
    return IsAboutViews(control->bytes);
  }
  return std::holds_alternative<PeerSilent>(event) || std::holds_alternative<PeerHeard>(event) ||
         std::holds_alternative<PeerFenced>(event);
}

}  // namespace

void Node::DrainEndpoint(absl::Time now) {
  while (std::optional<TransportEvent> event = endpoint_.NextEvent()) {
    if (membership_.frozen() && !PassesFrozen(*event)) {
      PERIGEE_CHECK(held_.size() < kQueueMax);
      held_.push_back(std::move(*event));
    } else {
      OnTransportEvent(now, *event);
    }
    if (out_) return;
  }
  if (leaving_) CheckPlannedLeave(now);
}

void Node::OnTransportEvent(absl::Time now, const TransportEvent& event) {
  if (const auto* delivered = std::get_if<TransferDelivered>(&event)) {
    OnTransfer(now, delivered->peer, delivered->key, true);
  } else if (const auto* sent = std::get_if<TransferSent>(&event)) {
    OnTransfer(now, sent->peer, sent->key, false);
  } else if (const auto* control = std::get_if<ControlDelivered>(&event)) {
    const absl::StatusOr<PeerMessage> message = DecodePeerMessage(control->bytes);
    // Authentic (checksummed, from a session of ours) and yet unreadable: another version. Nothing
    // to do with it.
    if (message.ok()) OnPeerMessage(now, control->peer, *message);
  } else if (const auto* silent = std::get_if<PeerSilent>(&event)) {
    if (!peers_.contains(silent->peer)) return;  // it left by plan
    silent_[silent->peer] = silent->since;
    deputy_.OnPeerSilent(silent->peer);
    SendSuspicion(now, silent->peer, silent->since);
  } else if (const auto* heard = std::get_if<PeerHeard>(&event)) {
    silent_.erase(heard->peer);
    deputy_.OnPeerHeard(heard->peer);
  } else if (const auto* fenced = std::get_if<PeerFenced>(&event)) {
    if (!peers_.contains(fenced->peer)) return;
    GoOut(now, {.planned = leaving_,
                .reason = absl::StrCat("node ", fenced->peer.value(),
                                       " is in a view without this incarnation")});
  }
}

}  // namespace perigee
