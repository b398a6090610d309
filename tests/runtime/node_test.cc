// A Node by itself, fed by hand. What several of them do together is in sim/cluster_test.cc.
#include "runtime/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace perigee {
namespace {

using ::testing::HasSubstr;

class NodeTest : public testing::Test {
 protected:
  NodeTest() : node_({.self = NodeId(4), .incarnation = kMine, .version = "test"}, Rng(1)) {}

  template <typename T>
  std::optional<T> NextEvent() {
    while (std::optional<NodeEvent> event = node_.NextEvent()) {
      if (auto* wanted = std::get_if<T>(&*event)) return *wanted;
    }
    return std::nullopt;
  }

  template <typename T>
  std::optional<T> NextMessage() {
    while (std::optional<MemberMessage> message = node_.NextControl()) {
      if (auto* wanted = std::get_if<T>(&*message)) return *wanted;
    }
    return std::nullopt;
  }

  Proposal MakeProposal(uint64_t epoch, std::vector<Member> members, uint64_t first_step) {
    Proposal proposal{.view = {.job = {1, 2},
                               .epoch = Epoch(epoch),
                               .members = std::move(members),
                               .first_step = StepId(first_step)},
                      .reason = "test"};
    if (node_.view() != nullptr) proposal.view.previous_digest = Digest(*node_.view());
    return proposal;
  }
  void InstallAlone() { node_.OnControl(now_, Install{MakeProposal(1, {{NodeId(4), kMine}}, 0)}); }
  CollectiveRequest Sum(std::vector<float>& data) {
    return {.input = {data.data(), data.size(), DType::kF32},
            .output = {data.data(), data.size(), DType::kF32}};
  }

