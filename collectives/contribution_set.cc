#include "collectives/contribution_set.h"

#include <bit>

#include "absl/strings/str_cat.h"
#include "transport/base/status.h"

namespace perigee {

void ContributionSet::Add(uint32_t index) {
  PERIGEE_CHECK(index < universe_);
  words_[index / 64] |= uint64_t{1} << (index % 64);
}

void ContributionSet::Remove(uint32_t index) {
  PERIGEE_CHECK(index < universe_);
  words_[index / 64] &= ~(uint64_t{1} << (index % 64));
}

void ContributionSet::Merge(const ContributionSet& other) {
  PERIGEE_CHECK(other.universe_ == universe_);
  for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
}

bool ContributionSet::Contains(uint32_t index) const {
  return index < universe_ && (words_[index / 64] >> (index % 64) & 1) != 0;
}

bool ContributionSet::DisjointFrom(const ContributionSet& other) const {
  PERIGEE_CHECK(other.universe_ == universe_);
  for (size_t i = 0; i < words_.size(); ++i) {
    if ((words_[i] & other.words_[i]) != 0) return false;
  }
  return true;
}

uint32_t ContributionSet::Count() const {
  uint32_t count = 0;
  for (uint64_t word : words_) count += static_cast<uint32_t>(std::popcount(word));
  return count;
}

std::vector<uint32_t> ContributionSet::Missing() const {
  std::vector<uint32_t> missing;
  for (uint32_t i = 0; i < universe_; ++i) {
    if (!Contains(i)) missing.push_back(i);
  }
  return missing;
}

std::string ToString(const ContributionSet& set) {
  std::string text = "{";
  const uint32_t universe = set.universe();
  for (uint32_t first = 0; first < universe; ++first) {
    if (!set.Contains(first)) continue;
    uint32_t last = first;
    while (last + 1 < universe && set.Contains(last + 1)) ++last;
    absl::StrAppend(&text, text.size() > 1 ? "," : "", first);
    if (last > first) absl::StrAppend(&text, "-", last);
    first = last;
  }
  absl::StrAppend(&text, "} of ", universe);
  return text;
}

}  // namespace perigee
