// A coordinator that goes on from what its predecessor wrote down, one story per test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/coordinator.h"
#include "tests/runtime/durable_world.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

TEST(CoordinatorRestore, GoesOnWhereTheLastOneEnded) {
  DurableWorld world;
  world.Found(4);
  EXPECT_TRUE(world.Drain(3, world.now));
  EXPECT_TRUE(world.Drain(1, kStart + absl::Hours(9)));
  world.Run(absl::Seconds(1));
  world.Kill(3);
  world.Run(absl::Seconds(1));
  const auto events = world.coordinator->events();
  const auto views = world.coordinator->views();
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");

  world.RestoreCoordinator();
  const Coordinator& next = *world.coordinator;
  EXPECT_EQ(next.views(), views);
  ASSERT_EQ(next.events().size(), events.size() + 1);
  EXPECT_TRUE(std::equal(events.begin(), events.end(), next.events().begin()));
  EXPECT_EQ(next.events().back().number, events.back().number + 1);
  EXPECT_EQ(next.events().back().kind, "restored");
  EXPECT_THAT(next.waiting_reason(),
              AllOf(HasSubstr("view 2 needs 2 of 3 votes"), HasSubstr("node 0, node 1, node 2")));
  EXPECT_EQ(world.View(), "none") << "the members may have gone on";
  EXPECT_EQ(world.State(3), MemberState::kDrained);

  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
  EXPECT_EQ(world.State(1), MemberState::kActive);
  EXPECT_EQ(next.state().members.at(NodeId(1)).drain_at, kStart + absl::Hours(9));
  world.Add(3, /*life=*/2);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.State(3), MemberState::kDrained) << "it waits until it is undrained";
  EXPECT_TRUE(world.Undrain(3));
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 4 {0,1,2,3}");
  EXPECT_THAT(world.Events({"refused"}), IsEmpty());
}

TEST(CoordinatorRestore, AnEmptyStoreIsNoStore) {
  DurableWorld world;
  world.RestoreCoordinator();
  EXPECT_THAT(world.coordinator->events(), IsEmpty());
  world.Found(3);
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
}

TEST(CoordinatorRestore, WaitsForAMajorityAndFoundsNoOtherJob) {
  DurableWorld world;
  world.Found(3);
  for (uint32_t node : {0, 1, 2}) world.Kill(node);
  world.RestoreCoordinator();
  // A supervisor has started all of them again, and they would found a job.
  for (uint32_t node : {0, 1, 2}) world.Add(node, /*life=*/2, /*start_members=*/3);
  world.Run(absl::Seconds(3));
  EXPECT_EQ(world.View(), "none");
  EXPECT_THAT(world.coordinator->waiting_reason(),
              AllOf(HasSubstr("view 1 needs 2 of 3 votes"), HasSubstr("node 2 (started again)"),
                    HasSubstr("start perigeed with a new --store")));
  EXPECT_THAT(world.Find(0)->waiting, HasSubstr("needs 2 of 3 votes")) << "the members know it";
}

TEST(CoordinatorRestore, LearnsFromTheMembersWhatTheStoreDoesNotKnow) {
  DurableWorld world;
  world.Found(4);
  const size_t early = world.log.size();
  world.Kill(3);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
  world.RestoreCoordinator(early);
  EXPECT_EQ(world.coordinator->views().size(), 1u);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
  EXPECT_EQ(world.Written().views.size(), 2u) << "and the next start knows it";
}

TEST(CoordinatorRestore, BringsADecisionThatNobodyWasToldOf) {
  DurableWorld world;
  world.Found(4);
  world.Kill(3);
  size_t decided = 0;
  while (world.View() != "view 2 {0,1,2}") world.Run(kTick);
  for (size_t i = 0; i < world.log.size(); ++i) {
    if (std::holds_alternative<ViewRecord>(world.log[i])) decided = i + 1;
  }
  // Again, and killed right after the decision is on disk.
  DurableWorld killed;
  killed.Found(4);
  killed.crash_at = decided;
  killed.Kill(3);
  while (killed.crash_at != SIZE_MAX) killed.Run(kTick);
  EXPECT_EQ(killed.Find(0)->membership.installed()->view.epoch, Epoch(1));
  killed.Run(absl::Seconds(1));
  EXPECT_EQ(killed.View(), "view 2 {0,1,2}");
  EXPECT_EQ(killed.Find(0)->membership.installed()->view, *killed.coordinator->state().view);
}

