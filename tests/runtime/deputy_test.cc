// Deputies by themselves, in a world of messages that arrive at once and in order. What they do for
// whole jobs is in sim/cluster_test.cc and sim/chaos_test.cc.
#include "runtime/deputy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace perigee {
namespace {

constexpr uint32_t kMembers = 5;

class DeputyTest : public testing::Test {
 protected:
  DeputyTest() {
    view_.job = {1, 2};
    view_.epoch = Epoch(3);
    for (uint32_t i = 0; i < kMembers; ++i) {
      view_.members.push_back({.node = NodeId(i), .incarnation = {9, i + 1}});
    }
    for (uint32_t i = 0; i < kMembers; ++i) {
      deputies_.emplace_back(NodeId(i), Incarnation{9, i + 1}, "test", Rng(i));
      deputies_[i].SetPolicy(policy_);
      deputies_[i].OnCoordinatorHeard(now_);
      deputies_[i].OnView(now_, view_);
    }
  }

  // A message of `i` to whoever acts, as its Node would send it.
  void Say(uint32_t i, const MemberMessage& message) {
    deputies_[i].OnOwnMessage(now_, message);
    Deliver();
  }
  void Deliver() {
    for (bool any = true; std::exchange(any, false);) {
      for (uint32_t i = 0; i < kMembers; ++i) {
        if (dead_.contains(i)) continue;
        if (deputies_[i].WantsRegistration(now_)) {
          deputies_[i].OnOwnMessage(now_, Register{.node = NodeId(i),
                                                   .incarnation = {9, i + 1},
                                                   .version = "test",
                                                   .installed = Proposal{.view = view_}});
          any = true;
        }
        while (auto out = deputies_[i].NextPeerMessage()) {
          any = true;
          const uint32_t to = out->to.value();
          if (dead_.contains(to) || cut_.contains({i, to})) continue;
          if (auto* summons = std::get_if<SummonsMessage>(&out->message)) {
            deputies_[to].OnPeerMessage(now_, NodeId(i), *summons);
          } else {
            deputies_[to].OnPeerMessage(now_, NodeId(i),
                                        std::get<PartMessage>(std::move(out->message)));
          }
        }
        while (auto message = deputies_[i].NextMessage()) told_[i].push_back(*std::move(message));
      }
    }
  }
  // Goes on for `length` with beats of everybody that lives.
  void Run(absl::Duration length) {
    const absl::Time end = now_ + length;
    absl::Time beat_at = now_;
    while (now_ < end) {
      now_ += absl::Milliseconds(10);
      for (uint32_t i = 0; i < kMembers; ++i) {
        if (dead_.contains(i)) continue;
        if (coordinator_here_.contains(i)) deputies_[i].OnCoordinatorHeard(now_);
        if (now_ >= deputies_[i].NextTimeout()) deputies_[i].OnTimeout(now_);
      }
      Deliver();
      if (now_ < beat_at) continue;
      beat_at = now_ + policy_.beat_interval;
      for (uint32_t i = 0; i < kMembers; ++i) {
        if (dead_.contains(i)) continue;
        Say(i, Beat{.epoch = view_.epoch,
                    .active = true,
                    .hears_coordinator = deputies_[i].HearsCoordinator(now_)});
      }
    }
  }
  std::set<uint32_t> Acting() const {
    std::set<uint32_t> acting;
    for (uint32_t i = 0; i < kMembers; ++i) {
      const bool acts = deputies_[i].acting() != nullptr && deputies_[i].acting()->state().view;
      if (!dead_.contains(i) && acts) acting.insert(i);
    }
    return acting;
  }
  template <typename T>
  size_t Count(uint32_t i) {
    return static_cast<size_t>(std::count_if(
        told_[i].begin(), told_[i].end(),
        [](const CoordinatorMessage& message) { return std::holds_alternative<T>(message); }));
  }

