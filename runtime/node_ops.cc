// The running collectives of a Node: from the request to the result, over as many views as it
// takes.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/node.h"
#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {
namespace {

std::vector<NodeId> NodesOf(const View& view) {
  std::vector<NodeId> nodes;
  nodes.reserve(view.size());
  for (const Member& member : view.members) nodes.push_back(member.node);
  return nodes;
}

}  // namespace

// ---- Beginning. ----

void Node::TryBeginAll(absl::Time now) {
  std::vector<OpId> waiting;
  for (const auto& [id, running] : ops_) {
    if (running.state == OpState::kWaiting) waiting.push_back(id);
  }
  for (OpId id : waiting) {
    if (ops_.contains(id)) TryBegin(now, id);
  }
}

void Node::TryBegin(absl::Time now, OpId id) {
  RunningOp& running = ops_.at(id);
  if (running.state != OpState::kWaiting || membership_.frozen()) return;
  const std::optional<StepId> barrier = membership_.barrier();
  if (barrier && id.step() >= *barrier) return;
  const View* view = membership_.ViewForStep(id.step());
  if (view == nullptr) return;
  if (SleepsBefore(*view)) return;
  const std::optional<Rank> self = view->RankOf(options_.self);
  if (!self)
    return Deliver(now, id,
                   absl::AbortedError(absl::StrCat(
                       "op ", ToString(id), ": this member left by plan: ", leaving_reason_)));
  const CollectiveRequest& request = running.request;
  if (auto finished = finished_elsewhere_.extract(id)) {
    running.summed_in = finished.mapped().summed_in;
    return PassResult(now, id, *view, finished.mapped().holder, {options_.self});
  }
  if (request.policy == FailurePolicy::kFullSet && request.dealt_in != Epoch() &&
      request.dealt_in != view->epoch) {
    if (running.cancelled) {
      return FailOp(
          now, id,
          absl::AbortedError(absl::StrCat(
              "op ", ToString(id), ": node ", options_.self.value(),
              " has cancelled it and cannot take over contributions in ", ToString(*view))),
          /*tell_others=*/true);
    }
    running.state = OpState::kNeedsInput;
    running.epoch = view->epoch;
    return Emit(OpNeedsInput{id, view->epoch});
  }
  // From here on the step belongs to this view, also where its op fails: a planned view begins
  // later.
  begun_step_ = std::max(begun_step_, id.step());
  any_begun_ = true;
  running.epoch = view->epoch;
  running.summed_in = view->epoch;
  Begin(now, id, *view, *self);
}

void Node::Begin(absl::Time now, OpId id, const View& view, Rank self) {
  RunningOp& running = ops_.at(id);
  const CollectiveRequest& request = running.request;
  running.root_lost =
      request.kind == CollectiveKind::kBroadcast && !view.RankOf(request.root).has_value();
  running.sends_cancelled = false;
  running.nodes = NodesOf(view);
  running.schedule = MakeSchedule(running, view);
  running.op = std::make_unique<CollectiveOp>(
      OpContext{.op = id, .epoch = view.epoch, .self = self, .nodes = running.nodes},
      *running.schedule, InputOf(running, view));
  running.tells = running.schedule->kind == CollectiveKind::kAllReduce ? DoneThrough() : OpId();
  // The way around a ring. What a silent peer does not acknowledge also shows that it is silent.
  running.tells_within = 2 * running.nodes.size() * DelayMax(running.nodes, now);
  running.state = OpState::kRunning;
  running.progressed = now;
  AnnounceCall(now, id, running, self);
  // Planned leavers take no part in later ops, whose frames would tell them what is finished.
  std::vector<NodeId> leavers;
  for (const View& older : membership_.views()) {
    if (older.epoch >= view.epoch) break;
    for (const Member& member : older.members) {
      if (view.Find(member.node) == nullptr) leavers.push_back(member.node);
    }
  }
  SendDone(now, leavers);
  PumpOp(now, id);
}

OpInput Node::InputOf(const RunningOp& running, const View& view) const {
  const CollectiveRequest& request = running.request;
  OpInput input{.dtype = request.input.dtype,
                .reduce_op = request.reduce_op,
                .data = request.input,
                .contributions = request.contributions,
                .flags = request.flags,
                .call_digest = XXH3_64bits(running.call_text.data(), running.call_text.size()),
                .done_through = DoneThrough()};
  if (request.policy == FailurePolicy::kAllOrNothing) {
    input.contributions = ContributionSet(static_cast<uint32_t>(view.size()));
    if (request.kind == CollectiveKind::kAllReduce || request.root == options_.self ||
        running.root_lost) {
      input.contributions.Add(view.RankOf(options_.self)->value());
    }
  }
  if (running.holder != nullptr) input.data.data = running.holder->result().data();
  if (running.root_lost) input.data.count = 0;
  return input;
}

