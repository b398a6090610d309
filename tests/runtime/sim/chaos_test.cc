// Random faults on random clusters of 2 to 40 nodes, by the seed: PERIGEE_SEEDS of them (500 by
// default), from PERIGEE_SEED_FIRST.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "absl/strings/numbers.h"
#include "tests/runtime/sim/chaos.h"

namespace perigee {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

constexpr uint64_t kParts = 8;

class ChaosTest : public testing::TestWithParam<uint64_t> {
 protected:
  static void TearDownTestSuite() { std::cout << ToString(total_) << std::endl; }
  static ChaosReport total_;
};
ChaosReport ChaosTest::total_;

// Part p of the seeds: p, p + kParts, p + 2 kParts, ...
TEST_P(ChaosTest, NothingIsLostAndNothingDiffers) {
  const uint64_t first = FromEnvironment("PERIGEE_SEED_FIRST", 1);
  const uint64_t seeds = FromEnvironment("PERIGEE_SEEDS", 500);
  std::ostream* transcript = FromEnvironment("PERIGEE_TRANSCRIPT", 0) > 0 ? &std::cout : nullptr;
  for (uint64_t seed = first + GetParam(); seed < first + seeds; seed += kParts) {
    // Printed first: a check that fails ends the process.
    std::cout << "seed " << seed << "\r" << std::flush;
    const ChaosReport report = RunChaos(seed, transcript);
    total_.Add(report);
    for (const std::string& error : report.errors) {
      ADD_FAILURE() << "seed " << seed << " (" << report.world << "): " << error;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, ChaosTest, testing::Range(uint64_t{0}, kParts));

TEST(ChaosReproductionTest, TheSameSeedGivesTheSameRun) {
  for (uint64_t seed : {1, 2, 3}) {
    const ChaosReport first = RunChaos(seed);
    const ChaosReport second = RunChaos(seed);
    EXPECT_EQ(first.trace_digest, second.trace_digest) << "seed " << seed;
    EXPECT_EQ(first.events, second.events) << "seed " << seed;
  }
  EXPECT_NE(RunChaos(1).trace_digest, RunChaos(2).trace_digest);
}

}  // namespace
}  // namespace perigee