  static constexpr Incarnation kMine = {7, 7};
  absl::Time now_ = absl::FromUnixSeconds(1000);
  Node node_;
};

TEST_F(NodeTest, RegistersOnEveryConnectionAndBeats) {
  node_.OnControlConnected(now_);
  const auto registered = NextMessage<Register>();
  ASSERT_TRUE(registered);
  EXPECT_EQ(registered->node, NodeId(4));
  EXPECT_FALSE(registered->installed);
  node_.OnControl(now_, Welcome{.policy = {.beat_interval = absl::Milliseconds(50)}});
  InstallAlone();
  node_.OnTimeout(node_.NextTimeout());
  const auto beat = NextMessage<Beat>();
  ASSERT_TRUE(beat);
  EXPECT_EQ(beat->epoch, Epoch(1));
  node_.OnControlDisconnected(now_);
  node_.OnControlConnected(now_);
  EXPECT_TRUE(NextMessage<Register>()->installed);
}

TEST_F(NodeTest, ItTellsItsClockBesideTheCoordinatorsAndFollowsTheCalendar) {
  const absl::Time theirs = now_ + absl::Hours(3);
  node_.OnControlConnected(now_);
  node_.OnControl(now_, Welcome{.clock = theirs});
  now_ += absl::Milliseconds(100);
  node_.OnTimeout(now_);
  std::optional<Beat> beat = NextMessage<Beat>();
  ASSERT_TRUE(beat && beat->clock);
  EXPECT_EQ(beat->clock->clock, now_);
  EXPECT_EQ(beat->clock->heard, theirs);
  EXPECT_EQ(beat->clock->heard_for, absl::Milliseconds(100));

  EXPECT_EQ(node_.Calendar(now_), now_);
  node_.OnControl(now_, Waiting{.calendar_ahead = absl::Hours(1)});
  node_.OnControl(now_, Waiting{"the clocks are not known"});
  EXPECT_EQ(node_.Calendar(now_), now_ + absl::Hours(1)) << "what was told last";

  // The next one may be another coordinator.
  node_.OnControlDisconnected(now_);
  node_.OnControlConnected(now_);
  now_ += absl::Milliseconds(100);
  node_.OnTimeout(now_);
  beat = NextMessage<Beat>();
  ASSERT_TRUE(beat.has_value());
  EXPECT_FALSE(beat->clock.has_value());
}

TEST_F(NodeTest, AloneItReducesAtOnce) {
  InstallAlone();
  std::vector<float> data = {1, 2, 3};
  const absl::StatusOr<OpId> op = node_.Start(now_, Sum(data));
  ASSERT_TRUE(op.ok()) << op.status();
  const auto finished = NextEvent<OpFinished>();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(finished->status.ok());
  EXPECT_EQ(finished->op, *op);
  EXPECT_TRUE(finished->contributions.IsFull());
  EXPECT_EQ(data, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(node_.unstable_op_count(), 0u);
}

TEST_F(NodeTest, BadRequestsAreRefusedWithWhatToDo) {
  std::vector<float> data(4);
  EXPECT_THAT(node_.Start(now_, Sum(data)).status().message(), HasSubstr("no view yet"));
  InstallAlone();
  CollectiveRequest request = Sum(data);
  request.output.count = 3;
  EXPECT_THAT(node_.Start(now_, request).status().message(), HasSubstr("same count"));
  request = Sum(data);
  request.input.data = nullptr;
  EXPECT_THAT(node_.Start(now_, request).status().message(), HasSubstr("null pointer"));
  request = Sum(data);
  request.policy = FailurePolicy::kFullSet;
  EXPECT_THAT(node_.Start(now_, request).status().message(), HasSubstr("contributions"));
  request = Sum(data);
  request.step = StepId(9);
  ASSERT_TRUE(node_.Start(now_, request).ok());
  request.step = StepId(8);
  EXPECT_THAT(node_.Start(now_, request).status().message(), HasSubstr("do not go back"));
}

TEST_F(NodeTest, TheWindowOfUnstableOpsIsBounded) {
  node_.OnControl(now_, Install{MakeProposal(1, {{NodeId(4), kMine}, {NodeId(5), {8, 8}}}, 0)});
  std::vector<float> data(4);
  for (size_t i = 0; i < Node::kOpsWindow; ++i) ASSERT_TRUE(node_.Start(now_, Sum(data)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(node_.Start(now_, Sum(data)).status()));
  EXPECT_THAT(node_.Describe(now_, OpId::Of(StepId(0), 1)), HasSubstr("waits for node 5"));
}

TEST_F(NodeTest, ACancelledOpGivesTheBuffersBackAndItsInputStays) {
  node_.OnControl(now_, Install{MakeProposal(1, {{NodeId(4), kMine}, {NodeId(5), {8, 8}}}, 0)});
  auto data = std::make_unique<std::vector<float>>(100, 1.0f);
  const absl::StatusOr<OpId> op = node_.Start(now_, Sum(*data));
  ASSERT_TRUE(op.ok());
  node_.Cancel(now_, *op);
  data.reset();  // the address sanitizer sees it if anything still reads here
  EXPECT_TRUE(absl::IsCancelled(NextEvent<OpFinished>()->status));
  EXPECT_EQ(node_.unstable_op_count(), 1u) << "the others still get what this member put in";
  std::vector<uint8_t> datagram(Endpoint::kDatagramBytesMax);
  while (node_.NextTransmit(now_, absl::MakeSpan(datagram))) {
  }
}

TEST_F(NodeTest, WhoLeftBeforeItHadTheStateIsSentItAnewInItsNextLife) {
  const std::vector<uint8_t> state(1000);
  const Member self{NodeId(4), kMine};
  const Member peer{NodeId(7), {8, 1}};
  node_.OnControl(now_, Install{MakeProposal(1, {self, peer}, 0)});
  ASSERT_TRUE(node_.SendState(now_, NodeId(7), Epoch(1), state).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(node_.SendState(now_, NodeId(7), Epoch(1), state)));
  node_.OnControl(now_, Install{MakeProposal(2, {self}, 3)});
  node_.OnControl(now_, Install{MakeProposal(3, {self, {NodeId(7), {8, 2}}}, 6)});
  EXPECT_TRUE(node_.SendState(now_, NodeId(7), Epoch(3), state).ok());
}

TEST_F(NodeTest, AStepThatANewViewClaimsWaitsForItsDecision) {
  InstallAlone();
  Proposal next = MakeProposal(2, {{NodeId(4), kMine}}, 3);
  const Ballot ballot{.round = 1};
  next.view.ballot = ballot;
  node_.OnControlConnected(now_);
  node_.OnControl(now_, Prepare{Epoch(2), ballot, /*planned=*/true});
  node_.OnControl(now_, Accept{ballot, next});
  ASSERT_TRUE(NextMessage<Accepted>()->granted);
  std::vector<float> data(2);
  CollectiveRequest request = Sum(data);
  request.step = StepId(2);
  ASSERT_TRUE(node_.Start(now_, request).ok());
  EXPECT_EQ(NextEvent<OpFinished>()->epoch, Epoch(1));
  request.step = StepId(3);
  ASSERT_TRUE(node_.Start(now_, request).ok());
  EXPECT_FALSE(NextEvent<OpFinished>()) << "step 3 may belong to view 2";
  node_.OnControl(now_, Install{next});
  EXPECT_EQ(NextEvent<OpFinished>()->epoch, Epoch(2));
}

TEST_F(NodeTest, APlannedLeaverGoesAtTheStepBoundary) {
  InstallAlone();
  node_.OnControl(now_, Install{MakeProposal(2, {{NodeId(5), {8, 8}}}, 2)});
  EXPECT_FALSE(node_.out()) << "steps 0 and 1 are still its own";
  std::vector<float> data(2);
  for (uint64_t step : {0, 1}) {
    CollectiveRequest request = Sum(data);
    request.step = StepId(step);
    ASSERT_TRUE(node_.Start(now_, request).ok());
  }
  EXPECT_FALSE(node_.out());
  CollectiveRequest request = Sum(data);
  request.step = StepId(2);
  EXPECT_THAT(node_.Start(now_, request).status().message(), HasSubstr("leaves by plan"));
  EXPECT_TRUE(node_.out());
  EXPECT_TRUE(NextEvent<LeftView>()->planned);
}

// What counts is how long no answer came, not how long nobody spoke, and only while this member's
// own loop was there to hear one.
TEST_F(NodeTest, ASilenceCountsFromTheFirstUnansweredPacketAndFromTheOwnLateness) {
  node_.OnControlConnected(now_);
  node_.OnControl(now_, Install{MakeProposal(1, {{NodeId(4), kMine}, {NodeId(5), {8, 8}}}, 0)});
  now_ += absl::Seconds(10);
  std::vector<float> data(4);
  ASSERT_TRUE(node_.Start(now_, Sum(data)).ok());
  const auto next_suspicion = [&]() -> absl::Duration {
    uint8_t datagram[2048];
    for (int turn = 0; turn < 10000; ++turn) {
      while (node_.NextTransmit(now_, absl::MakeSpan(datagram))) {
      }
      while (node_.NextEvent()) {
      }
      if (const auto suspect = NextMessage<Suspect>()) return suspect->silent_for;
      now_ = std::max(now_, node_.NextTimeout());
      node_.OnTimeout(now_);
    }
    return absl::InfiniteDuration();
  };
  const absl::Duration first = next_suspicion();
  EXPECT_GE(first, absl::Milliseconds(150));
  EXPECT_LE(first, absl::Milliseconds(250));
  const absl::Duration second = next_suspicion();
  EXPECT_GT(second, first) << "said again while it lasts";
  now_ += absl::Seconds(3);
  node_.SetLoopLateness(now_, absl::Seconds(3));
  EXPECT_LE(next_suspicion(), absl::Milliseconds(100));
}

TEST_F(NodeTest, RemovalEndsEveryOpWithTheReason) {
  node_.OnControl(now_, Install{MakeProposal(1, {{NodeId(4), kMine}, {NodeId(5), {8, 8}}}, 0)});
  std::vector<float> data(4);
  ASSERT_TRUE(node_.Start(now_, Sum(data)).ok());
  node_.OnControl(now_, Removed{.may_rejoin = true, .reason = "no beat for 900ms"});
  const auto finished = NextEvent<OpFinished>();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(absl::IsAborted(finished->status));
  EXPECT_THAT(finished->status.message(), HasSubstr("no beat for 900ms"));
  EXPECT_TRUE(NextEvent<LeftView>()->may_rejoin);
  EXPECT_TRUE(absl::IsFailedPrecondition(node_.Start(now_, Sum(data)).status()));
}

}  // namespace
}  // namespace perigee
