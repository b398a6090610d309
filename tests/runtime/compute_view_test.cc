#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "runtime/coordinator.h"
#include "runtime/hibernation.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);  // 22:13:20Z

Incarnation Life(uint64_t low) { return {.high = 7, .low = low}; }

struct Cluster {
  MemberRecord& Add(uint32_t node, MemberState state) {
    MemberRecord& record = state_.members[NodeId(node)];
    record = {.node = NodeId(node), .incarnation = Life(node), .address = "x:1", .state = state};
    record.stream = node;
    record.since = kNow - absl::Seconds(14);
    record.last_heard = kNow;
    return record;
  }
  // View 7 of these nodes, all of them active.
  Cluster& InView(std::vector<uint32_t> nodes) {
    View view{.epoch = Epoch(7)};
    for (uint32_t node : nodes) {
      Beat& beat = Add(node, MemberState::kActive).beat;
      beat.active = true;
      beat.epoch = view.epoch;
      view.members.push_back({.node = NodeId(node), .incarnation = Life(node), .address = "x:1"});
    }
    view.tie_breaker = NodeId(nodes.front());
    state_.view = view;
    return *this;
  }
  MemberRecord& operator[](uint32_t node) { return state_.members.at(NodeId(node)); }
  ViewDecision Decide() const { return ComputeView(kNow, state_, options_); }

  ClusterState state_;
  CoordinatorOptions options_;
};

std::string Nodes(const ViewDecision& decision) {
  if (!decision.change) return "none";
  std::string text;
  for (const Member& member : decision.change->members) {
    absl::StrAppend(&text, member.node.value(), member.votes == 0 ? "- " : " ");
  }
  return text + (decision.change->planned ? "planned" : "unplanned");
}

void SetDark(Cluster& cluster, uint32_t node, absl::Duration begins, absl::Duration ends) {
  auto plan = ContactPlan::Create(
      {}, {{.node = NodeId(node), .begins = kNow + begins, .ends = kNow + ends}});
  ASSERT_TRUE(plan.ok());
  cluster.state_.plan = *std::move(plan);
}

TEST(ComputeView, FoundsAJobWhenEnoughHaveAskedForIt) {
  Cluster cluster;
  cluster.Add(0, MemberState::kJoining).start_members = 3;
  cluster.Add(1, MemberState::kJoining).start_members = 3;
  cluster.Add(5, MemberState::kJoining);  // only joins running jobs
  EXPECT_EQ(cluster.Decide().reason, "the job starts with 3 members; here: 2");
  cluster.Add(2, MemberState::kJoining).start_members = 3;
  const ViewDecision decision = cluster.Decide();
  EXPECT_TRUE(decision.change->found);
  EXPECT_EQ(Nodes(decision), "0 1 2 planned");
}

TEST(ComputeView, NothingToDo) {
  Cluster cluster;
  EXPECT_EQ(Nodes(cluster.InView({0, 1, 2}).Decide()), "none");
  EXPECT_EQ(cluster.Decide().reason, "");
}

TEST(ComputeView, RemovesTheLost) {
  Cluster cluster;
  cluster.InView({0, 1, 2});
  cluster[1].state = MemberState::kLost;
  cluster[1].reason = "no beat for 820ms";
  const ViewDecision decision = cluster.Decide();
  EXPECT_EQ(Nodes(decision), "0 2 unplanned");
  EXPECT_EQ(decision.reason, "node 1: no beat for 820ms");
}

TEST(ComputeView, ANodeThatStartedAgainIsLostAsItsOldSelfAndJoinsLater) {
  Cluster cluster;
  cluster.InView({0, 1, 2});
  cluster.Add(1, MemberState::kJoining).incarnation = Life(100);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 2 unplanned");
}

TEST(ComputeView, ALossDropsJoinersThatAreNotActive) {
  Cluster cluster;
  cluster.InView({0, 1, 2, 3});
  cluster.state_.view->members[1].votes = 0;
  cluster.state_.view->members[2].votes = 0;
  cluster[1].state = cluster[2].state = MemberState::kSyncing;
  cluster[1].beat.active = false;
  cluster[3].state = MemberState::kLost;
  EXPECT_EQ(Nodes(cluster.Decide()), "0 2- unplanned");
}

