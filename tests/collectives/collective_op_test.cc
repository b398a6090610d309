#include "collectives/collective_op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "tests/collectives/collective.h"
#include "tests/collectives/message_mover.h"
#include "tests/oracle/oracle.h"

namespace perigee {
namespace {

constexpr DType kTypes[] = {DType::kF32, DType::kF64, DType::kI8,  DType::kI16, DType::kI32,
                            DType::kI64, DType::kU8,  DType::kU16, DType::kU32, DType::kU64};
constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kProduct, ReduceOp::kMin, ReduceOp::kMax};

TEST(CollectiveOp, Example) {
  const Schedule schedule =
      RingAllReduce({.rank_count = 2, .element_count = 3, .chunk_elements = 2});
  const std::vector<NodeId> nodes = {NodeId(7), NodeId(9)};
  const std::vector<float> mine = {1, 2, 3};
  const std::vector<float> theirs = {10, 20, 30};
  std::vector<std::unique_ptr<CollectiveOp>> ops;
  MessageMover mover(/*seed=*/1);
  for (uint32_t rank : {0, 1}) {
    OpInput input;
    input.data = {rank == 0 ? mine.data() : theirs.data(), 3, DType::kF32};
    input.contributions = ContributionSet(2);
    input.contributions.Add(rank);
    ops.push_back(std::make_unique<CollectiveOp>(
        OpContext{.op = OpId(1), .epoch = Epoch(1), .self = Rank(rank), .nodes = nodes}, schedule,
        input));
    mover.Add(*ops.back());
  }
  EXPECT_THAT(ops[0]->WaitingFor(), testing::ElementsAre(NodeId(9)));
  mover.Run();
  ASSERT_TRUE(ops[0]->finished() && ops[1]->finished());
  std::vector<float> sum(3);
  std::memcpy(sum.data(), ops[1]->result().data(), ops[1]->result().size());
  EXPECT_EQ(sum, (std::vector<float>{11, 22, 33}));
}

TEST(CollectiveOp, AllTypesAndOpsAgreeWithTheOracle) {
  const uint64_t seed = 20261122;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (DType dtype : kTypes) {
    for (ReduceOp reduce_op : kOps) {
      const uint32_t members = 1 + static_cast<uint32_t>(rng.Below(9));
      const size_t count = rng.Below(200);
      const Schedule schedule = RingAllReduce(
          {.rank_count = members, .element_count = count, .chunk_elements = 1 + rng.Below(40)});
      const Inputs inputs(dtype, count, members, rng);
      Collective collective(schedule, inputs, reduce_op, OpId(5));
      MessageMover mover(rng.Next());
      collective.AddTo(mover);
      mover.Run();
      SCOPED_TRACE(absl::StrCat(Name(dtype), " ", Name(reduce_op), " ", members, " x ", count));
      ExpectAllReduced(collective, inputs, {dtype, reduce_op, count});
    }
  }
}

TEST(CollectiveOp, AllSizesAndMemberCounts) {
  const uint64_t seed = 31;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (uint32_t members = 1; members <= 17; ++members) {
    for (size_t count : {0, 1, 2, 16, 17, 333}) {
      const Schedule schedule = RingAllReduce(
          {.rank_count = members, .element_count = count, .chunk_elements = 1 + rng.Below(30)});
      Inputs inputs(DType::kF32, count, members, rng);
      Collective collective(schedule, inputs, ReduceOp::kSum, OpId(5));
      MessageMover mover(rng.Next());
      collective.AddTo(mover);
      mover.Run();
      SCOPED_TRACE(absl::StrCat(members, " x ", count));
      ExpectAllReduced(collective, inputs, {DType::kF32, ReduceOp::kSum, count});
      for (uint32_t r = 0; r < members; ++r) EXPECT_TRUE(inputs.Unchanged(r));
    }
  }
}

TEST(CollectiveOp, LargeVector) {
  Rng rng(8);
  const size_t count = 1'000'003;
  const Schedule schedule =
      RingAllReduce({.rank_count = 3, .element_count = count, .chunk_elements = 65536});
  const Inputs inputs(DType::kF32, count, 3, rng);
  Collective collective(schedule, inputs, ReduceOp::kSum, OpId(5));
  MessageMover mover(9);
  collective.AddTo(mover);
  mover.Run();
  ExpectAllReduced(collective, inputs, {DType::kF32, ReduceOp::kSum, count});
}

// A float sum is folded in the order of the schedule: the order of events does not show in the
// bits.
TEST(CollectiveOp, BitsDoNotDependOnTheOrderOfEvents) {
  Rng rng(77);
  const Schedule schedule =
      RingAllReduce({.rank_count = 6, .element_count = 500, .chunk_elements = 20});
  const Inputs inputs(DType::kF32, 500, 6, rng);
  std::vector<uint8_t> first;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Collective collective(schedule, inputs, ReduceOp::kSum, OpId(5));
    MessageMover mover(seed);
    collective.AddTo(mover);
    mover.Run();
    const auto result = collective.op(0).result();
    if (first.empty()) first.assign(result.begin(), result.end());
    ASSERT_EQ(result, absl::MakeConstSpan(first)) << "seed " << seed;
  }
}

// A member that is finished may reuse its input while others are still at work.
TEST(CollectiveOp, InputIsFreeOnceTheMemberIsFinished) {
  const uint64_t seed = 5;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const Schedule schedule =
      RingAllReduce({.rank_count = 5, .element_count = 300, .chunk_elements = 10});
  Inputs inputs(DType::kI32, 300, 5, rng);
  Collective collective(schedule, inputs, ReduceOp::kSum, OpId(5));
  MessageMover mover(rng.Next());
  mover.set_observer([&inputs](CollectiveOp& op) {
    if (op.finished()) inputs.Scribble(op.context().self.value());
  });
  collective.AddTo(mover);
  mover.Run();
  ExpectAllReduced(collective, inputs, {DType::kI32, ReduceOp::kSum, 300});
}

TEST(CollectiveOp, NobodyFinishesAnEmptyOpBeforeAllHaveEntered) {
  const Schedule schedule =
      RingAllReduce({.rank_count = 4, .element_count = 0, .chunk_elements = 8});
  Rng rng(1);
  const Inputs inputs(DType::kF32, 0, 4, rng);
  Collective collective(schedule, inputs, ReduceOp::kSum, OpId(5));
  MessageMover mover(2);
  for (uint32_t r : {0, 1, 3}) mover.Add(collective.op(r));
  mover.Run();
  for (uint32_t r : {0, 1, 3}) EXPECT_FALSE(collective.op(r).finished());
}

TEST(CollectiveOp, SeveralOpsInFlight) {
  const uint64_t seed = 123;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const Schedule schedule =
      RingAllReduce({.rank_count = 4, .element_count = 100, .chunk_elements = 7});
  std::vector<std::unique_ptr<Inputs>> inputs;
  std::vector<std::unique_ptr<Collective>> collectives;
  MessageMover mover(rng.Next());
  for (uint32_t i = 0; i < 8; ++i) {
    inputs.push_back(std::make_unique<Inputs>(DType::kF64, 100, 4, rng));
    collectives.push_back(std::make_unique<Collective>(schedule, *inputs.back(), ReduceOp::kMax,
                                                       OpId::Of(StepId(2), i)));
    collectives.back()->AddTo(mover);
  }
  mover.Run();
  for (uint32_t i = 0; i < 8; ++i) {
    ExpectAllReduced(*collectives[i], *inputs[i], {DType::kF64, ReduceOp::kMax, 100});
  }
}

}  // namespace
}  // namespace perigee
