#include "collectives/fixed_point.h"

#include <bit>
#include <cmath>

#include "transport/base/status.h"

namespace perigee {
namespace {

// Coarser by 2^4: a step whose range was exceeded by less than 16 times fits at the next attempt.
constexpr int kCoarserBits = 4;

// ceil(log2 n) for n >= 1.
int CeilLog2(uint32_t n) { return static_cast<int>(std::bit_width(n - 1)); }

struct Encoder {
  explicit Encoder(const FixedPointSettings& settings)
      : scale(std::ldexp(1.0, settings.scale_bits)),
        bound(std::ldexp(1.0, 62 - CeilLog2(settings.contributions_max))) {}

  // Multiplying a float by a power of two is exact in double, so there is one rounding: to the
  // nearest integer, ties to even (the default mode of IEEE 754, which llrint follows).
  int64_t Encode(float value, uint32_t& flags) const {
    double scaled = static_cast<double>(value) * scale;
    if (std::isnan(scaled)) {
      flags |= kFlagNan;
      return 0;
    }
    if (scaled > bound || scaled < -bound) {
      flags |= kFlagRange;
      scaled = scaled > 0 ? bound : -bound;
    }
    return std::llrint(scaled);
  }

  double scale;
  double bound;  // a power of two, at most 2^62: exact as an integer too
};

}  // namespace

FixedPointSum::FixedPointSum(size_t value_count, const FixedPointSettings& settings, Words words)
    : settings_(settings),
      value_count_(value_count),
      sum_(value_count + (words == Words::kNone ? 0 : settings.contributions_max), 0),
      contributions_(settings.contributions_max),
      flags_of_(settings.contributions_max, 0) {
  PERIGEE_CHECK(settings.contributions_max >= 1);
  PERIGEE_CHECK(settings.contributions_max <= ContributionSet::kUniverseMax);
  // Keeps value · 2^scale_bits inside the normal range of double for every float.
  PERIGEE_CHECK(settings.scale_bits >= -kScaleBitsMax && settings.scale_bits <= kScaleBitsMax);
}

void FixedPointSum::Reset() {
  std::fill(sum_.begin(), sum_.end(), 0);
  contributions_ = ContributionSet(settings_.contributions_max);
  std::fill(flags_of_.begin(), flags_of_.end(), 0);
  flags_ = 0;
}

void FixedPointSum::Add(MicrobatchId microbatch, absl::Span<const float> values) {
  PERIGEE_CHECK(values.size() == value_count_);
  PERIGEE_CHECK(microbatch.value() < settings_.contributions_max);
  PERIGEE_CHECK(!contributions_.Contains(microbatch.value()));
  const Encoder encoder(settings_);
  uint32_t flags = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum_[i] = static_cast<int64_t>(static_cast<uint64_t>(sum_[i]) +
                                   static_cast<uint64_t>(encoder.Encode(values[i], flags)));
  }
  contributions_.Add(microbatch.value());
  flags_of_[microbatch.value()] = flags;
  flags_ |= flags;
}

void FixedPointSum::SetWord(MicrobatchId microbatch, uint64_t word) {
  PERIGEE_CHECK(contributions_.Contains(microbatch.value()));
  PERIGEE_CHECK(sum_.size() > value_count_);
  sum_[value_count_ + microbatch.value()] = static_cast<int64_t>(word);
}

void FixedPointSum::Remove(MicrobatchId microbatch, absl::Span<const float> values) {
  PERIGEE_CHECK(values.size() == value_count_);
  PERIGEE_CHECK(contributions_.Contains(microbatch.value()));
  const Encoder encoder(settings_);
  uint32_t flags = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum_[i] = static_cast<int64_t>(static_cast<uint64_t>(sum_[i]) -
                                   static_cast<uint64_t>(encoder.Encode(values[i], flags)));
  }
  contributions_.Remove(microbatch.value());
  if (sum_.size() > value_count_) sum_[value_count_ + microbatch.value()] = 0;
  flags_of_[microbatch.value()] = 0;
  flags_ = 0;
  for (uint32_t other : flags_of_) flags_ |= other;
}

void Decode(absl::Span<const int64_t> sum, const FixedPointSettings& settings, double divisor,
            absl::Span<float> out) {
  PERIGEE_CHECK(out.size() == sum.size());
  const double unit = std::ldexp(1.0, -settings.scale_bits);
  for (size_t i = 0; i < sum.size(); ++i) {
    out[i] = static_cast<float>(static_cast<double>(sum[i]) * unit / divisor);
  }
}

FixedPointSettings CoarserScale(const FixedPointSettings& settings) {
  FixedPointSettings coarser = settings;
  coarser.scale_bits -= kCoarserBits;
  return coarser;
}

}  // namespace perigee
