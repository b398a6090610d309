// What CollectiveOp is used for besides the ring: broadcasts, fixed-point sums, trees.

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "collectives/collective_op.h"
#include "collectives/fixed_point.h"
#include "tests/collectives/collective.h"
#include "tests/collectives/message_mover.h"
#include "tests/oracle/oracle.h"

namespace perigee {
namespace {

TEST(CollectiveOp, BroadcastFromEachRoot) {
  const uint64_t seed = 6;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (uint32_t members : {1u, 2u, 3u, 8u}) {
    for (size_t count : {0, 1, 1001}) {
      const Inputs inputs(DType::kU16, count, members, rng);
      for (uint32_t root = 0; root < members; ++root) {
        const Schedule schedule = ChainBroadcast(
            {.rank_count = members, .element_count = count, .chunk_elements = 100}, Rank(root));
        Collective collective(schedule, inputs, ReduceOp::kSum, OpId(5));
        MessageMover mover(rng.Next());
        collective.AddTo(mover);
        mover.Run();
        for (uint32_t r = 0; r < members; ++r) {
          const CollectiveOp& op = collective.op(r);
          ASSERT_TRUE(op.finished()) << op.status();
          EXPECT_EQ(op.result(), inputs.Of(root).span());
          EXPECT_EQ(op.contributions().Count(), 1u);
          EXPECT_TRUE(op.contributions().Contains(root));
          EXPECT_EQ(op.flags(), 1u << root);
          EXPECT_EQ(op.done_through_all(), OpId());
        }
      }
    }
  }
}

// A survivor hands a finished result to two who miss it. They know neither its universe nor its
// data.
TEST(CollectiveOp, StarRedistribution) {
  const Schedule schedule = StarBroadcast(
      {.rank_count = 5, .element_count = 50, .chunk_elements = 8}, Rank(3), {Rank(0), Rank(4)});
  std::vector<int64_t> result(50);
  std::iota(result.begin(), result.end(), -7);
  std::vector<std::unique_ptr<CollectiveOp>> ops;
  MessageMover mover(4);
  for (uint32_t r = 0; r < 5; ++r) {
    OpInput input;
    input.dtype = DType::kI64;
    if (r == 3) {
      input.data = {result.data(), 50, DType::kI64};
      input.contributions = ContributionSet(2000);
      for (uint32_t i = 0; i < 2000; i += 3) input.contributions.Add(i);
      input.flags = kFlagRange;
    }
    ops.push_back(std::make_unique<CollectiveOp>(
        OpContext{.op = OpId(9), .epoch = Epoch(2), .self = Rank(r), .nodes = Nodes(5)}, schedule,
        input));
    mover.Add(*ops.back());
  }
  mover.Run();
  for (uint32_t r = 0; r < 5; ++r) {
    ASSERT_TRUE(ops[r]->finished()) << ops[r]->status();
    if (r == 1 || r == 2) {
      EXPECT_TRUE(ops[r]->result().empty());
      continue;
    }
    ASSERT_EQ(ops[r]->result().size(), 400u);
    EXPECT_EQ(std::memcmp(ops[r]->result().data(), result.data(), 400), 0);
    EXPECT_EQ(ops[r]->contributions().Count(), 667u);
    EXPECT_EQ(ops[r]->flags(), kFlagRange + 0u);
  }
}

// The reproducible mode end to end: microbatches dealt to different numbers of members give the
// same bits.
TEST(CollectiveOp, FixedPointSumsDoNotDependOnTheMembers) {
  const uint64_t seed = 2024;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  constexpr uint32_t kMicrobatches = 12;
  constexpr size_t kSize = 77;
  const FixedPointSettings settings = {.scale_bits = 40, .contributions_max = kMicrobatches};
  std::vector<std::vector<float>> gradients(kMicrobatches, std::vector<float>(kSize));
  for (auto& gradient : gradients) {
    for (float& value : gradient) value = static_cast<float>(rng.Unit() - 0.5);
  }
  std::vector<uint8_t> first;
  for (uint32_t members : {1u, 2u, 3u, 5u, 12u, 14u}) {
    std::vector<FixedPointSum> sums(members, FixedPointSum(kSize, settings));
    for (uint32_t i = 0; i < kMicrobatches; ++i) {
      sums[rng.Below(members)].Add(MicrobatchId(i), gradients[i]);
    }
    const Schedule schedule =
        RingAllReduce({.rank_count = members, .element_count = kSize, .chunk_elements = 10});
    std::vector<std::unique_ptr<CollectiveOp>> ops;
    MessageMover mover(rng.Next());
    for (uint32_t r = 0; r < members; ++r) {
      OpInput input;
      input.dtype = DType::kI64;
      input.data = {sums[r].data().data(), kSize, DType::kI64};
      input.contributions = sums[r].contributions();
      ops.push_back(std::make_unique<CollectiveOp>(
          OpContext{.op = OpId(1), .epoch = Epoch(1), .self = Rank(r), .nodes = Nodes(members)},
          schedule, input));
      mover.Add(*ops.back());
    }
    mover.Run();
    ASSERT_TRUE(ops[0]->finished()) << ops[0]->status();
    const auto result = ops[0]->result();
    if (first.empty()) first.assign(result.begin(), result.end());
    EXPECT_EQ(result, absl::MakeConstSpan(first)) << members << " members";
  }
}

// Two children and a root: partials are kept apart and folded in list order, whatever comes first.
TEST(CollectiveOp, TreesFoldChildrenInListOrder) {
  Schedule schedule;
  schedule.algorithm = "by hand";
  schedule.rank_count = 4;
  schedule.element_count = 3;
  schedule.chunks = {{0, 3}};
  schedule.by_rank.resize(4);
  auto add = [&schedule](uint32_t rank, Step::Kind kind, uint32_t peer, Phase phase,
                         std::vector<uint32_t> after) {
    Step& step = schedule.by_rank[rank].emplace_back();
    step.kind = kind;
    step.peer = Rank(peer);
    step.phase = phase;
    step.after.assign(after.begin(), after.end());
  };
  for (uint32_t child : {1u, 2u, 3u}) {
    add(child, Step::Kind::kSend, 0, Phase::kReduce, {});
    add(child, Step::Kind::kReceiveCopy, 0, Phase::kBroadcast, {});
    add(0, Step::Kind::kReceiveReduce, child, Phase::kReduce, {});
  }
  add(0, Step::Kind::kFinalize, 0, Phase::kBroadcast, {2});
  for (uint32_t child : {1u, 2u, 3u}) add(0, Step::Kind::kSend, child, Phase::kBroadcast, {3});
  ASSERT_TRUE(Validate(schedule).ok()) << Validate(schedule);

  Rng rng(55);
  const Inputs inputs(DType::kF32, 3, 4, rng);
  std::vector<uint8_t> first;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Collective collective(schedule, inputs, ReduceOp::kSum, OpId(5));
    MessageMover mover(seed);
    collective.AddTo(mover);
    mover.Run();
    ExpectAllReduced(collective, inputs, {DType::kF32, ReduceOp::kSum, 3});
    const auto result = collective.op(0).result();
    if (first.empty()) first.assign(result.begin(), result.end());
    ASSERT_EQ(result, absl::MakeConstSpan(first)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace perigee
