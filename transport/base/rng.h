// A seeded generator whose numbers are the same on every platform and standard library, unlike the
// distributions of <random>. Cores take one by reference; two callers never share one across
// threads.
//
//   Rng rng(seed);  if (rng.Bernoulli(0.01)) Drop();
#pragma once

#include <cmath>
#include <cstdint>

#include "transport/base/ids.h"
#include "transport/base/status.h"

namespace perigee {

// xoshiro256** seeded by splitmix64 (Blackman, Vigna: "Scrambled linear pseudorandom number
// generators").
class Rng {
 public:
  explicit Rng(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }

  uint64_t Next() {
    const uint64_t result = Rotate(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = Rotate(state_[3], 45);
    return result;
  }

  // Uniform in [0, bound); bound > 0. Lemire's multiply-and-shift, bias below 2^-64 · bound.
  uint64_t Below(uint64_t bound) {
    PERIGEE_CHECK(bound > 0);
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }
  // Uniform in [low, high], both included.
  int64_t Between(int64_t low, int64_t high) {
    PERIGEE_CHECK(low <= high);
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
  }
  // Uniform in [0, 1).
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  bool Bernoulli(double probability) { return Unit() < probability; }
  // Exponential with the given mean.
  double Exponential(double mean) { return -mean * std::log1p(-Unit()); }
  // A new incarnation (or job id); never the "none" value.
  Incarnation NextIncarnation() { return {.high = Next() | 1, .low = Next()}; }
  // An independent generator: results of one part do not shift when another draws more.
  Rng Fork() { return Rng(Next()); }

 private:
  static uint64_t Rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

  uint64_t state_[4];
};

}  // namespace perigee
