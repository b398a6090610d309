// Times as operators read them: in UTC, and how far from now.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace perigee {

// "12 s", "4 min", "3 h", "5 d"; below ten seconds with one decimal.
std::string FormatSpan(absl::Duration span);
// "12 s ago", "in 4 min".
std::string FormatAgo(absl::Time time, absl::Time now);
// "2026-11-22T13:00:00Z", and with milliseconds for programs.
std::string FormatUtc(absl::Time time);
std::string FormatUtcMillis(absl::Time time);
// "2026-11-22T13:00:00Z (in 4 min)".
std::string FormatWhen(absl::Time time, absl::Time now);

// "2026-11-22T13:00:00Z" (any RFC 3339 offset), or from now: "10m", "+90s". InvalidArgument for
// other texts and for times that have passed.
absl::StatusOr<absl::Time> ParseWhen(absl::string_view text, absl::Time now);

}  // namespace perigee
