// What a fault does to the others, from transcripts of three members; member 1 is struck at 100 s.
#include "bench/compare_fault_watch.h"

#include <gtest/gtest.h>

#include "absl/strings/str_format.h"

namespace perigee {
namespace {

class FaultWatchTest : public testing::Test {
 protected:
  explicit FaultWatchTest(bool heals = false) : watch_(3, 1, heals) {}

  void Line(const std::string& text) { watch_.OnEvent(nlohmann::json::parse(text)); }
  void Start(int rank, int op, double time) {
    Line(absl::StrFormat(R"({"event":"start","rank":%d,"time":%f,"op":%d})", rank, time, op));
  }
  void Op(int rank, double ended, const std::string& members) {
    Line(absl::StrFormat(R"({"event":"op","rank":%d,"time":%f,"ended":%f,"members":%s})", rank,
                         ended, ended, members));
  }
  // Ops 0 to 2 of all, and the start of op 3 at 98 s; an op takes 2 s.
  void Warm() {
    for (int rank : {0, 1, 2}) {
      for (int op = 0; op < 3; ++op) {
        Start(rank, op, 92 + 2 * op);
        Op(rank, 94 + 2 * op, "[0,1,2]");
      }
      Start(rank, 3, 98);
    }
  }
  nlohmann::ordered_json Survivor(size_t index) { return watch_.ToJson(130)["survivors"][index]; }

  FaultWatch watch_;
};

TEST_F(FaultWatchTest, StrikesInsideAnOp) {
  EXPECT_FALSE(watch_.ReadyToStrike(98.9));
  Warm();
  EXPECT_FALSE(watch_.ReadyToStrike(98.7));
  EXPECT_TRUE(watch_.ReadyToStrike(98.9));
  Op(1, 99, "[0,1,2]");
  EXPECT_FALSE(watch_.ReadyToStrike(99.1));  // between two ops
}

TEST_F(FaultWatchTest, WhoGoesOnWithoutTheMember) {
  Warm();
  watch_.Struck(100);
  Op(0, 101, "[0,1,2]");  // had everything already
  Start(0, 4, 101);
  Line(R"({"event":"notice","rank":0,"time":101.5,"message":"view of 0 2"})");
  Op(0, 103, "[0,2]");
  Start(0, 5, 103);
  EXPECT_FALSE(watch_.Settled());
  Op(0, 104, "[0,2]");
  Op(2, 102, "[0,2]");
  Start(2, 4, 102);
  Op(2, 104, "[0,2]");
  EXPECT_TRUE(watch_.Settled());
  EXPECT_EQ(Survivor(0)["outcome"], "goes on");
  EXPECT_EQ(Survivor(0)["noticed_seconds"], 1.5);
  EXPECT_EQ(Survivor(0)["how"], "view of 0 2");
  EXPECT_EQ(Survivor(0)["goes_on_seconds"], 3);
  EXPECT_EQ(Survivor(1)["rank"], 2);
  EXPECT_EQ(Survivor(1)["noticed_seconds"], 2);
}

TEST_F(FaultWatchTest, ErrorsAndHangs) {
  Warm();
  watch_.Struck(100);
  Line(R"({"event":"error","rank":0,"time":130,"message":"timed out"})");
  EXPECT_FALSE(watch_.Settled());
  EXPECT_EQ(Survivor(0)["outcome"], "error");
  EXPECT_EQ(Survivor(0)["gave_up_seconds"], 30);
  EXPECT_EQ(Survivor(0)["error"], "timed out");
  EXPECT_EQ(Survivor(1)["outcome"], "hangs");
  EXPECT_TRUE(Survivor(1)["noticed_seconds"].is_null());
}

TEST_F(FaultWatchTest, AWrongResultIsSaid) {
  Warm();
  watch_.Struck(100);
  Op(0, 101, "[]");
  Op(2, 101, "[]");
  EXPECT_TRUE(watch_.Settled());
  EXPECT_EQ(Survivor(0)["outcome"], "wrong result");
}

TEST_F(FaultWatchTest, TheTimelineCountsFromTheStrike) {
  Warm();
  watch_.Struck(100);
  const auto timeline = watch_.ToJson(130)["timeline"];
  ASSERT_EQ(timeline.size(), 12u);
  EXPECT_EQ(timeline[0]["began"], -8);
  EXPECT_EQ(timeline[0]["ended"], -6);
  EXPECT_TRUE(timeline[3]["ended"].is_null());
  EXPECT_EQ(watch_.ToJson(130)["watched_seconds"], 30);
}

class HealingFaultWatchTest : public FaultWatchTest {
 protected:
  HealingFaultWatchTest() : FaultWatchTest(/*heals=*/true) {}
};

TEST_F(HealingFaultWatchTest, AnOpOfAllCountsWhereTheMemberComesBack) {
  Warm();
  watch_.Struck(100);
  for (int rank : {0, 2}) {
    Op(rank, 105, "[0,1,2]");
    Start(rank, 4, 105);
    Op(rank, 107, "[0,1,2]");
  }
  EXPECT_TRUE(watch_.Settled());
  EXPECT_EQ(Survivor(0)["goes_on_seconds"], 5);
}

}  // namespace
}  // namespace perigee
