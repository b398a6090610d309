#include "runtime/step_commit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "transport/base/rng.h"

namespace perigee {
namespace {

using Kind = StepVerdict::Kind;

// Nodes 0, 1, ... with these votes.
View ViewOf(const std::vector<uint32_t>& votes) {
  View view{.epoch = Epoch(3)};
  for (uint32_t node = 0; node < votes.size(); ++node) {
    view.members.push_back({.node = NodeId(node), .votes = votes[node]});
  }
  return view;
}

StepVerdict Judge(const View& view, const std::vector<uint64_t>& words) {
  return JudgeStates(view, DealMicrobatches(view, static_cast<uint32_t>(words.size())), words);
}

TEST(StepCommit, EqualStatesMayBeBuiltOn) {
  const StepVerdict verdict = Judge(ViewOf({1, 1, 1}), {7, 7, 7, 7});
  EXPECT_EQ(verdict.kind, Kind::kEqual);
  EXPECT_EQ(verdict.digest, 7u);
  EXPECT_TRUE(verdict.differs.empty());
}

TEST(StepCommit, TheMajorityNamesWhoDiffers) {
  const StepVerdict verdict = Judge(ViewOf({1, 1, 1}), {0xa, 0xb, 0xa, 0xa, 0xb, 0xa});
  EXPECT_EQ(verdict.kind, Kind::kMajority);
  EXPECT_EQ(verdict.digest, 0xau);
  EXPECT_EQ(verdict.differs, std::vector<NodeId>{NodeId(1)});
  EXPECT_EQ(verdict.text, "nodes 0,2: 000000000000000a; node 1: 000000000000000b");
}

TEST(StepCommit, HalfIsNoMajority) {
  const StepVerdict verdict = Judge(ViewOf({1, 1}), {1, 2, 1, 2});
  EXPECT_EQ(verdict.kind, Kind::kNoMajority);
  EXPECT_EQ(verdict.text, "node 0: 0000000000000001; node 1: 0000000000000002");
  EXPECT_EQ(Judge(ViewOf({1, 1, 1, 1}), {1, 1, 2, 3}).kind, Kind::kNoMajority);
}

TEST(StepCommit, WhoContradictsItselfDiffersFromEverybody) {
  // The state of node 1 changed between its two microbatches.
  const StepVerdict verdict = Judge(ViewOf({1, 1, 1}), {5, 5, 5, 5, 6, 5});
  EXPECT_EQ(verdict.kind, Kind::kMajority);
  EXPECT_EQ(verdict.digest, 5u);
  EXPECT_EQ(verdict.differs, std::vector<NodeId>{NodeId(1)});
  EXPECT_EQ(Judge(ViewOf({1, 1}), {5, 5, 5, 6}).kind, Kind::kNoMajority);
}

TEST(StepCommit, NewcomersTestifyToNothing) {
  // Nodes 2 and 3 have fetched the state of node 0.
  const StepVerdict verdict = Judge(ViewOf({1, 1, 0, 0}), {9, 4, 9, 9});
  EXPECT_EQ(verdict.kind, Kind::kNoMajority);
  const StepVerdict three = Judge(ViewOf({1, 1, 1, 0}), {9, 4, 4, 9});
  EXPECT_EQ(three.kind, Kind::kMajority);
  EXPECT_EQ(three.differs, (std::vector<NodeId>{NodeId(0), NodeId(3)}));
}

TEST(StepCommit, MembersWithoutAMicrobatchDoNotAppear) {
  const StepVerdict verdict = Judge(ViewOf({1, 1, 1, 1}), {4, 4, 8});
  EXPECT_EQ(verdict.kind, Kind::kMajority);
  EXPECT_EQ(verdict.differs, std::vector<NodeId>{NodeId(2)});
}

// Counted in another way: sort the states, take the middle one.
TEST(StepCommit, RandomStatesAgainstTheMiddleOne) {
  const uint64_t seed = 31;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 2000; ++round) {
    const size_t size = 1 + rng.Below(7);
    std::vector<uint64_t> words(size);
    for (uint64_t& word : words) word = rng.Below(3);
    const StepVerdict verdict = Judge(ViewOf(std::vector<uint32_t>(size, 1)), words);
    std::vector<uint64_t> sorted = words;
    std::sort(sorted.begin(), sorted.end());
    const uint64_t middle = sorted[size / 2];
    const auto holders = static_cast<size_t>(std::count(words.begin(), words.end(), middle));
    const Kind expected = holders == size      ? Kind::kEqual
                          : 2 * holders > size ? Kind::kMajority
                                               : Kind::kNoMajority;
    ASSERT_EQ(verdict.kind, expected) << round;
    if (expected == Kind::kNoMajority) continue;
    EXPECT_EQ(verdict.digest, middle);
    EXPECT_EQ(verdict.differs.size(), size - holders);
    for (NodeId node : verdict.differs) EXPECT_NE(words[node.value()], middle);
  }
}

}  // namespace
}  // namespace perigee
