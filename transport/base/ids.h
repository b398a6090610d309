// Strong integers for everything that has an identity, so that a rank is never passed for a node.
//
//   NodeId node(3);  Epoch next(epoch.value() + 1);  map[node] ...
//
// All are values: comparable, hashable (absl), printable through ToString.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace perigee {

template <typename Tag, typename T>
class StrongInt {
 public:
  using Value = T;
  constexpr StrongInt() = default;
  constexpr explicit StrongInt(T value) : value_(value) {}
  constexpr T value() const { return value_; }
  constexpr StrongInt Next() const { return StrongInt(static_cast<T>(value_ + 1)); }

  friend constexpr auto operator<=>(StrongInt, StrongInt) = default;
  template <typename H>
  friend H AbslHashValue(H h, StrongInt id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  T value_ = 0;
};

template <typename Tag, typename T>
std::string ToString(StrongInt<Tag, T> id) {
  return absl::StrCat(id.value());
}

// A satellite, for all time.
using NodeId = StrongInt<struct NodeIdTag, uint32_t>;
// Generation of the membership. Epoch 0 is "no view yet"; the explicit job start makes view 1.
using Epoch = StrongInt<struct EpochTag, uint64_t>;
// Dense index of a member inside one epoch.
using Rank = StrongInt<struct RankTag, uint32_t>;
// One training step (or one call, for users without steps). Steps start at 0.
using StepId = StrongInt<struct StepIdTag, uint64_t>;
// Index of a chunk inside one collective op.
using ChunkId = StrongInt<struct ChunkIdTag, uint32_t>;
// Global index of a microbatch inside one step, in [0, microbatches of the step).
using MicrobatchId = StrongInt<struct MicrobatchIdTag, uint32_t>;

// A collective operation: (step, index of the call inside the step). Ordered in call order.
class OpId {
 public:
  static constexpr uint32_t kIndexBits = 16;
  constexpr OpId() = default;
  constexpr explicit OpId(uint64_t value) : value_(value) {}
  static constexpr OpId Of(StepId step, uint32_t index) {
    return OpId((step.value() << kIndexBits) | index);
  }
  constexpr uint64_t value() const { return value_; }
  constexpr StepId step() const { return StepId(value_ >> kIndexBits); }
  constexpr uint32_t index() const {
    return static_cast<uint32_t>(value_ & ((uint64_t{1} << kIndexBits) - 1));
  }

  friend constexpr auto operator<=>(OpId, OpId) = default;
  template <typename H>
  friend H AbslHashValue(H h, OpId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  uint64_t value_ = 0;
};

inline std::string ToString(OpId op) { return absl::StrCat(op.step().value(), ".", op.index()); }

// One start of one process: 128 random bits. Sessions belong to a pair of incarnations, so nothing
// that an earlier life of a node sent can be taken for the present one's. Zero means "none".
struct Incarnation {
  uint64_t high = 0;
  uint64_t low = 0;

  bool IsNone() const { return high == 0 && low == 0; }
  friend constexpr auto operator<=>(const Incarnation&, const Incarnation&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Incarnation& id) {
    return H::combine(std::move(h), id.high, id.low);
  }
};

// One explicit start of a job: 128 random bits, in the same form.
using JobId = Incarnation;

// Short form for people: the first 32 bits in hexadecimal.
inline std::string ToString(const Incarnation& id) {
  return absl::StrCat(absl::Hex(id.high >> 32, absl::kZeroPad8));
}

}  // namespace perigee
