// What a running emulator can be told, as one line of text: by `perigee-linkemu set`, or by `run
// --at`. Pure.
//
//   link A B CHANGE...      the directed link from A to B; * stands for every node
//   node A CHANGE...        all links from and to A, e.g. "node 2 down" (a blackhole)
//   node A signal NAME      to all processes of the node: KILL, STOP, CONT, TERM, INT, USR1, USR2
//   status                  the counters so far
//
// CHANGE is down, up, or one of rate, delay, loss, burst (a time), burst-loss, reorder, duplicate,
// bit-flip, queue (a size) with its value: "link 0 1 loss 5% delay 20ms".
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "bench/linkemu/emulated_link.h"

namespace perigee::linkemu {

struct ControlCommand {
  enum class Kind { kChange, kSignal, kStatus };
  Kind kind = Kind::kStatus;
  // kChange: these links, Emulator::kAny for every node.
  std::vector<std::pair<int, int>> links;
  LinkChange change;
  // kSignal
  int node = 0;
  int signal = 0;
};

// InvalidArgument says which word is wrong and what could stand there.
absl::StatusOr<ControlCommand> ParseControlCommand(absl::string_view text, int node_count);

// "2s node 2 down": a command with the time after the start of the run at which it takes effect.
struct TimedCommand {
  absl::Duration at;
  ControlCommand command;
  std::string text;
};
absl::StatusOr<TimedCommand> ParseTimedCommand(absl::string_view text, int node_count);

}  // namespace perigee::linkemu