  ViewPolicy policy_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  View view_;
  std::vector<Deputy> deputies_;
  std::set<uint32_t> dead_;
  std::set<std::pair<uint32_t, uint32_t>> cut_;
  std::set<uint32_t> coordinator_here_;
  std::map<uint32_t, std::vector<CoordinatorMessage>> told_;
};

TEST_F(DeputyTest, NobodyActsWhileTheCoordinatorIsThere) {
  coordinator_here_ = {0, 1, 2, 3, 4};
  Run(absl::Seconds(10));
  for (const Deputy& deputy : deputies_) EXPECT_EQ(deputy.acting(), nullptr);
}

TEST_F(DeputyTest, TheFirstMemberActsAndEverybodyIsTold) {
  Run(absl::Seconds(5));
  EXPECT_EQ(Acting(), (std::set<uint32_t>{0}));
  for (uint32_t i = 0; i < kMembers; ++i) {
    EXPECT_EQ(deputies_[i].ActingNode(now_), NodeId(0)) << "node " << i;
    EXPECT_EQ(Count<Welcome>(i), 1u) << "node " << i;
  }
}

TEST_F(DeputyTest, AfterItsDeathTheNextOneActsAndRemovesIt) {
  Run(absl::Seconds(5));
  dead_ = {0};
  Run(absl::Seconds(5));
  EXPECT_EQ(Acting(), (std::set<uint32_t>{1}));
  EXPECT_GE(Count<Prepare>(4), 1u);  // a view without node 0
  EXPECT_EQ(deputies_[1].acting()->state().members.at(NodeId(0)).state, MemberState::kLost);
}

TEST_F(DeputyTest, ItGoesOnWithTheCalendarItKnewUntilItKnowsTheClocks) {
  deputies_[0].SetCalendar(absl::Hours(1));
  while (deputies_[0].acting() == nullptr) Run(absl::Milliseconds(10));
  const ClusterState& state = deputies_[0].acting()->state();
  EXPECT_FALSE(state.calendar_unknown);
  EXPECT_EQ(state.calendar_ahead, absl::Hours(1));
  Run(absl::Seconds(1));
  ASSERT_NE(deputies_[0].acting(), nullptr);
  EXPECT_EQ(state.calendar_ahead, absl::ZeroDuration());
  for (uint32_t i = 0; i < kMembers; ++i) {
    const auto clock = state.members.at(NodeId(i)).clock.At(now_);
    ASSERT_TRUE(clock.has_value()) << "node " << i;
    EXPECT_EQ(clock->ahead, absl::ZeroDuration()) << "node " << i;
  }
}

TEST_F(DeputyTest, ItGivesWayToTheCoordinator) {
  Run(absl::Seconds(5));
  coordinator_here_ = {0, 1, 2, 3, 4};
  Run(absl::Milliseconds(10));
  EXPECT_EQ(Acting(), (std::set<uint32_t>{}));
}

TEST_F(DeputyTest, ItGivesWayWhenAMajorityHearsTheCoordinator) {
  Run(absl::Seconds(5));
  coordinator_here_ = {1, 2, 3};
  Run(absl::Seconds(3));
  EXPECT_EQ(Acting(), (std::set<uint32_t>{}));
}

TEST_F(DeputyTest, WhoHearsTheCoordinatorAnswersOneThatHasAMajority) {
  coordinator_here_ = {3, 4};  // a minority: it can decide nothing
  Run(absl::Seconds(5));
  EXPECT_EQ(Acting(), (std::set<uint32_t>{0}));
  const auto& members = deputies_[0].acting()->state().members;
  EXPECT_EQ(members.at(NodeId(4)).state, MemberState::kActive);
}

// The first in order reaches too few: it does not keep those behind it from going on.
TEST_F(DeputyTest, OneThatReachesNoMajorityIsPassedOver) {
  for (uint32_t i = 2; i < kMembers; ++i) {
    cut_.insert({0, i});
    cut_.insert({i, 0});
  }
  Run(absl::Seconds(6));
  // Node 1 hears that node 0 tries and gives it some time; node 2 hears nothing of it.
  EXPECT_EQ(Acting(), (std::set<uint32_t>{2}));
}

TEST_F(DeputyTest, SilentPeersAreNotWaitedForAndNotSummoned) {
  dead_ = {0, 1};
  for (Deputy& deputy : deputies_) {
    deputy.OnPeerSilent(NodeId(0));
    deputy.OnPeerSilent(NodeId(1));
  }
  Run(policy_.lease + 2 * Deputy::kTurn + absl::Milliseconds(20));
  EXPECT_EQ(Acting(), (std::set<uint32_t>{2}));
}

TEST_F(DeputyTest, WhoWasLateWaitsBeforeItActs) {
  now_ += absl::Seconds(10);
  deputies_[0].OnLate(now_);
  EXPECT_GE(deputies_[0].NextTimeout(), now_ + policy_.beat_interval);
  deputies_[0].OnTimeout(now_);
  EXPECT_EQ(deputies_[0].acting(), nullptr);
}

TEST_F(DeputyTest, OutsidersAndMembersWithoutVotesDoNotAct) {
  view_.members[0].votes = 0;
  for (Deputy& deputy : deputies_) deputy.OnView(now_, view_);
  Run(absl::Seconds(5));
  EXPECT_EQ(Acting(), (std::set<uint32_t>{1}));
}

// Each member its own choice, and nobody would have a majority.
TEST(Deputy, OfManyThatActTheFirstInOrderAreAnswered) {
  const absl::Time now = absl::FromUnixSeconds(1000);
  View view;
  view.epoch = Epoch(3);
  for (uint32_t i = 0; i < 12; ++i) {
    view.members.push_back({.node = NodeId(i), .incarnation = {9, i + 1}});
  }
  Deputy deputy(NodeId(11), {9, 12}, "test", Rng(1));
  deputy.OnView(now, view);
  const auto answered = [&] {
    deputy.OnOwnMessage(now, Register{.node = NodeId(11), .incarnation = {9, 12}});
    std::set<uint32_t> nodes;
    while (auto out = deputy.NextPeerMessage()) nodes.insert(out->to.value());
    return nodes;
  };
  for (uint32_t node : {5, 8, 6, 7, 9, 2}) {
    deputy.OnPeerMessage(now, NodeId(node), SummonsMessage{.life = 1});
  }
  EXPECT_EQ(answered(), (std::set<uint32_t>{2, 5, 6, 7}));
  deputy.OnPeerMessage(now, NodeId(10), SummonsMessage{.life = 1, .has_view = true});
  EXPECT_EQ(answered(), std::set<uint32_t>{10}) << "it has a majority";
}

}  // namespace
}  // namespace perigee
