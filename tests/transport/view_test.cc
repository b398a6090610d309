#include "transport/view.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <vector>

namespace perigee {
namespace {

View Example() {
  View view;
  view.job = {1, 2};
  view.epoch = Epoch(4);
  view.ballot = {7, NodeId(0), {5, 6}};
  view.previous_digest = 99;
  view.members = {{NodeId(0), {5, 6}, 1, "a:1"}, {NodeId(3), {7, 8}, 0, "b:2"}};
  view.tie_breaker = NodeId(3);
  view.first_step = StepId(17);
  return view;
}

TEST(ViewTest, Example) {
  const View view = Example();
  EXPECT_EQ(view.RankOf(NodeId(3)), Rank(1));
  EXPECT_EQ(view.RankOf(NodeId(1)), std::nullopt);
  EXPECT_TRUE(view.Contains(NodeId(3), {7, 8}));
  EXPECT_FALSE(view.Contains(NodeId(3), {7, 9})) << "another start of the same node";
  EXPECT_EQ(ToString(view), "view 4 {0,3} from step 17");
  EXPECT_EQ(Digest(view), Digest(Example()));
}

// The digest goes over the wire, so it may not change between builds or machines.
TEST(ViewTest, DigestIsStable) { EXPECT_EQ(Digest(Example()), 2771206204791605785u); }

TEST(ViewTest, DigestDependsOnEveryField) {
  const std::vector<std::function<void(View&)>> changes = {
      [](View& v) { v.job.low = 3; },
      [](View& v) { v.epoch = Epoch(5); },
      [](View& v) { v.ballot.round = 8; },
      [](View& v) { v.ballot.proposer = NodeId(3); },
      [](View& v) { v.ballot.incarnation.high = 1; },
      [](View& v) { v.previous_digest = 98; },
      [](View& v) { v.members.pop_back(); },
      [](View& v) { v.members[0].node = NodeId(1); },
      [](View& v) { v.members[0].incarnation.low = 1; },
      [](View& v) { v.members[0].votes = 2; },
      [](View& v) { v.members[0].address = "a:2"; },
      [](View& v) { std::swap(v.members[0].address, v.members[1].address); },
      [](View& v) { v.tie_breaker = NodeId(0); },
      [](View& v) { v.first_step = StepId(18); },
  };
  std::set<uint64_t> digests = {Digest(Example())};
  for (const auto& change : changes) {
    View view = Example();
    change(view);
    EXPECT_TRUE(digests.insert(Digest(view)).second);
  }
}

}  // namespace
}  // namespace perigee