std::unique_ptr<Schedule> Node::MakeSchedule(const RunningOp& running, const View& view) const {
  const CollectiveRequest& request = running.request;
  // Eight chunks per segment keep all hops of the ring busy; the bounds keep headers and delays
  // small.
  const size_t element_bytes = SizeOf(request.input.dtype);
  const size_t bytes = std::clamp(request.input.bytes() / (8 * view.size()),
                                  options_.chunk_bytes_min, options_.chunk_bytes_max);
  const ScheduleShape shape{.rank_count = static_cast<uint32_t>(view.size()),
                            .element_count = request.input.count,
                            .chunk_elements = std::max<size_t>(1, bytes / element_bytes)};
  if (running.root_lost) {
    return std::make_unique<Schedule>(
        RingAllReduce({.rank_count = shape.rank_count, .element_count = 0, .chunk_elements = 1}));
  }
  if (request.kind == CollectiveKind::kBroadcast) {
    return std::make_unique<Schedule>(ChainBroadcast(shape, *view.RankOf(request.root)));
  }
  return std::make_unique<Schedule>(RingAllReduce(shape));
}

// ---- Running. ----

void Node::PumpOp(absl::Time now, OpId id) {
  auto it = ops_.find(id);
  if (it == ops_.end() || it->second.op == nullptr || membership_.frozen()) return;
  RunningOp& running = it->second;
  while (std::optional<OpAction> action = running.op->NextAction()) {
    const absl::Status status = Execute(now, id, running, *action);
    if (!status.ok()) return FailOp(now, id, status, /*tell_others=*/true);
  }
  if (!running.op->status().ok()) {
    return FailOp(now, id, running.op->status(), /*tell_others=*/true);
  }
  if (running.op->finished() && running.state == OpState::kRunning) {
    if (running.root_lost) {
      const CollectiveRequest& request = running.request;
      const absl::Status status = absl::FailedPreconditionError(
          absl::StrCat("op ", ToString(id), ": the root, node ", request.root.value(),
                       ", is not in view ", running.epoch.value()));
      return FailOp(now, id, status, /*tell_others=*/true);
    }
    const OpId through = running.op->done_through_all();
    for (NodeId node : running.nodes) peer_done_[node] = std::max(peer_done_[node], through);
    Deliver(now, id, absl::OkStatus());
  }
  ForgetStable(now);
}

absl::Status Node::Execute(absl::Time now, OpId id, RunningOp& running, const OpAction& action) {
  if (const auto* receive = std::get_if<PostReceiveAction>(&action)) {
    running.receives.emplace_back(receive->peer, receive->key);
    return endpoint_.PostReceive(now, receive->peer, receive->key, receive->region);
  }
  if (const auto* send = std::get_if<SendAction>(&action)) {
    running.sends.emplace_back(send->peer, send->key);
    return endpoint_.Send(now, send->peer, send->key, send->region, TrafficClass::kCollective);
  }
  ReduceTask task = std::get<ReduceAction>(action).task;
  const uint64_t ticket = next_ticket_++;
  tickets_[ticket] = {.id = id, .op = running.op.get(), .inner = task.ticket};
  task.ticket = ticket;
  PERIGEE_CHECK(reduces_.size() < kQueueMax);
  reduces_.push_back(task);
  return absl::OkStatus();
}

void Node::OnTransfer(absl::Time now, NodeId peer, const TransferKey& key, bool delivered) {
  if (leaving_) leave_deadline_ = now + kLeaveLimit;
  if (key.op == kStateOp) {
    if (!delivered) {
      if (state_transfer_.OnSent(peer, key)) Emit(StateSent{peer});
    } else if (std::optional<absl::Status> status = state_transfer_.OnDelivered(peer, key)) {
      Emit(StateReceived{*std::move(status)});
    }
    return;
  }
  auto it = ops_.find(key.op);
  if (it == ops_.end() || it->second.op == nullptr || it->second.epoch != key.epoch) return;
  it->second.progressed = now;
  if (delivered) {
    it->second.op->OnDelivered(peer, key);
  } else {
    it->second.op->OnSent(peer, key);
  }
  PumpOp(now, key.op);
}

// ---- Ending. ----

