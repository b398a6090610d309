// Philox 4x32-10, the counter-based generator of Salmon, Moraes, Dror, Shaw, "Parallel Random
// Numbers: As Easy as 1, 2, 3" (SC 2011). The number at a counter is a pure function of (key,
// counter): whoever computes a microbatch draws the same numbers, and there is no generator state
// to send to a joiner.
//
//   PhiloxBlock block = Philox({microbatch, row, step_low, step_high}, StreamKey(seed,
//   Stream::kBatch));
#pragma once

#include <array>
#include <cstdint>

namespace perigee::char_lm {

using PhiloxBlock = std::array<uint32_t, 4>;  // A counter, or the four numbers at it.
using PhiloxKey = std::array<uint32_t, 2>;

constexpr PhiloxBlock Philox(PhiloxBlock counter, PhiloxKey key) {
  // Multipliers and Weyl increments of the paper, table 2 and section 3.3.
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

// Each use of randomness has its own key, so that no two ever draw at the same (key, counter).
enum class Stream : uint32_t { kParameters = 1, kBatch = 2 };

constexpr PhiloxKey StreamKey(uint64_t seed, Stream stream) {
  const PhiloxKey seed_key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  const PhiloxBlock block = Philox({static_cast<uint32_t>(stream), 0, 0, 0}, seed_key);
  return {block[0], block[1]};
}

// Uniform in [0, 1), from the 24 high bits: exact in float.
constexpr float UnitFloat(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1.0p-24f; }

// Uniform in [0, bound) by multiply-and-shift; the bias is below bound · 2^-64.
constexpr uint32_t Below(uint32_t high, uint32_t low, uint32_t bound) {
  const uint64_t carry = (static_cast<uint64_t>(low) * bound) >> 32;
  return static_cast<uint32_t>((static_cast<uint64_t>(high) * bound + carry) >> 32);
}

}  // namespace perigee::char_lm
