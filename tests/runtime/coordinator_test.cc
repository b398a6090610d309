#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "absl/strings/str_join.h"
#include "runtime/coordinator.h"
#include "tests/runtime/coordinator_world.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kRounds = 300;

using World = CoordinatorWorld;

// TCP brings nothing for a second, but the peers hear the member all the time.
TEST(Coordinator, AMemberWhoseControlStreamIsSlowStaysWhileItsPeersHearIt) {
  World world;
  world.Found(3);
  world.Find(2)->stopped = true;
  world.Find(0)->links = {{.peer = NodeId(2), .heard_ago = absl::Milliseconds(30)}};
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
  EXPECT_EQ(world.State(2), MemberState::kActive);
  world.Run(absl::Seconds(3));
  EXPECT_EQ(world.View(), "view 2 {0,1}") << "it answers no ballot, so not for ever";
}

TEST(Coordinator, WhatPeersHeardBeforeASilenceBeganSavesNobody) {
  World world;
  world.Found(3);
  world.Find(2)->stopped = true;
  const absl::Time stopped = world.now;
  for (int i = 0; i < 12; ++i) {
    world.Find(0)->links = {{.peer = NodeId(2), .heard_ago = world.now - stopped}};
    world.Run(absl::Milliseconds(100));
  }
  world.Run(absl::Milliseconds(100));
  EXPECT_EQ(world.View(), "view 2 {0,1}");
}

// What an operator takes out by hand.
// The life of a job, as `perigeectl events` shows it.
TEST(Coordinator, Transcript) {
  World world;
  world.Found(3);
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
  world.Kill(2);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 2 {0,1}");

  world.Add(2, /*life=*/2).active = false;
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 3 {0,1,2}");
  EXPECT_EQ(world.State(2), MemberState::kSyncing);
  world.Find(2)->active = true;
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.State(2), MemberState::kActive);

  ASSERT_TRUE(world.coordinator->Drain(world.now, NodeId(1), world.now, "an operator").ok());
  world.Run(absl::Seconds(1));
  world.Close(*world.Find(1));
  world.Find(1)->out = true;
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.State(1), MemberState::kDrained);
  world.Add(1, /*life=*/2);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.State(1), MemberState::kDrained) << "it waits until it is undrained";
  ASSERT_TRUE(world.coordinator->Undrain(world.now, NodeId(1), "an operator").ok());
  world.Run(absl::Seconds(2));

  EXPECT_THAT(
      world.Events({"view"}),
      ElementsAre("view: view 1 {0,1,2}: the job starts with 3 members",
                  "view: view 2 {0,1}: node 2: its control stream closed and did not come back",
                  "view: view 3 {0,1,2}: node 2 joins", "view: view 4 {0,1,2}: node 2 is active",
                  "view: view 5 {0,2}: node 1: drained by an operator",
                  "view: view 6 {0,1,2}: node 1 joins", "view: view 7 {0,1,2}: node 1 is active"));
  EXPECT_THAT(
      world.Events({"lost", "drain", "drained", "undrain"}),
      ElementsAre(
          "lost 2: its control stream closed and did not come back",
          "lost 2: view 2 goes on without it: node 2: its control stream closed and did not "
          "come back",
          HasSubstr("drain 1: by an operator"), "drained 1: drained by an operator",
          "drained 1: drained by an operator", "undrain 1: by an operator"));
  EXPECT_EQ(world.coordinator->views().size(), 7u);
}

TEST(Coordinator, ADarkNodeGoesBeforeAndComesAfter) {
  const DarkInterval dark{
      .node = NodeId(1), .begins = kStart + absl::Seconds(10), .ends = kStart + absl::Seconds(30)};
  World world(*ContactPlan::Create({}, {dark}));
  world.Found(3);
  world.Run(absl::Seconds(6));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {0,2}") << "3 s before it is dark";
  world.Kill(1);
  world.Run(absl::Seconds(5));
  EXPECT_EQ(world.State(1), MemberState::kDark);
  world.Add(1, /*life=*/2);
  world.Run(absl::Seconds(10));
  EXPECT_EQ(world.View(), "view 2 {0,2}") << "its clock is wrong: it is still dark";
  world.Run(absl::Seconds(10));
  EXPECT_EQ(world.View(), "view 4 {0,1,2}");
  EXPECT_THAT(world.Events({"lost"}), IsEmpty());
}

