// What CollectiveOp says and does when messages are damaged or members do not agree.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "collectives/collective_op.h"
#include "tests/collectives/message_mover.h"

namespace perigee {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kMembers = 3;
constexpr size_t kElements = 30;

class CollectiveOpFailureTest : public testing::Test {
 protected:
  CollectiveOpFailureTest()
      : schedule_(RingAllReduce(
            {.rank_count = kMembers, .element_count = kElements, .chunk_elements = 5})),
        data_(kElements, 1) {
    for (uint32_t r = 0; r < kMembers; ++r) {
      inputs_.emplace_back();
      inputs_[r].dtype = DType::kI32;
      inputs_[r].data = {data_.data(), kElements, DType::kI32};
      inputs_[r].contributions = ContributionSet(kMembers);
      inputs_[r].contributions.Add(r);
    }
  }

  void Start() {
    for (uint32_t r = 0; r < kMembers; ++r) {
      OpContext context = {.op = OpId::Of(StepId(5), 0),
                           .epoch = Epoch(3),
                           .self = Rank(r),
                           .nodes = {NodeId(1), NodeId(2), NodeId(3)}};
      ops_.push_back(std::make_unique<CollectiveOp>(std::move(context), schedule_, inputs_[r]));
      mover_.Add(*ops_.back());
    }
  }

  void ExpectFailed(uint32_t rank, absl::StatusCode code, const std::string& what) {
    CollectiveOp& op = *ops_[rank];
    EXPECT_EQ(op.status().code(), code) << op.status();
    EXPECT_THAT(std::string(op.status().message()), HasSubstr(what));
    EXPECT_FALSE(op.finished());
    EXPECT_EQ(op.NextAction(), std::nullopt);
  }

  Schedule schedule_;
  std::vector<int32_t> data_;
  std::vector<OpInput> inputs_;
  std::vector<std::unique_ptr<CollectiveOp>> ops_;
  MessageMover mover_{/*seed=*/11};
};

TEST_F(CollectiveOpFailureTest, ADamagedBodyIsDataLoss) {
  for (Phase phase : {Phase::kReduce, Phase::kBroadcast}) {
    ops_.clear();
    mover_ = MessageMover(12);
    mover_.set_tamper([phase](NodeId to, const TransferKey& key, MutableRegion message) {
      // Node 2 is rank 1: between 1 and 3 on the ring, so its messages come from node 1.
      if (to == NodeId(2) && key.phase == phase) message.body[3] ^= 0x10;
    });
    Start();
    mover_.Run();
    ExpectFailed(1, absl::StatusCode::kDataLoss, "op 5.0 chunk ");
    ExpectFailed(1, absl::StatusCode::kDataLoss, "from node 1: digest");
    for (uint32_t r : {0, 2}) EXPECT_FALSE(ops_[r]->finished());
    EXPECT_EQ(ops_[1]->sends_pending(), 0u) << "queued sends do not count, others were reported";
  }
}

TEST_F(CollectiveOpFailureTest, ADamagedTrailerIsDataLoss) {
  mover_.set_tamper([](NodeId to, const TransferKey&, MutableRegion message) {
    if (to == NodeId(2)) message.trailer[16] ^= 1;  // in the call digest
  });
  Start();
  mover_.Run();
  ExpectFailed(1, absl::StatusCode::kDataLoss, "from node 1: digest");
}

TEST_F(CollectiveOpFailureTest, AnotherCallIsNamed) {
  inputs_[1].call_digest = 0xabc;
  Start();
  mover_.Run();
  ExpectFailed(2, absl::StatusCode::kFailedPrecondition,
               "node 2 called another collective for op 5.0 (digest 0000000000000abc");
  ExpectFailed(1, absl::StatusCode::kFailedPrecondition, "node 1 called another collective");
  EXPECT_FALSE(ops_[0]->finished());
}

TEST_F(CollectiveOpFailureTest, OverlappingContributionsAreInternal) {
  inputs_[2].contributions.Add(1);
  Start();
  mover_.Run();
  bool found = false;
  for (uint32_t r = 0; r < kMembers; ++r) {
    EXPECT_FALSE(ops_[r]->finished());
    if (ops_[r]->status().ok()) continue;
    ExpectFailed(r, absl::StatusCode::kInternal, "do not add to");
    found = true;
  }
  EXPECT_TRUE(found);
}

TEST_F(CollectiveOpFailureTest, AMissingContributionIsInternal) {
  inputs_[2].contributions = ContributionSet(kMembers);
  Start();
  mover_.Run();
  for (uint32_t r = 0; r < kMembers; ++r) {
    ExpectFailed(r, absl::StatusCode::kInternal, "lacks contributions 2");
  }
}

TEST_F(CollectiveOpFailureTest, EventsOfOthersAreIgnored) {
  Start();
  CollectiveOp& op = *ops_[0];
  const TransferKey key = {.epoch = Epoch(3),
                           .op = OpId::Of(StepId(5), 0),
                           .chunk = ChunkId(0),
                           .phase = Phase::kReduce};
  TransferKey stale = key;
  stale.epoch = Epoch(2);
  op.OnDelivered(NodeId(3), stale);
  stale = key;
  stale.attempt = 1;
  op.OnDelivered(NodeId(3), stale);
  stale = key;
  stale.chunk = ChunkId(1000);
  op.OnDelivered(NodeId(3), stale);
  op.OnDelivered(NodeId(77), key);
  op.OnSent(NodeId(77), key);
  op.OnSent(NodeId(2), key);
  EXPECT_TRUE(op.status().ok());
  mover_.Run();
  for (const auto& each : ops_) EXPECT_TRUE(each->finished());
}

TEST_F(CollectiveOpFailureTest, CountsSendsUntilTheyAreReported) {
  Start();
  CollectiveOp& op = *ops_[0];
  size_t sends = 0;
  NodeId peer;
  TransferKey key;
  while (auto action = op.NextAction()) {
    if (auto* send = std::get_if<SendAction>(&*action)) {
      ++sends;
      peer = send->peer;
      key = send->key;
    }
  }
  EXPECT_EQ(sends, 2u);  // the two chunks that set out at rank 0
  EXPECT_EQ(op.sends_pending(), 2u);
  op.OnSent(peer, key);
  op.OnSent(peer, key);
  EXPECT_EQ(op.sends_pending(), 1u);
  EXPECT_EQ(op.WaitingFor(), std::vector<NodeId>{NodeId(3)});
  EXPECT_EQ(op.Progress(), 0);
}

TEST_F(CollectiveOpFailureTest, AnUnknownTicketIsABug) {
  Start();
  EXPECT_DEATH(ops_[0]->OnReduced(12345), "check failed");
  EXPECT_DEATH(ops_[0]->OnReduced(0), "check failed");
}

}  // namespace
}  // namespace perigee