TEST(ComputeView, WithoutAMajorityTheReasonNamesWhoIsMissing) {
  Cluster cluster;
  cluster.InView({0, 1, 2, 3, 4});
  cluster[1].state = cluster[2].state = MemberState::kLost;
  cluster[4].state = MemberState::kDark;
  SetDark(cluster, 4, -absl::Seconds(1), absl::Seconds(65));
  const ViewDecision decision = cluster.Decide();
  EXPECT_EQ(Nodes(decision), "none");
  EXPECT_EQ(decision.reason,
            "view 7 needs 3 of 5 votes; missing: node 1 (lost 14s ago), node 2 (lost 14s ago), "
            "node 4 (dark until 22:14:25Z)");
}

TEST(ComputeView, HalfOfTheVotesNeedsTheTieBreaker) {
  Cluster cluster;
  cluster.InView({0, 1});
  cluster[1].state = MemberState::kLost;
  EXPECT_EQ(Nodes(cluster.Decide()), "0 unplanned");
  cluster.state_.view->tie_breaker = NodeId(1);
  EXPECT_THAT(cluster.Decide().reason, HasSubstr("view 7 needs 2 of 2 votes, or 1 with node 1"));
}

TEST(ComputeView, TakesOutWhoGoesDarkOrIsDrainedOrLeaves) {
  Cluster cluster;
  cluster.InView({0, 1, 2, 3});
  SetDark(cluster, 1, absl::Seconds(3), absl::Minutes(30));
  cluster[2].drain_requested = true;
  cluster[2].drain_at = kNow;
  cluster[3].leaving = true;
  cluster[3].reason = "leaves: done";
  const ViewDecision decision = cluster.Decide();
  EXPECT_EQ(Nodes(decision), "0 planned");
  EXPECT_EQ(decision.reason,
            "node 1: dark from 22:13:23Z until 22:43:20Z; node 2: drained by an operator; "
            "node 3: leaves: done");
}

TEST(ComputeView, NotBeforeTheLead) {
  Cluster cluster;
  cluster.InView({0, 1});
  SetDark(cluster, 1, absl::Seconds(4), absl::Minutes(30));
  cluster[0].drain_requested = true;
  cluster[0].drain_at = kNow + absl::Seconds(1);
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
}

TEST(ComputeView, ThePlanIsAboutCalendarTime) {
  Cluster cluster;
  cluster.InView({0, 1, 2});
  SetDark(cluster, 1, -absl::Hours(1), -absl::Minutes(50));
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  cluster.state_.calendar_ahead = -absl::Hours(1);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 2 planned");
  cluster.state_.calendar_unknown = true;
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
}

TEST(ComputeView, LongStepsLengthenTheLeadAndWhoLeavesStaysWithIt) {
  Cluster cluster;
  cluster.InView({0, 1, 2});
  SetDark(cluster, 1, absl::Seconds(50), absl::Minutes(30));
  cluster.state_.departure_time = absl::Seconds(49);
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  cluster.state_.departure_time = absl::Seconds(50);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 2 planned");
  cluster[1].state = MemberState::kDraining;
  cluster.state_.departure_time = absl::Seconds(26);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 2 planned") << "a step was a little shorter";
  cluster.state_.departure_time = absl::Seconds(24);
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
}

TEST(ComputeView, KeepsMembersMin) {
  Cluster cluster;
  cluster.InView({0, 1});
  cluster.options_.min_members = 2;
  cluster[1].drain_requested = true;
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  EXPECT_THAT(cluster.Decide().reason, HasSubstr("at least 2 members are needed"));
  cluster[1].state = MemberState::kLost;
  EXPECT_THAT(cluster.Decide().reason, HasSubstr("at least 2 members are needed; missing: node 1"));
}

// All of these nodes are dark from `begins`, one 50 ms after the other, until `ends`.
void SetAllDark(Cluster& cluster, std::vector<uint32_t> nodes, absl::Duration begins,
                absl::Duration ends) {
  std::vector<DarkInterval> dark;
  for (uint32_t node : nodes) {
    dark.push_back({NodeId(node), kNow + begins, kNow + ends});
    begins += absl::Milliseconds(50);
  }
  cluster.state_.plan = ContactPlan::Create({}, std::move(dark)).value();
}

