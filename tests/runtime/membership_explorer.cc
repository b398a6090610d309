// The world and its messages.
#include "tests/runtime/membership_explorer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

std::string MessageKey(NodeId node, const Incarnation& incarnation,
                       const CoordinatorMessage& message) {
  std::string key;
  AppendFingerprint(node.value(), &key);
  AppendFingerprint(incarnation.low, &key);
  AppendFingerprint(message.index(), &key);
  if (const auto* prepare = std::get_if<Prepare>(&message)) {
    AppendFingerprint(prepare->epoch.value(), &key);
    AppendFingerprint(prepare->ballot, &key);
    AppendFingerprint(prepare->planned, &key);
  } else if (const auto* accept = std::get_if<Accept>(&message)) {
    AppendFingerprint(accept->ballot, &key);
    AppendFingerprint(accept->proposal, &key);
  } else if (const auto* install = std::get_if<Install>(&message)) {
    AppendFingerprint(install->proposal, &key);
  }
  return key;
}

std::string MessageKey(NodeId node, const Incarnation& incarnation, const MemberMessage& message) {
  std::string key = "up";
  AppendFingerprint(node.value(), &key);
  AppendFingerprint(incarnation.low, &key);
  AppendFingerprint(message.index(), &key);
  if (const auto* promise = std::get_if<Promise>(&message)) {
    AppendFingerprint(promise->epoch.value(), &key);
    AppendFingerprint(promise->ballot, &key);
    AppendFingerprint(promise->promised, &key);
    AppendFingerprint(promise->granted + 2 * promise->any_started + 4 * promise->frozen, &key);
    AppendFingerprint(promise->started.value(), &key);
    AppendFingerprint(promise->status, &key);
    AppendFingerprint(promise->accepted.has_value(), &key);
    if (promise->accepted_ballot) AppendFingerprint(*promise->accepted_ballot, &key);
    if (promise->accepted) AppendFingerprint(*promise->accepted, &key);
  } else if (const auto* accepted = std::get_if<Accepted>(&message)) {
    AppendFingerprint(accepted->epoch.value(), &key);
    AppendFingerprint(accepted->ballot, &key);
    AppendFingerprint(accepted->promised, &key);
    AppendFingerprint(accepted->granted + 2 * accepted->any_started, &key);
    AppendFingerprint(accepted->started.value(), &key);
  }
  return key;
}

Ballot BallotOf(const MemberMessage& message) {
  if (const auto* promise = std::get_if<Promise>(&message)) return promise->ballot;
  return std::get<Accepted>(message).ballot;
}

}  // namespace

Explorer::Explorer(const ExplorerOptions& options) : options_(options) {}

Incarnation Explorer::IncarnationOf(int node, int life) {
  return {.high = 1, .low = static_cast<uint64_t>(10 * node + life)};
}

void Explorer::SetMembership(Slot& slot, const Membership& membership) {
  slot.membership = memberships_.Id(membership.Fingerprint(), membership);
}

Explorer::World Explorer::First() {
  World world;
  world.ballots = options_.ballots;
  world.crashes = options_.crashes;
  world.rejoins = options_.rejoins;
  world.restarts = options_.coordinator_restarts;
  world.deputies = options_.deputies;
  world.overtakings = options_.overtakings;
  Proposal founding{.planned = true};
  founding.view.job = {.high = 1, .low = 1};
  founding.view.epoch = Epoch(1);
  for (int node = 0; node < options_.node_count; ++node) {
    founding.view.members.push_back({.node = NodeId(node), .incarnation = IncarnationOf(node, 1)});
  }
  proposals_.Id("", Proposal());  // number 0 means none
  world.acting[0] = {.here = true, .life = 1, .view = ProposalId(founding)};
  world.decided[1] = world.acting[0].view;
  for (int node = 0; node < options_.node_count; ++node) {
    Membership membership(NodeId(node), IncarnationOf(node, 1));
    membership.OnInstall({founding});
    SetMembership(world.slots[node], membership);
  }
  const Proposer proposer(kCoordinator, {.high = 1, .low = 100}, options_.steps_ahead);
  world.acting[0].proposer = proposers_.Id(proposer.Fingerprint(), proposer);
  return world;
}

LocalProgress Explorer::Progress(const Slot& slot) const {
  LocalProgress progress;
  progress.any_started = slot.any_started;
  progress.started = StepId(slot.any_started ? slot.next_step - 1 : 0);
  for (int step = 0; step < options_.step_count; ++step) {
    const ToyOp& op = slot.ops[step];
    if (op.phase == ToyOp::kNone || op.stable) continue;
    progress.unstable.push_back({.op = OpId::Of(StepId(step), 0),
                                 .epoch = Epoch(op.epoch),
                                 .holds_result = op.phase == ToyOp::kHeld});
  }
  return progress;
}

