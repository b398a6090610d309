// How long the steps and the ops of a member take, so that a departure can be planned in time. One
// step that was held up (a loss, a state that was sent) says nothing about the next ones: of the
// last kKept the longest is left out, and the longest of the others counts.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "absl/time/time.h"
#include "transport/base/ids.h"

namespace perigee {

class StepTimes {
 public:
  static constexpr size_t kKept = 8;

  // In the order of the calls. Steps are measured from the first op of one to that of the next.
  void OnOpStarted(absl::Time now, OpId op);
  void OnOpFinished(absl::Duration age) { ops_.Add(age); }

  absl::Duration step() const { return steps_.LongestButOne(); }  // zero: not known yet
  absl::Duration op() const { return ops_.LongestButOne(); }

 private:
  struct Kept {
    void Add(absl::Duration time);
    absl::Duration LongestButOne() const;  // of a single one: that one
    std::array<absl::Duration, kKept> times;
    size_t count = 0;
  };
  Kept steps_;
  Kept ops_;
  std::optional<OpId> first_op_;  // of the latest step
  absl::Time first_op_at_;
};

}  // namespace perigee
