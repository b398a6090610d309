#include "runtime/proposer.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "transport/base/rng.h"

namespace perigee {
namespace {

Incarnation Life(uint64_t low) { return {.high = 7, .low = low}; }

View ViewOf(uint32_t members) {
  View view;
  view.job = {.high = 1, .low = 2};
  view.epoch = Epoch(4);
  for (uint32_t i = 0; i < members; ++i)
    view.members.push_back({.node = NodeId(i), .incarnation = Life(i)});
  return view;
}

ProposalGoal Goal(const View& view, bool planned, const std::set<uint32_t>& without = {}) {
  ProposalGoal goal{.planned = planned, .reason = "a test"};
  for (const Member& member : view.members) {
    if (!without.contains(member.node.value())) goal.members.push_back(member);
  }
  return goal;
}

std::set<NodeId> Live(const std::set<uint32_t>& nodes) {
  std::set<NodeId> live;
  for (uint32_t node : nodes) live.insert(NodeId(node));
  return live;
}

// A proposer and what it sends.
struct Bench {
  explicit Bench(const View& view) : view(view) {}

  template <typename T>
  std::map<uint32_t, T> Sent() {
    std::map<uint32_t, T> sent;
    while (auto message = proposer.NextMessage()) {
      const T* value = std::get_if<T>(&message->message);
      EXPECT_NE(value, nullptr);
      if (value != nullptr) sent.emplace(message->to.value(), *value);
    }
    return sent;
  }
  void OnPromise(uint32_t node, Promise promise) {
    promise.epoch = Epoch(5);
    promise.ballot = proposer.ballot();
    promise.granted = true;
    proposer.OnPromise(NodeId(node), Life(node), promise);
  }
  void OnAccept(uint32_t node) {
    proposer.OnAccepted(NodeId(node), Life(node),
                        {.epoch = Epoch(5), .ballot = proposer.ballot(), .granted = true});
  }

  View view;
  Proposer proposer{NodeId(99), Life(99), /*steps_ahead=*/2};
};

Promise Started(uint64_t step) { return {.started = StepId(step), .any_started = true}; }

OpStatus Status(uint64_t step, bool holds) {
  return {.op = OpId::Of(StepId(step), 0), .epoch = Epoch(4), .holds_result = holds};
}

TEST(Proposer, PlannedChange) {
  Bench bench(ViewOf(3));
  bench.proposer.Start(bench.view, Goal(bench.view, true, {2}), Live({0, 1, 2}));
  EXPECT_EQ(bench.Sent<Prepare>().size(), 3u);
  bench.OnPromise(0, Started(7));
  bench.OnPromise(1, Started(9));
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kPreparing)
      << "all that are alive are waited for";
  bench.OnPromise(2, Started(8));

  const auto accepts = bench.Sent<Accept>();
  ASSERT_EQ(accepts.size(), 3u) << "the leaver votes too";
  const Proposal& value = accepts.at(0).proposal;
  EXPECT_EQ(value.view.first_step, StepId(12)) << "2 steps ahead of the one after step 9";
  EXPECT_EQ(value.view.epoch, Epoch(5));
  EXPECT_EQ(value.view.previous_digest, Digest(bench.view));

  for (uint32_t node = 0; node < 3; ++node) {
    EXPECT_EQ(bench.proposer.NextDecision(), std::nullopt);
    bench.OnAccept(node);
  }
  EXPECT_EQ(bench.proposer.NextDecision(), value);
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kIdle);
}

TEST(Proposer, UnplannedChangeDecidesEveryOp) {
  Bench bench(ViewOf(4));
  bench.proposer.Start(bench.view, Goal(bench.view, false, {3}), Live({0, 1, 2}));
  EXPECT_TRUE(bench.proposer.binding());
  for (const auto& [node, prepare] : bench.Sent<Prepare>()) EXPECT_FALSE(prepare.planned);
  Promise zero = Started(8), one = Started(8), two = Started(8);
  zero.status = {Status(6, true), Status(7, false), Status(8, false)};
  one.status = {Status(6, true), Status(7, true), Status(8, false)};
  two.status = {Status(7, false), Status(8, false)};  // knows that 6 is stable
  bench.OnPromise(0, zero);
  bench.OnPromise(1, one);
  bench.OnPromise(2, two);
  const auto accepts = bench.Sent<Accept>();
  ASSERT_FALSE(accepts.empty());
  const Proposal& value = accepts.at(0).proposal;
  ASSERT_EQ(value.decisions.size(), 3u);
  EXPECT_EQ(value.decisions[0].kind, OpDecision::Kind::kFinish);
  EXPECT_TRUE(value.decisions[0].missing.empty());
  EXPECT_EQ(value.decisions[1].kind, OpDecision::Kind::kFinish);
  EXPECT_EQ(value.decisions[1].holder, NodeId(1));
  EXPECT_EQ(value.decisions[1].missing, (std::vector<NodeId>{NodeId(0), NodeId(2)}));
  EXPECT_EQ(value.decisions[2].kind, OpDecision::Kind::kAbort);
  EXPECT_EQ(value.view.first_step, StepId(8)) << "the lowest aborted step";

  bench.OnAccept(1);
  bench.OnAccept(2);
  EXPECT_EQ(bench.proposer.NextDecision(), std::nullopt)
      << "2 of 4 without the tie-breaker, node 0";
  bench.OnAccept(0);
  EXPECT_EQ(bench.proposer.NextDecision(), value);
}

