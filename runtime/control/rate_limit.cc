#include "runtime/control/rate_limit.h"

#include <algorithm>

namespace perigee {

bool RateLimit::Take(absl::Time now, const std::string& name) {
  if (!buckets_.contains(name) && buckets_.size() >= kNamesMax) Forget(now);
  const bool room = buckets_.contains(name) || buckets_.size() < kNamesMax;
  auto [it, added] =
      buckets_.try_emplace(room ? name : std::string(), Bucket{.tokens = rate_.burst, .at = now});
  Bucket& bucket = it->second;
  bucket = {.tokens = TokensAt(now, bucket), .at = now};
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

double RateLimit::TokensAt(absl::Time now, const Bucket& bucket) const {
  const double elapsed = std::max(0.0, absl::ToDoubleSeconds(now - bucket.at));
  return std::min(rate_.burst, bucket.tokens + elapsed * rate_.per_second);
}

void RateLimit::Forget(absl::Time now) {
  std::erase_if(buckets_,
                [&](const auto& entry) { return TokensAt(now, entry.second) >= rate_.burst; });
}

}  // namespace perigee
