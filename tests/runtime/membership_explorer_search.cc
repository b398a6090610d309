// The search itself, and what must hold in every state.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/runtime/membership_explorer.h"
#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {
namespace {

constexpr double kRareShare = 0.03;  // of crashes, proposals and the like in random walks

template <typename T>
void AppendBytes(const T& value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

// ---- What can happen. ----

std::vector<ProposalGoal> Explorer::Goals(const World& world, int who) const {
  if (!world.acting[who].here) return {};
  const View& view = LatestOf(world, who).view;
  std::vector<ProposalGoal> goals;
  for (const Member& removed : view.members) {
    if ((options_.removable >> removed.node.value() & 1) == 0) continue;
    ProposalGoal planned{.planned = true};
    ProposalGoal unplanned{.planned = false};
    bool votes = false;
    for (const Member& member : view.members) {
      if (member.node == removed.node) continue;
      planned.members.push_back(member);
      if (member.votes > 0) unplanned.members.push_back(member);
      votes = votes || member.votes > 0;
    }
    if (!votes) continue;
    if (options_.unplanned) goals.push_back(std::move(unplanned));
    if (options_.planned) goals.push_back(std::move(planned));
  }
  for (int node = 0; node < options_.node_count; ++node) {
    const Slot& slot = world.slots[node];
    const Member* member = view.Find(NodeId(node));
    if (!slot.alive || slot.out || slot.incarnation == 1) continue;
    if (member != nullptr && member->incarnation != IncarnationOf(node, slot.incarnation)) continue;
    if (member != nullptr && member->votes > 0) continue;
    ProposalGoal goal{.planned = true, .members = view.members};
    std::erase_if(goal.members, [&](const Member& m) { return m.node == NodeId(node); });
    goal.members.push_back({.node = NodeId(node),
                            .incarnation = IncarnationOf(node, slot.incarnation),
                            .votes = member != nullptr ? 1u : 0u});
    std::sort(goal.members.begin(), goal.members.end(),
              [](const Member& a, const Member& b) { return a.node < b.node; });
    goals.push_back(std::move(goal));
  }
  const bool busy = ProposerOf(world, who).phase() != Proposer::Phase::kIdle;
  if (options_.unplanned) goals.push_back({.planned = false, .members = view.members});
  if (world.acting[who].took_over || busy) {
    goals.push_back({.planned = true, .members = view.members, .only_if_begun = !busy});
  }
  return goals;
}

void Explorer::Propose(World& world, int who, const ProposalGoal& goal) {
  std::set<NodeId> live;
  const View& view = LatestOf(world, who).view;
  for (const Member& member : view.members) {
    if (world.slots[member.node.value()].alive) live.insert(member.node);
  }
  Proposer proposer = ProposerOf(world, who);
  proposer.Start(view, goal, live);
  Take(world, who, StepOf(std::move(proposer)));
}

std::vector<Explorer::Action> Explorer::Actions(const World& world) const {
  std::vector<Action> actions;
  for (uint32_t id : world.messages) actions.push_back({.kind = Action::kDeliver, .what = id});
  for (int node = 0; node < options_.node_count; ++node) {
    actions.push_back({.kind = Action::kStart, .node = node});
    for (int step = 0; step < options_.step_count; ++step) {
      actions.push_back({.kind = Action::kHold, .node = node, .step = step});
    }
    const Slot& slot = world.slots[node];
    if (slot.alive && world.crashes > 0) actions.push_back({.kind = Action::kCrash, .node = node});
    if (!slot.alive && slot.incarnation == 1 && world.rejoins > 0) {
      actions.push_back({.kind = Action::kRejoin, .node = node});
    }
  }
  for (int who = 0; who < kActingMax; ++who) AppendActions(world, who, &actions);
  return actions;
}

// What the coordinator, or who acts for it, may do.
void Explorer::AppendActions(const World& world, int who, std::vector<Action>* actions) const {
  const Acting& acting = world.acting[who];
  if ((who == 0 ? world.restarts : world.deputies) > 0) {
    for (uint32_t heard = 1; heard < 1u << options_.node_count; ++heard) {
      actions->push_back({.kind = Action::kTakeOver, .what = heard, .who = who});
    }
  }
  if (!acting.here) return;
  for (int node = 0; node < options_.node_count; ++node) {
    actions->push_back({.kind = Action::kLearn, .node = node, .who = who});
    // Without a second proposer there is nothing that it did not begin itself; without a ballot
    // left it can do nothing about it.
    if (options_.deputies == 0 || world.ballots == 0) continue;
    actions->push_back({.kind = Action::kHearUndecided, .node = node, .who = who});
  }
  if (world.ballots == 0) return;
  const uint32_t goal_count = static_cast<uint32_t>(Goals(world, who).size());
  for (uint32_t i = 0; i < goal_count; ++i) {
    actions->push_back({.kind = Action::kPropose, .what = i, .who = who});
  }
  if (ProposerOf(world, who).phase() != Proposer::Phase::kIdle) {
    actions->push_back({.kind = Action::kPatience, .who = who});
  }
}

bool Explorer::Act(World& world, const Action& action) {
  switch (action.kind) {
    case Action::kDeliver:
      return Deliver(world, action.what);
    case Action::kStart:
      return Start(world, action.node);
    case Action::kHold:
      return Hold(world, action.node, action.step);
    case Action::kCrash:
      --world.crashes;
      world.slots[action.node].alive = false;
      return true;
    case Action::kRejoin:
      --world.rejoins;
      return Rejoin(world, action.node);
    case Action::kPropose: {
      const ProposalGoal goal = Goals(world, action.who)[action.what];
      --world.ballots;
      Propose(world, action.who, goal);
      return true;
    }
    case Action::kPatience: {
      --world.ballots;
      Proposer proposer = ProposerOf(world, action.who);
      proposer.OnPatienceOver();
      Take(world, action.who, StepOf(std::move(proposer)));
      return true;
    }
    case Action::kTakeOver:
      return TakeOver(world, action.who, action.what);
    case Action::kLearn:
      return Learn(world, action.who, action.node);
    case Action::kHearUndecided:
      return HearUndecided(world, action.who, action.node);
  }
  return false;
}

std::string Explorer::Describe(const Action& action) const {
  const std::string node = absl::StrCat("node ", action.node);
  const std::string who = action.who == 0 ? "the coordinator" : "the deputy";
  switch (action.kind) {
    case Action::kStart:
      return node + " starts its next step";
    case Action::kHold:
      return absl::StrCat(node, " delivers op ", action.step);
    case Action::kCrash:
      return node + " crashes";
    case Action::kRejoin:
      return node + " starts again";
    case Action::kPropose:
      return absl::StrCat(who, " proposes goal ", action.what);
    case Action::kPatience:
      return who + " has no patience any more";
    case Action::kTakeOver:
      return absl::StrCat(who, " starts and hears nodes ", action.what);
    case Action::kLearn:
      return who + " learns the view of " + node;
    case Action::kHearUndecided:
      return who + " hears that something is undecided at " + node;
    case Action::kDeliver:
      break;
  }
  const Message& message = messages_[action.what];
  static constexpr const char* kDown[] = {"welcome", "prepare", "accept",
                                          "install", "removed", "waiting"};
  static constexpr const char* kUp[] = {"register", "beat",  "promise",
                                        "accepted", "leave", "suspect"};
  return absl::StrCat(message.to_member ? kDown[message.down.index()] : kUp[message.up.index()],
                      message.to_member ? " to node " : " of node ", message.node.value());
}

std::array<uint64_t, 2> Explorer::Key(const World& world) {
  std::string key;
  key.reserve(512);
  for (const Slot& slot : world.slots) {
    AppendBytes(slot.alive, &key);
    AppendBytes(slot.out, &key);
    AppendBytes(slot.incarnation, &key);
    AppendBytes(slot.next_step, &key);
    AppendBytes(slot.any_started, &key);
    AppendBytes(slot.floor, &key);
    AppendBytes(slot.membership, &key);
    for (const ToyOp& op : slot.ops) {
      AppendBytes(op.phase, &key);
      AppendBytes(op.epoch, &key);
      AppendBytes(op.finishing, &key);
      AppendBytes(op.stable, &key);
    }
  }
  for (const Acting& acting : world.acting) {
    AppendBytes(acting.here, &key);
    AppendBytes(acting.took_over, &key);
    AppendBytes(acting.life, &key);
    AppendBytes(acting.proposer, &key);
    AppendBytes(acting.view, &key);
  }
  for (uint8_t count : {world.ballots, world.crashes, world.rejoins, world.restarts, world.deputies,
                        world.overtakings}) {
    AppendBytes(count, &key);
  }
  AppendBytes(world.given, &key);
  AppendBytes(world.decided, &key);
  AppendBytes(world.delivered, &key);
  for (uint32_t id : world.messages) AppendBytes(id, &key);
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  return {hash.low64, hash.high64};
}

ExplorerResult Explorer::Run() {
  struct Frame {
    World world;
    std::vector<Action> actions;
    size_t next = 0;
  };
  std::vector<Frame> stack;
  const auto visit = [&](World world) {
    const auto key = Key(world);
    if (!visited_.insert(key).second) return;
    ++result_.states;
    CheckDeliveries(world);
    if (key[0] % options_.continue_one_in == 0) CheckContinuations(world);
    std::vector<Action> actions = Actions(world);
    stack.push_back({std::move(world), std::move(actions), 0});
  };
  visit(First());
  while (!stack.empty() && result_.violation.empty() && result_.states < options_.states_max) {
    Frame& top = stack.back();
    if (top.next == top.actions.size()) {
      stack.pop_back();
      continue;
    }
    World world = top.world;
    if (!Act(world, top.actions[top.next++])) continue;
    ++result_.transitions;
    Prune(world);
    visit(std::move(world));
  }
  result_.complete = stack.empty();
  if (!result_.violation.empty()) {
    for (const Frame& frame : stack) {
      if (frame.next > 0)
        absl::StrAppend(&result_.violation, "\n  ", Describe(frame.actions[frame.next - 1]));
    }
  }
  return result_;
}

ExplorerResult Explorer::Walk(uint64_t seed, int walks, int actions) {
  Rng rng(seed);
  for (int walk = 0; walk < walks; ++walk) {
    World world = First();
    std::string way;
    for (int i = 0; i < actions && result_.violation.empty(); ++i) {
      const std::vector<Action> possible = Actions(world);
      const Action& action = possible[rng.Below(possible.size())];
      // The rare actions are many; without this there would be little but them.
      const bool rare = action.kind != Action::kDeliver && action.kind != Action::kStart &&
                        action.kind != Action::kHold;
      if (rare && !rng.Bernoulli(kRareShare)) continue;
      if (!Act(world, action)) continue;
      absl::StrAppend(&way, "\n  ", Describe(action));
      ++result_.transitions;
      Prune(world);
      result_.states += visited_.insert(Key(world)).second ? 1 : 0;
      CheckDeliveries(world);
    }
    if (result_.violation.empty()) CheckContinuations(world);
    if (!result_.violation.empty()) {
      absl::StrAppend(&result_.violation, way);
      break;
    }
  }
  return result_;
}

}  // namespace perigee
