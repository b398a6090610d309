#include "runtime/cli/watch.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cli/quantity.h"
#include "transport/base/status.h"

namespace perigee {
namespace {

constexpr char kClear[] = "\x1b[H\x1b[2J";

sigset_t Ending() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

// Whether somebody wants the end within `duration`.
bool EndsWithin(absl::Duration duration) {
  const sigset_t signals = Ending();
  const timespec wait = absl::ToTimespec(duration);
  return sigtimedwait(&signals, nullptr, &wait) > 0;
}

}  // namespace

absl::StatusOr<absl::Duration> ParseWatch(absl::string_view text) {
  absl::Duration every;
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    every = absl::Seconds(seconds);
  } else {
    PERIGEE_ASSIGN_OR_RETURN(every, ParseTime(text));
  }
  if (every >= kWatchEveryMin && every <= kWatchEveryMax) return every;
  return absl::InvalidArgumentError(absl::StrCat("--watch=", text, ": draws every ",
                                                 absl::FormatDuration(kWatchEveryMin), " to ",
                                                 absl::FormatDuration(kWatchEveryMax)));
}

absl::Status Watch(const std::string& every, const std::function<absl::Status()>& draw) {
  if (every.empty()) return draw();
  PERIGEE_ASSIGN_OR_RETURN(const absl::Duration pause, ParseWatch(every));
  const sigset_t signals = Ending();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  const absl::Time end = absl::Now() + kWatchLength;
  for (bool first = true; first || (!EndsWithin(pause) && absl::Now() < end); first = false) {
    if (terminal) std::fputs(kClear, stdout);
    absl::Status drawn = draw();
    if (!drawn.ok() && first) return drawn;
    if (!drawn.ok()) std::printf("%s\n", std::string(drawn.message()).c_str());
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace perigee
