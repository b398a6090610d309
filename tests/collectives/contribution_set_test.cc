#include "collectives/contribution_set.h"

#include <gtest/gtest.h>

#include <set>

#include "transport/base/rng.h"

namespace perigee {
namespace {

TEST(ContributionSet, Example) {
  ContributionSet mine(8);
  mine.Add(0);
  mine.Add(1);
  ContributionSet theirs(8);
  for (uint32_t i : {2, 3, 5, 7}) theirs.Add(i);
  ASSERT_TRUE(mine.DisjointFrom(theirs));
  mine.Merge(theirs);
  EXPECT_EQ(ToString(mine), "{0-3,5,7} of 8");
  EXPECT_EQ(mine.Missing(), (std::vector<uint32_t>{4, 6}));
  EXPECT_FALSE(mine.DisjointFrom(theirs));
  EXPECT_FALSE(mine.IsFull());
  mine.Add(4);
  mine.Add(6);
  EXPECT_TRUE(mine.IsFull());
  mine.Remove(6);
  EXPECT_EQ(mine.Count(), 7u);
}

TEST(ContributionSet, EmptyUniverseIsFull) {
  EXPECT_TRUE(ContributionSet().IsFull());
  EXPECT_EQ(ToString(ContributionSet()), "{} of 0");
  EXPECT_FALSE(ContributionSet(1).IsFull());
}

TEST(ContributionSet, BehavesLikeASetOfNumbers) {
  const uint64_t seed = 20261122;
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (uint32_t universe : {1u, 63u, 64u, 65u, 200u, 4096u}) {
    ContributionSet set(universe);
    ContributionSet other(universe);
    std::set<uint32_t> model;
    std::set<uint32_t> other_model;
    for (int i = 0; i < 300; ++i) {
      const auto index = static_cast<uint32_t>(rng.Below(universe));
      if (rng.Bernoulli(0.6)) {
        set.Add(index);
        model.insert(index);
      } else {
        other.Add(index);
        other_model.insert(index);
      }
    }
    EXPECT_EQ(set.Count(), model.size());
    for (uint32_t i = 0; i < universe; ++i) ASSERT_EQ(set.Contains(i), model.contains(i)) << i;
    bool disjoint = true;
    for (uint32_t i : other_model) disjoint &= !model.contains(i);
    EXPECT_EQ(set.DisjointFrom(other), disjoint);
    set.Merge(other);
    model.insert(other_model.begin(), other_model.end());
    EXPECT_EQ(set.Count(), model.size());
    EXPECT_EQ(set.Missing().size(), universe - model.size());
  }
}

}  // namespace
}  // namespace perigee
