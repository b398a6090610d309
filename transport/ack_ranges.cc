#include "transport/ack_ranges.h"

#include <algorithm>

namespace perigee {

bool AckRanges::Contains(uint64_t number) const {
  auto it = std::lower_bound(ranges_.begin() + head_, ranges_.end(), number,
                             [](const PacketRange& r, uint64_t n) { return r.last < n; });
  return it != ranges_.end() && it->first <= number;
}

bool AckRanges::AddRange(PacketRange range) {
  if (range.first < floor_) return false;
  if (!empty() && ranges_.back().last + 1 == range.first) {  // the usual case: in order
    ranges_.back().last = range.last;
    return true;
  }
  // The first range that reaches `range` or touches it from below.
  auto it = std::lower_bound(ranges_.begin() + head_, ranges_.end(), range.first,
                             [](const PacketRange& r, uint64_t n) { return r.last + 1 < n; });
  if (it == ranges_.end() || range.last + 1 < it->first) {
    ranges_.insert(it, range);
    if (size() > kRangesMax) PopOldest();
    return true;
  }
  if (it->first <= range.first && range.last <= it->last) return false;
  it->first = std::min(it->first, range.first);
  it->last = std::max(it->last, range.last);
  auto end = it + 1;
  while (end != ranges_.end() && end->first <= it->last + 1) {
    it->last = std::max(it->last, end->last);
    ++end;
  }
  ranges_.erase(it + 1, end);
  return true;
}

void AckRanges::PopOldest() {
  floor_ = ranges_[head_].last + 1;
  ++head_;
  // Moving the rest down costs its length, so wait until as much was popped.
  if (head_ * 2 > ranges_.size()) {
    ranges_.erase(ranges_.begin(), ranges_.begin() + head_);
    head_ = 0;
  }
}

void AckRanges::RaiseFloor(uint64_t floor) {
  if (floor <= floor_) return;
  while (!empty() && ranges_[head_].last < floor) PopOldest();
  if (!empty()) ranges_[head_].first = std::max(ranges_[head_].first, floor);
  floor_ = floor;
}

void AckRanges::Merge(absl::Span<const PacketRange> newest_first, std::vector<PacketRange>& added) {
  const size_t added_before = added.size();
  size_t known = 0;
  for (PacketRange range : newest_first) {
    if (range.last < floor_) break;
    range.first = std::max(range.first, floor_);
    // Cut away, from above, what the known ranges cover.
    while (known < size() && Newest(known).first > range.last) ++known;
    bool remains = true;
    for (size_t i = known; remains && i < size() && Newest(i).last >= range.first; ++i) {
      const PacketRange& covered = Newest(i);
      if (covered.last < range.last) added.push_back({covered.last + 1, range.last});
      remains = covered.first > range.first;
      if (remains) range.last = covered.first - 1;
    }
    if (remains) added.push_back(range);
  }
  for (size_t i = added_before; i < added.size(); ++i) AddRange(added[i]);
}

}  // namespace perigee
