// What the selftest measures, each with probes of its own through real sockets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace perigee::linkemu {

// Delay and jitter of an otherwise idle link while the ten other links of four nodes are busy.
struct TimingFigures {
  double delay_error_us = 0;  // median of the delay measured, less what it should be
  double jitter_us_p50 = 0;   // of the absolute difference
  double jitter_us_p99 = 0;
  double jitter_us_max = 0;
  uint64_t probes = 0;
};
struct TimingSettings {
  absl::Duration length = absl::Seconds(5);
  absl::Duration delay = absl::Milliseconds(10);
  double load_bytes_per_second = 0;  // on each of the others; 0: idle
  uint64_t seed = 1;
};
absl::StatusOr<TimingFigures> MeasureTiming(const TimingSettings& settings);

// Loss of `packets` small packets over all links of four nodes.
struct LossFigures {
  double loss = 0;  // asked for
  double measured = 0;
  uint64_t packets = 0;
  // Every packet that the emulator did not count as lost arrived once, whole.
  bool counted = false;
};
absl::StatusOr<LossFigures> MeasureLoss(double loss, uint64_t packets, uint64_t seed);

// Mean length of the bad periods of bursty links, as the probes see it.
struct BurstFigures {
  absl::Duration asked;
  absl::Duration measured;
  uint64_t bursts = 0;
};
absl::StatusOr<BurstFigures> MeasureBursts(absl::Duration mean, absl::Duration length,
                                           uint64_t seed);

// Takes one direction of a link down for a while: nothing of it passes meanwhile, everything
// passes before, after, and in the other direction.
absl::StatusOr<bool> MeasureOutage(uint64_t seed);

// iperf3 over the emulator: nothing when it is not installed.
struct IperfFigures {
  double tcp_fraction = 0;  // goodput over the link's rate less the headers
  double udp_loss = 0;      // as it reports it, at `loss_asked`
  double loss_asked = 0;
};
absl::StatusOr<std::optional<IperfFigures>> MeasureWithIperf(absl::Duration length, uint64_t seed);

}  // namespace perigee::linkemu