TEST(ComputeView, WhereAllGoDarkTheyAllSleepAsTheirNextLives) {
  Cluster cluster;
  cluster.InView({0, 1, 2});
  cluster.state_.view->members[2].votes = 0;  // a newcomer without the state
  cluster[2].beat.active = false;
  SetAllDark(cluster, {0, 1, 2}, absl::Seconds(2), absl::Seconds(60));
  const ViewDecision decision = cluster.Decide();
  ASSERT_TRUE(decision.change.has_value()) << decision.reason;
  EXPECT_EQ(Nodes(decision), "0 1 planned");
  EXPECT_EQ(decision.change->wakes, kNow + absl::Seconds(60));
  EXPECT_EQ(decision.reason, "all sleep until 22:14:20Z, as fewer than 1 are lit from 22:13:22Z");
  EXPECT_EQ(decision.change->members[1].incarnation, NextLife(Life(1), Epoch(8)));

  // Not yet; not where one stays; not where the plan does not know an end.
  SetAllDark(cluster, {0, 1, 2}, absl::Seconds(4), absl::Seconds(60));
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  SetAllDark(cluster, {0, 2}, absl::Seconds(2), absl::Seconds(60));
  EXPECT_EQ(Nodes(cluster.Decide()), "1 planned");
  EXPECT_FALSE(cluster.Decide().change->wakes.has_value());
  SetAllDark(cluster, {0, 1, 2}, absl::Seconds(2), absl::InfiniteDuration());
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
}

TEST(ComputeView, WhereTooFewStayLitTheySleepToo) {
  Cluster cluster;
  cluster.InView({0, 1, 2, 3});
  cluster.options_.min_members = 3;
  SetAllDark(cluster, {0, 1}, absl::Seconds(2), absl::Seconds(60));
  EXPECT_EQ(Nodes(cluster.Decide()), "0 1 2 3 planned");
  EXPECT_EQ(cluster.Decide().change->wakes, kNow + absl::Seconds(60));
  // Who is drained sleeps outside.
  cluster[3].drain_requested = true;
  EXPECT_EQ(Nodes(cluster.Decide()), "0 1 2 planned");
}

// View 7 hibernates; nodes 0 to 2 are awake, 3 and 4 have not been heard of.
Cluster WakingUp() {
  Cluster cluster;
  cluster.InView({0, 1, 2, 3, 4});
  cluster.state_.hibernates = true;
  for (uint32_t node : {3, 4}) {
    cluster[node].state = MemberState::kDark;
    cluster[node].reason = "asleep";
    cluster[node].stream.reset();
    cluster[node].last_heard = absl::InfinitePast();
  }
  for (uint32_t node : {0, 1, 2}) cluster[node].since = kNow - absl::Seconds(node);
  return cluster;
}

TEST(ComputeView, SleepersAreWaitedForAsLongAsOneAfterTheOtherComes) {
  Cluster cluster = WakingUp();
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  EXPECT_EQ(cluster.Decide().reason, "view 7 wakes up; missing: node 3 (asleep), node 4 (asleep)");
  for (uint32_t node : {0, 1, 2}) cluster[node].since = kNow - absl::Seconds(6 + node);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 1 2 unplanned");
}

TEST(ComputeView, SleepersThatStayDarkAreNotWaitedFor) {
  Cluster cluster = WakingUp();
  SetAllDark(cluster, {3, 4}, -absl::Seconds(60), absl::Seconds(60));
  EXPECT_EQ(Nodes(cluster.Decide()), "0 1 2 unplanned");
  // But nothing goes without a majority.
  cluster[2] = cluster[3];
  cluster[2].node = NodeId(2);
  cluster[2].incarnation = Life(2);
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  EXPECT_THAT(cluster.Decide().reason, HasSubstr("node 2 (asleep), node 3 (dark until 22:14:20Z)"));
}

TEST(ComputeView, AdmitsJoinersAndGivesVotesToTheActive) {
  Cluster cluster;
  cluster.InView({0, 2});
  cluster.state_.view->members[1].votes = 0;
  cluster.Add(1, MemberState::kJoining);
  cluster.Add(3, MemberState::kDark);
  cluster.Add(4, MemberState::kJoining).stream.reset();
  const ViewDecision decision = cluster.Decide();
  EXPECT_EQ(Nodes(decision), "0 1- 2 planned");
  EXPECT_EQ(decision.reason, "node 2 is active; node 1 joins");
}

