#include "examples/char_lm/portable_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace perigee::char_lm {
namespace {

// The oracle is the C library, whose last bit may depend on the processor: hence tolerances.
TEST(PortableMathTest, ExpIsAccurateInBothPrecisions) {
  for (double x = -80; x <= 80; x += 0.0371) {
    EXPECT_NEAR(Exp(x) / std::exp(x), 1, 1e-15) << x;
    const float rounded = static_cast<float>(x);
    EXPECT_NEAR(Exp(rounded) / std::exp(static_cast<double>(rounded)), 1, 3e-7) << x;
  }
  EXPECT_EQ(Exp(0.0f), 1.0f);
  EXPECT_EQ(Exp(0.0), 1.0);
}

TEST(PortableMathTest, ExpClampsWhatWouldOverflow) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isfinite(Exp(kInfinity)));
  EXPECT_GT(Exp(-kInfinity), 0.0f);
  EXPECT_LT(Exp(-kInfinity), 1e-37f);
  EXPECT_TRUE(std::isnan(Exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(PortableMathTest, TanhIsAccurateAndSaturates) {
  for (double x = -12; x <= 12; x += 0.0173) {
    EXPECT_NEAR(Tanh(x), std::tanh(x), 5e-16) << x;
    EXPECT_NEAR(Tanh(static_cast<float>(x)), std::tanh(static_cast<float>(x)), 3e-7) << x;
  }
  EXPECT_EQ(Tanh(1000.0f), 1.0f);
  EXPECT_EQ(Tanh(-1000.0f), -1.0f);
}

TEST(PortableMathTest, LogIsAccurate) {
  for (double x = 1e-12; x < 1e12; x *= 1.37) {
    EXPECT_NEAR(Log(x), std::log(x), 1e-15 * (1 + std::abs(std::log(x)))) << x;
  }
  EXPECT_EQ(Log(1.0), 0.0);
}

TEST(PortableMathTest, CosPiIsAccurate) {
  for (double x = 0; x <= 1; x += 1.0 / 512) {
    EXPECT_NEAR(CosPi(x), std::cos(M_PI * x), 1e-15) << x;
  }
  EXPECT_EQ(CosPi(0), 1.0);
  EXPECT_EQ(CosPi(1), -1.0);
}

TEST(PortableMathTest, PowerMultipliesUp) {
  EXPECT_EQ(Power(0.9, 0), 1.0);
  EXPECT_EQ(Power(2, 10), 1024.0);
  EXPECT_NEAR(Power(0.95, 1000), std::pow(0.95, 1000), 1e-33);
}

}  // namespace
}  // namespace perigee::char_lm
