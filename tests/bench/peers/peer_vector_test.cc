// The content of a comparison: a result shows whose inputs it holds, and that all of it is right.
#include "bench/peers/peer_vector.h"

#include <gtest/gtest.h>

#include <vector>

namespace perigee {
namespace {

constexpr PeerInput kInput = {.seed = 7, .op = 3};

std::vector<float> SumOf(const std::vector<uint32_t>& ranks, size_t count) {
  std::vector<float> sum(count), input(count);
  for (const uint32_t rank : ranks) {
    FillPeerInput(kInput, rank, absl::MakeSpan(input));
    for (size_t i = 0; i < count; ++i) sum[i] += input[i];
  }
  return sum;
}

TEST(PeerVectorTest, ASumShowsWhoIsInIt) {
  EXPECT_EQ(PeersInSum(kInput, 4, SumOf({0, 1, 2, 3}, 5000)), 0b1111u);
  EXPECT_EQ(PeersInSum(kInput, 4, SumOf({0, 1, 3}, 5000)), 0b1011u);
  EXPECT_EQ(PeersInSum(kInput, 4, SumOf({2}, 5000)), 0b0100u);
}

TEST(PeerVectorTest, EverySubsetOfSixIsTold) {
  for (uint32_t set = 1; set < 64; ++set) {
    std::vector<uint32_t> ranks;
    for (uint32_t rank = 0; rank < 6; ++rank) {
      if ((set >> rank & 1) != 0) ranks.push_back(rank);
    }
    EXPECT_EQ(PeersInSum(kInput, 6, SumOf(ranks, 1024)), set);
  }
}

TEST(PeerVectorTest, OneWrongElementMakesItWrong) {
  for (const size_t place : {size_t{0}, size_t{300}, size_t{4999}}) {
    std::vector<float> result = SumOf({0, 1, 2, 3}, 5000);
    result[place] += 1;
    EXPECT_EQ(PeersInSum(kInput, 4, result), 0u) << place;
  }
}

TEST(PeerVectorTest, ExchangedPartsMakeItWrong) {
  std::vector<float> result = SumOf({0, 1, 2, 3}, 5000);
  std::swap_ranges(result.begin() + 1000, result.begin() + 2000, result.begin() + 3000);
  EXPECT_EQ(PeersInSum(kInput, 4, result), 0u);
}

TEST(PeerVectorTest, TheResultOfAnotherOpOrSeedIsWrong) {
  const std::vector<float> result = SumOf({0, 1, 2, 3}, 5000);
  EXPECT_EQ(PeersInSum({.seed = kInput.seed, .op = kInput.op + 1}, 4, result), 0u);
  EXPECT_NE(PeersInSum({.seed = kInput.seed + 1, .op = kInput.op}, 4, result), 0b1111u);
}

TEST(PeerVectorTest, AChecksumKnowsBitsAndPlaces) {
  const std::vector<float> values = {1, 2, 3};
  EXPECT_NE(PeerChecksum(values), PeerChecksum(std::vector<float>{2, 1, 3}));
  EXPECT_NE(PeerChecksum(std::vector<float>{0.0f}), PeerChecksum(std::vector<float>{-0.0f}));
  // Twos's complement arithmetic by hand: 0x3f800000 * 1 + 0x40000000 * 3 + 0x40400000 * 5.
  EXPECT_EQ(PeerChecksum(values), 0x3f800000ull + 0x40000000ull * 3 + 0x40400000ull * 5);
}

}  // namespace
}  // namespace perigee
