// What members and the coordinator do besides answering messages: the toy engine, crashes, and new
// lives.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/runtime/membership_explorer.h"

namespace perigee {

// What the engine does at a new view: the rules of membership.h.
void Explorer::Apply(World& world, int node, Membership::InstallResult result,
                     const Proposal& proposal, bool first_view) {
  Slot& slot = world.slots[node];
  const uint8_t epoch = static_cast<uint8_t>(proposal.view.epoch.value());
  using Result = Membership::InstallResult;
  if (result == Result::kOutNow) slot.out = true;
  if (result == Result::kIgnored || result == Result::kOutNow) return;
  const uint64_t first_step = proposal.view.first_step.value();
  const uint8_t first = static_cast<uint8_t>(std::min<uint64_t>(first_step, options_.step_count));
  if (first_view) slot.next_step = slot.floor = first;
  if (result == Result::kUnplanned && first < slot.floor) {
    slot.out = true;  // it has neither the state nor the calls of the steps that the others repeat
    return;
  }
  for (int step = 0; step < options_.step_count; ++step) {
    ToyOp& op = slot.ops[step];
    if (op.phase == ToyOp::kNone) continue;
    bool repeat = false;
    if (result == Result::kUnplanned) {
      const OpId id = OpId::Of(StepId(step), 0);
      auto decision = std::find_if(proposal.decisions.begin(), proposal.decisions.end(),
                                   [&](const OpDecision& candidate) { return candidate.op == id; });
      const bool decided = decision != proposal.decisions.end();
      const bool finish = decided && decision->kind == OpDecision::Kind::kFinish;
      if (!decided && op.phase == ToyOp::kRunning) {
        Violation(absl::StrCat("op ", step, " runs at node ", node, " and view ", epoch,
                               " decides nothing"));
      }
      op.finishing = finish && op.phase == ToyOp::kRunning;
      repeat = !finish && op.phase == ToyOp::kRunning &&
               options_.bug != PlantedBug::kRemovedFrameCounted;
    } else if (step >= static_cast<int>(first_step)) {
      if (op.phase == ToyOp::kHeld) {
        Violation(absl::StrCat("op ", step, " was delivered at node ", node, " before view ", epoch,
                               " that begins there"));
      }
      repeat = op.phase == ToyOp::kRunning && result == Result::kPlanned && !op.finishing;
    }
    if (!repeat) continue;
    op.epoch = epoch;
    op.finishing = false;
    world.given[step][epoch] |= 1 << node;
  }
}

bool Explorer::Start(World& world, int node) {
  Slot& slot = world.slots[node];
  if (!slot.alive || slot.out || slot.next_step >= options_.step_count) return false;
  const Membership& membership = memberships_[slot.membership];
  const StepId step(slot.next_step);
  const View* view = membership.ViewForStep(step);
  if (view == nullptr || !view->Contains(NodeId(node), IncarnationOf(node, slot.incarnation)))
    return false;
  if (membership.frozen()) return false;
  const bool ignore = options_.bug == PlantedBug::kBarrierIgnored;
  if (membership.barrier() && *membership.barrier() <= step && !ignore) return false;
  if (slot.next_step > 0 && slot.any_started &&
      slot.ops[slot.next_step - 1].phase != ToyOp::kHeld) {
    return false;
  }
  // Acks ride on later ops: what everybody holds by now is known to be stable.
  for (int earlier = 0; earlier < slot.next_step; ++earlier) {
    ToyOp& op = slot.ops[earlier];
    if (op.phase != ToyOp::kHeld) continue;
    bool stable = true;
    for (const Member& member : proposals_[world.decided[op.epoch]].view.members) {
      const Slot& other = world.slots[member.node.value()];
      stable = stable &&
               member.incarnation == IncarnationOf(member.node.value(), other.incarnation) &&
               other.ops[earlier].phase == ToyOp::kHeld;
    }
    op.stable = op.stable || stable;
  }
  slot.ops[slot.next_step] = {.phase = ToyOp::kRunning,
                              .epoch = static_cast<uint8_t>(view->epoch.value())};
  world.given[slot.next_step][view->epoch.value()] |= 1 << node;
  slot.any_started = 1;
  ++slot.next_step;
  return true;
}

bool Explorer::Hold(World& world, int node, int step) {
  Slot& slot = world.slots[node];
  ToyOp& op = slot.ops[step];
  if (!slot.alive || slot.out || op.phase != ToyOp::kRunning) return false;
  if (memberships_[slot.membership].frozen() && options_.bug != PlantedBug::kFrozenDelivers)
    return false;
  bool possible = !op.finishing;
  for (const Member& member : proposals_[world.decided[op.epoch]].view.members) {
    const int other = static_cast<int>(member.node.value());
    const Slot& there = world.slots[other];
    if (!op.finishing) {
      possible = possible && (world.given[step][op.epoch] >> other & 1) != 0;
    } else if (there.alive && !there.out && there.ops[step].phase == ToyOp::kHeld) {
      possible = possible || there.ops[step].epoch == op.epoch;
    }
  }
  if (!possible) return false;
  const Epoch oldest = memberships_[slot.membership].views().front().epoch;
  if (!op.finishing && Epoch(op.epoch) < oldest) {
    Violation(absl::StrCat("op ", step, " counts frames of view ", op.epoch, " at node ", node,
                           " after view ", oldest.value(), " has ended it"));
  }
  op.phase = ToyOp::kHeld;
  op.finishing = false;
  world.delivered[node][slot.incarnation - 1][step] = op.epoch;
  return true;
}

bool Explorer::Rejoin(World& world, int node) {
  Slot& slot = world.slots[node];
  const bool amnesia = options_.bug == PlantedBug::kAmnesia;
  Slot fresh;
  fresh.incarnation = amnesia ? slot.incarnation : slot.incarnation + 1;
  const bool poses = options_.bug == PlantedBug::kDeadVoteCounted;
  Membership membership(NodeId(node),
                        IncarnationOf(node, poses ? slot.incarnation : fresh.incarnation));
  if (amnesia) {
    fresh = slot;
    fresh.alive = true;
  }
  const auto& installed = memberships_[slot.membership].installed();
  if ((amnesia || poses) && installed) membership.OnInstall({*installed});
  slot = fresh;
  SetMembership(slot, membership);
  return true;
}

const View& Explorer::ViewBefore(const World& world, const View& view) const {
  return proposals_[world.decided[view.epoch.value() - 1]].view;
}

bool Explorer::TakeOver(World& world, int who, uint32_t heard) {
  const Proposal* latest = nullptr;
  std::set<NodeId> nodes;
  for (int node = 0; node < options_.node_count; ++node) {
    const Slot& slot = world.slots[node];
    if ((heard >> node & 1) == 0) continue;
    if (!slot.alive || slot.out) return false;
    const auto& installed = memberships_[slot.membership].installed();
    if (!installed) return false;
    if (latest == nullptr || installed->view.epoch > latest->view.epoch) latest = &*installed;
  }
  if (latest == nullptr) return false;
  for (int node = 0; node < options_.node_count; ++node) {
    const Incarnation incarnation = IncarnationOf(node, world.slots[node].incarnation);
    if ((heard >> node & 1) != 0 && latest->view.Contains(NodeId(node), incarnation)) {
      nodes.insert(NodeId(node));
    }
  }
  if (!IsQuorum(latest->view, nodes)) return false;
  const Proposal view = *latest;
  --(who == 0 ? world.restarts : world.deputies);
  Acting& acting = world.acting[who];
  acting = {.here = true,
            .took_over = options_.bug != PlantedBug::kFrozenForEver,
            .life = static_cast<uint8_t>(acting.life + 1),
            .view = ProposalId(view)};
  // The streams to its predecessor are closed; what was not read from them before is lost.
  const NodeId name = who == 0 ? kCoordinator : kDeputy;
  std::erase_if(world.messages, [&](uint32_t id) {
    const CoordinatorMessage& down = messages_[id].down;
    const auto* prepare = std::get_if<Prepare>(&down);
    const auto* accept = std::get_if<Accept>(&down);
    if (!messages_[id].to_member) return false;
    return (prepare != nullptr && prepare->ballot.proposer == name) ||
           (accept != nullptr && accept->ballot.proposer == name);
  });
  SendInstalls(world, view, ViewBefore(world, view.view));
  const Proposer proposer(name, {.high = 1, .low = 99u + acting.life}, options_.steps_ahead);
  acting.proposer = proposers_.Id(proposer.Fingerprint(), proposer);
  return true;
}

bool Explorer::Learn(World& world, int who, int node) {
  const Slot& slot = world.slots[node];
  Acting& acting = world.acting[who];
  if (!acting.here || !slot.alive || slot.out) return false;
  const auto& installed = memberships_[slot.membership].installed();
  if (!installed || installed->view.epoch <= proposals_[acting.view].view.epoch) return false;
  const Proposal view = *installed;
  Proposer proposer = proposers_[acting.proposer];
  proposer.Forget();
  acting.view = ProposalId(view);
  acting.took_over = options_.bug != PlantedBug::kFrozenForEver;
  SendInstalls(world, view, ViewBefore(world, view.view));
  acting.proposer = proposers_.Id(proposer.Fingerprint(), proposer);
  return true;
}

// Coordinator::OnBeat: a member waits for the end of something that nobody else may end.
bool Explorer::HearUndecided(World& world, int who, int node) {
  const Slot& slot = world.slots[node];
  Acting& acting = world.acting[who];
  if (!acting.here || acting.took_over || !slot.alive || slot.out) return false;
  const bool deaf =
      options_.bug == PlantedBug::kUndecidedIgnored || options_.bug == PlantedBug::kFrozenForEver;
  if (deaf) return false;
  if (proposers_[acting.proposer].phase() != Proposer::Phase::kIdle) return false;
  const Membership& membership = memberships_[slot.membership];
  if (!membership.undecided()) return false;
  if (membership.installed()->view.epoch != proposals_[acting.view].view.epoch) return false;
  acting.took_over = true;
  return true;
}

}  // namespace perigee
