// What must hold in every state of the explored worlds.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/runtime/membership_explorer.h"

namespace perigee {
namespace {

constexpr int kContinueRoundsMax = 400;

}  // namespace

void Explorer::Violation(const std::string& text) {
  if (result_.violation.empty()) result_.violation = text;
}

void Explorer::CheckDecision(const World& world, int who, const Proposal& proposal,
                             const Ballot& ballot) {
  const View& before = LatestOf(world, who).view;
  std::set<NodeId> granted;
  for (uint32_t id : world.messages) {
    const Message& message = messages_[id];
    if (message.to_member || !std::holds_alternative<Accepted>(message.up)) continue;
    const Accepted& accepted = std::get<Accepted>(message.up);
    if (accepted.granted && accepted.ballot == ballot && accepted.epoch == proposal.view.epoch &&
        before.Contains(message.node, message.incarnation)) {
      granted.insert(message.node);
    }
  }
  if (options_.bug == PlantedBug::kVoteCountedTwice) return;  // must show in the views themselves
  if (!IsQuorum(before, granted)) {
    Violation(absl::StrCat("view ", proposal.view.epoch.value(), " was decided without a quorum"));
  }
}

void Explorer::CheckDeliveries(const World& world) {
  const auto delivered = [&](const Member& member, int step) -> int {
    const int life = static_cast<int>(member.incarnation.low % 10);
    return world.delivered[member.node.value()][life - 1][step];
  };
  for (int epoch = 2; epoch < kEpochsMax; ++epoch) {
    if (world.decided[epoch] == 0) continue;
    const Proposal& proposal = proposals_[world.decided[epoch]];
    for (const OpDecision& decision : proposal.decisions) {
      if (decision.kind != OpDecision::Kind::kAbort) continue;
      const int step = static_cast<int>(decision.op.step().value());
      for (const Member& member : proposal.view.members) {
        const int in = delivered(member, step);
        if (in > 0 && in < epoch) {
          Violation(absl::StrCat("view ", epoch, " aborts op ", step, ", which node ",
                                 member.node.value(), " delivered in view ", in));
        }
      }
    }
    // Whoever is in a view in which an op is computed has not delivered the op before.
    for (int step = 0; step < options_.step_count; ++step) {
      bool computed = false;
      for (const auto& lives : world.delivered) {
        computed = computed || lives[0][step] == epoch || lives[1][step] == epoch;
      }
      for (const Member& member : proposal.view.members) {
        const int in = delivered(member, step);
        if (computed && in > 0 && in < epoch) {
          Violation(absl::StrCat("op ", step, " was delivered twice in view ", epoch, ": node ",
                                 member.node.value(), " has it of view ", in));
        }
      }
    }
  }
}

// ---- Going on without faults. ----

bool Explorer::Here(const World& world, int who, const Member& member) const {
  const int node = static_cast<int>(member.node.value());
  const Slot& slot = world.slots[node];
  if (!slot.alive || slot.out || member.incarnation != IncarnationOf(node, slot.incarnation))
    return false;
  // Who lacks more than the latest view and cannot be sent it any more is told to come back as
  // another one.
  const auto& installed = memberships_[slot.membership].installed();
  uint64_t known = installed ? installed->view.epoch.value() : 0;
  const uint64_t latest = LatestOf(world, who).view.epoch.value();
  bool progress = true;
  while (progress && known > 0 && known + 1 < latest) {
    progress = std::any_of(world.messages.begin(), world.messages.end(), [&](uint32_t id) {
      const auto* install = std::get_if<Install>(&messages_[id].down);
      return messages_[id].to_member && install != nullptr && messages_[id].node == member.node &&
             messages_[id].incarnation == member.incarnation &&
             install->proposal.view.epoch.value() == known + 1;
    });
    ++known;
  }
  return progress && known > 0;
}

// Whether an op of an earlier view waits at this node for somebody who is neither in the view nor
// finishing.
bool Explorer::LeftTooEarly(const World& world, int who, int node) const {
  const View& view = LatestOf(world, who).view;
  const auto gone = [&](const Member& member) {
    const int there = static_cast<int>(member.node.value());
    const Slot& slot = world.slots[there];
    const bool same = member.incarnation == IncarnationOf(there, slot.incarnation);
    return !view.Contains(member.node, member.incarnation) && (!same || !slot.alive || slot.out);
  };
  const auto& installed = memberships_[world.slots[node].membership].installed();
  if (!installed || installed->view != view) return false;
  for (int step = 0; step < options_.step_count; ++step) {
    const ToyOp& op = world.slots[node].ops[step];
    if (op.phase != ToyOp::kRunning || op.epoch >= view.epoch.value()) continue;
    const View& of_op = proposals_[world.decided[op.epoch]].view;
    if (std::any_of(of_op.members.begin(), of_op.members.end(), gone)) return true;
  }
  return false;
}

// The coordinator's rules (coordinator_watch.cc, NextGoal) without time.
std::optional<ProposalGoal> Explorer::FairGoal(World& world, int who) {
  const View& view = LatestOf(world, who).view;
  Proposer proposer = ProposerOf(world, who);
  const bool busy = proposer.phase() != Proposer::Phase::kIdle;
  ProposalGoal goal{.planned = false};
  bool missing = false;
  for (const Member& member : view.members) {
    const bool here = Here(world, who, member);
    missing = missing || !here;
    if (here && member.votes > 0) goal.members.push_back(member);
    missing = missing || (here && LeftTooEarly(world, who, static_cast<int>(member.node.value())));
  }
  if (!missing) {
    if (busy && proposer.goal().only_if_begun) return std::nullopt;
    if (busy && !proposer.binding()) {
      proposer.Abandon();
      Take(world, who, StepOf(std::move(proposer)));
      return std::nullopt;
    }
    if (!busy && !world.acting[who].took_over) return std::nullopt;
    goal = {.planned = true, .members = view.members, .only_if_begun = !busy};
  }
  if (goal.members.empty()) return std::nullopt;
  if (busy && proposer.goal().planned == goal.planned && proposer.goal().members == goal.members) {
    return std::nullopt;
  }
  if (busy && proposer.phase() == Proposer::Phase::kAccepting && proposer.goal().planned &&
      goal.planned) {
    return std::nullopt;
  }
  return goal;
}

// All streams break and are made again: what was on its way is lost, and the coordinator sends what
// it would.
void Explorer::BreakStreams(World& world, int who) {
  // Acceptances stay for CheckDecision; the ones that were counted already count no more.
  std::erase_if(world.messages, [&](uint32_t id) {
    return messages_[id].to_member || !std::holds_alternative<Accepted>(messages_[id].up);
  });
  const Proposal proposal = LatestOf(world, who);
  SendInstalls(world, proposal, ViewBefore(world, proposal.view));
  Proposer proposer = ProposerOf(world, who);
  for (const Member& member : proposal.view.members) proposer.Resend(member.node);
  Take(world, who, StepOf(std::move(proposer)));
}

bool Explorer::ContinueOnce(World& world, int who) {
  if (std::optional<ProposalGoal> goal = FairGoal(world, who)) Propose(world, who, *goal);
  bool any = false;
  for (bool changed = true; changed && result_.violation.empty();) {
    const auto before = Key(world);
    for (int node = 0; node < options_.node_count; ++node) {
      Learn(world, who, node);
      HearUndecided(world, who, node);
    }
    const std::vector<uint32_t> messages = world.messages;
    for (uint32_t id : messages) {
      if (std::binary_search(world.messages.begin(), world.messages.end(), id)) Deliver(world, id);
    }
    for (int node = 0; node < options_.node_count; ++node) {
      Start(world, node);
      for (int step = 0; step < options_.step_count; ++step) Hold(world, node, step);
    }
    Prune(world);
    changed = Key(world) != before;
    any = any || changed;
  }
  return any;
}

bool Explorer::AtRest(const World& world, int who) {
  const View& view = LatestOf(world, who).view;
  const bool idle = ProposerOf(world, who).phase() == Proposer::Phase::kIdle;
  if (!idle || world.acting[who].took_over) return false;
  for (const Member& member : view.members) {
    if (!Here(world, who, member)) return false;
    const Slot& slot = world.slots[member.node.value()];
    const Membership& membership = memberships_[slot.membership];
    if (membership.installed()->view != view || membership.frozen() || membership.barrier())
      return false;
    if (slot.next_step < options_.step_count) return false;
    if (slot.next_step > 0 && slot.any_started &&
        slot.ops[slot.next_step - 1].phase != ToyOp::kHeld) {
      return false;
    }
  }
  return true;
}

void Explorer::CheckContinuations(const World& world) {
  for (int who = 0; who < kActingMax; ++who) {
    if (!world.acting[who].here) continue;
    CheckContinuation(world, who, /*break_streams=*/false);
    CheckContinuation(world, who, /*break_streams=*/true);
  }
}

void Explorer::CheckContinuation(World world, int who, bool break_streams) {
  ++result_.continued;
  world.acting[1 - who].here = false;
  world.overtakings = kNoBound;
  if (break_streams) BreakStreams(world, who);
  for (int round = 0; round < kContinueRoundsMax && result_.violation.empty(); ++round) {
    if (AtRest(world, who)) return;
    // Without a majority there is nothing but to wait.
    std::set<NodeId> here;
    const View& view = LatestOf(world, who).view;
    for (const Member& member : view.members) {
      if (Here(world, who, member)) here.insert(member.node);
    }
    if (!IsQuorum(view, here)) return;
    if (ContinueOnce(world, who)) continue;
    if (options_.bug == PlantedBug::kEndlessPatience) continue;
    Proposer proposer = ProposerOf(world, who);
    proposer.OnPatienceOver();
    Take(world, who, StepOf(std::move(proposer)));
    CheckDeliveries(world);
  }
  std::string text = absl::StrCat("no rest ", break_streams ? "with new streams" : "", ":");
  for (int node = 0; node < options_.node_count; ++node) {
    const Slot& slot = world.slots[node];
    const Membership& membership = memberships_[slot.membership];
    absl::StrAppend(&text, "\n  node ", node, slot.alive ? "" : " dead", slot.out ? " out" : "",
                    " life ", slot.incarnation, " next step ", slot.next_step,
                    membership.frozen() ? " frozen" : "", membership.barrier() ? " barrier" : "",
                    membership.installed() ? " " + ToString(membership.installed()->view) : "");
    for (const ToyOp& op : slot.ops) {
      absl::StrAppend(&text, " op ", op.phase, "/", op.epoch, op.finishing ? "f" : "");
    }
  }
  const Proposer& proposer = ProposerOf(world, who);
  absl::StrAppend(
      &text, who == 0 ? "\n  coordinator: " : "\n  deputy: ", ToString(LatestOf(world, who).view),
      " phase ", static_cast<int>(proposer.phase()), " ballot ", proposer.ballot().round,
      world.acting[who].took_over ? " took over" : "", proposer.binding() ? " binding" : "");
  for (uint32_t id : world.messages) {
    absl::StrAppend(&text, "\n  on its way: ", Describe({.kind = Action::kDeliver, .what = id}));
  }
  Violation(text);
}

}  // namespace perigee
