#include "bench/linkemu/run_command.h"

#include <sys/resource.h>

#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "bench/linkemu/address_plan.h"
#include "bench/linkemu/ceiling.h"
#include "bench/linkemu/emulator_thread.h"
#include "bench/linkemu/node_namespace.h"
#include "bench/linkemu/run_report.h"
#include "bench/linkemu/supervisor.h"
#include "transport/base/status.h"

namespace perigee::linkemu {
namespace {

struct Run {
  const RunOptions& options;
  ControlServer control;
  Network network;
  int rank_count = 0;  // without the coordinator
  std::vector<NodeNamespace> nodes;
};

std::vector<std::string> Addresses(int count) {
  std::vector<std::string> addresses;
  for (int node = 0; node < count; ++node) addresses.push_back(NodeAddress(node));
  return addresses;
}

std::string CoordinatorAddress(const Run& run) {
  return run.network.hub < 0 ? "" : NodeAddress(run.network.hub);
}

std::vector<std::string> Environment(const Run& run, int node) {
  return {
      absl::StrCat("PERIGEE_RANK=", node),
      absl::StrCat("PERIGEE_NODES=", run.rank_count),
      absl::StrCat("PERIGEE_ADDRESS=", NodeAddress(node)),
      absl::StrCat("PERIGEE_ADDRESSES=", absl::StrJoin(Addresses(run.rank_count), ",")),
      absl::StrCat("PERIGEE_COORDINATOR=", CoordinatorAddress(run)),
      absl::StrCat("PERIGEE_INTERFACE=", kDeviceName),
      absl::StrCat("PERIGEE_LINKEMU=", run.control.path()),
  };
}

std::vector<std::string> Command(const Run& run, int node) {
  if (node == run.network.hub) return {"/bin/sh", "-c", run.options.coordinator};
  std::vector<std::string> command;
  const std::vector<std::pair<std::string, std::string>> placeholders = {
      {"{rank}", absl::StrCat(node)},
      {"{nodes}", absl::StrCat(run.rank_count)},
      {"{address}", NodeAddress(node)},
      {"{addresses}", absl::StrJoin(Addresses(run.rank_count), ",")},
      {"{coordinator}", CoordinatorAddress(run)},
  };
  for (const std::string& word : run.options.command) {
    command.push_back(absl::StrReplaceAll(word, placeholders));
  }
  return command;
}

// TCP's buffers hold at least 4 bandwidth-delay products of the round trip of the fattest link.
uint64_t SocketBufferBytes(const Network& network) {
  NodeNetworkSettings settings;
  double bytes = static_cast<double>(settings.socket_buffer_bytes_max);
  for (const LinkSettings& link : network.links) {
    const Link& wire = link.windows.empty() ? link.channel.link : link.windows.front().link;
    bytes = std::max(bytes, 8 * wire.bytes_per_second * absl::ToDoubleSeconds(wire.delay));
  }
  return static_cast<uint64_t>(std::min<double>(bytes, std::numeric_limits<int32_t>::max()));
}

absl::Status CreateNodes(Run& run) {
  // Six descriptors a node; the soft limit is often 1024.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const NodeNetworkSettings settings{.congestion = run.options.congestion,
                                     .socket_buffer_bytes_max = SocketBufferBytes(run.network)};
  for (int node = 0; node < run.network.node_count; ++node) {
    PERIGEE_ASSIGN_OR_RETURN(NodeNamespace created, CreateNode(node, settings));
    run.nodes.push_back(std::move(created));
  }
  return absl::OkStatus();
}

absl::Status StartProcesses(const Run& run, Supervisor& supervisor) {
  const std::vector<int>& until = run.options.until;
  for (int node = 0; node < run.network.node_count; ++node) {
    const bool service = node == run.network.hub;
    const bool named = std::find(until.begin(), until.end(), node) != until.end();
    PERIGEE_ASSIGN_OR_RETURN(
        NodeProcess process,
        NodeProcess::Start({.argv = Command(run, node),
                            .environment = Environment(run, node),
                            .network_namespace = run.nodes[static_cast<size_t>(node)].ns.get()}));
    supervisor.Add({.name = service ? "coordinator" : absl::StrCat(node),
                    .process = std::move(process),
                    .awaited = !service && (until.empty() || named),
                    .service = service});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TimedCommand>> TimedCommands(const Run& run) {
  std::vector<TimedCommand> commands;
  for (const std::string& text : run.options.at) {
    absl::StatusOr<TimedCommand> timed = ParseTimedCommand(text, run.network.node_count);
    if (!timed.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--at '", text, "': ", timed.status().message()));
    }
    commands.push_back(*std::move(timed));
  }
  return commands;
}

absl::Status Supervise(Run& run, RunReport& report) {
  std::vector<int> tuns;
  for (const NodeNamespace& node : run.nodes) tuns.push_back(node.tun.get());
  PERIGEE_ASSIGN_OR_RETURN(std::vector<TimedCommand> at, TimedCommands(run));
  PERIGEE_ASSIGN_OR_RETURN(
      const std::unique_ptr<EmulatorThread> emulator,
      EmulatorThread::Start(
          run.network, {.seed = run.options.seed, .flip_mode = FlipModeOf(run.options)}, tuns));
  std::unique_ptr<Supervisor> supervisor;
  const auto figures = [&] {
    return RunFigures{emulator->Figures(), &run.nodes, &supervisor->nodes(), &run.network};
  };
  supervisor = std::make_unique<Supervisor>(
      Supervisor::Options{.at = std::move(at),
                          .keep_going = run.options.keep_going,
                          .prefix = !run.options.no_prefix,
                          .output_to_error = run.options.json == "-",
                          .timeout = run.options.timeout},
      *emulator, run.control, [&] { return RunReport::Fields(figures()).dump(); });
  PERIGEE_RETURN_IF_ERROR(StartProcesses(run, *supervisor));
  absl::Status ended = supervisor->Run();
  const RunFigures last = figures();
  WarnIfInexact(last);
  PERIGEE_RETURN_IF_ERROR(report.Write(last));
  return ended;
}

}  // namespace

absl::Status RunNodes(const RunOptions& options) {
  if (options.command.empty()) {
    return absl::InvalidArgumentError(
        "what shall the nodes run? Put it behind --, e.g. -- sh -c 'echo {rank} of {nodes}'");
  }
  PERIGEE_ASSIGN_OR_RETURN(Network network, MakeNetwork(options, EmulatorNow()));
  const std::string control_folder = ControlServer::Folder();
  PERIGEE_RETURN_IF_ERROR(PrepareNamespaces());
  if (!options.above_ceiling) {
    PERIGEE_RETURN_IF_ERROR(CheckCeiling(network));
    // The plan's time starts with the run, not with what was measured before it.
    PERIGEE_ASSIGN_OR_RETURN(network, MakeNetwork(options, EmulatorNow()));
  }
  BlockEndingSignals();
  PERIGEE_ASSIGN_OR_RETURN(ControlServer control, ControlServer::Create(control_folder));
  Run run{options, std::move(control), std::move(network), 0, {}};
  run.rank_count = run.network.node_count - (run.network.hub < 0 ? 0 : 1);
  RunReport report(options);
  PERIGEE_RETURN_IF_ERROR(CreateNodes(run));
  return Supervise(run, report);
}

}  // namespace perigee::linkemu
