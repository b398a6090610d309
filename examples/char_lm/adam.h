// AdamW (Loshchilov, Hutter 2019) with a learning rate that warms up linearly and decays along a
// cosine.
//
//   Adam adam(layout, options);
//   adam.Apply(step, gradient, parameters);
//
// There is no step counter inside: bias corrections and learning rate are functions of the step
// that is passed, so a joiner needs the two moments and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "examples/char_lm/parameter_layout.h"
#include "transport/base/ids.h"

namespace perigee::char_lm {

struct AdamOptions {
  double learning_rate = 1e-2;          // The peak, at the end of the warm-up.
  double learning_rate_fraction = 0.1;  // The end, as a fraction of the peak.
  uint64_t warmup_steps = 10;
  uint64_t total_steps = 100;  // Later steps stay at the end's rate.
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0.01f;  // Per unit of learning rate, on the slices that decay.
};

// InvalidArgument, naming the field, when a field is out of range.
absl::Status ValidateAdamOptions(const AdamOptions& options);

// The rate of one step: a pure function.
double LearningRate(const AdamOptions& options, StepId step);

// One thread.
class Adam {
 public:
  // `options` has passed ValidateAdamOptions.
  Adam(const ParameterLayout& layout, const AdamOptions& options);

  // Updates parameters and moments in place by the gradient of `step`. All spans have the layout's
  // size.
  void Apply(StepId step, absl::Span<const float> gradient, absl::Span<float> parameters);

  // The moments, at fixed addresses for the life of this object.
  absl::Span<float> first_moment() { return absl::MakeSpan(first_moment_); }
  absl::Span<float> second_moment() { return absl::MakeSpan(second_moment_); }

 private:
  AdamOptions options_;
  std::vector<ParameterSlice> slices_;
  std::vector<float> first_moment_;
  std::vector<float> second_moment_;
};

}  // namespace perigee::char_lm
