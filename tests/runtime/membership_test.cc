#include "runtime/membership.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "transport/base/rng.h"

namespace perigee {
namespace {

using Result = Membership::InstallResult;

Incarnation Life(uint64_t low) { return {.high = 7, .low = low}; }

Proposal FirstView(uint32_t members) {
  Proposal proposal{.planned = true};
  proposal.view.job = {.high = 1, .low = 2};
  proposal.view.epoch = Epoch(1);
  for (uint32_t i = 0; i < members; ++i) {
    proposal.view.members.push_back({.node = NodeId(i), .incarnation = Life(i)});
  }
  return proposal;
}

Proposal Next(const Proposal& before, bool planned, uint64_t first_step, const Ballot& ballot) {
  Proposal proposal{.view = before.view, .planned = planned};
  proposal.view.epoch = before.view.epoch.Next();
  proposal.view.previous_digest = Digest(before.view);
  proposal.view.first_step = StepId(first_step);
  proposal.view.ballot = ballot;
  return proposal;
}

Proposal Without(Proposal proposal, uint32_t node) {
  std::erase_if(proposal.view.members, [&](const Member& m) { return m.node == NodeId(node); });
  return proposal;
}

Ballot Round(uint64_t round) {
  return {.round = round, .proposer = NodeId(99), .incarnation = Life(99)};
}

// A planned change as a member sees it.
TEST(Membership, PlannedChange) {
  Membership membership(NodeId(1), Life(1));
  const Proposal first = FirstView(3);
  EXPECT_EQ(membership.OnInstall({first}), Result::kPlanned);
  EXPECT_EQ(membership.ViewForStep(StepId(5))->epoch, Epoch(1));

  const LocalProgress at_step_8{.started = StepId(8), .any_started = true};
  const Promise promise =
      membership.OnPrepare({.epoch = Epoch(2), .ballot = Round(2), .planned = true}, at_step_8);
  EXPECT_TRUE(promise.granted);
  EXPECT_EQ(promise.started, StepId(8));
  EXPECT_FALSE(membership.frozen());

  const Proposal second = Next(first, /*planned=*/true, 11, Round(2));
  EXPECT_TRUE(membership.OnAccept({Round(2), second}, at_step_8).granted);
  EXPECT_EQ(membership.barrier(), StepId(11));

  EXPECT_EQ(membership.OnInstall({second}), Result::kPlanned);
  EXPECT_EQ(membership.barrier(), std::nullopt);
  EXPECT_EQ(membership.ViewForStep(StepId(10))->epoch, Epoch(1));
  EXPECT_EQ(membership.ViewForStep(StepId(11))->epoch, Epoch(2));
  membership.ForgetBefore(StepId(11));
  EXPECT_EQ(membership.ViewForStep(StepId(10)), nullptr);
}

// An unplanned one: frozen from the promise to the decision, with the same status for every ballot.
TEST(Membership, UnplannedChange) {
  Membership membership(NodeId(1), Life(1));
  const Proposal first = FirstView(3);
  membership.OnInstall({first});
  LocalProgress progress{.started = StepId(4), .any_started = true};
  progress.unstable = {{.op = OpId::Of(StepId(4), 0), .epoch = Epoch(1), .holds_result = false}};
  Promise promise = membership.OnPrepare({Epoch(2), Round(2), /*planned=*/false}, progress);
  EXPECT_TRUE(promise.frozen);
  EXPECT_TRUE(membership.frozen());

  LocalProgress later = progress;
  later.unstable[0].holds_result = true;
  promise = membership.OnPrepare({Epoch(2), Round(3), /*planned=*/true}, later);
  EXPECT_EQ(promise.status, progress.unstable);

  const Proposal second = Without(Next(first, /*planned=*/false, 4, Round(3)), 2);
  EXPECT_EQ(membership.OnInstall({second}), Result::kUnplanned);
  EXPECT_FALSE(membership.frozen());
  EXPECT_EQ(membership.ViewForStep(StepId(3))->epoch, Epoch(2)) << "it closes all earlier views";
}

TEST(Membership, RefusesLowerBallotsAndShowsTheHigherOne) {
  Membership membership(NodeId(1), Life(1));
  const Proposal first = FirstView(3);
  membership.OnInstall({first});
  EXPECT_TRUE(membership.OnPrepare({Epoch(2), Round(5), true}, {}).granted);
  const Promise promise = membership.OnPrepare({Epoch(2), Round(4), true}, {});
  EXPECT_FALSE(promise.granted);
  EXPECT_EQ(promise.promised, Round(5));
  EXPECT_FALSE(membership.OnAccept({Round(4), Next(first, true, 0, Round(4))}, {}).granted);
}

TEST(Membership, ReportsWhatItAccepted) {
  Membership membership(NodeId(1), Life(1));
  const Proposal first = FirstView(3);
  membership.OnInstall({first});
  const Proposal second = Next(first, true, 3, Round(2));
  EXPECT_TRUE(membership.OnAccept({Round(2), second}, {}).granted);
  const Promise promise = membership.OnPrepare({Epoch(2), Round(3), true}, {});
  EXPECT_EQ(promise.accepted_ballot, Round(2));
  EXPECT_EQ(promise.accepted, second);
}

TEST(Membership, RefusesAPlannedViewThatComesTooLateUnlessItIsProposedAgain) {
  Membership membership(NodeId(1), Life(1));
  const Proposal first = FirstView(3);
  membership.OnInstall({first});
  const LocalProgress at_step_3{.started = StepId(3), .any_started = true};
  const Proposal second = Next(first, true, 3, Round(2));
  const Accepted refused = membership.OnAccept({Round(2), second}, at_step_3);
  EXPECT_FALSE(refused.granted);
  EXPECT_EQ(refused.promised, Round(2)) << "which says that the step is the reason";
  EXPECT_TRUE(membership.OnAccept({Round(3), second}, at_step_3).granted);
  EXPECT_TRUE(membership.OnAccept({Round(3), second}, at_step_3).granted) << "repeats do no harm";
}

TEST(Membership, VotesOnlyForTheNextEpochOfItsOwnHistory) {
  Membership membership(NodeId(1), Life(1));
  EXPECT_FALSE(membership.OnPrepare({Epoch(1), Round(1), true}, {}).granted) << "no view yet";
  const Proposal first = FirstView(3);
  membership.OnInstall({first});
  EXPECT_FALSE(membership.OnPrepare({Epoch(1), Round(9), true}, {}).granted);
  EXPECT_FALSE(membership.OnPrepare({Epoch(3), Round(9), true}, {}).granted);
  Proposal other = Next(first, true, 0, Round(2));
  other.view.previous_digest += 1;
  EXPECT_FALSE(membership.OnAccept({Round(2), other}, {}).granted);
  EXPECT_EQ(membership.OnInstall({other}), Result::kIgnored);
}

TEST(Membership, LeavesByPlanOrAtOnce) {
  const Proposal first = FirstView(3);
  Membership leaver(NodeId(1), Life(1));
  leaver.OnInstall({first});
  const Proposal second = Without(Next(first, true, 6, Round(2)), 1);
  EXPECT_EQ(leaver.OnInstall({second}), Result::kOutPlanned);
  EXPECT_EQ(leaver.ViewForStep(StepId(5))->epoch, Epoch(1));
  EXPECT_FALSE(leaver.OnPrepare({Epoch(3), Round(3), false}, {}).granted)
      << "it has no vote any more";
  EXPECT_EQ(leaver.OnInstall({Next(second, false, 5, Round(3))}), Result::kOutNow);

  Membership removed(NodeId(1), Life(1));
  removed.OnInstall({first});
  EXPECT_EQ(removed.OnInstall({Without(Next(first, false, 6, Round(2)), 1)}), Result::kOutNow);

  Membership behind(NodeId(1), Life(1));
  behind.OnInstall({first});
  const Proposal third = Next(Next(first, true, 2, Round(2)), true, 4, Round(3));
  EXPECT_EQ(behind.OnInstall({third}), Result::kOutNow)
      << "it cannot know the views of steps 2 and 3";
}

TEST(Membership, ANewcomerInstallsTheViewThatTakesItIn) {
  Membership membership(NodeId(3), Life(3));
  const Proposal first = FirstView(3);
  EXPECT_EQ(membership.OnInstall({first}), Result::kIgnored);
  Proposal second = Next(first, true, 7, Round(2));
  second.view.members.push_back({.node = NodeId(3), .incarnation = Life(3), .votes = 0});
  EXPECT_EQ(membership.OnInstall({second}), Result::kPlanned);
  EXPECT_EQ(membership.ViewForStep(StepId(6)), nullptr);
  EXPECT_EQ(membership.OnInstall({second}), Result::kIgnored);
}

TEST(Membership, KeepsABoundedNumberOfViews) {
  Membership membership(NodeId(0), Life(0));
  Proposal proposal = FirstView(1);
  membership.OnInstall({proposal});
  for (uint64_t i = 2; i < Membership::kViewsMax + 10; ++i) {
    proposal = Next(proposal, true, i, Round(i));
    ASSERT_EQ(membership.OnInstall({proposal}), Result::kPlanned);
  }
  EXPECT_EQ(membership.views().size(), Membership::kViewsMax);
}

TEST(IsQuorum, HalfNeedsTheTieBreaker) {
  View view = FirstView(4).view;
  view.tie_breaker = NodeId(2);
  EXPECT_TRUE(IsQuorum(view, {NodeId(0), NodeId(1), NodeId(3)}));
  EXPECT_TRUE(IsQuorum(view, {NodeId(1), NodeId(2)}));
  EXPECT_FALSE(IsQuorum(view, {NodeId(0), NodeId(1)}));
  view.members[3].votes = 0;
  EXPECT_TRUE(IsQuorum(view, {NodeId(0), NodeId(1)}));
  EXPECT_FALSE(IsQuorum(view, {NodeId(2), NodeId(3)}));
  view.members.clear();
  EXPECT_FALSE(IsQuorum(view, {}));
}

// No two disjoint sets of members are both quorums, whatever the votes.
TEST(IsQuorum, TwoQuorumsMeet) {
  const uint64_t seed = 31;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Rng rng(seed);
  for (int round = 0; round < 2000; ++round) {
    View view = FirstView(1 + rng.Below(7)).view;
    for (Member& member : view.members) member.votes = static_cast<uint32_t>(rng.Below(4));
    view.tie_breaker = view.members[rng.Below(view.size())].node;
    std::set<NodeId> left, right;
    for (const Member& member : view.members)
      (rng.Bernoulli(0.5) ? left : right).insert(member.node);
    ASSERT_FALSE(IsQuorum(view, left) && IsQuorum(view, right)) << "round " << round;
  }
}

// A promise is kept: after any inputs, nothing below the highest ballot that was promised is
// accepted.
TEST(Membership, KeepsItsPromises) {
  const uint64_t seed = 77;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Rng rng(seed);
  for (int round = 0; round < 300; ++round) {
    Membership membership(NodeId(0), Life(0));
    const Proposal first = FirstView(3);
    membership.OnInstall({first});
    Ballot highest;
    for (int i = 0; i < 30; ++i) {
      const Ballot ballot = Round(1 + rng.Below(10));
      const LocalProgress progress{.started = StepId(rng.Below(5)), .any_started = true};
      if (rng.Bernoulli(0.5)) {
        const Promise promise =
            membership.OnPrepare({Epoch(2), ballot, rng.Bernoulli(0.5)}, progress);
        ASSERT_EQ(promise.granted, ballot >= highest);
        ASSERT_EQ(promise.accepted_ballot.has_value(), promise.accepted.has_value());
      } else {
        const Proposal value = Next(first, true, rng.Below(5), ballot);
        const Accepted accepted = membership.OnAccept({ballot, value}, progress);
        ASSERT_TRUE(!accepted.granted || ballot >= highest);
      }
      highest = std::max(highest, ballot);
    }
  }
}

}  // namespace
}  // namespace perigee
