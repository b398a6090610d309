#include "runtime/proposer.h"

#include <algorithm>
#include <utility>

#include "transport/base/status.h"

namespace perigee {
namespace {

template <typename Value>
std::set<NodeId> Keys(const std::map<NodeId, Value>& map) {
  std::set<NodeId> keys;
  for (const auto& [key, value] : map) keys.insert(key);
  return keys;
}

bool Includes(const std::set<NodeId>& set, const std::set<NodeId>& subset) {
  return std::includes(set.begin(), set.end(), subset.begin(), subset.end());
}

NodeId TieBreaker(const View& before, const std::vector<Member>& members) {
  NodeId first = members.front().node;
  bool found = false;
  for (const Member& member : members) {
    if (member.votes == 0) continue;
    if (member.node == before.tie_breaker) return member.node;
    if (!found) first = member.node;
    found = true;
  }
  return first;
}

// Whether a member that says nothing of an op may lack it: a broadcast can be finished by others
// before this one has begun it. A member that was further then knows the op to be stable.
bool MayLack(const Promise& promise, OpId op) {
  const auto of_op = [&](const OpStatus& status) { return status.op == op; };
  if (std::any_of(promise.status.begin(), promise.status.end(), of_op)) return false;
  return !promise.any_started || promise.started <= op.step();
}

// One decision per op that some member of the next view does not know to be stable. Who had a
// result already, or was not in the op's view, ignores that it is called missing.
std::vector<OpDecision> Decide(const std::map<NodeId, const Promise*>& members) {
  std::map<OpId, OpDecision> decisions;
  for (const auto& [node, promise] : members) {
    for (const OpStatus& status : promise->status) {
      OpDecision& decision = decisions[status.op];
      decision.op = status.op;
      if (!status.holds_result) {
        decision.missing.push_back(node);
      } else if (decision.kind == OpDecision::Kind::kAbort) {
        decision.kind = OpDecision::Kind::kFinish;
        decision.holder = node;
      }
    }
  }
  std::vector<OpDecision> result;
  for (auto& [op, decision] : decisions) {
    if (decision.kind == OpDecision::Kind::kAbort) {
      decision.missing.clear();
    } else {
      for (const auto& [node, promise] : members) {
        if (MayLack(*promise, op)) decision.missing.push_back(node);
      }
      std::sort(decision.missing.begin(), decision.missing.end());
    }
    result.push_back(std::move(decision));
  }
  return result;
}

}  // namespace

Proposer::Proposer(NodeId self, const Incarnation& incarnation, uint64_t steps_ahead)
    : self_(self),
      incarnation_(incarnation),
      steps_ahead_(steps_ahead),
      steps_ahead_now_(steps_ahead) {}

void Proposer::Start(const View& view, ProposalGoal goal, std::set<NodeId> live) {
  PERIGEE_CHECK(!goal.members.empty());
  if (view.epoch != view_.epoch) {
    binding_ = false;
    steps_ahead_now_ = steps_ahead_;
  }
  view_ = view;
  goal_ = std::move(goal);
  electorate_ = WithoutVotesOf(view_, goal_.counted_out);
  live_ = std::move(live);
  NewBallot(view.ballot.round);
}

void Proposer::Abandon() {
  PERIGEE_CHECK(!binding_);
  phase_ = Phase::kIdle;
  messages_.clear();
  promises_.clear();
}

void Proposer::Forget() {
  phase_ = Phase::kIdle;
  goal_ = ProposalGoal();
  binding_ = false;
  value_.reset();
  messages_.clear();
  promises_.clear();
  accepted_.clear();
}

void Proposer::NewBallot(uint64_t above) {
  ballot_ = {
      .round = std::max(ballot_.round, above) + 1, .proposer = self_, .incarnation = incarnation_};
  phase_ = Phase::kPreparing;
  binding_ = binding_ || !goal_.planned;
  promises_.clear();
  accepted_.clear();
  value_.reset();
  SendToAll();
}

void Proposer::SendToAll() {
  messages_.clear();
  for (const Member& member : view_.members) Resend(member.node);
}

void Proposer::Resend(NodeId node) {
  if (view_.Find(node) == nullptr) return;
  if (phase_ == Phase::kPreparing && !promises_.contains(node)) {
    messages_.push_back(
        {node, Prepare{.epoch = view_.epoch.Next(), .ballot = ballot_, .planned = goal_.planned}});
  } else if (phase_ == Phase::kAccepting && !accepted_.contains(node)) {
    messages_.push_back({node, Accept{.ballot = ballot_, .proposal = *value_}});
  }
}

void Proposer::OnPromise(NodeId node, const Incarnation& incarnation, const Promise& promise) {
  if (phase_ != Phase::kPreparing || !view_.Contains(node, incarnation)) return;
  if (promise.epoch != view_.epoch.Next() || promise.ballot != ballot_) return;
  if (!promise.granted) {
    // A member that has not installed the view refuses too, but not with a higher ballot; it is
    // asked again when it has.
    if (promise.promised > ballot_) NewBallot(promise.promised.round);
    return;
  }
  binding_ = binding_ || promise.frozen || promise.accepted.has_value();
  promises_.emplace(node, promise);
  AcceptOrWait(/*patience_over=*/false);
}

void Proposer::AcceptOrWait(bool patience_over) {
  const std::set<NodeId> answered = Keys(promises_);
  std::set<NodeId> awaited = live_;
  if (goal_.only_if_begun || !goal_.planned) {
    awaited.clear();
    for (const Member& member : goal_.members) awaited.insert(member.node);
  }
  const bool complete = Includes(answered, awaited);
  if (!IsQuorum(electorate_, answered) || (!complete && !patience_over)) return;
  if (goal_.only_if_begun && !binding_) {
    if (complete) return Abandon();
    return NewBallot(0);
  }
  value_ = ChosenBefore();
  if (!value_) {
    if (!goal_.planned && !complete) return NewBallot(0);
    value_ = goal_.planned ? PlannedProposal() : UnplannedProposal();
  }
  phase_ = Phase::kAccepting;
  binding_ = true;
  SendToAll();
}

std::optional<Proposal> Proposer::ChosenBefore() const {
  const Promise* latest = nullptr;
  for (const auto& [node, promise] : promises_) {
    if (!promise.accepted_ballot || !promise.accepted) continue;
    if (latest == nullptr || *promise.accepted_ballot > *latest->accepted_ballot) latest = &promise;
  }
  if (latest == nullptr) return std::nullopt;
  std::set<NodeId> may_have_accepted;
  for (const Member& member : view_.members) {
    auto it = promises_.find(member.node);
    if (it == promises_.end() || it->second.accepted == latest->accepted) {
      may_have_accepted.insert(member.node);
    }
  }
  if (!IsQuorum(view_, may_have_accepted)) return std::nullopt;
  return latest->accepted;
}

View Proposer::NextView() const {
  View next;
  next.job = view_.job;
  next.epoch = view_.epoch.Next();
  next.ballot = ballot_;
  next.previous_digest = Digest(view_);
  next.members = goal_.members;
  next.tie_breaker = TieBreaker(view_, next.members);
  return next;
}

Proposal Proposer::PlannedProposal() const {
  Proposal proposal{
      .view = NextView(), .planned = true, .wakes = goal_.wakes, .reason = goal_.reason};
  // Not before a view that is decided but has not begun yet.
  StepId first = view_.first_step;
  for (const auto& [node, promise] : promises_) {
    if (!promise.any_started) continue;
    first = std::max(first, StepId(promise.started.value() + 1 + steps_ahead_now_));
  }
  proposal.view.first_step = first;
  return proposal;
}

Proposal Proposer::UnplannedProposal() const {
  Proposal proposal{.view = NextView(), .planned = false, .reason = goal_.reason};
  std::map<NodeId, const Promise*> members;
  std::optional<StepId> started;
  for (const Member& member : goal_.members) {
    const Promise& promise = promises_.at(member.node);
    members[member.node] = &promise;
    if (promise.any_started && (!started || promise.started < *started)) started = promise.started;
  }
  proposal.decisions = Decide(members);
  // In order of the ops, so the first aborted one has the lowest step.
  auto aborted = std::find_if(
      proposal.decisions.begin(), proposal.decisions.end(),
      [](const OpDecision& decision) { return decision.kind == OpDecision::Kind::kAbort; });
  // A member may have calls before the first aborted op still to make: the others of those are
  // gone.
  proposal.view.first_step = started.value_or(view_.first_step);
  if (aborted != proposal.decisions.end()) {
    proposal.view.first_step = std::min(started.value_or(aborted->op.step()), aborted->op.step());
  }
  return proposal;
}

void Proposer::OnAccepted(NodeId node, const Incarnation& incarnation, const Accepted& accepted) {
  if (phase_ != Phase::kAccepting || !view_.Contains(node, incarnation)) return;
  if (accepted.epoch != view_.epoch.Next() || accepted.ballot != ballot_) return;
  if (!accepted.granted) {
    if (accepted.promised == ballot_) {
      // The planned view would begin at a step that runs already: the job is faster than was
      // thought.
      steps_ahead_now_ = std::min(std::max<uint64_t>(1, 2 * steps_ahead_now_), kStepsAheadMax);
      NewBallot(0);
    } else if (accepted.promised > ballot_) {
      NewBallot(accepted.promised.round);
    }
    return;
  }
  accepted_.insert(node);
  DecideOrWait(/*patience_over=*/false);
}

void Proposer::DecideOrWait(bool patience_over) {
  if (!IsQuorum(electorate_, accepted_)) return;
  // Who has not accepted a planned view has no barrier and may run past its first step in the old
  // one.
  if (goal_.planned && !patience_over && !Includes(accepted_, live_)) return;
  decision_ = std::move(value_);
  Forget();
}

void Proposer::OnPatienceOver() {
  const Ballot before = ballot_;
  if (phase_ == Phase::kPreparing) {
    AcceptOrWait(/*patience_over=*/true);
    if (phase_ == Phase::kPreparing && ballot_ == before) NewBallot(0);
  } else if (phase_ == Phase::kAccepting) {
    DecideOrWait(/*patience_over=*/true);
    if (phase_ == Phase::kAccepting) NewBallot(0);
  }
}

std::optional<Proposer::Message> Proposer::NextMessage() {
  if (messages_.empty()) return std::nullopt;
  Message message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

std::optional<Proposal> Proposer::NextDecision() {
  std::optional<Proposal> decision = std::move(decision_);
  decision_.reset();
  return decision;
}

std::string Proposer::Fingerprint() const {
  std::string out;
  AppendFingerprint(static_cast<uint64_t>(phase_), &out);
  AppendFingerprint(self_.value(), &out);
  AppendFingerprint(incarnation_.high, &out);
  AppendFingerprint(incarnation_.low, &out);
  AppendFingerprint(steps_ahead_now_, &out);
  AppendFingerprint(ballot_, &out);
  AppendFingerprint(binding_, &out);
  AppendFingerprint(Proposal{.view = view_}, &out);
  Proposal goal{.planned = goal_.planned, .reason = goal_.reason};
  goal.view.members = goal_.members;
  AppendFingerprint(goal, &out);
  AppendFingerprint(goal_.only_if_begun, &out);
  AppendFingerprint(goal_.counted_out.size(), &out);
  for (NodeId node : goal_.counted_out) AppendFingerprint(node.value(), &out);
  AppendFingerprint(live_.size(), &out);
  for (NodeId node : live_) AppendFingerprint(node.value(), &out);
  AppendFingerprint(promises_.size(), &out);
  for (const auto& [node, promise] : promises_) {
    AppendFingerprint(node.value(), &out);
    AppendFingerprint(promise.started.value() * 4 + (promise.any_started ? 2 : 0) + promise.frozen,
                      &out);
    AppendFingerprint(promise.status, &out);
    AppendFingerprint(promise.accepted.has_value(), &out);
    if (promise.accepted_ballot) AppendFingerprint(*promise.accepted_ballot, &out);
    if (promise.accepted) AppendFingerprint(*promise.accepted, &out);
  }
  AppendFingerprint(accepted_.size(), &out);
  for (NodeId node : accepted_) AppendFingerprint(node.value(), &out);
  AppendFingerprint(value_.has_value(), &out);
  if (value_) AppendFingerprint(*value_, &out);
  return out;
}

}  // namespace perigee
