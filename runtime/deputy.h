// The coordinator's work while it is away, done by one of the members. Everybody knows whose turn
// it is: the voting members of the view in order, those that are not silent first. Whoever acts
// runs the coordinator's own core (coordinator.h) on streams between members (peer_stream.h): it
// adopts the view once a majority has registered, removes who is lost and takes out who goes dark
// by plan. A core without I/O; part of Node.
//
//   deputy.OnCoordinatorHeard(now);  deputy.OnPeerMessage(now, peer, message);
//   deputy.OnOwnMessage(now, beat);                    // to all who act, oneself included
//   while (auto message = deputy.NextMessage()) ...    // for the own node, as if by the
//   coordinator while (auto out = deputy.NextPeerMessage()) ...    // to a peer
//
// Several may act at one time, beside the coordinator too: they are only proposers, and ballots
// keep them apart (membership.md). That it ends soon is the business of the rules below: one gives
// way to the coordinator as soon as it hears it, and to a member before it in order that has a
// majority.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "runtime/clock_offset.h"
#include "runtime/control_message.h"
#include "runtime/coordinator.h"
#include "runtime/peer_message.h"
#include "runtime/peer_stream.h"
#include "transport/base/ids.h"
#include "transport/base/rng.h"
#include "transport/contact_plan.h"
#include "transport/view.h"

namespace perigee {

class Deputy {
 public:
  // Every member waits so much longer than the one before it.
  static constexpr absl::Duration kTurn = absl::Milliseconds(50);
  static constexpr int kAttachedMax = 4;  // deputies that a member answers at one time
  static constexpr size_t kQueueMax = 1 << 20;

  Deputy(NodeId self, const Incarnation& incarnation, std::string version, Rng rng);

  // ---- What the node knows. ----
  void SetPolicy(const ViewPolicy& policy) { policy_ = policy; }
  void SetPlan(ContactPlan plan) { plan_ = std::move(plan); }
  // How far calendar time is ahead of the own clock: what one begins with that acts.
  void SetCalendar(std::optional<absl::Duration> ahead) { calendar_ahead_ = ahead; }
  void OnView(absl::Time now, const View& view);
  void OnCoordinatorHeard(absl::Time now);
  void OnCoordinatorClosed(absl::Time now);
  // The own loop was late: what it did not hear says nothing.
  void OnLate(absl::Time now);
  // The own node begins with a view that it slept in: the coordinator gets the time to be heard.
  void OnWake(absl::Time now) { not_before_ = now + policy_.lease; }
  void OnPeerSilent(NodeId peer) { silent_.insert(peer); }
  void OnPeerHeard(NodeId peer) { silent_.erase(peer); }
  // Its session is gone, and what was on its way.
  void OnPeerGone(absl::Time now, NodeId peer);
  void OnPeerMessage(absl::Time now, NodeId peer, const SummonsMessage& summons);
  void OnPeerMessage(absl::Time now, NodeId peer, PartMessage part);
  // What the node would tell the coordinator. A Register goes to those that it has not gone to yet.
  void OnOwnMessage(absl::Time now, const MemberMessage& message);
  void OnTimeout(absl::Time now);
  absl::Time NextTimeout() const;
  // Out of the job.
  void Stop();

  // ---- What it wants. ----
  bool WantsRegistration(absl::Time now) const;
  bool HasMessage() const { return !messages_.empty(); }
  std::optional<CoordinatorMessage> NextMessage();
  struct Out {
    NodeId to;
    PeerMessage message;
  };
  std::optional<Out> NextPeerMessage();

  // ---- Reading. ----
  bool HearsCoordinator(absl::Time now) const { return now < lease_until_; }
  // Somebody acts whom the node should tell how it is.
  bool IsAttached(absl::Time now) const;
  // Null while this member does not act.
  const Coordinator* acting() const { return acting_ != nullptr ? &acting_->coordinator : nullptr; }
  // Who acts and has a majority; nothing while nobody has.
  std::optional<NodeId> ActingNode(absl::Time now) const;

 private:
  // At a member: its stream to one that acts.
  struct Attachment {
    uint32_t life = 0;
    PeerStream stream;
    HeardClock clock;
    absl::Time since;
    absl::Time until;  // unless it is heard again
    bool has_view = false;
    bool registered = false;
    bool broken = false;
  };
  // At the one that acts: its stream to a member.
  struct Attached {
    StreamId stream_id = 0;
    PeerStream stream;
    bool closed = false;
  };
  struct Acting {
    uint32_t life = 0;
    Coordinator coordinator;
    bool registered = false;  // the own node
    std::map<NodeId, Attached> members;
    StreamId next_stream = 1;
    absl::Time next_summons;
  };

  bool MayAct() const;
  absl::Time TurnAt() const;
  bool GivesWay(absl::Time now) const;
  void Act(absl::Time now);
  void Summon(absl::Time now);
  bool MakeRoom(absl::Time now, NodeId peer, bool has_view);
  void OnPartUp(absl::Time now, NodeId peer, PartMessage part);
  void OnPartDown(absl::Time now, NodeId peer, PartMessage part);
  void Close(absl::Time now, Attached& member);
  void PumpCoordinator();
  void Push(NodeId to, PeerMessage message);
  bool IsLive(const Attachment& attachment, absl::Time now) const {
    return now < attachment.until && !attachment.broken;
  }

  NodeId self_;
  Incarnation incarnation_;
  std::string version_;
  Rng rng_;
  ViewPolicy policy_;
  ContactPlan plan_;
  std::optional<absl::Duration> calendar_ahead_;
  std::optional<View> view_;
  absl::Time lease_until_ = absl::InfinitePast();
  absl::Time not_before_ = absl::InfinitePast();
  std::set<NodeId> silent_;
  std::map<NodeId, Attachment> attachments_;  // one per peer, kAttachedMax of them live
  std::unique_ptr<Acting> acting_;
  uint32_t lives_ = 0;
  std::deque<CoordinatorMessage> messages_;
  std::deque<Out> out_;
};

}  // namespace perigee
