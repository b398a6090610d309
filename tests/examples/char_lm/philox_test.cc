#include "examples/char_lm/philox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace perigee::char_lm {
namespace {

using ::testing::ElementsAre;

// The lines "philox4x32 10" of Random123's kat_vectors.
TEST(PhiloxTest, AgreesWithTheKnownAnswersOfRandom123) {
  EXPECT_THAT(Philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_THAT(Philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(PhiloxTest, StreamsOfOneSeedHaveDifferentKeys) {
  EXPECT_NE(StreamKey(1, Stream::kBatch), StreamKey(1, Stream::kParameters));
  EXPECT_NE(StreamKey(1, Stream::kBatch), StreamKey(2, Stream::kBatch));
  EXPECT_NE(StreamKey(1, Stream::kBatch), StreamKey(uint64_t{1} << 32, Stream::kBatch));
}

TEST(PhiloxTest, BelowStaysBelowItsBoundAndReachesBothEnds) {
  constexpr uint32_t kOnes = 0xffffffff;
  for (const uint32_t bound : {1u, 2u, 7u, 35085u, 1u << 28, kOnes}) {
    EXPECT_EQ(Below(0, 0, bound), 0) << bound;
    EXPECT_EQ(Below(kOnes, kOnes, bound), bound - 1) << bound;
  }
}

TEST(PhiloxTest, BelowIsUniform) {
  constexpr uint32_t kBound = 10;
  constexpr int kDraws = 20000;
  std::vector<int> counts(kBound);
  for (uint32_t i = 0; i < kDraws; ++i) {
    const PhiloxBlock draw = Philox({i, 0, 0, 0}, {1, 2});
    ++counts[Below(draw[0], draw[1], kBound)];
  }
  // Six standard deviations of a binomial count: sqrt(20000 · 0.1 · 0.9) = 42.
  for (int count : counts) EXPECT_NEAR(count, kDraws / 10.0, 6 * 42);
}

TEST(PhiloxTest, UnitFloatNeverReachesOne) {
  EXPECT_EQ(UnitFloat(0), 0.0f);
  EXPECT_LT(UnitFloat(0xffffffff), 1.0f);
}

}  // namespace
}  // namespace perigee::char_lm