TEST(Proposer, UnplannedChangeNeedsEveryMemberOfTheNextView) {
  Bench bench(ViewOf(4));
  bench.proposer.Start(bench.view, Goal(bench.view, false, {3}), Live({0, 1, 2}));
  bench.OnPromise(0, Started(1));
  bench.OnPromise(1, Started(1));
  bench.OnPromise(3, Started(1));
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kPreparing);
  const Ballot before = bench.proposer.ballot();
  bench.proposer.OnPatienceOver();
  EXPECT_GT(bench.proposer.ballot(), before)
      << "a majority is not enough: node 2 has said nothing of its ops";
}

TEST(Proposer, APlannedChangeGoesOnWithAMajorityWhenPatienceIsOver) {
  Bench bench(ViewOf(3));
  bench.proposer.Start(bench.view, Goal(bench.view, true), Live({0, 1, 2}));
  bench.OnPromise(0, {});
  bench.OnPromise(1, {});
  bench.proposer.OnPatienceOver();
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kAccepting);
  bench.OnAccept(0);
  bench.OnAccept(1);
  bench.proposer.OnPatienceOver();
  const auto decision = bench.proposer.NextDecision();
  ASSERT_TRUE(decision.has_value());
  EXPECT_EQ(decision->view.first_step, StepId(0)) << "nothing was ever started";
}

TEST(Proposer, AHigherBallotProposesTheAcceptedValueAgain) {
  Bench bench(ViewOf(3));
  Proposal accepted{.view = bench.view, .planned = true, .reason = "of another proposer"};
  accepted.view.epoch = Epoch(5);
  Promise found = Started(3);
  found.accepted_ballot = Ballot{.round = 1};
  found.accepted = accepted;
  bench.proposer.Start(bench.view, Goal(bench.view, false, {2}), Live({0, 1}));
  bench.Sent<Prepare>();
  bench.OnPromise(0, found);
  bench.OnPromise(1, Started(3));
  for (const auto& [node, accept] : bench.Sent<Accept>()) {
    EXPECT_EQ(accept.proposal, accepted);
    EXPECT_EQ(accept.ballot, bench.proposer.ballot());
  }
}

TEST(Proposer, AValueThatCannotHaveBeenChosenIsLeft) {
  Bench bench(ViewOf(3));
  Promise found = Started(3);
  found.accepted_ballot = Ballot{.round = 1};
  found.accepted =
      Proposal{.view = bench.view, .planned = true, .reason = "came too late for the others"};
  bench.proposer.Start(bench.view, Goal(bench.view, true, {2}), Live({0, 1, 2}));
  bench.Sent<Prepare>();
  bench.OnPromise(0, found);
  bench.OnPromise(1, Started(3));
  bench.OnPromise(2, Started(3));
  const auto accepts = bench.Sent<Accept>();
  ASSERT_FALSE(accepts.empty());
  EXPECT_EQ(accepts.at(0).proposal.reason, "a test");
}

TEST(Proposer, DoublesTheStepsWhenAMemberWasFurther) {
  Bench bench(ViewOf(1));
  bench.proposer.Start(bench.view, Goal(bench.view, true), Live({0}));
  for (const uint64_t steps_ahead : {2, 4, 8}) {
    bench.Sent<Prepare>();
    bench.OnPromise(0, Started(10));
    const Accept accept = bench.Sent<Accept>().at(0);
    EXPECT_EQ(accept.proposal.view.first_step, StepId(11 + steps_ahead));
    const Ballot ballot = bench.proposer.ballot();
    bench.proposer.OnAccepted(NodeId(0), Life(0),
                              {.epoch = Epoch(5), .ballot = ballot, .promised = ballot});
    EXPECT_GT(bench.proposer.ballot(), ballot);
  }
  for (int i = 0; i < 20; ++i) {
    bench.OnPromise(0, Started(10));
    const Ballot ballot = bench.proposer.ballot();
    bench.proposer.OnAccepted(NodeId(0), Life(0),
                              {.epoch = Epoch(5), .ballot = ballot, .promised = ballot});
  }
  bench.Sent<Prepare>();
  bench.OnPromise(0, Started(10));
  EXPECT_EQ(bench.Sent<Accept>().at(0).proposal.view.first_step,
            StepId(11 + Proposer::kStepsAheadMax));
}

