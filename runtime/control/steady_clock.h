// The clock of a process: the machine's wall clock as it was when this was made, and from then on
// only what has passed. An operator or NTP that sets the wall clock fires no timeout and makes
// nobody silent; how far the clock is off is the calendar's business (runtime/clock_offset.h).
// A value: main makes one and hands it on, so that a process has one time line.
#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace perigee {

class SteadyClock {
 public:
  SteadyClock() : SteadyClock(absl::Now()) {}
  explicit SteadyClock(absl::Time now) : wall_(now), began_(std::chrono::steady_clock::now()) {}

  // Never goes back. Thread-safe.
  absl::Time Now() const {
    return wall_ + absl::FromChrono(std::chrono::steady_clock::now() - began_);
  }
  // The same time line, `ahead` further on.
  SteadyClock Ahead(absl::Duration ahead) const {
    SteadyClock other(*this);
    other.wall_ += ahead;
    return other;
  }

 private:
  absl::Time wall_;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace perigee
