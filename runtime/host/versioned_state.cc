#include "runtime/host/versioned_state.h"

#include <cstring>

#include "transport/base/status.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace perigee {

size_t VersionedState::bytes() const {
  size_t bytes = 0;
  for (absl::Span<const uint8_t> part : parts_) bytes += part.size();
  return bytes;
}

uint64_t VersionedState::Digest() const {
  uint64_t digest = 0;
  for (absl::Span<const uint8_t> part : parts_) {
    digest = XXH3_64bits_withSeed(part.data(), part.size(), digest);
  }
  return digest;
}

void VersionedState::Keep() {
  kept_.clear();  // the memory stays
  AppendTo(kept_);
  has_kept_ = true;
}

void VersionedState::GoBack() {
  PERIGEE_CHECK(has_kept_);
  CopyIn(kept_);
}

void VersionedState::AppendTo(std::vector<uint8_t>& out) const {
  out.reserve(out.size() + bytes());
  for (absl::Span<const uint8_t> part : parts_) out.insert(out.end(), part.begin(), part.end());
}

void VersionedState::Overwrite(absl::Span<const uint8_t> state) {
  CopyIn(state);
  has_kept_ = false;
}

void VersionedState::CopyIn(absl::Span<const uint8_t> state) {
  PERIGEE_CHECK(state.size() == bytes());
  for (absl::Span<uint8_t> part : parts_) {
    if (!part.empty()) std::memcpy(part.data(), state.data(), part.size());
    state.remove_prefix(part.size());
  }
}

}  // namespace perigee