uint32_t Explorer::ProposalId(const Proposal& proposal) {
  std::string key;
  AppendFingerprint(proposal, &key);
  return proposals_.Id(key, proposal);
}

uint32_t Explorer::MessageId(const Message& message) {
  return messages_.Id(message.to_member
                          ? MessageKey(message.node, message.incarnation, message.down)
                          : MessageKey(message.node, message.incarnation, message.up),
                      message);
}

bool Explorer::Post(World& world, uint32_t id) {
  auto it = std::lower_bound(world.messages.begin(), world.messages.end(), id);
  if (it != world.messages.end() && *it == id) return false;
  world.messages.insert(it, id);
  return true;
}

void Explorer::SendInstalls(World& world, const Proposal& proposal, const View& before) {
  std::set<std::pair<NodeId, Incarnation>> to;
  for (const Member& member : before.members) to.insert({member.node, member.incarnation});
  for (const Member& member : proposal.view.members) to.insert({member.node, member.incarnation});
  for (const auto& [node, incarnation] : to) {
    Post(world, MessageId({.node = node,
                           .incarnation = incarnation,
                           .to_member = true,
                           .down = Install{proposal}}));
  }
}

Explorer::ProposerStep Explorer::StepOf(Proposer proposer) {
  ProposerStep step{.ballot = proposer.ballot()};
  while (auto message = proposer.NextMessage()) {
    step.posts.push_back(MessageId({.node = message->to,
                                    .incarnation = proposer.view().Find(message->to)->incarnation,
                                    .to_member = true,
                                    .down = std::move(message->message)}));
  }
  if (auto decision = proposer.NextDecision()) {
    step.decision = ProposalId(*decision);
  }
  step.probe_ended = proposer.phase() == Proposer::Phase::kIdle && proposer.goal().only_if_begun;
  step.proposer = proposers_.Id(proposer.Fingerprint(), proposer);
  return step;
}

bool Explorer::Take(World& world, int who, const ProposerStep& step) {
  Acting& acting = world.acting[who];
  bool changed = acting.proposer != step.proposer;
  acting.proposer = step.proposer;
  for (uint32_t id : step.posts) changed = Post(world, id) || changed;
  if (step.probe_ended) acting.took_over = false;
  if (step.decision == 0) return changed;
  ++result_.decisions;
  const Proposal& decision = proposals_[step.decision];
  CheckDecision(world, who, decision, step.ballot);
  const uint64_t epoch = decision.view.epoch.value();
  PERIGEE_CHECK(epoch < kEpochsMax);
  if (world.decided[epoch] != 0 && world.decided[epoch] != step.decision) {
    Violation(absl::StrCat("two views were decided for epoch ", epoch));
  }
  world.decided[epoch] = step.decision;
  SendInstalls(world, decision, proposals_[acting.view].view);
  acting.view = step.decision;
  acting.took_over = false;
  return true;
}

bool Explorer::Reaches(const Message& message, const World& world) const {
  const int node = static_cast<int>(message.node.value());
  const Slot& slot = world.slots[node];
  if (!slot.alive || slot.out) return false;
  return message.incarnation == IncarnationOf(node, slot.incarnation) ||
         options_.bug == PlantedBug::kDeadVoteCounted;
}

const Ballot& Explorer::PromisedBy(uint32_t membership) {
  auto [it, added] = promised_.try_emplace(membership);
  if (added) {
    Membership copy = memberships_[membership];
    it->second = copy.OnPrepare({}, {}).promised;  // of no epoch: refused
  }
  return it->second;
}

// Whether the message can never have an effect again. An answer, when its ballot is not the one
// that its proposer is at. A ballot, when its member has promised a higher one and the refusal
// would be such an answer.
bool Explorer::IsSpent(const World& world, const Message& message) {
  const auto awaited = [&](Proposer::Phase phase, const Ballot& ballot) {
    return std::any_of(world.acting.begin(), world.acting.end(), [&](const Acting& acting) {
      return acting.here && proposers_[acting.proposer].phase() == phase &&
             proposers_[acting.proposer].ballot() == ballot;
    });
  };
  if (!message.to_member) {
    const bool promise = std::holds_alternative<Promise>(message.up);
    const auto phase = promise ? Proposer::Phase::kPreparing : Proposer::Phase::kAccepting;
    return !awaited(phase, BallotOf(message.up));
  }
  if (!Reaches(message, world)) return true;
  const uint32_t membership = world.slots[message.node.value()].membership;
  const auto& installed = memberships_[membership].installed();
  const Epoch known = installed ? installed->view.epoch : Epoch();
  if (const auto* prepare = std::get_if<Prepare>(&message.down)) {
    return prepare->epoch <= known || (prepare->ballot < PromisedBy(membership) &&
                                       !awaited(Proposer::Phase::kPreparing, prepare->ballot));
  }
  if (const auto* accept = std::get_if<Accept>(&message.down)) {
    return accept->proposal.view.epoch <= known ||
           (accept->ballot < PromisedBy(membership) &&
            !awaited(Proposer::Phase::kAccepting, accept->ballot));
  }
  return std::get<Install>(message.down).proposal.view.epoch <= known;
}

