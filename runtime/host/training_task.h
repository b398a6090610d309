// What a user's model looks like to the data-parallel trainer (trainer.h). Perigee decides who
// computes which microbatch and when to apply; the task computes.
//
// Contract: everything is a pure function of (state, step, microbatch), bit for bit the same on
// every member of a job. Then the final parameters do not depend on who left when (training.md,
// "Virtual workers").
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "transport/base/ids.h"

namespace perigee {

// Called from one thread.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  // Elements of the gradient; constant over the job.
  virtual size_t GradientSize() const = 0;

  // Adds nothing and changes no state: writes the gradient of one microbatch of `step` at the
  // present parameters into `gradient` (GradientSize() elements) and returns its mean loss.
  virtual absl::StatusOr<double> ComputeGradient(StepId step, MicrobatchId microbatch,
                                                 absl::Span<float> gradient) = 0;

  // Applies the mean gradient over all microbatches of `step`: the state becomes that of step + 1.
  // Called again for the same step after the state was overwritten with the one before it, when the
  // members' states differ: nothing may be remembered outside of MutableState().
  virtual absl::Status Apply(StepId step, absl::Span<const float> gradient) = 0;

  // The whole state (parameters, optimizer moments) as byte spans in a fixed order and of fixed
  // sizes, to digest, to send to a joiner, and to overwrite with what a peer sent. Valid until the
  // task is destroyed.
  virtual std::vector<absl::Span<uint8_t>> MutableState() = 0;
};

}  // namespace perigee
