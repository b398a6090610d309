// What a Node says about itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "runtime/node.h"

namespace perigee {
namespace {

constexpr Incarnation kMine = {7, 7};

class NodeReportTest : public testing::Test {
 protected:
  // A member of a view of `size`, nodes 0 to size - 1; node 0 is the one that is tested.
  explicit NodeReportTest(uint32_t size = 41) {
    Proposal proposal{.view = {.job = {1, 2}, .epoch = Epoch(1)}};
    for (uint32_t node = 0; node < size; ++node) {
      proposal.view.members.push_back(
          {.node = NodeId(node), .incarnation = node == 0 ? kMine : Incarnation{8, node}});
    }
    node_.OnControlConnected(now_);
    node_.OnControl(now_, Install{proposal});
  }
  Beat NextBeat() {
    for (int turn = 0; turn < 100000; ++turn) {
      while (std::optional<MemberMessage> message = node_.NextControl()) {
        if (auto* beat = std::get_if<Beat>(&*message)) return *beat;
      }
      uint8_t datagram[2048];
      while (node_.NextTransmit(now_, absl::MakeSpan(datagram))) {
      }
      now_ = std::max(now_, node_.NextTimeout());
      node_.OnTimeout(now_);
    }
    ADD_FAILURE() << "no beat";
    return {};
  }
  OpId Start() {
    const absl::StatusOr<OpId> op =
        node_.Start(now_, {.input = {data_.data(), data_.size(), DType::kF32},
                           .output = {data_.data(), data_.size(), DType::kF32}});
    EXPECT_TRUE(op.ok()) << op.status();
    return *op;
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  Node node_{{.self = NodeId(0), .incarnation = kMine, .version = "test"}, Rng(1)};
  std::vector<float> data_ = std::vector<float>(1000, 1.0f);
};

TEST_F(NodeReportTest, ABeatTellsOfFewLinksAndThreeOfAll) {
  EXPECT_EQ(node_.Report(now_).links.size(), 40u);
  std::set<NodeId> told;
  for (int i = 0; i < 3; ++i) {
    const Beat beat = NextBeat();
    EXPECT_EQ(beat.links.size(), Beat::kLinksMax);
    for (const LinkReport& link : beat.links) told.insert(link.peer);
  }
  EXPECT_EQ(told.size(), 40u);
}

TEST_F(NodeReportTest, ALinkOverWhichAnOpWaitsIsInEveryBeat) {
  Start();
  for (int i = 0; i < 5; ++i) {
    const Beat beat = NextBeat();
    ASSERT_EQ(beat.ops.size(), 1u);
    ASSERT_EQ(beat.ops[0].waiting_for, std::vector<NodeId>{NodeId(40)});
    EXPECT_EQ(std::count_if(beat.links.begin(), beat.links.end(),
                            [](const LinkReport& link) { return link.peer == NodeId(40); }),
              1);
  }
}

TEST_F(NodeReportTest, WhatWasSentInVainIsUnanswered) {
  Start();
  for (int i = 0; i < 10; ++i) NextBeat();
  const std::vector<LinkReport> links = node_.Links(now_);
  const auto link = std::find_if(links.begin(), links.end(),
                                 [](const LinkReport& l) { return l.peer == NodeId(40); });
  ASSERT_NE(link, links.end());
  EXPECT_GT(link->unanswered, absl::ZeroDuration());
  EXPECT_EQ(link->heard_ago, absl::InfiniteDuration());
  EXPECT_EQ(node_.MissingTransfers().front().first, NodeId(40));
}

TEST_F(NodeReportTest, OpsTellWhatWasCalledAndSinceWhenNothingCame) {
  const OpId op = Start();
  now_ += absl::Seconds(3);
  const Beat report = node_.Report(now_);
  ASSERT_EQ(report.ops.size(), 1u);
  EXPECT_EQ(report.ops[0].call, "allreduce sum of 1000 f32");
  EXPECT_EQ(report.ops[0].phase, OpReport::Phase::kRunning);
  EXPECT_EQ(report.ops[0].stalled, absl::Seconds(3));
  EXPECT_EQ(report.calls.last, op);
  EXPECT_EQ(report.calls.ago, absl::Seconds(3));
  EXPECT_EQ(report.calls.failed, OpId());
  EXPECT_FALSE(report.frozen);
  EXPECT_EQ(report.step_interval, absl::ZeroDuration()) << "no step has ended";
  Start();
  EXPECT_EQ(node_.Report(now_).step_interval, absl::Seconds(3));
}

}  // namespace
}  // namespace perigee
