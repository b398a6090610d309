// Whole jobs in virtual time, one story per test.
#include "runtime/sim/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "tests/runtime/sim/adder_cluster.h"

namespace perigee {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Gt;
using testing::HasSubstr;
using testing::IsEmpty;

using ClusterTest = AdderClusterTest;

TEST_F(ClusterTest, SixMembersAddUp) {
  Begin(6);
  ASSERT_TRUE(RunToStep(10));
  for (uint32_t node = 0; node < 6; ++node) {
    EXPECT_EQ(view(node).size(), 6);
    for (uint64_t step = 0; step < 10; ++step) {
      EXPECT_TRUE(sum(node, step).status.ok()) << sum(node, step).status;
      EXPECT_EQ(sum(node, step).value, 1 + 2 + 3 + 4 + 5 + 6);
    }
  }
}

TEST_F(ClusterTest, AKillInTheMiddleOfAnOpRepeatsItWithoutTheDead) {
  Begin(6);
  ASSERT_TRUE(RunToStep(5));
  // One way is 10 ms, and the ring of six takes ten of them: 30 ms later the next op is on its way.
  cluster_->At(cluster_->now() + absl::Milliseconds(30), [&] { cluster_->Kill(NodeId(3)); });
  ASSERT_TRUE(RunToStep(10));
  for (uint32_t node : {0, 1, 2, 4, 5}) {
    EXPECT_EQ(view(node).size(), 5);
    EXPECT_FALSE(diary(node).views.back().planned);
    EXPECT_THAT(diary(node).views.back().reason, HasSubstr("node 3"));
    EXPECT_GE(Repeated(node), 1);
    EXPECT_EQ(sum(node, 4).value, 21);
    // The op that was interrupted is delivered all the same, in the view without the dead.
    EXPECT_EQ(sum(node, 5).epoch, Epoch(2));
    for (uint64_t step = 5; step < 10; ++step) {
      EXPECT_TRUE(sum(node, step).status.ok()) << sum(node, step).status;
      EXPECT_EQ(sum(node, step).value, 21 - 4);
    }
  }
}

TEST_F(ClusterTest, ADrainedMemberLeavesAtAStepBoundaryAndNothingIsRepeated) {
  Begin(5);
  ASSERT_TRUE(RunToStep(5));
  ASSERT_TRUE(cluster_->Drain(NodeId(1)).ok());
  ASSERT_TRUE(RunUntil([&] { return !diary(1).left.empty(); }));
  EXPECT_TRUE(diary(1).left.front().planned);
  stop_at_ = StepId(LastStep(0) + 10);
  ASSERT_TRUE(RunToStep(stop_at_.value()));

  const Proposal& proposal = diary(0).views.back();
  EXPECT_TRUE(proposal.planned);
  EXPECT_EQ(proposal.view.size(), 4);
  const uint64_t boundary = proposal.view.first_step.value();
  for (uint32_t node = 0; node < 5; ++node) {
    EXPECT_EQ(Repeated(node), 0);
    for (const auto& [op, sum] : diary(node).sums) {
      const bool before = op.step().value() < boundary;
      if (node == 1 && !before) continue;
      EXPECT_TRUE(sum.status.ok()) << sum.status;
      EXPECT_EQ(sum.value, before ? 15 : 15 - 2) << ToString(op);
      EXPECT_EQ(sum.epoch, Epoch(before ? 1 : 2)) << ToString(op);
    }
  }
  // The leaver had all results of its time.
  EXPECT_TRUE(diary(1).sums.contains(OpId::Of(StepId(boundary - 1), 1)));
}

TEST_F(ClusterTest, AStoppedMemberThatWakesIsToldToRejoin) {
  Begin(5);
  ASSERT_TRUE(RunToStep(5));
  cluster_->Stop(NodeId(2));
  ASSERT_TRUE(RunUntil([&] { return view(0).size() == 4; }));
  ASSERT_TRUE(RunToStep(LastStep(0) + 10));

  cluster_->Continue(NodeId(2));
  ASSERT_TRUE(RunUntil([&] { return !diary(2).left.empty(); }));
  EXPECT_FALSE(diary(2).left.front().planned);
  EXPECT_TRUE(diary(2).left.front().may_rejoin);
  ASSERT_TRUE(RunToStep(LastStep(0) + 10));
  for (uint32_t node : {0, 1, 3, 4}) {
    EXPECT_EQ(diary(node).views.size(), 2);
    for (const auto& [op, sum] : diary(node).sums) {
      EXPECT_TRUE(sum.status.ok()) << sum.status;
      EXPECT_EQ(sum.value, sum.epoch == Epoch(1) ? 15 : 15 - 3);
    }
  }

  // Its next life is a new member.
  cluster_->Restart(NodeId(2));
  ASSERT_TRUE(RunUntil([&] { return view(0).size() == 5 && LastStep(2) == LastStep(0); }));
  EXPECT_EQ(sum(2, LastStep(2)).value, 15);
}

// The coordinator hears it well; its peers do not.
TEST_F(ClusterTest, AMemberWhosePeersCannotReachItIsTakenOut) {
  for (const bool both_ways : {true, false}) {
    diaries_.clear();
    Begin(4);
    ASSERT_TRUE(RunToStep(5));
    for (uint32_t peer : {0, 1, 3}) {
      cluster_->SetDown(NodeId(2), NodeId(peer), true);
      if (both_ways) cluster_->SetDown(NodeId(peer), NodeId(2), true);
    }
    const absl::Time cut_at = cluster_->now();
    ASSERT_TRUE(RunUntil([&] { return view(0).size() == 3; })) << both_ways;
    EXPECT_LE(cluster_->now() - cut_at, absl::Seconds(2)) << both_ways;
    ASSERT_TRUE(RunUntil([&] { return !diary(2).left.empty(); })) << both_ways;
    const uint64_t last = LastStep(0) + 10;
    ASSERT_TRUE(RunUntil([&] { return LastStep(0) >= last && LastStep(1) >= last; })) << both_ways;
    EXPECT_EQ(sum(1, last).value, 10 - 3);
  }
}

TEST_F(ClusterTest, WithoutTheCoordinatorTheOpsGoOn) {
  Begin(4);
  ASSERT_TRUE(RunToStep(5));
  cluster_->KillCoordinator();
  ASSERT_TRUE(RunToStep(50));
  for (uint32_t node = 0; node < 4; ++node) EXPECT_EQ(view(node).epoch, Epoch(1));

  // The next coordinator knows nothing but what the members tell it, and takes the job over as it
  // is.
  cluster_->RestartCoordinator();
  ASSERT_TRUE(RunUntil([&] { return cluster_->coordinator()->state().view.has_value(); }));
  ASSERT_TRUE(RunToStep(LastStep(0) + 10));
  for (uint32_t node = 0; node < 4; ++node) EXPECT_EQ(view(node).epoch, Epoch(1));
  cluster_->Kill(NodeId(1));
  ASSERT_TRUE(RunUntil([&] { return view(0).size() == 3; }));
  EXPECT_EQ(view(0).epoch, Epoch(2));
}

TEST_F(ClusterTest, ADurableCoordinatorKeepsADrainOverItsDeath) {
  ClusterOptions options;
  options.coordinator.durable = true;
  Begin(4, options);
  ASSERT_TRUE(RunToStep(5));
  ASSERT_TRUE(cluster_->Drain(NodeId(3)).ok());
  ASSERT_TRUE(RunUntil([&] { return !diary(3).left.empty(); }));
  const std::deque<CoordinatorEvent> events = cluster_->coordinator()->events();
  cluster_->RestartCoordinator();
  const Coordinator& coordinator = *cluster_->coordinator();
  ASSERT_GT(coordinator.events().size(), events.size());
  EXPECT_EQ(coordinator.events()[events.size()].kind, "restored");

  cluster_->Restart(NodeId(3));
  const uint64_t last = LastStep(0) + 50;
  ASSERT_TRUE(RunUntil([&] { return LastStep(0) > last && coordinator.state().view; }));
  EXPECT_EQ(view(0).size(), 3);
  EXPECT_EQ(coordinator.state().members.at(NodeId(3)).state, MemberState::kDrained);
  ASSERT_TRUE(cluster_->Undrain(NodeId(3)).ok());
  ASSERT_TRUE(RunUntil([&] { return view(0).size() == 4; }));
}

TEST_F(ClusterTest, ADarkMemberLeavesBeforeAndComesBackAfter) {
  const absl::Time begins = Cluster::Start() + absl::Seconds(10);
  const absl::Time ends = begins + absl::Seconds(20);
  const absl::StatusOr<ContactPlan> plan = ContactPlan::Create({}, {{NodeId(2), begins, ends}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  Begin(4, {.plan = *plan, .power_follows_plan = true});

  ASSERT_TRUE(RunUntil([&] { return !diary(2).left.empty(); }));
  EXPECT_TRUE(diary(2).left.front().planned);
  EXPECT_LT(cluster_->now(), begins);
  ASSERT_TRUE(RunUntil([&] { return cluster_->now() > begins + absl::Seconds(5); }));
  EXPECT_EQ(view(0).size(), 3);
  EXPECT_EQ(sum(0, LastStep(0)).value, 10 - 3);

  ASSERT_TRUE(RunUntil([&] { return view(0).size() == 4 && LastStep(2) == LastStep(0); }));
  EXPECT_GE(cluster_->now(), ends);
  EXPECT_EQ(sum(2, LastStep(2)).value, 10);
  for (uint32_t node : {0, 1, 3}) {
    EXPECT_EQ(Repeated(node), 0);
    for (const Proposal& proposal : diary(node).views) EXPECT_TRUE(proposal.planned);
  }
}

// One clock is an hour off, the others by fractions of a second, and the coordinator may be gone
// when the time comes: what the plan says happens when it is true all the same.
TEST_F(ClusterTest, OneWrongClockMovesNoDeparture) {
  const absl::Time begins = Cluster::Start() + absl::Seconds(10);
  const absl::Time ends = begins + absl::Seconds(5);
  const absl::StatusOr<ContactPlan> plan = ContactPlan::Create({}, {{NodeId(2), begins, ends}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (uint32_t world = 0; world < 20; ++world) {
    SCOPED_TRACE(world);
    const bool coordinator_dies = world % 2 == 1;
    const absl::Duration wrong = absl::Hours(world / 2 % 2 == 0 ? 1 : -1);
    ClusterClocks clocks{.coordinator = absl::Milliseconds(-150)};
    for (uint32_t i = 0; i < 4; ++i)
      clocks.nodes[NodeId(i)] = absl::Milliseconds(100 * i) - wrong / 36000;
    const uint32_t whose = world / 4;
    (whose < 4 ? clocks.nodes[NodeId(whose)] : clocks.coordinator) = wrong;
    diaries_.clear();
    Begin(4, {.plan = *plan, .power_follows_plan = true, .clocks = clocks});
    ASSERT_TRUE(RunToStep(20));
    if (coordinator_dies) cluster_->KillCoordinator();

    ASSERT_TRUE(RunUntil([&] { return !diary(2).left.empty(); }));
    EXPECT_TRUE(diary(2).left.front().planned);
    EXPECT_LT(cluster_->now(), begins);
    EXPECT_GT(cluster_->now(), begins - absl::Seconds(4));
    if (coordinator_dies) cluster_->RestartCoordinator();
    ASSERT_TRUE(RunUntil([&] { return view(0).size() == 4 && LastStep(2) == LastStep(0); }));
    EXPECT_GE(cluster_->now(), ends);
    EXPECT_LT(cluster_->now(), ends + absl::Seconds(5));
    for (uint32_t node : {0, 1, 3}) {
      EXPECT_EQ(Repeated(node), 0);
      for (const Proposal& proposal : diary(node).views) EXPECT_TRUE(proposal.planned);
    }
  }
}

TEST_F(ClusterTest, WithoutAMajorityAnOpSaysWhoIsMissing) {
  Begin(3);
  ASSERT_TRUE(RunToStep(5));
  cluster_->Kill(NodeId(1));
  cluster_->Kill(NodeId(2));
  EXPECT_FALSE(RunToStep(10, absl::Seconds(10)));
  Node& node = *cluster_->node(NodeId(0));
  ASSERT_EQ(node.OpReports(cluster_->now()).size(), 1);
  const OpId op = node.OpReports(cluster_->now()).front().op;
  EXPECT_THAT(node.Describe(cluster_->now(), op), AllOf(HasSubstr("node 1"), HasSubstr("node 2")));

  node.Cancel(cluster_->now(), op);
  ASSERT_TRUE(RunUntil([&] { return diary(0).sums.contains(op); }));
  EXPECT_TRUE(absl::IsCancelled(diary(0).sums[op].status));
}

TEST_F(ClusterTest, TheSameSeedGivesTheSameRun) {
  std::vector<uint64_t> digests;
  for (uint64_t seed : {7, 7, 8}) {
    cluster_.reset();
    diaries_.clear();
    Begin(4, {.seed = seed});
    ASSERT_TRUE(RunToStep(10));
    digests.push_back(cluster_->trace_digest());
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_NE(digests[0], digests[2]);
}

}  // namespace
}  // namespace perigee
