#include "transport/ack_ranges.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "transport/base/rng.h"

namespace perigee {
namespace {

std::vector<PacketRange> All(const AckRanges& ranges) {
  std::vector<PacketRange> all;
  for (size_t i = 0; i < ranges.size(); ++i) all.push_back(ranges.Newest(i));
  return all;
}

TEST(AckRangesTest, Example) {
  AckRanges received;
  for (uint64_t n : {0, 1, 2, 5, 6, 9}) EXPECT_TRUE(received.Add(n));
  EXPECT_FALSE(received.Add(5)) << "a duplicate";
  EXPECT_EQ(All(received), (std::vector<PacketRange>{{9, 9}, {5, 6}, {0, 2}}));

  EXPECT_TRUE(received.Add(4));
  EXPECT_TRUE(received.Add(3));
  EXPECT_EQ(All(received), (std::vector<PacketRange>{{9, 9}, {0, 6}}));

  received.RaiseFloor(4);
  EXPECT_EQ(All(received), (std::vector<PacketRange>{{9, 9}, {4, 6}}));
  EXPECT_FALSE(received.Add(2)) << "below the floor";
}

TEST(AckRangesTest, MergeTellsTheNews) {
  AckRanges acked;
  acked.Add(3);
  acked.Add(7);
  std::vector<PacketRange> added;
  acked.Merge({{8, 9}, {2, 6}}, added);
  EXPECT_EQ(added, (std::vector<PacketRange>{{8, 9}, {4, 6}, {2, 2}}));
  EXPECT_EQ(All(acked), (std::vector<PacketRange>{{2, 9}}));

  added.clear();
  acked.Merge({{8, 9}, {2, 6}}, added);
  EXPECT_TRUE(added.empty()) << "the same again";
}

TEST(AckRangesTest, ForgetsTheOldestAtTheBound) {
  AckRanges received;
  for (uint64_t i = 0; i <= AckRanges::kRangesMax; ++i) EXPECT_TRUE(received.Add(2 * i));
  EXPECT_EQ(received.size(), AckRanges::kRangesMax);
  EXPECT_EQ(received.floor(), 1);
  EXPECT_FALSE(received.Contains(0));
  EXPECT_TRUE(received.Contains(2));
}

// Against a std::set: random additions, merges and floors.
TEST(AckRangesTest, MatchesASet) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    AckRanges ranges;
    std::set<uint64_t> oracle;
    uint64_t floor = 0;
    for (int step = 0; step < 300; ++step) {
      if (rng.Bernoulli(0.05)) {
        floor = std::max(floor, rng.Below(150));
        ranges.RaiseFloor(floor);
        oracle.erase(oracle.begin(), oracle.lower_bound(floor));
      } else if (rng.Bernoulli(0.2)) {
        std::vector<PacketRange> news;
        for (uint64_t last = 100 + rng.Below(100); last > 20;) {
          const uint64_t first = last - rng.Below(5);
          news.push_back({first, last});
          last = first - 2 - rng.Below(15);
        }
        std::vector<PacketRange> added;
        ranges.Merge(news, added);
        std::set<uint64_t> added_numbers;
        for (const PacketRange& r : added) {
          for (uint64_t n = r.first; n <= r.last; ++n) {
            EXPECT_TRUE(added_numbers.insert(n).second);
          }
        }
        std::set<uint64_t> expected;
        for (const PacketRange& r : news) {
          for (uint64_t n = std::max(r.first, floor); n <= r.last; ++n) {
            if (oracle.insert(n).second) expected.insert(n);
          }
        }
        EXPECT_EQ(added_numbers, expected);
      } else {
        const uint64_t n = rng.Below(200);
        EXPECT_EQ(ranges.Add(n), n >= floor && oracle.insert(n).second);
      }
      std::set<uint64_t> numbers;
      for (const PacketRange& r : All(ranges)) {
        for (uint64_t n = r.first; n <= r.last; ++n) numbers.insert(n);
      }
      ASSERT_EQ(numbers, oracle);
      for (size_t i = 1; i < ranges.size(); ++i) {
        ASSERT_GT(ranges.Newest(i - 1).first, ranges.Newest(i).last + 1) << "adjacent ranges";
      }
    }
  }
}

}  // namespace
}  // namespace perigee
