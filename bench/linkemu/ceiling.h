// How much traffic this machine can carry through the emulator: measured, remembered, and held
// against what a run asks for.
//
// The load of a link is its rate plus what every piece costs beyond its bytes:
//   load(R) = R + kPieceBytes · pieces(R),   pieces(R) = min(R / 1500 B, max(1 / span, R / 64 KiB))
// A configuration fits when the sum over its links is below that of the 12 links of a full mesh of
// four nodes, each at the measured ceiling.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/linkemu/network.h"

namespace perigee::linkemu {

inline constexpr int kMeshNodes = 4;
inline constexpr int kMeshLinks = kMeshNodes * (kMeshNodes - 1);

struct CeilingSearch {
  absl::Duration trial = absl::Milliseconds(400);
  double first_bytes_per_second = 15.625e6;  // 125 Mbit/s
  double last_bytes_per_second = 1.25e9;     // no higher rate is tried
  int refinements = 3;  // halvings between the last success and the first failure
};

// The highest rate at which all 12 links of four nodes carry full-sized packets at once, none lost
// and no more than 1 in 100 later than 1 ms: bytes per second and link. 0 when not even the first
// rate passes. After PrepareNamespaces.
absl::StatusOr<double> MeasureCeiling(const CeilingSearch& search);

// The load of everything in `network` at its full rate; infinite where a link has no limit.
double NetworkLoad(const Network& network);
double CeilingLoad(double bytes_per_second_per_link);

// The last measurement on this machine under this kernel, kept in ~/.cache/perigee.
std::optional<double> RememberedCeiling();
void RememberCeiling(double bytes_per_second_per_link);

// What `run` asks before it starts: FailedPrecondition when the load is above the ceiling, which is
// then measured anew. Warns on stderr above 80 %. What is not remembered to be below is tried, half
// a second long, and remembered. Networks without limits are not judged.
absl::Status CheckCeiling(const Network& network);

}  // namespace perigee::linkemu
