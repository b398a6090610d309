// The set of packet numbers that arrived, as ranges. The receiver keeps one and repeats it in every
// ACK; the sender keeps one too, of what it knows to be acknowledged, so that an ACK which repeats
// everything costs only its news.
//
//   AckRanges received;
//   received.Add(7);  received.Add(9);      // {7}, {9}
//   received.RaiseFloor(8);                 // {9}: the sender no longer asks about 0..7
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace perigee {

struct PacketRange {
  uint64_t first = 0;
  uint64_t last = 0;  // included

  friend bool operator==(const PacketRange&, const PacketRange&) = default;
};

class AckRanges {
 public:
  // Past this many ranges the oldest is forgotten, and the floor goes above it.
  static constexpr size_t kRangesMax = 16384;

  // False when the number was there already or lies below the floor.
  bool Add(uint64_t number) { return AddRange({number, number}); }
  bool Contains(uint64_t number) const;  // numbers below the floor are not contained
  // Forgets everything below.
  void RaiseFloor(uint64_t floor);

  // Adds ranges that are sorted newest first and disjoint, as an ACK carries them. Appends to
  // `added` the parts that were not known yet and are not below the floor. Linear in the ranges of
  // both sides.
  void Merge(absl::Span<const PacketRange> newest_first, std::vector<PacketRange>& added);

  uint64_t floor() const { return floor_; }
  size_t size() const { return ranges_.size() - head_; }
  bool empty() const { return size() == 0; }
  // Newest first: Newest(0) holds the largest number. `index` < size().
  const PacketRange& Newest(size_t index) const { return ranges_[ranges_.size() - 1 - index]; }

 private:
  bool AddRange(PacketRange range);
  void PopOldest();

  std::vector<PacketRange> ranges_;  // ascending, disjoint, not adjacent; live from head_ on
  size_t head_ = 0;
  uint64_t floor_ = 0;
};

}  // namespace perigee
