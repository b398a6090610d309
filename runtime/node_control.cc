// A Node's control plane: what it tells the coordinator and those members that act for it, and what
// it does about what they say.
#include <algorithm>
#include <utility>

#include "runtime/node.h"
#include "transport/base/status.h"

namespace perigee {

// ---- The coordinator's stream. ----

void Node::OnControlConnected(absl::Time now) {
  connected_ = true;
  clock_.OnConnected();
  if (out_) return;
  SendToCoordinator(Registration());
  next_beat_ = now + beat_interval_;
}

void Node::OnControlDisconnected(absl::Time now) {
  connected_ = false;
  if (out_) return;
  deputy_.OnCoordinatorClosed(now);
  PumpDeputy(now);
}

void Node::OnControl(absl::Time now, const CoordinatorMessage& message) {
  if (out_) return;
  deputy_.OnCoordinatorHeard(now);
  if (const auto* welcome = std::get_if<Welcome>(&message)) welcome_ = *welcome;
  clock_.OnCoordinator(now, message);
  Handle(now, message);
  PumpDeputy(now);
}

void Node::Handle(absl::Time now, const CoordinatorMessage& message) {
  if (const auto* welcome = std::get_if<Welcome>(&message)) {
    beat_interval_ = welcome->policy.beat_interval;
    deputy_.SetPolicy(welcome->policy);
    next_beat_ = std::min(next_beat_, now + beat_interval_);
    if (!welcome->plan_text.empty()) Emit(PlanReceived{welcome->plan_text});
  } else if (const auto* prepare = std::get_if<Prepare>(&message)) {
    SendControl(now, membership_.OnPrepare(*prepare, Progress()));
  } else if (const auto* accept = std::get_if<Accept>(&message)) {
    SendControl(now, membership_.OnAccept(*accept, Progress()));
  } else if (const auto* install = std::get_if<Install>(&message)) {
    OnInstall(now, *install);
  } else if (const auto* waiting = std::get_if<Waiting>(&message)) {
    waiting_reason_ = waiting->reason;
    clock_.OnWaiting(*waiting);
    deputy_.SetCalendar(clock_.calendar_ahead());
  } else if (const auto* removed = std::get_if<Removed>(&message)) {
    // A planned leaver finishes what it takes part in; its peers still count on it.
    if (!leaving_) GoOut(now, {.may_rejoin = removed->may_rejoin, .reason = removed->reason});
  }
}

Register Node::Registration() const {
  return {.node = options_.self,
          .incarnation = options_.incarnation,
          .address = options_.address,
          .version = options_.version,
          .start_members = options_.start_members,
          .installed = membership_.installed()};
}

void Node::SendToCoordinator(MemberMessage message) {
  if (!connected_ || controls_.size() >= kQueueMax) return;
  controls_.push_back(std::move(message));
}

// Everybody hears everything: answers are for the ballot that they name.
void Node::SendControl(absl::Time now, MemberMessage message) {
  deputy_.OnOwnMessage(now, message);
  SendToCoordinator(std::move(message));
}

// ---- Members that act for it. ----

void Node::PumpDeputy(absl::Time now) {
  while (!out_) {
    if (deputy_.WantsRegistration(now)) {
      deputy_.OnOwnMessage(now, Registration());
      next_beat_ = std::min(next_beat_, now + beat_interval_);
    } else if (deputy_.HasMessage() && events_.empty()) {
      // As with the coordinator's stream, the driver handles what one message brings before the
      // next one.
      const CoordinatorMessage message = *deputy_.NextMessage();
      const View* before = view();
      const Epoch epoch = before != nullptr ? before->epoch : Epoch();
      Handle(now, message);
      // The coordinator does not know what is decided without it.
      if (!out_ && view() != nullptr && view()->epoch != epoch) SendToCoordinator(Registration());
    } else if (auto out = deputy_.NextPeerMessage()) {
      SendPeer(now, out->to, out->message);
    } else {
      return;
    }
  }
}

// ---- What is said. ----

void Node::SendBeat(absl::Time now) {
  const bool heard = connected_ || deputy_.IsAttached(now);
  next_beat_ = heard && !out_ ? now + beat_interval_ : absl::InfiniteFuture();
  if (out_) return;
  Beat beat = ReportWithoutLinks(now);
  deputy_.OnOwnMessage(now, beat);
  beat.links = NextLinks(now);  // for people, who ask the coordinator
  beat.clock = clock_.Report(now);
  SendToCoordinator(std::move(beat));
  // Again and again: what counts is how long the silence lasts, and a suspicion grows old.
  for (const auto& [node, since] : silent_) SendSuspicion(now, node, since);
}

void Node::SetLoopLateness(absl::Time now, absl::Duration lateness) {
  loop_lateness_ = lateness;
  if (lateness <= kLatenessMax) return;
  punctual_since_ = now;
  deputy_.OnLate(now);
}

void Node::SendSuspicion(absl::Time now, NodeId node, absl::Time since) {
  const auto peer = peers_.find(node);
  const absl::Time calendar = Calendar(now);
  const bool dark = plan_.IsDark(node, calendar) || plan_.IsDark(options_.self, calendar);
  if (peer == peers_.end() || dark) return;
  SendControl(now, Suspect{.node = node,
                           .incarnation = peer->second,
                           .silent_for = now - std::max(since, punctual_since_)});
}

void Node::SetActive(absl::Time now) {
  if (active_) return;
  active_ = true;
  SendBeat(now);
  PumpDeputy(now);
}

void Node::Leave(absl::Time now, const std::string& reason) {
  SendControl(now, perigee::Leave{reason});
  PumpDeputy(now);
}

}  // namespace perigee
