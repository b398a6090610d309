#include "bench/linkemu/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "bench/linkemu/address_plan.h"
#include "transport/base/rng.h"

namespace perigee::linkemu {
namespace {

TEST(DurationHistogram, QuantilesAreAtMostASixteenthTooLarge) {
  Rng rng(1);
  DurationHistogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(static_cast<int64_t>(rng.Exponential(50'000)));
    histogram.Add(absl::Nanoseconds(values.back()));
  }
  std::sort(values.begin(), values.end());
  for (const double quantile : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const auto rank = static_cast<size_t>(quantile * 10'000) - 1;
    const int64_t measured = absl::ToInt64Nanoseconds(histogram.Quantile(quantile));
    EXPECT_GE(measured, values[rank]);
    EXPECT_LE(measured, values[rank] + values[rank] / 16 + 1);
  }
  EXPECT_EQ(histogram.max(), absl::Nanoseconds(values.back()));
}

TEST(DurationHistogram, TakesEveryDuration) {
  DurationHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5), absl::ZeroDuration());
  histogram.Add(-absl::Seconds(1));
  EXPECT_EQ(histogram.Quantile(1), absl::ZeroDuration());
  histogram.Add(absl::InfiniteDuration());
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_GT(histogram.Quantile(1), absl::Hours(1));
}

TEST(AddressPlan, FindsTheNodeOfEveryAddress) {
  EXPECT_EQ(NodeAddress(0), "10.77.0.1");
  EXPECT_EQ(NodeAddress(255), "10.77.1.6");
  for (int node = 0; node < 256; ++node) {
    std::vector<uint8_t> ip4(20), ip6(40);
    ip4[0] = 0x45;
    ip6[0] = 0x60;
    const auto a = NodeIp4(node);
    const auto b = NodeIp6(node);
    std::copy(a.begin(), a.end(), ip4.begin() + 16);
    std::copy(b.begin(), b.end(), ip6.begin() + 24);
    EXPECT_EQ(DestinationOf(ip4, 256), node);
    EXPECT_EQ(DestinationOf(ip6, 256), node);
    EXPECT_EQ(DestinationOf(ip4, node), std::nullopt);
    ip4[16] = 224;
    ip6[24] = 0xff;
    EXPECT_EQ(DestinationOf(ip4, 256), std::nullopt);
    EXPECT_EQ(DestinationOf(ip6, 256), std::nullopt);
  }
}

}  // namespace
}  // namespace perigee::linkemu
