// A Node's views and peers: what happens when the membership changes, and what members tell each
// other.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/node.h"
#include "transport/base/status.h"

namespace perigee {

LocalProgress Node::Progress() const {
  LocalProgress progress{.started = begun_step_, .any_started = any_begun_};
  for (const auto& [id, running] : ops_) {
    // What waits for a view or for input has not begun in this one: nobody can have its result.
    if (running.op == nullptr && running.holder == nullptr) continue;
    const CollectiveOp& op = running.holder != nullptr ? *running.holder : *running.op;
    const bool lost = running.root_lost && running.holder == nullptr;
    progress.unstable.push_back(
        {.op = id, .epoch = running.epoch, .holds_result = op.finished() && !lost});
  }
  return progress;
}

// ---- Views. ----

void Node::OnInstall(absl::Time now, const Install& install) {
  const std::optional<Proposal> before = membership_.installed();
  const std::vector<View> views_before = membership_.views();
  const Membership::InstallResult result = membership_.OnInstall(install);
  const Proposal& proposal = install.proposal;
  switch (result) {
    case Membership::InstallResult::kIgnored:
      return;
    case Membership::InstallResult::kOutNow:
      return GoOut(now, {.planned = leaving_, .reason = proposal.reason});
    case Membership::InstallResult::kOutPlanned:
      BeginPlannedLeave(now, proposal);
      if (SleepsBefore(proposal.view)) RepeatFrom(proposal.view.first_step);
      break;
    case Membership::InstallResult::kPlanned:
      RepeatFrom(proposal.view.first_step);
      break;
    case Membership::InstallResult::kUnplanned:
      // Taken in from a later step on, this member has neither the state nor the calls of the steps
      // that the others repeat now.
      if (done_floor_.step() > proposal.view.first_step) {
        return GoOut(now, {.reason = absl::StrCat(ToString(proposal.view), " begins before step ",
                                                  done_floor_.step().value(),
                                                  ", the first one of this member")});
      }
      // Nobody sleeps after all.
      leaving_ = false;
      leave_deadline_ = absl::InfiniteFuture();
      break;
  }
  if (!before) {
    done_floor_ = OpId::Of(proposal.view.first_step, 0);
  }
  ViewChanged changed{.proposal = proposal};
  for (const Member& member : proposal.view.members) {
    const bool taken_in = proposal.planned && !proposal.wakes;
    if (taken_in && (!before || !before->view.Contains(member.node, member.incarnation))) {
      changed.newcomers.push_back(member.node);
    }
  }
  waiting_reason_.clear();
  if (result == Membership::InstallResult::kOutPlanned && proposal.wakes) {
    asleep_ = proposal.view.epoch;
  }
  UpdatePeers(now, /*fence=*/!proposal.planned);
  deputy_.OnView(now, proposal.view);
  Emit(std::move(changed));
  if (result == Membership::InstallResult::kUnplanned) ApplyUnplanned(now, proposal, views_before);
  Thaw(now);
}

void Node::RepeatFrom(StepId first_step) {
  for (auto it = ops_.lower_bound(OpId::Of(first_step, 0)); it != ops_.end(); ++it) {
    RunningOp& running = it->second;
    // A broadcast can be over at its root and at those behind it: they take part once more, for the
    // others.
    if (running.state == OpState::kDelivered && running.holder == nullptr) {
      Withdraw(running);
      running.holder = std::move(running.op);
      running.holder_schedule = std::move(running.schedule);
    }
    Retire(running);
    running.state = OpState::kWaiting;
  }
}

void Node::ApplyUnplanned(absl::Time now, const Proposal& proposal,
                          const std::vector<View>& before) {
  const View& view = proposal.view;
  std::vector<NodeId> nodes;
  for (const Member& member : view.members) nodes.push_back(member.node);
  state_transfer_.Clear(endpoint_);
  for (auto& [id, running] : ops_) {
    Withdraw(running);
    running.nodes = nodes;
    if (running.op == nullptr) {
      running.state = OpState::kWaiting;  // it may have waited for input in a view that is over
      continue;
    }
    running.sends_cancelled = true;
    const auto decision =
        std::find_if(proposal.decisions.begin(), proposal.decisions.end(),
                     [id = id](const OpDecision& candidate) { return candidate.op == id; });
    const bool finish =
        decision != proposal.decisions.end() && decision->kind == OpDecision::Kind::kFinish;
    if (finish || running.state == OpState::kDelivered) continue;
    Retire(running);
    running.state = OpState::kWaiting;
  }
  FollowDecisions(now, proposal, before);
}

void Node::Thaw(absl::Time now) {
  if (membership_.frozen()) return;
  std::deque<TransportEvent> held = std::exchange(held_, {});
  for (const TransportEvent& event : held) OnTransportEvent(now, event);
  std::vector<OpId> running;
  for (const auto& [id, op] : ops_) running.push_back(id);
  for (OpId id : running) PumpOp(now, id);
  TryBeginAll(now);
  ForgetStable(now);
  if (leaving_) CheckPlannedLeave(now);
}

void Node::UpdatePeers(absl::Time now, bool fence) {
  std::map<NodeId, Incarnation> wanted;
  for (const View& view : membership_.views()) {
    // Its members are next lives: those before are still the peers.
    if (view.epoch == asleep_) continue;
    for (const Member& member : view.members) {
      if (member.node != options_.self) wanted[member.node] = member.incarnation;
    }
  }
  for (const auto& [node, incarnation] : peers_) {
    auto it = wanted.find(node);
    if (it != wanted.end() && it->second == incarnation) continue;
    peer_done_.erase(node);
    silent_.erase(node);
    link_samples_.erase(node);
    state_transfer_.Forget(endpoint_, node);
    // Another incarnation takes the session's place at once.
    if (fence || it != wanted.end()) {
      endpoint_.RemovePeer(node);
      deputy_.OnPeerGone(now, node);
    } else {
      lingering_[node] = now + kLinger;
    }
  }
  peers_ = std::move(wanted);
  for (const auto& [node, incarnation] : peers_) {
    // Back before its earlier incarnation's session was dropped.
    if (lingering_.erase(node) > 0) deputy_.OnPeerGone(now, node);
    const absl::Status status = endpoint_.AddPeer(
        now, {.node = node, .incarnation = incarnation, .link = LinkTo(node, now)});
    PERIGEE_CHECK(status.ok());
  }
}

void Node::DropLingering(absl::Time now) {
  for (auto it = lingering_.begin(); it != lingering_.end();) {
    if (it->second > now) {
      ++it;
      continue;
    }
    endpoint_.RemovePeer(it->first);
    deputy_.OnPeerGone(now, it->first);
    it = lingering_.erase(it);
  }
}

void Node::BeginPlannedLeave(absl::Time now, const Proposal& proposal) {
  leaving_ = true;
  leaving_reason_ = proposal.reason;
  leave_deadline_ = now + kLeaveLimit;
}

void Node::CheckPlannedLeave(absl::Time now) {
  if (out_ || membership_.frozen()) return;
  const StepId next = steps_done_ ? steps_done_->Next() : done_floor_.step();
  const bool called_all = next >= view()->first_step;
  // The caller computes; the others wait for what it will call, however long its steps are.
  if (!called_all && DoneThrough() >= last_started_) leave_deadline_ = now + kLeaveLimit;
  // What was called for later steps waits; of one that leaves for good it has failed.
  const bool done =
      called_all && (ops_.empty() || ops_.begin()->first.step() >= view()->first_step);
  const bool sleeps = done && SleepsBefore(*view());
  // Nobody stays to hand the last word on to those that sleep as well.
  if (sleeps && !all_told()) leave_deadline_ = std::min(leave_deadline_, now + kTellLimit);
  if (now < leave_deadline_ && !(done && (!sleeps || all_told()))) return;
  LeftView left{.planned = true, .reason = leaving_reason_};
  if (sleeps) {
    left.resumption = {welcome_.value_or(Welcome()), *membership_.installed()};
    SendToCoordinator(perigee::Leave{"asleep"});
  }
  GoOut(now, left);
}

void Node::GoOut(absl::Time now, const LeftView& left) {
  (void)now;
  out_ = true;
  connected_ = false;
  deputy_.Stop();
  const absl::Status status = absl::AbortedError(absl::StrCat("out of the job: ", left.reason));
  for (const auto& [node, incarnation] : peers_) endpoint_.RemovePeer(node);
  peers_.clear();
  for (auto& [id, running] : ops_) {
    if (!running.handed_out && !running.cancelled) {
      Emit(OpFinished{.op = id, .status = status, .epoch = running.epoch});
    }
    Retire(running);
  }
  ops_.clear();
  finished_elsewhere_.clear();
  failed_elsewhere_.clear();
  held_.clear();
  state_transfer_.Clear(endpoint_);
  Emit(left);
}

Link Node::LinkTo(NodeId peer, absl::Time now) const {
  return plan_.LinkAt(options_.self, peer, Calendar(now)).value_or(options_.default_link);
}

// ---- Messages between members. ----

void Node::OnPeerMessage(absl::Time now, NodeId peer, const PeerMessage& message) {
  if (const auto* call = std::get_if<CallMessage>(&message)) {
    CompareCall(now, peer, *call);
  } else if (const auto* done = std::get_if<DoneMessage>(&message)) {
    peer_done_[peer] = std::max(peer_done_[peer], done->through);
    ForgetStable(now);
  } else if (const auto* fail = std::get_if<FailMessage>(&message)) {
    const absl::Status status(static_cast<absl::StatusCode>(fail->code), fail->text);
    if (fail->op > last_started_) {
      if (failed_elsewhere_.size() < kOpsWindow) failed_elsewhere_[fail->op] = status;
      return;
    }
    // The one who failed may be gone before it has told all others.
    FailOp(now, fail->op, status, /*tell_others=*/true);
  } else if (const auto* summons = std::get_if<SummonsMessage>(&message)) {
    if (peers_.contains(peer)) deputy_.OnPeerMessage(now, peer, *summons);
  } else if (const auto* part = std::get_if<PartMessage>(&message)) {
    deputy_.OnPeerMessage(now, peer, *part);
  }
}

void Node::AnnounceCall(absl::Time now, OpId id, const RunningOp& running, Rank self) {
  const size_t size = running.nodes.size();
  if (size > 1) {
    SendPeer(now, running.nodes[(self.value() + 1) % size], CallMessage{id, running.call_text});
  }
  auto it = calls_.lower_bound({id, NodeId()});
  while (it != calls_.end() && it->first.first == id) {
    const NodeId peer = it->first.second;
    const CallMessage call = it->second;
    it = calls_.erase(it);
    CompareCall(now, peer, call);
  }
}

void Node::CompareCall(absl::Time now, NodeId peer, const CallMessage& call) {
  auto it = ops_.find(call.op);
  if (it == ops_.end()) {
    if (call.op > last_started_ && calls_.size() < kOpsWindow) calls_[{call.op, peer}] = call;
    return;
  }
  if (it->second.call_text == call.text) return;
  FailOp(now, call.op,
         absl::FailedPreconditionError(absl::StrCat(
             "op ", ToString(call.op), ": node ", peer.value(), " called \"", call.text,
             "\" where node ", options_.self.value(), " called \"", it->second.call_text,
             "\": all members must make the same calls in the same order")),
         /*tell_others=*/true);
}

void Node::SendDone(absl::Time now, const std::vector<NodeId>& peers) {
  const DoneMessage message{DoneThrough()};
  for (NodeId peer : peers) {
    if (peer != options_.self) SendPeer(now, peer, message);
  }
}

void Node::SendPeer(absl::Time now, NodeId peer, const PeerMessage& message) {
  if (!endpoint_.HasPeer(peer)) return;
  // A full queue means a peer that has not answered for long; the membership deals with it.
  endpoint_.SendControl(now, peer, Encode(message)).IgnoreError();
}

}  // namespace perigee
