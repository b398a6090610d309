#include "runtime/hibernation.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "runtime/control_codec.h"
#include "tests/runtime/random_messages.h"

namespace perigee {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000'000);

absl::Time At(int64_t seconds) { return kNow + absl::Seconds(seconds); }

std::vector<Member> Nodes(uint32_t count) {
  std::vector<Member> members;
  for (uint32_t i = 0; i < count; ++i) {
    members.push_back({.node = NodeId(i), .incarnation = {i + 1, 7}, .votes = 1});
  }
  return members;
}

ContactPlan Dark(std::vector<DarkInterval> dark) {
  return ContactPlan::Create({}, std::move(dark)).value();
}

TEST(HibernationTest, EveryLifeHasItsOwnNextOne) {
  std::set<Incarnation> lives;
  for (uint64_t epoch = 1; epoch <= 20; ++epoch) {
    for (const Member& member : NextLives(Nodes(5), Epoch(epoch))) {
      lives.insert(member.incarnation);
    }
  }
  EXPECT_EQ(lives.size(), 100);
  EXPECT_EQ(NextLife({1, 7}, Epoch(3)), NextLives(Nodes(1), Epoch(3))[0].incarnation);
}

TEST(HibernationTest, AResumptionComesBackFromDiskOrNotAtAll) {
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    Resumption resumption{
        .welcome = {.coordinator = rng.NextIncarnation(), .plan_text = "dark { node: 3 }"},
        .proposal = RandomProposal(rng)};
    const std::vector<uint8_t> bytes = Encode(resumption);
    const absl::StatusOr<Resumption> read = DecodeResumption(bytes);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(Encode(*read), bytes);
    const size_t cut = rng.Below(bytes.size());
    EXPECT_FALSE(DecodeResumption(absl::MakeSpan(bytes).first(cut)).ok()) << cut;
  }
  EXPECT_FALSE(DecodeResumption(std::vector<uint8_t>(64, 0xff)).ok());
}

TEST(HibernationTest, ADarknessBeginsWithTheNodeThatIsOneTooMany) {
  const ContactPlan plan = Dark({{NodeId(0), At(2), At(20)},
                                 {NodeId(1), At(3), At(21)},
                                 {NodeId(2), At(4), At(22)},
                                 {NodeId(3), At(5), At(23)}});
  const std::vector<Member> members = Nodes(4);
  const auto none_lit = NextDarkness(members, plan, kNow, At(6), 1);
  ASSERT_TRUE(none_lit.has_value());
  EXPECT_EQ(none_lit->begins, At(5));
  EXPECT_EQ(none_lit->ends, At(22));  // a majority of four is three
  const auto three_needed = NextDarkness(members, plan, kNow, At(6), 3);
  ASSERT_TRUE(three_needed.has_value());
  EXPECT_EQ(three_needed->begins, At(3));
  EXPECT_EQ(three_needed->ends, At(22));
  EXPECT_EQ(NextDarkness(members, plan, kNow, At(6), 4)->ends, At(23));
  EXPECT_EQ(NextDarkness(members, plan, At(10), At(10), 1)->begins, At(10));
}

TEST(HibernationTest, ThereIsNoDarknessWhereEnoughAreLitAtEveryMoment) {
  const ContactPlan in_turn = Dark({{NodeId(0), At(1), At(3)}, {NodeId(1), At(3), At(5)}});
  EXPECT_FALSE(NextDarkness(Nodes(3), in_turn, kNow, At(6), 2).has_value());
  EXPECT_TRUE(NextDarkness(Nodes(3), in_turn, kNow, At(6), 3).has_value());
  // Later than it was asked for, or of nodes that nobody asked for.
  EXPECT_FALSE(NextDarkness(Nodes(1), in_turn, kNow, kNow, 1).has_value());
  EXPECT_FALSE(
      NextDarkness(Nodes(1), Dark({{NodeId(5), At(0), At(9)}}), kNow, At(9), 1).has_value());
}

TEST(HibernationTest, APlanThatEndsInTheDarkSaysSo) {
  const ContactPlan plan = Dark({{NodeId(0), At(1), absl::InfiniteFuture()}});
  const auto darkness = NextDarkness(Nodes(1), plan, kNow, At(2), 1);
  ASSERT_TRUE(darkness.has_value());
  EXPECT_EQ(darkness->ends, absl::InfiniteFuture());
}

}  // namespace
}  // namespace perigee