// Worlds that differ in nothing but spent messages are one.
void Explorer::Prune(World& world) {
  std::erase_if(world.messages, [&](uint32_t id) { return IsSpent(world, messages_[id]); });
}

bool Explorer::Deliver(World& world, uint32_t id) {
  const Message& message = messages_[id];
  if (message.to_member) return DeliverToMember(world, id);
  const int who = BallotOf(message.up).proposer == kCoordinator ? 0 : 1;
  if (!world.acting[who].here) return false;
  auto [it, added] = proposer_steps_.try_emplace({world.acting[who].proposer, id});
  if (added) {
    Proposer proposer = ProposerOf(world, who);
    Incarnation voter = message.incarnation;
    const Member* named = proposer.view().Find(message.node);
    if (options_.bug == PlantedBug::kDeadVoteCounted && named != nullptr) {
      voter = named->incarnation;
    }
    if (const auto* promise = std::get_if<Promise>(&message.up)) {
      Promise seen = *promise;
      if (options_.bug == PlantedBug::kAcceptedValueIgnored) seen.accepted.reset();
      proposer.OnPromise(message.node, voter, seen);
    } else {
      const Accepted& accepted = std::get<Accepted>(message.up);
      proposer.OnAccepted(message.node, voter, accepted);
      if (options_.bug == PlantedBug::kVoteCountedTwice && accepted.granted) {
        const NodeId other((message.node.value() + 1) % options_.node_count);
        const Member* member = proposer.view().Find(other);
        if (member != nullptr) proposer.OnAccepted(other, member->incarnation, accepted);
      }
    }
    it->second = StepOf(std::move(proposer));
  }
  const ProposerStep step = it->second;
  if (step.ballot != ProposerOf(world, who).ballot() && world.overtakings != kNoBound) {
    if (world.overtakings == 0) return false;
    --world.overtakings;
  }
  return Take(world, who, step);
}

bool Explorer::DeliverToMember(World& world, uint32_t id) {
  const Message& message = messages_[id];
  const int node = static_cast<int>(message.node.value());
  Slot& slot = world.slots[node];
  if (!Reaches(message, world)) return false;
  const LocalProgress progress = Progress(slot);
  std::string packed;
  AppendFingerprint(progress.started.value() + (progress.any_started ? 8 : 0), &packed);
  AppendFingerprint(progress.unstable, &packed);
  auto [it, added] = member_steps_.try_emplace({slot.membership, id, std::move(packed)});
  if (added) it->second = StepOf(memberships_[slot.membership], message, progress);
  const MemberStep step = it->second;
  const bool changed = slot.membership != step.membership;
  const bool first_view = !memberships_[slot.membership].installed();
  slot.membership = step.membership;
  if (const auto* install = std::get_if<Install>(&message.down)) {
    if (changed) Apply(world, node, step.result, install->proposal, first_view);
    return changed;
  }
  if (step.status_changed)
    Violation(absl::StrCat("node ", node, " is frozen and its status changed"));
  // One answer to each ballot: a later one differs at most in the step, as if it was asked later.
  Message reply = messages_[step.reply];
  reply.incarnation = IncarnationOf(node, slot.incarnation);
  const bool answered =
      std::any_of(world.messages.begin(), world.messages.end(), [&](uint32_t other_id) {
        const Message& other = messages_[other_id];
        return !other.to_member && other.node == reply.node &&
               other.incarnation == reply.incarnation && other.up.index() == reply.up.index() &&
               BallotOf(other.up) == BallotOf(reply.up);
      });
  return (!answered && Post(world, MessageId(reply))) || changed;
}

Explorer::MemberStep Explorer::StepOf(Membership membership, const Message& message,
                                      const LocalProgress& progress) {
  MemberStep step;
  Message reply{.node = message.node, .incarnation = message.incarnation, .to_member = false};
  if (const auto* install = std::get_if<Install>(&message.down)) {
    // The coordinator sends what a member lacks in order.
    const auto& known = membership.installed();
    const bool next = !known || install->proposal.view.epoch == known->view.epoch.Next();
    if (next) step.result = membership.OnInstall(*install);
  } else if (const auto* prepare = std::get_if<Prepare>(&message.down)) {
    const Promise promise = membership.OnPrepare(*prepare, progress);
    step.status_changed = promise.frozen && promise.granted && promise.status != progress.unstable;
    reply.up = promise;
  } else {
    reply.up = membership.OnAccept(std::get<Accept>(message.down), progress);
  }
  step.membership = memberships_.Id(membership.Fingerprint(), membership);
  step.reply = MessageId(reply);
  return step;
}

}  // namespace perigee
