// Reproducible sums: floats become int64 fixed point at their source, one contribution (microbatch)
// at a time, and integer addition is exact and associative. So the bits of a sum depend only on
// which contributions are in it: not on topology, order, retries, faults, or how many members there
// were (collectives.md).
//
//   FixedPointSum sum(gradient_size, {.scale_bits = 40, .contributions_max = 24});
//   sum.Add(MicrobatchId(3), gradient);           // exact; range and NaN set a flag, never garbage
//   ... allreduce sum.data() as kI64 sum, with sum.contributions() and sum.flags() ...
//   Decode(result, settings, divisor, floats);
//
// Behind the values there may be one word per contribution, which only its contributor sets: then
// the sum gathers them all, in the same op (runtime/step_commit.h).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "collectives/contribution_set.h"
#include "transport/base/ids.h"

namespace perigee {

// OR-ed over contributions in every frame; never read off partial sums, whose wrap-around is
// harmless.
enum FixedPointFlag : uint32_t {
  kFlagRange = 1,  // an element was beyond the bound and was clamped
  kFlagNan = 2,    // an element was not a number and counted as zero
};

struct FixedPointSettings {
  // value = integer · 2^-scale_bits. Constant until a flagged step changes it, at the same step on
  // all members. Rounding is to the nearest integer, ties to even.
  int scale_bits = 40;
  // M: contributions to one sum, at most. Each is bounded by 2^(62 - ceil(log2 M)), so M of them
  // never overflow.
  uint32_t contributions_max = 1;
};

class FixedPointSum {
 public:
  static constexpr int kScaleBitsMax = 512;  // |scale_bits|, checked

  enum class Words : uint8_t { kNone, kPerContribution };

  FixedPointSum(size_t value_count, const FixedPointSettings& settings, Words words = Words::kNone);

  // Empties the sum for a new step.
  void Reset();
  // Adds one contribution; `values` has value_count() elements. A microbatch is added at most once
  // (CHECK).
  void Add(MicrobatchId microbatch, absl::Span<const float> values);
  // The word of a contribution that is in the sum; only with Words::kPerContribution (CHECK).
  void SetWord(MicrobatchId microbatch, uint64_t word);
  // Takes it out again, exactly, with its flags and its word; `values` must be the same bits.
  void Remove(MicrobatchId microbatch, absl::Span<const float> values);

  size_t value_count() const { return value_count_; }
  size_t size() const { return sum_.size(); }  // values and words
  absl::Span<const int64_t> data() const { return sum_; }
  const ContributionSet& contributions() const { return contributions_; }
  uint32_t flags() const { return flags_; }

 private:
  FixedPointSettings settings_;
  size_t value_count_;
  std::vector<int64_t> sum_;  // the values, then the words by microbatch
  ContributionSet contributions_;
  std::vector<uint32_t> flags_of_;  // by microbatch, so that Remove takes back the flags too
  uint32_t flags_ = 0;
};

// out[i] = sum[i] · 2^-scale_bits / divisor, in double and rounded once to float.
void Decode(absl::Span<const int64_t> sum, const FixedPointSettings& settings, double divisor,
            absl::Span<float> out);

// The scale to redo a flagged step with: coarser by 4 bits, the same on all members.
FixedPointSettings CoarserScale(const FixedPointSettings& settings);

}  // namespace perigee
