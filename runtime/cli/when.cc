#include "runtime/cli/when.h"

#include <cmath>
#include <cstdint>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/cli/quantity.h"

namespace perigee {

std::string FormatSpan(absl::Duration span) {
  if (span < absl::ZeroDuration()) span = -span;
  const double seconds = absl::ToDoubleSeconds(span);
  if (seconds < 9.95) {
    char text[16];
    std::snprintf(text, sizeof(text), "%.1f s", seconds);
    return text;
  }
  // Two units' worth of the smaller one is still easy to read: "90 s", but "2 min".
  if (seconds < 119.5) return absl::StrCat(std::llround(seconds), " s");
  if (seconds < 120 * 60) return absl::StrCat(std::llround(seconds / 60), " min");
  if (seconds < 48 * 3600) return absl::StrCat(std::llround(seconds / 3600), " h");
  return absl::StrCat(std::llround(seconds / 86400), " d");
}

std::string FormatAgo(absl::Time time, absl::Time now) {
  if (time > now) return absl::StrCat("in ", FormatSpan(time - now));
  return absl::StrCat(FormatSpan(now - time), " ago");
}

std::string FormatUtc(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string FormatUtcMillis(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

std::string FormatWhen(absl::Time time, absl::Time now) {
  return absl::StrCat(FormatUtc(time), " (", FormatAgo(time, now), ")");
}

absl::StatusOr<absl::Time> ParseWhen(absl::string_view text, absl::Time now) {
  absl::string_view from_now = text;
  absl::ConsumePrefix(&from_now, "+");
  if (const auto span = ParseTime(from_now); span.ok()) return now + *span;
  absl::Time time;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not a time; write for example ",
                                                   FormatUtc(now + absl::Hours(1)),
                                                   " or 10m (from now)"));
  }
  if (time < now) {
    return absl::InvalidArgumentError(
        absl::StrCat(FormatWhen(time, now), " has passed; it is ", FormatUtc(now)));
  }
  return time;
}

}  // namespace perigee
