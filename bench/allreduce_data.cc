#include "bench/allreduce_data.h"

#include "absl/strings/str_cat.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {
namespace {

constexpr int kScaleBits = 20;

}  // namespace

AllReduceData::AllReduceData(const AllReduceOptions& options, uint32_t node)
    : options_(options),
      node_(node),
      input_(options.bytes / sizeof(float)),
      output_(input_.size()),
      fixed_point_{.scale_bits = kScaleBits, .contributions_max = options.nodes},
      sum_(options.reproducible ? input_.size() : 0, fixed_point_),
      reduced_(options.reproducible ? input_.size() : 0) {}

float AllReduceData::Element(uint64_t iteration, uint32_t node, size_t index) const {
  const uint64_t mixed =
      (index + 1) * 0x9e3779b97f4a7c15 + (node + options_.seed) * 0xbf58476d1ce4e5b9 + iteration;
  return static_cast<float>(static_cast<int64_t>((mixed >> 40) & 15) - 8);
}

CollectiveRequest AllReduceData::Request(uint64_t iteration) {
  for (size_t i = 0; i < input_.size(); ++i) input_[i] = Element(iteration, node_, i);
  if (!options_.reproducible) {
    return {.input = {input_.data(), input_.size(), DType::kF32},
            .output = {output_.data(), output_.size(), DType::kF32}};
  }
  sum_.Reset();
  sum_.Add(MicrobatchId(node_), input_);
  return {.input = {sum_.data().data(), sum_.size(), DType::kI64},
          .output = {reduced_.data(), reduced_.size(), DType::kI64},
          .contributions = sum_.contributions(),
          .flags = sum_.flags(),
          .policy = FailurePolicy::kFullSet};
}

void AllReduceData::Check(uint64_t iteration) {
  if (options_.reproducible) Decode(reduced_, fixed_point_, 1, absl::MakeSpan(output_));
  for (size_t i = 0; i < output_.size(); ++i) {
    float expected = 0;
    for (uint32_t node = 0; node < options_.nodes; ++node) expected += Element(iteration, node, i);
    oracle_equal_ &= output_[i] == expected;
  }
  digest_ = XXH3_64bits_withSeed(output_.data(), output_.size() * sizeof(float), digest_);
}

std::string AllReduceData::digest() const {
  return absl::StrCat(absl::Hex(digest_, absl::kZeroPad16));
}

}  // namespace perigee
