// How late the emulator was, as quantiles: counts in buckets that are 1/16 of a power of two wide,
// so that a quantile is at most 6 % too large. Pure.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace perigee::linkemu {

class DurationHistogram {
 public:
  // Negative durations count as zero.
  void Add(absl::Duration duration) {
    const int64_t nanoseconds = absl::ToInt64Nanoseconds(duration);
    ++buckets_[Bucket(nanoseconds < 0 ? 0 : static_cast<uint64_t>(nanoseconds))];
    ++count_;
    if (duration > max_) max_ = duration;
  }

  // The smallest bucket edge that at least `quantile` of all are not above; zero when empty.
  absl::Duration Quantile(double quantile) const {
    const auto wanted = static_cast<uint64_t>(std::ceil(quantile * static_cast<double>(count_)));
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen >= wanted && seen > 0) return absl::Nanoseconds(Edge(i));
    }
    return absl::ZeroDuration();
  }
  absl::Duration max() const { return max_; }
  uint64_t count() const { return count_; }

 private:
  static constexpr int kSubBits = 4;
  static constexpr uint64_t kSub = 1 << kSubBits;

  // Values below 16 have a bucket each; above, the highest bit and the 4 bits behind it count.
  static size_t Bucket(uint64_t value) {
    if (value < kSub) return value;
    const int shift = std::bit_width(value) - 1 - kSubBits;
    return static_cast<size_t>(shift) * kSub + (value >> shift);
  }
  // The largest value in a bucket.
  static int64_t Edge(size_t bucket) {
    if (bucket < 2 * kSub) return static_cast<int64_t>(bucket);
    const size_t shift = bucket / kSub - 1;
    const uint64_t top = bucket % kSub + kSub;
    return static_cast<int64_t>(((top + 1) << shift) - 1);
  }

  std::array<uint64_t, 64 * kSub> buckets_{};
  uint64_t count_ = 0;
  absl::Duration max_ = absl::ZeroDuration();
};

}  // namespace perigee::linkemu
