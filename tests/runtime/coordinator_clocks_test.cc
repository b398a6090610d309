// Calendar time: what the coordinator does about clocks that are wrong, its own among them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/coordinator.h"
#include "tests/runtime/coordinator_world.h"

namespace perigee {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using World = CoordinatorWorld;

constexpr absl::Duration kHour = absl::Hours(1);

// Node 1 is dark from 10 s after the start until 30 s after it, by clocks that are `ahead` of the
// coordinator's.
ContactPlan DarkPlan(absl::Duration ahead) {
  const DarkInterval dark{.node = NodeId(1),
                          .begins = kStart + ahead + absl::Seconds(10),
                          .ends = kStart + ahead + absl::Seconds(30)};
  return *ContactPlan::Create({}, {dark});
}

// As Found, with clocks that are ahead of the coordinator's.
void Found(World& world, const std::vector<absl::Duration>& clocks) {
  for (uint32_t node = 0; node < clocks.size(); ++node) {
    world.Add(node, 1, static_cast<uint32_t>(clocks.size())).clock = clocks[node];
    // It has heard the Welcome by another clock.
    world.Connect(*world.Find(node));
  }
  world.Run(absl::Milliseconds(400));
}

TEST(CoordinatorClocks, TheCoordinatorsOwnWrongClockMovesNothing) {
  for (const absl::Duration wrong : {kHour, -kHour}) {
    World world(DarkPlan(-wrong));
    Found(world, {-wrong, -wrong, -wrong});
    EXPECT_EQ(world.coordinator->state().calendar_ahead, -wrong);
    world.Run(absl::Seconds(6));
    EXPECT_EQ(world.View(), "view 1 {0,1,2}");
    world.Run(absl::Seconds(1));
    EXPECT_EQ(world.View(), "view 2 {0,2}") << "3 s before it is dark";
    const std::string which = wrong > absl::ZeroDuration() ? "ahead of" : "behind";
    EXPECT_THAT(world.Events({"clock"}),
                ElementsAre("clock: the coordinator's clock is 3600.0s " + which +
                            " the others; the calendar does not use it"));
    EXPECT_EQ(world.Find(0)->calendar_ahead, absl::ZeroDuration());
  }
}

TEST(CoordinatorClocks, AMembersWrongClockMovesNothingAndIsToldOnce) {
  World world(DarkPlan(absl::ZeroDuration()));
  Found(world, {absl::Milliseconds(150), absl::Milliseconds(-150), kHour, absl::ZeroDuration()});
  world.Run(absl::Seconds(6));
  EXPECT_EQ(world.View(), "view 1 {0,1,2,3}");
  EXPECT_EQ(world.coordinator->state().calendar_ahead, absl::ZeroDuration());
  const std::string off =
      "clock 2: its clock is 3600.0s ahead of the others; the calendar does not "
      "use it";
  EXPECT_THAT(world.Events({"clock"}), ElementsAre(off));
  EXPECT_EQ(world.Find(2)->calendar_ahead, -kHour);
  world.Find(2)->clock = absl::ZeroDuration();  // somebody sets it
  world.Run(absl::Seconds(1));
  EXPECT_THAT(world.Events({"clock"}),
              ElementsAre(off, "clock 2: its clock agrees with the others again"));
  EXPECT_EQ(world.View(), "view 2 {0,2,3}");
}

TEST(CoordinatorClocks, OfAnEvenCountTheLowerOneCounts) {
  World world;
  Found(world, {absl::Milliseconds(400), absl::Milliseconds(100), absl::Milliseconds(300)});
  EXPECT_EQ(world.coordinator->state().calendar_ahead, absl::Milliseconds(100)) << "of 0 to 400 ms";
}

// The one whose clock nobody knows could be one of the few that are right.
TEST(CoordinatorClocks, NothingGoesByThePlanBeforeTheClocksAreKnownOrALeaseHasPassed) {
  World world(DarkPlan(absl::Seconds(-10)));  // by the own clock node 1 is dark already
  world.Add(0, 1, 3).tells_clock = false;
  for (uint32_t node : {1, 2}) world.Add(node, 1, 3);
  for (uint32_t node : {0, 1, 2}) world.Find(node)->clock = -kHour;
  for (uint32_t node : {0, 1, 2}) world.Connect(*world.Find(node));
  world.Run(world.options.lease - absl::Milliseconds(100));
  EXPECT_TRUE(world.coordinator->state().calendar_unknown);
  world.Add(3).clock = -kHour;
  world.Connect(*world.Find(3));
  world.Run(absl::Milliseconds(20));
  EXPECT_EQ(world.coordinator->waiting_reason(), "node 3 joins when the members' clocks are known");
  world.Run(absl::Milliseconds(400));
  EXPECT_FALSE(world.coordinator->state().calendar_unknown);
  EXPECT_EQ(world.coordinator->state().calendar_ahead, -kHour);
  EXPECT_EQ(world.View(), "view 3 {0,1,2,3}");
}

TEST(CoordinatorClocks, AClockThatIsKnownBadlyIsNotUsed) {
  World world;
  Found(world, {absl::ZeroDuration(), absl::ZeroDuration()});
  Process& process = world.Add(2);
  process.tells_clock = false;
  world.coordinator->OnMessage(
      world.now, *process.stream,
      Beat{.clock = ClockReport{.clock = world.now, .heard = world.now - absl::Seconds(2)}});
  world.Run(absl::Milliseconds(200));
  EXPECT_THAT(
      world.Events({"clock"}),
      ElementsAre("clock 2: its clock is known to 1.0s only; the calendar does not use it"));
}

TEST(CoordinatorClocks, AnOperatorsTimeIsCalendarTime) {
  World world;
  Found(world, {-kHour, -kHour, -kHour});
  const absl::Time at = world.now - kHour + absl::Seconds(5);
  ASSERT_TRUE(world.coordinator->Drain(world.now, NodeId(2), at, "ann").ok());
  world.Run(absl::Seconds(4));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {0,1}");
}

TEST(CoordinatorClocks, WhatIsDrainedNowNeedsNoClock) {
  World world;
  for (uint32_t node : {0, 1, 2}) world.Add(node, 1, 3).tells_clock = false;
  ASSERT_TRUE(world.coordinator->Drain(world.now, NodeId(2), world.now, "ann").ok());
  world.Run(absl::Milliseconds(200));
  EXPECT_EQ(world.View(), "view 2 {0,1}");
}

// (2 + 1) steps of 4 s, 2 s for the last op, and a second.
TEST(CoordinatorClocks, LongStepsMakeForAnEarlyDeparture) {
  World world(DarkPlan(absl::Seconds(15)));  // 25 s after the start
  Found(world, {absl::ZeroDuration(), absl::ZeroDuration(), absl::ZeroDuration()});
  world.Find(0)->step_interval = absl::Seconds(3);
  world.Find(2)->step_interval = absl::Seconds(4);
  world.Find(1)->op_length = absl::Seconds(2);
  world.Run(absl::Milliseconds(9500));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
  world.Run(absl::Milliseconds(500));
  EXPECT_EQ(world.View(), "view 2 {0,2}") << "15 s before it is dark";
  EXPECT_THAT(world.Events({"lost"}), IsEmpty());
}

TEST(CoordinatorClocks, TheTimeOfADepartureIsBounded) {
  const absl::Duration s = absl::Seconds(1);
  EXPECT_EQ(DepartureTime(4 * s, 2 * s, 2), 15 * s);
  EXPECT_EQ(DepartureTime(absl::ZeroDuration(), absl::ZeroDuration(), 2), kDepartureMargin);
  EXPECT_EQ(DepartureTime(absl::Hours(1), s, 2), kDepartureMax);
  EXPECT_EQ(DepartureTime(s, absl::InfiniteDuration(), UINT64_MAX), kDepartureMax);
}

}  // namespace
}  // namespace perigee
