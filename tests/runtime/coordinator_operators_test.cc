// What operators tell the coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/coordinator.h"
#include "tests/runtime/coordinator_world.h"

namespace perigee {
namespace {

using ::testing::HasSubstr;

using World = CoordinatorWorld;

TEST(CoordinatorOperators, EvictTakesOutAMemberThatIsHeard) {
  World world;
  world.Found(3);
  ASSERT_TRUE(world.coordinator->Evict(world.now, NodeId(1), /*force=*/false, "ann").ok());
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 2 {0,2}");
  EXPECT_THAT(world.Find(1)->removed, ElementsAre(HasSubstr("evicted by ann")));
  world.Add(1, /*life=*/2);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 4 {0,1,2}") << "another incarnation may come";
}

TEST(CoordinatorOperators, AnEvictedMemberVotesForTheViewWithoutIt) {
  World world;
  world.Found(5);
  world.Find(0)->stopped = true;
  ASSERT_TRUE(world.coordinator->Evict(world.now, NodeId(1), /*force=*/false, "ann").ok());
  world.Run(kTick);
  world.Kill(2);
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {3,4}") << "two of five, and the one that is evicted";
}

TEST(CoordinatorOperators, EvictByForceGoesOnWithoutTheDeadMajority) {
  World world;
  world.Found(5);
  for (uint32_t node : {0, 1, 2}) world.Kill(node);
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 1 {0,1,2,3,4}") << "two of five are no majority";
  Coordinator& coordinator = *world.coordinator;
  EXPECT_THAT(std::string(coordinator.Evict(world.now, NodeId(1), false, "ann").message()),
              HasSubstr("--force"));
  EXPECT_THAT(std::string(coordinator.Evict(world.now, NodeId(3), true, "ann").message()),
              HasSubstr("is heard"));
  EXPECT_TRUE(absl::IsNotFound(coordinator.Evict(world.now, NodeId(7), true, "ann")));
  ASSERT_TRUE(coordinator.Evict(world.now, NodeId(1), true, "ann").ok());
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 1 {0,1,2,3,4}") << "two of four, without the tie-breaker";
  ASSERT_TRUE(world.coordinator->Evict(world.now, NodeId(2), true, "ann").ok());
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {3,4}");
}

TEST(CoordinatorOperators, EvictByForceHelpsACoordinatorThatStartedAgainAfterTheMajorityDied) {
  World world;
  world.Found(5);
  for (uint32_t node : {0, 1, 2}) world.Kill(node);
  world.StartCoordinator();
  for (uint32_t node : {3, 4}) world.Connect(*world.Find(node));
  EXPECT_EQ(world.View(), "none");
  EXPECT_THAT(std::string(world.coordinator->Evict(world.now, NodeId(1), false, "ann").message()),
              HasSubstr("--force"));
  ASSERT_TRUE(world.coordinator->Evict(world.now, NodeId(0), true, "ann").ok());
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "none") << "two of four, without the tie-breaker";
  ASSERT_TRUE(world.coordinator->Evict(world.now, NodeId(1), true, "ann").ok());
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 2 {3,4}");
}

TEST(CoordinatorOperators, AVoteIsCountedOutAlsoWhenItsNodeHasStartedAgain) {
  World world;
  world.Found(3);
  for (uint32_t node : {1, 2}) world.Kill(node);
  world.Add(1, /*life=*/2);
  world.Run(absl::Seconds(1));
  EXPECT_EQ(world.View(), "view 1 {0,1,2}");
  ASSERT_TRUE(world.coordinator->Evict(world.now, NodeId(1), true, "ann").ok());
  world.Run(absl::Seconds(2));
  EXPECT_EQ(world.View(), "view 4 {0,1}") << "one of two with the tie-breaker; then 1 joins";
}

TEST(CoordinatorOperators, OperatorsHearWhatTheyDidWrong) {
  World world;
  world.Found(1);
  EXPECT_EQ(world.coordinator->Drain(world.now, NodeId(9), world.now, "x").code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(world.coordinator->Drain(world.now, NodeId(0), world.now, "x").code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(world.coordinator->Undrain(world.now, NodeId(0), "x").code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace perigee
