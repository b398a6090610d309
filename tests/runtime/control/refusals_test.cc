#include "runtime/control/refusals.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace perigee {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(Refusals, EveryOneIsCountedAndTold) {
  std::vector<std::string> told;
  Refusals refusals([&](const std::string& line) { told.push_back(line); });
  refusals.Add(kStart, Refusal::kWrongRole, "Drain by 'x'");
  refusals.Add(kStart, Refusal::kWrongRole, "Drain by 'y'");
  EXPECT_EQ(told, (std::vector<std::string>{"refused wrong_role (1 so far): Drain by 'x'",
                                            "refused wrong_role (2 so far): Drain by 'y'"}));
  EXPECT_EQ(refusals.counts()[static_cast<size_t>(Refusal::kWrongRole)], 2u);
}

TEST(Refusals, AFloodIsCountedWholeAndToldInPart) {
  std::vector<std::string> told;
  Refusals refusals([&](const std::string& line) { told.push_back(line); });
  for (int i = 0; i < 1000; ++i) refusals.Add(kStart, Refusal::kNoCertificate, "a peer");
  EXPECT_EQ(told.size(), static_cast<size_t>(Refusals::kToldBurst));
  EXPECT_EQ(refusals.counts()[static_cast<size_t>(Refusal::kNoCertificate)], 1000u);
  refusals.Add(kStart, Refusal::kTooFast, "another cause is not drowned");
  EXPECT_EQ(told.back(), "refused too_fast (1 so far): another cause is not drowned");
  refusals.Add(kStart + absl::Seconds(2), Refusal::kNoCertificate, "a peer");
  EXPECT_EQ(told.back(), "refused no_certificate (1001 so far, 980 not told): a peer");
}

TEST(Refusals, NothingIsToldAfterTheEnd) {
  int told = 0;
  Refusals refusals([&](const std::string&) { ++told; });
  refusals.StopTelling();
  refusals.Add(kStart, Refusal::kSilent, "late");
  EXPECT_EQ(told, 0);
  EXPECT_EQ(refusals.counts()[static_cast<size_t>(Refusal::kSilent)], 1u);
}

TEST(Refusals, EveryCauseHasAName) {
  for (size_t cause = 0; cause < kRefusalCauses; ++cause) {
    EXPECT_STRNE(Name(static_cast<Refusal>(cause)), "") << cause;
  }
  EXPECT_STREQ(Name(static_cast<Refusal>(kRefusalCauses)), "");
}

}  // namespace
}  // namespace perigee
