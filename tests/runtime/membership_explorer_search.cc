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

std::vector<ProposalGoal> Explorer::Goals(const World& world) const {
  const View& view = proposals_[world.view].view;
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
  for (int node = 0; node < kNodes; ++node) {
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
  const Proposer& proposer = proposers_[world.proposer];
  const bool busy = proposer.phase() != Proposer::Phase::kIdle;
  if (options_.unplanned) goals.push_back({.planned = false, .members = view.members});
  if (world.took_over || busy) {
    goals.push_back({.planned = true, .members = view.members, .only_if_begun = !busy});
  }
  return goals;
}

void Explorer::Propose(World& world, const ProposalGoal& goal) {
  std::set<NodeId> live;
  for (const Member& member : proposals_[world.view].view.members) {
    if (world.slots[member.node.value()].alive) live.insert(member.node);
  }
  Proposer proposer = proposers_[world.proposer];
  proposer.Start(proposals_[world.view].view, goal, live);
  Take(world, StepOf(std::move(proposer)));
}

std::vector<Explorer::Action> Explorer::Actions(const World& world) const {
  std::vector<Action> actions;
  for (uint32_t id : world.messages) actions.push_back({.kind = Action::kDeliver, .what = id});
  for (int node = 0; node < kNodes; ++node) {
    actions.push_back({.kind = Action::kStart, .node = node});
    for (int step = 0; step < options_.step_count; ++step) {
      actions.push_back({.kind = Action::kHold, .node = node, .step = step});
    }
    const Slot& slot = world.slots[node];
    if (slot.alive && world.crashes > 0) actions.push_back({.kind = Action::kCrash, .node = node});
    if (!slot.alive && slot.incarnation == 1 && world.rejoins > 0) {
      actions.push_back({.kind = Action::kRejoin, .node = node});
    }
    actions.push_back({.kind = Action::kLearn, .node = node});
  }
  const uint32_t goal_count = world.ballots > 0 ? static_cast<uint32_t>(Goals(world).size()) : 0;
  for (uint32_t i = 0; i < goal_count; ++i)
    actions.push_back({.kind = Action::kPropose, .what = i});
  const bool busy = proposers_[world.proposer].phase() != Proposer::Phase::kIdle;
  if (busy && world.ballots > 0) actions.push_back({.kind = Action::kPatience});
  if (world.restarts > 0) {
    for (uint32_t heard = 1; heard < 1u << kNodes; ++heard) {
      actions.push_back({.kind = Action::kTakeOver, .what = heard});
    }
  }
  return actions;
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
      const ProposalGoal goal = Goals(world)[action.what];
      --world.ballots;
      Propose(world, goal);
      return true;
    }
    case Action::kPatience: {
      --world.ballots;
      Proposer proposer = proposers_[world.proposer];
      proposer.OnPatienceOver();
      Take(world, StepOf(std::move(proposer)));
      return true;
    }
    case Action::kTakeOver:
      return TakeOver(world, action.what);
    case Action::kLearn:
      return Learn(world, action.node);
  }
  return false;
}

std::string Explorer::Describe(const Action& action) const {
  const std::string node = absl::StrCat("node ", action.node);
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
      return absl::StrCat("goal ", action.what, " is proposed");
    case Action::kPatience:
      return "patience is over";
    case Action::kTakeOver:
      return absl::StrCat("the coordinator starts again and hears nodes ", action.what);
    case Action::kLearn:
      return "the coordinator learns the view of " + node;
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
  AppendBytes(world.proposer, &key);
  AppendBytes(world.view, &key);
  for (uint8_t count : {world.coordinator, uint8_t{world.took_over}, world.ballots, world.crashes,
                        world.rejoins, world.restarts}) {
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
    if (key[0] % options_.continue_one_in == 0) {
      CheckContinuation(world, false);
      CheckContinuation(world, true);
    }
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
    if (result_.violation.empty()) CheckContinuation(world, rng.Bernoulli(0.5));
    if (!result_.violation.empty()) {
      absl::StrAppend(&result_.violation, way);
      break;
    }
  }
  return result_;
}

}  // namespace perigee
