// From lines to figures: one transcript of two members per case.
#include "bench/compare_cells.h"

#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_format.h"

namespace perigee {
namespace {

constexpr uint64_t kSmall = 4096;
constexpr uint64_t kLarge = 65536;

class CompareCellsTest : public testing::Test {
 protected:
  void Line(const std::string& text) { log_.OnEvent(nlohmann::json::parse(text)); }
  void Start(uint64_t op, uint64_t bytes, double time) {
    for (int rank : {0, 1}) {
      Line(absl::StrFormat(R"({"event":"start","rank":%d,"time":%f,"op":%d,"bytes":%d})", rank,
                           time, op, bytes));
    }
  }
  void End(int rank, uint64_t op, double seconds, const std::string& rest) {
    Line(absl::StrFormat(
        R"({"event":"op","rank":%d,"time":9,"op":%d,"bytes":0,"seconds":%f,"cpu_seconds":0.25,%s})",
        rank, op, seconds, rest));
  }
  std::map<uint64_t, CompareCell>& Add(bool over_limit = false, const std::string& failure = "") {
    log_.AddTo(cells_, over_limit, failure);
    return cells_;
  }

  static constexpr char kRight[] = R"("timed":true,"members":[0,1],"checksum":"aa")";
  static constexpr char kWarm[] = R"("timed":false,"members":[0,1],"checksum":"aa")";
  LaunchLog log_{2, {kSmall, kLarge}};
  std::map<uint64_t, CompareCell> cells_;
};

TEST_F(CompareCellsTest, AnOpTakesAsLongAsItsSlowestMember) {
  Start(0, kSmall, 100);
  End(0, 0, 9, kWarm);
  End(1, 0, 9, kWarm);
  Start(1, kSmall, 110);
  End(0, 1, 0.5, kRight);
  EXPECT_EQ(log_.running_since(), 110);
  End(1, 1, 0.75, kRight);
  EXPECT_EQ(log_.running_since(), 0);
  const CompareCell cell = Add()[kSmall];
  EXPECT_EQ(cell.seconds, std::vector<double>{0.75});  // without the warm-up
  EXPECT_EQ(cell.cpu_seconds, 0.5);
  EXPECT_EQ(cell.wrong + cell.unequal, 0u);
  EXPECT_EQ(log_.ideal_bytes(), 2.0 * 2 * kSmall);  // two ops of 2(N-1) vectors
}

TEST_F(CompareCellsTest, AResultWithoutAMemberIsWrongAndOtherBitsAreUnequal) {
  Start(0, kSmall, 100);
  End(0, 0, 1, R"("timed":true,"members":[0,1],"checksum":"aa")");
  End(1, 0, 1, R"("timed":true,"members":[0],"checksum":"ab")");
  const CompareCell cell = Add()[kSmall];
  EXPECT_EQ(cell.wrong, 1u);
  EXPECT_EQ(cell.unequal, 1u);
}

TEST_F(CompareCellsTest, AnOpOverTheLimitIsEndlessAndSoAreLargerSizes) {
  Start(0, kSmall, 100);
  End(0, 0, 1, kRight);
  const auto cells = Add(/*over_limit=*/true);
  EXPECT_TRUE(std::isinf(cells.at(kSmall).Quantile(0.5)));
  EXPECT_FALSE(cells.at(kSmall).is_predicted);
  EXPECT_TRUE(std::isinf(cells.at(kLarge).Quantile(0.5)));
  EXPECT_TRUE(cells.at(kLarge).is_predicted);
}

TEST_F(CompareCellsTest, ASizeThatMembersLeftOutIsPredicted) {
  Start(0, kSmall, 100);
  End(0, 0, 1, kRight);
  End(1, 0, 1, kRight);
  Line(R"({"event":"cut","rank":0,"time":1,"bytes":65536})");
  Line(R"({"event":"cut","rank":1,"time":1,"bytes":65536})");
  const auto cells = Add();
  EXPECT_EQ(cells.at(kSmall).ended(), 1u);
  EXPECT_EQ(cells.at(kLarge).seconds.size(), 1u);
  EXPECT_TRUE(cells.at(kLarge).is_predicted);
}

TEST_F(CompareCellsTest, AMembersErrorExplainsWhatWasNotReached) {
  Start(0, kSmall, 100);
  End(0, 0, 1, kRight);
  End(1, 0, 1, kRight);
  Start(1, kLarge, 110);
  Line(R"({"event":"error","rank":1,"time":111,"message":"connection closed"})");
  const auto cells = Add(false, "only 0 of 2 members ended well");
  EXPECT_EQ(cells.at(kSmall).failure, "");
  EXPECT_EQ(cells.at(kLarge).failure, "rank 1: connection closed");
}

TEST_F(CompareCellsTest, QuantilesAreNearestRanks) {
  const CompareCell cell = {.seconds = {4, 1, 3, 2}};
  EXPECT_EQ(cell.Quantile(0.5), 2);
  EXPECT_EQ(cell.Quantile(0.99), 4);
  EXPECT_TRUE(std::isnan(CompareCell().Quantile(0.5)));
}

}  // namespace
}  // namespace perigee
