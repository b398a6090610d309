// Jobs that go dark as a whole, in virtual time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/runtime/sim/adder_cluster.h"

namespace perigee {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kDark = absl::Seconds(20);

class HibernationSimTest : public AdderClusterTest {
 protected:
  const absl::Time begins_ = Cluster::Start() + absl::Seconds(10);

  // Members go dark one after the other, 90 ms apart; the last one stays dark `longer`.
  void BeginDarkJob(uint32_t count, uint32_t dark, ClusterOptions options = {},
                    absl::Duration longer = absl::ZeroDuration()) {
    std::vector<DarkInterval> intervals;
    for (uint32_t i = 0; i < dark; ++i) {
      const absl::Time begins = begins_ + i * absl::Milliseconds(90);
      const bool last = i + 1 == dark;
      intervals.push_back({NodeId(i), begins, begins + kDark + (last ? longer : absl::Duration())});
    }
    options.plan = ContactPlan::Create({}, std::move(intervals)).value();
    options.power_follows_plan = true;
    Begin(count, options);
  }

  bool RunTo(absl::Time at) {
    return RunUntil([&] { return cluster_->now() >= at; }, absl::Hours(1));
  }

  // No step is missing or repeated, and everybody took part in each.
  void ExpectEveryStep(uint32_t count, float total) {
    for (uint32_t node = 0; node < count; ++node) {
      const uint64_t last = LastStep(node);
      for (uint64_t step = 0; step < last; ++step) {
        ASSERT_TRUE(diary(node).sums.contains(OpId::Of(StepId(step), 1))) << node << " " << step;
        EXPECT_TRUE(sum(node, step).status.ok()) << sum(node, step).status;
        EXPECT_EQ(sum(node, step).value, total) << "node " << node << " step " << step;
      }
    }
  }

