// Draws a table again and again, for `--watch`.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace perigee {

inline constexpr absl::Duration kWatchEveryMin = absl::Milliseconds(100);
inline constexpr absl::Duration kWatchEveryMax = absl::Hours(1);
// A terminal that somebody forgot does not ask for ever.
inline constexpr absl::Duration kWatchLength = absl::Hours(24);

// "2" (seconds) or a time ("500ms"). InvalidArgument for other texts and outside of the limits.
absl::StatusOr<absl::Duration> ParseWatch(absl::string_view text);

// Calls `draw` once, or with a text for `every` (ParseWatch) again until SIGINT, SIGTERM or
// kWatchLength; a terminal is cleared before. What fails the first time is the error; later it is
// printed in the place of the table, since a coordinator may come back. Call before any other
// thread is started.
absl::Status Watch(const std::string& every, const std::function<absl::Status()>& draw);

}  // namespace perigee
