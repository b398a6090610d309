#include "runtime/situation.h"

#include <gtest/gtest.h>

#include "tests/runtime/coordinator_world.h"

namespace perigee {
namespace {

class SituationTest : public testing::Test {
 protected:
  SituationTest() { world_.Found(3); }
  // A beat of node 0 that tells of the links to peers [first, last).
  void Tell(uint32_t first, uint32_t last) {
    Beat beat{.step = StepId(1), .epoch = Epoch(1), .active = true};
    for (uint32_t peer = first; peer < last; ++peer) {
      beat.links.push_back({.peer = NodeId(peer), .packets_lost = peer});
    }
    world_.coordinator->OnMessage(world_.now, *world_.Find(0)->stream, beat);
  }
  std::vector<LinkReport> Links() {
    return SituationOf(world_.now, *world_.coordinator).members[0].report->links;
  }

  CoordinatorWorld world_;
};

TEST_F(SituationTest, LinksOfSeveralBeatsStandTogetherUntilTheyAreOld) {
  Tell(1, 10);
  Tell(10, 20);
  EXPECT_EQ(Links().size(), 19u);
  EXPECT_EQ(Links()[18].packets_lost, 19u);
  world_.Run(Coordinator::kLinkKept / 2);
  Tell(5, 6);
  world_.Run(Coordinator::kLinkKept / 2 + absl::Seconds(1));
  ASSERT_EQ(Links().size(), 1u) << "only the one that was told again";
  EXPECT_EQ(Links()[0].peer, NodeId(5));
}

TEST_F(SituationTest, LinksAreBounded) {
  Tell(1, 1000);
  EXPECT_EQ(Links().size(), Coordinator::kLinksMax);
}

TEST_F(SituationTest, WhoIsInTheViewAndHowLongNothingWasHeard) {
  world_.Run(absl::Milliseconds(300));
  world_.Find(2)->stopped = true;
  world_.Run(absl::Milliseconds(500));
  const Situation situation = SituationOf(world_.now, *world_.coordinator);
  ASSERT_EQ(situation.members.size(), 3u);
  for (const MemberAccount& member : situation.members) {
    EXPECT_TRUE(member.in_view);
    EXPECT_TRUE(member.connected);
    EXPECT_TRUE(member.report);
  }
  EXPECT_LE(situation.members[0].heard_ago, world_.options.beat_interval);
  EXPECT_GE(situation.members[2].heard_ago, absl::Milliseconds(400));
  EXPECT_GE(situation.members[2].report_age, absl::Milliseconds(400));
}

TEST_F(SituationTest, CountersGrow) {
  EXPECT_EQ(world_.coordinator->counters().views_planned, 1u);
  world_.Kill(2);
  world_.Run(absl::Seconds(2));
  EXPECT_EQ(world_.coordinator->counters().views_unplanned, 1u);
  world_.Add(7, 1, 0, "0.9");
  EXPECT_EQ(world_.coordinator->counters().registrations_refused, 1u);
}

}  // namespace
}  // namespace perigee
