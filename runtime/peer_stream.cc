#include "runtime/peer_stream.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace perigee {

std::vector<PartMessage> PeerStream::Split(const std::vector<uint8_t>& message) {
  std::vector<PartMessage> parts;
  size_t begin = 0;
  do {
    const size_t size = std::min(kPartBytesMax, message.size() - begin);
    const auto first = message.begin() + static_cast<ptrdiff_t>(begin);
    begin += size;
    parts.push_back({.life = life_,
                     .up = up_,
                     .sequence = next_sent_++,
                     .last = begin == message.size(),
                     .bytes = {first, first + static_cast<ptrdiff_t>(size)}});
  } while (begin < message.size());
  return parts;
}

absl::StatusOr<std::vector<std::vector<uint8_t>>> PeerStream::OnPart(PartMessage part) {
  std::vector<std::vector<uint8_t>> whole;
  if (part.sequence < next_received_) return whole;
  held_[part.sequence] = std::move(part);
  for (auto it = held_.begin(); it != held_.end() && it->first == next_received_;) {
    const PartMessage& next = it->second;
    begun_.insert(begun_.end(), next.bytes.begin(), next.bytes.end());
    if (begun_.size() > kMessageBytesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a control message of more than ", kMessageBytesMax, " bytes"));
    }
    if (next.last) whole.push_back(std::exchange(begun_, {}));
    ++next_received_;
    it = held_.erase(it);
  }
  if (held_.size() > kHeldMax) {
    return absl::ResourceExhaustedError(absl::StrCat(held_.size(), " pieces wait for piece ",
                                                     next_received_, " of a control stream"));
  }
  return whole;
}

}  // namespace perigee
