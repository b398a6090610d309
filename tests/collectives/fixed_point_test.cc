#include "collectives/fixed_point.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "collectives/reduce_kernels.h"
#include "transport/base/rng.h"

namespace perigee {
namespace {

std::vector<std::vector<float>> RandomGradients(size_t contributions, size_t size, Rng& rng) {
  std::vector<std::vector<float>> gradients(contributions, std::vector<float>(size));
  for (auto& gradient : gradients) {
    for (float& value : gradient) {
      value =
          static_cast<float>(std::ldexp(rng.Unit() - 0.5, static_cast<int>(rng.Between(-20, 8))));
    }
  }
  return gradients;
}

TEST(FixedPointSum, Example) {
  const FixedPointSettings settings = {.scale_bits = 40, .contributions_max = 2};
  FixedPointSum sum(2, settings);
  sum.Add(MicrobatchId(0), {0.5f, -1.0f});
  sum.Add(MicrobatchId(1), {1.5f, 0.25f});
  EXPECT_TRUE(sum.contributions().IsFull());
  EXPECT_EQ(sum.flags(), 0u);
  std::vector<float> mean(2);
  Decode(sum.data(), settings, 2, absl::MakeSpan(mean));
  EXPECT_EQ(mean, (std::vector<float>{1.0f, -0.375f}));
}

TEST(FixedPointSum, RoundsToNearestTiesToEven) {
  FixedPointSum sum(6, {.scale_bits = 0, .contributions_max = 1});
  sum.Add(MicrobatchId(0), {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 0.75f});
  EXPECT_EQ(std::vector<int64_t>(sum.data().begin(), sum.data().end()),
            (std::vector<int64_t>{0, 2, 2, 0, -2, 1}));
}

// The same contributions, dealt to 1 to 7 members in any order and merged in any order: the same
// bits.
TEST(FixedPointSum, BitsDependOnlyOnTheContributions) {
  const uint64_t seed = 99;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  constexpr size_t kSize = 101;
  constexpr uint32_t kContributions = 24;
  const FixedPointSettings settings = {.scale_bits = 40, .contributions_max = kContributions};
  const auto gradients = RandomGradients(kContributions, kSize, rng);
  FixedPointSum reference(kSize, settings);
  for (uint32_t i = 0; i < kContributions; ++i) reference.Add(MicrobatchId(i), gradients[i]);

  for (int round = 0; round < 30; ++round) {
    const size_t members = 1 + rng.Below(7);
    std::vector<FixedPointSum> sums(members, FixedPointSum(kSize, settings));
    std::vector<uint32_t> order(kContributions);
    std::iota(order.begin(), order.end(), 0);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.Below(i)]);
    for (uint32_t i : order) sums[rng.Below(members)].Add(MicrobatchId(i), gradients[i]);

    std::vector<int64_t> total(kSize, 0);
    for (const FixedPointSum& sum : sums) {
      Reduce({.dtype = DType::kI64,
              .op = ReduceOp::kSum,
              .dst = total.data(),
              .src = sum.data().data(),
              .count = kSize});
    }
    ASSERT_TRUE(std::equal(total.begin(), total.end(), reference.data().begin())) << round;
  }
}

TEST(FixedPointSum, RemoveIsExactAndTakesBackItsFlags) {
  const uint64_t seed = 7;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const FixedPointSettings settings = {.scale_bits = 45, .contributions_max = 4};
  auto gradients = RandomGradients(4, 50, rng);
  gradients[2][7] = std::numeric_limits<float>::quiet_NaN();
  gradients[3][8] = std::numeric_limits<float>::infinity();
  FixedPointSum without(50, settings);
  FixedPointSum with(50, settings);
  for (uint32_t i : {0, 1, 3}) without.Add(MicrobatchId(i), gradients[i]);
  for (uint32_t i : {2, 0, 3, 1}) with.Add(MicrobatchId(i), gradients[i]);
  EXPECT_EQ(with.flags(), kFlagNan | kFlagRange);
  with.Remove(MicrobatchId(2), gradients[2]);
  EXPECT_EQ(with.data(), without.data());
  EXPECT_EQ(with.flags(), kFlagRange + 0u);
  EXPECT_EQ(with.contributions(), without.contributions());
  with.Reset();
  EXPECT_EQ(with.flags(), 0u);
  EXPECT_EQ(with.contributions().Count(), 0u);
  EXPECT_TRUE(
      std::all_of(with.data().begin(), with.data().end(), [](int64_t v) { return v == 0; }));
}

