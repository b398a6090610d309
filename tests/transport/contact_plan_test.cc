#include "transport/contact_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "transport/base/rng.h"

namespace perigee {
namespace {

absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

constexpr NodeId kA(1), kB(2), kC(3);
constexpr Link kFast{1e9, absl::Milliseconds(5)};
constexpr Link kSlow{1e6, absl::Milliseconds(5)};

TEST(ContactPlanTest, Example) {
  const ContactPlan plan = *ContactPlan::Create(
      {{kA, kB, At(100), At(200), kFast}, {kA, kB, At(0), At(50), kSlow}}, {{kA, At(60), At(70)}});
  EXPECT_EQ(plan.LinkAt(kA, kB, At(10)), kSlow);
  EXPECT_EQ(plan.LinkAt(kA, kB, At(50)), std::nullopt) << "half-open";
  EXPECT_EQ(plan.LinkAt(kA, kB, At(100)), kFast);
  EXPECT_EQ(plan.LinkAt(kA, kC, At(100)), std::nullopt);
  EXPECT_EQ(plan.NextChange(kA, kB, At(10)), At(50));
  EXPECT_EQ(plan.NextChange(kA, kB, At(50)), At(100));
  EXPECT_EQ(plan.NextChange(kA, kB, At(200)), absl::InfiniteFuture());
  EXPECT_TRUE(plan.IsDark(kA, At(60)));
  EXPECT_EQ(plan.LitFrom(kA, At(60)), At(70));
  EXPECT_EQ(plan.LitFrom(kA, At(70)), At(70));
  EXPECT_FALSE(plan.IsDark(kA, At(70)));
  EXPECT_EQ(plan.CurrentOrNextDark(kA, At(0))->begins, At(60));
  EXPECT_EQ(plan.CurrentOrNextDark(kB, At(0)), std::nullopt);
}

TEST(ContactPlanTest, RefusesWhatCannotBe) {
  const auto code = [](std::vector<Contact> contacts, std::vector<DarkInterval> dark = {}) {
    return ContactPlan::Create(std::move(contacts), std::move(dark)).status().code();
  };
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({{kA, kB, At(10), At(10), kFast}}), kInvalid);
  EXPECT_EQ(code({{kA, kB, At(10), At(20), Link{0, absl::Seconds(1)}}}), kInvalid);
  EXPECT_EQ(code({{kA, kB, At(10), At(20), Link{1, -absl::Seconds(1)}}}), kInvalid);
  EXPECT_EQ(code({{kA, kB, At(10), At(20), kFast}, {kA, kB, At(19), At(30), kFast}}), kInvalid);
  EXPECT_EQ(code({{kA, kB, At(10), At(20), kFast}, {kB, kA, At(19), At(30), kFast}}),
            absl::StatusCode::kOk);
  EXPECT_EQ(code({}, {{kA, At(5), At(5)}}), kInvalid);
  EXPECT_THAT(
      std::string(ContactPlan::Create({{kA, kB, At(10), At(10), kFast}}, {}).status().message()),
      testing::HasSubstr("contact 1 -> 2"));
}

TEST(ContactPlanTest, TouchingWindowsOfOneLinkAreOne) {
  const ContactPlan plan = *ContactPlan::Create({{kA, kB, At(0), At(10), kFast},
                                                 {kA, kB, At(10), At(20), kFast},
                                                 {kA, kB, At(20), At(30), kSlow}},
                                                {{kA, At(0), At(10)}, {kA, At(5), At(20)}});
  EXPECT_EQ(plan.NextChange(kA, kB, At(0)), At(20));
  EXPECT_EQ(plan.CurrentOrNextDark(kA, At(0))->ends, At(20)) << "overlapping dark intervals too";
}

// Against a walk over all windows: LinkAt at every second, and NextChange by looking for the next
// difference.
TEST(ContactPlanTest, MatchesAWalk) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    std::vector<Contact> contacts;
    for (NodeId to : {kB, kC}) {
      for (int64_t t = 0; t < 80;) {
        const int64_t opens = t + static_cast<int64_t>(rng.Below(3));
        t = opens + 1 + static_cast<int64_t>(rng.Below(9));
        contacts.push_back({kA, to, At(opens), At(t), rng.Bernoulli(0.5) ? kFast : kSlow});
      }
    }
    const ContactPlan plan = *ContactPlan::Create(contacts, {});
    const auto walk = [&](NodeId to, int64_t t) {
      std::optional<Link> link;
      for (const Contact& c : contacts) {
        if (c.to == to && c.opens <= At(t) && At(t) < c.closes) link = c.link;
      }
      return link;
    };
    for (NodeId to : {kB, kC}) {
      for (int64_t t = 0; t < 100; ++t) {
        EXPECT_EQ(plan.LinkAt(kA, to, At(t)), walk(to, t));
        int64_t change = t + 1;
        while (change < 200 && walk(to, change) == walk(to, t)) ++change;
        EXPECT_EQ(plan.NextChange(kA, to, At(t)),
                  change == 200 ? absl::InfiniteFuture() : At(change));
      }
    }
  }
}

}  // namespace
}  // namespace perigee