TEST(CoordinatorRestore, APlannedLeaverMayFinish) {
  DurableWorld world;
  world.Found(4);
  ASSERT_TRUE(world.Drain(3, world.now));
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
  world.RestoreCoordinator();
  // It comes back before the others, with what it still has to do.
  world.Connect(*world.Find(3));
  EXPECT_THAT(world.Find(3)->removed, IsEmpty());
  EXPECT_EQ(world.State(3), MemberState::kDraining);
  world.Run(absl::Seconds(1));
  EXPECT_THAT(world.Find(3)->removed, IsEmpty());
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
}

// The wrong --store must not end the job that runs.
TEST(CoordinatorRestore, MembersOfAnotherJobAreSetAsideAndTold) {
  DurableWorld other;
  other.Found(3);
  DurableWorld world(/*seed=*/2);
  world.Found(2);
  const auto job = world.coordinator->state().view->job;
  ASSERT_NE(job, other.coordinator->state().view->job);
  std::vector<CoordinatorRecord> log = other.log;
  std::swap(world.log, log);
  world.RestoreCoordinator();
  world.Run(absl::Seconds(3));
  EXPECT_THAT(world.Find(0)->removed, IsEmpty());
  EXPECT_EQ(world.Find(0)->membership.installed()->view.job, job);
  EXPECT_THAT(world.Find(1)->waiting,
              AllOf(HasSubstr(ToString(job)), HasSubstr("with the --store of their job")));
  EXPECT_THAT(world.Events({"refused"}), ElementsAre(HasSubstr("refused 0: members run job")));
  EXPECT_EQ(world.View(), "none");
  // The right one is started instead.
  std::swap(world.log, log);
  world.RestoreCoordinator();
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 1 {0,1}");
}

TEST(CoordinatorRestore, AStrangerIsSentAwayWhenTheJobIsHere) {
  DurableWorld other(/*seed=*/2);
  const Process& stranger_there = other.Add(9, /*life=*/1, /*start_members=*/1);
  other.Run(absl::Milliseconds(100));
  DurableWorld world;
  world.Found(3);
  world.RestoreCoordinator();
  Process& stranger = *world.processes.emplace_back(std::make_unique<Process>(9, 1));
  stranger.membership.OnInstall(Install{*stranger_there.membership.installed()});
  world.Connect(stranger);
  EXPECT_THAT(stranger.removed, IsEmpty());
  EXPECT_THAT(world.coordinator->waiting_reason(), HasSubstr("members run job"));
  world.Close(stranger);
  EXPECT_THAT(world.coordinator->waiting_reason(), Not(HasSubstr("members run job")));
  world.Connect(stranger);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
  EXPECT_THAT(stranger.removed, ElementsAre(HasSubstr("for good: node 9 runs another job")));
}

// What is written must be a history that the next coordinator can read.
TEST(CoordinatorRestore, AMemberThatContradictsTheViewsIsRefused) {
  DurableWorld world;
  world.Found(3);
  world.Kill(2);
  world.Run(absl::Seconds(1));
  ASSERT_EQ(world.View(), "view 2 {0,1}");
  Proposal other = *world.Find(0)->membership.installed();
  other.view.epoch = Epoch(3);
  other.view.previous_digest = 17;
  world.coordinator->OnMessage(world.now, 99,
                               Register{.node = NodeId(9),
                                        .incarnation = {.high = 1, .low = 9},
                                        .version = "1.0",
                                        .installed = other});
  world.Deliver();
  EXPECT_THAT(world.Events({"refused"}),
              ElementsAre(HasSubstr("contradicts the views known here")));
  EXPECT_EQ(world.View(), "view 2 {0,1}");
  EXPECT_TRUE(Validate(world.Written()).ok());
}

