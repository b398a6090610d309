// All members' inputs and ops of one collective, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "collectives/collective_op.h"
#include "tests/collectives/message_mover.h"
#include "tests/oracle/oracle.h"
#include "transport/base/rng.h"

namespace perigee {

inline std::vector<NodeId> Nodes(uint32_t count) {
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

inline std::vector<uint32_t> AllMembers(uint32_t count) {
  std::vector<uint32_t> members(count);
  std::iota(members.begin(), members.end(), 0);
  return members;
}

inline void ExpectAllReduced(Collective& collective, const Inputs& inputs, const OracleCall& call) {
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

}  // namespace perigee