TEST(Proposer, OutbidsAHigherBallot) {
  Bench bench(ViewOf(3));
  bench.proposer.Start(bench.view, Goal(bench.view, true), Live({0, 1, 2}));
  bench.proposer.OnPromise(
      NodeId(0), Life(0),
      {.epoch = Epoch(5), .ballot = bench.proposer.ballot(), .promised = {.round = 40}});
  EXPECT_EQ(bench.proposer.ballot().round, 41u);
}

TEST(Proposer, OtherIncarnationsAndOldBallotsCountNothing) {
  Bench bench(ViewOf(1));
  bench.proposer.Start(bench.view, Goal(bench.view, true), Live({0}));
  const Ballot old = bench.proposer.ballot();
  bench.proposer.OnPromise(NodeId(0), Life(55),
                           {.epoch = Epoch(5), .ballot = old, .granted = true});
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kPreparing);
  bench.proposer.OnPatienceOver();
  bench.proposer.OnPromise(NodeId(0), Life(0), {.epoch = Epoch(5), .ballot = old, .granted = true});
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kPreparing);
  bench.OnPromise(0, {});
  bench.proposer.OnAccepted(
      NodeId(0), Life(55), {.epoch = Epoch(5), .ballot = bench.proposer.ballot(), .granted = true});
  EXPECT_EQ(bench.proposer.NextDecision(), std::nullopt);
}

TEST(Proposer, AProbeEndsWhereNothingWasBegun) {
  Bench bench(ViewOf(2));
  ProposalGoal goal = Goal(bench.view, true);
  goal.only_if_begun = true;
  bench.proposer.Start(bench.view, goal, Live({0, 1}));
  bench.OnPromise(0, Started(1));
  bench.OnPromise(1, Started(1));
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kIdle);

  bench.proposer.Start(bench.view, goal, Live({0, 1}));
  Promise frozen = Started(1);
  frozen.frozen = true;
  bench.OnPromise(0, frozen);
  bench.OnPromise(1, Started(1));
  EXPECT_EQ(bench.proposer.phase(), Proposer::Phase::kAccepting)
      << "a frozen member waits for a decision";
}

// With members that answer at random, lose and repeat, one value at most is decided whoever
// proposes.
TEST(Proposer, TwoProposersDecideOneValue) {
  const uint64_t seed = 5;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Rng rng(seed);
  int decided = 0;
  for (int round = 0; round < 400; ++round) {
    const View view = ViewOf(3);
    std::vector<Membership> members;
    for (uint32_t i = 0; i < 3; ++i) {
      members.emplace_back(NodeId(i), Life(i));
      members.back().OnInstall({Proposal{.view = view, .planned = true}});
    }
    std::vector<Proposer> proposers = {Proposer(NodeId(98), Life(98), 0),
                                       Proposer(NodeId(99), Life(99), 0)};
    std::optional<Proposal> value;
    for (int i = 0; i < 60; ++i) {
      Proposer& proposer = proposers[rng.Below(2)];
      if (proposer.phase() == Proposer::Phase::kIdle || rng.Bernoulli(0.1)) {
        proposer.Start(view, Goal(view, true, {static_cast<uint32_t>(rng.Below(3))}), {});
      }
      while (auto message = proposer.NextMessage()) {
        const uint32_t node = message->to.value();
        if (rng.Bernoulli(0.2)) continue;
        if (const auto* prepare = std::get_if<Prepare>(&message->message)) {
          const Promise promise = members[node].OnPrepare(*prepare, {});
          if (rng.Bernoulli(0.8)) proposer.OnPromise(NodeId(node), Life(node), promise);
        } else {
          const Accepted accepted = members[node].OnAccept(std::get<Accept>(message->message), {});
          if (rng.Bernoulli(0.8)) proposer.OnAccepted(NodeId(node), Life(node), accepted);
        }
      }
      if (rng.Bernoulli(0.5)) proposer.OnPatienceOver();
      if (auto decision = proposer.NextDecision()) {
        ++decided;
        if (!value) value = decision;
        ASSERT_EQ(decision->view, value->view) << "round " << round;
      }
    }
  }
  EXPECT_GT(decided, 400);
}

}  // namespace
}  // namespace perigee