void Node::Deliver(absl::Time now, OpId id, const absl::Status& status) {
  RunningOp& running = ops_.at(id);
  PERIGEE_CHECK(running.state != OpState::kDelivered);
  running.state = OpState::kDelivered;
  if (status.ok()) {
    step_times_.OnOpFinished(now - running.started);
  } else {
    failed_ = id;
    failed_at_ = now;
    failure_ = std::string(status.message());
  }
  if (!running.cancelled && !running.handed_out) {
    OpFinished finished{.op = id, .status = status, .epoch = running.summed_in};
    const View* view = membership_.ViewForStep(id.step());
    if (!status.ok() && view != nullptr) finished.epoch = view->epoch;
    if (status.ok()) {
      const absl::Span<const uint8_t> result = running.op->result();
      if (!result.empty()) std::memcpy(running.request.output.data, result.data(), result.size());
      finished.contributions = running.op->contributions();
      finished.flags = running.op->flags();
    }
    running.handed_out = true;
    Emit(std::move(finished));
  }
  if (!status.ok()) {
    Retire(running);
    ops_.erase(id);
    return;
  }
  idle_done_at_ = now + std::max(kRestMin, 4 * DelayMax(running.nodes, now));
  if (running.epoch < view()->epoch) SendDone(now, WithoutLaterOps(running));
}

absl::Duration Node::DelayMax(const std::vector<NodeId>& nodes, absl::Time now) const {
  absl::Duration delay;
  for (NodeId node : nodes) delay = std::max(delay, LinkTo(node, now).delay);
  return delay;
}

// Who of the op's members does not learn from the frames of later ops that this one is finished
// here: those that left by plan; all of them, when this member did.
std::vector<NodeId> Node::WithoutLaterOps(const RunningOp& running) const {
  if (leaving_) return running.nodes;
  std::vector<NodeId> nodes;
  for (NodeId node : running.nodes) {
    if (view()->Find(node) == nullptr) nodes.push_back(node);
  }
  return nodes;
}

void Node::FailOp(absl::Time now, OpId id, const absl::Status& status, bool tell_others) {
  auto it = ops_.find(id);
  if (it == ops_.end() || it->second.state == OpState::kDelivered) return;
  if (tell_others) {
    const FailMessage message{.op = id,
                              .code = static_cast<uint32_t>(status.code()),
                              .text = std::string(status.message())};
    for (const auto& [node, incarnation] : std::map<NodeId, Incarnation>(peers_)) {
      SendPeer(now, node, message);
    }
  }
  Deliver(now, id, status);
}

void Node::Withdraw(RunningOp& running) {
  for (const auto& [peer, key] : running.receives) endpoint_.CancelReceive(peer, key);
  for (const auto& [peer, key] : running.sends) endpoint_.CancelSend(peer, key);
  running.receives.clear();
  running.sends.clear();
}

void Node::Retire(RunningOp& running) {
  if (running.op == nullptr) return;
  Withdraw(running);
  const bool working = std::any_of(tickets_.begin(), tickets_.end(), [&](const auto& ticket) {
    return ticket.second.op == running.op.get();
  });
  if (working) retired_.push_back({std::move(running.schedule), std::move(running.op)});
  running.op.reset();
  running.schedule.reset();
}

OpId Node::DoneThrough() const {
  for (const auto& [id, running] : ops_) {
    if (running.state != OpState::kDelivered) return OpId(id.value() - 1);
  }
  return std::max(last_started_, done_floor_);
}

bool Node::RunningOpTellsDone(absl::Time now) const {
  const OpId through = DoneThrough();
  return std::any_of(ops_.begin(), ops_.end(), [&](const auto& op) {
    const RunningOp& running = op.second;
    return running.state == OpState::kRunning && running.op != nullptr &&
           running.tells >= through && now < running.progressed + running.tells_within;
  });
}

bool Node::IsStable(OpId id, const RunningOp& running) const {
  if (running.state != OpState::kDelivered) return false;
  // A planned leaver that is no peer any more may still fetch what is on its way. What is handed on
  // is not for leavers, and those who had it already never ask for it.
  const bool handed_on = running.holder != nullptr;
  if (running.op != nullptr && running.op->sends_pending() > 0 && !running.sends_cancelled &&
      !handed_on) {
    return false;
  }
  return std::all_of(running.nodes.begin(), running.nodes.end(), [&](NodeId node) {
    if (node == options_.self || !peers_.contains(node)) return true;
    const auto done = peer_done_.find(node);
    return done != peer_done_.end() && done->second >= id;
  });
}

void Node::ForgetStable(absl::Time now) {
  for (auto it = ops_.begin(); it != ops_.end();) {
    if (!IsStable(it->first, it->second)) {
      ++it;
      continue;
    }
    Retire(it->second);
    it = ops_.erase(it);
  }
  if (last_started_ == OpId()) return;
  const size_t views = membership_.views().size();
  membership_.ForgetBefore(ops_.empty() ? last_started_.step() : ops_.begin()->first.step());
  if (membership_.views().size() != views) UpdatePeers(now, /*fence=*/false);
}

}  // namespace perigee
