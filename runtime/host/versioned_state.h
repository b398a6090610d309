// The state of a task, and a copy of the version before it: what a trainer goes back to when the
// members find that their states differ.
//
//   state.Keep();                  // the copy is now the present version
//   task.Apply(step, gradient);    // the next one
//   if (...) state.GoBack();       // the present one is the copy again
//
// Two copies in all: the version that is kept is the last one that all members are known to have.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "runtime/host/training_task.h"

namespace perigee {

class VersionedState {
 public:
  // `task` is borrowed and outlives this.
  explicit VersionedState(TrainingTask& task) : parts_(task.MutableState()) {}

  size_t bytes() const;
  // Of the present version; equal states, equal digests.
  uint64_t Digest() const;

  // Costs one pass over the state.
  void Keep();
  // Whether Keep was called since the start, Overwrite and DropKept.
  bool has_kept() const { return has_kept_; }
  void DropKept() { has_kept_ = false; }
  // The present version becomes the kept one (has_kept() is a precondition), which stays.
  void GoBack();

  // Appends bytes() bytes of the present version.
  void AppendTo(std::vector<uint8_t>& out) const;
  // Another member's state: `state` has bytes() bytes. What was kept here is not its past.
  void Overwrite(absl::Span<const uint8_t> state);

 private:
  void CopyIn(absl::Span<const uint8_t> state);

  std::vector<absl::Span<uint8_t>> parts_;
  std::vector<uint8_t> kept_;
  bool has_kept_ = false;
};

}  // namespace perigee
