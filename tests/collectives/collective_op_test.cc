#include "collectives/collective_op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "collectives/fixed_point.h"
#include "tests/collectives/message_mover.h"
#include "tests/oracle/oracle.h"

namespace perigee {
namespace {

constexpr DType kTypes[] = {DType::kF32, DType::kF64, DType::kI8,  DType::kI16, DType::kI32,
                            DType::kI64, DType::kU8,  DType::kU16, DType::kU32, DType::kU64};
constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kProduct, ReduceOp::kMin, ReduceOp::kMax};

std::vector<NodeId> Nodes(uint32_t count) {
  std::vector<NodeId> nodes;
  for (uint32_t i = 0; i < count; ++i) nodes.push_back(NodeId(100 + 3 * i));
  return nodes;
}

// The inputs of all members, at addresses that are aligned to nothing.
class Inputs {
 public:
  Inputs(DType dtype, size_t count, uint32_t members, Rng& rng)
      : dtype_(dtype), count_(count), shift_(1 + rng.Below(7)) {
    for (uint32_t m = 0; m < members; ++m) {
      std::vector<uint8_t> bytes(count * SizeOf(dtype));
      for (size_t i = 0; i < count; ++i) Store(bytes.data() + i * SizeOf(dtype), rng);
      original_.push_back(bytes);
      bytes.insert(bytes.begin(), shift_, 0xcc);
      memory_.push_back(std::move(bytes));
    }
  }

  ConstBuffer Of(uint32_t member) const {
    return {memory_[member].data() + shift_, count_, dtype_};
  }
  OracleInputs ForOracle() const {
    OracleInputs inputs;
    for (const auto& bytes : original_) inputs.push_back(bytes);
    return inputs;
  }
  bool Unchanged(uint32_t member) const {
    return std::equal(original_[member].begin(), original_[member].end(),
                      memory_[member].begin() + shift_);
  }
  void Scribble(uint32_t member) {
    std::fill(memory_[member].begin(), memory_[member].end(), 0x55);
  }

 private:
  void Store(uint8_t* at, Rng& rng) const {
    const uint64_t bits = rng.Next();
    const double value = std::ldexp(rng.Unit() - 0.5, static_cast<int>(rng.Between(-6, 4)));
    const auto single = static_cast<float>(value);
    if (dtype_ == DType::kF32) {
      std::memcpy(at, &single, sizeof(single));
    } else if (dtype_ == DType::kF64) {
      std::memcpy(at, &value, sizeof(value));
    } else {
      std::memcpy(at, &bits, SizeOf(dtype_));
    }
  }

  DType dtype_;
  size_t count_;
  size_t shift_;
  std::vector<std::vector<uint8_t>> original_;
  std::vector<std::vector<uint8_t>> memory_;
};

// One collective of all members of a schedule.
class Collective {
 public:
  Collective(const Schedule& schedule, const Inputs& inputs, ReduceOp reduce_op, OpId op) {
    for (uint32_t r = 0; r < schedule.rank_count; ++r) {
      ContributionSet own(schedule.rank_count);
      own.Add(r);
      OpInput input;
      input.dtype = inputs.Of(r).dtype;
      input.reduce_op = reduce_op;
      input.data = inputs.Of(r);
      input.contributions = own;
      input.flags = 1u << r;
      input.call_digest = 42;
      input.done_through = OpId(1000 - r);
      OpContext context = {.op = op,
                           .epoch = Epoch(3),
                           .attempt = 1,
                           .self = Rank(r),
                           .nodes = Nodes(schedule.rank_count)};
      ops_.push_back(std::make_unique<CollectiveOp>(std::move(context), schedule, input));
    }
  }
  void AddTo(MessageMover& mover) {
    for (auto& op : ops_) mover.Add(*op);
  }
  CollectiveOp& op(uint32_t rank) { return *ops_[rank]; }
  size_t size() const { return ops_.size(); }

 private:
  std::vector<std::unique_ptr<CollectiveOp>> ops_;
};

std::vector<uint32_t> AllMembers(uint32_t count) {
  std::vector<uint32_t> members(count);
  std::iota(members.begin(), members.end(), 0);
  return members;
}

void ExpectAllReduced(Collective& collective, const Inputs& inputs, const OracleCall& call) {
  const auto members = static_cast<uint32_t>(collective.size());
  const auto first = collective.op(0).result();
  EXPECT_EQ(FirstDifference(call, inputs.ForOracle(), AllMembers(members), first), "");
  for (uint32_t r = 0; r < members; ++r) {
    const CollectiveOp& op = collective.op(r);
    ASSERT_TRUE(op.finished()) << op.status();
    EXPECT_EQ(op.result(), first) << "rank " << r << " holds other bits";
    EXPECT_TRUE(op.contributions().IsFull());
    EXPECT_EQ(op.contributions().universe(), members);
    EXPECT_EQ(op.flags(), members == 32 ? ~0u : (1u << members) - 1);
    EXPECT_EQ(op.done_through_all(), OpId(1000 - (members - 1)));
    EXPECT_EQ(op.sends_pending(), 0u);
    EXPECT_TRUE(op.WaitingFor().empty());
    EXPECT_EQ(op.Progress(), 1);
  }
}

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