  // All members woke up as the lives that the hibernating view names.
  void ExpectNextLives(uint32_t count) {
    for (uint32_t node = 0; node < count; ++node) {
      ASSERT_EQ(diary(node).left.size(), 1) << node;
      const LeftView& left = diary(node).left.front();
      EXPECT_TRUE(left.planned);
      ASSERT_TRUE(left.resumption.has_value()) << left.reason;
      EXPECT_THAT(left.reason, HasSubstr("all sleep until"));
      const Incarnation now = cluster_->node(NodeId(node))->options().incarnation;
      EXPECT_TRUE(left.resumption->proposal.view.Contains(NodeId(node), now));
    }
  }
};

TEST_F(HibernationSimTest, AJobThatGoesDarkAtOnceWakesUpAsItself) {
  BeginDarkJob(4, 4);
  ASSERT_TRUE(RunTo(begins_ + absl::Seconds(1)));
  for (uint32_t node = 0; node < 4; ++node) EXPECT_EQ(cluster_->node(NodeId(node)), nullptr);
  const uint64_t before = LastStep(0);
  ASSERT_TRUE(
      RunUntil([&] { return cluster_->node(NodeId(3)) != nullptr && LastStep(3) > before + 20; }));
  ExpectNextLives(4);
  ExpectEveryStep(4, 10);
  for (uint32_t node = 0; node < 4; ++node) {
    EXPECT_EQ(view(node).epoch, Epoch(2));
    for (const Proposal& proposal : diary(node).views) EXPECT_TRUE(proposal.planned);
  }
}

TEST_F(HibernationSimTest, MembersFallAsleepAndWakeUpWithoutTheCoordinator) {
  BeginDarkJob(5, 5);
  ASSERT_TRUE(RunToStep(5));
  cluster_->KillCoordinator();
  ASSERT_TRUE(RunTo(begins_ + absl::Seconds(1)));
  const uint64_t before = LastStep(0);
  ASSERT_TRUE(
      RunUntil([&] { return cluster_->node(NodeId(4)) != nullptr && LastStep(4) > before + 20; }));
  ExpectNextLives(5);
  ExpectEveryStep(5, 15);
}

TEST_F(HibernationSimTest, ACoordinatorThatStartsAgainMeanwhileFindsTheSleepers) {
  for (const bool durable : {false, true}) {
    diaries_.clear();
    ClusterOptions options;
    options.coordinator.durable = durable;
    BeginDarkJob(4, 4, options);
    ASSERT_TRUE(RunTo(begins_ + absl::Seconds(5)));
    cluster_->RestartCoordinator();
    const uint64_t before = LastStep(0);
    ASSERT_TRUE(RunUntil(
        [&] { return cluster_->node(NodeId(3)) != nullptr && LastStep(3) > before + 20; }));
    ExpectNextLives(4);
    ExpectEveryStep(4, 10);
    EXPECT_EQ(cluster_->coordinator()->state().view->epoch, Epoch(2));
  }
}

// The coordinator's or a member's; the coordinator may start again while all sleep.
TEST_F(HibernationSimTest, OneWrongClockDisturbsNobodysSleep) {
  for (uint32_t world = 0; world < 8; ++world) {
    SCOPED_TRACE(world);
    const absl::Duration wrong = absl::Hours(world % 2 == 0 ? 1 : -1);
    ClusterOptions options;
    (world / 2 % 2 == 0 ? options.clocks.coordinator : options.clocks.nodes[NodeId(0)]) = wrong;
    diaries_.clear();
    BeginDarkJob(4, 4, options);
    ASSERT_TRUE(RunTo(begins_ + absl::Seconds(5)));
    for (uint32_t node = 0; node < 4; ++node) EXPECT_EQ(cluster_->node(NodeId(node)), nullptr);
    if (world / 4 == 1) cluster_->RestartCoordinator();
    const uint64_t before = LastStep(0);
    ASSERT_TRUE(RunUntil(
        [&] { return cluster_->node(NodeId(3)) != nullptr && LastStep(3) > before + 20; }));
    EXPECT_LT(cluster_->now(), begins_ + kDark + absl::Seconds(10));
    ExpectNextLives(4);
    ExpectEveryStep(4, 10);
    EXPECT_EQ(view(0).epoch, Epoch(2));
  }
}

TEST_F(HibernationSimTest, WhereTooFewStayLitTheyAllSleep) {
  ClusterOptions options;
  options.coordinator.min_members = 4;
  BeginDarkJob(5, 2, options);
  ASSERT_TRUE(RunTo(begins_ + absl::Seconds(1)));
  const uint64_t before = LastStep(4);
  ASSERT_TRUE(RunTo(begins_ + kDark - absl::Seconds(1)));
  EXPECT_EQ(LastStep(4), before);
  ASSERT_TRUE(RunUntil([&] { return LastStep(4) > before + 20; }));
  ExpectEveryStep(5, 15);
}

// The view in which all sleep is decided, and one dies before it is done: the others repeat what it
// took part in, work on, and sleep later.
TEST_F(HibernationSimTest, ALossBeforeTheSleepIsRepairedFirst) {
  BeginDarkJob(4, 4);
  ASSERT_TRUE(RunUntil([&] { return diary(0).views.size() == 2; }));
  ASSERT_TRUE(diary(0).views.back().wakes.has_value());
  ASSERT_TRUE(diary(3).left.empty());
  cluster_->Kill(NodeId(3));
  ASSERT_TRUE(RunTo(begins_ + absl::Seconds(1)));
  for (uint32_t node = 0; node < 3; ++node) {
    ASSERT_EQ(diary(node).views.size(), 4) << node;
    EXPECT_FALSE(diary(node).views[2].planned);
    EXPECT_EQ(diary(node).views[2].view.size(), 3);
    EXPECT_TRUE(diary(node).views[3].wakes.has_value());
  }
  const uint64_t before = LastStep(0);
  ASSERT_TRUE(RunUntil([&] { return LastStep(0) > before + 20 && view(0).size() == 4; }));
  ExpectNextLives(3);
  for (uint32_t node = 0; node < 3; ++node) {
    for (uint64_t step = 0; step < before; ++step) {
      ASSERT_TRUE(sum(node, step).status.ok()) << step << " " << sum(node, step).status;
      EXPECT_EQ(sum(node, step).value, sum(node, step).epoch == Epoch(1) ? 10 : 6) << step;
    }
  }
}

// Node 4 has no state yet, so it has no next life; that says nothing about those that have one.
TEST_F(HibernationSimTest, ANewcomerWithoutAVoteGoesByItself) {
  ClusterOptions options;
  options.start_members = 4;
  options.configure = [](NodeOptions& node) { node.needs_state = node.self == NodeId(4); };
  BeginDarkJob(5, 5, options);
  ASSERT_TRUE(RunTo(begins_ + absl::Seconds(1)));
  ASSERT_EQ(diary(4).left.size(), 1);
  EXPECT_TRUE(diary(4).left.front().planned);
  EXPECT_FALSE(diary(4).left.front().resumption.has_value());
  const uint64_t before = LastStep(0);
  ASSERT_TRUE(RunUntil([&] { return LastStep(0) > before + 20 && view(0).size() == 5; }));
  ExpectNextLives(4);
}

// Node 3 stays dark: the others go on without it, and it joins them when it is back.
TEST_F(HibernationSimTest, TheOthersDoNotWaitForWhoStaysDark) {
  BeginDarkJob(4, 4, {}, absl::Seconds(60));
  ASSERT_TRUE(RunTo(begins_ + kDark + absl::Seconds(3)));
  EXPECT_EQ(view(0).size(), 3);
  EXPECT_EQ(sum(0, LastStep(0) - 1).value, 10 - 4);
  ASSERT_TRUE(RunUntil([&] { return diary(3).left.size() == 2; }, absl::Minutes(5)));
  EXPECT_FALSE(diary(3).left.back().planned);
  EXPECT_TRUE(diary(3).left.back().may_rejoin);
  cluster_->Restart(NodeId(3));
  ASSERT_TRUE(RunUntil([&] { return view(0).size() == 4 && LastStep(3) == LastStep(0); }));
  EXPECT_EQ(sum(3, LastStep(3)).value, 10);
}

// Node 3 had the power to wake up and did not.
TEST_F(HibernationSimTest, TheOthersWaitForAWhileForWhoShouldBeAwake) {
  BeginDarkJob(4, 4);
  ASSERT_TRUE(RunTo(begins_ + absl::Seconds(1)));
  cluster_->At(begins_ + kDark + absl::Milliseconds(300), [&] { cluster_->Kill(NodeId(3)); });
  cluster_->SetControlDown(NodeId(3), true);
  ASSERT_TRUE(RunTo(begins_ + kDark + absl::Seconds(3)));
  EXPECT_EQ(view(0).size(), 4);
  ASSERT_TRUE(RunUntil([&] { return view(0).size() == 3; }));
  const uint64_t before = LastStep(0);
  ASSERT_TRUE(RunUntil([&] { return LastStep(0) > before + 10; }));
  EXPECT_EQ(sum(0, LastStep(0) - 1).value, 10 - 4);
}

}  // namespace
}  // namespace perigee
