// Runs the nodes' commands over a running emulator: hands on their output, obeys `set` and --at,
// and decides when the run is over. One thread, one poll.
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "bench/linkemu/control_command.h"
#include "bench/linkemu/control_socket.h"
#include "bench/linkemu/emulator_thread.h"
#include "bench/linkemu/line_printer.h"
#include "bench/linkemu/node_process.h"

namespace perigee::linkemu {

// Blocks the signals that end a run, so that they are read in order: before any thread starts.
void BlockEndingSignals();

class Supervisor {
 public:
  // After SIGTERM, before everything is killed.
  static constexpr absl::Duration kGrace = absl::Seconds(2);

  struct Node {
    std::string name;  // "0", or "coordinator"
    NodeProcess process;
    bool awaited = true;     // the run is over when all of these have ended
    bool service = false;    // its orderly end by us is no failure, its own end is
    bool signalled = false;  // somebody asked for it: its end is no failure
    std::optional<int> exit_code;
  };
  struct Options {
    std::vector<TimedCommand> at;
    bool keep_going = false;
    bool prefix = true;
    bool output_to_error = false;
    absl::Duration timeout = absl::ZeroDuration();
  };

  // Borrows the emulator and the control server; `status` makes the answer to a status command.
  Supervisor(Options options, EmulatorThread& emulator, ControlServer& control,
             std::function<std::string()> status);

  void Add(Node node);
  const std::vector<Node>& nodes() const { return nodes_; }

  // Until all is over. Aborted when a node failed, Cancelled after Ctrl-C, DeadlineExceeded.
  absl::Status Run();

 private:
  void PollOnce();
  absl::Time NextWakeUp() const;
  void ReadSignal();
  void RunTimed(absl::Time now);
  void CollectEnds();
  void OnEnd(Node& node, int exit_code);
  void EndAll(absl::Status why);
  std::string Answer(absl::string_view line);
  absl::Status Obey(const ControlCommand& command);
  bool Over() const;

  Options options_;
  EmulatorThread& emulator_;
  ControlServer& control_;
  std::function<std::string()> status_;
  FileDescriptor signals_;
  std::vector<Node> nodes_;
  std::vector<LinePrinter> printers_;
  absl::Time start_;
  size_t timed_done_ = 0;
  bool ending_ = false;
  absl::Time kill_at_ = absl::InfiniteFuture();
  absl::Status result_;
};

}  // namespace perigee::linkemu