TEST(CoordinatorRestore, AQuietJobWritesNothing) {
  DurableWorld world;
  world.Found(3);
  const size_t records = world.log.size();
  world.Run(absl::Minutes(1));
  EXPECT_EQ(world.log.size(), records);
}

TEST(CoordinatorRestore, ADrainOutlivesItsNode) {
  DurableWorld world;
  world.Found(3);
  ASSERT_TRUE(world.Drain(2, kStart + absl::Hours(1)));
  Process& process = *world.Find(2);
  world.coordinator->OnMessage(world.now, *process.stream, Leave{"done"});
  world.Deliver();
  world.Run(absl::Milliseconds(200));
  world.Close(process);
  world.Run(absl::Seconds(1));
  EXPECT_TRUE(world.coordinator->state().members.at(NodeId(2)).drain_requested);
  EXPECT_EQ(world.Written().drains.at(NodeId(2)), kStart + absl::Hours(1));
}

TEST(CoordinatorRestore, AnEvictionOutlivesTheCoordinatorUntilItIsDecided) {
  DurableWorld world;
  world.Found(4);
  world.Find(0)->stopped = true;  // its promise is missing, so nothing is decided yet
  ASSERT_TRUE(world.Evict(3));
  EXPECT_EQ(world.View(), "view 1 {0,1,2,3}");
  EXPECT_THAT(world.Written().evictions, ElementsAre(Pair(NodeId(3), testing::_)));

  world.RestoreCoordinator();
  EXPECT_EQ(world.coordinator->state().members.at(NodeId(3)).reason, "evicted by an operator");
  world.Find(0)->stopped = false;
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
  EXPECT_THAT(world.Find(3)->removed, ElementsAre(HasSubstr("evicted by an operator")));
  EXPECT_THAT(world.Written().evictions, IsEmpty());
  world.Add(3, /*life=*/2);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 4 {0,1,2,3}") << "another incarnation may come";
}

TEST(CoordinatorRestore, VotesThatWereCountedOutStayOut) {
  DurableWorld world;
  world.Found(5);
  for (uint32_t node : {0, 1, 2}) world.Kill(node);
  world.Run(absl::Seconds(2));
  ASSERT_TRUE(world.Evict(1, /*force=*/true));
  world.Find(3)->stopped = true;
  ASSERT_TRUE(world.Evict(2, /*force=*/true));
  EXPECT_EQ(world.View(), "view 1 {0,1,2,3,4}");

  world.RestoreCoordinator();
  EXPECT_THAT(world.coordinator->waiting_reason(),
              AllOf(HasSubstr("view 1 needs 2 of 3 votes"), HasSubstr("node 0, node 3, node 4")));
  // A fenced machine that starts again does not bring the old vote back.
  world.Add(1, /*life=*/2).active = false;
  world.Find(3)->stopped = false;
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 3 {1,3,4}");
  EXPECT_EQ(world.coordinator->state().view->VotesTotal(), 2);
  EXPECT_THAT(world.Written().evictions, IsEmpty());
}

TEST(CoordinatorRestore, NothingIsRecordedUnlessItIsAskedFor) {
  CoordinatorWorld world;
  world.Found(3);
  EXPECT_THAT(world.log, IsEmpty());
}

TEST(CoordinatorRestoreDeathTest, NoMessageIsTakenBeforeTheRecords) {
  DurableWorld world;
  world.coordinator->OnMessage(
      world.now, 1, Register{.node = NodeId(0), .incarnation = {1, 1}, .version = "1.0"});
  EXPECT_DEATH(world.coordinator->NextMessage(), "records_.empty");
}

}  // namespace
}  // namespace perigee