TEST(Coordinator, AStoppedProcessIsRemovedAndToldWhenItWakesUp) {
  World world;
  world.Found(3);
  Process& process = *world.Find(1);
  process.stopped = true;
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {0,2}");
  EXPECT_THAT(world.Events({"lost"})[0], HasSubstr("lost 1: no beat for 8"));
  process.stopped = false;
  world.Connect(process);
  EXPECT_THAT(process.removed, ElementsAre(HasSubstr("may rejoin: view 2 goes on without it")));
  EXPECT_EQ(process.stream, std::nullopt);
}

TEST(Coordinator, AShortBreakOfAStreamIsNoLoss) {
  World world;
  world.Found(3);
  world.Close(*world.Find(1));
  world.Run(absl::Milliseconds(100));
  world.Connect(*world.Find(1));
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
}

TEST(Coordinator, ItsOwnLatenessAccusesNobody) {
  World world;
  world.Found(3);
  world.now += absl::Seconds(5);  // the whole machine slept
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
}

TEST(Coordinator, ARestartedProcessIsLostAtOnce) {
  World world;
  world.Found(3);
  world.Kill(1);
  world.Add(1, /*life=*/2);
  world.Run(absl::Milliseconds(300));
  EXPECT_EQ(world.View(), "view 4 {0,1,2}");
  EXPECT_THAT(world.Events({"view"})[1], HasSubstr("node 1: started again"));
}

TEST(Coordinator, RefusesOtherVersionsAndSecondProcessesOfANode) {
  World world;
  world.Found(2);
  const Process& old = world.Add(5, 1, 0, "0.9");
  EXPECT_THAT(old.removed,
              ElementsAre(AllOf(HasSubstr("for good"), HasSubstr("0.9"), HasSubstr("1.0"))));
  const Process& twin = world.Add(1, 2);
  EXPECT_THAT(twin.removed, ElementsAre(HasSubstr("for good: node 1 is here already")));
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 1 {0,1}");
}

TEST(Coordinator, LeaveIsAPlannedRemoval) {
  World world;
  world.Found(3);
  Process& process = *world.Find(2);
  world.coordinator->OnMessage(world.now, *process.stream, Leave{"done"});
  world.Run(absl::Milliseconds(200));
  EXPECT_EQ(world.View(), "view 2 {0,1}");
  world.Close(process);
  world.Run(absl::Seconds(1));
  EXPECT_FALSE(world.coordinator->state().members.contains(NodeId(2)));
  EXPECT_THAT(world.Events({"lost"}), IsEmpty());
}

TEST(Coordinator, WithoutAMajorityItWaitsAndSaysForWhom) {
  World world;
  world.Found(5);
  world.Run(absl::Seconds(1));
  for (uint32_t node : {1, 2, 3}) world.Kill(node);
  world.Run(absl::Seconds(3));
  EXPECT_EQ(world.View(), "view 1 {0,1,2,3,4}");
  EXPECT_THAT(world.coordinator->waiting_reason(),
              AllOf(HasSubstr("view 1 needs 3 of 5 votes; missing: node 1 (lost 2s ago)"),
                    HasSubstr("node 3")));
  EXPECT_THAT(world.Find(0)->waiting, HasSubstr("view 1 needs 3 of 5 votes"))
      << "the members know it";
  // One comes back: its process was only cut off.
  world.Connect(*world.Find(1));
  world.Run(absl::Seconds(3));
  EXPECT_EQ(world.View(), "view 2 {0,1,4}");
}

TEST(Coordinator, StartsAgainWithoutAStore) {
  World world;
  world.Found(3);
  world.Run(absl::Seconds(1));
  const JobId job = world.coordinator->state().view->job;
  world.StartCoordinator();
  world.Connect(*world.Find(1));
  world.Run(absl::Milliseconds(100));
  EXPECT_EQ(world.View(), "none");
  EXPECT_EQ(world.coordinator->waiting_reason(),
            "the coordinator started again: view 1 needs 2 of 3 votes; not registered again yet: "
            "node 0, node 2");
  world.Connect(*world.Find(2));
  world.Connect(*world.Find(0));
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}") << "nothing was begun, so nothing changes";
  EXPECT_EQ(world.coordinator->state().view->job, job);
  world.Kill(0);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 2 {1,2}");
}