TEST(FixedPointSum, GathersAWordPerContribution) {
  const FixedPointSettings settings = {.scale_bits = 20, .contributions_max = 3};
  constexpr auto kWords = FixedPointSum::Words::kPerContribution;
  FixedPointSum here(2, settings, kWords), there(2, settings, kWords);
  EXPECT_EQ(here.size(), 2u + 3u);
  here.Add(MicrobatchId(0), {1, 2});
  here.Add(MicrobatchId(2), {3, 4});
  there.Add(MicrobatchId(1), {5, 6});
  here.SetWord(MicrobatchId(0), 7);
  here.SetWord(MicrobatchId(2), ~uint64_t{0});
  there.SetWord(MicrobatchId(1), uint64_t{1} << 63);
  std::vector<int64_t> total(here.data().begin(), here.data().end());
  Reduce({.dtype = DType::kI64,
          .op = ReduceOp::kSum,
          .dst = total.data(),
          .src = there.data().data(),
          .count = total.size()});
  EXPECT_EQ(std::vector<int64_t>(total.begin() + 2, total.end()),
            (std::vector<int64_t>{7, std::numeric_limits<int64_t>::min(), -1}));
  std::vector<float> values(2);
  Decode(absl::MakeConstSpan(total).first(here.value_count()), settings, 1, absl::MakeSpan(values));
  EXPECT_EQ(values, (std::vector<float>{9, 12}));
  here.Remove(MicrobatchId(2), {3, 4});
  EXPECT_EQ(here.data()[4], 0);
  here.Reset();
  EXPECT_EQ(here.data()[2], 0);
}

// M contributions at the bound fit in 63 bits, whatever their signs.
TEST(FixedPointSum, ContributionsAtTheBoundDoNotOverflow) {
  for (uint32_t contributions : {1u, 2u, 3u, 24u, 64u, 65u}) {
    const FixedPointSettings settings = {.scale_bits = 30, .contributions_max = contributions};
    const int log2 = static_cast<int>(std::ceil(std::log2(contributions)));
    const auto bound = static_cast<float>(std::ldexp(1.0, 62 - log2 - 30));
    FixedPointSum sum(2, settings);
    for (uint32_t i = 0; i < contributions; ++i) sum.Add(MicrobatchId(i), {bound, -bound});
    EXPECT_EQ(sum.flags(), 0u);
    EXPECT_EQ(sum.data()[0], (int64_t{1} << (62 - log2)) * contributions);
    EXPECT_EQ(sum.data()[1], -sum.data()[0]);

    FixedPointSum beyond(3, settings);
    const float above = std::nextafter(bound, std::numeric_limits<float>::infinity());
    beyond.Add(MicrobatchId(0), {above, -above, 1.0f});
    EXPECT_EQ(beyond.flags(), kFlagRange + 0u);
    EXPECT_EQ(beyond.data()[0], int64_t{1} << (62 - log2));
    EXPECT_EQ(beyond.data()[1], -(int64_t{1} << (62 - log2)));
  }
}

TEST(FixedPointSum, CoarserScaleTakesSixteenTimesTheRange) {
  const FixedPointSettings settings = {.scale_bits = 40, .contributions_max = 1};
  const auto bound = static_cast<float>(std::ldexp(1.0, 62 - 40));
  FixedPointSum first(1, settings);
  first.Add(MicrobatchId(0), {bound * 16});
  EXPECT_EQ(first.flags(), kFlagRange + 0u);
  const FixedPointSettings coarser = CoarserScale(settings);
  EXPECT_EQ(coarser.scale_bits, 36);
  EXPECT_EQ(coarser.contributions_max, 1u);
  FixedPointSum second(1, coarser);
  second.Add(MicrobatchId(0), {bound * 16});
  EXPECT_EQ(second.flags(), 0u);
}

TEST(FixedPointSum, DecodedSumIsAsGoodAsDouble) {
  Rng rng(12);
  const FixedPointSettings settings = {.scale_bits = 48, .contributions_max = 16};
  const auto gradients = RandomGradients(16, 200, rng);
  FixedPointSum sum(200, settings);
  for (uint32_t i = 0; i < 16; ++i) sum.Add(MicrobatchId(i), gradients[i]);
  std::vector<float> mean(200);
  Decode(sum.data(), settings, 16, absl::MakeSpan(mean));
  for (size_t k = 0; k < 200; ++k) {
    double exact = 0;
    for (const auto& gradient : gradients) exact += gradient[k];
    EXPECT_NEAR(mean[k], exact / 16, std::abs(exact / 16) * 0x1p-24 + 0x1p-48);
  }
}

TEST(FixedPointSumDeathTest, OnlyAContributionHasAWord) {
  FixedPointSum sum(1, {.scale_bits = 10, .contributions_max = 2},
                    FixedPointSum::Words::kPerContribution);
  EXPECT_DEATH(sum.SetWord(MicrobatchId(1), 5), "check failed");
}

TEST(FixedPointSumDeathTest, AMicrobatchIsAddedOnce) {
  FixedPointSum sum(1, {.scale_bits = 10, .contributions_max = 2});
  sum.Add(MicrobatchId(1), {1.0f});
  EXPECT_DEATH(sum.Add(MicrobatchId(1), {1.0f}), "check failed");
}

}  // namespace
}  // namespace perigee
