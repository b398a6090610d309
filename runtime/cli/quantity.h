// Quantities as people write them, one parser for all programs (flags and files).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace perigee {

// "4096", "64KiB", "16MiB", "1GiB", "1GB" (1e9). InvalidArgument names the text and shows an
// example.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);
// "200Mbit", "1Gbit", "2.5Gbit", "unlimited" (0). Bytes per second.
absl::StatusOr<double> ParseRate(absl::string_view text);
// "5ms", "6.5ms", "2s", "1h", "0". Not negative.
absl::StatusOr<absl::Duration> ParseTime(absl::string_view text);
// "0.01" or "1%", in [0, 1].
absl::StatusOr<double> ParseProbability(absl::string_view text);
// "host:port", port 1-65535 (0 allowed where `zero_port`: the system picks one).
absl::StatusOr<std::string> ParseHostPort(absl::string_view text, bool zero_port);

std::string FormatSize(uint64_t bytes);           // "16 MiB"
std::string FormatRate(double bytes_per_second);  // "200 Mbit/s"

}  // namespace perigee
