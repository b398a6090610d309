// A token bucket per name: so many at once, so many per second after that.
//
//   RateLimit limit({.per_second = 10, .burst = 100});
//   if (!limit.Take(now, "operator 'alice' at 10.0.0.5")) ...  // too fast
//
// Not thread-safe. Deterministic: the caller brings the time, which may step back.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace perigee {

class RateLimit {
 public:
  // Names that are remembered. A bucket that is full again says nothing and is forgotten; when so
  // many are not, the names that are new share one.
  static constexpr size_t kNamesMax = 4096;

  struct Rate {
    double per_second = 1;
    double burst = 1;
  };
  explicit RateLimit(const Rate& rate) : rate_(rate) {}

  // Whether one more may pass now.
  bool Take(absl::Time now, const std::string& name);
  size_t name_count() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens = 0;
    absl::Time at;
  };
  double TokensAt(absl::Time now, const Bucket& bucket) const;
  void Forget(absl::Time now);

  Rate rate_;
  std::map<std::string, Bucket> buckets_;
};

}  // namespace perigee