TEST(ComputeView, EndsWhatALeaverLeftUnfinished) {
  Cluster cluster;
  cluster.InView({0, 1});
  MemberRecord& leaver = cluster.Add(2, MemberState::kDark);
  leaver.stream.reset();
  cluster[0].beat.epoch = Epoch(7);
  cluster[0].beat.ops = {
      {.op = OpId::Of(StepId(9), 0), .epoch = Epoch(6), .waiting_for = {NodeId(2)}}};
  const ViewDecision decision = cluster.Decide();
  EXPECT_EQ(Nodes(decision), "0 1 unplanned");
  EXPECT_EQ(decision.reason, "node 2: left before op 9.0 of view 6 was finished");
  // It still takes part: there is nothing to end.
  leaver.stream = 2;
  leaver.installed = Epoch(7);
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  // It has not come back yet to a coordinator that has started again, or to its stream.
  leaver.state = MemberState::kDraining;
  leaver.stream.reset();
  leaver.lost_at = kNow + absl::Milliseconds(300);
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  leaver.lost_at = kNow - absl::Milliseconds(300);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 1 unplanned");
}

// While ops of the view before may still wait for its earlier incarnation. Others need not wait.
TEST(ComputeView, WhoLeftByPlanComesBackOnlyWhenTheViewHasBegun) {
  Cluster cluster;
  cluster.InView({0, 1});
  cluster.Add(2, MemberState::kJoining);
  cluster.state_.view->first_step = StepId(12);
  cluster[0].beat.epoch = cluster[1].beat.epoch = Epoch(7);
  cluster[0].beat.step = cluster[1].beat.step = StepId(11);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 1 2- planned");
  cluster.state_.left_by_plan = {NodeId(2)};
  EXPECT_EQ(Nodes(cluster.Decide()), "none");
  EXPECT_THAT(cluster.Decide().reason, HasSubstr("node 2 joins when view 7"));
  cluster[0].beat.step = cluster[1].beat.step = StepId(12);
  EXPECT_EQ(Nodes(cluster.Decide()), "0 1 2- planned");
}

// Whatever the states: never a change without a quorum, never an empty view, unplanned changes only
// remove, and equal inputs give equal answers.
TEST(ComputeView, Rules) {
  const uint64_t seed = 12;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Rng rng(seed);
  for (int round = 0; round < 3000; ++round) {
    Cluster cluster;
    std::vector<uint32_t> nodes;
    for (uint32_t node = 0; node < 6; ++node) {
      if (node == 0 || rng.Bernoulli(0.7)) nodes.push_back(node);
    }
    cluster.InView(nodes);
    std::set<NodeId> present;
    for (Member& member : cluster.state_.view->members) {
      MemberRecord& record = cluster[member.node.value()];
      if (rng.Bernoulli(0.2)) member.votes = 0;
      record.beat.active = rng.Bernoulli(0.8);
      record.leaving = rng.Bernoulli(0.1);
      if (rng.Bernoulli(0.2)) record.state = MemberState::kLost;
      if (record.state != MemberState::kLost) present.insert(member.node);
    }
    if (rng.Bernoulli(0.5)) cluster.Add(9, MemberState::kJoining);
    const ViewDecision decision = cluster.Decide();
    ASSERT_EQ(Nodes(decision), Nodes(cluster.Decide()));
    const View& view = *cluster.state_.view;
    if (!decision.change || view.VotesTotal() == 0) continue;
    ASSERT_TRUE(IsQuorum(view, present)) << "round " << round;
    View next{.members = decision.change->members};
    ASSERT_GT(next.VotesTotal(), 0u);
    for (const Member& member : next.members) {
      const bool is_new = !view.Contains(member.node, member.incarnation);
      ASSERT_TRUE(decision.change->planned ||
                  (!is_new && member.votes == view.Find(member.node)->votes));
      ASSERT_TRUE(!is_new || member.votes == 0);
    }
  }
}

}  // namespace
}  // namespace perigee
