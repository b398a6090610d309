// perigee-linkemu: a network of lossy, slow, scheduled links for any program's sockets.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "bench/linkemu/control_socket.h"
#include "bench/linkemu/run_command.h"
#include "bench/linkemu/selftest_command.h"
#include "runtime/cli/flags.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

struct SetOptions {
  std::string control;
  std::vector<std::string> words;
};

absl::Status RunSet(const SetOptions& options) {
  PERIGEE_ASSIGN_OR_RETURN(const std::string answer,
                           AskEmulator(options.control, absl::StrJoin(options.words, " ")));
  if (absl::StartsWith(answer, "error: ")) return absl::InvalidArgumentError(answer.substr(7));
  if (answer != "ok") std::printf("%s\n", answer.c_str());
  return absl::OkStatus();
}

void AddSetCommand(Program& program, SetOptions& options) {
  CLI::App& app = program.AddCommand(
      "set", "Changes a running emulation.",
      "perigee-linkemu set link 0 1 down          # one way\n"
      "perigee-linkemu set node 2 down            # a blackhole; 'up' ends it\n"
      "perigee-linkemu set link '*' '*' loss 5% delay 20ms\n"
      "perigee-linkemu set node 2 signal KILL     # all its processes\n"
      "perigee-linkemu set status                 # the counters so far, as JSON",
      [&options] { return RunSet(options); });
  app.add_option("--control", options.control,
                 "the emulator's socket; else $PERIGEE_LINKEMU, "
                 "else the only one that runs");
  app.add_option("what", options.words,
                 "link A B CHANGE..., node A CHANGE..., node A signal NAME, "
                 "status")
      ->required();
}

void AddRunCommand(Program& program, RunOptions& options) {
  CLI::App& app = program.AddCommand(
      "run", "Runs a command per node, each in its own network namespace.",
      "perigee-linkemu run --nodes 4 --rate 200Mbit --delay 10ms --loss 1% -- ./job {rank} "
      "{nodes}\n"
      "perigee-linkemu run --nodes 2 --until 1 -- sh -c 'if [ $PERIGEE_RANK = 0 ]; then iperf3 -s; "
      "else sleep 1; iperf3 -c 10.77.0.1; fi'\n"
      "perigee-linkemu run --contacts plan.textproto --time-scale 60 -- ./job {address} "
      "{addresses}\n"
      "perigee-linkemu run --nodes 4 --coordinator 'perigeed --listen 0.0.0.0:7000' --at '2s node "
      "1 "
      "down' -- ./job {coordinator}",
      [&options] { return RunNodes(options); });
  AddRunFlags(app, options);
}

void AddSelftestCommand(Program& program, SelftestOptions& options) {
  CLI::App& app =
      program.AddCommand("selftest", "Measures what the emulator can carry and how exact it is.",
                         "perigee-linkemu selftest\n"
                         "perigee-linkemu selftest --json -",
                         [&options] { return RunSelftest(options); });
  AddSelftestFlags(app, options);
}

// Splits off what stands behind the first "--": it is not ours to parse.
std::vector<std::string> TakeCommand(int* argc, char** argv) {
  for (int i = 1; i < *argc; ++i) {
    if (std::string(argv[i]) != "--") continue;
    std::vector<std::string> command(argv + i + 1, argv + *argc);
    *argc = i;
    return command;
  }
  return {};
}

}  // namespace
}  // namespace perigee::linkemu

int main(int argc, char** argv) {
  perigee::Program program("perigee-linkemu",
                           "Joins network namespaces by emulated links: rate, delay, loss, bursts, "
                           "contact windows.",
                           "perigee-linkemu run --nodes 4 --loss 1% -- ./job {rank} {nodes}\n"
                           "perigee-linkemu set node 2 down");
  perigee::linkemu::RunOptions run;
  perigee::linkemu::SetOptions set;
  run.command = perigee::linkemu::TakeCommand(&argc, argv);
  perigee::linkemu::AddRunCommand(program, run);
  perigee::linkemu::AddSetCommand(program, set);
  perigee::linkemu::SelftestOptions selftest;
  perigee::linkemu::AddSelftestCommand(program, selftest);
  return program.Run(argc, argv);
}
