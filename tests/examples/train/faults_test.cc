#include "examples/train/faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace perigee {
namespace {

const absl::Time kStart = absl::UnixEpoch();

TrainOptions Options(uint64_t seed) { return {.nodes = 4, .steps = 100, .seed = seed}; }

absl::Time At(double seconds) { return kStart + absl::Seconds(seconds); }

TEST(FaultScript, KillsWhenTheStepIsReported) {
  Scene scene;
  scene.kills = {{.node = 2, .at_step = 7}};
  FaultScript script(scene, Options(1));
  EXPECT_FALSE(script.Next(kStart, {}));
  EXPECT_FALSE(script.Next(kStart, {.step = 6, .whole = true}));
  const std::optional<Fault> fault = script.Next(kStart, {.step = 8, .whole = false});
  ASSERT_TRUE(fault);
  EXPECT_EQ(ToString(*fault), "SIGKILL of node 2");
  EXPECT_FALSE(script.Next(kStart, {.step = 9, .whole = true}));
}

// The faults of a minute in which the job is whole in every other second.
std::vector<std::string> Minute(uint64_t seed, uint64_t step) {
  Scene scene;
  scene.churn = true;
  FaultScript script(scene, Options(seed));
  std::vector<std::string> faults;
  for (int tick = 0; tick < 600; ++tick) {
    const bool whole = tick / 10 % 2 == 0;
    const auto fault = script.Next(At(tick * 0.1), {.step = step, .whole = whole});
    if (!fault) continue;
    EXPECT_TRUE(whole);
    faults.push_back(ToString(*fault));
  }
  return faults;
}

TEST(FaultScript, ChurnHitsEverybodyWhileTheJobIsWhole) {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<std::string> faults = Minute(seed, 10);
    EXPECT_EQ(faults, Minute(seed, 10)) << "seed " << seed;
    seen.insert(faults.begin(), faults.end());
  }
  EXPECT_EQ(seen.size(), 2u * 4 + 1) << "kill and stop of each node, and the coordinator's";
}

TEST(FaultScript, ChurnLeavesTheLastQuarterInPeace) {
  EXPECT_FALSE(Minute(1, 74).empty());
  EXPECT_TRUE(Minute(1, 75).empty());
}

TEST(FaultScript, KillsTheCoordinatorAgainAndAgain) {
  Scene scene;
  scene.coordinator = true;
  int kills = 0, quick = 0, started_and_killed = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    FaultScript script(scene, Options(seed));
    double up_since = 0;
    for (int tick = 0; tick < 6000; ++tick) {
      const double now = tick * 0.01;
      const JobState state{.step = 10, .whole = false, .coordinator_up = now >= up_since};
      const auto fault = script.Next(At(now), state);
      if (!fault) continue;
      ASSERT_GE(now, up_since) << "it is not there to be killed";
      ASSERT_EQ(ToString(*fault), "SIGKILL of perigeed");
      ASSERT_LE(fault->away, absl::Seconds(4));
      ++kills;
      quick += now - up_since < 0.15 ? 1 : 0;
      started_and_killed += fault->start_killed_after ? 1 : 0;
      up_since = now + absl::ToDoubleSeconds(fault->away);
    }
    EXPECT_FALSE(script.Next(At(100), {.step = 75, .coordinator_up = true}));
  }
  EXPECT_GT(kills, 300);
  EXPECT_GT(quick, kills / 4);
  EXPECT_GT(started_and_killed, kills / 10);
}

TEST(FaultLog, AMembersFaultLastsUntilAStepOfTheNextView) {
  FaultLog log;
  EXPECT_EQ(log.OnStep(At(0), 3), nullptr);
  log.OnFault(At(1), {.kind = Fault::Kind::kStop, .node = 1}, {.step = 0, .whole = true});
  // The op that ran was finished with the victim's part.
  EXPECT_EQ(log.OnStep(At(1.5), 3), nullptr);
  const FaultRecord* record = log.OnStep(At(2.5), 4);
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(*record->pause, absl::Seconds(1.5));
  EXPECT_EQ(log.OnStep(At(3), 5), nullptr) << "only once";
}

TEST(FaultLog, ACoordinatorsFaultCountsTheLongestTimeBetweenSteps) {
  FaultLog log;
  log.OnStep(At(0), 1);
  log.OnFault(At(1), {.kind = Fault::Kind::kKillCoordinator}, {.step = 0, .whole = true});
  log.OnStep(At(1.2), 1);
  log.OnStep(At(1.9), 1);
  const FaultRecord* record = log.OnCoordinatorBack(At(2));
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(*record->pause, absl::Seconds(0.7));
  EXPECT_EQ(log.OnCoordinatorBack(At(3)), nullptr);
}

}  // namespace
}  // namespace perigee
