#include "bench/peers/peer_vector.h"

#include <algorithm>
#include <cstring>

namespace perigee {
namespace {

// Any subset of 16 members is told from any other by so many elements, or the result is wrong.
constexpr size_t kProbe = 256;

// pccl_peer.py has the same three constants.
uint32_t Salt(const PeerInput& input, uint32_t rank) {
  return static_cast<uint32_t>((rank + input.seed) * 0x9e3779b9 + input.op * 0x85ebca6b);
}

float Element(uint32_t salt, size_t index) {
  const uint32_t mixed = static_cast<uint32_t>(index + 1) * 0x9e3779b1u + salt;
  return static_cast<float>(static_cast<int32_t>(mixed >> 27) - 16);
}

bool IsSumOf(const PeerInput& input, uint32_t set, absl::Span<const float> result, size_t end) {
  uint32_t salts[32];
  size_t count = 0;
  for (uint32_t rank = 0; rank < 32; ++rank) {
    if ((set >> rank & 1) != 0) salts[count++] = Salt(input, rank);
  }
  bool equal = true;
  for (size_t i = 0; i < end; ++i) {
    float expected = 0;
    for (size_t m = 0; m < count; ++m) expected += Element(salts[m], i);
    equal &= expected == result[i];
  }
  return equal;
}

}  // namespace

void FillPeerInput(const PeerInput& input, uint32_t rank, absl::Span<float> values) {
  const uint32_t salt = Salt(input, rank);
  for (size_t i = 0; i < values.size(); ++i) values[i] = Element(salt, i);
}

uint32_t PeersInSum(const PeerInput& input, uint32_t nodes, absl::Span<const float> result) {
  const size_t probe = std::min(result.size(), kProbe);
  for (uint32_t set = (1u << nodes) - 1; set != 0; --set) {
    if (IsSumOf(input, set, result, probe)) {
      return IsSumOf(input, set, result, result.size()) ? set : 0;
    }
  }
  return 0;
}

uint64_t PeerChecksum(absl::Span<const float> result) {
  uint64_t sum = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    uint32_t bits;
    std::memcpy(&bits, &result[i], sizeof(bits));
    sum += bits * (2 * static_cast<uint64_t>(i) + 1);
  }
  return sum;
}

}  // namespace perigee
