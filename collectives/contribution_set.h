// Whose inputs a partial sum holds: a set over a small universe, either the ranks of a view (raw
// collectives) or the microbatches of a step (training). Travels in the frame of every transfer, so
// that a sum is merged only with a disjoint one and a result can prove that it is complete.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"

namespace perigee {

class ContributionSet {
 public:
  static constexpr uint32_t kUniverseMax = 4096;

  ContributionSet() = default;
  explicit ContributionSet(uint32_t universe) : universe_(universe), words_((universe + 63) / 64) {}

  void Add(uint32_t index);                  // index < universe()
  void Remove(uint32_t index);               // index < universe()
  void Merge(const ContributionSet& other);  // same universe
  bool Contains(uint32_t index) const;
  bool DisjointFrom(const ContributionSet& other) const;
  bool IsFull() const { return Count() == universe_; }
  uint32_t Count() const;
  uint32_t universe() const { return universe_; }
  std::vector<uint32_t> Missing() const;
  absl::InlinedVector<uint64_t, 2>& words() { return words_; }
  const absl::InlinedVector<uint64_t, 2>& words() const { return words_; }

  friend bool operator==(const ContributionSet&, const ContributionSet&) = default;

 private:
  uint32_t universe_ = 0;
  absl::InlinedVector<uint64_t, 2> words_;
};

// "{0-5,7} of 8".
std::string ToString(const ContributionSet& set);

}  // namespace perigee
