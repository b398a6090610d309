// The numbers that the benchmark reduces, and what must come out. Small integers, so that a sum of
// floats is exact in any order and one wrong element is found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "bench/allreduce.h"
#include "collectives/fixed_point.h"
#include "runtime/node.h"

namespace perigee {

class AllReduceData {
 public:
  AllReduceData(const AllReduceOptions& options, uint32_t node);

  // The request of iteration `i`; buffers are this object's.
  CollectiveRequest Request(uint64_t iteration);
  // Compares the result with the sum over all nodes and adds it to the digest.
  void Check(uint64_t iteration);
  bool oracle_equal() const { return oracle_equal_; }
  std::string digest() const;

 private:
  float Element(uint64_t iteration, uint32_t node, size_t index) const;

  AllReduceOptions options_;
  uint32_t node_;
  std::vector<float> input_;
  std::vector<float> output_;
  FixedPointSettings fixed_point_;
  FixedPointSum sum_;  // with --reproducible
  std::vector<int64_t> reduced_;
  bool oracle_equal_ = true;
  uint64_t digest_ = 0;
};

}  // namespace perigee
