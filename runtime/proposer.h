// The proposer's half of the agreement: makes one change of the view happen, ballot after ballot. A
// core without I/O and without time: whoever drives it says when patience is over.
//
//   proposer.Start(view, {.planned = true, .members = ..., .reason = "node 4 joins"}, live);
//   while (auto message = proposer.NextMessage()) ...       // to members of the view
//   proposer.OnPromise(node, incarnation, promise);  proposer.OnAccepted(node, incarnation,
//   accepted); if (auto proposal = proposer.NextDecision()) ...        // decided: send Install
//
// Paxos for one value per epoch, voted by the members of the view before (L. Lamport, "Paxos made
// simple"). One refinement: a value that was accepted somewhere is proposed again only if it could
// have been chosen, that is if those who reported it and those who have not answered are a quorum
// together. If it was not chosen by then it never will be, so the proposer is free; otherwise a
// planned view that came too late for the majority would have to be proposed for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/control_message.h"
#include "runtime/membership.h"
#include "transport/base/ids.h"
#include "transport/view.h"

namespace perigee {

// What the next view should be.
struct ProposalGoal {
  bool planned = true;
  std::vector<Member> members;  // sorted by NodeId; unplanned: only members of the view before
  std::string reason;
  // A coordinator that has just taken over: ends without a decision if no member accepted a value
  // or is frozen.
  bool only_if_begun = false;
  // By an operator's force: these are fenced, and the majority is one of the others' votes.
  std::set<NodeId> counted_out = {};
  std::optional<absl::Time> wakes = {};  // as in Proposal
};

class Proposer {
 public:
  enum class Phase : uint8_t { kIdle, kPreparing, kAccepting };

  // `steps_ahead`: CoordinatorOptions.
  Proposer(NodeId self, const Incarnation& incarnation, uint64_t steps_ahead);

  // Proposes the epoch after `view` with a new ballot; what was going on is given up in its favour.
  // `live`: the members from whom an answer can be expected, in order; only a planned change waits
  // for all of them.
  void Start(const View& view, ProposalGoal goal, std::set<NodeId> live);
  // Gives up. Must not be called when binding().
  void Abandon();
  // The epoch was decided by another proposer.
  void Forget();

  // Answers of others than the members of the view, by incarnation, are ignored.
  void OnPromise(NodeId node, const Incarnation& incarnation, const Promise& promise);
  void OnAccepted(NodeId node, const Incarnation& incarnation, const Accepted& accepted);
  // The answers have taken too long: goes on with a majority where that suffices, else with a new
  // ballot.
  void OnPatienceOver();
  // The node may have missed what was sent to it (its stream is new, it had not installed the
  // view).
  void Resend(NodeId node);

  struct Message {
    NodeId to;
    CoordinatorMessage message;
  };
  std::optional<Message> NextMessage();
  // Once per decision; the proposer is idle again.
  std::optional<Proposal> NextDecision();

  Phase phase() const { return phase_; }
  const ProposalGoal& goal() const { return goal_; }
  const Ballot& ballot() const { return ballot_; }
  const View& view() const { return view_; }  // whose members vote
  // Some member may be frozen, or have accepted a value of this epoch: only a decision ends that.
  bool binding() const { return binding_; }
  // Equal states, equal bytes; messages that were not taken yet do not count.
  std::string Fingerprint() const;

  static constexpr uint64_t kStepsAheadMax = 1024;

 private:
  void NewBallot(uint64_t above);
  void SendToAll();
  void AcceptOrWait(bool patience_over);
  std::optional<Proposal> ChosenBefore() const;
  Proposal PlannedProposal() const;
  Proposal UnplannedProposal() const;
  View NextView() const;
  void DecideOrWait(bool patience_over);

  NodeId self_;
  Incarnation incarnation_;
  uint64_t steps_ahead_;
  uint64_t steps_ahead_now_;  // doubled when a member was already further
  Phase phase_ = Phase::kIdle;
  View view_;        // its members vote
  View electorate_;  // view_, without the votes of those that are counted out
  ProposalGoal goal_;
  std::set<NodeId> live_;
  Ballot ballot_;
  bool binding_ = false;
  std::map<NodeId, Promise> promises_;  // granted, for ballot_
  std::set<NodeId> accepted_;           // for ballot_
  std::optional<Proposal> value_;       // kAccepting
  std::deque<Message> messages_;  // at most two per member: a newer ballot drops the older ones
  std::optional<Proposal> decision_;
};

}  // namespace perigee
