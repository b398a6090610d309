#include "examples/train/departures.h"

#include <gtest/gtest.h>

namespace perigee {
namespace {

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

JobState Members(uint32_t members, uint64_t step = 5) { return {.step = step, .members = members}; }

class DeparturesTest : public testing::Test {
 protected:
  // Asks until a request comes, for ten seconds.
  std::optional<DrainRequest> Await(const JobState& state) {
    for (int tick = 0; tick < 200; ++tick) {
      now_ += 0.05;
      if (auto request = departures_.Next(At(now_), state)) return request;
    }
    return std::nullopt;
  }

  Departures departures_ = Departures(4, 100, Rng(3));
  double now_ = 0;
};

TEST_F(DeparturesTest, DrainsOneMemberAndTakesItBack) {
  EXPECT_FALSE(departures_.Next(At(0), {.members = 4})) << "before the first step";
  EXPECT_FALSE(Await(Members(3))) << "not whole";
  const auto drain = Await(Members(4));
  ASSERT_TRUE(drain && drain->drain);
  departures_.OnAnswer(At(now_), true);
  EXPECT_FALSE(Await(Members(4))) << "it has not left yet";
  departures_.OnLeft(At(now_), (drain->node + 1) % 4);
  EXPECT_FALSE(Await(Members(3))) << "that was another one";
  departures_.OnLeft(At(now_), drain->node);
  EXPECT_FALSE(Await(Members(4))) << "no step was finished without it";
  const auto undrain = Await(Members(3));
  ASSERT_TRUE(undrain && !undrain->drain);
  EXPECT_EQ(undrain->node, drain->node);
  departures_.OnAnswer(At(now_), true);
  EXPECT_FALSE(Await(Members(3)));
  EXPECT_EQ(departures_.count(), 0u);
  const auto next = Await(Members(4));
  ASSERT_TRUE(next && next->drain);
  EXPECT_EQ(departures_.count(), 1u);
}

TEST_F(DeparturesTest, AsksAgainUntilItIsAnsweredOrSeen) {
  const auto drain = Await(Members(4));
  ASSERT_TRUE(drain);
  departures_.OnAnswer(At(now_), false);
  const auto again = Await(Members(4));
  ASSERT_TRUE(again && again->drain);
  EXPECT_EQ(again->node, drain->node);
  // The coordinator died with the answer.
  departures_.OnLeft(At(now_), drain->node);
  ASSERT_TRUE(Await(Members(3)));
  ASSERT_TRUE(Await(Members(3))) << "undrain again";
  Await(Members(4));
  EXPECT_EQ(departures_.count(), 1u);
}

TEST_F(DeparturesTest, TheLastQuarterOnlyTakesBack) {
  EXPECT_FALSE(Await(Members(4, 75)));
  const auto drain = Await(Members(4, 74));
  ASSERT_TRUE(drain);
  departures_.OnLeft(At(now_), drain->node);
  const auto undrain = Await(Members(3, 80));
  ASSERT_TRUE(undrain);
  EXPECT_FALSE(undrain->drain);
}

}  // namespace
}  // namespace perigee
