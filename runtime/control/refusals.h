// What was refused, by cause: exact counts, and a sentence for the audit log as long as it is not a
// flood of them.
//
//   refusals.Add(now, Refusal::kWrongRole, "Drain by observer 'alice' at 10.0.0.5: ...");
//
// Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "absl/time/time.h"
#include "runtime/control/rate_limit.h"

namespace perigee {

enum class Refusal : uint8_t {
  kNoCertificate,
  kExpiredCertificate,  // or not valid yet
  kForeignCertificate,  // of another CA, or not for this purpose
  kWrongRole,
  kBadToken,  // missing, made with another key, or for another stream: a replay
  kTooLong,
  kMalformed,
  kTooFast,
  kTooMany,  // streams
  kSilent,   // a stream that did not register in time
};
inline constexpr size_t kRefusalCauses = 10;

const char* Name(Refusal cause);  // "wrong_role"

class Refusals {
 public:
  // Told of each cause: as many at once, then one per second. What was left out is counted and said
  // in the next one.
  static constexpr double kToldBurst = 20;
  static constexpr double kToldPerSecond = 1;

  using Counts = std::array<uint64_t, kRefusalCauses>;
  // A line for the audit log. Called under a lock: it only posts.
  using Tell = std::function<void(const std::string& line)>;

  explicit Refusals(Tell tell);

  // `what` names who wanted what, and why not.
  void Add(absl::Time now, Refusal cause, const std::string& what);
  Counts counts() const;
  // Nothing is told after it returns; counting goes on.
  void StopTelling();

 private:
  mutable std::mutex mutex_;  // of everything
  Tell tell_;
  Counts counts_{};
  Counts untold_{};
  RateLimit told_{{.per_second = kToldPerSecond, .burst = kToldBurst}};
};

}  // namespace perigee