TEST(Coordinator, EndsWhatItsPredecessorBegan) {
  World world;
  world.Found(3);
  // The predecessor froze node 1 and was killed.
  world.Find(1)->membership.OnPrepare({Epoch(2), {.round = 50}, /*planned=*/false}, {});
  world.StartCoordinator();
  for (auto& process : world.processes) world.Connect(*process);
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
  EXPECT_FALSE(world.Find(1)->membership.frozen());
}

TEST(Coordinator, AMemberThatComesBackDuringItsRemovalStays) {
  World world;
  world.Found(3);
  // Node 0 does not answer, so the removal of node 2 cannot be decided.
  world.Find(0)->stopped = true;
  world.Close(*world.Find(2));
  world.Run(absl::Milliseconds(400));
  world.Connect(*world.Find(2));
  world.Find(0)->stopped = false;
  world.Run(absl::Seconds(4));
  EXPECT_EQ(world.View(), "view 2 {0,1,2}");
  for (auto& process : world.processes) EXPECT_FALSE(process->membership.frozen());
}

TEST(Coordinator, KeepsItsBounds) {
  World world;
  world.options.members_max = 3;
  world.options.events_max = 10;
  world.StartCoordinator();
  world.Found(3);
  EXPECT_THAT(world.Add(7).removed, ElementsAre(HasSubstr("at most 3 members")));
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.coordinator->events().size(), 10u);
}

void OneRandomFault(World& world, Rng& rng) {
  Process& process = *world.Find(static_cast<uint32_t>(rng.Below(5)));
  process.step += rng.Below(3);
  switch (rng.Below(6)) {
    case 0:
      if (!process.out) world.Kill(process.node);
      break;
    case 1:
      process.stopped = !process.stopped && !process.out;
      break;
    case 2:
      world.Close(process);
      break;
    case 3:
      (void)world.coordinator->Drain(world.now, NodeId(process.node), world.now, "x");
      break;
    case 4:
      (void)world.coordinator->Undrain(world.now, NodeId(process.node), "x");
      break;
    case 5:
      if (rng.Bernoulli(0.3)) world.StartCoordinator();
      break;
  }
}

// Everybody runs again, is not drained, and comes back where it was removed.
void HealAll(World& world, uint64_t& life) {
  for (uint32_t node = 0; node < 5; ++node) {
    (void)world.coordinator->Undrain(world.now, NodeId(node), "x");
    Process& process = *world.Find(node);
    process.stopped = false;
    const auto& installed = process.membership.installed();
    const bool removed =
        !process.removed.empty() ||
        (installed && !installed->view.Contains(NodeId(node), process.incarnation));
    if (process.out || removed) {
      world.Close(process);
      world.Add(node, ++life, 5);
    } else if (!process.stream) {
      world.Connect(process);
    }
  }
}

// Random kills, restarts, stops, stream breaks, drains and coordinator restarts. Afterwards, with
// everybody alive and quiet, all members are in one view that all of them hold, with votes.
TEST(Coordinator, SettlesAfterRandomFaults) {
  const uint64_t seed = 99;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  int settled = 0;
  for (uint64_t round = 0; round < kRounds; ++round) {
    Rng rng(seed + round);
    World world({}, seed + round);
    world.Found(5);
    uint64_t life = 1;
    for (int i = 0; i < 30; ++i) {
      OneRandomFault(world, rng);
      world.Run(absl::Milliseconds(rng.Between(20, 600)));
    }
    for (int i = 0; i < 12; ++i) {
      HealAll(world, life);
      world.Run(absl::Seconds(2));
    }
    const auto& view = world.coordinator->state().view;
    const std::string events =
        absl::StrJoin(world.Events({"view", "lost", "refused", "registered"}), "\n");
    // A majority may be gone for ever: then nothing is decided, and the reason says so.
    if (!world.coordinator->waiting_reason().empty()) continue;
    ++settled;
    ASSERT_TRUE(view.has_value()) << "seed " << seed + round << "\n" << events;
    ASSERT_EQ(view->VotesTotal(), 5u) << "seed " << seed + round << "\n" << events;
    for (uint32_t node = 0; node < 5; ++node) {
      const Membership& membership = world.Find(node)->membership;
      ASSERT_EQ(membership.installed()->view, *view) << "seed " << seed + round << "\n" << events;
      ASSERT_FALSE(membership.frozen() || membership.barrier());
    }
  }
  EXPECT_GT(settled, kRounds / 4);
}

}  // namespace
}  // namespace perigee
